-- Runs spec files with busted inside the calling process: for nginx, where the specs of the client
-- and of its transport must pass too.

-- The runner would end the process, with the number of failures as its exit status.
local function run(arguments)
  require("busted.compatibility").exit = function(status) error({ status = status }, 0) end
  arg = arguments -- luacheck: globals arg
  local ok, problem = pcall(require "busted.runner", { standalone = false })
  if not ok and type(problem) ~= "table" then error(problem, 0) end
end

---@param arguments string[] for busted
---@return string output
return function(arguments)
  local path = os.tmpname()
  io.output(path)
  local ok, problem = pcall(run, arguments)
  io.close()
  io.output(io.stdout)
  local file = io.open(path)
  local output = file:read "*a"
  file:close()
  os.remove(path)
  if not ok then error(problem, 0) end
  return output
end
