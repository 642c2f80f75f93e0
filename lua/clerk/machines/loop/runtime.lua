--- The runtime outside nginx: see clerk.machines.runtime.

local errors = require "clerk.machines.errors"
local limits = require "clerk.machines.loop.limits"
local scheduler = require "clerk.machines.loop.scheduler"
local transport = require "clerk.machines.loop.transport"

local function allow() end

--- Lua 5.2 does not say where it can yield, so a task tries before it sends anything.
local function check_yield(operation)
  if not scheduler.try_yield() then
    errors.refuse("a call in a task cannot wait inside a callback of string.gsub or table.sort in "
      .. "Lua 5.2: do it outside", operation)
  end
end

return {
  is_nginx = false,
  new_transport = transport.new,
  new_limit = limits.new,
  refuse_option = allow,
  environment_hint = function()
    return ""
  end,
  check_call = _VERSION == "Lua 5.2" and check_yield or nil,
  can_spawn = function()
    return true
  end,

  --- Outside tasks, a transport of the caller's own may yield to the caller's own loop.
  can_detach = function(is_ours)
    return is_ours or scheduler.current() ~= nil
  end,

  shared_dict = function()
    return nil, "shared_dict can only be used in nginx"
  end,

  is_alone = scheduler.is_alone,
  current = scheduler.current,
  is_cancelled = scheduler.is_cancelled,
  sleep = scheduler.sleep,
  new_waiter = scheduler.new_waiter,
  wait = scheduler.wait,
  wake = scheduler.wake,

  new_group = scheduler.new_group,
  start = scheduler.start,
  forget = scheduler.forget,
  cancel = scheduler.cancel,
  check_joinable = scheduler.check_joinable,
  count = scheduler.count,
  step = scheduler.step,
  run = scheduler.run,
  pollable = scheduler.pollable,
}
