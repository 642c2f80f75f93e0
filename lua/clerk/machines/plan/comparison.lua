--- Compares what is desired with an instance: what must change, and in which order.

local core = require "clerk.machines.core"
local desired = require "clerk.machines.plan.desired"
local errors = require "clerk.machines.errors"
local Instance = require "clerk.machines.plan.instance"
local nodes = require "clerk.machines.plan.nodes"
local schema = require "clerk.machines.schema"

---@class clerk.machines.plan.Options
---@field prune? string delete machines whose names begin with this and that are not in the plan
---@field secrets_dir? string where `apply` keeps each machine's secret key: in a file for each

--- One change. `apply` sets the IDs of machines that it has created.
---@class clerk.machines.plan.Change
---@field action "create"|"update"|"add_scope"|"remove_scope"|"delete"
---@field name string of the machine, as it is now
---@field id? string
---@field to? string|table of scopes the other machine's name, else the new values
---@field to_id? string of scopes, unless that machine is still to be created
---@field from? table of an update: the old values
---@field callers? string[] of a delete: names of the machines that can no longer call it

local comparison = {
  FIELDS = { "name", "default_token_ttl" }, -- what an update may change
}

-- ---------------------------------------------------------------- changes
-- A step is a change with the nodes that it is about: `change`, `node`, and for scopes `other`.

local function id_of(node)
  return node.machine and node.machine.id
end

local function current_name(node)
  return node.machine and (node.machine.name or node.machine.id) or node.name
end

local function add_step(steps, node, change, other)
  change.name = current_name(node)
  change.id = id_of(node)
  steps[#steps + 1] = { change = change, node = node, other = other }
end

local function add_create(steps, node)
  if not node.machine then
    local to = { name = node.name, default_token_ttl = node.entry.default_token_ttl }
    add_step(steps, node, { action = "create", to = to })
  end
end

local function add_update(steps, node)
  local from, to = {}, {}
  for _, field in ipairs(node.machine and comparison.FIELDS or {}) do
    local value = node.entry[field]
    if value ~= nil and value ~= node.machine[field] then
      from[field], to[field] = node.machine[field], value
    end
  end
  if next(to) then
    add_step(steps, node, { action = "update", from = from, to = to })
  end
end

local function add_scope(steps, node, action, other)
  local change = { action = action, to = current_name(other), to_id = id_of(other) }
  add_step(steps, node, change, other)
end

local function current_callees(node, by_id)
  local callees = {}
  for _, scoped in ipairs(node.machine and node.machine.scoped_machines or {}) do
    local callee = by_id[scoped.id] or { machine = scoped } -- deleted since it was listed
    callees[callee] = true
    table.insert(callees, callee)
  end
  return callees
end

--- Scopes to add and to remove, in two arrays of steps.
local function scope_steps(node, by_id)
  local current, added, removed = current_callees(node, by_id), {}, {}
  for _, callee in ipairs(node.callees) do
    if not current[callee] then
      add_scope(added, node, "add_scope", callee)
    end
  end
  for _, callee in ipairs(current) do
    if not node.callees[callee] then
      add_scope(removed, node, "remove_scope", callee)
    end
  end
  return added, removed, #current
end

local function append(list, more)
  for _, item in ipairs(more) do
    list[#list + 1] = item
  end
end

--- Scopes are removed last, but earlier where there would be too many meanwhile.
local function add_scopes(phases, list, by_id)
  local most = core.operations.create.parameters.scoped_machines.max
  for _, node in ipairs(list) do
    local added, removed, count = scope_steps(node, by_id)
    append(phases.add, added)
    append(count + #added > most and phases.make_room or phases.remove, removed)
  end
end

local function labels(instance, machines)
  local list = {}
  for i, machine in ipairs(machines) do
    list[i] = instance:label(machine)
  end
  return list
end

local function is_pruned(node, prefix)
  return prefix and not node.entry and node.machine.name:sub(1, #prefix) == prefix
end

local function add_deletes(steps, instance, by_id, prefix)
  for _, machine in ipairs(instance.machines) do
    local node = by_id[machine.id]
    if is_pruned(node, prefix) then
      local callers = labels(instance, instance:callers(machine.id))
      add_step(steps, node, { action = "delete", callers = callers })
    end
  end
end

--- In the order of application: whatever a step needs comes in an earlier phase.
local function phases_of(instance, list, by_id, prefix)
  local phases = { update = {}, create = {}, make_room = {}, add = {}, remove = {}, delete = {} }
  for _, node in ipairs(list) do
    add_update(phases.update, node)
    add_create(phases.create, node)
  end
  add_scopes(phases, list, by_id)
  add_deletes(phases.delete, instance, by_id, prefix)
  return {
    phases.update, phases.create, phases.make_room, phases.add, phases.remove, phases.delete,
  }
end

local function flatten(phases)
  local steps = {}
  for _, phase in ipairs(phases) do
    append(steps, phase)
  end
  return steps
end

-- ---------------------------------------------------------------- the interface

--- Names and paths may have control characters.
local function check_text(_, value, name)
  if type(value) ~= "string" or value == "" then
    return nil, name .. " must be a string that is not empty"
  end
  return value
end

local OPTIONS = schema.new {
  { name = "prune", kind = check_text },
  { name = "secrets_dir", kind = check_text },
}

local function check_options(given)
  local options, problem = schema.check(OPTIONS, given or {})
  return options or errors.refuse(problem)
end

local function check_instance(instance, wanted)
  if wanted.instance and instance.id and wanted.instance ~= instance.id then
    desired.refuse(wanted, "instance", ("is %s, but the secret key is that of %s")
      :format(desired.shown(wanted.instance), tostring(instance.id)))
  end
end

local function check_prune(wanted, options)
  if options.prune and #wanted.machines == 0 then
    desired.refuse(wanted, "machines", ("is empty: prune would delete every machine whose name "
      .. "begins with %s"):format(desired.shown(options.prune)))
  end
end

--- Refuses to delete a machine that one of the plan may call.
local function check_callees(list, wanted, prefix)
  for _, node in ipairs(list) do
    for _, callee in ipairs(node.callees) do
      if is_pruned(callee, prefix) then
        desired.refuse(wanted, node.entry.path .. ".scoped_machines",
          ("has %s, which prune would delete"):format(desired.shown(callee.machine.id)))
      end
    end
  end
end

--- Compares what has been checked.
---@param client clerk.machines.Client
---@param wanted table of desired.check
---@param options clerk.machines.plan.Options
---@return table comparison wanted, options, instance, nodes, and the steps: all, and in phases
local function compare_checked(client, wanted, options)
  local instance = Instance.load(client)
  check_instance(instance, wanted)
  local list, by_id = nodes.of(instance, wanted)
  check_callees(list, wanted, options.prune)
  local phases = phases_of(instance, list, by_id, options.prune)
  return {
    wanted = wanted,
    options = options,
    instance = instance,
    nodes = list,
    phases = phases,
    steps = flatten(phases),
  }
end

---@param client clerk.machines.Client
---@param wanted clerk.machines.plan.Desired
---@param options? clerk.machines.plan.Options
---@return table comparison
function comparison.compare(client, wanted, options)
  options = check_options(options)
  wanted = desired.check(wanted)
  check_prune(wanted, options)
  return compare_checked(client, wanted, options)
end

--- The same comparison with the instance as it is now.
---@param client clerk.machines.Client
---@param compared table of comparison.compare
---@return table comparison
function comparison.again(client, compared)
  return compare_checked(client, compared.wanted, compared.options)
end

return comparison
