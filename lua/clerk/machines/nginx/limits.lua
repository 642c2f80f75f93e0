--- Limits inside nginx: at most `count` at a time, and the others wait in their order. A place is
--- given back by itself after a time, since a thread that nginx ends gives nothing back.

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

local function occupy(limit, holder, for_ms)
  limit.end_times[holder] = core.now() + for_ms
  limit.free = limit.free - 1
end

--- The first in the queue that still waits; `own` is the place of the running thread.
local function next_place(limit, own)
  local place
  repeat
    place = table.remove(limit.queue, 1)
  until not place or place == own or threads.is_in_use(place.waiter)
  return place
end

--- The next one has the place before it runs, so that no other thread takes it meanwhile.
local function release(limit, holder, own)
  if not limit.end_times[holder] then
    return
  end
  limit.end_times[holder] = nil
  limit.free = limit.free + 1
  local place = next_place(limit, own)
  if place then
    occupy(limit, place, place.for_ms)
    threads.wake(place.waiter)
  end
end

--- Releases those whose time is over; returns when the next one's will be.
local function release_overdue(limit, own)
  local next_end, overdue = math.huge, {}
  for holder, ends_at in pairs(limit.end_times) do
    if ends_at <= core.now() then
      table.insert(overdue, holder)
    else
      next_end = math.min(next_end, ends_at)
    end
  end
  for _, holder in ipairs(overdue) do
    release(limit, holder, own)
  end
  return next_end
end

local function take_later(limit, wakes_at, for_ms)
  local waiter = threads.new_waiter()
  local place = { waiter = waiter, for_ms = for_ms }
  table.insert(limit.queue, place)
  local next_end = release_overdue(limit, place)
  while not waiter.is_woken and core.now() < wakes_at and not threads.is_cancelled() do
    threads.wait(waiter, math.min(wakes_at, next_end))
    next_end = release_overdue(limit, place)
  end
  if threads.is_cancelled() then
    limit:give(place)
    return nil
  end
  return waiter.is_woken and place or nil
end

--- Takes a place for at most `for_ms`, or waits for one until `wakes_at`. Where nothing else can
--- run meanwhile, there is always one.
---@return table|nil holder for `give`; nil when there was none in time
function Limit:take(wakes_at, for_ms)
  local holder = {}
  if not phases.can_wait() then
    return holder
  elseif self.free <= 0 then
    return take_later(self, wakes_at or math.huge, for_ms)
  end
  occupy(self, holder, for_ms)
  return holder
end

function Limit:give(holder)
  release(self, holder)
end

return limits
