--- Compares what is desired with an instance: which machine is which, and what must change.

local core = require "clerk.machines.core"
local desired = require "clerk.machines.plan.desired"
local errors = require "clerk.machines.errors"
local Instance = require "clerk.machines.plan.instance"

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

local comparison = {}

-- ---------------------------------------------------------------- which machine is which
-- A node is a machine that is desired or exists: it has a `name`, `machine` if it exists, and
-- `entry` if it is in the plan.

local function find_by_id(instance, wanted, entry)
  local machine = instance.by_id[entry.id]
  if not machine then
    desired.refuse(wanted, entry.path .. ".id",
      ("%s is not in the instance"):format(desired.shown(entry.id)))
  end
  return machine
end

local function ids_of(machines)
  local ids = {}
  for i, machine in ipairs(machines) do
    ids[i] = machine.id
  end
  return table.concat(ids, ", ")
end

--- Only machines that no entry claims by its ID.
local function find_by_name(instance, wanted, entry, claimed)
  local found = {}
  for _, machine in ipairs(instance:named(entry.name)) do
    found[#found + 1] = not claimed[machine.id] and machine or nil
  end
  if #found > 1 then
    desired.refuse(wanted, entry.path .. ".name",
      ("%s is the name of %d machines (%s): give the id")
        :format(desired.shown(entry.name), #found, ids_of(found)))
  end
  return found[1]
end

local function claimed_ids(entries)
  local claimed = {}
  for _, entry in ipairs(entries) do
    claimed[entry.id or entry] = true
  end
  return claimed
end

--- The nodes of the plan in its order, and all nodes by ID.
local function match(instance, wanted)
  local nodes, by_id = {}, {}
  local claimed = claimed_ids(wanted.machines)
  for i, entry in ipairs(wanted.machines) do
    local machine = entry.id and find_by_id(instance, wanted, entry)
      or not entry.id and find_by_name(instance, wanted, entry, claimed) or nil
    nodes[i] = { name = entry.name, entry = entry, machine = machine }
    by_id[machine and machine.id or nodes[i]] = nodes[i]
  end
  for id, machine in pairs(instance.by_id) do
    by_id[id] = by_id[id] or { name = machine.name, machine = machine }
  end
  return nodes, by_id
end

-- ---------------------------------------------------------------- scopes

local function nodes_by_name(nodes)
  local by_name = {}
  for _, node in ipairs(nodes) do
    by_name[node.name] = by_name[node.name] or {}
    table.insert(by_name[node.name], node)
  end
  return by_name
end

local function unknown_hint(text, by_name)
  local names = {}
  for name in pairs(by_name) do
    names[#names + 1] = name
  end
  table.sort(names)
  local nearest = core.nearest(text, names)
  return nearest and ("; did you mean %s?"):format(desired.shown(nearest)) or ""
end

--- The machine that a scope names, or nil and what is wrong with it. IDs come first: nobody can
--- choose them, but anyone may name a machine like an ID.
local function resolve(text, by_name, by_id)
  local named = by_name[text] or {}
  if by_id[text] then
    return by_id[text]
  elseif #named > 1 then
    return nil, "is the name of several machines: give the ID"
  elseif not named[1] then
    return nil, "is neither a name in the plan nor an ID in the instance"
      .. unknown_hint(text, by_name)
  end
  return named[1]
end

--- Sets the `callees` of all nodes of the plan: an array, and a set.
local function resolve_scopes(wanted, nodes, by_id)
  local by_name = nodes_by_name(nodes)
  for _, node in ipairs(nodes) do
    node.callees = {}
    for i, text in ipairs(node.entry.scoped_machines) do
      local callee, problem = resolve(text, by_name, by_id)
      problem = problem or callee == node and "is the machine itself"
      if problem then
        desired.refuse(wanted, ("%s.scoped_machines[%d]"):format(node.entry.path, i),
          desired.shown(text) .. " " .. problem)
      end
      if not node.callees[callee] then
        node.callees[callee] = true
        table.insert(node.callees, callee)
      end
    end
  end
end

-- ---------------------------------------------------------------- changes
-- A step is a change with the nodes that it is about: `change`, `node`, and for scopes `other`.

local FIELDS = { "name", "default_token_ttl" }

local function id_of(node)
  return node.machine and node.machine.id
end

local function current_name(node)
  return node.machine and node.machine.name or node.name
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
  for _, field in ipairs(node.machine and FIELDS or {}) do
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
    local callee = by_id[scoped.id]
      or { name = tostring(scoped.name or scoped.id), machine = scoped }
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
local function add_scopes(phases, nodes, by_id)
  local most = core.operations.create.parameters.scoped_machines.max
  for _, node in ipairs(nodes) do
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

local function add_deletes(steps, instance, by_id, prefix)
  for _, machine in ipairs(prefix and instance.machines or {}) do
    local node = by_id[machine.id]
    if not node.entry and machine.name:sub(1, #prefix) == prefix then
      local callers = labels(instance, instance:callers(machine.id))
      add_step(steps, node, { action = "delete", callers = callers })
    end
  end
end

--- In the order of application: whatever a step needs comes in an earlier phase.
local function phases_of(instance, nodes, by_id, prefix)
  local phases = { update = {}, create = {}, make_room = {}, add = {}, remove = {}, delete = {} }
  for _, node in ipairs(nodes) do
    add_update(phases.update, node)
    add_create(phases.create, node)
  end
  add_scopes(phases, nodes, by_id)
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

local OPTIONS = { prune = true, secrets_dir = true }

local function check_options(options)
  for name, value in next, options do
    if not OPTIONS[name] then
      errors.refuse(('unknown option "%s" of compare'):format(tostring(name)))
    elseif type(value) ~= "string" or value == "" then
      errors.refuse(name .. " must be a string that is not empty")
    end
  end
end

local function check_instance(instance, wanted)
  if wanted.instance and instance.id and wanted.instance ~= instance.id then
    desired.refuse(wanted, "instance", ("is %s, but the secret key is that of %s")
      :format(desired.shown(wanted.instance), tostring(instance.id)))
  end
end

local function check_prune(wanted, options)
  if options.prune and #wanted.machines == 0 then
    desired.refuse(wanted, "machines", "is empty, and prune would delete all of its machines")
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
  local nodes, by_id = match(instance, wanted)
  resolve_scopes(wanted, nodes, by_id)
  local phases = phases_of(instance, nodes, by_id, options.prune)
  return {
    wanted = wanted,
    options = options,
    instance = instance,
    nodes = nodes,
    phases = phases,
    steps = flatten(phases),
  }
end

---@param client clerk.machines.Client
---@param wanted clerk.machines.plan.Desired
---@param options? clerk.machines.plan.Options
---@return table comparison
function comparison.compare(client, wanted, options)
  options = options or {}
  check_options(options)
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
