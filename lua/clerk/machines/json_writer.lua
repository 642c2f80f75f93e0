--- Writes JSON, for claims, the command and the emulator: the members of objects in the order of
--- their names. JSON is read in C: core.decode.
---
---     json_writer.write { data = {}, total_count = 0 }    --> {"data":[],"total_count":0}
---
--- An object is a result of the API, or a table whose keys are strings; other tables, and so an
--- empty one, are arrays. `machines.null` becomes null.

local core = require "clerk.machines.core"

local json_writer = {}

local LARGEST_EXACT = 2 ^ 53

local ESCAPES = {
  ['"'] = [[\"]], ["\\"] = [[\\]], ["\b"] = [[\b]], ["\f"] = [[\f]], ["\n"] = [[\n]],
  ["\r"] = [[\r]], ["\t"] = [[\t]],
}

local write

--- Loses nothing, and leaves nothing that a terminal would interpret.
local function string_text(value)
  return '"' .. core.escape((value:gsub('[\b\t\n\f\r"\\]', ESCAPES))) .. '"'
end

local function float_text(value)
  for digits = 15, 17 do
    local written = ("%%.%dg"):format(digits):format(value)
    if tonumber(written) == value then
      return (written:gsub("[^%d+e-]+", ".")) -- the locale may have another decimal point
    end
  end
end

local function number_text(value)
  local kind = rawget(math, "type")
  if kind and kind(value) == "integer" then
    return ("%d"):format(value)
  elseif value == math.huge or value == -math.huge then
    return value > 0 and "1e999" or "-1e999"
  elseif value % 1 == 0 and math.abs(value) <= LARGEST_EXACT then
    return ("%.0f"):format(value)
  end
  return float_text(value)
end

local function sorted_names(object)
  local names = {}
  for name in next, object do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function enclose(open, parts, close, indent)
  if not indent or #parts == 0 then
    return open .. table.concat(parts, ",") .. close
  end
  local line = "\n" .. indent .. "  "
  return open .. line .. table.concat(parts, "," .. line) .. "\n" .. indent .. close
end

local function array_text(array, indent)
  local parts = {}
  local value = rawget(array, 1)
  while value ~= nil do
    parts[#parts + 1] = write(value, indent and indent .. "  ")
    value = rawget(array, #parts + 1)
  end
  return enclose("[", parts, "]", indent)
end

local function object_text(object, indent)
  local parts, colon = {}, indent and ": " or ":"
  for i, name in ipairs(sorted_names(object)) do
    parts[i] = string_text(name) .. colon .. write(rawget(object, name), indent and indent .. "  ")
  end
  return enclose("{", parts, "}", indent)
end

local function is_object(value)
  return getmetatable(value) == core.result or type(next(value)) == "string"
end

local WRITERS = {
  string = string_text,
  number = number_text,
  boolean = tostring,
  userdata = function()
    return "null"
  end,
  table = function(value, indent)
    return (is_object(value) and object_text or array_text)(value, indent)
  end,
}

function write(value, indent)
  return WRITERS[type(value)](value, indent)
end

-- ---------------------------------------------------------------- what can be written

local DEEPEST = 100

local problem_of

local function problem_of_text(text, path)
  return not core.characters(text) and path .. " must be valid UTF-8" or nil
end

local function problem_of_number(number, path)
  if number ~= number or number == math.huge or number == -math.huge then
    return path .. " must be a finite number"
  end
end

local function problem_of_object(object, path, depth)
  for _, name in ipairs(sorted_names(object)) do
    local problem = problem_of_text(name, "a name in " .. path)
      or problem_of(rawget(object, name), path .. "." .. name, depth + 1)
    if problem then
      return problem
    end
  end
end

local function problem_of_array(array, path, depth)
  local i, value = 1, rawget(array, 1)
  while value ~= nil do
    local problem = problem_of(value, ("%s[%d]"):format(path, i), depth + 1)
    if problem then
      return problem
    end
    i, value = i + 1, rawget(array, i + 1)
  end
end

--- Whether all keys are strings; otherwise whether they are those of an array.
local function kind_of(value)
  local names, count = 0, 0
  for key in next, value do
    names, count = names + (type(key) == "string" and 1 or 0), count + 1
  end
  for i = 1, count - names do
    if rawget(value, i) == nil then
      return "neither"
    end
  end
  return names == 0 and "array" or names == count and "object" or "neither"
end

local function problem_of_table(value, path, depth)
  if depth > DEEPEST then
    return ("%s is nested more than %d levels deep"):format(path:match "^[^.%[]*", DEEPEST)
  end
  local kind = kind_of(value)
  if kind == "neither" then
    return path .. " must be an array without holes, or have only strings as keys"
  end
  return (kind == "array" and problem_of_array or problem_of_object)(value, path, depth)
end

local function unexpected(path, value)
  return ("%s must be a string, number, boolean, table or machines.null, got %s"):format(path,
    type(value))
end

local CHECKS = {
  string = problem_of_text,
  number = problem_of_number,
  boolean = function() end,
  userdata = function(value, path)
    return value ~= core.null and unexpected(path, value) or nil
  end,
  table = problem_of_table,
}

function problem_of(value, path, depth)
  local check = CHECKS[type(value)]
  if not check then
    return unexpected(path, value)
  end
  return check(value, path, depth)
end

--- Why a caller's value cannot be written, or nil. Metamethods are not used.
---@param value any
---@param name string of the value, for the message
---@return string?
function json_writer.problem(value, name)
  return problem_of(value, name, 1)
end

---@param value string|number|boolean|table|userdata
---@param indent string? of every line after the first one; without it everything is on one line
---@return string
function json_writer.write(value, indent)
  return write(value, indent)
end

return json_writer
