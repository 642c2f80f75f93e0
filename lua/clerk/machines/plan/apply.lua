--- Makes the changes of a comparison. Whenever it is not known whether a change was made, the
--- instance is looked at, so that nothing is done twice.

local comparison = require "clerk.machines.plan.comparison"
local errors = require "clerk.machines.errors"
local json_writer = require "clerk.machines.json_writer"
local pool = require "clerk.machines.plan.pool"
local secrets = require "clerk.machines.plan.secrets"

local apply = {}

-- ---------------------------------------------------------------- one change

local function id_of(node)
  return node.machine.id
end

--- A scope is there or not: to ask for it twice does no harm.
local REPEAT = { retries = { repeat_unsafe = true } }

local make_change = {}

function make_change.create(client, step)
  return client:create(step.change.to)
end

function make_change.update(client, step)
  client:update(id_of(step.node), step.change.to)
end

function make_change.add_scope(client, step)
  client:create_scope(id_of(step.node), { to_machine_id = id_of(step.other) }, REPEAT)
end

function make_change.remove_scope(client, step)
  client:delete_scope(id_of(step.node), id_of(step.other))
end

function make_change.delete(client, step)
  client:delete(id_of(step.node))
end

-- ---------------------------------------------------------------- after a lost response

local function find(client, id)
  for machine in client:each { query = id } do
    if machine.id == id then
      return machine
    end
  end
end

local function has_scope(client, step)
  local machine = find(client, id_of(step.node))
  for _, scoped in ipairs(machine and machine.scoped_machines or {}) do
    if scoped.id == id_of(step.other) then
      return true
    end
  end
  return false
end

--- The machines of that name which did not exist before.
local function find_created(client, step, instance)
  local found = {}
  for machine in client:each { query = step.node.name } do
    if machine.name == step.node.name and not instance.by_id[machine.id] then
      found[#found + 1] = machine
    end
  end
  return found
end

local function refuse_several(problem, found)
  local ids = {}
  for i, machine in ipairs(found) do
    ids[i] = machine.id
  end
  problem.message = ("%s (there are now %d machines of this name: %s; delete all but one)")
    :format(problem.message, #found, table.concat(ids, ", "))
end

--- Each says whether its change has been made. That of create returns the machine.
local was_made = {}

function was_made.create(client, step, instance, problem)
  local found = find_created(client, step, instance)
  if #found > 1 then
    refuse_several(problem, found)
    return nil
  end
  return found[1]
end

function was_made.update(client, step)
  local machine = find(client, id_of(step.node))
  for field, value in pairs(step.change.to) do
    if not machine or machine[field] ~= value then
      return false
    end
  end
  return true
end

was_made.add_scope = has_scope

function was_made.remove_scope(client, step)
  return not has_scope(client, step)
end

function was_made.delete(client, step)
  return find(client, id_of(step.node)) == nil
end

--- What the change returned, or would have returned if its response had not been lost.
local function make(client, step, instance)
  local action = step.change.action
  local ok, result = pcall(make_change[action], client, step)
  if ok then
    return result
  end
  local problem = result
  if not (errors.is_error(problem) and problem.maybe_applied) then
    error(problem, 0)
  end
  local has_looked, found = pcall(was_made[action], client, step, instance, problem)
  return has_looked and found or error(problem, 0)
end

-- ---------------------------------------------------------------- all changes

local function keep_secret(run, machine)
  if run.secrets and type(machine.secret_key) == "string" then
    run.secrets:write(machine.id, machine.secret_key)
    run.written = run.written + 1
  end
end

local function note(run, step, result)
  if step.change.action == "create" then
    step.node.machine = { id = result.id }
  end
  step.change.id = id_of(step.node)
  step.change.to_id = step.other and id_of(step.other)
  run.done = run.done + 1
  if run.on_change then
    run.on_change(step.change, run.done, run.count)
  end
end

local function make_phase(run, phase)
  pool.each(run.client, phase, function(step)
    local result = make(run.client, step, run.compared.instance)
    note(run, step, result)
    if step.change.action == "create" then
      keep_secret(run, result)
    end
  end)
end

local function fetch_secrets(run)
  local missing = {}
  for _, node in ipairs(run.compared.nodes) do
    missing[#missing + 1] = not run.secrets:has(id_of(node)) and node or nil
  end
  pool.each(run.client, missing, function(node)
    local key = run.client:get_secret_key(id_of(node))
    run.secrets:write(id_of(node), key.secret)
    run.written = run.written + 1
  end)
end

-- ---------------------------------------------------------------- the interface

local function signature(compared)
  local changes = {}
  for i, step in ipairs(compared.steps) do
    changes[i] = step.change
  end
  return json_writer.write(changes)
end

local function check_unchanged(client, compared)
  local fresh = comparison.again(client, compared)
  if signature(fresh) ~= signature(compared) then
    errors.refuse("the instance has changed since the comparison: compare again")
  end
end

---@param client clerk.machines.Client
---@param compared table of comparison.compare
---@param on_change? fun(change: table, index: integer, count: integer)
---@return integer count of secret keys that were written
function apply.run(client, compared, on_change)
  local directory = compared.options.secrets_dir
  local run = {
    client = client,
    compared = compared,
    on_change = on_change,
    secrets = directory and secrets.open(directory),
    done = 0,
    count = #compared.steps,
    written = 0,
  }
  check_unchanged(client, compared)
  for _, phase in ipairs(compared.phases) do
    make_phase(run, phase)
  end
  if run.secrets then
    fetch_secrets(run)
  end
  return run.written
end

return apply
