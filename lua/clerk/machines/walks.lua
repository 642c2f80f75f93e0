--- Walks: all machines of a list, page after page.
---
--- Machines come and go between two requests, and offsets count whatever is there. So pages overlap
--- by one row, and a page counts only when it is anchored: when it begins the list, or holds a row
--- that the walk has passed. Otherwise rows were deleted, and the walk steps back until a page is.
---
--- Why nothing is missed: a page is a piece of the list without gaps. What was there all the time
--- and lies between a row that was passed and the page's last one is on the page, whenever that was
--- fetched. Why nothing is repeated: a row that was passed is known by its place, or by its ID.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local options = require "clerk.machines.options"
local tasks = require "clerk.machines.scheduler"

local walks = {}

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

--- Of names nothing is known: the API does not tell how it compares them.
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
-- `last` is where the walk is in the order. `passed` has the machines that were passed there, which
-- may be several, with their places by their IDs; where nothing is known of the order, all of them.

local function is_behind(walk, row)
  return walk.last ~= nil and walk.order.is_before(row[walk.order.field], walk.last)
end

local function has_passed(walk, row)
  return walk.passed[row.id] ~= nil or is_behind(walk, row)
end

local function pass(walk, row)
  local place = row[walk.order.field]
  if walk.last == nil or walk.order.is_before(walk.last, place) then
    walk.passed = { [row.id] = place }
    walk.last = place
  else
    walk.passed[row.id] = place
  end
end

--- A machine that was renamed has another place by now.
local function is_anchor(walk, row)
  return walk.passed[row.id] == row[walk.order.field] or is_behind(walk, row)
end

-- ---------------------------------------------------------------- one page

