--- One machine or token, field by field.

local output = require "clerk.machines.cli.output"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"
local units = require "clerk.machines.cli.units"

local record = {}

local LEAST_LABEL = 11
local INDENT = "  "

local function time_of(value)
  local date = units.date(value)
  return date == "-" and date or ("%s (%s ago)"):format(date, units.age(value))
end

local function expiration_of(value)
  return value == nil and "never" or ("%s (%s)"):format(units.date(value), units.distance(value))
end

local FIELDS = {
  { "ID", "id", text.of },
  { "Name", "name", text.of },
  { "Instance", "instance_id", text.of },
  { "Created", "created_at", time_of },
  { "Updated", "updated_at", time_of },
  { "Token TTL", "default_token_ttl", units.duration },
}

local TOKEN_FIELDS = {
  { "ID", "id", text.of },
  { "Machine", "subject", text.of },
  { "Minted", "created_at", time_of },
  { "Expires", "expiration", expiration_of },
}

-- ---------------------------------------------------------------- lines

local function value_of(row)
  return row[2] .. (row[3] and "  " .. row[3] or "")
end

--- Whether a value would be broken inside a word.
local function is_too_long(rows, room)
  for _, row in ipairs(rows) do
    for word in value_of(row):gmatch("%S+") do
      if text.width(word) > room then
        return true
      end
    end
  end
  return false
end

--- Labels above their values, for narrow terminals.
local function stacked(row)
  local label = row[1] ~= "" and terminal.faint(row[1]) .. "\n" or ""
  local room = terminal.width() - #INDENT
  local second = row[3] and "\n" .. INDENT .. text.wrap(row[3], room, INDENT) or ""
  return label .. INDENT .. text.wrap(row[2], room, INDENT) .. second .. "\n"
end

local function side_by_side(row, room, label_width)
  local label = terminal.faint(text.pad(row[1], label_width))
  return label .. text.wrap(value_of(row), room, (" "):rep(label_width)) .. "\n"
end

local function widest_label(rows)
  local width = LEAST_LABEL
  for _, row in ipairs(rows) do
    width = math.max(width, text.width(row[1]) + 1)
  end
  return width
end

--- Labels and values, one line each where they fit.
---@param rows string[][] a label, a value and, if there is one, a second value
---@return string
function record.lines(rows)
  local label_width = widest_label(rows)
  local is_terminal = terminal.is(terminal.STDOUT)
  local room = is_terminal and terminal.width() - label_width or math.huge
  local show = is_too_long(rows, room) and stacked or side_by_side
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = show(row, room, label_width)
  end
  return table.concat(lines)
end

-- ---------------------------------------------------------------- machines

local function add_machines(rows, label, machines)
  if type(machines) ~= "table" then
    return
  elseif #machines == 0 then
    rows[#rows + 1] = { label, "no machines" }
  end
  for i, machine in ipairs(machines) do
    rows[#rows + 1] = { i == 1 and label or "", text.of(machine.id), text.of(machine.name) }
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

local function rows_of(fields, result)
  local rows = {}
  for i, field in ipairs(fields) do
    rows[i] = { field[1], field[3](result[field[2]]) }
  end
  return rows
end

---@param machine clerk.machines.Machine|clerk.machines.CreatedMachine
---@param reveal? boolean the secret key
---@param callers? clerk.machines.Machine[] the machines that may call it
---@return string lines
function record.text(machine, reveal, callers)
  local rows = rows_of(FIELDS, machine)
  add_machines(rows, "May call", machine.scoped_machines)
  add_machines(rows, "Called by", callers)
  if machine.secret_key then
    rows[#rows + 1] = { "Secret key", record.secret(machine.secret_key, machine.id, reveal) }
  end
  return record.lines(rows)
end

-- ---------------------------------------------------------------- tokens

local function add_scopes(rows, scopes)
  if type(scopes) ~= "table" or not scopes[1] then
    rows[#rows + 1] = { "May call", "no machines" }
    return
  end
  for i, id in ipairs(scopes) do
    rows[#rows + 1] = { i == 1 and "May call" or "", text.of(id) }
  end
end

--- What a token says, except its claims.
---@param token clerk.machines.Token
---@param with_scopes boolean
---@return string[][] rows for record.lines
function record.token_rows(token, with_scopes)
  local rows = rows_of(TOKEN_FIELDS, token)
  if with_scopes then
    add_scopes(rows, token.scopes)
  end
  return rows
end

---@param token clerk.machines.Token
---@return string lines nothing when it has no claims
function record.claims(token)
  return token.claims ~= nil
    and ("%s\n%s\n"):format(terminal.faint("Claims"), output.json(token.claims)) or ""
end

return record
