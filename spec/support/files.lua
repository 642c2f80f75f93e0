-- Reads and writes whole files, and makes temporary ones.

local files = {}

local temporary = {}

---@param path string
---@return string
function files.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

---@param path string
---@param text string
function files.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

---Writes a temporary file, which remove_temporary removes.
---@param text string
---@return string path
function files.write_temporary(text)
  local path = os.tmpname()
  files.write(path, text)
  table.insert(temporary, path)
  return path
end

function files.remove_temporary()
  while temporary[1] do os.remove(table.remove(temporary)) end
end

return files
