--- An instance as a plan that has nothing to change, and a plan as Lua.

local core = require "clerk.machines.core"

local export = {}

-- ---------------------------------------------------------------- as text

local Plan = { __name = "clerk.machines.plan.Desired" }

local function escape(byte)
  return ("\\%03d"):format(byte:byte())
end

--- What a terminal might obey is written by its bytes.
local function quote(value)
  local escaped = value:gsub('[%c"\\]', escape)
  if core.clean(escaped) ~= escaped then
    escaped = escaped:gsub("[\128-\255]", escape)
  end
  return '"' .. escaped .. '"'
end

local function machine_text(machine)
  local parts = { ("name = %s, id = %s"):format(quote(machine.name), quote(machine.id)) }
  if machine.default_token_ttl then
    parts[#parts + 1] = ("default_token_ttl = %.0f"):format(machine.default_token_ttl)
  end
  local scopes = {}
  for i, scope in ipairs(machine.scoped_machines or {}) do
    scopes[i] = quote(scope)
  end
  if scopes[1] then
    parts[#parts + 1] = "scoped_machines = { " .. table.concat(scopes, ", ") .. " }"
  end
  return "    { " .. table.concat(parts, ", ") .. " },\n"
end

function Plan:__tostring()
  local lines = { "return {\n" }
  if self.instance then
    lines[#lines + 1] = "  instance = " .. quote(self.instance) .. ",\n"
  end
  lines[#lines + 1] = "  machines = {\n"
  for _, machine in ipairs(self.machines) do
    lines[#lines + 1] = machine_text(machine)
  end
  return table.concat(lines) .. "  },\n}\n"
end

-- ---------------------------------------------------------------- of an instance

--- A name where it says which machine is meant, else an ID.
local function scope_name(instance, scoped)
  local machine = instance.by_id[scoped.id]
  local is_clear = machine and #instance:named(machine.name) == 1
    and not instance.by_id[machine.name]
  return is_clear and machine.name or scoped.id
end

local function desired_machine(instance, machine)
  local scopes = {}
  for i, scoped in ipairs(machine.scoped_machines) do
    scopes[i] = scope_name(instance, scoped)
  end
  return {
    name = machine.name,
    id = machine.id,
    default_token_ttl = machine.default_token_ttl,
    scoped_machines = scopes[1] and scopes or nil,
  }
end

---@param instance clerk.machines.plan.Instance
---@return clerk.machines.plan.Desired
function export.of(instance)
  local machines = {}
  for i, machine in ipairs(instance.machines) do
    machines[i] = desired_machine(instance, machine)
  end
  return setmetatable({ instance = instance.id, machines = machines }, Plan)
end

return export
