--- How tasks wait and go on outside nginx: as coroutines, which wait for transfers, for times and
--- for one another, and which steps resume. One scheduler serves a Lua state. It reaches its tasks
--- only through the groups of their clients, and those weakly: what nothing else can reach is
--- collected, unfinished tasks included.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local timers = require "clerk.machines.loop.timers"

local scheduler = {}

--- How long a step moves transfers, and as long again resumes tasks, so that it does not hold up a
--- host that draws or serves.
local SLICE_US = 150

--- The same where no host waits for the step: only tasks wait for one another.
local RUN_US = 20000

--- What a task yields when it waits here. A task that yields anything else has its own reasons, and
--- is resumed with the next step.
local WAIT = {}

--- Groups that have unfinished tasks, with what is finalized when their client is collected: weak
--- values go before finalizers run, keys only after that, when calls can be used no more.
local groups = setmetatable({}, { __mode = "kv" })

--- Whether there are no tasks.
function scheduler.is_alone()
  return not next(groups)
end

local by_thread = setmetatable({}, { __mode = "kv" })

--- The waiters for transfers, by the transfers' keys.
local by_transfer = setmetatable({}, { __mode = "v" })

--- The running task, if this is its own thread rather than a coroutine that it made.
---@return clerk.machines.Task?
function scheduler.current()
  local thread = coroutine.running()
  return thread and by_thread[thread]
end

local current = scheduler.current

--- Whether the running task has been cancelled.
function scheduler.is_cancelled()
  local task = current()
  return task ~= nil and task.is_cancelled
end

-- ---------------------------------------------------------------- ready tasks
-- A list chained through its members: to wake a task takes no memory, and so cannot fail.

local function new_list()
  return { first = false, last = false }
end

--- Calls nothing, since a call can run out of memory too.
local function make_ready(task)
  local ready = task.group.ready
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

local function shift_ready(group)
  local ready = group.ready
  local task = ready.first
  ready.first = task.next
  if not ready.first then
    ready.last = false
  end
  task.is_ready = false
  return task
end

--- Where a task cannot yield, as in a callback of string.gsub, it blocks.
function scheduler.new_waiter()
  return { task = core.is_yieldable() and current() or nil, is_woken = false }
end

function scheduler.wake(waiter)
  waiter.is_woken = true
  if waiter.task then
    make_ready(waiter.task)
  end
end

-- ---------------------------------------------------------------- times

local function wake_sleepers(group)
  local task = timers.shift_due(group.timers)
  while task do
    make_ready(task)
    task = timers.shift_due(group.timers)
  end
end

--- How long a group has nothing to do, at most `wait_ms`, which may be nil: without an end.
local function time_to_wait(group, wait_ms)
  if group.ready.first then
    return 0
  end
  local left = timers.time_left(group.timers)
  return left and math.min(wait_ms or left, left) or wait_ms
end

-- ---------------------------------------------------------------- running

--- Whether every task that was woken is ready. It is not after an error (a signal's, or out of
--- memory) has ended what was waking or resuming tasks.
local is_whole = true

local listener

--- Has `f` called after everything that may change what `scheduler.pollable` returns.
function scheduler.on_change(f)
  listener = f
end

function scheduler.changed()
  if listener then
    listener()
  end
end

local function guard(f, ...)
  local ok, problem = pcall(f, ...)
  is_whole = is_whole and ok
  scheduler.changed()
  if not ok then
    error(problem, 0)
  end
end

--- Makes all tasks ready. Those that still have to wait will find out.
local function repair(list)
  for _, group in ipairs(list) do
    group.ready, group.timers = new_list(), timers.new()
    for task in pairs(group.tasks) do
      local wakes_at = task.wakes_at
      task.is_ready, task.wakes_at = false, false
      make_ready(task)
      if wakes_at then
        timers.set(group.timers, task, wakes_at)
      end
    end
  end
  is_whole = true
end

--- A task has ended.
function scheduler.forget(task)
  local group = task.group
  timers.remove(group.timers, task)
  by_thread[task.thread] = nil
  group.tasks[task] = nil
  group.count = group.count - 1
  if group.count == 0 then
    groups[group] = nil
  end
end

