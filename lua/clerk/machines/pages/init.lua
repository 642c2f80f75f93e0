--- Pagination for the caller: each, pages and collect. listing.lua knows where to go on.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local listing = require "clerk.machines.pages.listing"
local prefetch = require "clerk.machines.pages.prefetch"
local Result = require "clerk.machines.result"
local runtime = require "clerk.machines.runtime"

local pages = {}

local LARGEST_CONCURRENCY = 100

-- ---------------------------------------------------------------- requests
-- A pager is a pagination in progress: a listing, how to fetch its pages, and what has come so far.

--- The time until the deadline, if there is one.
local function time_left(pager)
  return pager.deadline and pager.deadline - pager.source.now()
end

local function refuse_late()
  error(errors.of("TransportError", "timeout", "the deadline has passed", "list"), 0)
end

--- The options of the next request, with the time that is left.
local function options_now(pager)
  local left = time_left(pager)
  if not left then
    return pager.options
  elseif left <= 0 then
    refuse_late()
  end
  local given = core.copy(pager.options)
  given.deadline_ms = left
  return given
end

local function request(pager, offset)
  local params = core.copy(pager.params)
  params.limit, params.offset = pager.listing.rows, offset
  return (pager.source.client:list(params, options_now(pager)))
end

-- ---------------------------------------------------------------- one page

local function emit(pager, count)
  if pager.on_event then
    pager.on_event {
      type = "page",
      call = pager.number,
      operation = "list",
      page = pager.page_count + 1,
      machines = pager.machine_count + count,
      total_count = pager.listing.total_count,
      elapsed_ms = pager.source.now() - pager.start,
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

--- The machines that have come and were not returned yet; none at the end.
local function await_machines(pager)
  local list = pager.listing
  local machines = list:new_machines()
  while #machines < pager.least and not list.is_over do
    local offset = list.offset
    list:receive(offset, pager.fetch(offset))
    machines = list:new_machines()
  end
  return machines
end

--- A page with at least one machine, or nil. No machine is lost when on_event raises, and none is
--- repeated when on_event itself asks for the next page.
local function next_page(pager)
  local machines = await_machines(pager)
  if #machines == 0 then
    return nil
  end
  local data, rest = cut(machines, pager.most)
  local page = setmetatable({ data = data, total_count = pager.listing.total_count }, Result)
  emit(pager, #data)
  if pager.listing:new_machines() ~= machines then
    return next_page(pager)
  end
  pager.listing:keep(rest)
  pager.page_count = pager.page_count + 1
  pager.machine_count = pager.machine_count + #data
  return page
end

-- ---------------------------------------------------------------- turns
-- Tasks may share an iterator: while one waits for a page, the others wait for that task. But an
-- on_event that asks for the next page must not wait for itself.

--- LuaJIT has no object for the main thread.
local function this_thread()
  return coroutine.running() or "main"
end

local function take_turn(pager)
  local left = time_left(pager)
  local turn = pager.turns:take(left and core.now() + left, math.huge)
  if turn then
    return turn
  elseif runtime.is_cancelled() then
    error(errors.of_cancelled(), 0)
  end
  refuse_late()
end

local function run_in_turn(pager, f)
  if pager.thread == this_thread() then
    return f(pager)
  end
  local turn = take_turn(pager)
  pager.thread = this_thread()
  local ok, result = pcall(f, pager)
  pager.thread = nil
  pager.turns:give(turn)
  if not ok then
    error(result, 0)
  end
  return result
end

--- Runs f(pager) in turn; an error says how far the pagination got.
local function in_turn(pager, f)
  local ok, result = pcall(run_in_turn, pager, f)
  if ok then
    return result
  elseif errors.is_error(result) then
    result.pages, result.machines = pager.page_count, pager.machine_count
  end
  error(result, 0)
end

-- ---------------------------------------------------------------- a new pager

local function check_integer(name, value, most)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > most then
    errors.refuse(("%s must be an integer from 1 to %d, got %s")
      :format(name, most, type(value) == "number" and value or type(value)), "list")
  end
  return math.floor(value)
end

--- A copy of the parameters, checked as `list` does; pagination chooses the `offset`.
local function copy_params(given)
  local params = core.copy(given or {})
  if params.offset ~= nil then
    errors.refuse("each, pages and collect take no offset: they return all machines", "list")
  end
  params.limit = check_integer("limit", params.limit or listing.LARGEST_PAGE, listing.LARGEST_PAGE)
  params.order_by = params.order_by or "-created_at"
  return params
end

--- One that returns the new machines of each request, and sends one request after another.
local function new(source, given_params, given_options)
  local settings = source.check(given_params, given_options)
  local pager = {
    source = source,
    number = source.next_number(),
    on_event = settings.on_event,
    params = copy_params(given_params),
    options = core.copy(given_options or {}),
    least = 1,
    most = math.huge,
    page_count = 0,
    machine_count = 0,
    turns = runtime.new_limit(1),
    thread = nil,
    start = source.now(),
  }
  function pager.fetch(offset)
    return request(pager, offset)
  end
  pager.listing = listing.new(pager.params.order_by, pager.params.limit)
  pager.deadline = pager.options.deadline_ms and pager.start + pager.options.deadline_ms
  return pager
end

-- ---------------------------------------------------------------- the interface
-- A source has the `client`, its time `now()` and its `next_number()`; `check(params, options)`
-- returns the settings of such a `client:list`, or raises what that would refuse.

function pages.each(source, params, given_options)
  local pager = new(source, params, given_options)
  local machines, at = {}, 0
  local function turn_page()
    if at >= #machines then
      local page = next_page(pager)
      machines, at = page and page.data or {}, 0
    end
  end
  return function()
    if at >= #machines then
      in_turn(pager, turn_page)
    end
    at = at + 1
    return machines[at]
  end
end

--- A page has at most `limit` machines, and one less than a request asks for at most: so that one
--- request is enough for a page.
function pages.pages(source, params, given_options)
  local pager = new(source, params, given_options)
  pager.least, pager.most = pager.listing.rows - 1, pager.params.limit
  return function()
    return in_turn(pager, next_page)
  end
end

local function collect_all(pager)
  local machines = {}
  for page in next_page, pager do
    for _, machine in ipairs(page.data) do
      table.insert(machines, machine)
    end
  end
  return machines
end

local function collect_concurrently(pager, concurrency)
  local cancel
  pager.fetch, cancel = prefetch.new(pager.listing, function(offset)
    return pager.source.client:spawn(request, pager, offset)
  end, concurrency)
  local ok, result = pcall(in_turn, pager, collect_all)
  cancel()
  if not ok then
    error(result, 0)
  end
  return result
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
  local pager = new(source, params, call_options)
  if concurrency > 1 and runtime.can_spawn() then
    return collect_concurrently(pager, concurrency)
  end
  return in_turn(pager, collect_all)
end

return pages
