-- The script that host.c runs. It starts some calls and returns a function for the host's loop.
-- That function moves the calls and returns how many are left, which descriptor to wait for, and
-- for how long.

local machines = require "clerk.machines"

local client = machines.new()
local ticks = 0

local function visit(name)
  local machine = client:create { name = name }
  local found = client:get(machine.id)
  client:delete(machine.id)
  print(("%s visited at tick %d"):format(found.name, ticks))
end

local tasks = {}
for i, name in ipairs { "gateway", "worker", "reporter" } do
  tasks[i] = client:spawn(visit, name)
end

return function(ticks_by_now)
  ticks = ticks_by_now
  local left = client:step(0)
  if left == 0 then
    for _, task in ipairs(tasks) do
      task:result() -- raises the task's error, if it failed
    end
  end
  return left, client:pollable()
end
