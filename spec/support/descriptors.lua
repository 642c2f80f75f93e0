-- What is open in this process, or would be in a program that it starts.

local descriptors = {}

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

--- What a program that this process starts sees in a directory. A file takes it: a pipe would be
--- one more descriptor, for as long as it pleases.
function descriptors.list_directory(directory)
  local path = os.tmpname()
  os.execute(("ls -l %s > %s"):format(directory, path))
  local listing = read_file(path)
  os.remove(path)
  return listing
end

--- How many this process has, once all is collected that can be.
function descriptors.count()
  collectgarbage()
  collectgarbage()
  local pid = read_file "/proc/self/stat":match "^%d+"
  local _, count = descriptors.list_directory(("/proc/%s/fd"):format(pid)):gsub("\n", "")
  return count
end

return descriptors
