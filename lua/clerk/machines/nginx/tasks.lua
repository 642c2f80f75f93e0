--- Tasks inside nginx: light threads of the request that spawns them, with the functions of
--- tasks.lua.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local phases = require "clerk.machines.nginx.phases"
local slots = require "clerk.machines.nginx.limits"
local threads = require "clerk.machines.nginx.threads"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local nginx_tasks = {
  current = threads.task,
  is_cancelled = threads.is_cancelled,
  note_error = threads.note_error,
  sleep = threads.sleep,
  new_slots = slots.new,
  has_slot = slots.has,
  take_slot = slots.take,
  give_slot = slots.give,
}

---@class clerk.machines.Task
local Task = { __name = "clerk.machines.Task" }
Task.__index = Task

nginx_tasks.Task = Task

function Task:__tostring()
  return ("%s (%s)"):format(Task.__name, self.status)
end

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
  threads.wake_all(task.request.waiting)
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
    request = threads.request(),
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
  threads.wait(task.request.waiting, function()
    return task.status ~= "running"
  end)
  if task.status == "running" then
    error(errors.of_cancelled(), 0)
  end
end

local function check_joinable(task)
  check_phase "a task's end"
  if task.request ~= threads.request() then
    errors.refuse("the task is still running, and in another request, which may end without it")
  elseif task == threads.task() then
    errors.refuse("a task cannot wait for its own result")
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
    threads.give_way()
  end
end

--- Cancels all unfinished tasks of a lane.
function nginx_tasks.cancel_all(lane)
  for task in pairs(lane.tasks) do
    cancel(task)
  end
  if next(lane.tasks) then
    threads.give_way()
  end
end

--- How many unfinished tasks of the lane this request has.
function nginx_tasks.count(lane)
  local request, count = threads.request(), 0
  for task in pairs(lane.tasks) do
    count = count + (task.request == request and 1 or 0)
  end
  return count
end

local function await_fewer(lane, wakes_at)
  local count = nginx_tasks.count(lane)
  threads.wait(threads.request().waiting, function()
    return nginx_tasks.count(lane) < count
  end, wakes_at)
end

--- Lets others run; when the request has tasks of the lane, till one has ended or for so long.
function nginx_tasks.step(wait_ms, lane)
  check_phase "tasks"
  threads.give_way()
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
