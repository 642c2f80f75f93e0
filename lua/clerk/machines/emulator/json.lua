--- Writes compact JSON. What an object holds, and in which order, is its shape.
---
---     local Point = json.shape { "x", "y" }
---     json.encode(json.array { Point { y = 2, x = 1 } })    --> [{"x":1,"y":2}]

local json = {}

local Array = {}

local ESCAPES = {
  ['"'] = [[\"]],
  ["\\"] = [[\\]],
  ["\b"] = [[\b]],
  ["\f"] = [[\f]],
  ["\n"] = [[\n]],
  ["\r"] = [[\r]],
  ["\t"] = [[\t]],
}

local function escape(character)
  return ESCAPES[character] or ("\\u%04x"):format(character:byte())
end

---Declares the members of an object, in their order.
---@param names string[]
---@return fun(values: table): table object gives a table its shape; absent members are left out
function json.shape(names)
  local shape = { names = names }
  return function(values)
    return setmetatable(values, shape)
  end
end

---Marks a sequence as an array, an empty one too.
---@param values table
---@return table array
function json.array(values)
  return setmetatable(values, Array)
end

local function encode_array(values)
  local parts = {}
  for i, value in ipairs(values) do
    parts[i] = json.encode(value)
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(values, names)
  local parts = {}
  for _, name in ipairs(names) do
    local value = values[name]
    if value ~= nil then
      parts[#parts + 1] = ('"%s":%s'):format(name, json.encode(value))
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local WRITERS = {
  string = function(value)
    return '"' .. value:gsub('[%c"\\]', escape) .. '"'
  end,
  number = function(value)
    return ("%.0f"):format(value)
  end,
  boolean = tostring,
  table = function(value)
    local kind = getmetatable(value)
    if kind == Array then
      return encode_array(value)
    end
    return encode_object(value, kind.names)
  end,
}

---Encodes UTF-8 strings, whole numbers, booleans, arrays and objects of a shape.
---@param value string|integer|boolean|table
---@return string
function json.encode(value)
  return WRITERS[type(value)](value)
end

return json
