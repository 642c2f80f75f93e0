--- Checks options: a client's or a call's, the emulator's, a fault's. A schema is an array of rows,
--- one for each option; options.lua says what a row has. Of several problems, the first in the
--- order of the schema is reported.
---
--- Checks return the value to use, or nil and the problem: a sentence that names the option. They
--- read the caller's tables raw, so that what was checked is what is used.

local core = require "clerk.machines.core"

local schema = {
  LARGEST = 2 ^ 31 - 1, -- of what libcurl takes as a number
}

local function unexpected(name, expected, value)
  local got = type(value) == "number" and tostring(value) or type(value)
  return nil, ("%s must be %s, got %s"):format(name, expected, got)
end

--- The same for options that hold no secret: quotes a short string, unless it has an underscore,
--- like a secret key that was given by mistake.
local function unexpected_word(name, expected, value)
  if type(value) ~= "string" or #value > 20 or not value:find "^[%w .+-]*$" then
    return unexpected(name, expected, value)
  end
  return nil, ('%s must be %s, got "%s"'):format(name, expected, value)
end

--- A key of a caller's table, without its metamethods.
local function shown(key)
  local is_plain = type(key) == "string" or type(key) == "number"
  return is_plain and tostring(key) or type(key)
end

--- The keys of a caller's table, in an order that is always the same.
---@param given table
---@return any[]
function schema.sorted_keys(given)
  local keys = {}
  for key in next, given do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return shown(a) < shown(b)
  end)
  return keys
end

-- ---------------------------------------------------------------- kinds of values
-- Each takes the option's row, the value, its full name, and the context: see schema.check.

local kinds = {}
schema.kinds = kinds

function kinds.integer(row, value, name)
  if type(value) ~= "number" or value % 1 ~= 0 or value < row.min or value > row.max then
    return unexpected_word(name, ("an integer from %.0f to %.0f"):format(row.min, row.max), value)
  end
  return math.floor(value)
end

function kinds.number(row, value, name)
  if type(value) ~= "number" or not (value >= row.min and value <= row.max) then
    return unexpected_word(name, ("a number from %.0f to %.0f"):format(row.min, row.max), value)
  end
  return value
end

function kinds.boolean(_, value, name)
  if type(value) ~= "boolean" then
    return unexpected_word(name, "a boolean", value)
  end
  return value
end

kinds["function"] = function(_, value, name)
  if type(value) ~= "function" then
    return unexpected(name, "a function", value)
  end
  return value
end

function kinds.string(_, value, name)
  if type(value) ~= "string" or value == "" or value:find("%c") then
    return unexpected(name, "a string that is not empty and has no control bytes", value)
  end
  return value
end

function kinds.one_of(row, value, name)
  for _, allowed in ipairs(row.values) do
    if value == allowed then
      return value
    end
  end
  return unexpected_word(name, '"' .. table.concat(row.values, '" or "') .. '"', value)
end

function kinds.url(_, value, name, context)
  if type(value) ~= "string" then
    return unexpected(name, "a string", value)
  end
  local ok, problem = core.check_base_url(value, context.allow_http)
  return ok and value, problem
end

local fixed_keys = setmetatable({}, { __mode = "k" })

--- The key that such a function returns, if it was given as a string; nil if the function is the
--- caller's.
function schema.fixed_key(f)
  return fixed_keys[f]
end

--- A function that returns the key, so that no table holds it.
local function fix(key)
  local function get()
    return key
  end
  fixed_keys[get] = key
  return get
end

function kinds.secret_key(_, value, name)
  if type(value) == "function" then
    return value
  end
  if type(value) ~= "string" then
    return unexpected(name, "a string or a function", value)
  end
  local ok, problem = core.check_secret_key(name, value)
  return ok and fix(value), problem
end

--- Any other value raises when it is indexed.
local function has_members(value)
  local metatable = getmetatable(value)
  return type(value) == "table" or (type(value) == "userdata" and metatable and metatable.__index)
end

function kinds.transport(_, value, name)
  if not has_members(value) or type(value.send) ~= "function" then
    return unexpected(name, "an object with a function `send`", value)
  end
  return value
end

function kinds.headers(_, value, name)
  if type(value) ~= "table" then
    return unexpected(name, "a table", value)
  end
  local headers = {}
  for _, header in ipairs(schema.sorted_keys(value)) do
    local text = rawget(value, header)
    if type(header) ~= "string" then
      return unexpected("a name in " .. name, "a string", header)
    elseif type(text) ~= "string" then
      return unexpected(("%s[%q]"):format(name, header), "a string", text)
    end
    local ok, problem = core.check_header(header, text)
    local lower = header:lower()
    if not ok or headers[lower] then
      return nil, problem or ("%s has %s twice"):format(name, lower)
    end
    headers[lower] = text
  end
  return headers
