--- How threads wait inside nginx, and for one another. nginx may end a request with all its threads
--- at any point, and tells them nothing. So what is known of them is kept in the request's ngx.ctx,
--- which ends with it.

local core = require "clerk.machines.core"
local phases = require "clerk.machines.nginx.phases"

-- Loaded at once: later a worker may not be allowed to read the file.
local semaphores = phases.is_nginx and require "ngx.semaphore"

local threads = {}

local KEY = "clerk.machines"
local LONGEST_WAIT_MS = 3600 * 1000 -- a semaphore takes none without an end

--- What is known of the request that is served: its tasks by their threads, its loans, and who
--- waits for the end of a task.
function threads.request()
  local context = ngx.ctx
  local state = context[KEY]
  if not state then
    state = { tasks = {}, loans = {}, waiting = {} }
    context[KEY] = state
  end
  return state
end

--- The task that runs, when this is its own thread and not one that it made.
function threads.task()
  return phases.can_wait() and threads.request().tasks[coroutine.running()] or nil
end

function threads.is_cancelled()
  local task = threads.task()
  return task ~= nil and task.is_cancelled
end

--- Keeps the error of the call that was cancelled with its task; see tasks.lua.
function threads.note_error(err)
  local task = threads.task()
  if task and task.is_cancelled then
    task.problem = task.problem or err
  end
end

-- ---------------------------------------------------------------- waiting

--- Those who wait for something, first come first; each has a semaphore of its own. One that nobody
--- waits at any more belonged to a thread that was killed.
function threads.new_line()
  return {}
end

local function is_waited_at(semaphore)
  return semaphore:count() < 0
end

--- Wakes who is first; who it is for looks for himself whether he may go on.
function threads.wake_one(line)
  local semaphore
  repeat
    semaphore = table.remove(line, 1)
  until not semaphore or is_waited_at(semaphore)
  if semaphore then
    semaphore:post(1)
  end
end

function threads.wake_all(line)
  while line[1] do
    threads.wake_one(line)
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
  local semaphore = semaphores.new(0)
  task.waits_at = semaphore
  table.insert(line, semaphore)
  local is_woken = semaphore:wait(wait_ms / 1000)
  task.waits_at = nil
  if not is_woken or task.is_cancelled then
    leave(line, semaphore)
  end
end

--- Waits in a line until it is over, the time has come (core.now's; nil: none does) or the task
--- that runs is cancelled.
function threads.wait(line, is_over, wakes_at)
  local task = threads.task() or {}
  while not is_over() and not task.is_cancelled and time_left(wakes_at) > 0 do
    wait_in(line, task, time_left(wakes_at))
  end
end

local function never()
  return false
end

--- Waits so many ms; false when the task is cancelled meanwhile.
function threads.sleep(ms)
  local wakes_at = core.now() + ms
  if phases.may_block() then
    while core.now() < wakes_at do
      core.sleep(wakes_at - core.now())
    end
    return true
  elseif not phases.can_wait() then
    phases.refuse("the call")
  end
  threads.wait(threads.new_line(), never, wakes_at)
  return not threads.is_cancelled()
end

--- Lets those run who were woken. (That ngx.sleep(0) would do so takes a patched nginx.)
function threads.give_way()
  if phases.can_wait() then
    ngx.sleep(0.001)
  end
end

-- ---------------------------------------------------------------- light threads

local function keep_end(child, ...)
  child.is_over = true
  threads.wake_all(child.waiting)
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
function threads.within(limit_ms, f, ...)
  local child = { waiting = threads.new_line(), is_over = false }
  local thread = ngx.thread.spawn(run_child, child, f, ...)
  threads.wait(child.waiting, function()
    return child.is_over
  end, core.now() + limit_ms)
  if child.is_over then
    return outcome_of(ngx.thread.wait(thread))
  end
  ngx.thread.kill(thread)
  return threads.is_cancelled() and "cancelled" or "timeout"
end

return threads
