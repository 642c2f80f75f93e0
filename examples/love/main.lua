-- Calls in a LÖVE game: each frame moves them a little, and no frame waits for them. From the
-- checkout, built for luajit, with the key of an instance in CLERK_SECRET_KEY:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" love examples/love
--
-- It deletes the machines that it makes.

-- luacheck: globals love

local machines = require "clerk.machines"

local client = machines.new()
local visits = {}
local frame, longest = 0, 0

local function visit(name)
  local machine = client:create { name = name }
  local found = client:get(machine.id)
  client:delete(machine.id)
  print(("%s visited in frame %d"):format(found.name, frame))
end

local function is_running()
  for _, task in ipairs(visits) do
    if task.status == "running" then
      return true
    end
  end
end

--- Measures the frames while calls are under way. A task that yields goes on in the next frame.
local function watch()
  while is_running() do
    frame = frame + 1
    longest = math.max(longest, love.timer.getDelta() * 1000)
    coroutine.yield()
  end
  love.event.quit()
end

function love.load()
  for i, name in ipairs { "gateway", "worker", "reporter" } do
    visits[i] = client:spawn(visit, name)
  end
  client:spawn(watch)
end

function love.update()
  client:step(0) -- never waits for the network
end

function love.quit()
  for _, task in ipairs(visits) do
    task:result() -- raises the task's error, if it failed
  end
  print(("longest frame %.1f ms"):format(longest))
  client:close()
end
