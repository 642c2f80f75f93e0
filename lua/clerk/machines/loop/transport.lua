--- The transport over libcurl: the default outside nginx. In a task it yields, elsewhere it blocks.

local core = require "clerk.machines.core"
local scheduler = require "clerk.machines.loop.scheduler"

local Libcurl = {}
Libcurl.__index = Libcurl

--- Waits until a transfer has finished, or ends it with its task. Returns the failure then.
local function await(transfer)
  local ok, is_finished = pcall(scheduler.await, transfer)
  if ok and is_finished then
    return nil
  end
  local sent = transfer:cancel()
  if not ok then -- a signal or a hook
    error(is_finished, 0)
  end
  return { code = "cancelled", message = "the task was cancelled", sent = sent }
end

---@param request clerk.machines.Request
---@return clerk.machines.Response|nil
---@return clerk.machines.Failure|nil
function Libcurl:send(request)
  local transfer = self.curl:start(request)
  local failure = await(transfer)
  if failure then
    return nil, failure
  end
  return transfer:take()
end

--- The fast path: sends a call of the core, without tables for request and response.
---@param call userdata
---@param key string that was checked
---@param is_alone boolean whether nothing else is in progress
---@return table|nil result
---@return table|nil meta, or without a result the response
---@return clerk.machines.Failure|nil
function Libcurl:attempt(call, key, is_alone)
  local result, other = core.start(self.curl, call, key, is_alone)
  if is_alone then
    scheduler.changed()
  end
  if result then
    return result, other
  elseif not (is_alone and other:is_finished()) then
    local failure = await(other)
    if failure then
      return nil, nil, failure
    end
    local meta
    result, meta = core.take_success(other, call, key)
    if result then
      return result, meta
    end
  end
  return nil, other:take()
end

function Libcurl:close()
  self.curl:close()
end

local libcurl = {}

--- Makes a transport with connections of its own.
---@param options { ca_file: string?, proxy: string?, max_connections: integer }
---@return clerk.machines.Transport|nil
---@return string|nil problem what is wrong with ca_file or proxy
function libcurl.new(options)
  local curl, problem = core.curl(options)
  if not curl then
    return nil, problem
  end
  return setmetatable({ curl = curl }, Libcurl)
end

return libcurl
