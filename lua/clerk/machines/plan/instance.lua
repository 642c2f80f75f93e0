--- The machines of an instance at one moment, by ID and by name, and which may call which.

local Client = require("clerk.machines.client").Client
local errors = require "clerk.machines.errors"

---@class clerk.machines.plan.Instance
---@field id string? of the instance; nil while it has no machines
---@field machines clerk.machines.Machine[] the oldest first
---@field by_id table<string, clerk.machines.Machine>
local Instance = {}
Instance.__index = Instance

local CONCURRENCY = 4

--- A plan compares all of these, so none may be missing.
local TYPES = { name = "string", scoped_machines = "table" }

local function refuse(problem, ...)
  error(errors.of("SDKError", "unexpected_shape", problem:format(...), "list"), 0)
end

local function check(machine)
  for field, expected in pairs(TYPES) do
    if type(machine[field]) ~= expected then
      refuse("machine %s has no %s", machine.id, field)
    end
  end
  for _, scoped in ipairs(machine.scoped_machines) do
    if type(scoped) ~= "table" or type(scoped.id) ~= "string" then
      refuse("a scope of machine %s has no id", machine.id)
    end
  end
end

local function append(lists, key, value)
  lists[key] = lists[key] or {}
  table.insert(lists[key], value)
end

local function add(instance, machine)
  instance.by_id[machine.id] = machine
  append(instance.names, machine.name, machine)
  for _, scoped in ipairs(machine.scoped_machines) do
    append(instance.calling, scoped.id, machine)
  end
end

--- Lists all machines. Raises the error of a request, or an SDKError when a machine lacks what a
--- comparison needs.
---@param client clerk.machines.Client
---@return clerk.machines.plan.Instance
function Instance.load(client)
  if getmetatable(client) ~= Client then
    errors.refuse("plan functions need a client of clerk.machines, not of clerk.machines.safe")
  end
  local machines = client:collect({ order_by = "created_at" }, { concurrency = CONCURRENCY })
  local self = { machines = machines, by_id = {}, names = {}, calling = {} }
  for _, machine in ipairs(machines) do
    check(machine)
    add(self, machine)
  end
  self.id = machines[1] and machines[1].instance_id
  return setmetatable(self, Instance)
end

--- The machines of exactly this name.
---@param name string
---@return clerk.machines.Machine[]
function Instance:named(name)
  return self.names[name] or {}
end

--- The machines that may call this one.
---@param id string
---@return clerk.machines.Machine[]
function Instance:callers(id)
  return self.calling[id] or {}
end

--- The machines that this one may call.
---@param id string
---@return clerk.machines.ScopedMachine[]
function Instance:callees(id)
  return self.by_id[id] and self.by_id[id].scoped_machines or {}
end

--- A machine's name, with its ID when others have the same name.
---@param machine { id: string, name: string? }
---@return string
function Instance:label(machine)
  local name = type(machine.name) == "string" and machine.name or machine.id
  return #self:named(name) > 1 and ("%s (%s)"):format(name, machine.id) or name
end

return Instance
