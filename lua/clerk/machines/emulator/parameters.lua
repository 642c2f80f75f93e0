--- Checks the parameters of a call against the rows of its operation.

local assumed = require "clerk.machines.emulator.assumed"
local body = require "clerk.machines.emulator.body"
local core = require "clerk.machines.core"
local problems = require "clerk.machines.emulator.problems"

local parameters = {}

local function wrong_type(expected)
  return "form_param_type_invalid", "must be " .. expected
end

local function is_choice(row, value)
  for _, choice in ipairs(row.values) do
    if choice == value then
      return true
    end
  end
  return false
end

local function check_element(element)
  if type(element) ~= "string" then
    return wrong_type("an array of machine IDs")
  end
  if element == "" then
    return assumed.code.empty_machine_id, "holds an empty machine ID"
  end
end

local function check_elements(elements)
  local seen = {}
  for _, element in ipairs(elements) do
    local code, what = check_element(element)
    if code then
      return code, what
    end
    if seen[element] then
      return "form_param_duplicate", "holds a machine ID twice"
    end
    seen[element] = true
  end
end

-- By the type of a row: its code and words when the value is wrong.
local CHECKS = {}

function CHECKS.string(row, value)
  if type(value) ~= "string" then
    return wrong_type("a string")
  end
  if row.values and not is_choice(row, value) then
    return assumed.code.not_a_choice, "must be one of " .. table.concat(row.values, ", ")
  end
  local length = core.characters(value)
  if row.min and length < row.min then
    return assumed.code.too_short, ("must have at least %d characters"):format(row.min)
  elseif row.max and length > row.max then
    return "form_param_max_length_exceeded", ("must have at most %d characters"):format(row.max)
  end
end

function CHECKS.integer(row, value)
  if type(value) ~= "number" or value % 1 ~= 0 then
    return wrong_type("an integer")
  end
  if row.min and value < row.min then
    return assumed.code.too_small, ("must be at least %d"):format(row.min)
  elseif row.max and value > row.max then
    return assumed.code.too_large, ("must be at most %d"):format(row.max)
  end
end

function CHECKS.machine_id(_, value)
  if type(value) ~= "string" then
    return wrong_type("a machine ID")
  end
  if value == "" then
    return assumed.code.empty_machine_id, "must not be empty"
  end
end

function CHECKS.machine_ids(row, value)
  if type(value) ~= "table" or body.is_object(value) then
    return wrong_type("an array of machine IDs")
  elseif #value > row.max then
    return "form_param_array_size_exceeded", ("must have at most %d elements"):format(row.max)
  end
  return check_elements(value)
end

-- The text of a query parameter as what it stands for; text that is no integer stays as it is.
local function query_value(row, value)
  local is_integer = value and row.type == "integer" and value:find("^%-?%d+$")
  return is_integer and tonumber(value) or value
end

local function check(row, value)
  if value == nil then
    if row.required then
      return "form_param_missing", "must be given"
    end
  elseif value == core.null then
    return "form_param_nil", "must not be null"
  else
    return CHECKS[row.type](row, value)
  end
end

local function add(found, code, name, what)
  found[#found + 1] = problems.new(code, ("`%s` %s."):format(name, what), name)
end

local function declared_names(operation, place)
  local names = {}
  for _, row in ipairs(operation.parameters) do
    if row.place == place then
      names[row.name] = true
    end
  end
  return names
end

local function refuse_unknown(found, given, declared)
  local unknown = {}
  for name in pairs(given) do
    if not declared[name] then
      unknown[#unknown + 1] = name
    end
  end
  table.sort(unknown)
  for _, name in ipairs(unknown) do
    add(found, "form_param_unknown", name, "is not a parameter of this operation")
  end
end

---@param call clerk.machines.emulator.Call
---@param object table the body's members
---@return table<string, any>? values by name
---@return clerk.machines.emulator.Problem?
function parameters.read(call, object)
  local places = { path = call.path, query = call.query, body = object }
  local found, values = {}, {}
  for _, row in ipairs(call.operation.parameters) do
    local value = places[row.place][row.name]
    if row.place == "query" then
      value = query_value(row, value)
    end
    local code, what = check(row, value)
    if code then
      add(found, code, row.name, what)
    end
    values[row.name] = value
  end
  refuse_unknown(found, call.query, declared_names(call.operation, "query"))
  refuse_unknown(found, object, declared_names(call.operation, "body"))
  for _, name in ipairs(call.repeated) do
    add(found, assumed.code.query_repeated, name, "is given twice")
  end
  if found[1] then
    return nil, problems.join(found)
  end
  return values
end

---@param operation table a row of core.operations
---@return boolean
function parameters.takes_body(operation)
  return next(declared_names(operation, "body")) ~= nil
end

return parameters
