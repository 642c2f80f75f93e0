--- Tasks inside nginx: light threads of the request that spawns them, with the functions of
--- tasks.lua. nginx may end a request with all its threads at any point, and tells them nothing. So
--- what is known of them is kept in the request's ngx.ctx, which ends with it, and the slots that
--- they hold of a client are on loan.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local phases = require "clerk.machines.phases"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local nginx_tasks = {}

local KEY = "clerk.machines"
local LONGEST_WAIT_MS = 3600 * 1000 -- a semaphore takes none without an end

---@class clerk.machines.Task
local Task = { __name = "clerk.machines.Task" }
Task.__index = Task

nginx_tasks.Task = Task

function Task:__tostring()
  return ("%s (%s)"):format(Task.__name, self.status)
end

--- What is known of the request that is served: its tasks by their threads, its loans, and who waits
--- for the end of a task.
local function request_state()
  local context = ngx.ctx
  local state = context[KEY]
  if not state then
    state = { tasks = {}, loans = {}, waiting = {} }
    context[KEY] = state
  end
  return state
end

--- The task that runs, when this is its own thread and not one that it made.
local function current()
  return phases.can_wait() and request_state().tasks[coroutine.running()] or nil
end

nginx_tasks.current = current

function nginx_tasks.is_cancelled()
  local task = current()
  return task ~= nil and task.is_cancelled
end

-- ---------------------------------------------------------------- waiting

--- Those who wait for something, first come first; each has a semaphore of its own. One that nobody
--- waits at any more belonged to a thread that was killed.
local function new_line()
  return {}
end

local function is_waited_at(semaphore)
  return semaphore:count() < 0
end

--- Wakes who is first; who it is for looks for himself whether he may go on.
local function wake_one(line)
  local semaphore
  repeat
    semaphore = table.remove(line, 1)
  until not semaphore or is_waited_at(semaphore)
  if semaphore then
    semaphore:post(1)
  end
end

local function wake_all(line)
  while line[1] do
    wake_one(line)
  end
end

local function leave(line, semaphore)
  for i = #line, 1, -1 do
    if line[i] == semaphore then
      table.remove(line, i)
    end
  end
end

local function time_left(wakes_at)
  return wakes_at and math.min(wakes_at - core.now(), LONGEST_WAIT_MS) or LONGEST_WAIT_MS
end

local function wait_in(line, task, wait_ms)
  local semaphore = require("ngx.semaphore").new(0)
  task.waits_at = semaphore
  table.insert(line, semaphore)
  semaphore:wait(wait_ms / 1000)
  leave(line, semaphore)
  task.waits_at = nil
end

