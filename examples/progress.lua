-- Two progress bars at once: two listings overlap, and each event has the number of its call.
-- From the checkout, built for lua5.4, with the key of an instance in CLERK_SECRET_KEY:
--
--   export LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;"
--   lua5.4 examples/progress.lua

local machines = require "clerk.machines"

local WIDTH = 40

local bars, order = {}, {} -- the text of each call's bar; the numbers of the calls

local function draw()
  for i, call in ipairs(order) do io.write(i > 1 and "\n" or "\r", bars[call], "\27[K") end
  io.write(#order > 1 and ("\27[%dA"):format(#order - 1) or "")
  io.flush()
end

local function on_event(event)
  if event.type ~= "page" or not event.total_count then return end
  if not bars[event.call] then order[#order + 1] = event.call end
  local share = math.min(event.machines / math.max(event.total_count, 1), 1)
  bars[event.call] = ("%-" .. WIDTH .. "s %d of %d"):format(("#"):rep(math.floor(share * WIDTH)),
    event.machines, event.total_count)
  draw()
end

local client = machines.new { on_event = on_event }
local tasks = {}
for i, order_by in ipairs { "created_at", "-created_at" } do
  tasks[i] = client:spawn(client.collect, client, { limit = 5, order_by = order_by })
end
for _, task in ipairs(tasks) do task:result() end
client:close()
print(("\n"):rep(#order))
