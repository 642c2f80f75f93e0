--- Limits outside nginx: at most `count` at a time, and the others wait in their order. Those that
--- are within the limit or wait for it are known, and so are not collected: their place would be
--- lost.

local scheduler = require "clerk.machines.loop.scheduler"

local Limit = {}
Limit.__index = Limit

local limits = {}

---@param count integer
function limits.new(count)
  return setmetatable({ free = count, holders = {}, queue = {}, first = 1, last = 0 }, Limit)
end

--- Whether this call blocks while one below it on the stack is within the limit or waits for it:
--- that one goes on only after this one, so that this one must not wait.
local function is_nested(limit)
  for thread in pairs(scheduler.current() and {} or limit.holders) do
    if thread == limit or coroutine.status(thread) == "normal" then
      return true
    end
  end
  return false
end

local function wait_in_queue(limit, place, wakes_at)
  limit.queue[limit.last + 1] = place
  limit.last = limit.last + 1
  scheduler.wait(place.waiter, wakes_at)
end

--- The waiter of the first that still waits. Removing takes no memory, and so cannot fail.
local function next_waiter(limit)
  local queue = limit.queue
  while limit.first <= limit.last do
    local place = queue[limit.first]
    queue[limit.first] = nil
    limit.first = limit.first + 1
    if place.waiter then
      return place.waiter
    end
  end
end

local function take_later(limit, holder, wakes_at)
  local waiter = scheduler.new_waiter()
  local place = { waiter = waiter }
  limit.holders[holder] = true
  local ok, problem = pcall(wait_in_queue, limit, place, wakes_at)
  if ok and waiter.is_woken then
    return holder
  elseif waiter.is_woken then
    limit:give(holder)
  else
    place.waiter = nil
    limit.holders[holder] = nil
  end
  if not ok then
    error(problem, 0)
  end
end

--- Takes a place, or waits for one until that time (core.now's; nil: as long as it takes). A nested
--- call gets one beyond the limit.
---@return any holder for `give`; nil when there was none in time
function Limit:take(wakes_at)
  local holder = coroutine.running() or self
  if self.free <= 0 and not is_nested(self) then
    return take_later(self, holder, wakes_at)
  end
  self.holders[holder] = true -- first, since it may run out of memory
  self.free = self.free - 1
  return holder
end

function Limit:give(holder)
  self.holders[holder] = nil
  self.free = self.free + 1
  local waiter = self.free > 0 and next_waiter(self)
  if waiter then
    self.free = self.free - 1
    scheduler.wake(waiter)
    scheduler.changed()
  end
end

return limits
