-- What is open in this process, or would be in a program that it starts.

local files = require "support.files"

local descriptors = {}

--- What a program that this process starts sees in a directory. A file takes it: a pipe would be
--- one more descriptor, for as long as it pleases.
function descriptors.list_directory(directory)
  local path = os.tmpname()
  os.execute(("ls -l %s > %s"):format(directory, path))
  local listing = files.read(path)
  os.remove(path)
  return listing
end

--- How many this process has, once all is collected that can be.
function descriptors.count()
  collectgarbage()
  collectgarbage()
  local pid = files.read "/proc/self/stat":match "^%d+"
  local _, count = descriptors.list_directory(("/proc/%s/fd"):format(pid)):gsub("\n", "")
  return count
end

return descriptors
