--- The algorithm of pagination: where to go on in a list while machines come and go. It does no
--- I/O: until `is_over`, its user requests `rows` machines at `offset` and hands over what came.
---
--- An offset counts whatever exists at that moment. So pages overlap by one row, and a page counts
--- only when it starts the list or contains a row that was passed before, an anchor. Otherwise rows
--- were deleted, and the next request steps back.
---
--- Nothing is missed, because a page is a part of the list without gaps: a machine that exists all
--- the time, between an anchor and the page's last row, is on that page. Nothing is repeated,
--- because a row that was passed is recognised by its place in the order or by its ID.
---
--- Servers may send fewer rows than were asked for, and a wrong total_count. So a short page ends
--- the list only where total_count says that it ends; otherwise the next page starts at its last
--- row, and so on until a page has nothing but the row that overlaps.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"

---@class clerk.machines.Listing
---@field rows integer how many to ask for
---@field offset integer where to ask
---@field is_over boolean whether all machines have come
---@field total_count integer? the latest
local Listing = {}
Listing.__index = Listing

local listing = {}

listing.LARGEST_PAGE = core.operations.list.parameters.limit.max

--- How many requests in a row may bring nothing new; fewer while no page has had two rows.
local PATIENCE = 100
local PATIENCE_FOR_SINGLE_ROWS = 10

--- How many rows are skipped at most: a broken server must not be asked for absurd offsets.
local LONGEST_STRIDE = 1000000

--- Every Lua can represent all integers below this one.
local COUNT_LIMIT = 2 ^ 53

-- ---------------------------------------------------------------- the order

local function is_earlier(a, b)
  return a < b
end

local function is_later(a, b)
  return a > b
end

--- The API does not document how it compares names.
local function never()
  return false
end

--- The field that a list is ordered by, its type, and whether one value of it comes before another.
local orders = {
  created_at = { field = "created_at", type = "number", is_before = is_earlier },
  ["-created_at"] = { field = "created_at", type = "number", is_before = is_later },
  name = { field = "name", type = "string", is_before = never },
}
orders["+created_at"] = orders.created_at
orders["+name"], orders["-name"] = orders.name, orders.name

-- ---------------------------------------------------------------- a new listing

---@param order_by string
---@param limit integer machines of a page
---@return clerk.machines.Listing
function listing.new(order_by, limit)
  return setmetatable({
    order = orders[order_by],
    rows = math.max(2, math.min(listing.LARGEST_PAGE, limit + 1)),
    last = nil,
    passed = {},
    held = {},
    offset = 0,
    step = 0, -- by how many rows a page goes forward; 0 until one has had two rows
    low = nil,
    high = nil,
    stride = 0,
    probe = nil,
    idle = 0,
    is_over = false,
    total_count = nil,
  }, Listing)
end

-- ---------------------------------------------------------------- what was passed
-- `last` is the place in the order that was reached. `passed` has the places of the machines at
-- `last` by their IDs; where the order is not known, of all machines.

local function is_behind(self, row)
  return self.last ~= nil and self.order.is_before(row[self.order.field], self.last)
end

local function has_passed(self, row)
  return self.passed[row.id] ~= nil or is_behind(self, row)
end

local function pass(self, row)
  local place = row[self.order.field]
  if self.last == nil or self.order.is_before(self.last, place) then
    self.passed = { [row.id] = place }
    self.last = place
  else
    self.passed[row.id] = place
  end
end

--- A machine that was renamed has moved to another place.
local function is_anchor(self, row)
  return self.passed[row.id] == row[self.order.field] or is_behind(self, row)
end

local function has_anchor(self, rows)
  for _, row in ipairs(rows) do
    if is_anchor(self, row) then
      return true
    end
  end
  return false
end

-- ---------------------------------------------------------------- new machines
-- `held` has those that were passed and not yet taken.

--- Holds those rows of an anchored page that are new; returns whether there were any.
local function hold_new(self, rows)
  local count = #self.held
  for _, row in ipairs(rows) do
    if not has_passed(self, row) then
      table.insert(self.held, row)
      pass(self, row)
    elseif self.passed[row.id] then
      self.passed[row.id] = row[self.order.field] -- it may have been renamed
    end
  end
  return #self.held > count
end

