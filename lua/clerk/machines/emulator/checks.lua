--- Reads the body of a request, and checks all parameters against the row of the operation.

local assumed = require "clerk.machines.emulator.assumed"
local core = require "clerk.machines.core"
local problems = require "clerk.machines.emulator.problems"

local checks = {}

-- ---------------------------------------------------------------- body

-- The metatable of decoded objects; arrays have none.
local Object = core.result

local function is_json(content_type)
  local media_type = (content_type or ""):match("^%s*([^;]-)%s*;") or content_type or ""
  return media_type:lower() == "application/json"
end

---@param request clerk.machines.emulator.Request
---@return table? object null members are core.null
---@return clerk.machines.emulator.Problem?
function checks.read_object(request)
  if not is_json(request.headers["content-type"]) then
    local what = "The Content-Type must be application/json."
    return nil, problems.new("unsupported_content_type", what)
  end
  local object, why = core.decode(request.body or "", Object, true)
  if object == nil then
    return nil, problems.new("request_body_invalid", "The body is not JSON: " .. why .. ".")
  elseif getmetatable(object) ~= Object then
    return nil, problems.new("request_body_invalid", "The body is not a JSON object.")
  end
  return object
end

local function read_body(operation, request)
  if operation.takes_body then
    return checks.read_object(request)
  elseif (request.body or "") == "" then
    return {}
  end
  return nil, problems.new(assumed.code.body_not_expected, "This operation does not take a body.")
end

-- ---------------------------------------------------------------- values

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

-- By the type of a row. Each returns the code and the text of the problem, if there is one.
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

CHECKS.secret = CHECKS.string

function CHECKS.number(row, value)
  if type(value) ~= "number" or value == math.huge then
    return wrong_type("a number")
  elseif value <= row.min then
    return assumed.code.too_small, ("must be more than %d"):format(row.min)
  end
end

function CHECKS.boolean(_, value)
  if type(value) ~= "boolean" then
    return wrong_type("a boolean")
  end
end

function CHECKS.json() end

function CHECKS.token_id(_, value)
  if type(value) ~= "string" then
    return wrong_type("a token ID")
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
  if type(value) ~= "table" or getmetatable(value) == Object then
    return wrong_type("an array of machine IDs")
  elseif #value > row.max then
    return "form_param_array_size_exceeded", ("must have at most %d elements"):format(row.max)
  end
  return check_elements(value)
end

local BOOLEANS = { ["true"] = true, ["false"] = false }

-- An integer or a boolean; other text stays as it is, and fails its check.
local function query_value(row, value)
  if row.type == "boolean" and BOOLEANS[value] ~= nil then
    return BOOLEANS[value]
  end
  local is_integer = value and row.type == "integer" and value:find("^%-?%d+$")
  return is_integer and tonumber(value) or value
end

local function check(row, value)
  if value == nil then
    if row.required then
      return "form_param_missing", "must be given"
    end
  elseif value == core.null then
    if not row.nullable then
      return "form_param_nil", "must not be null"
    end
  else
    return CHECKS[row.type](row, value)
  end
end

-- ---------------------------------------------------------------- calls

local function add(found, code, name, what)
  found[#found + 1] = problems.new(code, ("`%s` %s."):format(name, what), name)
end

local function add_unknown(found, given, place, operation)
  local declared, unknown = {}, {}
  for _, row in ipairs(operation.parameters) do
    declared[row.name] = row.place == place
  end
  for name in pairs(given) do
    unknown[#unknown + 1] = not declared[name] and name or nil
  end
  table.sort(unknown)
  for _, name in ipairs(unknown) do
    add(found, "form_param_unknown", name, "is not a parameter of this operation")
  end
end

local function read_declared(found, call, object)
  local places = { path = call.path, query = call.query, body = object }
  local values = {}
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
  return values
end

---Reads and checks the parameters of a call, and reports all problems at once.
---@param call clerk.machines.emulator.Call
---@param request clerk.machines.emulator.Request
---@return table<string, any>? values by name
---@return clerk.machines.emulator.Problem?
function checks.read(call, request)
  local object, problem = read_body(call.operation, request)
  if not object then
    return nil, problem
  end
  local found = {}
  local values = read_declared(found, call, object)
  add_unknown(found, call.query, "query", call.operation)
  add_unknown(found, object, "body", call.operation)
  for _, name in ipairs(call.repeated) do
    add(found, assumed.code.query_repeated, name, "is given twice")
  end
  if found[1] then
    return nil, (call.is_of_tokens and problems.bad_request or problems.join)(found)
  end
  return values
end

return checks
