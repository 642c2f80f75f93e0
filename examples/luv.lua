-- Calls in a luv loop: they run while the loop's own work goes on. From the checkout, built for
-- lua5.4, with the key of an instance in CLERK_SECRET_KEY:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/luv.lua
--
-- It deletes the machines that it makes.

local machines = require "clerk.machines"
local uv = require "luv"

local client = machines.new()
require("clerk.machines.adapters.luv").attach(client)

-- The loop's own work, which does not keep the loop running.
local ticks = 0
local ticker = uv.new_timer()
ticker:start(10, 10, function()
  ticks = ticks + 1
end)
ticker:unref()

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
uv.new_timer():start(1000, 0, function() -- any callback may start a task
  tasks[#tasks + 1] = client:spawn(visit, "latecomer")
end)
uv.run() -- returns when all tasks have ended

for _, task in ipairs(tasks) do
  task:result() -- raises the task's error, if it failed
end
client:close()
