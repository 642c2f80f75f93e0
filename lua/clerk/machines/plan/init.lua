--- Machines as code: a file says which machines there are and which may call which, and an instance
--- is changed until it agrees.
---
---     local plan = require "clerk.machines.plan"
---     local changes = plan.compare(client, plan.read "machines.lua")
---     print(changes)
---     changes:apply()

local changes = require "clerk.machines.plan.changes"
local comparison = require "clerk.machines.plan.comparison"
local desired = require "clerk.machines.plan.desired"
local export = require "clerk.machines.plan.export"
local Instance = require "clerk.machines.plan.instance"

local plan = {}

--- Reads a plan file: JSON when its name ends in ".json", else Lua, which is run with an empty
--- environment. Raises an ArgumentError that names the file, and the line or the field.
---@param path string
---@return clerk.machines.plan.Desired
function plan.read(path)
  return desired.read(path)
end

--- Lists the instance's machines, and finds out what must change. Changes nothing. Raises an
--- ArgumentError about what is desired, or the error of a request.
---@param client clerk.machines.Client
---@param wanted clerk.machines.plan.Desired
---@param options? clerk.machines.plan.Options
---@return clerk.machines.plan.Changes
function plan.compare(client, wanted, options)
  return changes.new(client, comparison.compare(client, wanted, options))
end

--- The instance as it is, as what `compare` takes; with all IDs, so that a comparison finds nothing
--- to change. `tostring` writes it as a plan file in Lua.
---@param client clerk.machines.Client
---@return clerk.machines.plan.Desired
function plan.export(client)
  return export.of(Instance.load(client))
end

--- The machines of an instance, to look up which may call which.
---@param client clerk.machines.Client
---@return clerk.machines.plan.Instance
function plan.instance(client)
  return Instance.load(client)
end

return plan
