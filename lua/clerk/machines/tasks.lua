--- Tasks: coroutines that wait for transfers, for times and for one another, and the steps that
--- resume them. One scheduler serves a Lua state; it holds its tasks only by the lanes of their
--- clients, and those weakly: what nobody can reach any more is collected, tasks under way too.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"

local tasks = {}

--- How long a step resumes tasks, so that a host that draws or serves beside them is not held up.
local SLICE_US = 300

--- How long one step waits at most, so that signals and debug hooks get their turn.
local LONGEST_STEP_MS = 1000

--- What a task yields when it waits here; whatever else it yields is its own affair, and it is
--- resumed with the next step.
local WAIT = {}

--- Lanes that have unfinished tasks.
local lanes = setmetatable({}, { __mode = "k" })

local by_thread = setmetatable({}, { __mode = "kv" })

--- Who waits for a transfer, by its key.
local by_transfer = setmetatable({}, { __mode = "v" })

---@class clerk.machines.Task
---@field status "running"|"done"|"failed"|"cancelled"
local Task = { __name = "clerk.machines.Task" }
Task.__index = Task

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

local function make_ready(task)
  if not task.is_ready then
    task.is_ready = true
    push(task.lane.ready, task)
  end
end

local function new_waiter()
  return { task = current(), is_woken = false, next = false }
end

local function wake(waiter)
  waiter.is_woken = true
  if waiter.task then
    make_ready(waiter.task)
  end
end

-- ---------------------------------------------------------------- times
-- A lane's timers are its sleeping tasks, the next one last.

local function add_timer(task, wakes_at)
  local timers = task.lane.timers
  local place = #timers + 1
  while place > 1 and timers[place - 1].wakes_at < wakes_at do
    place = place - 1
  end
  task.wakes_at = wakes_at
  table.insert(timers, place, task)
end

local function remove_timer(task)
  local timers = task.lane.timers
  for i = #timers, 1, -1 do
    if timers[i] == task then
      table.remove(timers, i)
      return
    end
  end
end

local function wake_sleepers(lane)
  local timers, now = lane.timers, core.now()
  while timers[1] and timers[#timers].wakes_at <= now do
    make_ready(table.remove(timers))
  end
end

--- How long a lane has nothing to do, at most `wait_ms`, which may be nil: for ever.
local function time_to_wait(lane, wait_ms)
  local sleeper = lane.timers[#lane.timers]
  if lane.ready.first then
    return 0
  elseif not sleeper then
    return wait_ms
  end
  local left = math.max(0, sleeper.wakes_at - core.now())
  return wait_ms and math.min(wait_ms, left) or left
end

-- ---------------------------------------------------------------- running

local function finish(task, ok, problem)
  local lane = task.lane
  task.status = task.is_cancelled and "cancelled" or ok and "done" or "failed"
  task.problem = problem
  lane.tasks[task] = nil
  lane.count = lane.count - 1
  if lane.count == 0 then
    lanes[lane] = nil
  end
  while task.joiners.first do
    wake(shift(task.joiners))
  end
end

local function settle(task, ok, yielded)
  if coroutine.status(task.thread) == "dead" then
    finish(task, ok, not ok and yielded)
  elseif yielded ~= WAIT then
    make_ready(task)
  end
end

local function resume(task, ...)
  settle(task, coroutine.resume(task.thread, ...))
end

--- Resumes those that are ready by now, till the time is over; whether there was one.
local function resume_ready(lane, end_us)
  local last = lane.ready.last
  local has_resumed = false
  while lane.ready.first and core.now_us() < end_us do
    local task = shift(lane.ready)
    task.is_ready = false
    if task.status == "running" then
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

--- The lanes as they are now: tasks that are resumed may spawn some in others.
local function snapshot()
  local list = {}
  for lane in pairs(lanes) do
    list[#list + 1] = lane
  end
  return list
end

--- Moves what can move, for a short time; before that, while nothing can, waits at most `wait_ms`.
function tasks.step(wait_ms)
  local end_us = core.now_us() + SLICE_US
  local list = snapshot()
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
  until not has_moved or core.now_us() >= end_us
end

-- ---------------------------------------------------------------- waiting

--- Waits until somebody wakes the waiter, the time has come (core.now's; nil: none does) or its
--- task is cancelled.
local function wait(waiter, wakes_at)
  local task = waiter.task
  if not task then
    repeat
      tasks.step(wakes_at and math.max(0, wakes_at - core.now()) or LONGEST_STEP_MS)
    until waiter.is_woken or (wakes_at and core.now() >= wakes_at)
  elseif not task.is_cancelled then
    if wakes_at then
      add_timer(task, wakes_at)
    end
    task.is_waiting = true
    coroutine.yield(WAIT)
    task.is_waiting = false
    remove_timer(task)
  end
end

--- Whether the task that runs has been cancelled.
function tasks.is_cancelled()
  local task = current()
  return task ~= nil and task.is_cancelled
end

--- Waits until the transfer has finished; false when the task is cancelled before that.
function tasks.await(transfer)
  local waiter = new_waiter()
  by_transfer[transfer:key()] = waiter
  wait(waiter)
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

--- Slots are what a client has so many of, for whoever comes first.
function tasks.new_slots(count)
  return { free = count, first = false, last = false }
end

--- Takes a slot, or waits in line for one until that time; false when it did not get any.
function tasks.take_slot(slots, wakes_at)
  if slots.free > 0 then
    slots.free = slots.free - 1
    return true
  end
  local waiter = new_waiter()
  push(slots, waiter)
  local ok, problem = pcall(wait, waiter, wakes_at)
  if not waiter.is_woken then
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
  local waiter = shift(slots)
  if waiter then
    wake(waiter)
  else
    slots.free = slots.free + 1
  end
end

-- ---------------------------------------------------------------- tasks

--- What a client knows of its tasks.
function tasks.new_lane()
  return {
    tasks = {},
    count = 0,
    ready = { first = false, last = false },
    timers = {},
  }
end

local function keep_results(task, ...)
  task.results = { n = select("#", ...), ... }
end

local function run(task, f, ...)
  keep_results(task, f(...))
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
    next = false,
    results = false,
    problem = false,
  }, Task)
  by_thread[task.thread] = task
  lanes[lane] = true
  lane.tasks[task] = true
  lane.count = lane.count + 1
  local ok, problem = pcall(resume, task, task, f, ...)
  if not ok then
    finish(task, false, problem)
  end
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
  if self.is_waiting then
    resume(self)
  end
end

local function join(task)
  local waiter = new_waiter()
  if not waiter.task or waiter.task == task then
    errors.refuse("the task is still running: its result can be asked for when its status is "
      .. "another, or from another task, which then waits for it")
  end
  push(task.joiners, waiter)
  wait(waiter)
  if not waiter.is_woken then
    remove(task.joiners, waiter)
    error(errors.of_cancelled(), 0)
  end
end

--- What the function returned, or its error, raised. Another task may ask at any time and waits.
function Task:result()
  check_task(self, "result")
  if self.status == "running" then
    join(self)
  end
  if self.status == "done" then
    return (unpack or table.unpack)(self.results, 1, self.results.n)
  end
  error(self.problem or errors.of_cancelled(), 0)
end

--- Cancels all unfinished tasks of a lane.
function tasks.cancel_all(lane)
  local list = {}
  for task in pairs(lane.tasks) do
    list[#list + 1] = task
  end
  for _, task in ipairs(list) do
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
  return fd, ms
end

return tasks
