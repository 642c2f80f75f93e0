--- What ends a command early: one line on standard error and a status, instead of a traceback.

local Failure = {}

local failure = {
  --- What a command exits with.
  SUCCEEDED = 0,
  FAILED = 1, -- the API refused, or could not be asked
  MISUSED = 2,
}

---@param message string|nil nil: everything is said already
---@param status? integer FAILED by default
function failure.raise(message, status)
  error(setmetatable({ message = message, status = status or failure.FAILED }, Failure), 0)
end

---@param value any
---@return boolean
function failure.is_failure(value)
  return getmetatable(value) == Failure
end

--- Loads a module that may be missing.
---@param module string
---@param remedy string
function failure.require(module, remedy)
  local ok, loaded = pcall(require, module)
  if ok then
    return loaded
  end
  local problem = tostring(loaded)
  problem = problem:match("module '.-' not found") or problem:match("[^\n]*")
  failure.raise(("%s; %s"):format(problem, remedy))
end

return failure
