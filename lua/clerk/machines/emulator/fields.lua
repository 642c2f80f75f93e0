--- Tables of named fields (options, faults): each name has one rule, all other names are refused.

local fields = {}

---@class clerk.machines.emulator.Rule
---@field expected string what the rule asks for, in words: "an integer of at least 1"
---@field accepts fun(value: any): boolean

local function is_integer(value)
  return type(value) == "number" and value % 1 == 0
end

local function rule(expected, accepts)
  return { expected = expected, accepts = accepts }
end

local function of_type(name)
  return rule("a " .. name, function(value)
    return type(value) == name
  end)
end

fields.boolean = of_type("boolean")
fields.string = of_type("string")
fields.func = of_type("function")
fields.table = of_type("table")

fields.name = rule("a string that is not empty", function(value)
  return type(value) == "string" and value ~= ""
end)

fields.header_value = rule("a string without control characters", function(value)
  return type(value) == "string" and not value:find("%c")
end)

---@param min integer
---@param max integer?
---@return clerk.machines.emulator.Rule
function fields.integer(min, max)
  local expected = max and ("an integer from %d to %d"):format(min, max)
    or ("an integer of at least %d"):format(min)
  return rule(expected, function(value)
    return is_integer(value) and value >= min and value <= (max or math.huge)
  end)
end

---@param values string[]
---@return clerk.machines.emulator.Rule
function fields.one_of(values)
  local known = {}
  for _, value in ipairs(values) do
    known[value] = true
  end
  return rule("one of " .. table.concat(values, ", "), function(value)
    return known[value] == true
  end)
end

---@param one clerk.machines.emulator.Rule
---@param other clerk.machines.emulator.Rule
---@return clerk.machines.emulator.Rule
function fields.either(one, other)
  return rule(one.expected .. " or " .. other.expected, function(value)
    return one.accepts(value) or other.accepts(value)
  end)
end

---Finds what is wrong with a table of named fields.
---@param given table
---@param rules table<string, clerk.machines.emulator.Rule>
---@return string? problem names the field and what was expected
function fields.problem(given, rules)
  if type(given) ~= "table" then
    return "expected a table, got " .. type(given)
  end
  for name, value in pairs(given) do
    local its_rule = rules[name]
    if not its_rule then
      return ("unknown field '%s'"):format(tostring(name))
    elseif not its_rule.accepts(value) then
      return ("'%s' must be %s"):format(name, its_rule.expected)
    end
  end
end

return fields