--- What a task's coroutine runs. Protected, so that what 5.4 has to close is closed here, where it
--- may wait; and whatever resumes the coroutine, a user's transport too, the task ends here.
local function run(task, f, ...)
  task.finish(task, pcall(f, ...))
end

--- A coroutine that dies by an error has run out of memory, or one of its task's on_done functions
--- has raised it.
local function settle(task, ok, yielded)
  if not ok and task.status ~= "running" then
    error(yielded, 0)
  elseif task.status ~= "running" or yielded == WAIT then
    return
  end
  task.is_waiting, task.problem = not ok, task.problem or not ok and yielded or nil
  if coroutine.status(task.thread) == "suspended" then
    make_ready(task)
  else
    task.finish(task, false, task.problem)
  end
end

local function resume(task, ...)
  settle(task, coroutine.resume(task.thread, ...))
end

local function is_active(task)
  local status = coroutine.status(task.thread)
  return status == "running" or status == "normal"
end

--- Resumes those that are ready by now, at least one, until the time is over. Returns whether there
--- was one. A task that was cancelled may be running already, or have ended.
local function resume_ready(group, end_us)
  local last = group.ready.last
  local has_resumed = false
  while group.ready.first and (not has_resumed or core.now_us() < end_us) do
    local task = shift_ready(group)
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

--- Wakes what waits for the transfer with this key, and for the others that have finished. Returns
--- whether there is one.
local function wake_finished(key)
  local has_finished = key ~= nil
  while key do
    local waiter = by_transfer[key]
    by_transfer[key] = nil
    if waiter then
      scheduler.wake(waiter)
    end
    key = core.loop:next_finished()
  end
  return has_finished
end

local NO_GROUPS = {}

