--- The transport over libcurl: the default outside nginx. In a task it yields, elsewhere it blocks.

local core = require "clerk.machines.core"
local scheduler = require "clerk.machines.loop.scheduler"

local Libcurl = {}
Libcurl.__index = Libcurl

--- libcurl lets a request wait for a connection that another one is making, also beyond its
--- timeout. This much later the request ends all the same.
local GRACE_MS = 50

--- Waits until a transfer has finished, or ends it. Returns the failure then.
local function await(transfer, timeout_ms)
  local ends_at = core.now() + timeout_ms + GRACE_MS
  if scheduler.is_alone() and transfer:step(ends_at) then -- most responses come at once
    scheduler.changed()
    return nil
  end
  local ok, is_finished = pcall(scheduler.await, transfer, ends_at)
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
  local transfer = self.curl:start(request)
  local failure = await(transfer, request.timeout_ms)
  if failure then
    return nil, failure
  end
  return transfer:take()
end

--- Sends a call of the core itself.
---@param call userdata
---@param key string that was checked
---@param settings table of the call
---@return userdata|nil transfer finished: for core.accept or `take`
---@return clerk.machines.Failure|nil
function Libcurl:exchange(call, key, settings)
  local transfer = core.carry(self.curl, call, key, settings.timeout_ms,
    settings.connect_timeout_ms, settings.max_response_bytes)
  local failure = await(transfer, settings.timeout_ms)
  return not failure and transfer or nil, failure
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