end

function kinds.status_codes(_, value, name)
  if type(value) ~= "table" then
    return unexpected(name, "an array", value)
  end
  local count, codes = 0, {}
  for _ in next, value do
    count = count + 1
  end
  for i = 1, count do
    if not core.is_retry_status(rawget(value, i)) then
      return nil, name .. ' must be an array of statuses, such as 429, or classes, such as "5XX"'
    end
    codes[i] = rawget(value, i)
  end
  return codes
end

-- ---------------------------------------------------------------- tables of options

local function is_name_of(rows, key)
  return type(key) == "string" and rows[key] ~= nil
end

local function names_of(rows)
  local names = {}
  for i, row in ipairs(rows) do
    names[i] = row.name
  end
  return names
end

local function unknown(rows, key, prefix, context)
  local misplaced = context.misplaced and prefix == "" and context.misplaced(key)
  if misplaced then
    return misplaced
  end
  local nearest = type(key) == "string" and core.nearest(key, names_of(rows))
  local hint = nearest and ('; did you mean "%s%s"?'):format(prefix, nearest) or ""
  return ('unknown option "%s%s"%s'):format(prefix, shown(key), hint)
end

--- The value of an option, and the variable that it comes from, if it does.
local function value_of(row, given, context)
  local value = rawget(given, row.name)
  local variable = value == nil and context.use_environment and row.variable
  local found = variable and os.getenv(variable) or ""
  if found == "" then
    return value
  end
  return row.adapt and row.adapt(found) or found, variable
end

local function check_row(row, given, prefix, context, checked)
  local value, variable = value_of(row, given, context)
  local problem
  if value ~= nil then
    local check_kind = kinds[row.kind] or row.kind
    value, problem = check_kind(row, value, prefix .. row.name, context)
  end
  if problem and variable then
    problem = problem:gsub(row.name, "%0 (from " .. variable .. ")", 1)
  end
  return value, problem or row.refuse and row.refuse(value, context, checked)
end

--- The first of the keys that name no option.
local function unknown_key(rows, given)
  local found
  for key in next, given do
    if not is_name_of(rows, key) then
      found = found or {}
      found[key] = true
    end
  end
  return found and schema.sorted_keys(found)[1]
end

local function check(rows, given, prefix, context)
  local found = unknown_key(rows, given)
  if found ~= nil then
    return nil, unknown(rows, found, prefix, context)
  end
  local checked = {}
  for _, row in ipairs(rows) do
    local value, problem = check_row(row, given, prefix, context, checked)
    if problem then
      return nil, problem
    end
    checked[row.name] = value
  end
  return checked
end

--- A group of options under one name; those that are given replace single members.
function kinds.group(row, value, name, context)
  if value == false and row.off then
    return row.off
  end
  if type(value) ~= "table" then
    return unexpected(name, row.off and "a table or false" or "a table", value)
  end
  return check(row.members, value, name .. ".", context)
end

-- ---------------------------------------------------------------- the interface

--- Makes an array of rows accessible by their names too.
function schema.new(rows)
  for _, row in ipairs(rows) do
    rows[row.name] = row
  end
  return rows
end

---@class clerk.machines.SchemaContext what checks depend on besides the value
---@field use_environment boolean? whether variables stand in for options that are not given
---@field allow_http boolean?
---@field has_transport boolean? whether the transport is the caller's
---@field misplaced? fun(key: any): string? the problem when an unknown option is known elsewhere

---@param rows table made by `schema.new`
---@param given any
---@param group string? in front of the names in messages: "fault" makes "fault.status"
---@param context clerk.machines.SchemaContext?
---@return table|nil checked a new table
---@return string|nil problem
function schema.check(rows, given, group, context)
  if type(given) ~= "table" then
    return unexpected(group or "options", "a table", given)
  end
  return check(rows, given, group and group .. "." or "", context or {})
end

--- The same, and adds the defaults.
---@param rows table made by `schema.new`
---@param given any
---@param group string?
---@param context clerk.machines.SchemaContext?
---@return table|nil checked a new table
---@return string|nil problem
function schema.complete(rows, given, group, context)
  local checked, problem = schema.check(rows, given, group, context)
  for _, row in ipairs(checked and rows or {}) do
    if checked[row.name] == nil then
      checked[row.name] = row.default
    end
  end
  return checked, problem
end

return schema