--- The groups as they are now: tasks that are resumed may begin others.
local function snapshot()
  local list = next(groups) and {} or NO_GROUPS
  for group in pairs(groups) do
    list[#list + 1] = group
  end
  return list
end

--- The process in which the unfinished tasks began.
local process_id

--- In a forked child the tasks are the parent's, which goes on with them: the child must not do the
--- same again, except for the task that forked. Returns whether this is such a child.
local function leave_to_parent()
  if not next(groups) or core.process_id() == process_id then
    return false
  end
  wake_finished(core.loop:step(0, 0))
  local inherited = {}
  for _, group in ipairs(snapshot()) do
    for task in pairs(group.tasks) do
      inherited[#inherited + 1] = not is_active(task) and task or nil
    end
  end
  scheduler.cancel(inherited)
  process_id = core.process_id()
  return true
end

--- Until the waiter, if any, is woken.
local function step(wait_ms, slice_us, waiter)
  if leave_to_parent() then
    return
  end
  local end_us = core.now_us() + slice_us
  if not is_whole then
    repair(snapshot())
  end
  repeat
    local has_moved = false
    for _, group in ipairs(snapshot()) do
      wake_sleepers(group)
      has_moved = resume_ready(group, end_us) or has_moved
      wait_ms = has_moved and 0 or time_to_wait(group, wait_ms)
    end
    has_moved = wake_finished(core.loop:step(wait_ms, slice_us)) or has_moved
    wait_ms = 0
  until not has_moved or (waiter and waiter.is_woken) or core.now_us() >= end_us
end

--- Moves what can move, for a short time; before that, while nothing can, waits at most `wait_ms`.
function scheduler.step(wait_ms)
  guard(step, wait_ms, SLICE_US)
end

--- How many unfinished tasks a group has.
function scheduler.count(group)
  return group.count
end

--- Steps until the group has no unfinished task.
function scheduler.run(group)
  while group.count > 0 do
    guard(step, math.huge, RUN_US)
  end
end

--- For an event loop: a descriptor that is readable, or after how many ms, when a step is due.
---@return integer|nil fd nil where there is no epoll
---@return integer|nil ms nil: no step is due before the descriptor is readable
function scheduler.pollable()
  local fd, ms = core.loop:descriptor()
  for group in pairs(groups) do
    ms = time_to_wait(group, ms)
  end
  if not is_whole then
    ms = 0
  end
  return fd, ms
end

-- ---------------------------------------------------------------- waiting

local function wait_in_task(waiter, wakes_at)
  local task = waiter.task
  leave_to_parent()
  task.is_waiting = true
  repeat -- a user's transport may resume its task late, and a repair makes all tasks ready
    if wakes_at and task.wakes_at ~= wakes_at then
      guard(timers.set, task.group.timers, task, wakes_at)
    end
    coroutine.yield(WAIT)
  until waiter.is_woken or task.is_cancelled or (wakes_at and core.now() >= wakes_at)
  task.is_waiting = false
  if wakes_at then
    timers.remove(task.group.timers, task)
  end
end

--- Waits until the waiter is woken, the time has come (core.now's; nil: it never does) or its task
--- is cancelled.
function scheduler.wait(waiter, wakes_at)
  if not waiter.task then
    repeat
      local wait_ms = wakes_at and math.max(0, wakes_at - core.now()) or math.huge
      guard(step, wait_ms, RUN_US, waiter)
    until waiter.is_woken or (wakes_at and core.now() >= wakes_at)
  elseif not waiter.task.is_cancelled then
    wait_in_task(waiter, wakes_at)
  end
end

--- Lets the running task, if any, go on with the next step. Returns false where it cannot yield.
function scheduler.try_yield()
  local task = current()
  if task then
    make_ready(task)
  end
  return not task or pcall(coroutine.yield, WAIT)
end

--- Without tasks there is nothing to do but to wait. A finalizer may make calls in the meantime,
--- and tasks: then this returns false before its time.
local function await_alone(transfer)
  repeat
    if transfer:step() then
      return true
    end
    wake_finished(core.loop:next_finished()) -- what a call around this one waits for
  until not scheduler.is_alone()
  return transfer:is_finished()
end

local function await_among_tasks(transfer)
  local waiter = scheduler.new_waiter()
  by_transfer[transfer:key()] = waiter
  scheduler.wait(waiter)
  return waiter.is_woken or transfer:is_finished()
end

--- Waits until the transfer has finished. Returns false when the task is cancelled before that.
function scheduler.await(transfer)
  local is_finished = scheduler.is_alone() and await_alone(transfer)
  scheduler.changed()
  return is_finished or await_among_tasks(transfer)
end

--- Waits for `ms` milliseconds. Returns false when the task is cancelled meanwhile.
function scheduler.sleep(ms)
  local wakes_at = core.now() + ms
  if next(groups) then
    scheduler.wait(scheduler.new_waiter(), wakes_at)
    return not scheduler.is_cancelled()
  end
  repeat
    core.sleep(wakes_at - core.now())
  until core.now() >= wakes_at
  return true
end

-- ---------------------------------------------------------------- a task's life

--- A client's unfinished tasks. Whatever holds one of these tasks holds their owner too.
---@param owner table|userdata what is finalized when the client is collected
function scheduler.new_group(owner)
  return { owner = owner, tasks = {}, count = 0, ready = new_list(), timers = timers.new() }
end

local function begin(task, ...)
  local group = task.group
  leave_to_parent()
  if not next(groups) then
    process_id = core.process_id()
  end
  by_thread[task.thread] = task
  groups[group] = group.owner
  group.tasks[task] = true
  group.count = group.count + 1
  resume(task, ...)
end

--- Runs finish(task, pcall(f, ...)) until it would wait.
function scheduler.start(task, finish, f, ...)
  task.finish = finish
  task.thread = coroutine.create(run)
  task.is_waiting, task.is_ready, task.next = false, false, false
  task.wakes_at, task.earlier, task.later = false, false, false
  guard(begin, task, task, f, ...)
end

--- Cancels those of the tasks that are running. Each goes on to its end, or until it waits again,
--- before the next one is cancelled.
function scheduler.cancel(list)
  for _, task in ipairs(list) do
    task.is_cancelled = task.is_cancelled or task.status == "running"
    if task.status == "running" and task.is_waiting and not is_active(task) then
      guard(resume, task)
    end
  end
end

--- Refuses to wait for the end of a task that this code runs in.
function scheduler.check_joinable(task)
  if is_active(task) then
    errors.refuse("a task cannot wait for its own result")
  end
end

return scheduler
