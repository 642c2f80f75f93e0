local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local safe = require "clerk.machines.safe"
local fake = require "support.fake"

local base_url = "https://api.clerk.com/v1"

--- Calls one method of a client and returns the only request that it sent.
local function sent(options, method, ...)
  local client, transport = fake.client({ fake.ok }, options)
  client[method](client, ...)
  assert.equal(1, #transport.requests)
  return transport.requests[1]
end

local function url(...)
  return sent(nil, ...).url
end

local function body(...)
  return sent(nil, ...).body
end

describe("the wire of", function()
  -- operation, arguments, method, path with query, body
  local wires = {
    { "list", {}, "GET", "/machines" },
    { "list", { {} }, "GET", "/machines" },
    { "list", { { order_by = "+name", query = "a b", offset = 20, limit = 10 } },
      "GET", "/machines?limit=10&offset=20&query=a%20b&order_by=%2Bname" },
    { "create", { { name = "alpha" } }, "POST", "/machines", '{"name":"alpha"}' },
    { "create", { { default_token_ttl = 60, scoped_machines = { "mch_2", "mch_3" }, name = "a" } },
      "POST", "/machines",
      '{"name":"a","scoped_machines":["mch_2","mch_3"],"default_token_ttl":60}' },
    { "get", { "mch_1" }, "GET", "/machines/mch_1" },
    { "update", { "mch_1", { default_token_ttl = 3600, name = "b" } },
      "PATCH", "/machines/mch_1", '{"name":"b","default_token_ttl":3600}' },
    { "update", { "mch_1", {} }, "PATCH", "/machines/mch_1", "{}" },
    { "delete", { "mch_1" }, "DELETE", "/machines/mch_1" },
    { "get_secret_key", { "mch_1" }, "GET", "/machines/mch_1/secret_key" },
    { "rotate_secret_key", { "mch_1", { previous_token_ttl = 0 } },
      "POST", "/machines/mch_1/secret_key/rotate", '{"previous_token_ttl":0}' },
    { "create_scope", { "mch_1", { to_machine_id = "mch_2" } },
      "POST", "/machines/mch_1/scopes", '{"to_machine_id":"mch_2"}' },
    { "delete_scope", { "mch_1", "mch_2" }, "DELETE", "/machines/mch_1/scopes/mch_2" },
    { "create_token", {}, "POST", "/m2m_tokens", "{}" },
    { "create_token", { { min_remaining_ttl_seconds = 60, claims = { b = { 1, "x" }, a = true },
      seconds_until_expiration = 0.5, token_format = "jwt" } }, "POST", "/m2m_tokens",
      '{"token_format":"jwt","seconds_until_expiration":0.5,"claims":{"a":true,"b":[1,"x"]},'
        .. '"min_remaining_ttl_seconds":60}' },
    { "create_token", { { seconds_until_expiration = machines.null, claims = machines.null } },
      "POST", "/m2m_tokens", '{"seconds_until_expiration":null,"claims":null}' },
    { "list_tokens", { { subject = "mch_1" } }, "GET", "/m2m_tokens?subject=mch_1" },
    { "list_tokens", { { offset = 5, limit = 100, expired = false, revoked = true,
      subject = "mch_1" } },
      "GET", "/m2m_tokens?subject=mch_1&revoked=true&expired=false&limit=100&offset=5" },
    { "list_tokens", { { subject = "mch_1", revoked = machines.null, expired = machines.null,
      offset = machines.null } }, "GET", "/m2m_tokens?subject=mch_1" },
    { "revoke_token", { "mt_1" }, "POST", "/m2m_tokens/mt_1/revoke", "{}" },
    { "revoke_token", { "mt_1", { revocation_reason = "lost" } },
      "POST", "/m2m_tokens/mt_1/revoke", '{"revocation_reason":"lost"}' },
    { "revoke_token", { "mt_1", { revocation_reason = machines.null } },
      "POST", "/m2m_tokens/mt_1/revoke", '{"revocation_reason":null}' },
    { "verify_token", { { token = "mt_2" } }, "POST", "/m2m_tokens/verify", '{"token":"mt_2"}' },
  }
  for _, wire in ipairs(wires) do
    local name, arguments, method, path, expected_body = (table.unpack or unpack)(wire, 1, 5)
    it(("%s is %s %s %s"):format(name, method, path, expected_body or "without a body"), function()
      local request = sent(nil, name, (table.unpack or unpack)(arguments))
      local key = path:find "^/m2m_tokens" and fake.machine_secret_key or fake.secret_key
      local agent = request.headers["user-agent"]
      assert.equal(method, request.method)
      assert.equal(base_url .. path, request.url)
      assert.equal(expected_body, request.body)
      assert.same({
        authorization = "Bearer " .. key,
        accept = "application/json",
        ["clerk-api-version"] = "2026-05-12",
        ["user-agent"] = agent,
        ["content-type"] = expected_body and "application/json" or nil,
      }, request.headers)
      assert.equal(1, (agent:find("clerk-machines/" .. machines.version, 1, true)))
    end)
  end

  it("every operation is covered here", function()
    local covered = {}
    for _, wire in ipairs(wires) do covered[wire[1]] = true end
    for _, operation in ipairs(core.operations) do
      assert.is_true(covered[operation.name], operation.name)
    end
  end)
end)

describe("the request", function()
  it("has the fields of the transport's contract and no others", function()
    local request = sent(nil, "create", { name = "a" })
    local fields = {}
    for name in pairs(request) do fields[#fields + 1] = name end
    table.sort(fields)
    assert.same({ "body", "connect_timeout_ms", "headers", "max_response_bytes", "method",
      "timeout_ms", "url" }, fields)
  end)

  it("has the default limits", function()
    local request = sent(nil, "get", "mch_1")
    assert.equal(10000, request.timeout_ms)
    assert.equal(5000, request.connect_timeout_ms)
    assert.equal(64 * 1024 * 1024, request.max_response_bytes)
  end)

  it("has the client's limits, and the call's over the client's", function()
    local limits = { timeout_ms = 700, connect_timeout_ms = 300, max_response_bytes = 4096 }
    local request = sent(limits, "get", "mch_1")
    assert.equal(700, request.timeout_ms)
    assert.equal(300, request.connect_timeout_ms)
    assert.equal(4096, request.max_response_bytes)
    assert.equal(900, sent(limits, "get", "mch_1", { timeout_ms = 900 }).timeout_ms)
  end)

  it("has its timeouts cut to what is left of the deadline", function()
    local request = sent(nil, "get", "mch_1", { deadline_ms = 2000 })
    assert.is_true(request.timeout_ms <= 2000 and request.timeout_ms > 1000)
    assert.is_true(request.connect_timeout_ms <= 2000)
    assert.equal(800, sent({ timeout_ms = 800, deadline_ms = 60000 }, "get", "mch_1").timeout_ms)
  end)
end)

describe("a number that may have a fraction", function()
  local function sent_as(number)
    return body("create_token", { seconds_until_expiration = number }):match ":(.*)}$"
  end

  local function assert_exact()
    for number, text in pairs { [0.5] = "0.5", [3600] = "3600", [0.1] = "0.1", [1e300] = "1e+300",
      [2 ^ 53 + 2] = "9007199254740994", [1 / 3] = "0.3333333333333333",
      [501888888888888888888] = "5.018888888888889e+20" } do
      assert.equal(text, sent_as(number))
      assert.equal(number, core.decode(text))
    end
  end

  it("is sent without loss", assert_exact)

  it("is sent with a point in a locale with a decimal comma", function()
    local before, found = os.setlocale(nil, "numeric"), os.setlocale("de_DE.UTF-8", "numeric")
    finally(function() os.setlocale(before, "numeric") end)
    if not found then return pending "the locale de_DE.UTF-8 is not installed" end
    assert_exact()
  end)
end)

describe("a path", function()
  local unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

  it("keeps the unreserved characters of an ID", function()
    assert.equal(base_url .. "/machines/" .. unreserved, url("get", unreserved))
  end)

  it("encodes every other ASCII character of an ID that may be sent", function()
    for code = 0x20, 0x7E do
      local character = string.char(code)
      if not unreserved:find(character, 1, true) then
        assert.equal(("%s/machines/%%%02X"):format(base_url, code), url("get", character))
      end
    end
  end)

  for id, segment in pairs {
    ["a/b"] = "a%2Fb",
    ["../users/u"] = "..%2Fusers%2Fu",
    ["..."] = "...",
    [".a"] = ".a",
    ["%2e%2e"] = "%252e%252e",
    ["100%"] = "100%25",
    ["a?b=c#d"] = "a%3Fb%3Dc%23d",
    ["a b+c"] = "a%20b%2Bc",
    ["a\\b"] = "a%5Cb",
    ["\195\188"] = "%C3%BC",
    ["\240\159\152\128"] = "%F0%9F%98%80",
    [("m"):rep(3000)] = ("m"):rep(3000),
  } do
    it("holds the ID " .. id:sub(1, 20) .. " as one segment", function()
      assert.equal(base_url .. "/machines/" .. segment, url("get", id))
      assert.equal(base_url .. "/machines/" .. segment .. "/secret_key/rotate",
        url("rotate_secret_key", id, { previous_token_ttl = 0 }))
      assert.equal(base_url .. "/machines/mch_1/scopes/" .. segment,
        url("delete_scope", "mch_1", id))
    end)
  end
end)

describe("a query string", function()
  for params, expected in pairs {
    [{ query = "" }] = "query=",
    [{ query = " " }] = "query=%20",
    [{ query = "a+b" }] = "query=a%2Bb",
    [{ query = "a&limit=5" }] = "query=a%26limit%3D5",
    [{ query = "\195\188\240\159\152\128" }] = "query=%C3%BC%F0%9F%98%80",
    [{ query = "-._~" }] = "query=-._~",
    [{ query = "\1\n\127" }] = "query=%01%0A%7F",
    [{ limit = 500 }] = "limit=500",
    [{ limit = 10.0 }] = "limit=10",
    [{ offset = 0 }] = "offset=0",
    [{ offset = 9007199254740992 }] = "offset=9007199254740992",
    [{ offset = 0, limit = 1 }] = "limit=1&offset=0",
    [{ order_by = "name" }] = "order_by=name",
    [{ order_by = "-created_at" }] = "order_by=-created_at",
    [{ order_by = "+created_at" }] = "order_by=%2Bcreated_at",
  } do
    it("is " .. expected, function()
      assert.equal(base_url .. "/machines?" .. expected, url("list", params))
    end)
  end

  it("encodes all but the unreserved characters", function()
    for code = 1, 127 do
      local character = string.char(code)
      local plain = character:find "^[%w%-._~]$"
      local encoded = plain and character or ("%%%02X"):format(code)
      assert.equal(base_url .. "/machines?query=" .. encoded, url("list", { query = character }))
    end
  end)
end)

describe("a body", function()
  it("writes an empty array of scopes as an array", function()
    assert.equal('{"name":"a","scoped_machines":[]}',
      body("create", { name = "a", scoped_machines = {} }))
  end)

  it("keeps the order of scopes", function()
    local ids, quoted = {}, {}
    for i = 1, 150 do
      ids[i] = "mch_" .. i
      quoted[i] = '"mch_' .. i .. '"'
    end
    assert.equal('{"name":"a","scoped_machines":[' .. table.concat(quoted, ",") .. "]}",
      body("create", { name = "a", scoped_machines = ids }))
  end)

  for name, written in pairs {
    ['say "hi"'] = [[say \"hi\"]],
    ["a\\b"] = [[a\\b]],
    ["a/b"] = "a/b",
    ["\b\f\n\r\t"] = [[\b\f\n\r\t]],
    ["\1\11\31"] = [[\u0001\u000b\u001f]],
    ["\127"] = "\127",
    ["gr\195\188n \226\130\172 \240\159\152\128"] = "gr\195\188n \226\130\172 \240\159\152\128",
    ["\226\128\168\239\187\191"] = "\226\128\168\239\187\191",
    ["<script>'&"] = "<script>'&",
  } do
    it("writes the name " .. written, function()
      assert.equal('{"name":"' .. written .. '"}', body("create", { name = name }))
    end)
  end

  it("writes the same escapes in IDs", function()
    assert.equal([[{"to_machine_id":"a\"\\b"}]],
      body("create_scope", "mch_1", { to_machine_id = 'a"\\b' }))
    assert.equal([[{"name":"a","scoped_machines":["a\"\\b"]}]],
      body("create", { name = "a", scoped_machines = { 'a"\\b' } }))
  end)

  it("writes a whole number given as a float without a fraction", function()
    assert.equal('{"default_token_ttl":3600}',
      body("update", "mch_1", { default_token_ttl = 3600.0 }))
    assert.equal('{"previous_token_ttl":0}',
      body("rotate_secret_key", "mch_1", { previous_token_ttl = -0.0 }))
  end)

  local function ttl(value)
    return sent({ check_bounds = false }, "update", "mch_1", { default_token_ttl = value }).body
  end

  it("writes integers past the bounds as they are where the server is to judge", function()
    assert.equal('{"default_token_ttl":-1}', ttl(-1))
    assert.equal('{"default_token_ttl":9007199254740992}', ttl(2 ^ 53))
    assert.equal('{"default_token_ttl":-9007199254740992}', ttl(-2 ^ 53))
    assert.equal('{"default_token_ttl":-9223372036854775808}', ttl(-2 ^ 63))
  end)

  if math.type then
    it("writes 64-bit integers exactly", function()
      assert.equal('{"default_token_ttl":9223372036854775807}', ttl(math.maxinteger))
      assert.equal('{"default_token_ttl":-9223372036854775808}', ttl(math.mininteger))
      assert.equal('{"default_token_ttl":9007199254740993}', ttl(9007199254740993))
    end)
  end

  it("sends names and arrays past the bounds where the server is to judge", function()
    local ids = {}
    for i = 1, 151 do ids[i] = "m" end
    local request = sent({ check_bounds = false }, "create", { name = "", scoped_machines = ids })
    assert.equal('{"name":"","scoped_machines":["m"' .. (',"m"'):rep(150) .. "]}", request.body)
    assert.equal(base_url .. "/machines?limit=501&offset=-1",
      sent({ check_bounds = false }, "list", { limit = 501, offset = -1 }).url)
  end)
end)

describe("the base URL", function()
  for base, expected in pairs {
    ["https://api.test"] = "https://api.test/machines",
    ["https://api.test/"] = "https://api.test/machines",
    ["https://api.test/v1"] = "https://api.test/v1/machines",
    ["https://api.test/v1/"] = "https://api.test/v1/machines",
    ["https://api.test:8443/a/b"] = "https://api.test:8443/a/b/machines",
    ["http://127.0.0.1:8080/v1"] = "http://127.0.0.1:8080/v1/machines",
    ["http://[::1]:8080/v1"] = "http://[::1]:8080/v1/machines",
    ["http://localhost"] = "http://localhost/machines",
  } do
    it(base .. " leads to " .. expected, function()
      assert.equal(expected, sent({ base_url = base }, "list").url)
    end)
  end

  it("may be another for one call", function()
    local client, transport = fake.client { fake.ok }
    client:list(nil, { base_url = "http://localhost:1234" })
    client:list()
    assert.equal("http://localhost:1234/machines", transport.requests[1].url)
    assert.equal(base_url .. "/machines", transport.requests[2].url)
  end)
end)

describe("headers", function()
  it("are added to by the client and by the call, which has the last word", function()
    local headers = sent({ headers = { ["X-One"] = "client", ["X-Two"] = "client" } },
      "get", "mch_1", { headers = { ["x-two"] = "call", ["X-Three"] = "" } }).headers
    assert.equal("client", headers["x-one"])
    assert.equal("call", headers["x-two"])
    assert.equal("", headers["x-three"])
    assert.is_nil(headers["X-One"])
  end)

  it("of one call do not stay for the next", function()
    local client, transport = fake.client { fake.ok }
    client:get("mch_1", { headers = { ["X-Once"] = "1" } })
    client:get("mch_1")
    assert.equal("1", transport.requests[1].headers["x-once"])
    assert.is_nil(transport.requests[2].headers["x-once"])
  end)

  it("name another version of the API when told to", function()
    local headers = sent({ api_version = "2025-11-10" }, "list").headers
    assert.equal("2025-11-10", headers["clerk-api-version"])
  end)

  it("put a given user agent before ours", function()
    local ours = sent(nil, "list").headers["user-agent"]
    local headers = sent({ user_agent = "mine/1 (x)" }, "list").headers
    assert.equal("mine/1 (x) " .. ours, headers["user-agent"])
  end)

  it("have a key of any format", function()
    for _, key in ipairs { "x", "sk_live_" .. ("a"):rep(500), "a b=/+~", "clef\195\169" } do
      assert.equal("Bearer " .. key, sent({ secret_key = key }, "list").headers.authorization)
    end
  end)

  it("bear the key that its function gives for each attempt", function()
    local count = 0
    local client, transport = fake.client({ fake.answer(503), fake.ok }, {
      secret_key = function()
        count = count + 1
        return "key" .. count
      end,
    })
    client:list()
    client:list()
    local seen = {}
    for i, request in ipairs(transport.requests) do seen[i] = request.headers.authorization end
    assert.same({ "Bearer key1", "Bearer key2", "Bearer key3" }, seen)
  end)

  it("bear the key of the environment when none is given", function()
    local getenv = os.getenv
    finally(function() os.getenv = getenv end) -- luacheck: ignore 122
    os.getenv = function(name) -- luacheck: ignore 122
      return name == "CLERK_SECRET_KEY" and "sk_test_environment" or nil
    end
    local transport = fake.new { fake.ok }
    machines.new({ transport = transport }):list()
    assert.equal("Bearer sk_test_environment", transport.requests[1].headers.authorization)
  end)
end)

describe("a call", function()
  it("returns the result, and how it came about", function()
    local answer = fake.answer(201, '{"id":"m"}', { ["x-a"] = "1" })
    local result, info = fake.client({ fake.answer(503), answer }):get "m"
    assert.same({ id = "m" }, result)
    assert.is_true(info.elapsed_ms >= 0)
    info.elapsed_ms = nil
    assert.same({ status = 201, headers = { ["x-a"] = "1" }, attempts = 2 }, info)
  end)

  it("returns exactly two values", function()
    local client = fake.client { fake.ok }
    for _, operation in ipairs { "list", "get" } do
      assert.equal(2, select("#", client[operation](client, operation == "get" and "m" or nil)))
    end
  end)

  it("calls send and sleep as methods of the transport", function()
    local transport = { slept = 0 }
    function transport.send(self, request)
      assert.equal(transport, self)
      assert.is_table(request)
      return self.sent and fake.ok or fake.answer(503)
    end
    function transport:sleep(ms)
      self.sent, self.slept = true, self.slept + ms
    end
    fake.client({}, { transport = transport }):list()
    assert.is_true(transport.slept >= 250 and transport.slept <= 500)
  end)

  it("accepts a transport that is an object with inherited methods", function()
    local transport = setmetatable({}, { __index = { send = function() return fake.ok end } })
    assert.equal("mch_1", fake.client({}, { transport = transport }):get("mch_1").id)
  end)

  it("leaves the transport's response as it was", function()
    local response = fake.answer(200, '{"id":"m"}', { ["x-a"] = "1" })
    fake.client({ response }):get "m"
    assert.same({ status = 200, headers = { ["x-a"] = "1" }, body = '{"id":"m"}' }, response)
  end)
end)

describe("under the user's coroutine, a call", function()
  --- Runs `f` in a coroutine, answering each yield from `replies`; returns what was yielded, and
  --- what `f` returned.
  local function drive(f, replies)
    local thread, yielded, reply = coroutine.create(f), {}, nil
    for i = 1, 20 do
      local ok, value = coroutine.resume(thread, reply)
      if not ok then error(value, 0) end
      if coroutine.status(thread) == "dead" then return yielded, value end
      yielded[i], reply = value, replies[i]
    end
    error "no end"
  end

  it("ends its retries in the time of the waits, though sleep takes no time", function()
    local attempts, slept = 0, 0
    local transport = {
      send = function() attempts = attempts + 1 return fake.answer(503) end,
      sleep = function(_, ms) slept = slept + ms end,
    }
    local client = fake.client({}, { transport = transport })
    local ok, err = pcall(client.get, client, "mch_1")
    assert.is_false(ok)
    assert.equal(attempts, err.attempts)
    assert.is_true(slept <= 60000 and err.elapsed_ms >= math.floor(slept))
  end)

  it("may have a clock, which the call's times follow", function()
    local time = 5000
    local client = fake.client({}, {
      transport = {
        send = function() time = time + 700.5 return fake.ok end,
        now = function() return time end,
      },
    })
    local _, info = client:get "mch_1"
    assert.equal(700, info.elapsed_ms)
  end)

  it("may yield in send and in sleep", function()
    local transport = {
      send = function(_, request) return coroutine.yield(request.method) end,
      sleep = function() coroutine.yield "sleep" end,
    }
    local client = fake.client({}, { transport = transport })
    for _, operation in ipairs { "get", "delete", "get_secret_key" } do
      local method = operation == "delete" and "DELETE" or "GET"
      local yielded, result = drive(function() return (client[operation](client, "m")) end,
        { fake.answer(503), nil, fake.ok })
      assert.same({ method, "sleep", method }, yielded)
      assert.equal("mch_1", result.id)
    end
  end)

  it("may yield in secret_key and on_event", function()
    local client = fake.client({ fake.ok }, {
      secret_key = function() return coroutine.yield "key" end,
      on_event = function(event) coroutine.yield(event.type) end,
    })
    local yielded, result = drive(function() return (client:get "m") end,
      { "k1", "k1", "k1", "k1", "k1" })
    assert.equal("mch_1", result.id)
    table.sort(yielded)
    assert.same({ "answer", "attempt", "end", "key" }, yielded)
  end)

  it("raises its error there", function()
    local transport = { send = function() return coroutine.yield() end }
    local client = fake.client({}, { transport = transport })
    local _, err = drive(function()
      local _, problem = pcall(client.get, client, "m")
      return problem
    end, { fake.answer(404) })
    assert.is_true(machines.is_error(err))
    assert.equal(404, err.status)
  end)
end)

describe("the safe twin", function()
  it("returns what the other returns", function()
    local client = assert(safe.new { secret_key = "k", transport = fake.new { fake.ok } })
    local result, info = client:get "mch_1"
    assert.equal("mch_1", result.id)
    assert.equal(200, info.status)
  end)

  it("returns nil and the error where the other raises", function()
    local transport = fake.new { fake.answer(404) }
    local client = assert(safe.new { secret_key = "k", transport = transport })
    local result, err = client:get "mch_1"
    assert.is_nil(result)
    assert.is_true(safe.is_error(err))
    assert.equal("SDKError", err.type)
    assert.equal(404, err.status)
  end)

  it("returns a refused argument with the place of the caller", function()
    local transport = fake.new { fake.ok }
    local client = assert(safe.new { secret_key = "k", transport = transport })
    local here = debug.getinfo(1, "Sl")
    local result, err = client:get ""
    assert.is_nil(result)
    assert.equal("ArgumentError", err.type)
    assert.equal(("%s:%d"):format(here.short_src, here.currentline + 1), err.where)
    assert.equal(0, #transport.requests)
  end)

  it("returns a refused option of new", function()
    local here = debug.getinfo(1, "Sl")
    local client, err = safe.new { secret_key = "k", timeout = 5 }
    assert.is_nil(client)
    assert.equal("ArgumentError", err.type)
    assert.truthy(err.message:find("timeout", 1, true))
    assert.equal(("%s:%d"):format(here.short_src, here.currentline + 1), err.where)
  end)

  it("returns nil and the error from iterators over machines", function()
    local client = assert(safe.new { secret_key = "k", transport = fake.new { fake.answer(404) } })
    for _, name in ipairs { "each", "pages" } do
      local machine, err = client[name](client)()
      assert.is_nil(machine)
      assert.equal(404, err.status)
      local iterate, refused = client[name](client, { offset = 1 })
      assert.is_nil(iterate)
      assert.equal("ArgumentError", refused.type)
    end
    assert.equal(404, select(2, client:collect()).status)
  end)

  it("shares everything else", function()
    assert.equal(machines.null, safe.null)
    assert.equal(machines.version, safe.version)
    assert.equal(machines.is_error, safe.is_error)
  end)

  it("closes", function()
    local client = assert(safe.new { secret_key = "k", transport = fake.new { fake.ok } })
    client:close()
    client:close()
    local result, err = client:list()
    assert.is_nil(result)
    assert.equal("ArgumentError", err.type)
  end)
end)

describe("the module", function()
  it("has the version and the null of its core", function()
    assert.equal(core.version, machines.version)
    assert.equal(core.null, machines.null)
    assert.equal("userdata", type(machines.null))
  end)

  it("sets no global", function()
    local before, loaded = {}, {}
    for name in pairs(_G) do before[name] = true end
    for name, module in pairs(package.loaded) do
      if name:find "^clerk%." then loaded[name] = module end
    end
    finally(function()
      for name, module in pairs(loaded) do package.loaded[name] = module end
    end)
    for name in pairs(loaded) do package.loaded[name] = nil end
    local client = require("clerk.machines.safe").new {
      secret_key = "k",
      transport = fake.new { fake.answer(503), fake.ok },
    }
    assert(client:get "m")
    for name in pairs(_G) do assert.is_true(before[name], name) end
  end)
end)
