--- Files that a person has written.

local files = {}

--- Reads a whole file.
---@param path string
---@return string? text
---@return string? problem with the path
function files.read(path)
  local file, problem = io.open(path, "rb")
  if not file then
    return nil, problem
  end
  local text, read_problem = file:read "*a"
  file:close()
  return text, read_problem and path .. ": " .. read_problem -- as io.open words it
end

return files
