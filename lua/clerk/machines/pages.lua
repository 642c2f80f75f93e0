--- Pagination: all machines of a list, page by page.
---
--- Machines come and go between two requests, and an offset counts whatever exists at that moment.
--- So pages overlap by one row, and a page counts only when it starts the list or contains a row
--- that was passed before, an anchor. Otherwise rows were deleted, and the next request steps back.
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
local Result = require "clerk.machines.result"
local runtime = require "clerk.machines.runtime"

local pages = {}

local LARGEST_PAGE = 500
local LARGEST_CONCURRENCY = 100

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

-- ---------------------------------------------------------------- what was passed
-- `last` is the place in the order that was reached. `passed` has the places of the machines at
-- `last` by their IDs; where the order is not known, of all machines.

local function is_behind(listing, row)
  return listing.last ~= nil and listing.order.is_before(row[listing.order.field], listing.last)
end

local function has_passed(listing, row)
  return listing.passed[row.id] ~= nil or is_behind(listing, row)
end

local function pass(listing, row)
  local place = row[listing.order.field]
  if listing.last == nil or listing.order.is_before(listing.last, place) then
    listing.passed = { [row.id] = place }
    listing.last = place
  else
    listing.passed[row.id] = place
  end
end

--- A machine that was renamed has moved to another place.
local function is_anchor(listing, row)
  return listing.passed[row.id] == row[listing.order.field] or is_behind(listing, row)
end

-- ---------------------------------------------------------------- rows

local function check_rows(listing, rows)
  local field = listing.order.field
  for i, row in ipairs(rows) do
    if type(row) ~= "table" or type(row.id) ~= "string"
      or type(row[field]) ~= listing.order.type then
      error(errors.of_pagination("SDKError", "unexpected_shape",
        ("machine %d of the page has no id or no %s"):format(i, field)), 0)
    end
  end
end

local function any(rows, holds, what)
  for _, row in ipairs(rows) do
    if holds(what, row) then
      return true
    end
  end
  return false
end

local function hold_new(listing, rows)
  for _, row in ipairs(rows) do
    if not has_passed(listing, row) then
      table.insert(listing.held, row)
      pass(listing, row)
    elseif listing.passed[row.id] then
      listing.passed[row.id] = row[listing.order.field] -- it may have been renamed
    end
  end
end