local function check_rows(walk, rows)
  local field = walk.order.field
  for i, row in ipairs(rows) do
    if type(row) ~= "table" or type(row.id) ~= "string" or type(row[field]) ~= walk.order.type then
      error(errors.of_walk("SDKError", "unexpected_shape",
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

local function hold_new(walk, rows)
  for _, row in ipairs(rows) do
    if not has_passed(walk, row) then
      table.insert(walk.held, row)
      pass(walk, row)
    end
  end
end

--- Holds what is new of an anchored page; whether there was something. For want of memory a row may
--- be held that was not passed, and would come again.
local function keep_new(walk, rows)
  local held = walk.held
  local count = #held
  local ok, problem = pcall(hold_new, walk, rows)
  if #held > count and not has_passed(walk, held[#held]) then
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

--- A server that ignores the offset would be asked for the same rows for ever.
local function check_progress(walk, rows, has_new)
  local is_same = not has_new and any(rows, is_id_of, walk.first_id)
  walk.first_id = not has_new and rows[1] and rows[1].id or nil
  walk.repeats = is_same and walk.repeats + 1 or 0
  if walk.repeats >= PATIENCE then
    error(errors.of_walk("SDKError", "unexpected_shape",
      ("the same machines came at %d offsets"):format(walk.repeats + 1)), 0)
  end
end

local function step_back(walk, offset)
  walk.back = walk.back and 2 * walk.back or walk.rows - 1
  walk.offset = math.max(0, offset - walk.back)
end

local function step_on(walk, offset, count)
  walk.back = nil
  walk.is_over = count < walk.rows
  walk.offset = offset + count - 1
end

local function read_page(walk)
  local offset = walk.offset
  local list = walk.fetch(walk, offset)
  local rows = list.data
  check_rows(walk, rows)
  walk.total_count = type(list.total_count) == "number" and list.total_count or nil
  if offset == 0 or any(rows, is_anchor, walk) then
    local has_new = keep_new(walk, rows)
    step_on(walk, offset, #rows)
    check_progress(walk, rows, has_new)
  else
    step_back(walk, offset)
  end
end

-- ---------------------------------------------------------------- pages

--- As a client counts time: a transport's `sleep` may move it without waiting.
local function now(walk)
  return core.now() + walk.client.slept_ahead
end

local function emit(walk, count)
  local on_event = walk.client.on_event
  if on_event then
    on_event {
      type = "page",
      operation = "list",
      page = walk.page_count + 1,
      machines = walk.machine_count + count,
      total_count = walk.total_count,
      elapsed_ms = now(walk) - walk.start,
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

--- At least one machine, or nil. Nothing is lost when on_event raises, nor repeated when it takes
--- the page for itself.
local function next_page(walk)
  while #walk.held < walk.least and not walk.is_over do
    read_page(walk)
  end
  if #walk.held == 0 then
    return nil
  end
  local held = walk.held
  local rows, rest = cut(held, walk.most)
  local page = setmetatable({ data = rows, total_count = walk.total_count }, core.result)
  emit(walk, #rows)
  if walk.held ~= held then
    return next_page(walk)
  end
  walk.held = rest
  walk.page_count = walk.page_count + 1
  walk.machine_count = walk.machine_count + #rows
  return page
end

local function raise(walk, problem)
  if errors.is_error(problem) then
    problem.pages, problem.machines = walk.page_count, walk.machine_count
  end
  error(problem, 0)
end

--- Tasks may share a walk: while one waits for a page, the others wait for that one.
local function in_turn(walk, f)
  local is_within = tasks.has_slot(walk.turns)
  if not is_within and not tasks.take_slot(walk.turns, nil, math.huge) then
    raise(walk, errors.of_cancelled())
  end
  local ok, result = pcall(f, walk)
  if not is_within then
    tasks.give_slot(walk.turns)
  end
  if not ok then
    raise(walk, result)
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

--- A call's own options, with what is left of the walk's deadline.
local function options_now(walk)
  if not walk.deadline then
    return walk.options
  end
  local left = math.ceil(walk.deadline - now(walk))
  if left <= 0 then
    error(errors.of_walk("TransportError", "timeout", "the deadline of the walk has passed"), 0)
  end
  local given = copy(walk.options)
  given.deadline_ms = left
  return given
end

local function request(walk, offset)
  local params = copy(walk.params)
  params.limit, params.offset = walk.rows, offset
  return (walk.client:list(params, options_now(walk)))
end

-- ---------------------------------------------------------------- a new walk

local function check_integer(name, value, most)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most then
    errors.refuse(("%s must be an integer from 1 to %d, got %s")
      :format(name, most, type(value) == "number" and value or type(value)), "list")
  end
  return math.floor(value)
end

--- A copy of what is given, checked as `list` does, but that `offset` is the walk's own affair.
local function check_params(client, given)
  local call, problem = core.call("list", client.settings.prepared, 0, given)
  local params = call and copy(given or {}) or errors.refuse(problem, "list")
  if params.offset ~= nil then
    errors.refuse("a walk has no offset: it begins with the first machine", "list")
  end
  params.limit = params.limit or LARGEST_PAGE
  params.order_by = params.order_by or "-created_at"
  return params
end

local function check_options(client, given)
  local settings, problem = options.for_call(given, client.settings)
  return settings and copy(given or {}) or errors.refuse(problem, "list")
end

--- A walk that hands out what every page brings.
local function new(client, given_params, given_options)
  local params = check_params(client, given_params)
  local walk = {
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
  walk.rows = math.max(2, math.min(LARGEST_PAGE, walk.limit + 1))
  walk.start = now(walk)
  walk.deadline = walk.options.deadline_ms and walk.start + walk.options.deadline_ms
  return walk
end

-- ---------------------------------------------------------------- overlapped requests

local function cancel_all(pending)
  for offset, task in pairs(pending) do
    pending[offset] = nil
    task:cancel()
  end
end

--- Has pages fetched ahead where the walk will ask for them if nothing changes. What it does not
--- ask for is cancelled.
---@return table<integer, clerk.machines.Task> pending by their offsets
local function overlap(walk, concurrency)
  local pending = {}
  function walk.fetch(_, offset)
    if not pending[offset] then
      cancel_all(pending)
    end
    for i = 0, concurrency - 1 do
      local ahead = offset + i * (walk.rows - 1)
      if not pending[ahead] and (i == 0 or ahead < (walk.total_count or 0)) then
        pending[ahead] = walk.client:spawn(request, walk, ahead)
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

function walks.each(client, params, given_options)
  local walk = new(client, params, given_options)
  local machines, at = {}, 0
  local function turn_page()
    if at >= #machines then
      local page = next_page(walk)
      machines, at = page and page.data or {}, 0
    end
  end
  return function()
    if at >= #machines then
      in_turn(walk, turn_page)
    end
    at = at + 1
    return machines[at]
  end
end

--- A page has at most `limit` machines, and at most one fewer than are asked for: so a request for
--- each is enough.
function walks.pages(client, params, given_options)
  local walk = new(client, params, given_options)
  walk.least, walk.most = walk.rows - 1, walk.limit
  return function()
    return in_turn(walk, next_page)
  end
end

local function collect(walk)
  local machines = {}
  for page in next_page, walk do
    for _, machine in ipairs(page.data) do
      table.insert(machines, machine)
    end
  end
  return machines
end

--- `concurrency`, and the options without it.
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

--- A call that on_event makes is within a slot already, and may not wait for others.
local function may_overlap(client)
  return not client.slots or not tasks.has_slot(client.slots)
end

function walks.collect(client, params, given_options)
  local concurrency, call_options = take_concurrency(given_options)
  local walk = new(client, params, call_options)
  local pending = concurrency > 1 and may_overlap(client) and overlap(walk, concurrency) or {}
  local ok, result = pcall(in_turn, walk, collect)
  cancel_all(pending)
  if not ok then
    error(result, 0)
  end
  return result
end

return walks
