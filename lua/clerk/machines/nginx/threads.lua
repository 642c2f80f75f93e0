--- How tasks wait and go on inside nginx: as light threads of the request that spawns them, which
--- nginx resumes. nginx may end a request and all its threads at any point, without notice: so what
--- is known of them is kept in the request's ngx.ctx, which ends with the request.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local phases = require "clerk.machines.nginx.phases"

-- Now, since later a worker may not be allowed to read the file.
local semaphores = require "ngx.semaphore"

local threads = {}

local KEY = "clerk.machines"
local LONGEST_WAIT_MS = 3600 * 1000 -- a semaphore does not wait without an end

--- The current request's tasks by their threads, and the set of waiters for the end of any of them.
local function current_request()
  local context = ngx.ctx
  local request = context[KEY]
  if not request then
    request = { tasks = {}, waiters = {} }
    context[KEY] = request
  end
  return request
end

--- The running task, if this is its own thread rather than one that it made.
function threads.current()
  local request = phases.can_wait() and ngx.ctx[KEY]
  return request and request.tasks[coroutine.running()] or nil
end

function threads.is_cancelled()
  local task = threads.current()
  return task ~= nil and task.is_cancelled
end

-- ---------------------------------------------------------------- waiting

function threads.new_waiter()
  return { semaphore = semaphores.new(0), is_woken = false }
end

function threads.wake(waiter)
  waiter.is_woken = true
  waiter.semaphore:post(1)
end

--- Whether a thread waits with it: one that was killed does not any more.
function threads.is_in_use(waiter)
  return waiter.semaphore:count() < 0
end

local function time_left(wakes_at)
  return math.min(wakes_at and wakes_at - core.now() or math.huge, LONGEST_WAIT_MS)
end

--- Waits until the waiter is woken, the time has come (core.now's; nil: it never does) or the
--- running task is cancelled.
function threads.wait(waiter, wakes_at)
  local task = threads.current() or {}
  task.waiter = waiter
  while not waiter.is_woken and not task.is_cancelled and time_left(wakes_at) > 0 do
    waiter.semaphore:wait(time_left(wakes_at) / 1000)
  end
  task.waiter = nil
end

--- Waits for `ms` milliseconds. Returns false when the task is cancelled meanwhile.
function threads.sleep(ms)
  local wakes_at = core.now() + ms
  if phases.may_block() then
    while core.now() < wakes_at do
      core.sleep(wakes_at - core.now())
    end
    return true
  end
  phases.check_wait "the call"
  threads.wait(threads.new_waiter(), wakes_at)
  return not threads.is_cancelled()
end

--- Lets the threads run that were woken. (With ngx.sleep(0) this takes a patched nginx.)
local function give_way()
  if phases.can_wait() then
    ngx.sleep(0.001)
  end
end

--- Runs f(...) in a light thread, which is killed when it takes longer, or when the running task is
--- cancelled.
---@return "done"|"timeout"|"cancelled" outcome
---@return any ... "done": what f returned
function threads.within(limit_ms, f, ...)
  local waiter = threads.new_waiter()
  local results
  local thread = ngx.thread.spawn(function(...)
    results = { pcall(f, ...) }
    threads.wake(waiter)
  end, ...)
  threads.wait(waiter, core.now() + limit_ms)
  if not results then
    ngx.thread.kill(thread)
    return threads.is_cancelled() and "cancelled" or "timeout"
  elseif not results[1] then
    error(results[2], 0)
  end
  return "done", results[2], results[3]
end

-- ---------------------------------------------------------------- a task's life

--- A client's unfinished tasks, of all requests. Those of requests that nginx ended are collected.
function threads.new_group()
  return { tasks = setmetatable({}, { __mode = "k" }) }
end

local function run(task, finish, f, ...)
  task.thread = coroutine.running()
  task.request.tasks[task.thread] = task
  local ok, problem = pcall(finish, task, pcall(f, ...))
  if not ok then
    error(tostring(problem), 0) -- nginx logs nothing but strings
  end
end

--- Runs finish(task, pcall(f, ...)) until it would wait.
function threads.start(task, ...)
  phases.check_wait "a task"
  task.request = current_request()
  task.group.tasks[task] = true
  ngx.thread.spawn(run, task, ...)
end

--- A task has ended.
function threads.forget(task)
  local request = task.request
  task.group.tasks[task] = nil
  request.tasks[task.thread] = nil
  local waiters = request.waiters
  request.waiters = {}
  for waiter in pairs(waiters) do
    threads.wake(waiter)
  end
end

--- Cancels those of the tasks that are running; the wait that each is in raises.
function threads.cancel(list)
  for _, task in ipairs(list) do
    task.is_cancelled = task.is_cancelled or task.status == "running"
    if task.waiter then
      task.waiter.semaphore:post(1)
    end
  end
  if list[1] then
    give_way()
  end
end

--- Refuses to wait where nginx cannot, for another request's task, or for the running task itself.
function threads.check_joinable(task)
  phases.check_wait "a task's end"
  if task.request ~= current_request() then
    errors.refuse("the task belongs to another request: wait for its result there")
  elseif task == threads.current() then
    errors.refuse("a task cannot wait for its own result")
  end
end

--- Runs f(...) in a timer, which goes on when the request ends.
---@return string|nil problem
function threads.detach(f, ...)
  local ok, problem = ngx.timer.at(0, function(_, ...)
    f(...)
  end, ...)
  return not ok and "nginx cannot start a timer: " .. problem or nil
end

-- ---------------------------------------------------------------- steps

--- How many unfinished tasks of the group this request has.
function threads.count(group)
  local request, count = current_request(), 0
  for task in pairs(group.tasks) do
    count = count + (task.request == request and 1 or 0)
  end
  return count
end

local function await_any_end(wakes_at)
  local request, waiter = current_request(), threads.new_waiter()
  request.waiters[waiter] = true
  threads.wait(waiter, wakes_at)
  request.waiters[waiter] = nil
end

--- Lets tasks run; when the request has tasks of the group, until one has ended or for `wait_ms`.
function threads.step(wait_ms, group)
  phases.check_wait "tasks"
  give_way()
  if threads.count(group) > 0 then
    await_any_end(core.now() + wait_ms)
  end
end

--- Waits until this request has no unfinished task of the group.
function threads.run(group)
  phases.check_wait "tasks"
  while threads.count(group) > 0 do
    await_any_end()
  end
end

function threads.pollable()
  errors.refuse("nginx resumes its tasks by itself: there is no descriptor for an event loop")
end

return threads
