-- The script that host.c runs. It starts some calls and returns their client, which the host steps
-- once a frame, and a function that prints the results.

local machines = require "clerk.machines"

local client = machines.new()

local function come_and_go(name)
  local machine = client:create { name = name }
  client:delete(machine.id)
  return machine
end

local tasks = {}
for i, name in ipairs { "lobby", "arena", "market" } do
  tasks[i] = client:spawn(come_and_go, name)
end

local function report()
  for _, task in ipairs(tasks) do
    print(task:result())
  end
end

return client, report