--- Waits in a line until it is over, the time has come (core.now's; nil: none does) or the task that
--- runs is cancelled.
local function wait(line, is_over, wakes_at)
  local task = current() or {}
  while not is_over() and not task.is_cancelled and time_left(wakes_at) > 0 do
    wait_in(line, task, time_left(wakes_at))
  end
end

local function never()
  return false
end

--- Waits so many ms; false when the task is cancelled meanwhile.
function nginx_tasks.sleep(ms)
  local wakes_at = core.now() + ms
  if phases.may_block() then
    while core.now() < wakes_at do
      core.sleep(wakes_at - core.now())
    end
    return true
  elseif not phases.can_wait() then
    phases.refuse("the call")
  end
  wait(new_line(), never, wakes_at)
  return not nginx_tasks.is_cancelled()
end

--- Lets those run who were woken. (That ngx.sleep(0) would do so takes a patched nginx.)
local function give_way()
  if phases.can_wait() then
    ngx.sleep(0.001)
  end
end

-- ---------------------------------------------------------------- light threads

local function keep_end(child, ...)
  child.is_over = true
  wake_all(child.waiting)
  return ...
end

local function run_child(child, f, ...)
  return keep_end(child, pcall(f, ...))
end

local function outcome_of(_, ok, ...)
  if not ok then
    error((...), 0)
  end
  return "done", ...
end

--- Runs f(...) in a light thread, which is killed when it takes longer, or when the task that runs
--- is cancelled.
---@return "done"|"timeout"|"cancelled" outcome
---@return any ... "done": what f returned
function nginx_tasks.within(limit_ms, f, ...)
  local child = { waiting = new_line(), is_over = false }
  local thread = ngx.thread.spawn(run_child, child, f, ...)
  wait(child.waiting, function()
    return child.is_over
  end, core.now() + limit_ms)
  if child.is_over then
    return outcome_of(ngx.thread.wait(thread))
  end
  ngx.thread.kill(thread)
  return nginx_tasks.is_cancelled() and "cancelled" or "timeout"
end

-- ---------------------------------------------------------------- slots

--- Slots are what a client has so many of. Each is lent for a time, since who is killed gives
--- nothing back; who has it longer only lets another one begin.
function nginx_tasks.new_slots(count)
  return { count = count, lent = 0, loans = {}, waiting = new_line() }
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
  for i, loan in ipairs(request_state().loans) do
    if loan.slots == slots and loan.thread == thread then
      return loan, i
    end
  end
end

--- Whether who runs has a slot already; where nobody else can, nobody needs one.
function nginx_tasks.has_slot(slots)
  return not phases.can_wait() or find_loan(slots) ~= nil
end

local function lend(slots, loan_ms)
  local loan = { slots = slots, thread = coroutine.running(), ends_at = core.now() + loan_ms }
  slots.loans[loan] = true
  slots.lent = slots.lent + 1
  table.insert(request_state().loans, loan)
end

local function await_free(slots, wakes_at)
  local next_end = collect_overdue(slots)
  while not is_free(slots) and core.now() < wakes_at and not nginx_tasks.is_cancelled() do
    wait(slots.waiting, function()
      return is_free(slots)
    end, math.min(wakes_at, next_end))
    next_end = collect_overdue(slots)
  end
end

--- Takes a slot for so long, or waits for one until that time; false when it did not get any.
function nginx_tasks.take_slot(slots, wakes_at, loan_ms)
  if not is_free(slots) then
    await_free(slots, wakes_at or math.huge)
  end
  if not is_free(slots) then
    return false
  elseif nginx_tasks.is_cancelled() then
    wake_one(slots.waiting)
    return false
  end
  lend(slots, loan_ms)
  return true
end

function nginx_tasks.give_slot(slots)
  local loan, i = find_loan(slots)
  if loan then
    table.remove(request_state().loans, i)
    end_loan(slots, loan)
    wake_one(slots.waiting)
  end
end

-- ---------------------------------------------------------------- tasks

--- What a client knows of its tasks: those that are unfinished, of all requests. Killed ones are
--- collected.
function nginx_tasks.new_lane()
  return { tasks = setmetatable({}, { __mode = "k" }) }
end

local function check_phase(what)
  if not phases.can_wait() then
    phases.refuse(what)
  end
end

local function finish(task, ok, ...)
  if ok then
    task.results = { n = select("#", ...), ... }
  else
    task.problem = (...)
  end
  task.status = task.is_cancelled and "cancelled" or ok and "done" or "failed"
  task.lane.tasks[task] = nil
  task.request.tasks[coroutine.running()] = nil
  wake_all(task.request.waiting)
end

local function run(task, f, ...)
  task.request.tasks[coroutine.running()] = task
  finish(task, pcall(f, ...))
end

--- Runs `f` until it would wait.
---@return clerk.machines.Task
function nginx_tasks.spawn(lane, f, ...)
  check_phase "a task"
  local task = setmetatable({
    status = "running",
    request = request_state(),
    lane = lane,
    is_cancelled = false,
  }, Task)
  lane.tasks[task] = true
  ngx.thread.spawn(run, task, f, ...)
  return task
end

local function check_task(task, method)
  if getmetatable(task) ~= Task then
    errors.refuse(("call it with a colon: task:%s()"):format(method))
  end
end

--- Waits until the task has ended; raises when the task that waits is cancelled.
function nginx_tasks.await_end(task)
  wait(task.request.waiting, function()
    return task.status ~= "running"
  end)
  if task.status == "running" then
    error(errors.of_cancelled(), 0)
  end
end

local function check_joinable(task)
  check_phase "a task's end"
  if task.request ~= request_state() then
    errors.refuse("the task is still running, and in another request, which may end without it")
  elseif task == current() then
    errors.refuse("the task is still running, and is the one that asks")
  end
end

--- What the function returned, or its error, raised. While the task runs, its request waits.
function Task:result()
  check_task(self, "result")
  if self.status == "running" then
    check_joinable(self)
    nginx_tasks.await_end(self)
  end
  if self.status == "done" then
    return unpack(self.results, 1, self.results.n)
  end
  if self.status == "cancelled" and self.problem == nil then
    error(errors.of_cancelled(), 0)
  end
  error(self.problem, 0)
end

--- Marks a task; the wait that it is in will raise.
local function cancel(task)
  task.is_cancelled = true
  if task.waits_at then
    task.waits_at:post(1)
  end
end

--- Ends the task: the wait that it is in, and every further one, raises an error `cancelled`. Its
--- clean-up has run when this returns, unless it waits on its own.
function Task:cancel()
  check_task(self, "cancel")
  if self.status == "running" then
    cancel(self)
    give_way()
  end
end

--- Cancels all unfinished tasks of a lane.
function nginx_tasks.cancel_all(lane)
  for task in pairs(lane.tasks) do
    cancel(task)
  end
  if next(lane.tasks) then
    give_way()
  end
end

--- How many unfinished tasks of the lane this request has.
function nginx_tasks.count(lane)
  local request, count = request_state(), 0
  for task in pairs(lane.tasks) do
    count = count + (task.request == request and 1 or 0)
  end
  return count
end

local function await_fewer(lane, wakes_at)
  local count = nginx_tasks.count(lane)
  wait(request_state().waiting, function()
    return nginx_tasks.count(lane) < count
  end, wakes_at)
end

--- Lets others run; when the request has tasks of the lane, till one has ended or for so long.
function nginx_tasks.step(wait_ms, lane)
  check_phase "tasks"
  give_way()
  if nginx_tasks.count(lane) > 0 then
    await_fewer(lane, core.now() + wait_ms)
  end
end

--- Waits until this request has no unfinished task of the lane.
function nginx_tasks.run(lane)
  check_phase "tasks"
  while nginx_tasks.count(lane) > 0 do
    await_fewer(lane)
  end
end

function nginx_tasks.pollable()
  errors.refuse("nginx moves its tasks by itself: there is no other event loop to tell")
end

return nginx_tasks
