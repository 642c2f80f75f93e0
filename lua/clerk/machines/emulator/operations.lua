--- What each operation does to the store.
---
--- Each is a function(store, values, now, caller) that takes checked parameters and returns a
--- result, or nil and a problem. One that returns a problem has changed nothing. The caller, a
--- machine, matters only for tokens.

local assumed = require "clerk.machines.emulator.assumed"
local core = require "clerk.machines.core"
local problems = require "clerk.machines.emulator.problems"
local scopes = require "clerk.machines.emulator.scopes"
local token_operations = require "clerk.machines.emulator.token_operations"

local DEFAULT_LIMIT = 10
local DEFAULT_ORDER = "-created_at"
local DEFAULT_TOKEN_TTL = 3600

local MAX_SCOPES = core.operations.create.parameters.scoped_machines.max

local operations = {}

-- ---------------------------------------------------------------- results

local function show_alone(machine)
  return {
    object = "machine",
    id = machine.id,
    name = machine.name,
    instance_id = machine.instance_id,
    created_at = machine.created_at,
    updated_at = machine.updated_at,
    default_token_ttl = machine.default_token_ttl,
  }
end

local function show(machine)
  local shown = show_alone(machine)
  shown.scoped_machines = {}
  for i, callee in ipairs(machine.scopes) do
    shown.scoped_machines[i] = show_alone(callee)
  end
  return shown
end

local function show_secret(secret)
  return { object = "machine_secret_key", secret = secret }
end

local function show_scope(from, to)
  return { object = "machine_scope", from_machine_id = from.id, to_machine_id = to.id }
end

-- ---------------------------------------------------------------- machines

local function find(store, id)
  local machine = store:find(id)
  if not machine then
    return nil, problems.machine_not_found(id)
  end
  return machine
end

--- An operation on the machine that the path names.
local function on_machine(act)
  return function(store, values, now)
    local machine, problem = find(store, values.machine_id)
    if not machine then
      return nil, problem
    end
    return act(store, machine, values, now)
  end
end

local function find_scoped(store, ids)
  local found = {}
  for i, id in ipairs(ids) do
    found[i] = store:find(id)
    if not found[i] then
      local what = ("`scoped_machines` holds '%s', which does not exist."):format(id)
      return nil, problems.new(assumed.code.scoped_machine_absent, what, "scoped_machines")
    end
  end
  return found
end

function operations.list(store, values)
  local order_by = values.order_by or DEFAULT_ORDER
  local offset, limit = values.offset or 0, values.limit or DEFAULT_LIMIT
  local page, total_count = store:list(order_by, values.query or "", offset, limit)
  local data = {}
  for i, machine in ipairs(page) do
    data[i] = show(machine)
  end
  return { data = data, total_count = total_count }
end

function operations.create(store, values, now)
  local scoped, problem = find_scoped(store, values.scoped_machines or {})
  if not scoped then
    return nil, problem
  end
  local machine = store:create(values.name, values.default_token_ttl or DEFAULT_TOKEN_TTL, now)
  for _, callee in ipairs(scoped) do
    scopes.create(machine, callee)
  end
  local shown = show(machine)
  shown.secret_key = machine.secret
  return shown
end

operations.get = on_machine(function(_, machine)
  return show(machine)
end)

operations.update = on_machine(function(store, machine, values, now)
  local changes = { name = values.name, default_token_ttl = values.default_token_ttl }
  store:update(machine, changes, now)
  return show(machine)
end)

operations.delete = on_machine(function(store, machine)
  store:delete(machine)
  return { object = "machine", id = machine.id, deleted = true }
end)

-- ---------------------------------------------------------------- secret keys

operations.get_secret_key = on_machine(function(_, machine)
  return show_secret(machine.secret)
end)

operations.rotate_secret_key = on_machine(function(store, machine, values, now)
  return show_secret(store:rotate(machine, values.previous_token_ttl, now))
end)

-- ---------------------------------------------------------------- scopes

local function why_not(from, to)
  if from == to then
    local what = "A machine cannot have a scope to itself."
    return problems.new(assumed.code.scope_to_itself, what, "to_machine_id")
  elseif scopes.exists(from, to) then
    return problems.new(assumed.code.scope_exists, "This scope already exists.")
  elseif #from.scopes >= MAX_SCOPES then
    local what = ("A machine can have at most %d scopes."):format(MAX_SCOPES)
    return problems.new(assumed.code.too_many_scopes, what)
  end
end

operations.create_scope = on_machine(function(store, from, values, now)
  local to, problem = find(store, values.to_machine_id)
  problem = problem or why_not(from, to)
  if problem then
    return nil, problem
  end
  scopes.create(from, to)
  local shown = show_scope(from, to)
  shown.created_at = now
  return shown
end)

operations.delete_scope = on_machine(function(store, from, values)
  local to, problem = find(store, values.other_machine_id)
  if not to then
    return nil, problem
  elseif not scopes.exists(from, to) then
    return nil, problems.new(assumed.code.scope_absent, "This scope does not exist.")
  end
  scopes.delete(from, to)
  local shown = show_scope(from, to)
  shown.deleted = true
  return shown
end)

-- ---------------------------------------------------------------- tokens

for name, act in pairs(token_operations) do
  operations[name] = act
end

return operations
