-- The script that host.c runs. It starts some calls and returns a function for the host's loop.
-- That function moves the calls and returns how many tasks are left, which descriptor to wait for,
-- and for how long.

local machines = require "clerk.machines"

local client = machines.new()
local ticks = 0

for _, name in ipairs { "gateway", "worker", "reporter" } do
  local task = client:spawn(function()
    local machine = client:create { name = name }
    print(("%s visited at tick %d"):format(client:get(machine.id).name, ticks))
    client:delete(machine.id)
  end)
  task:on_done(task.result) -- raises the task's error, if it failed, in the step
end

return function(ticks_by_now)
  ticks = ticks_by_now
  return client:step(0), client:pollable()
end
