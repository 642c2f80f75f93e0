--- Scripted faults: what will go wrong with the next requests.

local core = require "clerk.machines.core"
local schema = require "clerk.machines.schema"

local faults = {}

local operation_names = {}
for i, operation in ipairs(core.operations) do
  operation_names[i] = operation.name
end

local function retry_after(row, value, name)
  local kind = type(value) == "number" and "integer" or "string"
  return schema.kinds[kind](row, value, name)
end

local function any_string(_, value, name)
  if type(value) ~= "string" then
    return nil, name .. " must be a string, got " .. type(value)
  end
  return value
end

--- The fields of a fault, like the rows of options.lua.
faults.fields = schema.new {
  {
    name = "operation",
    kind = "one_of", values = operation_names,
    default_text = "any",
    summary = "The operation to apply to.",
  },
  {
    name = "times",
    kind = "integer", min = 1, max = schema.LARGEST,
    default = 1,
    summary = "How many requests to apply to.",
  },
  {
    name = "status",
    kind = "integer", min = 200, max = 599,
    default_text = "503",
    summary = "Status of the scripted response. A fault without `status`, `retry_after`, `body` "
      .. "and `content_type` lets the API's own response through if it has `delay_ms` without "
      .. "`truncate`, or `truncate` with `applied`.",
  },
  {
    name = "retry_after",
    kind = retry_after, type = "integer|string", min = 0, max = schema.LARGEST,
    summary = "`Retry-After` of the scripted response: seconds, or a date.",
  },
  {
    name = "body",
    kind = any_string, type = "string",
    default_text = "an error in the API's shape",
    summary = "Body of the scripted response.",
  },
  {
    name = "content_type",
    kind = "string",
    default_text = "application/json",
    summary = "`Content-Type` of the scripted response.",
  },
  {
    name = "delay_ms",
    kind = "integer", min = 0, max = schema.LARGEST,
    default_text = "0",
    summary = "How much later the response comes, in milliseconds.",
  },
  {
    name = "drop",
    kind = "boolean",
    default = false,
    summary = "Whether the connection is closed without a response.",
  },
  {
    name = "truncate",
    kind = "integer", min = 0, max = schema.LARGEST,
    summary = "Bytes of the body to send before the connection is closed.",
  },
  {
    name = "applied",
    kind = "boolean",
    default = false,
    summary = "Whether the change is made before the request fails.",
  },
}

local RESPONSE_FIELDS = { "status", "retry_after", "body", "content_type" }

local function gives_response(fault)
  for _, name in ipairs(RESPONSE_FIELDS) do
    if fault[name] ~= nil then
      return true
    end
  end
  return false
end

local function check(fault)
  local checked, problem = schema.complete(faults.fields, fault, "fault")
  if checked and checked.drop and (checked.truncate or gives_response(checked)) then
    return nil, "fault.drop sends no response, so it cannot be combined with a field of a response"
  end
  return checked, problem
end

---@class clerk.machines.emulator.Faults
local Faults = {}
Faults.__index = Faults

---@return clerk.machines.emulator.Faults
function faults.new()
  return setmetatable({ pending = {} }, Faults)
end

---Whether the operation's own response is sent: late, or truncated after the change was made.
---@param fault clerk.machines.emulator.Fault
---@return boolean
function faults.lets_through(fault)
  if gives_response(fault) then
    return false
  end
  if fault.truncate then
    return fault.applied == true
  end
  return fault.delay_ms ~= nil
end

---@param fault clerk.machines.emulator.Fault the caller's; a copy is kept
---@return string? problem
function Faults:add(fault)
  local checked, problem = check(fault)
  if not checked then
    return problem
  end
  self.pending[#self.pending + 1] = { fault = checked, times = checked.times }
end

---Takes the first fault that applies to an operation.
---@param operation_name string
---@return clerk.machines.emulator.Fault?
function Faults:take(operation_name)
  for i, entry in ipairs(self.pending) do
    if (entry.fault.operation or operation_name) == operation_name then
      entry.times = entry.times - 1
      if entry.times == 0 then
        table.remove(self.pending, i)
      end
      return entry.fault
    end
  end
end

---@return integer
function Faults:count()
  local count = 0
  for _, entry in ipairs(self.pending) do
    count = count + entry.times
  end
  return count
end

function Faults:clear()
  self.pending = {}
end

return faults
