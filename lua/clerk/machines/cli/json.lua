--- Results as JSON: indented, names in order, numbers as they were, and secrets masked.

local core = require "clerk.machines.core"
local writer = require "clerk.machines.json"
local secrets = require "clerk.machines.cli.secrets"

local json = {}

local LARGEST_EXACT = 2 ^ 53

local write

--- Nothing is lost, and nothing is left that a terminal obeys.
local function string_text(value)
  return writer.encode(value)
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
  if #parts == 0 then
    return open .. close
  end
  local line = "\n" .. indent .. "  "
  return open .. line .. table.concat(parts, "," .. line) .. "\n" .. indent .. close
end

local function array_text(array, indent, reveal)
  local parts = {}
  for i, value in ipairs(array) do
    parts[i] = write(value, indent .. "  ", reveal)
  end
  return enclose("[", parts, "]", indent)
end

local function object_text(object, indent, reveal)
  local parts = {}
  for i, name in ipairs(sorted_names(object)) do
    local value = reveal and object[name] or secrets.masked(name, object[name])
    parts[i] = string_text(name) .. ": " .. write(value, indent .. "  ", reveal)
  end
  return enclose("{", parts, "}", indent)
end

local writers = {
  string = string_text,
  number = number_text,
  boolean = tostring,
  userdata = function()
    return "null"
  end,
  table = function(value, indent, reveal)
    local is_object = getmetatable(value) == core.result
    return (is_object and object_text or array_text)(value, indent, reveal)
  end,
}

function write(value, indent, reveal)
  return writers[type(value)](value, indent, reveal)
end

--- Writes what is within a result.
---@param value any
---@param options? { indent: string?, reveal: boolean? } indent: of the lines after the first one
---@return string
function json.encode(value, options)
  options = options or {}
  return write(value, options.indent or "", options.reveal or false)
end

return json
