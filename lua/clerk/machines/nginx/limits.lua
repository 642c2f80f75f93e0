--- Slots inside nginx: what a client has so many of. Each is lent for a time, since who is killed
--- gives nothing back; who has it longer only lets another one begin.

local core = require "clerk.machines.core"
local phases = require "clerk.machines.nginx.phases"
local threads = require "clerk.machines.nginx.threads"

local nginx_slots = {}

function nginx_slots.new(count)
  return { count = count, lent = 0, loans = {}, waiting = threads.new_line() }
end

local function end_loan(slots, loan)
  if slots.loans[loan] then
    slots.loans[loan] = nil
    slots.lent = slots.lent - 1
  end
end

--- Ends those that are overdue; when the next one will be.
local function collect_overdue(slots)
  local next_end = math.huge
  for loan in pairs(slots.loans) do
    if loan.ends_at <= core.now() then
      end_loan(slots, loan)
    else
      next_end = math.min(next_end, loan.ends_at)
    end
  end
  return next_end
end

local function is_free(slots)
  return slots.lent < slots.count
end

local function find_loan(slots)
  local thread = coroutine.running()
  for i, loan in ipairs(threads.request().loans) do
    if loan.slots == slots and loan.thread == thread then
      return loan, i
    end
  end
end

--- Whether the running thread has a slot. Where nothing else runs, it needs none.
function nginx_slots.has(slots)
  return not phases.can_wait() or find_loan(slots) ~= nil
end

local function lend(slots, loan_ms)
  local loan = { slots = slots, thread = coroutine.running(), ends_at = core.now() + loan_ms }
  slots.loans[loan] = true
  slots.lent = slots.lent + 1
  table.insert(threads.request().loans, loan)
end

local function await_free(slots, wakes_at)
  local next_end = collect_overdue(slots)
  while not is_free(slots) and core.now() < wakes_at and not threads.is_cancelled() do
    threads.wait(slots.waiting, function()
      return is_free(slots)
    end, math.min(wakes_at, next_end))
    next_end = collect_overdue(slots)
  end
end

--- Takes a slot for so long, or waits for one until that time; false when it did not get any.
function nginx_slots.take(slots, wakes_at, loan_ms)
  if not phases.can_wait() then
    return true
  elseif not is_free(slots) then
    await_free(slots, wakes_at or math.huge)
  end
  if not is_free(slots) then
    return false
  elseif threads.is_cancelled() then
    threads.wake_one(slots.waiting)
    return false
  end
  lend(slots, loan_ms)
  return true
end

function nginx_slots.give(slots)
  local loan, i
  if phases.can_wait() then
    loan, i = find_loan(slots)
  end
  if loan then
    table.remove(threads.request().loans, i)
    end_loan(slots, loan)
    threads.wake_one(slots.waiting)
  end
end

return nginx_slots
