--- What is desired: a plan file, or a table that a program has made. All of it is checked, as far
--- as that is possible without the instance.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local files = require "clerk.machines.plan.files"
local schema = require "clerk.machines.schema"

---@class clerk.machines.plan.DesiredMachine
---@field name string unique, unless all machines of the name have an `id`
---@field id? string of an existing machine, which is renamed if it has another name
---@field default_token_ttl? integer seconds; left alone if it is missing
---@field scoped_machines? string[] names or IDs of those that it may call; none if it is missing

---@class clerk.machines.plan.Desired
---@field machines clerk.machines.plan.DesiredMachine[]
---@field instance? string ID of the instance; any other one is refused
---@field file? string where `plan.read` found it, for messages

local desired = {}

-- ---------------------------------------------------------------- problems

--- Raises an ArgumentError.
---@param wanted table that may have a `file`
---@param path string "machines[2].name"
---@param problem string
function desired.refuse(wanted, path, problem)
  local place = type(wanted.file) == "string" and wanted.file .. ": " or ""
  errors.refuse(place .. path .. " " .. problem)
end

--- Quotes a string, if it is short, for a message.
local function shown(value)
  if type(value) == "string" and #value <= 60 then
    return '"' .. value .. '"'
  end
  return type(value) == "number" and tostring(value) or type(value)
end
desired.shown = shown

local function expect(wanted, path, expected, value)
  desired.refuse(wanted, path, ("must be %s, got %s"):format(expected, shown(value)))
end

-- ---------------------------------------------------------------- fields

local function bounds_of(parameter)
  local row = core.operations.create.parameters[parameter]
  return row.min, row.max
end

-- Each takes what is desired, the field's path and its value, and raises if it does not fit.

local function check_string(wanted, path, value)
  if type(value) ~= "string" or value == "" then
    expect(wanted, path, "a string that is not empty", value)
  end
end

local function check_array(wanted, path, value)
  local count = 0
  for _ in next, type(value) == "table" and value or { true } do
    count = count + 1
  end
  if type(value) ~= "table" or count ~= #value then
    expect(wanted, path, "an array", value)
  end
end

local function check_name(wanted, path, value)
  local min, max = bounds_of "name"
  local length = type(value) == "string" and core.characters(value)
  if not length or length < min or length > max then
    expect(wanted, path, ("a string of %d to %d characters"):format(min, max), value)
  end
end

local function check_token_ttl(wanted, path, value)
  local min, max = bounds_of "default_token_ttl"
  if type(value) ~= "number" or value % 1 ~= 0 or value < min or value > max then
    expect(wanted, path, ("an integer from %d to %d, in seconds"):format(min, max), value)
  end
end

local function check_scopes(wanted, path, value)
  local _, max = bounds_of "scoped_machines"
  check_array(wanted, path, value)
  if #value > max then
    expect(wanted, path, ("at most %d machines"):format(max), #value)
  end
  for i, scope in ipairs(value) do
    check_string(wanted, ("%s[%d]"):format(path, i), scope)
  end
end

local MACHINE = {
  id = check_string,
  name = check_name,
  default_token_ttl = check_token_ttl,
  scoped_machines = check_scopes,
}

local WHOLE = {
  file = check_string,
  instance = check_string,
  machines = check_array,
}

--- "; did you mean …?", or nothing when no key of the set is near.
---@param text string
---@param set table<string, any>
---@return string
function desired.hint(text, set)
  local nearest = core.nearest(text, schema.sorted_keys(set))
  return nearest and ("; did you mean %s?"):format(shown(nearest)) or ""
end

--- Refuses the first of the unknown fields in the order of the alphabet.
local function check_known(wanted, prefix, given, fields)
  for _, name in ipairs(schema.sorted_keys(given)) do
    if not fields[name] then
      local text = tostring(name)
      desired.refuse(wanted, prefix .. text, "is unknown" .. desired.hint(text, fields))
    end
  end
end

--- A copy of the fields, all of which are known and fit.
local function check_fields(wanted, prefix, given, fields)
  check_known(wanted, prefix, given, fields)
  local checked = {}
  for _, name in ipairs(schema.sorted_keys(fields)) do
    local value = rawget(given, name)
    if value ~= nil then
      fields[name](wanted, prefix .. name, value)
    end
    checked[name] = value
  end
  return checked
end

local function check_machine(wanted, path, value)
  if type(value) ~= "table" then
    expect(wanted, path, "a table", value)
  end
  local machine = check_fields(wanted, path .. ".", value, MACHINE)
  machine.path = path
  if not machine.name then
    desired.refuse(wanted, path .. ".name", "is missing")
  end
  machine.scoped_machines = machine.scoped_machines or {}
  return machine
end

-- ---------------------------------------------------------------- all machines

local function check_ids(checked)
  local seen = {}
  for _, machine in ipairs(checked.machines) do
    local first = machine.id and seen[machine.id]
    if first then
      desired.refuse(checked, machine.path .. ".id", "is also the ID of " .. first.path)
    elseif machine.id then
      seen[machine.id] = machine
    end
  end
end

local function check_names(checked)
  local seen = {}
  for _, machine in ipairs(checked.machines) do
    local first = seen[machine.name]
    if first and not (first.id and machine.id) then
      desired.refuse(checked, machine.path .. ".name",
        ("%s is also the name of %s: give each its id"):format(shown(machine.name), first.path))
    end
    seen[machine.name] = machine
  end
end

--- A checked copy, whose machines have their `path` and an array of scopes. Raises an
--- ArgumentError.
---@param wanted any
---@return table
function desired.check(wanted)
  if type(wanted) ~= "table" then
    errors.refuse("a plan must be a table, got " .. shown(wanted))
  end
  local checked = check_fields(wanted, "", wanted, WHOLE)
  if not checked.machines then
    desired.refuse(wanted, "machines", "is missing")
  end
  local machines = {}
  for i, machine in ipairs(checked.machines) do
    machines[i] = check_machine(wanted, ("machines[%d]"):format(i), machine)
  end
  checked.machines = machines
  check_ids(checked)
  check_names(checked)
  return checked
end

-- ---------------------------------------------------------------- files

local function line_of(text, offset)
  local _, count = text:sub(1, offset):gsub("\n", "")
  return count + 1
end

local function load_json(text, path)
  local value, problem, offset = core.decode(text)
  if problem then
    errors.refuse(("%s:%d: %s"):format(path, line_of(text, offset), problem))
  end
  return value
end

local function without_mark(text)
  return (text:gsub("^\239\187\191", ""))
end

--- Lua's messages begin with "path:line:" because of the chunk's name.
local function load_lua(text, path)
  local chunk, problem = load(without_mark(text), "@" .. path, "t", {})
  if not chunk then
    errors.refuse(problem)
  end
  local ok, value = pcall(chunk)
  if not ok then
    errors.refuse(tostring(value))
  end
  return value
end

local function read_file(path)
  local text, problem = files.read(path)
  return text or errors.refuse("cannot read the plan: " .. problem)
end

---@param path string
---@return clerk.machines.plan.Desired
function desired.read(path)
  if type(path) ~= "string" then
    errors.refuse("path must be a string, got " .. type(path))
  end
  local load_as = path:find "%.json$" and load_json or load_lua
  local value = load_as(read_file(path), path)
  if type(value) ~= "table" then
    errors.refuse(("%s: a plan must be a table, got %s"):format(path, type(value)))
  end
  value.file = path
  desired.check(value)
  return value
end

return desired
