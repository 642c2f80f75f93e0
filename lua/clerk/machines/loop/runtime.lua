--- The runtime outside nginx: see clerk.machines.runtime.

local limits = require "clerk.machines.loop.limits"
local tasks = require "clerk.machines.loop.tasks"
local transport = require "clerk.machines.loop.transport"

local function allow() end

return {
  new_transport = transport.new,
  new_limit = limits.new,
  refuse_option = allow,
  environment_hint = "",
  check_call = allow,
  can_spawn = function()
    return true
  end,

  current = tasks.current,
  is_cancelled = tasks.is_cancelled,
  sleep = tasks.sleep,
  new_waiter = tasks.new_waiter,
  wait = tasks.wait,
  wake = tasks.wake,

  new_group = tasks.new_group,
  start = tasks.start,
  forget = tasks.forget,
  cancel = tasks.cancel,
  check_joinable = tasks.check_joinable,
  count = tasks.count,
  step = tasks.step,
  run = tasks.run,
  pollable = tasks.pollable,
}
