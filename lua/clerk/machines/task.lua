--- A task: a function that can wait while other tasks run. How it waits and what resumes it is the
--- business of the runtime.

local errors = require "clerk.machines.errors"
local runtime = require "clerk.machines.runtime"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

---@class clerk.machines.Task
---@field status "running"|"done"|"failed"|"cancelled"
local Task = { __name = "clerk.machines.Task" }
Task.__index = Task

function Task:__tostring()
  return ("%s (%s)"):format(Task.__name, self.status)
end

-- ---------------------------------------------------------------- the end

--- Calls all functions, and raises the first error only after that.
local function call_all(functions, task)
  local first_problem
  for _, f in ipairs(functions) do
    local ok, problem = pcall(f, task)
    if not ok and first_problem == nil then
      first_problem = problem
    end
  end
  if first_problem ~= nil then
    error(first_problem, 0)
  end
end

--- When a call in it runs out of memory, the status is unchanged, and the runtime calls this again.
local function finish(task, ok, ...)
  local results = { n = select("#", ...), ... }
  for _, waiter in ipairs(task.waiters) do
    runtime.wake(waiter)
  end
  runtime.forget(task)
  if ok then
    task.results = results
  else
    task.problem = results[1]
  end
  task.status = task.is_cancelled and "cancelled" or ok and "done" or "failed"
  task.waiters = nil -- to keep a task must not keep those that waited for it
  call_all(task.functions, task)
end

--- Waits until the task has ended; raises when the task that waits is cancelled.
local function await_end(task)
  while task.status == "running" do
    if runtime.is_cancelled() then
      error(errors.of_cancelled(), 0)
    end
    local waiter = runtime.new_waiter()
    table.insert(task.waiters, waiter)
    runtime.wait(waiter)
  end
end

-- ---------------------------------------------------------------- the class

local function check_task(task, method)
  if getmetatable(task) ~= Task then
    errors.refuse(("call it with a colon: task:%s()"):format(method))
  end
end

--- Returns what the function returned, or raises its error. Waits until the task has ended: in a
--- task it yields, elsewhere it steps.
function Task:result()
  check_task(self, "result")
  if self.status == "running" then
    runtime.check_joinable(self)
    await_end(self)
  end
  if self.status == "done" then
    return unpack(self.results, 1, self.results.n)
  elseif self.status == "cancelled" and self.problem == nil then
    error(errors.of_cancelled(), 0)
  end
  error(self.problem, 0)
end

--- Ends the task: the wait that it is in, and every further one, raises an error `cancelled`. Its
--- clean-up has run when this returns, unless that waits too.
function Task:cancel()
  check_task(self, "cancel")
  if self.status == "running" then
    runtime.cancel { self }
  end
end

--- Calls f(task) once: when the task has ended, or at once if it has. f does not run as a task: a
--- call in it blocks. What f raises is raised by the step that ended the task; nginx logs it.
---@param f fun(task: clerk.machines.Task)
function Task:on_done(f)
  check_task(self, "on_done")
  if type(f) ~= "function" then
    errors.refuse(("on_done needs a function, got %s"):format(type(f)))
  elseif self.status == "running" then
    table.insert(self.functions, f)
  else
    f(self)
  end
end

-- ---------------------------------------------------------------- for the client

local tasks = { Task = Task }

--- Runs f(...) until it would wait.
---@param group table of the runtime
---@return clerk.machines.Task
function tasks.spawn(group, f, ...)
  local task = setmetatable({
    status = "running",
    group = group,
    is_cancelled = false,
    waiters = {},
    functions = {},
    results = false,
    problem = nil,
  }, Task)
  runtime.start(task, finish, f, ...)
  return task
end

--- Runs f(...) so that the end of what runs now does not end it. f must not raise.
---@param group table of the runtime
---@return string|nil problem
function tasks.detach(group, f, ...)
  if runtime.detach then
    return runtime.detach(f, ...)
  end
  tasks.spawn(group, f, ...)
end

--- Cancels all unfinished tasks of a group.
function tasks.cancel_all(group)
  local unfinished = {}
  for task in pairs(group.tasks) do
    table.insert(unfinished, task)
  end
  runtime.cancel(unfinished)
end

--- Keeps the error of the call that was cancelled with its task, whatever the task's function does
--- after it: only this error says whether the call may have been applied.
function tasks.note_error(err)
  local task = runtime.current()
  if task and task.is_cancelled then
    task.problem = task.problem or err
  end
end

return tasks
