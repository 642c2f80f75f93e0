--- Machines by what people type: an ID, or an exact name that only one machine has.

local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local text = require "clerk.machines.cli.text"

local names = {}

local LARGEST_PAGE = core.operations.list.parameters.limit.max

--- What is certainly not meant as a name. An empty ID is refused where it is used.
local function is_id(given)
  return given == "" or given:find("^mch_") ~= nil
end

local function refuse_several(given, found)
  local lines = {}
  for i, machine in ipairs(found) do
    lines[i] = text.of(machine.id)
  end
  failure.raise(("%d machines are named '%s': %s; give an ID"):format(#found, given,
    table.concat(lines, ", ")))
end

--- "; did you mean …?" if the instance has a machine whose name is near.
local function hint(client, given)
  local known = {}
  for _, machine in ipairs(client:list({ limit = LARGEST_PAGE }).data) do
    known[#known + 1] = type(machine.name) == "string" and machine.name or nil
  end
  local nearest = core.nearest(given, known)
  return nearest and ("; did you mean '%s'?"):format(nearest) or ""
end

--- One that has it as its ID comes first: anyone may name a machine like an ID.
local function search(client, given)
  if not client.settings.secret_key then
    failure.raise(("'%s' is not an ID (mch_…): with a machine's secret key, machines cannot be "
      .. "found by their names"):format(given), failure.MISUSED)
  end
  local found = {}
  for machine in client:each { query = given } do
    if machine.id == given then
      return machine
    elseif machine.name == given then
      found[#found + 1] = machine
    end
  end
  if #found > 1 then
    refuse_several(given, found)
  end
  return found[1] or failure.raise(("no machine has the ID or the name '%s'%s"):format(given,
    hint(client, given)))
end

--- The ID of a machine. What begins like an ID is one, without a request.
---@param client clerk.machines.Client
---@param given string
---@return string
function names.id(client, given)
  return is_id(given) and given or search(client, given).id
end

--- Finds several, each once.
local function find_all(given, find)
  local found, seen = {}, {}
  for _, each in ipairs(given) do
    local machine = find(each)
    if not seen[machine.id] then
      seen[machine.id] = true
      found[#found + 1] = machine
    end
  end
  return found
end

--- The machines, each once.
---@param client clerk.machines.Client
---@param given string[]
---@return clerk.machines.Machine[]
function names.machines(client, given)
  return find_all(given, function(each)
    return is_id(each) and client:get(each) or search(client, each)
  end)
end

--- The same with their IDs only, without a request for what begins like an ID.
---@param client clerk.machines.Client
---@param given string[]
---@return { id: string }[]
function names.ids(client, given)
  return find_all(given, function(each)
    return { id = names.id(client, each) }
  end)
end

--- "worker (mch_1)", or the ID alone.
---@param machine { id: string, name: string|nil }
---@return string
function names.label(machine)
  return type(machine.name) == "string" and ("%s (%s)"):format(machine.name, text.of(machine.id))
    or text.of(machine.id)
end

return names
