-- The operations on tokens: which key they take, what is repeated, what is hidden, and the result.

local core = require "clerk.machines.core"
local error_of = require "support.error_of"
local fake = require "support.fake"
local machines = require "clerk.machines"
local posix = require "support.posix"
local safe = require "clerk.machines.safe"
local server = require "support.server"

local unpack = table.unpack or unpack
local null = machines.null
local INSTANCE_KEY, MACHINE_KEY = "sk_test_instance_key", "ak_machine_key_12345"
local TOKEN = "mt_0123456789abcdef"

--- Arguments of each operation.
local ARGUMENTS = {
  create_token = {},
  list_tokens = { { subject = "mch_1" } },
  revoke_token = { "mt_1" },
  verify_token = { { token = TOKEN } },
}

local function perform(client, operation)
  return client[operation](client, unpack(ARGUMENTS[operation]))
end

local function client_over(transport, keys)
  return machines.new {
    secret_key = keys.instance, machine_secret_key = keys.machine, transport = transport,
  }
end

--- The key that an operation is sent with, by a client that has these.
local function key_sent(operation, keys)
  local transport = fake.new { fake.ok }
  perform(client_over(transport, keys), operation)
  return transport.requests[1].headers.authorization:match "^Bearer (.+)$"
end

describe("The key of", function()
  local both = { instance = INSTANCE_KEY, machine = MACHINE_KEY }

  it("create_token is the machine's", function()
    assert.equal(MACHINE_KEY, key_sent("create_token", both))
    assert.equal(MACHINE_KEY, key_sent("create_token", { machine = MACHINE_KEY }))
  end)

  for _, operation in ipairs { "list_tokens", "revoke_token", "verify_token" } do
    it(operation .. " is the machine's if there is one, else the instance's", function()
      assert.equal(MACHINE_KEY, key_sent(operation, both))
      assert.equal(MACHINE_KEY, key_sent(operation, { machine = MACHINE_KEY }))
      assert.equal(INSTANCE_KEY, key_sent(operation, { instance = INSTANCE_KEY }))
    end)
  end

  it("a machine may be a function, which is called for every attempt", function()
    local transport, count = fake.new { fake.answer(503), fake.ok }, 0
    local client = machines.new {
      transport = transport,
      machine_secret_key = function()
        count = count + 1
        return "ak_" .. count
      end,
    }
    client:verify_token { token = TOKEN }
    assert.equal("Bearer ak_1", transport.requests[1].headers.authorization)
    assert.equal("Bearer ak_2", transport.requests[2].headers.authorization)
  end)

  it("a machine comes from CLERK_MACHINE_SECRET_KEY when it is not given", function()
    finally(function() posix.setenv("CLERK_MACHINE_SECRET_KEY") end)
    posix.setenv("CLERK_MACHINE_SECRET_KEY", MACHINE_KEY)
    assert.equal(MACHINE_KEY, key_sent("create_token", {}))
    posix.setenv("CLERK_MACHINE_SECRET_KEY", "")
    local err = error_of(key_sent, "create_token", {})
    assert.truthy(err.message:find("CLERK_SECRET_KEY, or machine_secret_key and CLERK_MACHINE", 1,
      true))
  end)
end)

describe("A call without its key", function()
  --- Fails when the transport is used.
  local transport = { send = function() error "sent" end }

  it("names the option and the variable", function()
    local client = client_over(transport, { instance = INSTANCE_KEY })
    local err = error_of(client.create_token, client)
    assert.equal("ArgumentError", err.type)
    assert.equal("create_token", err.operation)
    assert.equal("machine_secret_key is missing: give it to machines.new or set "
      .. "CLERK_MACHINE_SECRET_KEY", err.message)
  end)

  it("is refused on machines when the client has only a machine's key", function()
    local client = client_over(transport, { machine = MACHINE_KEY })
    for _, call in ipairs { { "list" }, { "get", "mch_1" }, { "delete", "mch_1" }, { "collect" },
      { "each" } } do
      local err = error_of(client[call[1]], client, call[2])
      assert.equal("ArgumentError", err.type)
      assert.truthy(err.message:find("secret_key is missing: give it to machines.new or set "
        .. "CLERK_SECRET_KEY", 1, true), err.message)
    end
  end)

  it("returns its error in the safe interface", function()
    local client = safe.new { secret_key = INSTANCE_KEY, transport = transport }
    local result, err = client:create_token()
    assert.is_nil(result)
    assert.equal("ArgumentError", err.type)
  end)
end)

describe("A 401 for a key of another kind", function()
  local refusal = fake.answer(401, '{"errors":[{"message":"No","code":"a"}]}')

  it("says what the option holds, and what it should hold", function()
    local client = client_over(fake.new { refusal }, { machine = INSTANCE_KEY })
    local err = error_of(client.create_token, client)
    assert.equal("No (machine_secret_key is an instance's secret key, not a machine's secret key)",
      err.message)
  end)

  it("says nothing more when the key is of the right kind", function()
    local client = client_over(fake.new { refusal }, { machine = MACHINE_KEY })
    assert.equal("No", error_of(client.create_token, client).message)
  end)
end)

