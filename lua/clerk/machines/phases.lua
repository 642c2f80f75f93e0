--- nginx's phases: in which of them a call can wait, and in which it may block.

local errors = require "clerk.machines.errors"

local phases = {}

--- Those in which nginx can serve others meanwhile.
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

--- Those in which it serves nobody yet.
local BLOCKING = { init = true, init_worker = true }

local ngx = rawget(_G, "ngx")

--- Whether this Lua is nginx's, with the Lua module's interface.
phases.is_nginx = type(ngx) == "table" and ngx.get_phase ~= nil and ngx.socket ~= nil

function phases.can_wait()
  return WAITING[ngx.get_phase()] or false
end

function phases.may_block()
  return BLOCKING[ngx.get_phase()] or false
end

--- Raises an ArgumentError that tells where to do it instead.
---@param what string
---@param operation string|nil
function phases.refuse(what, operation)
  errors.refuse(("%s cannot wait in nginx's phase %s: do it in rewrite, access or content, or in "
    .. "a timer (ngx.timer.at)"):format(what, ngx.get_phase()), operation)
end

--- Raises an ArgumentError where a call can neither wait nor block.
---@param operation string
function phases.check_call(operation)
  if not phases.can_wait() and not phases.may_block() then
    phases.refuse("the call", operation)
  end
end

return phases
