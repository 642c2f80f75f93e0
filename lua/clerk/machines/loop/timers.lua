--- The timers of a group: its sleeping tasks, chained in the order of their times. Most sleep
--- equally long, so that a new one is the last.

local core = require "clerk.machines.core"

local timers = {}

function timers.new()
  return { first = false, last = false }
end

--- Removes a task's timer, if it has one. Takes no memory, and so cannot fail.
function timers.remove(list, task)
  if not task.wakes_at then
    return
  end
  local earlier, later = task.earlier, task.later
  if earlier then
    earlier.later = later
  else
    list.first = later
  end
  if later then
    later.earlier = earlier
  else
    list.last = earlier
  end
  task.wakes_at = false
  task.earlier, task.later = false, false -- to keep a task must not keep its neighbours
end

--- Replaces a task's timer.
---@param wakes_at number a time of core.now
function timers.set(list, task, wakes_at)
  timers.remove(list, task)
  local earlier, later = list.last, false
  while earlier and earlier.wakes_at > wakes_at do
    earlier, later = earlier.earlier, earlier
  end
  task.earlier, task.later = earlier, later
  task.wakes_at = wakes_at
  if earlier then
    earlier.later = task
  else
    list.first = task
  end
  if later then
    later.earlier = task
  else
    list.last = task
  end
end

--- Removes and returns the first task whose time has come.
function timers.shift_due(list)
  local task = list.first
  if task and task.wakes_at <= core.now() then
    timers.remove(list, task)
    return task
  end
end

--- How long the first task still sleeps, in ms; nil when there is none.
---@return number?
function timers.time_left(list)
  return list.first and math.max(0, list.first.wakes_at - core.now()) or nil
end

return timers
