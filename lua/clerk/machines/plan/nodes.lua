--- Which machine is which: the machines that a plan names, found in the instance or not.
---
--- A node is a machine that is desired or exists. It has a `name`; `machine` if it exists; and if
--- it is in the plan, `entry` and `callees`, the nodes that it may call: an array, and a set.

local desired = require "clerk.machines.plan.desired"

local nodes = {}

-- ---------------------------------------------------------------- machines

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
    if entry.id then
      claimed[entry.id] = true
    end
  end
  return claimed
end

--- The nodes of the plan in its order, and all nodes that exist by their IDs.
local function match(instance, wanted)
  local list, by_id = {}, {}
  local claimed = claimed_ids(wanted.machines)
  for i, entry in ipairs(wanted.machines) do
    local machine = entry.id and find_by_id(instance, wanted, entry)
      or not entry.id and find_by_name(instance, wanted, entry, claimed) or nil
    list[i] = { name = entry.name, entry = entry, machine = machine }
    if machine then
      by_id[machine.id] = list[i]
    end
  end
  for id, machine in pairs(instance.by_id) do
    by_id[id] = by_id[id] or { name = machine.name, machine = machine }
  end
  return list, by_id
end

-- ---------------------------------------------------------------- scopes

local function names_of(list)
  local by_name = {}
  for _, node in ipairs(list) do
    by_name[node.name] = by_name[node.name] or {}
    table.insert(by_name[node.name], node)
  end
  return by_name
end

--- The machine that a scope names, or nil and what is wrong with it. IDs come first: the API
--- chooses them, but anyone may name a machine like an ID.
local function resolve(text, by_name, by_id)
  local named = by_name[text] or {}
  if by_id[text] then
    return by_id[text]
  elseif #named > 1 then
    return nil, "is the name of several machines: give the ID"
  elseif not named[1] then
    return nil, "is neither a name in the plan nor an ID in the instance"
      .. desired.hint(text, by_name)
  end
  return named[1]
end

local function add_callee(wanted, node, i, by_name, by_id)
  local text = node.entry.scoped_machines[i]
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

-- ---------------------------------------------------------------- the interface

--- Raises an ArgumentError when it is not clear which machine is meant.
---@param instance clerk.machines.plan.Instance
---@param wanted table of desired.check
---@return table[] list the nodes of the plan, in its order
---@return table<string, table> by_id all nodes that exist
function nodes.of(instance, wanted)
  local list, by_id = match(instance, wanted)
  local by_name = names_of(list)
  for _, node in ipairs(list) do
    node.callees = {}
    for i = 1, #node.entry.scoped_machines do
      add_callee(wanted, node, i, by_name, by_id)
    end
  end
  return list, by_id
end

return nodes
