--- The same interface as clerk.machines, but what raises there returns `nil, err` here.

local client = require "clerk.machines.client"
local machines = require "clerk.machines"

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

local function inner(self)
  return type(self) == "table" and rawget(self, "client") or self
end

local Safe = {}
for name, method in pairs(client.Client) do
  if type(method) == "function" then
    Safe[name] = function(self, ...)
      return settle(pcall(method, inner(self), ...))
    end
  end
end
Safe.__name = client.Client.__name
Safe.__index = Safe
Safe.__tostring = function(self)
  return tostring(self.client)
end

---@param options? clerk.machines.Options
---@return clerk.machines.Client|nil
---@return clerk.machines.Error|nil
function safe.new(options)
  local ok, made = pcall(machines.new, options)
  if not ok then
    return nil, made
  end
  return setmetatable({ client = made }, Safe)
end

return safe
