--- Tasks: coroutines that wait for transfers, for times and for one another, and the steps that
--- resume them. One scheduler serves a Lua state; it holds its tasks only by the lanes of their
--- clients, and those weakly: what nobody can reach any more is collected, tasks under way too.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local tasks = {}

--- How long a step resumes tasks, so that a host that draws or serves beside them is not held up.
local SLICE_US = 150

--- How long one step waits at most, so that signals and debug hooks get their turn.
local LONGEST_STEP_MS = 1000

--- What a task yields when it waits here; whatever else it yields is its own affair, and it is
--- resumed with the next step.
local WAIT = {}

--- Lanes that have unfinished tasks, with what is finalized when their client is collected: weak
--- values go before finalizers run, keys only after that, when calls can be used no more.
local lanes = setmetatable({}, { __mode = "kv" })

local by_thread = setmetatable({}, { __mode = "kv" })

--- Who waits for a transfer, by its key.
local by_transfer = setmetatable({}, { __mode = "v" })

---@class clerk.machines.Task
---@field status "running"|"done"|"failed"|"cancelled"
local Task = { __name = "clerk.machines.Task" }
Task.__index = Task

tasks.Task = Task

function Task:__tostring()
  return ("%s (%s)"):format(Task.__name, self.status)
end

--- The task that runs, when this is its own thread and not a coroutine that it made.
local function current()
  local thread = coroutine.running()
  return thread and by_thread[thread]
end

tasks.current = current

-- ---------------------------------------------------------------- who is ready
-- Lists are chained through their members: to be woken takes no memory, and so cannot fail.

local function push(list, member)
  member.next = false
  if list.last then
    list.last.next = member
  else
    list.first = member
  end
  list.last = member
end

local function shift(list)
  local member = list.first
  list.first = member and member.next
  if not list.first then
    list.last = false
  end
  return member
end

local function remove(list, member)
  local previous, at = false, list.first
  while at and at ~= member do
    previous, at = at, at.next
  end
  if not at then
    return
  elseif previous then
    previous.next = at.next
  else
    list.first = at.next
  end
  if list.last == at then
    list.last = previous
  end
end

--- Calls nothing: without memory a call can fail, and who is not woken waits for ever.
local function make_ready(task)
  local ready = task.lane.ready
  if task.is_ready then
    return
  elseif ready.last then
    ready.last.next = task
  else
    ready.first = task
  end
  task.is_ready, task.next = true, false
  ready.last = task
end

--- Where a task cannot yield, as in a callback of string.gsub, it blocks.
local function new_waiter()
  return { task = core.is_yieldable() and current() or nil, is_woken = false, next = false }
end

local function wake(waiter)
  waiter.is_woken = true
  if waiter.task then
    make_ready(waiter.task)
  end
end

-- ---------------------------------------------------------------- times
-- A lane's timers are its sleeping tasks, chained in the order of their times: most sleep equally
-- long, so that a new one is the last.

local function remove_timer(task)
  if not task.wakes_at then
    return
  end
  local timers, earlier, later = task.lane.timers, task.earlier, task.later
  if earlier then
    earlier.later = later
  else
    timers.first = later
  end
  if later then
    later.earlier = earlier
  else
    timers.last = earlier
  end
  task.wakes_at = false
  task.earlier, task.later = false, false -- who keeps a task must not keep its neighbours
end

local function add_timer(task, wakes_at)
  remove_timer(task) -- of a wait that could not begin
  local timers = task.lane.timers
  local earlier, later = timers.last, false
  while earlier and earlier.wakes_at > wakes_at do
    earlier, later = earlier.earlier, earlier
  end
  task.earlier, task.later = earlier, later
  task.wakes_at = wakes_at
  if earlier then
    earlier.later = task
  else
    timers.first = task
  end
  if later then
    later.earlier = task
  else
    timers.last = task
  end
end

local function wake_sleepers(lane)
  local task = lane.timers.first
  local now = task and core.now()
  while task and task.wakes_at <= now do
    remove_timer(task)
    make_ready(task)
    task = lane.timers.first
  end
end

--- How long a lane has nothing to do, at most `wait_ms`, which may be nil: for ever.
local function time_to_wait(lane, wait_ms)
  local sleeper = lane.timers.first
  if lane.ready.first then
    return 0
  elseif not sleeper then
    return wait_ms
  end
  local left = math.max(0, sleeper.wakes_at - core.now())
  return wait_ms and math.min(wait_ms, left) or left
