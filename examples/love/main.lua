-- Calls under way in a game, which goes on meanwhile: once a frame they are moved, and never waited
-- for. From the checkout, built for luajit:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" love examples/love
--
-- with the key in CLERK_SECRET_KEY; it deletes the machines that it makes.

-- luacheck: globals love

local machines = require "clerk.machines"

local client = machines.new { base_url = os.getenv "CLERK_API_URL" }
local frame, longest_frame, longest_step = 0, 0, 0

local function visit(name)
  local machine = client:create { name = name }
  local found = client:get(machine.id)
  client:delete(machine.id)
  print(("%s visited in frame %d"):format(found.name, frame))
end

local tasks = {}

function love.load()
  for i, name in ipairs { "gateway", "worker", "reporter" } do
    tasks[i] = client:spawn(visit, name)
  end
end

local function finish()
  for _, task in ipairs(tasks) do
    task:result() -- raises what went wrong in it
  end
  print(("longest frame %.1f ms, longest step %.1f ms"):format(longest_frame, longest_step))
  love.event.quit()
end

--- Moves the calls; this takes about 0.3 ms, whatever the network does.
local function step()
  local begun = love.timer.getTime()
  local left = client:step(0)
  longest_step = math.max(longest_step, (love.timer.getTime() - begun) * 1000)
  return left
end

function love.update(seconds)
  frame = frame + 1
  longest_frame = math.max(longest_frame, seconds * 1000)
  if step() == 0 then
    finish()
  end
end

function love.quit()
  client:close()
end
