-- The file descriptors of this process, and those that a program it starts would inherit.

local files = require "support.files"

local descriptors = {}

--- What a program that this process starts sees in a directory. The output goes to a file, because
--- a pipe would be one more descriptor.
function descriptors.list_directory(directory)
  local path = os.tmpname()
  os.execute(("ls -l %s > %s"):format(directory, path))
  local listing = files.read(path)
  os.remove(path)
  return listing
end

--- The number of this process's descriptors after a full garbage collection.
function descriptors.count()
  collectgarbage()
  collectgarbage()
  local pid = files.read "/proc/self/stat":match "^%d+"
  local _, count = descriptors.list_directory(("/proc/%s/fd"):format(pid)):gsub("\n", "")
  return count
end

return descriptors
