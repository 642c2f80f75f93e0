--- Pagination: all machines of a list, page by page.
---
--- Machines come and go between two requests, and an offset counts whatever exists at that moment.
--- So pages overlap by one row, and a page counts only when it starts the list or contains a row
--- that was passed before, an anchor. Otherwise rows were deleted, and the next request steps back.
---
--- Nothing is missed, because a page is a part of the list without gaps: a machine that exists all
--- the time, between an anchor and the page's last row, is on that page. Nothing is repeated,
--- because a row that was passed is recognised by its place in the order or by its ID.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local options = require "clerk.machines.options"
local tasks = require "clerk.machines.scheduler"

local pages = {}

local LARGEST_PAGE = 500
local LARGEST_CONCURRENCY = 100

--- How often the same rows may come at another offset with nothing new among them. Each time as
--- many machines would have been created meanwhile as were asked for.
local PATIENCE = 100

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

-- ---------------------------------------------------------------- one page

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

local function is_id_of(id, row)
  return row.id == id
end

--- A server that ignores the offset must not keep the client busy forever.
local function check_progress(listing, rows, has_new)
  local is_same = not has_new and any(rows, is_id_of, listing.first_id)
  listing.first_id = not has_new and rows[1] and rows[1].id or nil
  listing.repeats = is_same and listing.repeats + 1 or 0
  if listing.repeats >= PATIENCE then
    error(errors.of_pagination("SDKError", "unexpected_shape",
      ("the same machines came at %d offsets"):format(listing.repeats + 1)), 0)
  end
end

local function step_back(listing, offset)
  listing.back = listing.back and 2 * listing.back or listing.rows - 1
  listing.offset = math.max(0, offset - listing.back)
end

local function step_on(listing, offset, count)
  listing.back = nil
  listing.is_over = count < listing.rows
  listing.offset = offset + count - 1
end

local function read_page(listing)
  local offset = listing.offset
  local list = listing.fetch(listing, offset)
  local rows = list.data
  check_rows(listing, rows)
  listing.total_count = type(list.total_count) == "number" and list.total_count or nil
  if offset == 0 or any(rows, is_anchor, listing) then
    local has_new = keep_new(listing, rows)
    step_on(listing, offset, #rows)
    check_progress(listing, rows, has_new)
  else
    step_back(listing, offset)
  end
end

-- ---------------------------------------------------------------- pages

--- The client's time, which a transport's `sleep` may advance without waiting.
local function now(listing)
  return core.now() + listing.client.slept_ahead
end

local function emit(listing, count)
  local on_event = listing.client.on_event
  if on_event then
    on_event {
      type = "page",
      operation = "list",
      page = listing.page_count + 1,
      machines = listing.machine_count + count,
      total_count = listing.total_count,
      elapsed_ms = now(listing) - listing.start,
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
  local page = setmetatable({ data = rows, total_count = listing.total_count }, core.result)
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

--- Tasks may share an iterator: while one waits for a page, the others wait for that task.
local function in_turn(listing, f)
  local is_within = tasks.has_slot(listing.turns)
  if not is_within and not tasks.take_slot(listing.turns, nil, math.huge) then
    raise(listing, errors.of_cancelled())
  end
  local ok, result = pcall(f, listing)
  if not is_within then
    tasks.give_slot(listing.turns)
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
  local left = math.ceil(listing.deadline - now(listing))
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
  return (listing.client:list(params, options_now(listing)))
end

-- ---------------------------------------------------------------- a new listing

local function check_integer(name, value, most)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most then
    errors.refuse(("%s must be an integer from 1 to %d, got %s")
      :format(name, most, type(value) == "number" and value or type(value)), "list")
  end
  return math.floor(value)
end

--- A copy of the parameters, checked as `list` does; `offset` is not for the caller to choose.
local function check_params(client, given)
  local call, problem = core.call("list", client.settings.prepared, 0, given)
  local params = call and copy(given or {}) or errors.refuse(problem, "list")
  if params.offset ~= nil then
    errors.refuse("each, pages and collect take no offset: they return all machines", "list")
  end
  params.limit = params.limit or LARGEST_PAGE
  params.order_by = params.order_by or "-created_at"
  return params
end

local function check_options(client, given)
  local settings, problem = options.for_call(given, client.settings)
  return settings and copy(given or {}) or errors.refuse(problem, "list")
end

--- A listing is a pagination under way. This one returns the new machines of each request.
local function new(client, given_params, given_options)
  local params = check_params(client, given_params)
  local listing = {
    client = client,
    params = params,
    options = check_options(client, given_options),
    fetch = request,
    limit = check_integer("limit", params.limit, LARGEST_PAGE),
    order = orders[params.order_by],
    last = nil,
    passed = {},
    offset = 0,
    back = nil,
    is_over = false,
    repeats = 0,
    held = {},
    least = 1,
    most = math.huge,
    page_count = 0,
    machine_count = 0,
    total_count = nil,
    turns = tasks.new_slots(1),
  }
  listing.rows = math.max(2, math.min(LARGEST_PAGE, listing.limit + 1))
  listing.start = now(listing)
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

--- Fetches pages ahead, at the offsets that will be needed if nothing changes. Requests that turn
--- out not to be needed are cancelled.
---@return table<integer, clerk.machines.Task> pending by offset
local function prefetch(listing, concurrency)
  local pending = {}
  function listing.fetch(_, offset)
    if not pending[offset] then
      cancel_all(pending)
    end
    for i = 0, concurrency - 1 do
      local ahead = offset + i * (listing.rows - 1)
      if not pending[ahead] and (i == 0 or ahead < (listing.total_count or 0)) then
        pending[ahead] = listing.client:spawn(request, listing, ahead)
      end
    end
    local task = pending[offset]
    tasks.await_end(task)
    pending[offset] = nil
    return task:result()
  end
  return pending
end

-- ---------------------------------------------------------------- the interface

function pages.each(client, params, given_options)
  local listing = new(client, params, given_options)
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
function pages.pages(client, params, given_options)
  local listing = new(client, params, given_options)
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

--- A call that on_event makes has a connection reserved already, and must not wait for others.
local function may_prefetch(client)
  return not client.slots or not tasks.has_slot(client.slots)
end

function pages.collect(client, params, given_options)
  local concurrency, call_options = take_concurrency(given_options)
  local listing = new(client, params, call_options)
  local pending = concurrency > 1 and may_prefetch(client) and prefetch(listing, concurrency) or {}
  local ok, result = pcall(in_turn, listing, collect)
  cancel_all(pending)
  if not ok then
    error(result, 0)
  end
  return result
end

return pages
