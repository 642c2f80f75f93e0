--- What ends a command early: a line on standard error and an exit status instead of a traceback.

local Failure = {}

local failure = {
  -- What a command exits with.
  SUCCEEDED = 0,
  FAILED = 1,
  MISUSED = 2, -- wrong arguments, settings or plan file
  CHANGES_FOUND = 3, -- plan --exit-code
  INTERRUPTED = 130,
}

---@param message string|nil nil when everything is said already
---@param status? integer FAILED by default
function failure.raise(message, status)
  error(setmetatable({ message = message, status = status or failure.FAILED }, Failure), 0)
end

---@param value any
---@return boolean
function failure.is_failure(value)
  return getmetatable(value) == Failure
end

--- An error of the API or of the transport in one line. It begins with its type and operation; the
--- command's name replaces them.
---@param err clerk.machines.Error
---@return string
function failure.line_of(err)
  local line = tostring(err):gsub("^%a+: ", ""):gsub("^" .. (err.operation or "") .. ":? ", "")
  return line .. (err.maybe_applied and " (it may have taken effect)" or "")
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
