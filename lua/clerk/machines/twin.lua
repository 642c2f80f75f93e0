--- Makes safe twins: what raises an error returns nil and the error instead.

local unwrap = require("clerk.machines.client").unwrap

local twin = {}

--- The results of pcall: those of the function, or nil and its error.
function twin.settle(ok, ...)
  if ok then
    return ...
  end
  return nil, (...)
end

--- A class with the methods of another one, for objects that wrap an `inner` object of that class.
--- The inner object has its own finalizer: tasks and iterators may outlive the wrapper.
---@param class table
---@return table
function twin.of_class(class)
  local Wrapper = {}
  for name, method in pairs(class) do
    if type(method) == "function" and name ~= "__gc" then
      Wrapper[name] = function(self, ...)
        return twin.settle(pcall(method, unwrap(self), ...))
      end
    end
  end
  Wrapper.__name = class.__name
  Wrapper.__index = Wrapper
  return Wrapper
end

--- A function that makes objects of the twin class, for one that makes those of the class itself.
---@param new function
---@param Wrapper table made by `of_class`
---@return function
function twin.of_constructor(new, Wrapper)
  return function(...)
    local made, problem = twin.settle(pcall(new, ...))
    return made and setmetatable({ inner = made }, Wrapper), problem
  end
end

return twin