--- The new machines; they stay until `keep`.
---@return clerk.machines.Machine[]
function Listing:new_machines()
  local held = self.held
  if #held > 0 and not has_passed(self, held[#held]) then
    held[#held] = nil -- memory ran out between the two steps of hold_new: it comes again
  end
  return held
end

---@param rest clerk.machines.Machine[] what stays of `new_machines`
function Listing:keep(rest)
  self.held = rest
end

-- ---------------------------------------------------------------- the next offset
-- While pages bring nothing new, the place to go on from lies between `low`, where a row had been
-- passed, and `high`, where none had. Each request goes twice as far from one of them as the one
-- before, or halfway between them, so that thousands of new or deleted machines cost few requests.

local function search(self)
  local low, high, stride = self.low, self.high, self.stride
  if low and high then
    return high - low > self.step and math.floor((low + high) / 2) or low
  end
  self.stride = math.min(math.max(2 * stride, self.step), LONGEST_STRIDE)
  return low and low + stride or math.max(0, high - self.stride)
end

--- After a single row it is not known whether the server ever sends two: ask for the one after it.
local function must_probe(self, offset, count)
  return count == 1 and self.step == 0 and self.probe ~= offset
end

--- Whether the list ends with this page. Two rows do not show it, even if neither is new: they may
--- have been pushed back by machines that were created before them.
local function is_last(self, offset, count, has_new)
  if count < self.rows and offset + count == self.total_count then
    return true
  end
  return count <= 1 and not has_new and not must_probe(self, offset, count)
end

local function step_on(self, offset, count, has_new)
  local last = offset + count - 1
  self.is_over = is_last(self, offset, count, has_new)
  self.probe = must_probe(self, offset, count) and offset + 1 or nil
  self.stride = count > self.step and self.stride or 0 -- a shorter page may be the last
  self.step = count > 1 and count - 1 or self.step
  self.low = last
  if has_new or (self.high and self.high <= last) then
    self.high, self.stride = nil, 0
  end
  self.offset = self.probe or has_new and last or search(self)
end

local function step_back(self, offset, count)
  self.is_over = count == 0 and offset == self.probe
  self.high = offset
  if self.low and self.low >= offset then
    self.low, self.stride = nil, 0
  end
  self.offset = search(self)
  self.probe = nil
end

--- The offsets of the next requests, if nothing changes and the server keeps sending as many rows:
--- the first is certain.
---@param count integer at most
---@return integer[]
function Listing:next_offsets(count)
  local offsets = { self.offset }
  for i = 1, self.idle > 0 and 0 or count - 1 do
    local offset = self.offset + i * self.step
    if offset + 1 < (self.total_count or 0) then
      table.insert(offsets, offset)
    end
  end
  return offsets
end

-- ---------------------------------------------------------------- one page

local function unexpected(message, ...)
  error(errors.of("SDKError", "unexpected_shape", message:format(...), "list"), 0)
end

local function check_rows(self, rows)
  local field = self.order.field
  for i, row in ipairs(rows) do
    if type(row) ~= "table" or type(row.id) ~= "string" or type(row[field]) ~= self.order.type then
      unexpected("machine %d of the page has no id or no %s", i, field)
    end
  end
end

--- A server must not keep the client busy forever.
local function check_progress(self, has_new)
  self.idle = has_new and 0 or self.idle + 1
  if self.is_over then
    return
  elseif self.step == 0 and self.idle >= PATIENCE_FOR_SINGLE_ROWS then
    unexpected("the server sends one machine at a time; %d were asked for", self.rows)
  elseif self.idle >= PATIENCE then
    unexpected("%d pages in a row have brought no new machine", self.idle)
  end
end

local function count_or_nil(value)
  local is_count = type(value) == "number" and value >= 0 and value < COUNT_LIMIT
    and value % 1 == 0
  return is_count and value or nil
end

--- Takes in a page.
---@param offset integer where it was asked for
---@param page clerk.machines.MachineList
function Listing:receive(offset, page)
  local rows = page.data
  check_rows(self, rows)
  self.total_count = count_or_nil(page.total_count)
  local has_new = false
  if offset == 0 or has_anchor(self, rows) then
    has_new = hold_new(self, rows)
    step_on(self, offset, #rows, has_new)
  else
    step_back(self, offset, #rows)
  end
  check_progress(self, has_new)
end

return listing
