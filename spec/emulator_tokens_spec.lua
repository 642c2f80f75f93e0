-- The emulator's tokens: with the keys of machines and of the instance, and as JWTs.

local base64url = require "clerk.machines.emulator.base64url"
local core = require "clerk.machines.core"
local digest = require "openssl.digest"
local emulator = require "clerk.machines.emulator"
local error_of = require "support.error_of"
local machines = require "clerk.machines"
local pkey = require "openssl.pkey"
local process = require "support.process"

local null = machines.null
local KEY = "sk_test_emulator"
local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"

describe("The emulator's tokens", function()
  local api, time, instance

  local function client_of(machine)
    return machines.new {
      machine_secret_key = machine.secret_key, transport = api, retries = false,
    }
  end

  local function create(name, more)
    local params = more or {}
    params.name = name
    return instance:create(params)
  end

  --- A request as it is; a key given as false is not sent.
  local function send(method, path, key, body)
    local headers = { authorization = key and "Bearer " .. key or nil }
    headers["content-type"] = body and "application/json" or nil
    local response = assert(api:send {
      method = method, url = "https://api.clerk.com" .. path, headers = headers, body = body,
    })
    return core.decode(response.body, nil, true), response
  end

  local function assert_refused(status, code, client, operation, ...)
    local err = error_of(client[operation], client, ...)
    assert.equal("ClerkErrors", err.type)
    assert.same({ status, code }, { err.status, err.code })
    return err
  end

  local gateway, billing, search

  before_each(function()
    time = 1700000000000
    api = emulator.new { clock = function() return time end }
    instance = machines.new { secret_key = KEY, transport = api, retries = false }
    billing, search = create "billing", create "search"
    gateway = create("gateway", { scoped_machines = { billing.id }, default_token_ttl = 600 })
  end)

  -- ---------------------------------------------------------------- minting

  it("are minted with a 201, by the machine's key alone", function()
    local token, info = client_of(gateway):create_token { claims = { role = "reader" } }
    assert.equal(201, info.status)
    assert.matches("^mt_%x+$", token.id)
    assert.equal(3 + 32, #token.id)
    assert.matches("^mt_%w+$", token.token)
    assert.is_not.equal(token.id, token.token)
    token.id, token.token = nil, nil
    assert.same({
      object = "machine_to_machine_token",
      subject = gateway.id,
      scopes = { billing.id },
      claims = { role = "reader" },
      revoked = false,
      expired = false,
      expiration = time + 600000,
      created_at = time,
      updated_at = time,
    }, token)
    for _, key in ipairs { KEY, "sk_test_other", "ak_other" } do
      local client = machines.new { machine_secret_key = key, transport = api }
      assert_refused(401, "machine_secret_key_invalid", client, "create_token")
    end
  end)

  it("have null where there is nothing", function()
    local _, response = send("POST", "/v1/m2m_tokens", gateway.secret_key, "{}")
    for _, name in ipairs { "claims", "revocation_reason", "last_used_at" } do
      assert.truthy(response.body:find(('"%s":null'):format(name), 1, true), response.body)
    end
  end)

  it("live as long as was asked for, also for parts of a second", function()
    local client = client_of(gateway)
    assert.equal(time + 1500,
      client:create_token({ seconds_until_expiration = 1.5 }).expiration)
    assert.is_nil(client:create_token({ seconds_until_expiration = null }).expiration)
    assert_refused(400, "bad_request", client, "create_token",
      { seconds_until_expiration = 315360001 })
  end)

  it("are not minted with wrong parameters, and what is wrong is said", function()
    for _, body in ipairs { '{"seconds_until_expiration":0}', '{"seconds_until_expiration":"1"}',
      '{"token_format":"paseto"}', '{"min_remaining_ttl_seconds":1.5}',
      '{"min_remaining_ttl_seconds":-1}', '{"scopes":[]}', '{"token_format":null}' } do
      local answer, response = send("POST", "/v1/m2m_tokens", gateway.secret_key, body)
      local name = body:match '"([%w_]+)"'
      assert.equal(400, response.status)
      assert.equal("bad_request", answer.errors[1].code)
      assert.truthy(answer.errors[1].long_message:find(name, 1, true))
      assert.is_nil(answer.errors[1].meta)
    end
  end)

  it("cannot have the claims that are the API's own", function()
    for _, name in ipairs { "iss", "sub", "exp", "nbf", "iat", "jti" } do
      local err = assert_refused(400, "machine_token_reserved_claim", client_of(gateway),
        "create_token", { claims = { [name] = "x" } })
      assert.equal(name, err.errors[1].meta.param_name)
    end
  end)

  it("may have any claims, and keep them as they were", function()
    local client = client_of(gateway)
    for _, claims in ipairs { "text", 1.5, false, { 1, { "a" } }, { a = { b = { null } } } } do
      assert.same(claims, client:create_token({ claims = claims }).claims)
    end
    local _, response = send("POST", "/v1/m2m_tokens", gateway.secret_key,
      '{"claims":{"a":{},"b":[],"c":null}}')
    assert.truthy(response.body:find('"claims":{"a":{},"b":[],"c":null}', 1, true), response.body)
  end)

  it("have the scopes of their minting, whatever the machine may do later", function()
    local client = client_of(gateway)
    local old = client:create_token()
    instance:delete_scope(gateway.id, billing.id)
    instance:create_scope(gateway.id, { to_machine_id = search.id })
    assert.same({ billing.id }, instance:verify_token({ token = old.token }).scopes)
    assert.same({ search.id }, client:create_token().scopes)
  end)

  describe("with min_remaining_ttl_seconds", function()
    local function mint(params)
      params.min_remaining_ttl_seconds = params.min_remaining_ttl_seconds or 60
      return client_of(gateway):create_token(params)
    end

    it("are those that exist, when claims and scopes are the same", function()
      local first = mint { claims = { a = 1, b = { 2 } } }
      local again, info = mint { claims = { b = { 2 }, a = 1 } }
      assert.same(first, again)
      assert.equal(201, info.status)
      assert.equal(1, instance:list_tokens({ subject = gateway.id }).total_count)
    end)

    it("are new when claims, scopes or machine differ", function()
      local first = mint { claims = { a = 1 } }
      assert.is_not.equal(first.id, mint({ claims = { a = 2 } }).id)
      assert.is_not.equal(first.id, mint({}).id)
      instance:create_scope(gateway.id, { to_machine_id = search.id })
      assert.is_not.equal(first.id, mint({ claims = { a = 1 } }).id)
      local other = client_of(billing):create_token { min_remaining_ttl_seconds = 1 }
      assert.is_not.equal(mint({}).id, other.id)
    end)

    it("are new when the old one is revoked, or does not live long enough", function()
      local first = mint {}
      time = time + 540000
      assert.equal(first.id, mint({}).id)
      time = time + 1
      local second = mint {}
      assert.is_not.equal(first.id, second.id)
      instance:revoke_token(second.id)
      assert.is_not.equal(second.id, mint({}).id)
    end)

    it("must be asked to live longer than that", function()
      for _, params in ipairs { { min_remaining_ttl_seconds = 600 },
        { seconds_until_expiration = 60 }, { seconds_until_expiration = 60.5,
          min_remaining_ttl_seconds = 61, token_format = "jwt" } } do
        assert.equal("bad_request", error_of(mint, params).code)
      end
      assert.is_table(mint { seconds_until_expiration = 60.5 })
    end)
  end)

  -- ---------------------------------------------------------------- verifying

  it("are verified by the machines that they are granted to", function()
    local token = client_of(gateway):create_token()
    time = time + 5
    local seen = client_of(billing):verify_token { token = token.token }
    assert.equal(gateway.id, seen.subject)
    assert.equal(token.id, seen.id)
    assert.equal(time, seen.last_used_at)
    assert.is_nil(seen.token)
    local unknown = assert_refused(404, "resource_not_found", client_of(billing), "verify_token",
      { token = "mt_unknown" })
    for _, machine in ipairs { search, gateway } do
      local err = assert_refused(404, "resource_not_found", client_of(machine), "verify_token",
        { token = token.token })
      assert.same(unknown.errors, err.errors)
    end
  end)

  it("are verified by the instance whoever they are granted to", function()
    local token = client_of(search):create_token()
    assert.equal(search.id, instance:verify_token({ token = token.token }).subject)
  end)

  it("are said to be expired or revoked", function()
    local token = client_of(gateway):create_token()
    time = time + 599999
    assert.is_false(instance:verify_token({ token = token.token }).expired)
    time = time + 1
    assert.is_true(instance:verify_token({ token = token.token }).expired)
    instance:revoke_token(token.id)
    assert.is_true(instance:verify_token({ token = token.token }).revoked)
  end)

  it("are not their IDs", function()
    local token = client_of(gateway):create_token()
    assert_refused(404, "resource_not_found", instance, "verify_token", { token = token.id })
  end)

  -- ---------------------------------------------------------------- listing

  it("are listed newest first, page by page", function()
    local client, ids = client_of(gateway), {}
    for i = 1, 12 do
      time = time + 1
      ids[13 - i] = client:create_token().id
    end
    client_of(billing):create_token()
    local function list(params)
      params.subject = gateway.id
      local result = client:list_tokens(params)
      local found = {}
      for i, token in ipairs(result.m2m_tokens) do found[i] = token.id end
      return found, result.total_count
    end
    assert.same({ { (table.unpack or unpack)(ids, 1, 10) }, 12 }, { list {} })
    assert.same({ { ids[12] }, 12 }, { list { offset = 11, limit = 100 } })
    assert.same({ {}, 12 }, { list { offset = 12 } })
    assert.same({ { ids[1], ids[2] }, 12 }, { list { limit = 2, offset = null } })
  end)

  it("are listed without revoked and expired ones, unless asked for", function()
    local client = client_of(gateway)
    local short = client:create_token { seconds_until_expiration = 1 }
    local revoked, long = client:create_token(), client:create_token()
    client:revoke_token(revoked.id)
    time = time + 1000
    local function ids(params)
      params.subject = gateway.id
      local found = {}
      for _, token in ipairs(client:list_tokens(params).m2m_tokens) do found[token.id] = true end
      return found
    end
    assert.same({ [long.id] = true }, ids {})
    assert.same({ [long.id] = true }, ids { revoked = false, expired = null })
    assert.same({ [long.id] = true, [revoked.id] = true }, ids { revoked = true })
    assert.same({ [long.id] = true, [short.id] = true }, ids { expired = true })
    assert.same({ [long.id] = true, [short.id] = true, [revoked.id] = true },
      ids { expired = true, revoked = true })
  end)

  it("are listed by their own machine and by the instance", function()
    client_of(gateway):create_token()
    local params = { subject = gateway.id }
    assert.equal(1, instance:list_tokens(params).total_count)
    assert.equal(1, client_of(gateway):list_tokens(params).total_count)
    assert_refused(403, "authorization_invalid", client_of(billing), "list_tokens", params)
    assert_refused(404, "machine_not_found", instance, "list_tokens",
      { subject = "mch_" .. ("x"):rep(27) })
    assert_refused(400, "bad_request", instance, "list_tokens", { subject = "mch_1" })
    for _, query in ipairs { "", "?subject=" .. gateway.id .. "&revoked=yes",
      "?subject=" .. gateway.id .. "&limit=101", "?subject=" .. gateway.id .. "&limit=0" } do
      local answer, response = send("GET", "/v1/m2m_tokens" .. query, KEY)
      assert.equal(400, response.status, query)
      assert.equal("bad_request", answer.errors[1].code)
    end
  end)

  -- ---------------------------------------------------------------- revoking

  it("are revoked by their own machine and by the instance", function()
    local client = client_of(gateway)
    local first, second = client:create_token(), client:create_token()
    time = time + 7
    local revoked = client:revoke_token(first.id, { revocation_reason = "lost" })
    assert.is_true(revoked.revoked)
    assert.equal("lost", revoked.revocation_reason)
    assert.equal(time, revoked.updated_at)
    assert_refused(404, "resource_not_found", client_of(billing), "revoke_token", second.id)
    assert.is_nil(instance:revoke_token(second.id, { revocation_reason = null }).revocation_reason)
    time = time + 7
    assert.same(revoked, client:revoke_token(first.id, { revocation_reason = "again" }))
    assert_refused(404, "resource_not_found", client, "revoke_token", "mt_" .. ("0"):rep(32))
    assert_refused(400, "bad_request", client, "revoke_token", "mt_1")
  end)

  it("can be used no longer when their machine is deleted", function()
    local token = client_of(gateway):create_token()
    instance:delete(gateway.id)
    assert_refused(404, "resource_not_found", instance, "verify_token", { token = token.token })
    assert_refused(404, "resource_not_found", instance, "revoke_token", token.id)
    assert_refused(401, "machine_secret_key_invalid", client_of(gateway), "create_token")
    assert_refused(401, "clerk_key_invalid", client_of(gateway), "verify_token",
      { token = token.token })
  end)

  -- ---------------------------------------------------------------- keys

  it("may be asked for with a rotated key until its time is over", function()
    local client = client_of(gateway)
    local rotated = instance:rotate_secret_key(gateway.id, { previous_token_ttl = 60 })
    client:create_token()
    time = time + 60000
    assert_refused(401, "machine_secret_key_invalid", client, "create_token")
    client_of({ secret_key = rotated.secret }):create_token()
  end)

  it("need a key of some kind, and machines the instance's", function()
    local answer, response = send("GET", "/v1/m2m_tokens?subject=" .. gateway.id)
    assert.same({ 401, "unauthorized" }, { response.status, answer.errors[1].code })
    answer, response = send("GET", "/v1/machines", gateway.secret_key)
    assert.same({ 401, "clerk_key_invalid" }, { response.status, answer.errors[1].code })
  end)

  it("come with the network's trace, not the API's", function()
    for _, key in ipairs { KEY, "sk_test_other" } do
      local answer, response = send("GET", "/v1/m2m_tokens?subject=" .. gateway.id, key)
      assert.matches("^%x+$", response.headers["cf-ray"])
      assert.is_nil(response.headers["clerk-trace-id"])
      assert.is_nil(answer.clerk_trace_id)
    end
  end)

  it("are served without /v1 too", function()
    local token, response = send("POST", "/m2m_tokens", gateway.secret_key, "{}")
    assert.equal(201, response.status)
    local body = '{"token":"' .. token.token .. '"}'
    assert.equal(token.id, send("POST", "/m2m_tokens/verify", KEY, body).id)
    assert.is_true(send("POST", "/m2m_tokens/" .. token.id .. "/revoke", KEY, "{}").revoked)
    assert.equal(0, send("GET", "/m2m_tokens?subject=" .. gateway.id, KEY).total_count)
  end)

  it("can be struck by faults", function()
    api:fault { operation = "verify_token", status = 503, times = 2 }
    local patient = machines.new { secret_key = KEY, transport = api }
    local token = client_of(gateway):create_token()
    local _, info = patient:verify_token { token = token.token }
    assert.equal(3, info.attempts)
  end)

  -- ---------------------------------------------------------------- JWTs

  local function keys(path, key)
    return send("GET", path or "/v1/jwks", key == nil and KEY or key).keys
  end

  local function parts(jwt)
    local signed, header, payload, signature = jwt:match "^(([^.]+)%.([^.]+))%.([^.]+)$"
    return core.decode(core.base64url(header)), core.decode(core.base64url(payload)), signed,
      core.base64url(signature)
  end

  --- The DER of an RSA public key (RFC 8017, A.1.1; RFC 5280, 4.1) with these numbers.
  local function public_key(jwk)
    local function wrap(tag, bytes)
      return string.char(tag, 0x82, math.floor(#bytes / 256), #bytes % 256) .. bytes
    end
    local function number(text)
      return wrap(2, "\0" .. core.base64url(text))
    end
    local rsa = wrap(0x30, number(jwk.n) .. number(jwk.e))
    local algorithm = "\48\13\6\9\42\134\72\134\247\13\1\1\1\5\0"
    local der = wrap(0x30, algorithm .. wrap(3, "\0" .. rsa))
    return pkey.new(der, "DER")
  end

  local function is_signed(jwt, jwk)
    local _, _, signed, signature = parts(jwt)
    return public_key(jwk):verify(signature, digest.new "sha256":update(signed))
  end

  it("are JWTs when asked for, signed by the key of the instance", function()
    local token = client_of(gateway):create_token {
      token_format = "jwt", claims = { role = "reader", aud = { "a" } },
    }
    local header, payload = parts(token.token)
    assert.same({ alg = "RS256", cat = "cl_B7d4PD333AAA", kid = gateway.instance_id, typ = "JWT" },
      header)
    assert.same({
      iss = payload.iss, sub = gateway.id, jti = token.id, role = "reader", aud = { "a" },
      iat = time / 1000, nbf = time / 1000, exp = time / 1000 + 600,
    }, payload)
    local jwk = keys()[1]
    assert.same({ "RSA", "sig", "RS256", "AQAB", gateway.instance_id },
      { jwk.kty, jwk.use, jwk.alg, jwk.e, jwk.kid })
    assert.is_true(is_signed(token.token, jwk))
    assert.equal(time + 600000, token.expiration)
    assert.same({ role = "reader", aud = { "a" } }, token.claims)
  end)

  it("are JWTs that are not kept: neither listed, nor revoked, nor reused", function()
    local client = client_of(gateway)
    local params = { token_format = "jwt", min_remaining_ttl_seconds = 1 }
    local token = client:create_token(params)
    assert.equal(0, client:list_tokens({ subject = gateway.id }).total_count)
    assert_refused(404, "resource_not_found", client, "revoke_token", token.id)
    assert.is_not.equal(token.token, client:create_token(params).token)
  end)

  it("are JWTs that the API verifies, by the current scopes of their machine", function()
    local token = client_of(gateway):create_token { token_format = "jwt", claims = { a = 1 } }
    local seen = client_of(billing):verify_token { token = token.token }
    assert.same({ token.id, gateway.id, { a = 1 }, false },
      { seen.id, seen.subject, seen.claims, seen.expired })
    assert_refused(404, "resource_not_found", client_of(search), "verify_token",
      { token = token.token })
    time = time + 600000
    assert.is_true(instance:verify_token({ token = token.token }).expired)
    for _, changed in ipairs { token.token .. "A", token.token:gsub("%.", ".e", 1), "a.b.c", "..",
      token.token:match "^(.*)%." .. ".", "a.b", "é.b.c" } do
      assert_refused(404, "resource_not_found", instance, "verify_token", { token = changed })
    end
  end)

  it("are JWTs with claims that are an object or null", function()
    local client = client_of(gateway)
    assert.is_nil(client:create_token({ token_format = "jwt", claims = null }).claims)
    for _, claims in ipairs { "text", 5, { "a" } } do
      assert_refused(400, "bad_request", client, "create_token",
        { token_format = "jwt", claims = claims })
    end
    local endless = client:create_token {
      token_format = "jwt", seconds_until_expiration = null,
    }
    assert.equal(time + 600000, endless.expiration)
  end)

  it("have keys that anyone may read, and the same with the instance's key", function()
    local public = keys("/.well-known/jwks.json", false)
    assert.same(keys(), public)
    assert.equal(1, #public)
    assert.equal(401, select(2, send("GET", "/v1/jwks", false)).status)
    local answer, response = send("GET", "/v1/jwks", gateway.secret_key)
    assert.same({ 401, "clerk_key_invalid" }, { response.status, answer.errors[1].code })
  end)

  it("have another key of the same name after a rotation", function()
    local token = client_of(gateway):create_token { token_format = "jwt" }
    local old = keys()[1]
    api:rotate_signing_key()
    local new = keys()[1]
    assert.equal(old.kid, new.kid)
    assert.is_not.equal(old.n, new.n)
    assert.is_false(is_signed(token.token, new))
    assert_refused(404, "resource_not_found", instance, "verify_token", { token = token.token })
  end)

  it("need luaossl only for JWTs, and say what to install", function()
    local program = [[
      for _, name in ipairs { "pkey", "digest" } do
        package.preload["openssl." .. name] = function() error "not found" end
      end
      local machines = require "clerk.machines"
      local api = require "clerk.machines.emulator".new()
      local instance = machines.new { secret_key = "sk_test_emulator", transport = api }
      local key = instance:create({ name = "a" }).secret_key
      local client = machines.new { machine_secret_key = key, transport = api }
      assert(client:create_token().token)
      print(pcall(client.create_token, client, { token_format = "jwt" }))
    ]]
    local status, output, errors = process.run(("env LUA_CPATH='build/%s/?.so;;' %s -e %s")
      :format(LUA, LUA, process.quote(program)))
    assert.same({ 0, "" }, { status, errors })
    assert.equal("false\tthe emulator signs JWTs by luaossl, which is not installed "
      .. "(Debian: lua-luaossl)\n", output)
  end)
end)

describe("Base64url", function()
  it("is what RFC 4648 says, without padding", function()
    local pairs_of = {
      [""] = "", f = "Zg", fo = "Zm8", foo = "Zm9v", foob = "Zm9vYg", fooba = "Zm9vYmE",
      foobar = "Zm9vYmFy", ["\251\255\254"] = "-__-", ["\0\0"] = "AAA",
    }
    for bytes, text in pairs(pairs_of) do
      assert.equal(text, base64url.encode(bytes))
    end
  end)
end)
