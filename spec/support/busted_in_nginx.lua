-- Runs spec files by busted within the process that calls this: for nginx, where the specs of the
-- client and of its transport are to hold as well.

-- The runner would end the process, and end it with the count of what has failed.
local function run(arguments)
  require("busted.compatibility").exit = function(status) error({ status = status }, 0) end
  arg = arguments -- luacheck: globals arg
  local ok, problem = pcall(require "busted.runner", { standalone = false })
  if not ok and type(problem) ~= "table" then error(problem, 0) end
end

---@param arguments string[] of busted
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
