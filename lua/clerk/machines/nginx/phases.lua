--- Where a call can wait inside nginx, and where it may block: by nginx's phase, and by whether Lua
--- can yield.

local core = require "clerk.machines.core"
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

--- Raises an ArgumentError that says where to do it instead.
---@param what string
---@param operation string|nil
function phases.refuse(what, operation)
  errors.refuse(explain(what), operation)
end

--- Raises an ArgumentError where a call can neither wait nor block.
---@param operation string
function phases.check_call(operation)
  if not phases.can_wait() and not phases.may_block() then
    phases.refuse("the call", operation)
  end
end

return phases
