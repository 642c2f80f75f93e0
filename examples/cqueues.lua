-- Calls in a cqueues loop: they run while the loop's own work goes on. From the checkout, built for
-- lua5.4, with the key of an instance in CLERK_SECRET_KEY:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;" \
--     lua5.4 examples/cqueues.lua
--
-- It deletes the machines that it makes.

local cqueues = require "cqueues"
local machines = require "clerk.machines"

local client = machines.new()
local loop = cqueues.new()
local attachment = require("clerk.machines.adapters.cqueues").attach(client, loop)

-- The loop's own work, until the last visit.
local ticks, is_over = 0, false
loop:wrap(function()
  while not is_over do
    cqueues.sleep(0.01)
    ticks = ticks + 1
  end
end)

local function visit(name)
  local machine = client:create { name = name }
  local found = client:get(machine.id)
  client:delete(machine.id)
  return found.name
end

local function send(name)
  local visited = attachment:await(client:spawn(visit, name))
  print(("%s visited at tick %d"):format(visited, ticks))
end

for _, name in ipairs { "gateway", "worker", "reporter" } do
  loop:wrap(send, name)
end
loop:wrap(function()
  cqueues.sleep(1) -- a task may start at any time
  send "latecomer"
  is_over = true
end)
local ok, problem = loop:loop()
client:close()
if not ok then
  error(problem, 0)
end
