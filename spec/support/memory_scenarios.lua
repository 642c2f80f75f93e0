-- What runs while allocations fail: an array of scenarios, each with
--
--   name
--   start         function(values) --> run [, finish]: `run` is called again and again and raises
--                 if a result is wrong; `values` are what memory_spec.lua passes about its server
--   needs_server  whether it uses that server
--   lua_only      whether it allocates nothing in C
--   stride        only every stride-th allocation fails: more than 1 if many are alike

local certificates = require "clerk.machines.emulator.certificates"
local core = require "clerk.machines.core"
local fake = require "support.fake"
local files = require "support.files"
local machines = require "clerk.machines"
local safe = require "clerk.machines.safe"
local vectors = require "support.token_vectors"

local KEY = fake.secret_key
local MACHINE = '{"object":"machine","id":"mch_1","name":"a","default_token_ttl":60}'
local QUICK = { backoff = { initial_interval = 1, max_interval = 1 } }

local unpack = table.unpack or unpack

local scenarios = {}

local function scenario(name, start, traits)
  local each = { name = name, start = start, stride = 1 }
  for trait, value in pairs(traits or {}) do each[trait] = value end
  table.insert(scenarios, each)
end

local function server_scenario(...)
  scenario(...)
  scenarios[#scenarios].needs_server = true
end

-- ---------------------------------------------------------------- help

local function equal(expected, actual)
  if expected ~= actual then
    error(("expected %s, got %s"):format(tostring(expected), tostring(actual)), 2)
  end
end

-- The error of this type and code, which the call must raise; raises any other error again.
local function failure(type_, code, f, ...)
  local ok, problem = pcall(f, ...)
  equal(false, ok)
  if not machines.is_error(problem) or problem.type ~= type_ or problem.code ~= code then
    error(problem, 0)
  end
  return problem
end

local function refused(...)
  return failure("ArgumentError", "invalid_argument", ...)
end

-- A transport that returns the answers in turn and records nothing, so that no memory grows.
local function answering(answers)
  local turn, slept = 0, 0
  return {
    send = function()
      turn = turn % #answers + 1
      local answer = answers[turn]
      return not answer.failure and answer or nil, answer.failure
    end,
    sleep = function(_, ms) slept = slept + ms end,
    now = function() return core.now() + slept end,
    rewind = function() turn = 0 end,
  }
end

local function with(settings, options)
  settings.secret_key = KEY
  for name, value in pairs(options) do settings[name] = value end
  return settings
end

-- A start that creates a client with such a transport, for `use`.
local function over_fake(answers, options, use)
  return function()
    local transport = answering(answers)
    local client = machines.new(with({ transport = transport }, options))
    return function()
      transport.rewind()
      use(client)
    end, function() client:close() end
  end
end

-- A start that creates a client with libcurl, for `use`.
local function over_http(options, use)
  return function(values)
    local client = machines.new(with({ base_url = values.url, retries = QUICK }, options))
    return function() use(client) end, function() client:close() end
  end
end

local function get(client, id, options)
  equal(id, client:get(id, options).id)
end

-- ---------------------------------------------------------------- Lua and the core

scenario("the library is loaded", function()
  local loaded = {}
  for name, module in pairs(package.loaded) do
    if name:find "^clerk%." then loaded[name] = module end
  end
  return function()
    for name in pairs(loaded) do package.loaded[name] = nil end
    local ok, again = pcall(require, "clerk.machines")
    for name, module in pairs(loaded) do package.loaded[name] = module end
    if not ok then error(again, 0) end
    equal(machines.version, again.version)
  end
end, { lua_only = true, stride = 17 })

scenario("clients are made and closed", function()
  local options = {
    secret_key = KEY,
    headers = { ["X-Request-Source"] = "spec", ["X-Other"] = "1" },
    user_agent = "spec/1",
    retries = { status_codes = { "5XX", 429, "408" }, backoff = { exponent = 2 } },
    deadline_ms = 1000,
    proxy = "http://127.0.0.1:1",
  }
  return function()
    local client = machines.new(options)
    equal("clerk.machines.Client (https://api.clerk.com/v1)", tostring(client))
    client:close()
    client:close()
    refused(client.get, client, "mch_1")
    machines.new({ secret_key = KEY, transport = answering { fake.ok } }):close()
  end
end)

scenario("clients are made and left to the collector", function()
  local transport = answering { fake.ok }
  return function() get(machines.new { secret_key = KEY, transport = transport }, "mch_1") end
end)

scenario("certificates are read", function()
  local ca_file = files.write_temporary(certificates.new().ca)
  return function()
    machines.new({ secret_key = KEY, ca_file = ca_file }):close()
    local problem = refused(machines.new, { secret_key = KEY, ca_file = "/nowhere/ca.pem" })
    equal('ca_file "/nowhere/ca.pem" cannot be read: No such file or directory', problem.message)
  end, files.remove_temporary
end)

scenario("operations succeed", over_fake({ fake.ok }, {}, function(client)
  local scoped = {}
  for i = 1, 20 do scoped[i] = "mch_" .. i end
  equal("mch_1", client:list({ limit = 5, offset = 1, query = "ä b", order_by = "-name" }).id)
  equal("mch_1", client:create({ name = "ä", scoped_machines = scoped }).id)
  equal("mch_1", client:get("mch_1", { timeout_ms = 5, headers = { a = "b" } }).id)
  equal("mch_1", client:update("mch_1", { name = "b", default_token_ttl = 60 }).id)
  equal("mch_1", client:delete("mch_1").id)
  equal("mch_1", client:get_secret_key("mch_1").id)
  equal("mch_1", client:rotate_secret_key("mch_1", { previous_token_ttl = 0 }).id)
  equal("mch_1", client:create_scope("mch_1", { to_machine_id = "mch_2" }).id)
  equal("mch_1", client:delete_scope("mch_1", "mch_2").id)
end))

scenario("operations on tokens succeed", over_fake({
  fake.answer(200, '{"data":[{"id":"mt_1"}],"token":"mt_1","subject":"mch_1","revoked":true,'
    .. '"expired":false}', { ["x-echo"] = "mt_secret_0123" }),
}, { machine_secret_key = "ak_0123456789" }, function(client)
  local minted = client:create_token {
    token_format = "opaque", seconds_until_expiration = 0.5, min_remaining_ttl_seconds = 0,
    claims = { role = "ä", levels = { 1, 2.5, { deep = machines.null } } },
  }
  equal("mt_1", minted.token)
  local list = client:list_tokens { subject = "mch_1", revoked = true, offset = machines.null }
  equal("mt_1", list.m2m_tokens[1].id)
  client:revoke_token("mt_1", { revocation_reason = machines.null })
  local token, info = client:verify_token { token = "mt_secret_0123" }
  equal("mch_1", token.subject)
  equal("(secret)", info.headers["x-echo"])
end))

scenario("the API refuses", over_fake({
  fake.answer(422, '{"errors":[{"message":"no","long_message":"no, really","code":"bad",'
    .. '"meta":{"param_name":"name"}},{"code":"worse"}],"clerk_trace_id":"trace",'
    .. '"meta":{"n":1}}', { ["retry-after"] = "7" }),
}, {}, function(client)
  local problem = failure("ClerkErrors", "bad", client.create, client, { name = "a" })
  equal("name", problem.errors[1].meta.param_name)
  equal(7, problem.retry_after)
  equal("ClerkErrors: create: no, really (name; 422 bad; first of 2 errors; trace trace)",
    tostring(problem))
end))

scenario("responses are unusable", over_fake({
  fake.answer(404, "<html>" .. KEY .. "</html>", { ["content-type"] = "text/html" }),
  fake.answer(200, '{"id":"mch_1"'),
  fake.answer(200, "[]"),
  fake.answer(302, "", { location = "https://elsewhere.example" }),
}, {}, function(client)
  local page = failure("SDKError", "unexpected_status", client.get, client, "mch_1")
  equal("<html>(secret)</html>", page.body)
  failure("SDKError", "invalid_json", client.get, client, "mch_1")
  failure("SDKError", "unexpected_shape", client.get, client, "mch_1")
  failure("SDKError", "redirect_refused", client.get, client, "mch_1")
end))

scenario("a transport fails", over_fake({
  fake.failure("connection_lost", true),
  fake.failure("no_such_code", true),
  { status = "200" },
}, { retries = false }, function(client)
  local lost = failure("TransportError", "connection_lost", client.create, client, { name = "a" })
  equal(true, lost.maybe_applied)
  for _ = 1, 2 do failure("TransportError", "bad_response", client.get, client, "mch_1") end
end))

scenario("calls are tried again", over_fake({
  fake.answer(503, "<html></html>"),
  fake.answer(429, '{"errors":[]}', { ["retry-after"] = "1" }),
  fake.answer(503, "", {
    ["retry-after"] = "Wed, 21 Oct 2015 07:28:01 GMT",
    date = "Wed, 21 Oct 2015 07:28:00 GMT",
  }),
  fake.failure("timeout", true),
  fake.answer(200, MACHINE),
}, {}, function(client)
  local machine, info = client:get "mch_1"
  equal("machine mch_1 (a)", tostring(machine))
  equal(5, info.attempts)
end))

scenario("arguments are refused", over_fake({ fake.ok }, {}, function(client)
  refused(client.get, client, "..")
  refused(client.create, client, { name = "" })
  refused(client.create, client, { name = "a", scoped_machines = { "mch_1", 2 } })
  refused(client.list, client, { no_parameter = 1 })
  refused(client.list, client, { limit = 1.5 })
  refused(client.get, client, "mch_1", { no_option = 1 })
  refused(client.get, client, "mch_1", "mch_2", "mch_3")
  refused(machines.new, { secret_key = KEY, transport = {} })
  refused(machines.new, { secret_key = KEY, base_url = "http://example.com" })
  refused(machines.new, { secret_key = "a\nb" })
end), { lua_only = true })

scenario("a function returns the key", function()
  local keys, turn = { KEY, "sk_test_other", 1 }, 0
  local client = machines.new {
    secret_key = function()
      turn = turn + 1
      if turn > #keys then error({ "no key" }, 0) end
      return keys[turn]
    end,
    transport = answering { fake.ok },
  }
  return function()
    turn = 0
    get(client, "mch_1")
    get(client, "mch_1")
    refused(client.get, client, "mch_1")
    local _, problem = pcall(client.get, client, "mch_1")
    if type(problem) ~= "table" then error(problem, 0) end
    equal("no key", problem[1])
  end
end)

scenario("events are reported", function()
  local seen
  local client = machines.new {
    secret_key = KEY,
    transport = answering { fake.answer(503), fake.ok },
    on_event = function(event) seen[#seen + 1] = event.type end,
  }
  return function()
    seen = {}
    client.transport.rewind()
    get(client, "mch_1")
    equal("attempt answer wait attempt answer end", table.concat(seen, " "))
  end
end)

scenario("the safe twin is used", function()
  local client = assert(safe.new { secret_key = KEY, transport = answering { fake.ok } })
  return function()
    local machine, why = client:get "mch_1"
    if not machine then error(why, 0) end
    equal("mch_1", machine.id)
    local nothing, refusal = client:get ""
    equal(nil, nothing)
    if not machines.is_error(refusal) then error(refusal, 0) end
    equal("ArgumentError", refusal.type)
  end
end)

scenario("JSON is read", function()
  local text = ('[{"n":9007199254740993,"f":1.5,"t":true,"none":null,"s":"%s"},null,%s]')
    :format(("\\u00e4"):rep(200), ("["):rep(100) .. ("]"):rep(100))
  return function()
    local value, problem = core.decode(text, {})
    if not value then error(problem, 0) end
    equal(("ä"):rep(200), value[1].s)
    equal(core.null, value[2])
    local broken, why, offset = core.decode '{"a":[1,2,}'
    equal(nil, broken)
    equal("string", type(why))
    equal(10, offset)
  end
end, { lua_only = true })

scenario("a token is verified", function()
  local text = vectors.signed .. "." .. vectors.signature
  return function()
    local key = assert(core.rsa_key(vectors.key.n, vectors.key.e))
    local same_key = assert(core.rsa_key_pem(vectors.pem))
    local jwt = assert(core.jwt(text))
    equal("ins_2xhFjEI5X2qWRvtV13BzSj8H6Dk", jwt:kid())
    equal(true, jwt:verify(key))
    equal(true, jwt:verify(same_key))
    local token, times = jwt:token(1800000000000, 0)
    equal("mch_two", token.scopes[2])
    equal("ä", token.claims.limits.tags[3])
    equal(true, core.judge_times(times, 1800000000000, 0))
    equal(nil, (core.rsa_key(vectors.key.n, "AA")))
    equal(nil, (core.jwt(text .. ".")))
    equal(32, #core.sha256(text))
  end
end, { lua_only = true })

local function page_of(count)
  local rows = {}
  for i = 1, count do
    rows[i] = ('{"object":"machine","id":"mch_%d","name":"n%d","scoped_machines":[]}'):format(i, i)
  end
  return ('{"data":[%s],"total_count":%d}'):format(table.concat(rows, ","), count)
end

local function check_page(client)
  local page = client:list { limit = 500 }
  equal(500, #page.data)
  equal("mch_500", page.data[500].id)
  equal("machines: 500 of 500", tostring(page))
end

scenario("a page of 500 is read", over_fake({ fake.answer(200, page_of(500)) }, {}, check_page),
  { stride = 23 })

-- Waits for a pause, but not for a long one.
local SHORT = { backoff = { max_elapsed_time = 1000 } }

scenario("a client pauses after a 429", function()
  local transport = answering { fake.answer(429, '{"errors":[]}', { ["retry-after"] = "3600" }) }
  return function()
    local client = machines.new { secret_key = KEY, transport = transport, retries = SHORT }
    failure("ClerkErrors", "unknown", client.get, client, "mch_1")
    local paused = failure("TransportError", "rate_limited", client.get, client, "mch_1")
    equal(0, paused.attempts)
    assert(paused.retry_after <= 60)
  end
end)

-- ---------------------------------------------------------------- pagination

local PAGED = { limit = 2, order_by = "created_at", query = "paged" }
local PAGED_COUNT = 5

-- A transport that lists `count` machines.
local function listing()
  return {
    send = function(_, request)
      local limit, offset = request.url:match "limit=(%d+)&offset=(%d+)"
      local rows = {}
      for i = offset + 1, math.min(PAGED_COUNT, offset + limit) do
        rows[#rows + 1] = ('{"id":"mch_%d","created_at":%d}'):format(i, i)
      end
      return fake.answer(200, ('{"data":[%s],"total_count":5}'):format(table.concat(rows, ",")))
    end,
  }
end

local function check_place(machine, place)
  equal("mch_" .. place, machine.id)
end

local takes = {}

function takes.each(machine, found)
  found.count = found.count + 1
  found[found.count] = machine.id
end

function takes.pages(page, found)
  for _, machine in ipairs(page.data) do takes.each(machine, found) end
end

local function accept(value, problem)
  if problem then error(problem, 0) end
  return value
end

-- An iterator that a failure interrupted goes on where it was.
local function page_through(interface, method)
  return function()
    local client = interface.new { secret_key = KEY, transport = listing() }
    local next_one, found
    return function()
      if not next_one then
        found = { "", "", "", "", "", count = 0 }
        next_one = accept(client[method](client, PAGED))
      end
      for value in function() return accept(next_one()) end do takes[method](value, found) end
      equal("mch_1 mch_2 mch_3 mch_4 mch_5", table.concat(found, " "))
      next_one = nil
    end, function() client:close() end
  end
end

for _, method in ipairs { "each", "pages" } do
  scenario("all machines come by " .. method, page_through(machines, method))
  scenario("all machines come by the safe " .. method, page_through(safe, method))
end

-- ---------------------------------------------------------------- libcurl

server_scenario("a client is made, used over HTTP and closed", function(values)
  return function()
    local client = machines.new { secret_key = KEY, base_url = values.url, retries = QUICK }
    get(client, "mch_first")
    client:close()
  end
end)

server_scenario("a client is made, used over HTTP and left to the collector", function(values)
  return function()
    get(machines.new { secret_key = KEY, base_url = values.url, retries = QUICK }, "mch_1")
  end
end)

server_scenario("a connection is used again", over_http({}, function(client)
  get(client, "mch_kept")
  equal("mch_created", client:create { name = "worker", default_token_ttl = 600 }.id)
end))

server_scenario("a name is resolved", function(values)
  local url = values.url:gsub("127%.0%.0%.1", "localhost")
  return function()
    local client = machines.new { secret_key = KEY, base_url = url, retries = QUICK }
    get(client, "mch_resolved")
    client:close()
  end
end)

server_scenario("a proxy is used for every request", function(values)
  return function()
    local client = machines.new {
      secret_key = KEY,
      base_url = values.url,
      proxy = values.proxy,
      retries = QUICK,
    }
    get(client, "mch_proxied")
    client:close()
  end
end)

server_scenario("a page of 500 comes over HTTP", function(values)
  local client = machines.new { secret_key = KEY, base_url = values.url, retries = QUICK }
  return function() check_page(client) end, function() client:close() end
end, { stride = 23 })

server_scenario("a query comes over HTTP", over_http({}, function(client)
  local page = client:list { limit = 2, offset = 1, query = "paged" }
  equal(2, #page.data)
  check_place(page.data[1], 2)
end))

server_scenario("unusable responses come over HTTP", over_http({ retries = false }, function(client)
  failure("ClerkErrors", "machine_not_found", client.get, client, "mch_nobody")
  failure("SDKError", "unexpected_status", client.get, client, "mch_html")
  failure("SDKError", "invalid_json", client.get, client, "mch_broken")
  get(client, "mch_packed")
end))

server_scenario("redirects come over HTTP", over_http({}, function(client)
  failure("SDKError", "redirect_refused", client.get, client, "mch_moved")
end))

local NUMBERS = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
local PARTS = NUMBERS:gsub("%d+", "%0" .. ("."):rep(1000))

server_scenario("headers come several times", over_http({}, function(client)
  local _, info = client:get "mch_headers"
  equal(NUMBERS, info.headers["x-number"])
  equal(PARTS, info.headers["x-part"])
end))

server_scenario("responses are too large", over_http({
  max_response_bytes = 500,
  retries = false,
}, function(client)
  failure("TransportError", "response_too_large", client.list, client)
  failure("TransportError", "response_too_large", client.get, client, "mch_flood")
end))

server_scenario("responses are not HTTP", over_http({ retries = false }, function(client)
  failure("TransportError", "bad_response", client.get, client, "mch_garbage")
  failure("TransportError", "bad_response", client.get, client, "mch_unpackable")
end))

-- The label is too long, so that no name server is asked.
server_scenario("a name is unknown", over_http({
  base_url = ("https://%s.invalid/v1"):format(("a"):rep(64)),
  retries = false,
}, function(client)
  failure("TransportError", "dns_failed", client.get, client, "mch_1")
end))

-- Connecting waits for the server's part of the TLS handshake, which this server never sends.
server_scenario("time runs out", function(values)
  local client = machines.new { secret_key = KEY, base_url = values.url }
  local connecting = machines.new {
    secret_key = KEY,
    base_url = values.url:gsub("^http", "https"),
    connect_timeout_ms = 5,
    retries = false,
  }
  local function is_late(...)
    failure("TransportError", "timeout", ...)
  end
  return function()
    is_late(connecting.get, connecting, "mch_1")
    is_late(client.get, client, "mch_hang", { timeout_ms = 5, retries = false })
    is_late(client.get, client, "mch_hang", { timeout_ms = 5, deadline_ms = 8, retries = QUICK })
  end, function()
    connecting:close()
    client:close()
  end
end, { stride = 7 })

server_scenario("a client pauses after a 429 over HTTP", function(values)
  return function()
    local client = machines.new { secret_key = KEY, base_url = values.url, retries = SHORT }
    failure("ClerkErrors", "busy", client.get, client, "mch_busy")
    local paused = failure("TransportError", "rate_limited", client.get, client, "mch_1")
    equal(0, paused.attempts)
    client:close()
  end
end)

server_scenario("connections fail", over_http({ retries = false }, function(client)
  failure("TransportError", "connection_lost", client.get, client, "mch_drop")
  failure("TransportError", "connection_lost", client.get, client, "mch_cut")
  failure("TransportError", "connect_failed", client.get, client, "mch_1",
    { base_url = "http://127.0.0.1:1/v1" })
end))

server_scenario("a call over HTTP is tried again", over_http({}, function(client)
  get(client, "mch_again")
end))

-- ---------------------------------------------------------------- tasks

local function with_two_slots(values)
  return with({ base_url = values.url, retries = QUICK, max_connections = 2 }, {})
end

-- Two calls run at once, and not three: the server checks it.
local function check_slots(client)
  local three = {}
  for i = 1, 3 do
    three[i] = client:spawn(get, client, "mch_pair", { retries = false, timeout_ms = 5000 })
  end
  client:run()
  for i = 1, 3 do three[i]:result() end
end

-- A start that creates a client with two connections over libcurl, for `use`. What a failure leaves
-- running must end by itself, unless `before` ends it.
local function over_tasks(use, before)
  return function(values)
    local client = machines.new(with_two_slots(values))
    return function()
      if before then before() end
      client:run()
      use(client)
    end, function()
      check_slots(client)
      client:close()
    end
  end
end

local function spawn_gets(client, count)
  local spawned = {}
  for i = 1, count do spawned[i] = client:spawn(get, client, "mch_" .. i) end
  return spawned
end

local function check_results(spawned)
  for _, task in ipairs(spawned) do task:result() end
end

-- Checks that no task has ended; if one has failed, raises its error.
local function check_under_way(spawned)
  for _, task in ipairs(spawned) do
    if task.status ~= "running" then equal(nil, task:result()) end
  end
end

-- Checks that it was cancelled; if it failed before, raises its error.
local function check_cancelled(task)
  failure("TransportError", "cancelled", task.result, task)
  equal("cancelled", task.status)
end

local function step_until_ended(client, task)
  while task.status == "running" do client:step(100) end
end

server_scenario("tasks wait for a connection", over_tasks(function(client)
  local spawned = spawn_gets(client, 5)
  client:run()
  check_results(spawned)
end))

-- LuaJIT then raises the last argument.
local scenario_of_stacks = rawget(_G, "jit") and function() end or scenario

scenario_of_stacks("a task has many arguments and results", function()
  local client = machines.new { secret_key = KEY, transport = answering { fake.ok } }
  local many = {}
  for i = 1, 200 do many[i] = i end
  local function pass_on(...)
    get(client, "mch_1")
    coroutine.yield(...)
    return ...
  end
  return function()
    client:run()
    local task = client:spawn(pass_on, unpack(many))
    client:run()
    equal(200, select("#", task:result()))
    equal(200, (select(200, task:result())))
  end, function() client:close() end
end, { lua_only = true })

server_scenario("tasks are stepped by a host's own loop", over_tasks(function(client)
  local spawned = spawn_gets(client, 3)
  repeat client:pollable() until client:step(0) == 0
  check_results(spawned)
end))

server_scenario("tasks wait for tasks", over_tasks(function(client)
  local function work()
    local spawned = spawn_gets(client, 3)
    local other = client:spawn(check_results, spawned)
    check_results(spawned)
    other:result()
    return "finished"
  end
  local task = client:spawn(work)
  client:run()
  equal("finished", task:result())
end))

server_scenario("tasks try again", over_tasks(function(client)
  local task = client:spawn(get, client, "mch_again")
  local spawned = spawn_gets(client, 2)
  client:run()
  task:result()
  check_results(spawned)
end))

server_scenario("a task fails", over_tasks(function(client)
  local task = client:spawn(client.get, client, "mch_nobody")
  local own = client:spawn(error, "its own error", 0)
  client:run()
  failure("ClerkErrors", "machine_not_found", task.result, task)
  local _, problem = pcall(own.result, own)
  if problem ~= "its own error" then error(problem, 0) end
end))

local held = { false, false }

local function cancel_held()
  for _, task in ipairs(held) do
    if task then task:cancel() end
  end
end

server_scenario("tasks are cancelled, in the queue and in a transfer", over_tasks(function(client)
  for i = 1, 2 do held[i] = client:spawn(get, client, "mch_hang", { retries = false }) end
  local queued, following = client:spawn(get, client, "mch_1"), client:spawn(get, client, "mch_2")
  for _ = 1, 3 do client:step(0) end
  check_under_way(held)
  queued:cancel()
  check_cancelled(queued)
  held[1]:cancel()
  check_cancelled(held[1])
  step_until_ended(client, following)
  following:result()
  held[2]:cancel()
  check_cancelled(held[2])
  equal(0, client:step(0))
end, cancel_held))

server_scenario("a task cancels others", over_tasks(function(client)
  local function work()
    for i = 1, 2 do held[i] = client:spawn(get, client, "mch_hang", { retries = false }) end
    local queued = client:spawn(get, client, "mch_1")
    local joining = client:spawn(queued.result, queued)
    check_under_way(held)
    held[1]:cancel()
    check_cancelled(held[1])
    joining:result()
    held[2]:cancel()
    check_cancelled(held[2])
  end
  local task = client:spawn(work)
  step_until_ended(client, task)
  task:result()
end, cancel_held))

-- If that failed, it is closed once more.
server_scenario("a client is closed with tasks under way", function(values)
  local client, spawned = nil, {}
  return function()
    if client then client:close() end
    for _, task in ipairs(spawned) do
      if task.status == "running" then error "a closed client has a task" end
    end
    client, spawned = machines.new(with_two_slots(values)), {}
    for i = 1, 3 do spawned[i] = client:spawn(get, client, "mch_hang", { retries = false }) end
    for _ = 1, 3 do client:step(0) end
    check_under_way(spawned)
    client:close()
    for _, task in ipairs(spawned) do check_cancelled(task) end
  end
end)

server_scenario("a client with tasks under way is left to the collector", function(values)
  return function()
    local client = machines.new(with_two_slots(values))
    local spawned = {}
    for i = 1, 3 do spawned[i] = client:spawn(get, client, "mch_hang") end
    for _ = 1, 3 do client:step(0) end
    check_under_way(spawned)
  end
end)

server_scenario("a call blocks while tasks are under way", over_tasks(function(client)
  local spawned = spawn_gets(client, 3)
  get(client, "mch_blocks")
  client:run()
  check_results(spawned)
end))

server_scenario("several clients have tasks", function(values)
  local one, other = machines.new(with_two_slots(values)), machines.new(with_two_slots(values))
  return function()
    one:run()
    other:run()
    local of_one, of_other = spawn_gets(one, 3), spawn_gets(other, 3)
    local across = one:spawn(get, other, "mch_across")
    one:run()
    check_results(of_one)
    across:result()
    other:run()
    check_results(of_other)
  end, function()
    for _, client in ipairs { one, other } do
      check_slots(client)
      client:close()
    end
  end
end)

server_scenario("machines are collected, two requests at once", over_tasks(function(client)
  local all = client:collect(PAGED, { concurrency = 2 })
  equal(PAGED_COUNT, #all)
  for place, machine in ipairs(all) do check_place(machine, place) end
end), { stride = 5 })

server_scenario("a transfer is abandoned", function(values)
  local curl = core.curl { max_connections = 1 }
  local request = {
    method = "GET",
    url = values.url .. "/machines/mch_hang",
    headers = {
      authorization = "Bearer " .. KEY,
      accept = "application/json",
      ["clerk-api-version"] = "1",
      ["user-agent"] = "clerk-machines/1",
    },
    timeout_ms = 1000,
    connect_timeout_ms = 1000,
    max_response_bytes = 1000,
  }
  return function()
    local transfer = curl:start(request)
    core.loop:step(0, 0)
    if transfer:is_finished() then error(select(2, transfer:take()).message, 0) end
  end
end)

return scenarios