end

-- ---------------------------------------------------------------- running

local function keep_outcome(task, ok, ...)
  local results = { n = select("#", ...), ... } -- can fail, and so comes first
  if ok then
    task.results = results
  else
    task.problem = results[1]
  end
  task.status = task.is_cancelled and "cancelled" or ok and "done" or "failed"
end

local function finish(task, ...)
  local lane = task.lane
  remove_timer(task)
  keep_outcome(task, ...)
  lane.tasks[task] = nil
  lane.count = lane.count - 1
  if lane.count == 0 then
    lanes[lane] = nil
  end
  while task.joiners.first do
    wake(shift(task.joiners))
  end
end

--- Whether all who were woken are ready: no more when an error, of a signal or for want of memory,
--- ended what was waking or resuming them.
local is_whole = true

local listener

--- Has `f` called after everything that may change what `tasks.pollable` returns.
function tasks.on_change(f)
  listener = f
end

local function changed()
  if listener then
    listener()
  end
end

local function guard(f, ...)
  local ok, problem = pcall(f, ...)
  is_whole = is_whole and ok
  changed()
  if not ok then
    error(problem, 0)
  end
end

--- Makes all tasks ready, and who has nothing to be ready for waits again.
local function mend(list)
  for _, lane in ipairs(list) do
    lane.ready, lane.timers = { first = false, last = false }, { first = false, last = false }
    for task in pairs(lane.tasks) do
      local wakes_at = task.wakes_at
      task.is_ready, task.wakes_at = false, false
      make_ready(task)
      if wakes_at then
        add_timer(task, wakes_at)
      end
    end
  end
  is_whole = true
end

--- What a task's coroutine runs. Protected, so that what 5.4 has to close is closed here, where it
--- may wait; and however the coroutine is resumed, by a transport of the user's too, it ends here.
local function run(task, f, ...)
  finish(task, pcall(f, ...))
end

--- What is not ok is want of memory: a task ends by itself. To tell it of its end can fail as well,
--- and is done when it is resumed once more, by a step or to be cancelled.
local function settle(task, ok, yielded)
  if task.status ~= "running" or yielded == WAIT then
    return
  end
  task.is_waiting, task.problem = not ok, task.problem or not ok and yielded or nil
  if coroutine.status(task.thread) == "suspended" then
    make_ready(task)
  else
    finish(task, false, task.problem)
  end
end

local function resume(task, ...)
  settle(task, coroutine.resume(task.thread, ...))
end

local function is_active(task)
  local status = coroutine.status(task.thread)
  return status == "running" or status == "normal"
end

--- Resumes those that are ready by now, one at least and others till the time is over; whether
--- there was one. Cancelled ones may run already, or have ended; one whose thread is dead and that
--- has not ended could not be told of it.
local function resume_ready(lane, end_us)
  local last = lane.ready.last
  local has_resumed = false
  while lane.ready.first and (not has_resumed or core.now_us() < end_us) do
    local task = shift(lane.ready)
    task.is_ready = false
    if task.status == "running" and not is_active(task) then
      has_resumed = true
      resume(task)
    end
    if task == last then
      break
    end
  end
  return has_resumed
end

local function wake_finished()
  local key = core.loop:next_finished()
  local has_finished = key ~= nil
  while key do
    local waiter = by_transfer[key]
    by_transfer[key] = nil
    if waiter then
      wake(waiter)
    end
    key = core.loop:next_finished()
  end
  return has_finished
end

