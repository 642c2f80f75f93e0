-- Calls under way in a loop of luv, which ticks meanwhile. From the checkout, built for lua5.4:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;" lua5.4 examples/luv.lua
--
-- with the key in CLERK_SECRET_KEY; it deletes the machines that it makes.

local machines = require "clerk.machines"
local uv = require "luv"

--- Has luv's loop step the client while it has tasks. Call what this returns after each spawn that
--- is not made inside a task. One for each Lua state: luv watches a descriptor only once.
local function attach(client)
  local poll, timer = uv.new_poll((client:pollable())), uv.new_timer()
  local function step()
    poll:stop()
    timer:stop()
    if client:step(0) > 0 then
      local _, ms = client:pollable()
      poll:start("r", step)
      if ms then
        timer:start(math.max(ms, 1), 0, step) -- not 0: the loop's own work comes in between
      end
    end
  end
  return step
end

local client = machines.new()
local step = attach(client)

-- The loop's own work, which does not keep it from ending.
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
local function send(name)
  tasks[#tasks + 1] = client:spawn(visit, name)
  step()
end

for _, name in ipairs { "gateway", "worker", "reporter" } do
  send(name)
end
uv.new_timer():start(1000, 0, function() -- the client may have had nothing to do for a while
  send "latecomer"
end)
uv.run()

for _, task in ipairs(tasks) do
  task:result() -- raises what went wrong in it
end
client:close()