--- Keeps the new rows of an anchored page for the caller; returns whether there were any. When
--- memory runs out, the last row may be held but not passed: it is dropped, as it will come again.
local function keep_new(listing, rows)
  local held = listing.held
  local count = #held
  local ok, problem = pcall(hold_new, listing, rows)
  if #held > count and not has_passed(listing, held[#held]) then
    held[#held] = nil
  end
  if not ok then
    error(problem, 0)
  end
  return #held > count
end

-- ---------------------------------------------------------------- the next offset
-- While pages bring nothing new, the place to go on from lies between `low`, where a row had been
-- passed, and `high`, where none had. Each request goes twice as far from one of them as the one
-- before, or halfway between them, so that thousands of new or deleted machines cost few requests.

local function search(listing)
  local low, high, stride = listing.low, listing.high, listing.stride
  if low and high then
    return high - low > listing.step and math.floor((low + high) / 2) or low
  end
  listing.stride = math.min(math.max(2 * stride, listing.step), LONGEST_STRIDE)
  return low and low + stride or math.max(0, high - listing.stride)
end

--- After a single row it is not known whether the server ever sends two: ask for the one after it.
local function must_probe(listing, offset, count)
  return count == 1 and listing.step == 0 and listing.probe ~= offset
end

--- Whether the list ends with this page. Two rows do not show it, even if neither is new: they may
--- have been pushed back by machines that were created before them.
local function is_last(listing, offset, count, has_new)
  if count < listing.rows and offset + count == listing.total_count then
    return true
  end
  return count <= 1 and not has_new and not must_probe(listing, offset, count)
end

local function step_on(listing, offset, count, has_new)
  local last = offset + count - 1
  listing.is_over = is_last(listing, offset, count, has_new)
  listing.probe = must_probe(listing, offset, count) and offset + 1 or nil
  listing.stride = count > listing.step and listing.stride or 0 -- a shorter page may be the last
  listing.step = count > 1 and count - 1 or listing.step
  listing.low = last
  if has_new or (listing.high and listing.high <= last) then
    listing.high, listing.stride = nil, 0
  end
  listing.offset = listing.probe or has_new and last or search(listing)
end

local function step_back(listing, offset, count)
  listing.is_over = count == 0 and offset == listing.probe
  listing.high = offset
  if listing.low and listing.low >= offset then
    listing.low, listing.stride = nil, 0
  end
  listing.offset = search(listing)
  listing.probe = nil
end

-- ---------------------------------------------------------------- one page

local function count_or_nil(value)
  local is_count = type(value) == "number" and value >= 0 and value < COUNT_LIMIT
    and value % 1 == 0
  return is_count and value or nil
end

--- A server must not keep the client busy forever.
local function check_progress(listing, has_new)
  listing.idle = has_new and 0 or listing.idle + 1
  if listing.is_over then
    return
  elseif listing.step == 0 and listing.idle >= PATIENCE_FOR_SINGLE_ROWS then
    error(errors.of_pagination("SDKError", "unexpected_shape",
      ("the server sends one machine at a time; %d were asked for"):format(listing.rows)), 0)
  elseif listing.idle >= PATIENCE then
    error(errors.of_pagination("SDKError", "unexpected_shape",
      ("%d pages in a row have brought no new machine"):format(listing.idle)), 0)
  end
end

local function read_page(listing)
  local offset = listing.offset
  local list = listing.fetch(listing, offset)
  local rows = list.data
  check_rows(listing, rows)
  listing.total_count = count_or_nil(list.total_count)
  local has_new = false
  if offset == 0 or any(rows, is_anchor, listing) then
    has_new = keep_new(listing, rows)
    step_on(listing, offset, #rows, has_new)
  else
    step_back(listing, offset, #rows)
  end
  check_progress(listing, has_new)
end

-- ---------------------------------------------------------------- pages

local function emit(listing, count)
  local on_event = listing.on_event
  if on_event then
    on_event {
      type = "page",
      operation = "list",
      page = listing.page_count + 1,
      machines = listing.machine_count + count,
      total_count = listing.total_count,
      elapsed_ms = listing.source.now() - listing.start,
    }
  end
end

local function cut(rows, size)
  local first, rest = {}, {}
  for i, row in ipairs(rows) do
    table.insert(i <= size and first or rest, row)
  end
  return first, rest
end

--- A page with at least one machine, or nil. No machine is lost when on_event raises, and none is
--- repeated when on_event itself asks for the next page.
local function next_page(listing)
  while #listing.held < listing.least and not listing.is_over do
    read_page(listing)
  end
  if #listing.held == 0 then
    return nil
  end
  local held = listing.held
  local rows, rest = cut(held, listing.most)
  local page = setmetatable({ data = rows, total_count = listing.total_count }, Result)
  emit(listing, #rows)
  if listing.held ~= held then
    return next_page(listing)
  end
  listing.held = rest
  listing.page_count = listing.page_count + 1
  listing.machine_count = listing.machine_count + #rows
  return page
end

local function raise(listing, problem)
  if errors.is_error(problem) then
    problem.pages, problem.machines = listing.page_count, listing.machine_count
  end
  error(problem, 0)
end

--- LuaJIT has no object for the main thread.
local function this_thread()
  return coroutine.running() or "main"
end

local function take_turn(listing)
  local left = listing.deadline and listing.deadline - listing.source.now()
  local turn = listing.turns:take(left and core.now() + left, math.huge)
  if turn then
    return turn
  elseif runtime.is_cancelled() then
    raise(listing, errors.of_cancelled())
  end
  raise(listing, errors.of_pagination("TransportError", "timeout", "the deadline has passed"))
end

--- Tasks may share an iterator: while one waits for a page, the others wait for that task. But an
--- on_event that asks for the next page must not wait for itself.
local function in_turn(listing, f)
  local is_within = listing.thread == this_thread()
  local turn = not is_within and take_turn(listing)
  listing.thread = this_thread()
  local ok, result = pcall(f, listing)
  if turn then
    listing.thread = nil
    listing.turns:give(turn)
  end
  if not ok then
    raise(listing, result)
  end
  return result
end

-- ---------------------------------------------------------------- requests

local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local copied = {}
  for name, member in next, value do
    copied[name] = copy(member)
  end
  return copied
end

--- The options of the next request, with the time that is left until the deadline.
local function options_now(listing)
  if not listing.deadline then
    return listing.options
  end
  local left = math.ceil(listing.deadline - listing.source.now())
  if left <= 0 then
    error(errors.of_pagination("TransportError", "timeout", "the deadline has passed"), 0)
  end
  local given = copy(listing.options)
  given.deadline_ms = left
  return given
end

local function request(listing, offset)
  local params = copy(listing.params)
  params.limit, params.offset = listing.rows, offset
  return (listing.source.client:list(params, options_now(listing)))
end

-- ---------------------------------------------------------------- a new listing

local function check_integer(name, value, most)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most then
    errors.refuse(("%s must be an integer from 1 to %d, got %s")
      :format(name, most, type(value) == "number" and value or type(value)), "list")
  end
  return math.floor(value)
end

--- A copy of the parameters, checked as `list` does; pagination chooses the `offset`.
local function copy_params(given)
  local params = copy(given or {})
  if params.offset ~= nil then
    errors.refuse("each, pages and collect take no offset: they return all machines", "list")
  end
  params.limit = params.limit or LARGEST_PAGE
  params.order_by = params.order_by or "-created_at"
  return params
end

--- A listing is a pagination under way. This one returns the new machines of each request.
local function new(source, given_params, given_options)
  local settings = source.check(given_params, given_options)
  local params = copy_params(given_params)
  local listing = {
    source = source,
    on_event = settings.on_event,
    params = params,
    options = copy(given_options or {}),
    fetch = request,
    limit = check_integer("limit", params.limit, LARGEST_PAGE),
    order = orders[params.order_by],
    last = nil,
    passed = {},
    offset = 0,
    step = 0, -- by how many rows a page goes forward; 0 until one has had two rows
    low = nil,
    high = nil,
    stride = 0,
    probe = nil,
    idle = 0,
    is_over = false,
    held = {},
    least = 1,
    most = math.huge,
    page_count = 0,
    machine_count = 0,
    total_count = nil,
    turns = runtime.new_limit(1),
    thread = nil,
  }
  listing.rows = math.max(2, math.min(LARGEST_PAGE, listing.limit + 1))
  listing.start = source.now()
  listing.deadline = listing.options.deadline_ms and listing.start + listing.options.deadline_ms
  return listing
end

-- ---------------------------------------------------------------- concurrent requests

local function cancel_all(pending)
  for offset, task in pairs(pending) do
    pending[offset] = nil
    task:cancel()
  end
end

--- Fetches pages ahead, at the offsets that will be needed if nothing changes and the server keeps
--- sending as many rows. When they are not needed, they are cancelled, and the next request is sent
--- alone; then twice as many each time, up to `concurrency`.
---@return table<integer, clerk.machines.Task> pending by offset
local function prefetch(listing, concurrency)
  local pending, count = {}, concurrency
  function listing.fetch(_, offset)
    if next(pending) and not pending[offset] then
      cancel_all(pending)
      count = 1
    else
      count = math.min(2 * count, concurrency)
    end
    for i = 0, listing.idle > 0 and 0 or count - 1 do
      local ahead = offset + i * listing.step
      if not pending[ahead] and (i == 0 or ahead + 1 < (listing.total_count or 0)) then
        pending[ahead] = listing.source.client:spawn(request, listing, ahead)
      end
    end
    local list = pending[offset]:result()
    pending[offset] = nil
    return list
  end
  return pending
end

-- ---------------------------------------------------------------- the interface
-- A source has the `client` and its time `now()`; `check(params, options)` returns the settings of
-- such a `client:list`, or raises what that would refuse.

function pages.each(source, params, given_options)
  local listing = new(source, params, given_options)
  local machines, at = {}, 0
  local function turn_page()
    if at >= #machines then
      local page = next_page(listing)
      machines, at = page and page.data or {}, 0
    end
  end
  return function()
    if at >= #machines then
      in_turn(listing, turn_page)
    end
    at = at + 1
    return machines[at]
  end
end

--- A page has at most `limit` machines, and one less than a request asks for at most: so that one
--- request is enough for a page.
function pages.pages(source, params, given_options)
  local listing = new(source, params, given_options)
  listing.least, listing.most = listing.rows - 1, listing.limit
  return function()
    return in_turn(listing, next_page)
  end
end

local function collect(listing)
  local machines = {}
  for page in next_page, listing do
    for _, machine in ipairs(page.data) do
      table.insert(machines, machine)
    end
  end
  return machines
end

--- Returns `concurrency`, and the options without it.
local function take_concurrency(given)
  if type(given) ~= "table" or rawget(given, "concurrency") == nil then
    return 1, given
  end
  local others = {}
  for name, value in next, given do
    others[name] = value
  end
  others.concurrency = nil
  return check_integer("concurrency", rawget(given, "concurrency"), LARGEST_CONCURRENCY), others
end

function pages.collect(source, params, given_options)
  local concurrency, call_options = take_concurrency(given_options)
  local listing = new(source, params, call_options)
  local may_prefetch = concurrency > 1 and runtime.can_spawn()
  local pending = may_prefetch and prefetch(listing, concurrency) or {}
  local ok, result = pcall(in_turn, listing, collect)
  cancel_all(pending)
  if not ok then
    error(result, 0)
  end
  return result
end

return pages
