--- Writes JSON, for the command and the emulator: the members of objects in the order of their
--- names. JSON is read in C: core.decode.
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
      return written
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
  for name in pairs(object) do
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
  for i, value in ipairs(array) do
    parts[i] = write(value, indent and indent .. "  ")
  end
  return enclose("[", parts, "]", indent)
end

local function object_text(object, indent)
  local parts, colon = {}, indent and ": " or ":"
  for i, name in ipairs(sorted_names(object)) do
    parts[i] = string_text(name) .. colon .. write(object[name], indent and indent .. "  ")
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

---@param value string|number|boolean|table|userdata
---@param indent string? of every line after the first one; without it everything is on one line
---@return string
function json_writer.write(value, indent)
  return write(value, indent)
end

return json_writer
