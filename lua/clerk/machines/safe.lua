--- The same interface as clerk.machines, but functions return `nil, err` where they raise there.

local client = require "clerk.machines.client"
local machines = require "clerk.machines"
local tasks = require "clerk.machines.task"
local twin = require "clerk.machines.twin"

---@class clerk.machines.safe
---@field version string "MAJOR.MINOR.PATCH"
---@field null lightuserdata what a null element of an array in a result is
---@field is_error fun(value: any): boolean
local safe = {}
for name, value in pairs(machines) do
  safe[name] = value
end

---@class clerk.machines.SafeClient
local Safe = twin.of_class(client.Client)

---@class clerk.machines.SafeTask
local SafeTask = twin.of_class(tasks.Task)

function SafeTask:__index(name)
  return name == "status" and self.inner.status or SafeTask[name]
end

local on_done = SafeTask.on_done
function SafeTask:on_done(f)
  return on_done(self, type(f) == "function" and function()
    return f(self)
  end or f)
end

local function wrap_task(task, problem)
  if not task then
    return nil, problem
  end
  return setmetatable({ inner = task }, SafeTask)
end

--- Iterators return nil and the error, too.
for _, name in ipairs { "each", "pages" } do
  local start = Safe[name]
  Safe[name] = function(...)
    local iterate, problem = start(...)
    return iterate and function()
      return twin.settle(pcall(iterate))
    end, problem
  end
end

local spawn = Safe.spawn
function Safe:spawn(f, ...)
  return wrap_task(spawn(self, f, ...))
end

---@type fun(options?: clerk.machines.Options): clerk.machines.SafeClient?, clerk.machines.Error?
safe.new = twin.of_constructor(machines.new, Safe)

return safe
