--- Scripted faults: what is to go wrong with the next requests.

local core = require "clerk.machines.core"
local fields = require "clerk.machines.emulator.fields"

local operation_names = {}
for i, operation in ipairs(core.operations) do
  operation_names[i] = operation.name
end

---@class clerk.machines.emulator.Fault
---@field operation string? the operation to strike; any without
---@field times integer? how many requests to strike, 1 by default
---@field status integer? of the scripted answer, 503 by default
---@field retry_after integer|string? seconds, or a date
---@field body string? of the scripted answer, instead of an error in the API's shape
---@field content_type string? of the scripted answer, application/json by default
---@field delay_ms integer? the answer comes that much later
---@field drop boolean? the connection is dropped without an answer
---@field truncate integer? bytes of the body to send before the connection is dropped
---@field applied boolean? whether the change is made before the fault strikes, false by default

local RULES = {
  operation = fields.one_of(operation_names),
  times = fields.integer(1),
  status = fields.integer(200, 599),
  retry_after = fields.either(fields.integer(0), fields.header_value),
  body = fields.string,
  content_type = fields.header_value,
  delay_ms = fields.integer(0),
  drop = fields.boolean,
  truncate = fields.integer(0),
  applied = fields.boolean,
}

local ANSWER_FIELDS = { "status", "retry_after", "body", "content_type" }

local function gives_answer(fault)
  for _, name in ipairs(ANSWER_FIELDS) do
    if fault[name] ~= nil then
      return true
    end
  end
  return false
end

---@class clerk.machines.emulator.Faults
local Faults = {}
Faults.__index = Faults

local faults = {}

---@return clerk.machines.emulator.Faults
function faults.new()
  return setmetatable({ pending = {} }, Faults)
end

---Finds what is wrong with a fault.
---@param fault clerk.machines.emulator.Fault
---@return string? problem
function faults.problem(fault)
  local problem = fields.problem(fault, RULES)
  if problem then
    return problem
  end
  if fault.drop and (fault.truncate or gives_answer(fault)) then
    return "'drop' sends no answer, so it goes with no field of one"
  end
end

---Whether the operation's own answer is sent: late, or cut short after the change was made.
---@param fault clerk.machines.emulator.Fault
---@return boolean
function faults.lets_through(fault)
  if gives_answer(fault) then
    return false
  end
  if fault.truncate then
    return fault.applied == true
  end
  return fault.delay_ms ~= nil
end

---Adds a fault that `problem` found nothing wrong with.
---@param fault clerk.machines.emulator.Fault
function Faults:add(fault)
  local copy = {}
  for name, value in pairs(fault) do
    copy[name] = value
  end
  self.pending[#self.pending + 1] = { fault = copy, times = fault.times or 1 }
end

---Takes the first fault that strikes an operation.
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
