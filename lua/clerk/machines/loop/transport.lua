--- The transport over libcurl: the default outside nginx. In a task it yields, elsewhere it blocks.

local core = require "clerk.machines.core"
local scheduler = require "clerk.machines.loop.scheduler"

local Libcurl = {}
Libcurl.__index = Libcurl

--- libcurl lets a request wait for a connection that another one is making, also beyond its
--- timeout. This much later the request ends all the same.
local GRACE_MS = 50

--- Waits until a transfer has finished, or ends it. Returns the failure then.
---@param ends_at integer when its timeout has passed
local function await(transfer, ends_at)
  local ok, is_finished = pcall(scheduler.await, transfer, ends_at + GRACE_MS)
  if ok and (is_finished or transfer:is_finished()) then
    return nil
  end
  local sent = transfer:cancel()
  if not ok then -- a signal or a hook
    error(is_finished, 0)
  elseif scheduler.is_cancelled() then
    return { code = "cancelled", message = "the task was cancelled", sent = sent }
  end
  return { code = "timeout", message = "no response within the time allowed", sent = sent }
end

---@param request clerk.machines.Request
---@return clerk.machines.Response|nil
---@return clerk.machines.Failure|nil
function Libcurl:send(request)
  local ends_at = core.now() + request.timeout_ms
  local transfer = self.curl:start(request)
  local failure = await(transfer, ends_at)
  if failure then
    return nil, failure
  end
  return transfer:take()
end

--- The fast path: sends a call of the core, without tables for request and response.
---@param call userdata
---@param key string that was checked
---@param ends_at integer when its timeout has passed
---@param is_alone boolean whether nothing else is in progress
---@return table|nil result
---@return table|nil meta, or without a result the response
---@return clerk.machines.Failure|nil
function Libcurl:attempt(call, key, ends_at, is_alone)
  local result, other = core.start(self.curl, call, key, is_alone)
  if is_alone then
    scheduler.changed()
  end
  if result then
    return result, other
  elseif not other:is_finished() then
    local failure = await(other, ends_at)
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
