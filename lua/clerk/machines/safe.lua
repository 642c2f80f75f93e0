--- The same interface as clerk.machines, but functions return `nil, err` where they raise there.

local client = require "clerk.machines.client"
local machines = require "clerk.machines"
local tasks = require "clerk.machines.task"

---@class clerk.machines.safe
---@field version string "MAJOR.MINOR.PATCH"
---@field null lightuserdata what a null element of an array in a result is
---@field is_error fun(value: any): boolean
local safe = {}
for name, value in pairs(machines) do
  safe[name] = value
end

local function settle(ok, ...)
  if ok then
    return ...
  end
  return nil, (...)
end

--- A class with the methods of another one, for objects that wrap an `inner` object of that class.
--- The inner object has its own finalizer: tasks and iterators may outlive the wrapper.
local function wrap(class)
  local Wrapper = {}
  for name, method in pairs(class) do
    if type(method) == "function" and name ~= "__gc" then
      Wrapper[name] = function(self, ...)
        return settle(pcall(method, client.unwrap(self), ...))
      end
    end
  end
  Wrapper.__name = class.__name
  Wrapper.__index = Wrapper
  return Wrapper
end

---@class clerk.machines.SafeClient
local Safe = wrap(client.Client)

---@class clerk.machines.SafeTask
local SafeTask = wrap(tasks.Task)

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
      return settle(pcall(iterate))
    end, problem
  end
end

local spawn = Safe.spawn
function Safe:spawn(f, ...)
  return wrap_task(spawn(self, f, ...))
end

---@param options? clerk.machines.Options
---@return clerk.machines.SafeClient?
---@return clerk.machines.Error?
function safe.new(options)
  local ok, made = pcall(machines.new, options)
  if not ok then
    return nil, made
  end
  return setmetatable({ inner = made }, Safe)
end

return safe
