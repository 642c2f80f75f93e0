-- What is done while memory fails: an array of scenarios, each with
--
--   name
--   start         function(values) --> run [, finish]: `run` is called again and again and raises
--                 when a result is wrong; `values` are what memory_spec.lua tells of its server
--   needs_server  whether it uses that server
--   lua_only      whether it takes none of C's memory
--   stride        every how many-th allocation fails: more than 1 where they are many and alike

local core = require "clerk.machines.core"
local fake = require "support.fake"
local machines = require "clerk.machines"
local safe = require "clerk.machines.safe"

local KEY = fake.secret_key
local MACHINE = '{"object":"machine","id":"mch_1","name":"a","default_token_ttl":60}'
local QUICK = { backoff = { initial_interval = 1, max_interval = 1 } }

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

-- The error of that type and code which the call must raise; any other is raised again.
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

-- A transport that gives the answers in turn, and remembers nothing that would grow.
local function answering(answers)
  local turn = 0
  return {
    send = function()
      turn = turn % #answers + 1
      local answer = answers[turn]
      return not answer.failure and answer or nil, answer.failure
    end,
    sleep = function() end,
    rewind = function() turn = 0 end,
  }
end

local function with(settings, options)
  settings.secret_key = KEY
  for name, value in pairs(options) do settings[name] = value end
  return settings
end

-- A start that makes a client over such a transport, for `use`.
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

-- A start that makes a client over libcurl, for `use`.
local function over_http(options, use)
  return function(values)
    local client = machines.new(with({ base_url = values.url, retries = QUICK }, options))
    return function() use(client) end, function() client:close() end
  end
end

local function get(client, id)
  equal(id, client:get(id).id)
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
  local ca_file = os.tmpname()
  local file = assert(io.open(ca_file, "w"))
  file:write(("no certificate\n"):rep(1000))
  file:close()
  return function()
    machines.new({ secret_key = KEY, ca_file = ca_file }):close()
    local problem = refused(machines.new, { secret_key = KEY, ca_file = "/nowhere/ca.pem" })
    equal("ca_file cannot be read: No such file or directory", problem.message)
  end, function() os.remove(ca_file) end
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

scenario("the API refuses", over_fake({
  fake.answer(422, '{"errors":[{"message":"no","long_message":"no, really","code":"bad",'
    .. '"meta":{"param_name":"name"}},{"code":"worse"}],"clerk_trace_id":"trace",'
    .. '"meta":{"n":1}}', { ["retry-after"] = "7" }),
}, {}, function(client)
  local problem = failure("ClerkErrors", "bad", client.create, client, { name = "a" })
  equal("name", problem.errors[1].meta.param_name)
  equal(7, problem.retry_after)
  equal("ClerkErrors: create 422 bad: no (trace trace)", tostring(problem))
end))

scenario("answers are unusable", over_fake({
  fake.answer(404, "<html>" .. KEY .. "</html>", { ["content-type"] = "text/html" }),
  fake.answer(200, '{"id":"mch_1"'),
  fake.answer(200, "[]"),
  fake.answer(302, "", { location = "https://elsewhere.example" }),
}, {}, function(client)
  local page = failure("SDKError", "unexpected_status", client.get, client, "mch_1")
  equal("<html>(secret key)</html>", page.body)
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

scenario("a function gives the key", function()
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

scenario("events are told", function()
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

server_scenario("a proxy is used, and nothing passes it by", function(values)
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

server_scenario("unusable answers come over HTTP", over_http({ retries = false }, function(client)
  failure("ClerkErrors", "machine_not_found", client.get, client, "mch_nobody")
  failure("SDKError", "unexpected_status", client.get, client, "mch_html")
  failure("SDKError", "invalid_json", client.get, client, "mch_broken")
  get(client, "mch_packed")
end))

server_scenario("connections fail", over_http({ retries = false }, function(client)
  failure("TransportError", "connection_lost", client.get, client, "mch_drop")
  failure("TransportError", "connection_lost", client.get, client, "mch_cut")
  failure("TransportError", "connect_failed", client.get, client, "mch_1",
    { base_url = "http://127.0.0.1:1/v1" })
end))

server_scenario("a call over HTTP is tried again", over_http({}, function(client)
  get(client, "mch_again")
end))

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
    core.loop:step(0)
    if transfer:is_finished() then error(select(2, transfer:take()).message, 0) end
  end
end)

return scenarios
