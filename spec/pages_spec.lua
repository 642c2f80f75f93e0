-- Pagination: every machine that exists from the first request to the last comes once, in order.
--
-- CLERK_PAGES_SEED=1000 runs 2000 other worlds, starting with that seed.

local changing_list = require "support.changing_list"
local emulator = require "clerk.machines.emulator"
local fake = require "support.fake"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local server = require "support.server"

local FIRST_SEED = tonumber(os.getenv "CLERK_PAGES_SEED" or 1)
local WORLDS, PORTION = 2000, 100
local PATIENCE = 50

local function client_of(list, options)
  local settings = { secret_key = fake.secret_key, transport = list }
  for name, value in pairs(options or {}) do settings[name] = value end
  return machines.new(settings)
end

--- Calls again after an error.
local function insist(f)
  for _ = 1, PATIENCE do
    local ok, value = pcall(f)
    if ok then return value end
  end
  return f()
end

-- ---------------------------------------------------------------- worlds

local function one_of(list, values)
  return values[list:random(#values)]
end

--- By how many rows a page goes forward at least, as pages overlap by one.
local function step_of(limit, cap)
  local rows = math.max(2, math.min(500, limit + 1))
  return math.min(rows, cap == "changing" and 2 or cap or rows) - 1
end

--- What a world is like and how it is listed. It has its own generator, so that the plan does not
--- depend on what happens in the world.
local function plan(seed)
  local chance = changing_list.new { seed = seed, count = 0, order_by = "name" }
  local limit = one_of(chance, { 1, 2, 3, 5, 10, 25, 100, 499, 500 })
  local cap = one_of(chance, { false, false, false, 2, 3, 10, 100, "changing" })
  local step = step_of(limit, cap)
  return {
    seed = seed,
    order_by = one_of(chance, { "created_at", "+created_at", "-created_at", "-created_at",
      "name" }),
    limit = limit,
    cap = cap,
    step = step,
    count = chance:random(one_of(chance, { 3, 30, math.min(12 * step, 600) })) - 1,
    spread = one_of(chance, { 1, 3, 20, 1e6 }),
    unrest = one_of(chance, { 0, 0.1, 0.3, 0.7 }),
    faults = one_of(chance, { 0, 0, 0.2 }),
    total_count = one_of(chance, { "right", "right", "right", "low", "high", "wrong", "absent",
      "absurd" }),
    method = one_of(chance, { "each", "pages", "collect", "concurrent", "concurrent in a task" }),
    yields = one_of(chance, { 0, 2, 9 }),
    concurrency = 1,
  }
end

local methods = {}

function methods.each(client, params)
  local next_machine = client:each(params, { retries = false })
  local found = {}
  for machine in function() return insist(next_machine) end do table.insert(found, machine) end
  return found
end

function methods.pages(client, params)
  local next_page = client:pages(params, { retries = false })
  local found = {}
  for page in function() return insist(next_page) end do
    assert(#page.data >= 1 and #page.data <= params.limit, "a page of " .. #page.data)
    for _, machine in ipairs(page.data) do table.insert(found, machine) end
  end
  return found
end

function methods.collect(client, params)
  return client:collect(params)
end

function methods.concurrent(client, params, world)
  world.concurrency = 2 + world.seed % 9
  return client:collect(params, { concurrency = world.concurrency })
end

methods["concurrent in a task"] = function(client, params, world)
  local task = client:spawn(methods.concurrent, client, params, world)
  client:run()
  return task:result()
end

local function check_order(world, found)
  local is_descending = world.order_by:sub(1, 1) == "-"
  for i = 2, #found do
    local a, b = found[i - 1].created_at, found[i].created_at
    if is_descending then a, b = b, a end
    assert(a <= b, "out of order at " .. i)
  end
end

local function check_once(list, found)
  local times = {}
  for _, machine in ipairs(found) do
    assert(not times[machine.id], machine.id .. " came twice")
    times[machine.id] = true
  end
  for _, id in ipairs(list:expected()) do assert(times[id], id .. " is missing") end
end

--- How many requests a list costs that does not change: the last row of a full page is asked for
--- again, that of a short one is not.
local function quiet_requests(world, count)
  local is_capped = world.step < math.min(499, world.limit)
  return math.max(1, math.ceil((is_capped and count - 1 or count) / world.step))
end

local function check_requests(world, list, found)
  local count = #list.requests
  local most = list:enough_requests(world.step) * world.concurrency
  assert(count <= most, ("%d requests, %.1f are enough"):format(count, most))
  local is_quiet = world.unrest == 0 and world.faults == 0 and world.cap ~= "changing"
  if is_quiet and world.total_count == "right" then
    assert.equal(quiet_requests(world, #found), count)
  elseif is_quiet and world.concurrency == 1 then
    assert.is_true(count <= quiet_requests(world, #found) + 1, count)
  end
end

local function list_all(world)
  local list = changing_list.new(world)
  local params = { limit = world.limit, order_by = world.order_by }
  if world.method:find "concurrent" == nil then list.yields = 0 end
  local found = methods[world.method](client_of(list), params, world)
  check_once(list, found)
  if world.order_by ~= "name" then check_order(world, found) end
  check_requests(world, list, found)
end

local function text(world)
  local fields = {}
  for name, value in pairs(world) do table.insert(fields, name .. " = " .. tostring(value)) end
  table.sort(fields)
  return table.concat(fields, ", ")
end

describe("Pagination in a changing world", function()
  for portion = 1, WORLDS / PORTION do
    local first = FIRST_SEED + (portion - 1) * PORTION
    it(("finds every machine once and in order, seeds from %d"):format(first), function()
      for seed = first, first + PORTION - 1 do
        local world = plan(seed)
        local ok, problem = pcall(list_all, world)
        if not ok then error(("%s\nin the world %s"):format(tostring(problem), text(world)), 0) end
      end
    end)
  end
end)

-- ---------------------------------------------------------------- quiet worlds

local NEWEST_FIRST = "-created_at"

local function quiet_list(count, options)
  local settings = { seed = count + 1, count = count, order_by = NEWEST_FIRST }
  for name, value in pairs(options or {}) do settings[name] = value end
  return changing_list.new(settings)
end

--- Counts what an iterator returns, up to `most`.
local function exhaust(next_machine, most)
  local count = 0
  for _ in next_machine do
    count = count + 1
    if count == most then break end
  end
  return count
end

local function sizes_of(next_page, most)
  local sizes = {}
  for page in next_page do
    table.insert(sizes, #page.data)
    if #sizes == most then break end
  end
  return sizes
end

describe("Pagination in a quiet world", function()
  for _, limit in ipairs { 2, 7, 100, 499 } do
    for _, count in ipairs { 0, limit - 1, limit, limit + 1, 2 * limit, 3 * limit + 1 } do
      it(("needs a request per page for %d machines by %d"):format(count, limit), function()
        local list = quiet_list(count)
        local client = client_of(list)
        local requests = math.max(1, math.ceil(count / limit))
        assert.equal(count, exhaust(client:each { limit = limit }))
        assert.equal(requests, #list.requests)
        assert.equal(count, #client:collect { limit = limit })
        assert.equal(2 * requests, #list.requests)
        assert.equal(count, #client:collect({ limit = limit }, { concurrency = 5 }))
        assert.equal(3 * requests, #list.requests)
        local full = {}
        for i = 1, math.floor(count / limit) do full[i] = limit end
        if count % limit > 0 then table.insert(full, count % limit) end
        assert.same(full, sizes_of(client:pages { limit = limit }))
        assert.equal(4 * requests, #list.requests)
      end)
    end
  end

  it("asks for 500 machines by default, 499 of which are new", function()
    local list = quiet_list(1200)
    assert.same({ 500, 499, 201 }, sizes_of(client_of(list):pages()))
    assert.same({ { limit = 500, offset = 0 }, { limit = 500, offset = 499 },
      { limit = 500, offset = 998 } }, list.requests)
  end)

  it("asks for one machine more than `limit`, and always for an order", function()
    for _, limit in ipairs { 1, 10, 10.0, 499, 500 } do
      local client, transport = fake.client { fake.ok }
      client:collect { limit = limit }
      local rows = math.min(500, math.floor(limit) + 1)
      assert.matches(("?limit=%d&offset=0&order_by=-created_at"):format(rows),
        transport.requests[1].url, 1, true)
    end
  end)

  it("sends no request before it is needed", function()
    local list = quiet_list(1000)
    local client = client_of(list)
    client:each()
    client:pages()
    assert.equal(0, #list.requests)
    assert.equal(300, exhaust(client:each { limit = 100 }, 300))
    assert.equal(3, #list.requests)
    assert.same({ 100, 100 }, sizes_of(client:pages { limit = 100 }, 2))
    assert.equal(5, #list.requests)
  end)

  it("sends no request after the end", function()
    local list = quiet_list(10)
    local client = client_of(list)
    local next_machine, next_page = client:each { limit = 10 }, client:pages { limit = 10 }
    for _ = 1, 13 do next_machine() next_page() end
    assert.is_nil(next_machine())
    assert.is_nil(next_page())
    assert.equal(2, #list.requests)
  end)

  it("needs few requests to step back after thousands of deletions", function()
    local list = quiet_list(4000)
    local next_machine = client_of(list):each { limit = 1 }
    exhaust(next_machine, 3001)
    local before = #list.requests
    list:delete(2, 3001)
    assert.equal(999, exhaust(next_machine))
    assert.is_true(#list.requests - before <= 999 + 15, #list.requests - before)
  end)

  it("needs few requests to get past thousands of new machines", function()
    local list = quiet_list(500)
    local next_machine = client_of(list):each { limit = 1 }
    exhaust(next_machine, 101)
    local before = #list.requests
    for i = 1, 3000 do list:create(list.machines[1].created_at + i) end
    assert.equal(399, exhaust(next_machine))
    assert.is_true(#list.requests - before <= 399 + 30, #list.requests - before)
  end)

  it("needs few requests to find its place among thousands of deletions", function()
    local list = quiet_list(4000)
    local next_machine = client_of(list):each { limit = 2 }
    exhaust(next_machine, 3601)
    local before = #list.requests
    list:delete(2001, 3601)
    assert.equal(399, exhaust(next_machine))
    assert.is_true(#list.requests - before <= 200 + 40, #list.requests - before)
  end)

  it("keeps little more than a page in memory, of a hundred thousand machines", function()
    local COUNT, BYTES = 100000, 3e6
    local requests = 0
    local client = client_of { send = function(_, request)
      requests = requests + 1
      local offset, rows = tonumber(request.url:match "offset=(%d+)"), {}
      for i = offset, math.min(COUNT, offset + 500) - 1 do
        rows[#rows + 1] = ('{"id":"mch_%d","name":"worker","created_at":%d}'):format(i, COUNT - i)
      end
      return { status = 200, body = '{"data":[' .. table.concat(rows, ",") .. "]}" }
    end }
    collectgarbage()
    local before, most, count = collectgarbage "count", 0, 0
    for _ in client:each() do
      count = count + 1
      if count % 10000 == 1 then
        collectgarbage()
        most = math.max(most, collectgarbage "count")
      end
    end
    assert.equal(COUNT, count)
    assert.equal(math.ceil(COUNT / 499) + 1, requests)
    assert.is_true((most - before) * 1024 < BYTES, most - before)
  end)
end)

-- ---------------------------------------------------------------- short pages and wrong totals

local TOTALS = { "right", "low", "high", "wrong", "absent", "absurd" }

describe("Pagination with a server that sends fewer machines than asked for", function()
  local COUNT = 250

  local function check_all(list, found)
    check_once(list, found)
    assert.equal(COUNT, #found)
  end

  --- One request more is needed to see the end when total_count does not show it.
  local function check_count(list, total, cap, more)
    local enough = math.ceil((COUNT - 1) / (cap - 1)) + (total == "right" and 0 or 1 + more)
    assert.is_true(#list.requests <= enough, ("%d of %d"):format(#list.requests, enough))
    list.requests = {}
  end

  for _, cap in ipairs { 2, 3, 10, 100 } do
    for _, total in ipairs(TOTALS) do
      it(("gets all of them: %d at a time, total_count %s"):format(cap, total), function()
        local list = quiet_list(COUNT, { cap = cap, total_count = total })
        local client = client_of(list)
        check_all(list, client:collect())
        check_count(list, total, cap, 0)
        check_all(list, client:collect(nil, { concurrency = 5 }))
        check_count(list, total, cap, 3 * 5)
        local sizes = sizes_of(client:pages { limit = 110 })
        assert.same({ 110, 110, 30 }, sizes)
      end)
    end
  end

  it("sends few needless requests when the number of machines changes", function()
    local function count_requests(concurrency)
      local list = quiet_list(3000, { cap = 100 })
      local send = list.send
      function list.send(self, request)
        self.cap = 150 - self.cap
        return send(self, request)
      end
      assert.equal(3000, #client_of(list):collect(nil, { concurrency = concurrency }))
      return #list.requests
    end
    local fewest = count_requests(1)
    for _, concurrency in ipairs { 2, 10, 50 } do
      local count = count_requests(concurrency)
      assert.is_true(count <= concurrency + 2 * fewest, ("%d for %d"):format(count, fewest))
    end
  end)

  for _, total in ipairs(TOTALS) do
    it("is an unexpected_shape when that is one at a time, total_count " .. total, function()
      for concurrency = 1, 4, 3 do
        local list = quiet_list(COUNT, { cap = 1, total_count = total })
        local client = client_of(list)
        local ok, err = pcall(client.collect, client, nil, { concurrency = concurrency })
        assert.is_false(ok)
        assert.same({ "SDKError", "unexpected_shape", "list" },
          { err.type, err.code, err.operation })
        assert.matches("one machine at a time", err.message)
        assert.is_true(#list.requests < 20)
      end
    end)

    it("gets a single machine, total_count " .. total, function()
      for cap = 1, 2 do
        for concurrency = 1, 2 do
          local list = quiet_list(1, { cap = cap, total_count = total })
          assert.equal(1, #client_of(list):collect(nil, { concurrency = concurrency }))
          assert.is_true(#list.requests <= 2)
        end
      end
    end)
  end
end)

describe("total_count", function()
  local function check(count, expected)
    local seen = {}
    local client = client_of({ send = function()
      return { status = 200, body = '{"data":[{"id":"mch_1","created_at":1}],"total_count":'
        .. count .. "}" }
    end }, { on_event = function(event)
      if event.type == "page" then table.insert(seen, event.total_count or "nil") end
    end })
    for page in client:pages() do table.insert(seen, page.total_count or "nil") end
    assert.same({ expected, expected }, seen)
  end

  it("is what the server says, in a page and in its event", function()
    for _, count in ipairs { 0, 1, 7, 2 ^ 53 - 1 } do check(("%.0f"):format(count), count) end
  end)

  it("is nil there when it is not a count", function()
    for _, value in ipairs { "1e400", "-1e400", "700.5", "-1", "9007199254740992",
      "9223372036854775807", "9223372036854775808", "1e300", '"7"', "null", "true", "[]", "{}" } do
      check(value, "nil")
    end
  end)
end)

-- ---------------------------------------------------------------- requests

local function names_of(next_machine)
  local names = {}
  for machine in next_machine do table.insert(names, machine.name) end
  return table.concat(names, " ")
end

describe("A request for a page", function()
  it("has the order and the query that the API understands", function()
    local api = emulator.new { clock = function() return 1 end }
    local client = machines.new { secret_key = "sk_test_emulator", transport = api }
    for _, name in ipairs { "cd", "a", "b", "bc", "d" } do client:create { name = name } end
    assert.equal("a b bc cd d", names_of(client:each { order_by = "+name", limit = 2 }))
    assert.equal("d cd bc b a", names_of(client:each { order_by = "-name", limit = 1 }))
    assert.equal("b bc", names_of(client:each { order_by = "name", query = "b" }))
    assert.equal("", names_of(client:each { query = "none" }))
    for _, order_by in ipairs { "created_at", "+created_at", "-created_at" } do
      assert.equal(5, exhaust(client:each { order_by = order_by, limit = 1 }))
    end
  end)

  it("finds its place by name after the last machine of a page is renamed", function()
    local client = machines.new { secret_key = "sk_test_emulator", transport = emulator.new() }
    for _, name in ipairs { "a", "b", "c", "d" } do client:create { name = name } end
    local found = ""
    for machine in client:each { order_by = "name", limit = 1 } do
      found = found .. machine.name
      if machine.name == "b" then client:update(machine.id, { name = "bb" }) end
    end
    assert.equal("abcd", found)
  end)

  for _, method in ipairs { "each", "pages" } do
    it("ignores later changes to the caller's tables, in " .. method, function()
      local client, transport = fake.client { fake.answer(200,
        '{"data":[{"id":"mch_2","created_at":2},{"id":"mch_1","created_at":1}]}'),
        fake.answer(200, '{"data":[]}') }
      local params, options = { limit = 1 }, { headers = { ["X-A"] = "1" }, retries = false }
      local next_one = client[method](client, params, options)
      next_one()
      params.limit, params.order_by, params.query, params.unknown = 3, "name", "q", true
      options.headers["X-A"], options.headers["X-B\n"], options.retries = "2", "2", 7
      exhaust(next_one)
      assert.is_true(#transport.requests > 1)
      for _, request in ipairs(transport.requests) do
        assert.equal("1", request.headers["x-a"])
        assert.matches("%?limit=2&offset=%d+&order_by=%-created_at$", request.url)
      end
    end)
  end

  it("does not change the caller's tables", function()
    local params, options = { limit = 10 }, { concurrency = 2, retries = false }
    client_of(quiet_list(40)):collect(params, options)
    assert.same({ limit = 10 }, params)
    assert.same({ concurrency = 2, retries = false }, options)
  end)

  it("uses the call's own options, with concurrency too", function()
    local list = quiet_list(40)
    list.faults = 1
    for _, concurrency in ipairs { 1, 4 } do
      list.requests = {}
      local options = { concurrency = concurrency, retries = false }
      assert.is_false(pcall(client_of(list).collect, client_of(list), { limit = 10 }, options))
      assert.equal(1, #list.requests)
    end
  end)
end)

describe("Pagination refuses", function()
  local client, transport = fake.client({ fake.ok }, { check_bounds = false })
  local METHODS = { "each", "pages", "collect" }

  local function check(pattern, params, options)
    for _, method in ipairs(METHODS) do
      local ok, err = pcall(client[method], client, params, options)
      assert.is_false(ok, method)
      assert.equal("ArgumentError", err.type, err)
      assert.matches(pattern, err.message)
      assert.equal("list", err.operation)
      assert.matches("pages_spec", err.where)
    end
    assert.equal(0, #transport.requests)
  end

  it("an offset, even 0", function()
    check("no offset", { offset = 0 })
    check("no offset", { offset = 10 })
  end)

  it("a limit that is not an integer from 1 to 500", function()
    for _, limit in ipairs { 0, -1, 501, 1.5, "10", 0 / 0, math.huge, false, {} } do
      check("^limit must be an integer", { limit = limit })
    end
  end)

  it("unknown parameters, unknown orders and wrong types", function()
    check("order_by must be one of", { order_by = "updated_at" })
    check("order_by must be one of", { order_by = "" })
    check("order_by must be a string", { order_by = true })
    check("query must be a string", { query = 1 })
    check('^unknown parameter "per_page"', { per_page = 10 })
    check("^params must be a table", "10")
    check("^params must be a table", false)
  end)

  it("options that a call does not have", function()
    check('^option "secret_key" can only be given to machines.new', nil, { secret_key = "sk" })
    check("^options must be a table", nil, "10")
    check("^deadline_ms must be", nil, { deadline_ms = 0 })
  end)

  it("concurrency in each and pages, and a value outside 1 to 100 in collect", function()
    METHODS = { "each", "pages" }
    check('^option "concurrency" can only be given to collect', nil, { concurrency = 1 })
    METHODS = { "collect" }
    for _, concurrency in ipairs { 0, 101, 1.5, "2", 0 / 0, math.huge, false } do
      check("^concurrency must be an integer from 1 to 100", nil, { concurrency = concurrency })
    end
  end)

  it("a closed client and a missing client", function()
    local closed = fake.client { fake.ok }
    closed:close()
    for _, method in ipairs { "each", "pages", "collect" } do
      assert.is_false(pcall(closed[method], closed))
      assert.is_false(pcall(closed[method]))
    end
  end)
end)

-- ---------------------------------------------------------------- errors

describe("An error between two pages", function()
  --- A list that fails at its third request, three times, and a client without retries.
  local function failing(options)
    local list = quiet_list(35)
    local send = list.send
    function list.send(self, request)
      if #self.requests >= 2 and (self.failed or 0) < 3 then
        self.failed = (self.failed or 0) + 1
        return { status = 503, body = "" }
      end
      return send(self, request)
    end
    return client_of(list, { retries = false, on_event = options and options.on_event }), list
  end

  it("says how far each got, and each can be continued", function()
    local client, list = failing()
    local next_machine, count = client:each { limit = 10 }, 0
    local function go_on()
      for _ in next_machine do count = count + 1 end
    end
    for _ = 1, 3 do
      local ok, err = pcall(go_on)
      assert.same({ false, 503, 2, 21 }, { ok, err.status, err.pages, err.machines })
      assert.equal(21, count)
    end
    go_on()
    assert.equal(35, count)
    assert.equal(4, #list.requests)
  end)

  it("says how far pages got, and pages can be continued", function()
    local next_page = failing():pages { limit = 10 }
    assert.same({ 10, 10 }, sizes_of(next_page, 2))
    for _ = 1, 3 do
      local ok, err = pcall(next_page)
      assert.same({ false, 503, 2, 20 }, { ok, err.status, err.pages, err.machines })
    end
    assert.same({ 10, 5 }, sizes_of(next_page))
  end)

  for _, concurrency in ipairs { 1, 3 } do
    it("says how far collect got, with concurrency " .. concurrency, function()
      local client, list = failing()
      local _, err = pcall(client.collect, client, { limit = 10 }, { concurrency = concurrency })
      assert.same({ 503, 2, 21 }, { err.status, err.pages, err.machines })
      assert.equal(2, #list.requests)
      assert.equal(0, client:step(0))
    end)
  end

  for _, kind in ipairs { "attempt", "answer", "end", "page" } do
    it("reaches the caller unchanged when on_event raises it at " .. kind, function()
      local is_sound, problem = true, { "mine" }
      local client = client_of(quiet_list(35), { on_event = function(event)
        if event.type == kind then
          is_sound = not is_sound
          if not is_sound then error(problem, 0) end
        end
      end })
      local next_machine = client:each { limit = 10 }
      local count = 0
      for _ in function() return insist(next_machine) end do count = count + 1 end
      assert.equal(35, count)
      is_sound = true
      assert.same({ false, problem }, { pcall(client.collect, client) })
      assert.same({ "mine" }, problem)
    end)
  end

  it("says that the client is closed", function()
    local client = client_of(quiet_list(35))
    local next_page = client:pages { limit = 10 }
    next_page()
    client:close()
    local _, err = pcall(next_page)
    assert.same({ "ArgumentError", 1, 10 }, { err.type, err.pages, err.machines })
  end)
end)

describe("The deadline of a pagination", function()
  --- A list that answers only the second attempt, two seconds later by the client's clock.
  local function slow_list()
    local list = quiet_list(100)
    local send, is_late = list.send, false
    list.timeouts = {}
    function list.send(self, request)
      is_late = not is_late
      if is_late then return { status = 503, headers = { ["retry-after"] = "2" }, body = "" } end
      table.insert(self.timeouts, request.timeout_ms)
      return send(self, request)
    end
    return list
  end

  it("limits all requests together, and each request gets what is left", function()
    local list = slow_list()
    local next_page = client_of(list):pages({ limit = 10 }, { deadline_ms = 5000 })
    assert.same({ 10, 10 }, sizes_of(next_page, 2))
    assert.is_true(list.timeouts[1] <= 3000 and list.timeouts[2] <= 1000)
    local _, err = pcall(next_page)
    assert.same({ 503, 2, 20 }, { err.status, err.pages, err.machines })
  end)

  it("can pass between two requests", function()
    local client = client_of(slow_list())
    local next_machine = client:each({ limit = 10 }, { deadline_ms = 3000 })
    exhaust(next_machine, 11)
    client:list { order_by = NEWEST_FIRST, limit = 1, offset = 0 }
    for _ = 1, 2 do
      local _, err = pcall(next_machine)
      assert.same({ "TransportError", "timeout", "list", 1, 11 },
        { err.type, err.code, err.operation, err.pages, err.machines })
    end
  end)

  it("is not the client's deadline, which limits each request alone", function()
    local client = client_of(slow_list(), { deadline_ms = 3000 })
    assert.equal(100, exhaust(client:each { limit = 10 }))
  end)

  for _, concurrency in ipairs { 1, 4 } do
    it("ends collect, with concurrency " .. concurrency, function()
      local client = client_of(slow_list())
      local options = { deadline_ms = 5000, concurrency = concurrency }
      local ok, err = pcall(client.collect, client, { limit = 1 }, options)
      assert.is_false(ok)
      assert.is_true(err.machines >= 2 and err.machines < 100, err)
      assert.equal(0, client:step(0))
    end)
  end
end)

describe("A broken server", function()
  local function answering(body)
    return fake.client { fake.answer(200, body) }
  end

  for name, row in pairs {
    ["a number"] = "7",
    ["null"] = "null",
    ["without an id"] = '{"created_at":1}',
    ["with a number as its id"] = '{"id":1,"created_at":1}',
    ["without created_at"] = '{"id":"a"}',
    ["with a string as created_at"] = '{"id":"a","created_at":"1"}',
  } do
    it("is an unexpected_shape: a machine that is " .. name, function()
      local client = answering('{"data":[{"id":"mch_1","created_at":2},' .. row .. "]}")
      for _, method in ipairs { "collect", "pages", "each" } do
        local _, err = pcall(function()
          for _ in client[method](client) do error "not reached" end
        end)
        assert.same({ "SDKError", "unexpected_shape", 0, 0 },
          { err.type, err.code, err.pages, err.machines })
        assert.matches("machine 2 of the page", err.message)
      end
    end)
  end

  it("is an unexpected_shape: a machine without a name, when ordered by name", function()
    local client = answering '{"data":[{"id":"mch_1","created_at":2}]}'
    assert.equal(1, #client:collect())
    local _, err = pcall(client.collect, client, { order_by = "name" })
    assert.matches("has no id or no name", err.message)
  end)

  --- The error of listing a server that answers with `rows_at(offset, count of requests)`.
  local function run_in_circles(rows_at, concurrency)
    local count = 0
    local client = client_of { send = function(_, request)
      count = count + 1
      assert(count < 1000, "it does not end")
      local rows = rows_at(tonumber(request.url:match "offset=(%d+)"), count)
      for i, n in ipairs(rows) do rows[i] = ('{"id":"mch_%d","created_at":%d}'):format(n, n) end
      return { status = 200, body = '{"data":[' .. table.concat(rows, ",") .. "]}" }
    end }
    local params = { limit = 2, order_by = "created_at" }
    local ok, err = pcall(client.collect, client, params, { concurrency = concurrency })
    assert.is_false(ok)
    assert.equal("unexpected_shape", err.code, tostring(err))
    return err
  end

  for name, rows_at in pairs {
    ["the offset is ignored"] = function() return { 1, 2, 3 } end,
    ["the offset and the limit are ignored"] = function() return { 1, 2, 3, 4, 5 } end,
    ["the offset has an upper bound"] = function(offset)
      offset = math.min(offset, 10)
      return { offset, offset + 1, offset + 2 }
    end,
    ["the offset counts pages"] = function(offset)
      return { 3 * offset, 3 * offset + 1, 3 * offset + 2 }
    end,
    ["every page after the first is empty"] = function(offset)
      return offset == 0 and { 1, 2, 3 } or {}
    end,
    ["every page has other machines of the past"] = function(_, count)
      return { 1000 - 3 * count, 1001 - 3 * count, 1002 - 3 * count }
    end,
    ["short pages have other machines of the past"] = function(_, count)
      return { 1000 - 2 * count, 1001 - 2 * count }
    end,
    ["no page after the first starts where it should"] = function(offset, count)
      return offset == 0 and { 1, 2, 3 } or { 1000 + count, 1001 + count }
    end,
    ["the offset is ignored and machines are created"] = function(_, count)
      local first = 1000 - math.floor(count / 10)
      return { first, first + 1, first + 2 }
    end,
  } do
    it("ends with an error: " .. name, function()
      for _, concurrency in ipairs { 1, 4 } do
        local err = run_in_circles(rows_at, concurrency)
        assert.is_true(err.machines > 0 and err.pages > 0)
      end
    end)
  end

  it("may send more rows than asked for, and nonsense as total_count", function()
    for _, total_count in ipairs { "-1", "1e300", '"7"', "null", "[]" } do
      local list = quiet_list(100)
      local client = client_of { send = function(_, request)
        local url = request.url:gsub("limit=11", "limit=17")
        local response = list:send { url = url }
        response.body = response.body:gsub('"total_count":%d+', '"total_count":' .. total_count)
        return response
      end }
      for concurrency = 1, 2 do
        local found = client:collect({ limit = 10 }, { concurrency = concurrency })
        check_once(list, found)
        assert.equal(100, #found)
      end
    end
  end)
end)

-- ---------------------------------------------------------------- events

describe("Page events", function()
  local function watch(count)
    local pages = {}
    local client = client_of(quiet_list(count), { on_event = function(event)
      if event.type == "page" then table.insert(pages, event) end
    end })
    return client, pages
  end

  it("have the page, the machines so far and the total", function()
    local client, pages = watch(25)
    exhaust(client:pages { limit = 10 })
    for _, event in ipairs(pages) do
      assert.is_true(event.elapsed_ms >= 0)
      event.elapsed_ms = nil
    end
    local function page(number, so_far)
      return { type = "page", call = 1, operation = "list", page = number, machines = so_far,
        total_count = 25 }
    end
    assert.same({ page(1, 10), page(2, 20), page(3, 25) }, pages)
  end)

  it("come from each and collect too, and the last one counts all machines", function()
    for _, concurrency in ipairs { 1, 3 } do
      local client, pages = watch(25)
      exhaust(client:each { limit = 10 })
      assert.equal(3, #pages)
      client:collect({ limit = 10 }, { concurrency = concurrency })
      assert.equal(6, #pages)
      assert.same({ 3, 25, 25 }, { pages[6].page, pages[6].machines, pages[6].total_count })
    end
  end)

  it("do not come when there are no machines", function()
    local client, pages = watch(0)
    exhaust(client:each())
    assert.equal(0, #pages)
  end)
end)

-- ---------------------------------------------------------------- tasks

describe("Pagination in tasks", function()
  it("gives every machine to one of the tasks that share an iterator", function()
    local list = quiet_list(95, { yields = 5 })
    local client = client_of(list)
    local next_machine, found, workers = client:each { limit = 10 }, {}, {}
    for i = 1, 7 do
      workers[i] = client:spawn(function()
        for machine in next_machine do
          table.insert(found, machine)
          coroutine.yield()
        end
      end)
    end
    client:run()
    for _, worker in ipairs(workers) do worker:result() end
    check_once(list, found)
    assert.equal(95, #found)
    assert.equal(10, #list.requests)
  end)

  it("continues in other tasks after a task has failed", function()
    local list = quiet_list(95, { yields = 5, faults = 0.3 })
    local client = client_of(list)
    local next_page, found = client:pages({ limit = 10 }, { retries = false }), {}
    local function work()
      for page in next_page do
        for _, machine in ipairs(page.data) do table.insert(found, machine) end
      end
    end
    local failures = 0
    for _ = 1, 50 do
      local worker = client:spawn(work)
      client:run()
      failures = failures + (worker.status == "failed" and 1 or 0)
    end
    assert.is_true(failures > 0 and failures < 50)
    check_once(list, found)
  end)

  it("continues after a task is cancelled while others wait for its page", function()
    local list = quiet_list(30, { yields = 50 })
    local client = client_of(list)
    local next_machine, counts = client:each { limit = 10 }, { 0, 0, 0 }
    local workers = {}
    for i = 1, 3 do
      workers[i] = client:spawn(function()
        for _ in next_machine do counts[i] = counts[i] + 1 end
      end)
    end
    workers[2]:cancel()
    assert.equal("cancelled", workers[2].status)
    client:run()
    assert.equal(30, counts[1] + counts[3])
  end)

  for _, kind in ipairs { "attempt", "end", "page" } do
    it("lets on_event ask for the next page, at " .. kind, function()
      local next_page, inner
      local list = quiet_list(30)
      local client = client_of(list, { on_event = function(event)
        if event.type == kind and not inner then
          inner = {}
          inner = next_page()
        end
      end })
      next_page = client:pages { limit = 10 }
      local outer, found = next_page(), {}
      for _, page in ipairs { inner, outer, next_page() } do
        assert.equal(10, #page.data)
        for _, machine in ipairs(page.data) do table.insert(found, machine) end
      end
      check_once(list, found)
      assert.is_nil(next_page())
    end)
  end

  it("never has more requests in flight than `concurrency`", function()
    for concurrency = 2, 9, 7 do
      local list = quiet_list(300, { yields = 9 })
      assert.equal(300, #client_of(list):collect({ limit = 3 }, { concurrency = concurrency }))
      assert.equal(concurrency, list.most_under_way)
      assert.equal(100, #list.requests)
    end
  end)
end)

-- ---------------------------------------------------------------- sockets

describe("collect over real sockets", function()
  after_each(server.stop_all)

  -- A list of 1000 machines. Requests after the first are answered when `gate` requests have come,
  -- or never if `gate` is not a number; those from offset `broken_from` on are refused. A page has
  -- at most `cap` machines.
  local SCRIPT = [[
    local gate, broken_from = tonumber(values.gate), tonumber(values.broken_from)
    local cap = tonumber(values.cap)

    local function rows(limit, offset)
      local list = {}
      for i = offset + 1, math.min(1000, offset + limit, offset + cap) do
        list[#list + 1] = ('{"id":"mch_%d","created_at":%d}'):format(i, i)
      end
      return table.concat(list, ",")
    end

    for request in connection:requests() do
      local limit, offset = request.target:match "limit=(%d+)&offset=(%d+)"
      shared.count = (shared.count or 0) + 1
      offset = tonumber(offset)
      if offset > 0 and not gate then return connection:hang() end
      while offset > 0 and shared.count < gate do connection:sleep(5) end
      if offset >= broken_from then
        connection:answer(403, '{"errors":[{"code":"no","message":"no"}]}')
      else
        local body = '{"data":[%s],"total_count":1000}'
        connection:answer(200, body:format(rows(limit, offset)))
      end
    end
  ]]
  local PARAMS = { limit = 50, order_by = "created_at" }

  local function start(gate_count, broken_from, cap)
    local values = { gate = gate_count, broken_from = broken_from or 1000, cap = cap or 1000 }
    local web = server.start(SCRIPT, { values = values })
    return task_server.client(web, { retries = false }), web
  end

  local function check_all(found)
    assert.equal(1000, #found)
    for i, machine in ipairs(found) do assert.equal("mch_" .. i, machine.id) end
  end

  it("sends requests concurrently, outside of tasks and in a task", function()
    local client, web = start(5)
    check_all(client:collect(PARAMS, { concurrency = 4 }))
    assert.equal(20, #web:requests())
    assert.equal(4, web:connections())
    local task = client:spawn(client.collect, client, PARAMS, { concurrency = 4 })
    client:run()
    check_all(task:result())
    assert.equal(40, #web:requests())
    assert.equal(4, web:connections())
  end)

  it("gets all machines from a server that sends fewer than asked for", function()
    local client, web = start(5, nil, 21)
    check_all(client:collect(PARAMS, { concurrency = 4 }))
    assert.equal(50, #web:requests())
  end)

  it("sends one request after another when on_event calls it", function()
    local web = select(2, start(1))
    local client, found
    client = task_server.client(web, { max_connections = 1, on_event = function(event)
      if event.type == "attempt" and not found then
        found = {}
        found = client:collect(PARAMS, { concurrency = 4 })
      end
    end })
    client:list { limit = 1, offset = 0 }
    check_all(found)
  end)

  it("cancels its requests when its task is cancelled", function()
    local client, web = start "none"
    local task = client:spawn(client.collect, client, PARAMS, { concurrency = 8 })
    task_server.step_until_received(client, web, 9)
    assert.equal(9, client:step(0))
    task:cancel()
    local err = task_server.failure_of(task)
    assert.equal("cancelled", task.status)
    assert.same({ "cancelled", 1, 51 }, { err.code, err.pages, err.machines })
    assert.equal(0, client:step(0))
    web:wait_until_closed(8)
    assert.equal(8, web:connections())
    assert.equal(9, #web:requests())
  end)

  it("cancels its requests when one has failed", function()
    local client, web = start(2, 500)
    local ok, err = pcall(client.collect, client, PARAMS, { concurrency = 4 })
    assert.same({ false, 403, 10, 501 }, { ok, err.status, err.pages, err.machines })
    assert.equal(0, client:step(0))
    assert.equal("mch_1", client:list({ limit = 1, offset = 0 }).data[1].id)
    assert.is_true(#web:requests() <= 15)
  end)

  it("ends when its client is closed", function()
    local client, web = start "none"
    local task = client:spawn(client.collect, client, PARAMS, { concurrency = 8 })
    task_server.step_until_received(client, web, 9)
    client:close()
    assert.equal("cancelled", task_server.failure_of(task).code)
    assert.equal("cancelled", task.status)
  end)
end)
