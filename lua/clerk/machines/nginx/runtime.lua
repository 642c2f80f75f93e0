--- The runtime inside nginx: see clerk.machines.runtime.

local limits = require "clerk.machines.nginx.limits"
local phases = require "clerk.machines.nginx.phases"
local threads = require "clerk.machines.nginx.threads"
local transport = require "clerk.machines.nginx.transport"

--- What libcurl can do and cosockets cannot, and what to do instead.
local REMEDIES = {
  ca_file = "use the directive lua_ssl_trusted_certificate in nginx.conf",
  proxy = "it connects directly",
}

local function refuse_option(name)
  local remedy = REMEDIES[name]
  return remedy and ("%s cannot be used in nginx: %s"):format(name, remedy)
end

local function shared_dict(name)
  local dictionary = ngx.shared[name]
  if not dictionary then
    return nil, ("shared_dict: add `lua_shared_dict %s 10m;` to nginx.conf"):format(name)
  end
  return dictionary
end

return {
  is_nginx = true,
  new_transport = transport.new,
  new_limit = limits.new,
  refuse_option = refuse_option,
  environment_hint = function(variable)
    return (" (and add `env %s;` to nginx.conf)"):format(variable)
  end,
  check_call = phases.check_call,
  can_spawn = phases.can_wait,
  can_detach = phases.can_wait,
  detach = threads.detach,
  shared_dict = shared_dict,

  is_alone = function()
    return false
  end,
  current = threads.current,
  is_cancelled = threads.is_cancelled,
  sleep = threads.sleep,
  new_waiter = threads.new_waiter,
  wait = threads.wait,
  wake = threads.wake,

  new_group = threads.new_group,
  start = threads.start,
  forget = threads.forget,
  cancel = threads.cancel,
  check_joinable = threads.check_joinable,
  count = threads.count,
  step = threads.step,
  run = threads.run,
  pollable = threads.pollable,
}
