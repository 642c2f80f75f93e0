--- A transport that models a server whose list of machines changes between requests. A seed
--- determines what happens, the same on every Lua.
---
---   local list = changing_list.new { seed = 1, count = 100, order_by = "-created_at" }
---   … machines.new { secret_key = "sk", transport = list } …
---   list:expected() … list.requests … list.most_under_way
---
--- Further options:
---
---   unrest      the chance that the list changes before a request, 0 to 1
---   faults      the chance that a request fails or gets an empty page, 0 to 1
---   spread      the number of different creation times: a small number gives equal ones
---   yields      how often a request yields at most, before and after reading the list
---   cap         the largest number of rows in a page, whatever the limit: a number, or "changing"
---   total_count "right", "low", "high", "wrong", "absent" or "absurd". A page before the last one
---               never ends where a wrong total_count says: no client could notice that

local core = require "clerk.machines.core"

local changing_list = {}

local List = {}
List.__index = List

local DAY = 1760000000000
local MODULUS = 2 ^ 31 - 1
local ENDLESS = 8000 -- requests
local CAPS = { 2, 3, 10, 100, 500 } -- of "changing"

-- ---------------------------------------------------------------- chance

--- A number from 1 to n.
function List:random(n)
  self.state = self.state * 16807 % MODULUS
  return math.floor(self.state / MODULUS * n) + 1
end

function List:is_likely(chance)
  return self:random(1000) <= chance * 1000
end

-- ---------------------------------------------------------------- machines

--- Whether a comes before b. Ties have a fixed order.
local function comes_before(list, a, b)
  local x, y = a[list.field], b[list.field]
  if x == y then return a.rank < b.rank end
  if list.is_descending then return x > y end
  return x < y
end

local function insert(list, machine)
  local low, high = 1, #list.machines + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if comes_before(list, list.machines[middle], machine) then
      low = middle + 1
    else
      high = middle
    end
  end
  table.insert(list.machines, low, machine)
end

local function name_of(list)
  return ("worker %d"):format(list:random(list.spread))
end

local function render(machine)
  machine.json = ('{"object":"machine","id":"%s","name":"%s","created_at":%.0f}')
    :format(machine.id, machine.name, machine.created_at)
end

function List:create(created_at)
  self.made = self.made + 1
  local machine = {
    id = "mch_" .. self.made,
    name = name_of(self),
    created_at = created_at,
    rank = self:random(1e6) + self.made / 1e6,
  }
  render(machine)
  insert(self, machine)
  return machine
end

