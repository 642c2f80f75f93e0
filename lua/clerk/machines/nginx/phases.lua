--- Where a call can wait inside nginx, and where it may block: by nginx's phase, and by whether Lua
--- can yield.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"

local phases = {}

--- Phases in which nginx serves other requests meanwhile.
local WAITING = {
  rewrite = true,
  server_rewrite = true,
  access = true,
  content = true,
  timer = true,
  ssl_cert = true,
  ssl_client_hello = true,
  ssl_session_fetch = true,
}

--- Phases before nginx serves any request.
local BLOCKING = { init = true, init_worker = true }

function phases.can_wait()
  return WAITING[ngx.get_phase()] ~= nil and core.is_yieldable()
end

function phases.may_block()
  return BLOCKING[ngx.get_phase()] or false
end

local function explain(what)
  local phase = ngx.get_phase()
  if WAITING[phase] then
    return what .. " cannot wait here, because Lua cannot yield inside require, a callback of "
      .. "string.gsub or table.sort, or a finalizer: do it outside, or in a timer (ngx.timer.at)"
  end
  return ("%s cannot wait in nginx's phase %s: do it in rewrite, access or content, or in a timer "
    .. "(ngx.timer.at)"):format(what, phase)
end

--- Raises an ArgumentError, which says where to do it instead, where Lua cannot wait.
---@param what string
function phases.check_wait(what)
  if not phases.can_wait() then
    errors.refuse(explain(what))
  end
end

--- Raises such an error where a call can neither wait nor block.
---@param operation string
function phases.check_call(operation)
  if not phases.can_wait() and not phases.may_block() then
    errors.refuse(explain "the call", operation)
  end
end

return phases
