--- Limits inside nginx: so many at once, and the others wait in their order. A place is given back
--- by itself after a time, since a thread that nginx ends gives nothing back.

local core = require "clerk.machines.core"
local phases = require "clerk.machines.nginx.phases"
local threads = require "clerk.machines.nginx.threads"

local Limit = {}
Limit.__index = Limit

local limits = {}

---@param count integer
function limits.new(count)
  return setmetatable({ free = count, end_times = {}, queue = {} }, Limit)
end

local function release(limit, holder)
  if limit.end_times[holder] then
    limit.end_times[holder] = nil
    limit.free = limit.free + 1
  end
end

--- Releases those whose time is over; returns when the next one's will be.
local function release_overdue(limit)
  local next_end = math.huge
  for holder, ends_at in pairs(limit.end_times) do
    if ends_at <= core.now() then
      release(limit, holder)
    else
      next_end = math.min(next_end, ends_at)
    end
  end
  return next_end
end

local function wake_next(limit)
  local waiter
  repeat
    waiter = table.remove(limit.queue, 1)
  until not waiter or threads.is_in_use(waiter)
  if waiter then
    threads.wake(waiter)
  end
end

local function await_free(limit, wakes_at)
  local next_end = release_overdue(limit)
  while limit.free <= 0 and core.now() < wakes_at and not threads.is_cancelled() do
    local waiter = threads.new_waiter()
    table.insert(limit.queue, waiter)
    threads.wait(waiter, math.min(wakes_at, next_end))
    next_end = release_overdue(limit)
  end
end

--- Takes a place for at most so long, or waits for one until that time. Where nothing else can run
--- meanwhile, there is always one.
---@return table|nil holder for `give`; nil when there was none in time
function Limit:take(wakes_at, for_ms)
  local holder = {}
  if not phases.can_wait() then
    return holder
  elseif self.free <= 0 then
    await_free(self, wakes_at or math.huge)
  end
  if self.free <= 0 then
    return nil
  elseif threads.is_cancelled() then
    wake_next(self)
    return nil
  end
  self.end_times[holder] = core.now() + for_ms
  self.free = self.free - 1
  return holder
end

function Limit:give(holder)
  release(self, holder)
  wake_next(self)
end

return limits