--- Deletes the machines from the i-th to the j-th, if they exist.
function List:delete(i, j)
  i, j = math.max(1, i), math.min(#self.machines, j)
  for at = j, i, -1 do
    table.remove(self.machines, at)
    self.deleted = self.deleted + 1
  end
  self.deletions = self.deletions + (j >= i and 1 or 0)
end

-- ---------------------------------------------------------------- changes

local function any_time(list)
  return DAY + list:random(list.spread)
end

local function size(list)
  return list:random(4) == 1 and list:random(3 * list.last_limit) or list:random(3)
end

local changes = {}

function changes.newest(list)
  list.clock = list.clock + list:random(2) - 1
  for _ = 1, size(list) do
    list.clock = list.clock + list:random(2) - 1
    list:create(DAY + list.spread + list.clock)
  end
end

function changes.anywhere(list)
  for _ = 1, size(list) do list:create(any_time(list)) end
end

function changes.window_gone(list)
  local from = list:random(#list.machines + 1)
  list:delete(from, from + size(list) - 1)
end

function changes.first_gone(list)
  list:delete(1, size(list))
end

--- The row that the next page should start with, or the whole last page, or everything so far.
function changes.overlap_gone(list)
  local last = list.last_offset + list.last_limit
  local from = ({ last, list.last_offset + 1, 1 })[list:random(3)]
  list:delete(from, last + list:random(3) - 2)
end

function changes.replaced(list)
  local at = list:random(#list.machines + 1)
  local machine = list.machines[at]
  list:delete(at, at)
  for _ = 1, list:random(3) do list:create(machine and machine.created_at or any_time(list)) end
end

function changes.all_gone(list)
  if list:random(10) == 1 then list:delete(1, #list.machines) end
end

function changes.renamed(list)
  for _ = 1, size(list) do
    local machine = table.remove(list.machines, list:random(#list.machines + 1))
    if not machine then return end
    machine.name = name_of(list)
    list.renamed[machine.id] = true
    list.moved = list.moved + (list.field == "name" and 1 or 0)
    render(machine)
    insert(list, machine)
  end
end

local KINDS = { "newest", "newest", "anywhere", "window_gone", "first_gone", "overlap_gone",
  "overlap_gone", "replaced", "all_gone", "renamed" }

local function change(list)
  while list:is_likely(list.unrest) do
    list.changes = list.changes + 1
    local kind = list.field == "name" and list:random(3) == 1 and "renamed"
      or KINDS[list:random(#KINDS)]
    changes[kind](list)
  end
end

-- ---------------------------------------------------------------- requests

local ABSURD = { "1e400", "-1e400", "700.5", "-1", "9223372036854775808", "1e300", '"7"', "null",
  "true", "[]", "{}" }

local totals = {}

function totals.right(_, count)
  return count
end

function totals.low(list, count)
  return list:random(math.max(1, count)) - 1
end

function totals.high(list, count)
  return count + list:random(1000)
end

function totals.wrong(list, count)
  return list:random(2 * count + 1) - 1
end

function totals.absurd(list)
  return ABSURD[list:random(#ABSURD)]
end

--- The member total_count of a page that ends before the row `last + 1`.
local function total_count(list, last)
  if list.total_count == "absent" then return "" end
  local total = totals[list.total_count](list, #list.machines)
  if total == last and last < #list.machines then total = total + #list.machines end
  return (',"total_count":%s'):format(total)
end

--- The number of rows that are sent for this limit.
local function granted(list, limit)
  local cap = list.cap == "changing" and CAPS[list:random(#CAPS)] or list.cap
  return math.min(limit, cap or limit)
end

local function page(list, limit, offset)
  local rows = {}
  for i = offset + 1, math.min(#list.machines, offset + limit) do
    rows[#rows + 1] = list.machines[i].json
  end
  return ('{"data":[%s]%s}'):format(table.concat(rows, ","), total_count(list, offset + #rows))
end

local function fault(list, offset)
  local kind = list:random(3)
  if kind == 1 and offset > 0 then
    return { status = 200, body = '{"data":[],"total_count":0}' }
  elseif kind == 2 then
    return { status = 503, body = "" }
  end
  return nil, { code = "connection_lost", message = "it was lost", sent = true }
end

local function yield(list)
  for _ = 1, list.yields > 0 and list:random(list.yields + 1) - 1 or 0 do coroutine.yield() end
end

local function answer(list, limit, offset)
  if list:is_likely(list.faults) then
    list.struck = list.struck + 1
    return fault(list, offset)
  end
  list.last_limit, list.last_offset = granted(list, limit), offset
  return { status = 200, body = page(list, list.last_limit, offset) }
end

function List:send(request)
  local limit = tonumber(request.url:match "limit=(%d+)")
  local offset = tonumber(request.url:match "offset=(%d+)")
  assert(request.url:find("order_by=" .. self.order_by:gsub("+", "%%2B"), 1, true), request.url)
  table.insert(self.requests, { limit = limit, offset = offset })
  assert(#self.requests < ENDLESS, "pagination does not end")
  self.under_way = self.under_way + 1
  self.most_under_way = math.max(self.most_under_way, self.under_way)
  yield(self)
  if #self.requests > 1 then change(self) end
  local response, failure = answer(self, limit, offset)
  yield(self)
  self.under_way = self.under_way - 1
  return response, failure
end

--- The client waits in no time, which moves its clock.
function List:sleep(ms)
  self.slept_ms = (self.slept_ms or 0) + ms
end

function List:now()
  return core.now() + (self.slept_ms or 0)
end

-- ---------------------------------------------------------------- what must be found

--- The IDs of the machines that have existed since the first request; by name, of those that have
--- kept their names.
function List:expected()
  local ids = {}
  for _, machine in ipairs(self.machines) do
    local is_renamed = self.field == "name" and self.renamed[machine.id]
    if self.initial[machine.id] and not is_renamed then ids[#ids + 1] = machine.id end
  end
  return ids
end

--- How many requests are enough. Each goes forward by `step` rows, to the end of the list. After
--- deletions, and after an empty page, some go back, each farther than the one before: in all at
--- most twice as far as rows were deleted, or created where they are not anchors, and one step.
function List:enough_requests(step)
  local come, gone = self.made - self.initial_count + self.moved, self.deleted + self.moved
  local rows = self.initial_count + 3 * come + gone
  local backs = math.log(1 + (come + gone) / step) / math.log(2)
  local at_end = self.total_count == "right" and 1 or 2 + 2 * self.changes
  return at_end + rows / step + (self.deletions + self.moved + self.struck) * (3 + backs)
end

function changing_list.new(options)
  local field = options.order_by:match "[%a_]+"
  local list = setmetatable({
    state = options.seed * 7919 % (MODULUS - 1) + 1,
    order_by = options.order_by,
    field = field,
    is_descending = options.order_by:sub(1, 1) == "-",
    unrest = options.unrest or 0,
    faults = options.faults or 0,
    spread = options.spread or 1e6,
    yields = options.yields or 0,
    cap = options.cap or nil,
    total_count = options.total_count or "right",
    machines = {}, initial = {}, renamed = {}, requests = {},
    made = 0, moved = 0, deleted = 0, deletions = 0, struck = 0, changes = 0,
    clock = 0,
    last_limit = 1, last_offset = 0, under_way = 0, most_under_way = 0,
  }, List)
  for _ = 1, 10 do list:random(2) end
  for _ = 1, options.count do
    list.initial[list:create(any_time(list)).id] = true
  end
  list.initial_count = options.count
  return list
end

return changing_list