describe("The result of list_tokens", function()
  local function list(body)
    local client = fake.client { fake.answer(200, body) }
    return client:list_tokens { subject = "mch_1" }
  end

  it("has its array as m2m_tokens", function()
    local result = list '{"m2m_tokens":[{"id":"mt_1"}],"total_count":4}'
    assert.same({ m2m_tokens = { { id = "mt_1" } }, total_count = 4 }, result)
    assert.equal("tokens: 1 of 4", tostring(result))
  end)

  it("has it as m2m_tokens too when the server calls it data", function()
    for _, body in ipairs { '{"data":[{"id":"mt_1"}],"total_count":4}',
      '{"m2m_tokens":null,"data":[{"id":"mt_1"}],"total_count":4}' } do
      local result = list(body)
      assert.same({ { id = "mt_1" } }, result.m2m_tokens)
      assert.equal("tokens: 1 of 4", tostring(result))
    end
  end)

  it("is refused without either", function()
    local client = fake.client { fake.answer(200, '{"total_count":0}') }
    local err = error_of(client.list_tokens, client, { subject = "mch_1" })
    assert.equal("unexpected_shape", err.code)
    assert.equal("`m2m_tokens` of the response must be an array", err.message)
  end)
end)

describe("Claims", function()
  local function sent(claims)
    local client, transport = fake.client { fake.ok }
    client:create_token { claims = claims }
    return transport.requests[1].body:match '^{"claims":(.*)}$'
  end

  it("may be any value that JSON has", function()
    assert.equal('{"a":1,"b":[true,false,null,"\\u00e9\\n"],"c":{"d":0.25}}',
      (sent({ a = 1, b = { true, false, null, "é\n" }, c = { d = 0.25 } }):gsub("é", "\\u00e9")))
    assert.equal('["a"]', sent { "a" })
    assert.equal('"a"', sent "a")
    assert.equal("12", sent(12))
    assert.equal("false", sent(false))
    assert.equal("null", sent(null))
  end)

  it("are an object when the table is empty, and arrays inside are arrays", function()
    assert.equal("{}", sent {})
    assert.equal('{"roles":[]}', sent { roles = {} })
  end)

  it("may be those of a result, empty objects too", function()
    local answer = '{"token":"mt_1","claims":{"a":{},"b":[]}}'
    local client = fake.client { fake.answer(201, answer) }
    assert.equal('{"a":{},"b":[]}', sent(client:create_token().claims))
  end)

  it("are sent without looking at metamethods, and the caller's tables do not change", function()
    local function fail() error "a metamethod was used" end
    local traps = { __index = fail, __pairs = fail, __len = fail, __newindex = fail }
    local params = { claims = setmetatable({ a = setmetatable({ 1 }, traps) }, traps) }
    local client, transport = fake.client { fake.ok }
    client:create_token(params)
    assert.equal('{"claims":{"a":[1]}}', transport.requests[1].body)
    assert.equal("table", type(params.claims))
  end)

  it("name the place of what JSON does not have", function()
    local kinds = " must be a string, number, boolean, table or machines.null, got function"
    for place, claims in pairs {
      ["claims.a[2].b" .. kinds] = { a = { 1, { b = print } } },
      ["claims[1] must be a finite number"] = { 0 / 0 },
      ["claims.x must be an array without holes, or have only strings as keys"] = {
        x = { 1, y = 2 },
      },
      ["claims.x must be valid UTF-8"] = { x = "\255" },
      ["claims" .. kinds] = print,
    } do
      local client = fake.client { fake.ok }
      assert.equal(place, error_of(client.create_token, client, { claims = claims }).message)
    end
  end)

  it("are nested at most 100 levels deep", function()
    local function nested(levels)
      return levels == 1 and { 1 } or { nested(levels - 1) }
    end
    assert.equal(("["):rep(100) .. "1" .. ("]"):rep(100), sent(nested(100)))
    local client = fake.client { fake.ok }
    assert.equal("claims is nested more than 100 levels deep",
      error_of(client.create_token, client, { claims = nested(101) }).message)
  end)
end)

