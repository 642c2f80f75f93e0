--- Machines or tokens as a table, or for programs: one line each, fields separated by tabs, no
--- head, exact times and numbers. A table fits the width: the name gets the room that is left; if
--- that is too little, other columns are left out; where there is much, more is shown after it.

local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"
local units = require "clerk.machines.cli.units"

local Columns = {}
Columns.__index = Columns

local columns = {}

local GAP = "  "
local LEAST_NAME = 16
local LEAST_MORE = 24
local ENOUGH_NAME = 40 -- of a name that leaves no room for more

local function number_of(value)
  return type(value) == "number" and ("%.0f"):format(value) or "-"
end

local function count_of(value)
  return type(value) == "table" and ("%d"):format(#value) or "-"
end

local function names_of(machines)
  local names = {}
  for i, machine in ipairs(type(machines) == "table" and machines or {}) do
    names[i] = text.of(machine.name)
  end
  table.sort(names)
  return table.concat(names, ", ")
end

--- Each has a title, the field that it shows, and how: `show` in a table, `plain` for programs. The
--- column of the largest `rank` is left out first.
local ID = { title = "ID", field = "id", show = text.of, plain = text.of, rank = 0 }
local AGE = {
  title = "AGE", field = "created_at", show = units.age, plain = units.date, rank = 1,
  least = 6, -- machines of later pages are older
}
local TTL = {
  title = "TTL", field = "default_token_ttl", show = units.duration, plain = number_of, rank = 2,
}
local SCOPES = {
  title = "SCOPES", field = "scoped_machines", show = count_of, plain = count_of, rank = 3,
}
local DIRECTION = { title = "DIRECTION", field = "direction", plain = text.of }
local NAME = { title = "NAME", field = "name", show = text.of, plain = text.of }
local CALLEES = { title = "MAY CALL", field = "scoped_machines", show = names_of }
local EXPIRES = {
  title = "EXPIRES", field = "expiration", rank = 1,
  show = function(ms)
    return ms and units.distance(ms) or "never"
  end,
  plain = units.date,
}
local MINTED = { title = "MINTED", field = "created_at", show = units.age, plain = units.date,
  rank = 2 }
local USED = { title = "USED", field = "last_used_at", show = units.age, plain = units.date,
  rank = 3 }
local STATE = { title = "STATE", field = "state", show = text.of, plain = text.of }
local LAST_RANK = 3

--- `more` is the column that a table shows after the name where there is room.
columns.OF_MACHINES = { ID, AGE, TTL, SCOPES, NAME, more = CALLEES }
columns.OF_SCOPED_MACHINES = { ID, AGE, TTL, NAME }
columns.OF_SCOPES = { ID, AGE, TTL, DIRECTION, NAME } -- for programs only
columns.OF_TOKENS = { ID, MINTED, EXPIRES, USED, STATE, least = 24 } -- no names

-- ---------------------------------------------------------------- for programs

local function plain(machine, layout)
  local cells = {}
  for i, column in ipairs(layout) do
    cells[i] = column.plain(machine[column.field])
  end
  return table.concat(cells, "\t") .. "\n"
end

-- ---------------------------------------------------------------- a table

--- A column's width: that of its title or of its widest cell.
local function widest(column, machines)
  local width = math.max(text.width(column.title), column.least or 0)
  for _, machine in ipairs(machines) do
    width = math.max(width, text.width(column.show(machine[column.field])))
  end
  return width
end

--- How much room the columns up to a rank leave for the name.
local function room_for_name(rank, layout, widths)
  local room = terminal.width()
  for i = 1, #layout - 1 do
    if layout[i].rank <= rank then
      room = room - widths[i] - #GAP
    end
  end
  return room
end

--- Where even the ID leaves too little room, the name gets a line of its own.
local function place_name(self)
  self.before_name = GAP
  if self.room < self.least then
    self.before_name = "\n" .. GAP
    self.room = math.max(1, terminal.width() - #GAP)
  end
end

--- Divides the room where there is much.
local function place_more(self, name_width)
  local most = math.max(self.room - #GAP - LEAST_MORE, 0)
  if self.layout.more and most >= math.min(name_width, ENOUGH_NAME) then
    name_width = math.min(name_width, most)
    self.room, self.room_for_more = name_width, self.room - name_width - #GAP
  end
end

--- The least room for the name. A layout may have a least of its own, for names that are short.
local function least_room(layout, name_width)
  return layout.least and math.min(layout.least, name_width) or LEAST_NAME
end

--- Chooses the columns by the first machines; later ones get the same.
local function arrange(self, machines)
  local widths = {}
  for i, column in ipairs(self.layout) do
    widths[i] = widest(column, machines)
  end
  self.least = least_room(self.layout, widths[#widths])
  local rank = LAST_RANK
  while rank > 0 and room_for_name(rank, self.layout, widths) < self.least do
    rank = rank - 1
  end
  self.rank, self.widths = rank, widths
  self.room = room_for_name(rank, self.layout, widths)
  place_name(self)
  place_more(self, widths[#widths])
end

local function name_cells(self, cell_of)
  local name = text.fit(cell_of(self.layout[#self.layout]), self.room)
  if self.room_for_more then
    local more = text.fit(cell_of(self.layout.more), self.room_for_more)
    name = more == "" and name or text.pad(name, self.room) .. GAP .. more
  end
  return name
end

local function line(self, cell_of)
  local cells = {}
  for i = 1, #self.layout - 1 do
    local column = self.layout[i]
    if column.rank <= self.rank then
      cells[#cells + 1] = text.pad(cell_of(column), self.widths[i])
    end
  end
  local before = (table.concat(cells, GAP) .. self.before_name):gsub(" +\n", "\n")
  return before .. name_cells(self, cell_of)
end

local function head(self)
  return terminal.bold(line(self, function(column)
    return column.title
  end)) .. "\n"
end

local function show(machine, self)
  return line(self, function(column)
    return column.show(machine[column.field])
  end) .. "\n"
end

-- ---------------------------------------------------------------- the interface

---@param layout table one of columns.OF_…
---@param is_table boolean
function columns.new(layout, is_table)
  return setmetatable({ layout = layout, is_table = is_table }, Columns)
end

--- Prints more machines; the first call decides on the columns' widths.
---@param machines clerk.machines.ScopedMachine[]
function Columns:add(machines)
  local lines = {}
  if self.is_table and not self.widths then
    arrange(self, machines)
    lines[1] = head(self)
  end
  for _, machine in ipairs(machines) do
    lines[#lines + 1] = self.is_table and show(machine, self) or plain(machine, self.layout)
  end
  terminal.print(table.concat(lines))
end

return columns
