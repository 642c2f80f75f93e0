--- One machine, field by field.

local output = require "clerk.machines.cli.output"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"
local units = require "clerk.machines.cli.units"

local record = {}

local LABEL_WIDTH = 11

local function time_of(value)
  local date = units.date(value)
  return date == "-" and date or ("%s (%s ago)"):format(date, units.age(value))
end

local FIELDS = {
  { "ID", "id", text.of },
  { "Name", "name", text.of },
  { "Instance", "instance_id", text.of },
  { "Created", "created_at", time_of },
  { "Updated", "updated_at", time_of },
  { "Token TTL", "default_token_ttl", units.duration },
}

--- Labels and values, one line each.
---@param rows string[][]
---@return string
function record.lines(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = terminal.faint(text.pad(row[1], LABEL_WIDTH)) .. row[2] .. "\n"
  end
  return table.concat(lines)
end

--- The machines that the machine may call.
local function add_scopes(rows, scoped_machines)
  if type(scoped_machines) ~= "table" then
    return
  elseif #scoped_machines == 0 then
    rows[#rows + 1] = { "May call", "no machines" }
  end
  for i, machine in ipairs(scoped_machines) do
    local shown = text.of(machine.id) .. "  " .. text.of(machine.name)
    rows[#rows + 1] = { i == 1 and "May call" or "", shown }
  end
end

--- A secret, or its mask and the command that shows it.
---@param secret any
---@param machine_id any
---@param reveal boolean|nil
---@return string
function record.secret(secret, machine_id, reveal)
  if type(secret) ~= "string" then
    return "-"
  elseif reveal then
    return text.clean(secret)
  end
  local remedy = "clerk-machines secret " .. text.of(machine_id)
  return ("%s (%s)"):format(text.clean(output.mask(secret)), remedy)
end

---@param machine clerk.machines.Machine|clerk.machines.CreatedMachine
---@param reveal? boolean the secret key
---@return string lines
function record.text(machine, reveal)
  local rows = {}
  for i, field in ipairs(FIELDS) do
    rows[i] = { field[1], field[3](machine[field[2]]) }
  end
  add_scopes(rows, machine.scoped_machines)
  if machine.secret_key then
    rows[#rows + 1] = { "Secret key", record.secret(machine.secret_key, machine.id, reveal) }
  end
  return record.lines(rows)
end

return record