local function unfinished(lane)
  local list = {}
  for task in pairs(lane.tasks) do
    list[#list + 1] = task
  end
  return list
end

local NO_LANES = {}

--- The lanes as they are now: tasks that are resumed may spawn some in others.
local function snapshot()
  local list = next(lanes) and {} or NO_LANES
  for lane in pairs(lanes) do
    list[#list + 1] = lane
  end
  return list
end

--- Where the unfinished tasks were begun.
local process_id

--- In a forked child: the tasks are the parent's, which goes on with them, and must not do twice
--- what they do. Not so the one that forked. Whether it is such a child.
local function leave_to_parent()
  if not next(lanes) or core.process_id() == process_id then
    return false
  end
  core.loop:step(0)
  wake_finished()
  for _, lane in ipairs(snapshot()) do
    for _, task in ipairs(unfinished(lane)) do
      if not is_active(task) then
        task:cancel()
      end
    end
  end
  process_id = core.process_id()
  return true
end

--- Until the waiter, if any, is woken.
local function step(wait_ms, waiter)
  if leave_to_parent() then
    return
  end
  local end_us = core.now_us() + SLICE_US
  local list = snapshot()
  if not is_whole then
    mend(list)
  end
  repeat
    local has_moved = false
    for _, lane in ipairs(list) do
      wake_sleepers(lane)
      has_moved = resume_ready(lane, end_us) or has_moved
      wait_ms = has_moved and 0 or time_to_wait(lane, wait_ms)
    end
    core.loop:step(math.min(wait_ms, LONGEST_STEP_MS))
    has_moved = wake_finished() or has_moved
    wait_ms = 0
  until not has_moved or (waiter and waiter.is_woken) or core.now_us() >= end_us
end

--- Moves what can move, for a short time; before that, while nothing can, waits at most `wait_ms`.
function tasks.step(wait_ms)
  guard(step, wait_ms)
end

--- How many unfinished tasks a lane has.
function tasks.count(lane)
  return lane.count
end

--- Steps until none of the lane's tasks is left.
function tasks.run(lane)
  while lane.count > 0 do
    tasks.step(math.huge)
  end
end

-- ---------------------------------------------------------------- waiting

local function wait_in_task(waiter, wakes_at)
  local task = waiter.task
  leave_to_parent()
  task.is_waiting = true
  repeat -- a transport of the user's may resume its task late, and to mend may be interrupted too
    if wakes_at and task.wakes_at ~= wakes_at then
      guard(add_timer, task, wakes_at)
    end
    coroutine.yield(WAIT)
  until waiter.is_woken or task.is_cancelled or (wakes_at and core.now() >= wakes_at)
  task.is_waiting = false
  remove_timer(task)
end

--- Waits until somebody wakes the waiter, the time has come (core.now's; nil: none does) or its
--- task is cancelled.
local function wait(waiter, wakes_at)
  if not waiter.task then
    repeat
      guard(step, wakes_at and math.max(0, wakes_at - core.now()) or LONGEST_STEP_MS, waiter)
    until waiter.is_woken or (wakes_at and core.now() >= wakes_at)
  elseif not waiter.task.is_cancelled then
    wait_in_task(waiter, wakes_at)
  end
end

--- Whether the task that runs has been cancelled.
function tasks.is_cancelled()
  local task = current()
  return task ~= nil and task.is_cancelled
end

--- Keeps the error of the call that was cancelled with its task, whatever the task's function does
--- after it: only this error says whether the call may have been applied.
function tasks.note_error(err)
  local task = current()
  if task and task.is_cancelled then
    task.problem = task.problem or err
  end
end

--- Waits until the transfer has finished; false when before that the time has come or the task is
--- cancelled.
function tasks.await(transfer, wakes_at)
  local waiter = new_waiter()
  by_transfer[transfer:key()] = waiter
  wait(waiter, wakes_at)
  return waiter.is_woken
end

--- Waits so many ms; false when the task is cancelled meanwhile.
function tasks.sleep(ms)
  local wakes_at = core.now() + ms
  if next(lanes) then
    wait(new_waiter(), wakes_at)
    return not tasks.is_cancelled()
  end
  repeat
    core.sleep(wakes_at - core.now())
  until core.now() >= wakes_at
  return true
end

-- ---------------------------------------------------------------- slots

--- Slots are what a client has so many of, for whoever comes first. Their holders are known, and
--- so are not collected: a slot that nobody gives back would be lost.
function tasks.new_slots(count)
  return { free = count, first = false, last = false, holders = {} }
end

local function hold(slots, is_held)
  slots.holders[coroutine.running() or slots] = is_held
end

--- Whether who runs has a slot already.
function tasks.has_slot(slots)
  return slots.holders[coroutine.running() or slots] ~= nil
end

--- Whether this call blocks, and one beneath it on the stack has a slot or waits for it: that one
--- goes on when this one is through, so that to wait in line would be to wait for ever.
local function is_nested(slots)
  for thread in pairs(current() and {} or slots.holders) do
    if thread == slots or coroutine.status(thread) == "normal" then
      return true
    end
  end
  return false
end

local function wait_in_line(slots, waiter, wakes_at)
  push(slots, waiter)
  wait(waiter, wakes_at)
end

--- Takes a slot, or waits in line for one until that time; false when it did not get any. A nested
--- call gets one too many. Who holds it is noted first, since that can fail.
function tasks.take_slot(slots, wakes_at)
  if slots.free > 0 or is_nested(slots) then
    hold(slots, true)
    slots.free = slots.free - 1
    return true
  end
  local waiter = new_waiter()
  hold(slots, true)
  local ok, problem = pcall(wait_in_line, slots, waiter, wakes_at)
  if not waiter.is_woken then
    hold(slots, nil)
    remove(slots, waiter)
  elseif not ok then
    tasks.give_slot(slots)
  end
  if not ok then
    error(problem, 0)
  end
  return waiter.is_woken
end

function tasks.give_slot(slots)
  hold(slots, nil)
  local waiter = slots.free >= 0 and shift(slots)
  if waiter then
    wake(waiter)
    changed()
  else
    slots.free = slots.free + 1
  end
end

-- ---------------------------------------------------------------- tasks

--- What a client knows of its tasks. Whoever has one of these has their owner too.
---@param owner table|userdata what is finalized when the client is collected
function tasks.new_lane(owner)
  return {
    owner = owner,
    tasks = {},
    count = 0,
    ready = { first = false, last = false },
    timers = { first = false, last = false },
  }
end

local function start(task, ...)
  local lane = task.lane
  leave_to_parent()
  if not next(lanes) then
    process_id = core.process_id()
  end
  by_thread[task.thread] = task
  lanes[lane] = lane.owner
  lane.tasks[task] = true
  lane.count = lane.count + 1
  resume(task, ...)
end

--- Runs `f` until it would wait.
---@return clerk.machines.Task
function tasks.spawn(lane, f, ...)
  local task = setmetatable({
    status = "running",
    lane = lane,
    thread = coroutine.create(run),
    joiners = { first = false, last = false },
    is_cancelled = false,
    is_waiting = false,
    is_ready = false,
    wakes_at = false,
    earlier = false,
    later = false,
    next = false,
    results = false,
    problem = nil,
  }, Task)
  guard(start, task, task, f, ...)
  return task
end

local function check_task(task, method)
  if getmetatable(task) ~= Task then
    errors.refuse(("call it with a colon: task:%s()"):format(method))
  end
end

--- Ends the task: the wait that it is in, and every further one, raises an error `cancelled`. Its
--- clean-up has run when this returns, unless it yields on its own.
function Task:cancel()
  check_task(self, "cancel")
  if self.status ~= "running" then
    return
  end
  self.is_cancelled = true
  if self.is_waiting and not is_active(self) then
    guard(resume, self)
  end
end

--- Waits until the task has ended, in a task or outside; raises when it is itself cancelled.
function tasks.await_end(task)
  if task.status ~= "running" then
    return
  end
  local waiter = new_waiter()
  push(task.joiners, waiter)
  wait(waiter)
  if not waiter.is_woken then
    remove(task.joiners, waiter)
    error(errors.of_cancelled(), 0)
  end
end

--- What the function returned, or its error, raised. Waits until the task has ended: another task
--- yields meanwhile, any other caller steps.
function Task:result()
  check_task(self, "result")
  if self.status == "running" and is_active(self) then
    errors.refuse("a task cannot wait for its own result")
  end
  tasks.await_end(self)
  if self.status == "done" then
    return unpack(self.results, 1, self.results.n)
  end
  if self.status == "cancelled" and self.problem == nil then
    error(errors.of_cancelled(), 0)
  end
  error(self.problem, 0)
end

--- Cancels all unfinished tasks of a lane.
function tasks.cancel_all(lane)
  for _, task in ipairs(unfinished(lane)) do
    task:cancel()
  end
end

--- For an event loop: a descriptor that is readable, or after how many ms, when a step is due.
---@return integer|nil fd nil where there is no epoll
---@return integer|nil ms nil: none is due before the descriptor is readable
function tasks.pollable()
  local fd, ms = core.loop:descriptor()
  for lane in pairs(lanes) do
    ms = time_to_wait(lane, ms)
  end
  if not is_whole then
    ms = 0
  end
  return fd, ms
end

return tasks