describe("Over a socket", function()
  after_each(server.stop_all)

  --- Requests reach a server that loses the first response; the ones that came, and the error.
  local function lose_first(operation, params)
    local web = server.start [[
      shared.count = (shared.count or 0) + 1
      local request = connection:read_request()
      if shared.count > 1 then connection:answer(201, success()) end
    ]]
    local client = machines.new {
      secret_key = INSTANCE_KEY, machine_secret_key = MACHINE_KEY, base_url = web:url "/v1",
      retries = { backoff = { initial_interval = 1 } },
    }
    local ok, err = pcall(client[operation], client, unpack(params))
    client:close()
    return #web:requests(), not ok and err
  end

  for _, operation in ipairs { "list_tokens", "revoke_token", "verify_token" } do
    it(operation .. " is repeated after a lost response", function()
      assert.same({ 2, false }, { lose_first(operation, ARGUMENTS[operation]) })
    end)
  end

  it("create_token is not repeated after a lost response", function()
    for _, params in ipairs { {}, { token_format = "opaque" },
      { token_format = "jwt", min_remaining_ttl_seconds = 60 } } do
      local count, err = lose_first("create_token", { params })
      assert.equal(1, count)
      assert.equal("connection_lost", err.code)
      assert.is_true(err.maybe_applied)
    end
  end)

  it("create_token is repeated when the server reuses tokens", function()
    for _, params in ipairs { { min_remaining_ttl_seconds = 0 },
      { token_format = "opaque", min_remaining_ttl_seconds = 60 } } do
      assert.same({ 2, false }, { lose_first("create_token", { params }) })
    end
  end)

  it("create_token takes a 201", function()
    local web = server.start "connection:answer_all(201, success())"
    local client = machines.new { machine_secret_key = MACHINE_KEY, base_url = web:url "/v1" }
    local token, info = client:create_token()
    assert.equal("mt_1", token.token)
    assert.equal(201, info.status)
    assert.equal("POST /v1/m2m_tokens HTTP/1.1", web:requests()[1].line)
    client:close()
  end)

  it("a verify_token that failed may not have changed anything", function()
    local web = server.start "connection:read_request()"
    local client = machines.new {
      secret_key = INSTANCE_KEY, base_url = web:url "/v1", retries = false,
    }
    local err = error_of(client.verify_token, client, { token = TOKEN })
    assert.equal("connection_lost", err.code)
    assert.is_nil(err.maybe_applied)
    client:close()
  end)
end)

--- Whether the token is in any string within a value, or in its `tostring`.
local function shows_token(value, token)
  if type(value) ~= "table" then
    return tostring(value):find(token or TOKEN, 1, true) ~= nil
  end
  for name, member in pairs(value) do
    if shows_token(name, token) or shows_token(member, token) then return true end
  end
  return tostring(value):find(token or TOKEN, 1, true) ~= nil
end

describe("A token that is verified", function()
  local echo = ('{"errors":[{"message":"no T","long_message":"T?","code":"T","meta":{"T":"T"}}],'
    .. '"meta":["T"],"clerk_trace_id":"T"}'):gsub("T", TOKEN)
  local headers = { ["x-echo"] = TOKEN, ["cf-ray"] = TOKEN, [TOKEN] = "1" }
  local answers = {
    ["an error that repeats it"] = fake.answer(400, echo, headers),
    ["a page that repeats it"] = fake.answer(502, "<p>" .. TOKEN, headers),
    ["a success of another shape"] = fake.answer(200, '{"token":"' .. TOKEN .. '"}', headers),
    ["a success cut in the middle"] = fake.answer(200, '{"token":"' .. TOKEN:sub(1, 12), headers),
    ["a redirect"] = fake.answer(307, TOKEN, { location = "https://a.test/" .. TOKEN }),
    ["a failure that repeats it"] = fake.failure("tls_failed", true, "bad " .. TOKEN),
  }
  for what, answer in pairs(answers) do
    it("is not shown after " .. what, function()
      local events = {}
      local client = fake.client({ answer }, {
        retries = false, on_event = function(event) events[#events + 1] = event end,
      })
      local err = error_of(client.verify_token, client, { token = TOKEN })
      assert.is_false(shows_token(err, TOKEN:sub(1, 12)))
      assert.is_false(shows_token(events))
      assert.is_false(shows_token(tostring(client)))
    end)
  end

  it("is not shown by a result or its headers", function()
    local body = ('{"object":"machine_to_machine_token","id":"mt_9","subject":"mch_1","token":"T",'
      .. '"claims":{"echo":["T"]},"revoked":false,"expired":false}'):gsub("T", TOKEN)
    local client = fake.client { fake.answer(200, body, headers) }
    local token, info = client:verify_token { token = TOKEN }
    assert.is_false(shows_token(token))
    assert.is_false(shows_token(info))
    assert.equal(core.result, getmetatable(token))
    assert.equal("machine_to_machine_token mt_9 (of mch_1)", tostring(token))
  end)
end)

describe("A token that is minted", function()
  it("is in the result, and not in what tostring and the headers show", function()
    local body = '{"object":"machine_to_machine_token","id":"mt_9","subject":"mch_1","token":"'
      .. TOKEN .. '"}'
    local client = fake.client { fake.answer(201, body, { ["x-echo"] = TOKEN }) }
    local token, info = client:create_token()
    assert.equal(TOKEN, token.token)
    assert.equal("machine_to_machine_token mt_9 (of mch_1)", tostring(token))
    assert.is_false(shows_token(info))
  end)
end)
