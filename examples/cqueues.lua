-- Calls under way in a loop of cqueues, which ticks meanwhile. From the checkout, built for lua5.4:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;" \
--     lua5.4 examples/cqueues.lua
--
-- with the key in CLERK_SECRET_KEY; it deletes the machines that it makes.

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local machines = require "clerk.machines"

--- Returns a function for coroutines of the loop: it waits for a task of the client, while the
--- others go on, and has the task's result.
local function attach(client, loop)
  local spawned, stepped = condition.new(), condition.new()
  local is_stepping = false

  local function step()
    while client:step(0) > 0 do
      stepped:signal()
      local fd, ms = client:pollable()
      cqueues.poll({ pollfd = fd, events = "r" }, spawned, ms and ms / 1000)
    end
    is_stepping = false
    stepped:signal()
  end

  return function(task)
    spawned:signal()
    if not is_stepping then
      is_stepping = true
      loop:wrap(step)
    end
    while task.status == "running" do
      stepped:wait()
    end
    return task:result()
  end
end

local client = machines.new()
local loop = cqueues.new()
local await = attach(client, loop)

-- The loop's own work, till the last visit.
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
  print(("%s visited at tick %d"):format(await(client:spawn(visit, name)), ticks))
end

for _, name in ipairs { "gateway", "worker", "reporter" } do
  loop:wrap(send, name)
end
loop:wrap(function()
  cqueues.sleep(1) -- the client may have nothing to do for a while
  send "latecomer"
  is_over = true
end)
local ok, problem = loop:loop()
client:close()
if not ok then
  error(problem, 0)
end
