-- A verifier: which tokens it accepts, what it refuses, and when it cannot tell.

local emulator = require "clerk.machines.emulator"
local errors_of = require "support.error_of"
local machines = require "clerk.machines"
local token_api = require "support.token_api"
local tokens = require "clerk.machines.tokens"

local ABSENT = token_api.absent
local ME, CALLER = token_api.me, token_api.caller
local OPAQUE = "mt_0f1e2d3c4b5a69788796a5b4c3d2e1f0"

local api

before_each(function() api = token_api.new() end)

local function error_of(verifier, ...)
  return errors_of(verifier.verify, verifier, ...)
end

local function assert_refused(code, verifier, ...)
  local problem = error_of(verifier, ...)
  assert.same({ "TokenError", code }, { problem.type, problem.code })
  return problem
end

describe("A verifier accepts", function()
  it("an opaque token that the API knows, and returns what the API says about it", function()
    api.tokens[OPAQUE] = api:token { claims = { role = "worker" }, extra = "kept" }
    local token = api:verifier():verify(OPAQUE)
    assert.same(api:token { claims = { role = "worker" }, extra = "kept" }, token)
    assert.equal("machine_to_machine_token mt_0123456789abcdef0123456789abcdef (of mch_caller)",
      tostring(token))
  end)

  it("a JWT that the instance has signed, and returns the same kind of table", function()
    local token = api:verifier():verify(api:jwt { role = "worker", scopes = ME .. " mch_2" })
    assert.same({
      object = "machine_to_machine_token",
      id = "mt_1",
      subject = CALLER,
      scopes = { ME, "mch_2" },
      claims = { role = "worker", scopes = ME .. " mch_2" },
      revoked = false,
      expired = false,
      expiration = api.time + 300000,
      created_at = api.time,
      updated_at = api.time,
    }, token)
    assert.equal("machine_to_machine_token mt_1 (of mch_caller)", tostring(token))
  end)

  it("an opaque token that never expires", function()
    api.tokens[OPAQUE] = api:token { expiration = machines.null }
    assert.is_nil(api:verifier():verify(OPAQUE).expiration)
  end)

  it("a JWT by a PEM, without a client and without asking anything", function()
    local verifier = tokens.verifier {
      machine_id = ME, callers = { CALLER }, jwt_key = token_api.signer().pem, now = api.clock,
    }
    assert.equal(CALLER, verifier:verify(api:jwt()).subject)
    assert.equal(CALLER, verifier:verify(api:jwt({}, { kid = ABSENT })).subject)
  end)

  it("tokens within the clock skew, before and after", function()
    local verifier = api:verifier { cache_ms = 0 }
    local early = api:jwt { nbf = api.time / 1000 + 5, iat = api.time / 1000 + 5 }
    local late = api:jwt { exp = api.time / 1000 - 4 }
    api.tokens[OPAQUE] = api:token { expiration = api.time - 4999 }
    for _, text in ipairs { early, late, OPAQUE } do
      assert.equal(CALLER, verifier:verify(text).subject)
    end
    assert_refused("token_expired", api:verifier { clock_skew_ms = 3000 }, late)
    assert_refused("token_not_active", api:verifier { clock_skew_ms = 3000 }, early)
  end)

  it("tokens that a machine's key asks about, if the client has one", function()
    api.tokens[OPAQUE] = api:token()
    for key, client in pairs {
      ak_machine_key = api:client(),
      sk_test_instance_key = api:client { machine_secret_key = ABSENT },
    } do
      api:verifier({ client = client }):verify(OPAQUE)
      assert.equal("Bearer " .. key, api.requests[#api.requests].headers.authorization)
    end
  end)
end)

describe("A verifier refuses", function()
  local other

  setup(function() other = token_api.signer "another instance" end)

  --- Claims and header of JWTs, by the code that they are refused with.
  local JWTS = {
    { "token_type_refused", "of a user's session", { sub = "user_1" } },
    { "token_type_refused", "of an odd subject", { sub = "mch_1 mch_2" } },
    { "token_type_refused", "of another category", {}, { cat = "cl_B7d4PD111AAA" } },
    { "token_type_refused", "of OAuth", {}, { typ = "at+jwt" } },
    { "token_type_refused", "with a key in its header", {}, { jwk = { kty = "RSA" } } },
    { "token_type_refused", "with a URL of keys in its header", {}, { jku = "https://evil" } },
    { "token_type_refused", "with critical extensions", {}, { crit = { "b64" } } },
    { "token_algorithm_refused", "of no algorithm", {}, { alg = "none" } },
    { "token_algorithm_refused", "of HMAC", {}, { alg = "HS256" } },
    { "token_algorithm_refused", "of another RSA algorithm", {}, { alg = "RS512" } },
    { "token_key_unknown", "of a key that nobody knows", {}, { kid = "ins_2" } },
    { "token_key_unknown", "without a key ID", {}, { kid = ABSENT } },
    { "token_malformed", "without an expiration", { exp = ABSENT } },
    { "token_malformed", "without a subject", { sub = ABSENT } },
    { "token_malformed", "with a number as its key ID", {}, { kid = 1 } },
    { "token_expired", "that has expired", { exp = 1800000000 - 6 } },
    { "token_not_active", "that is not valid yet", { nbf = 1800000000 + 6 } },
    { "token_not_active", "of the future", { iat = 1800000000 + 6 } },
    { "token_not_granted", "of a machine that is not let in", { sub = "mch_stranger" } },
  }
  for _, case in ipairs(JWTS) do
    local code, what, claims, header = case[1], case[2], case[3], case[4]
    it("a JWT " .. what .. ": " .. code, function()
      local problem = assert_refused(code, api:verifier(), api:jwt(claims, header))
      assert.equal("string", type(problem.message))
    end)
  end

  it("a JWT that another key has signed: token_signature_invalid", function()
    assert_refused("token_signature_invalid", api:verifier(), api:jwt({}, {}, other))
  end)

  it("a JWT whose claims were changed: token_signature_invalid", function()
    local head, _, signature = api:jwt():match "^(.-)%.(.-)%.(.*)$"
    local _, body = api:jwt({ scopes = "mch_everything" }):match "^(.-)%.(.-)%."
    assert_refused("token_signature_invalid", api:verifier(),
      ("%s.%s.%s"):format(head, body, signature))
  end)

  it("a JWT by its signature first, whatever it claims", function()
    for _, claims in ipairs { { exp = 1 }, { sub = "user_1" }, { nbf = 4000000000 } } do
      assert_refused("token_signature_invalid", api:verifier(), api:jwt(claims, {}, other))
    end
  end)

  --- What the API says about an opaque token, by the code that it is refused with.
  local OPAQUES = {
    { "token_unknown", "that the API does not know", 404 },
    { "token_malformed", "that the API cannot read", 400 },
    { "token_revoked", "that was revoked", { revoked = true } },
    { "token_expired", "that the API calls expired", { expired = true } },
    { "token_expired", "that has expired by our clock", { expiration = 1800000000000 - 6000 } },
    { "token_not_granted", "that does not name this machine", { scopes = { "mch_2" } } },
    { "token_not_granted", "without scopes", { scopes = ABSENT } },
    { "token_not_granted", "of a machine that is not let in", { subject = "mch_stranger" } },
  }
  for _, case in ipairs(OPAQUES) do
    local code, what, said = case[1], case[2], case[3]
    it("an opaque token " .. what .. ": " .. code, function()
      api.tokens[OPAQUE] = type(said) == "table" and api:token(said) or said
      local problem = assert_refused(code, api:verifier(), OPAQUE)
      assert.equal(type(said) == "number" and said or nil, problem.status)
    end)
  end

  local MALFORMED = {
    "", " ", "mt_", "mt_a b", "mt_a\n", "mt_\0", "mt_ä", "mt_" .. ("a"):rep(600), "m2m_abc", "abc",
    "a.b", "a.b.c", "a.b.c.d", "..", "Bearer mt_a", ("a"):rep(100000), "\255\254\0",
    "eyJhbGciOiJSUzI1NiJ9.e30.", "eyJhbGciOiJSUzI1NiJ9=.e30.AAAA",
  }
  it("anything that is not a token: token_malformed, without asking", function()
    local verifier = api:verifier()
    for _, text in ipairs(MALFORMED) do assert_refused("token_malformed", verifier, text) end
    for _, value in ipairs { 1, true, {}, print } do
      assert_refused("token_malformed", verifier, value)
    end
    assert_refused("token_malformed", verifier)
    assert.same({}, api.requests)
  end)

  it("JWTs if it accepts only opaque tokens, and the reverse: token_type_refused", function()
    local opaque_only = api:verifier { jwt = false, callers = ABSENT }
    api.tokens[OPAQUE] = api:token { subject = "mch_anyone" }
    assert.equal("mch_anyone", opaque_only:verify(OPAQUE).subject)
    assert_refused("token_type_refused", opaque_only, api:jwt())
    local jwt_only = tokens.verifier {
      machine_id = ME, callers = { CALLER }, jwt_key = token_api.signer().pem, now = api.clock,
    }
    assert_refused("token_type_refused", jwt_only, OPAQUE)
  end)

  it("thousands of mutated tokens, without a single acceptance or Lua error", function()
    local verifier, good = api:verifier(), api:jwt()
    math.randomseed(7)
    for _ = 1, 2000 do
      local at = math.random(#good)
      local byte = string.char(math.random(0, 255))
      local mutated = good:sub(1, at - 1) .. byte .. good:sub(at + math.random(0, 1))
      if mutated ~= good then
        assert.equal("TokenError", error_of(verifier, mutated).type)
      end
    end
  end)
end)

describe("A verifier cannot tell, and raises another error than a TokenError, when", function()
  --- What the API answers, and the error.
  local ANSWERS = {
    { "it refuses our own key", 401, "ClerkErrors" },
    { "it forbids the question", 403, "ClerkErrors" },
    { "it asks to wait", 429, "ClerkErrors" },
    { "it fails", 500, "ClerkErrors" },
    { "it is not there", 503, "ClerkErrors" },
    { "it does not answer", "timeout", "TransportError" },
    { "nothing connects", "connect_failed", "TransportError" },
    { "the connection breaks", "connection_lost", "TransportError" },
    { "TLS fails", "tls_failed", "TransportError" },
  }
  for _, case in ipairs(ANSWERS) do
    local what, reply, kind = case[1], case[2], case[3]
    it("the API is asked about an opaque token and " .. what, function()
      api.tokens[OPAQUE] = reply
      assert.equal(kind, error_of(api:verifier(), OPAQUE).type)
    end)

    it("the API is asked about a machine and " .. what, function()
      api.machines[CALLER] = reply
      local verifier = api:verifier { scope_check = "machine" }
      assert.equal(kind, error_of(verifier, api:jwt()).type)
    end)

    it("the JWKS is asked for and " .. what, function()
      api.key_set = reply
      local problem = error_of(api:verifier(), api:jwt())
      assert.equal(kind == "ClerkErrors" and "SDKError" or kind, problem.type)
      assert.matches("the JWKS at ", problem.message, 1, true)
    end)
  end

  --- Answers of 200 that do not say all that must be known.
  local ODD = {
    ["another object"] = { object = "machine" },
    ["no object"] = { object = ABSENT },
    ["no ID"] = { id = ABSENT },
    ["no subject"] = { subject = ABSENT },
    ["a user as its subject"] = { subject = "user_1" },
    ["an odd subject"] = { subject = "mch_1\nX: y" },
    ["nothing about its revocation"] = { revoked = ABSENT },
    ["a text about its revocation"] = { revoked = "false" },
    ["a number about its revocation"] = { revoked = 0 },
    ["nothing about its expiry"] = { expired = ABSENT },
    ["a text as its expiration"] = { expiration = "tomorrow" },
    ["an absurd expiration"] = { expiration = 1e300 },
    ["a negative expiration"] = { expiration = -1 },
    ["a text as its scopes"] = { scopes = ME },
    ["an object as its scopes"] = { scopes = { [ME] = true } },
  }
  for what, changes in pairs(ODD) do
    it("the API's answer has " .. what, function()
      api.tokens[OPAQUE] = api:token(changes)
      local problem = error_of(api:verifier(), OPAQUE)
      assert.same({ "SDKError", "unexpected_shape" }, { problem.type, problem.code })
    end)
  end

  it("a proxy answers in the API's place, with 404 too", function()
    for _, status in ipairs { 200, 302, 400, 404, 502 } do
      function api.send()
        return { status = status, headers = {}, body = "<html>Not here</html>" }
      end
      assert.equal("SDKError", error_of(api:verifier(), OPAQUE).type)
    end
  end)

  it("the answer is a success of another kind than 200", function()
    api.tokens[OPAQUE], api.machines[CALLER] = api:token(), { ME }
    for path, text in pairs { ["/verify$"] = OPAQUE, ["/machines/"] = api:jwt() } do
      for _, status in ipairs { 201, 202, 203, 206 } do
        function api:send(request)
          local response = token_api.send(self, request)
          response.status = request.url:find(path) and status or response.status
          return response
        end
        local problem = error_of(api:verifier { scope_check = "machine" }, text)
        assert.same({ "SDKError", "unexpected_status" }, { problem.type, problem.code })
        assert.equal(status, problem.status)
      end
    end
  end)

  it("a machine comes without its scopes", function()
    function api.send()
      return { status = 200, headers = {}, body = '{"id":"mch_caller"}' }
    end
    local verifier = api:verifier { scope_check = "machine", jwt_key = token_api.signer().pem }
    local problem = error_of(verifier, api:jwt())
    assert.same({ "SDKError", "unexpected_shape" }, { problem.type, problem.code })
  end)

  it("a function of the client's returns no key, or one that would break a header", function()
    for _, key in ipairs { false, 7, "sk_test_1\r\nX: y" } do
      local client = api:client { secret_key = function() return key end }
      local problem = error_of(api:verifier { client = client }, api:jwt())
      assert.equal("ArgumentError", problem.type)
      assert.matches("secret_key", problem.message, 1, true)
    end
    assert.same({}, api.requests)
  end)

  it("the client is closed", function()
    local client = api:client()
    local verifier = api:verifier { client = client }
    client:close()
    assert.not_equal("TokenError", error_of(verifier, OPAQUE).type)
  end)

  it("the client is closed that would have asked for the keys", function()
    local client = machines.new { secret_key = "sk_test_1", base_url = token_api.base_url }
    local verifier = tokens.verifier { client = client, machine_id = ME, callers = { CALLER } }
    client:close()
    local problem = error_of(verifier, api:jwt())
    assert.same({ "TransportError", "cancelled" }, { problem.type, problem.code })
  end)
end)

describe("Who is let in:", function()
  before_each(function()
    api.tokens[OPAQUE] = api:token()
  end)

  it("`callers` are checked for both kinds of token", function()
    local verifier = api:verifier { callers = { "mch_a", "mch_b" } }
    assert_refused("token_not_granted", verifier, OPAQUE)
    assert_refused("token_not_granted", verifier, api:jwt())
    assert.equal("mch_b", verifier:verify(api:jwt { sub = "mch_b" }).subject)
  end)

  it("callers of one call narrow the verifier's, and never widen them", function()
    local verifier = api:verifier { callers = { "mch_a", "mch_b" } }
    local a, c = api:jwt { sub = "mch_a" }, api:jwt { sub = "mch_c" }
    assert.equal("mch_a", verifier:verify(a, { callers = { "mch_a" } }).subject)
    assert_refused("token_not_granted", verifier, a, { callers = { "mch_b" } })
    assert_refused("token_not_granted", verifier, c, { callers = { "mch_c" } })
    assert.equal("mch_a", verifier:verify(a).subject)
  end)

  it("changing the array later changes nothing", function()
    local callers = { CALLER }
    local verifier = api:verifier { callers = callers }
    callers[1] = "mch_other"
    assert.equal(CALLER, verifier:verify(OPAQUE).subject)
  end)

  it('"machine" asks the API whom the caller may call, for both kinds of token', function()
    local verifier = api:verifier { scope_check = "machine", callers = ABSENT }
    api.machines[CALLER] = { "mch_x", ME }
    assert.equal(CALLER, verifier:verify(OPAQUE).subject)
    assert.equal(CALLER, verifier:verify(api:jwt()).subject)
    assert.equal("Bearer sk_test_instance_key",
      api.requests[#api.requests].headers.authorization)
  end)

  it('"machine" refuses when this machine is not among the current scopes', function()
    for _, scoped in ipairs { {}, { "mch_x" }, 404 } do
      api.machines[CALLER] = scoped
      local verifier = api:verifier { scope_check = "machine" }
      assert_refused("token_not_granted", verifier, OPAQUE)
      assert_refused("token_not_granted", verifier, api:jwt { scopes = ME, aud = ME })
    end
  end)

  it('"machine" wants this machine among the scopes of an opaque token too', function()
    local verifier = api:verifier { scope_check = "machine" }
    api.machines[CALLER] = { ME }
    api.tokens[OPAQUE] = api:token { scopes = { "mch_other" } }
    assert_refused("token_not_granted", verifier, OPAQUE)
  end)

  it("what is known of a machine is not taken for a token", function()
    local verifier = api:verifier { scope_check = "machine" }
    api.machines[CALLER] = { ME }
    verifier:verify(api:jwt())
    assert_refused("token_malformed", verifier, CALLER)
  end)

  it('"machine" does not look at what a JWT claims', function()
    api.machines[CALLER] = { ME }
    local verifier = api:verifier { scope_check = "machine", callers = ABSENT }
    assert.equal(CALLER, verifier:verify(api:jwt { scopes = "mch_other" }).subject)
  end)

  it('"claims" reads the scopes of a JWT, and `aud` only if there are none', function()
    local verifier = api:verifier { scope_check = "claims", callers = ABSENT }
    local granted = { { scopes = "mch_x " .. ME }, { scopes = { ME } }, { aud = ME },
      { aud = { "mch_x", ME } } }
    for _, claims in ipairs(granted) do
      assert.equal(CALLER, verifier:verify(api:jwt(claims)).subject)
    end
    local not_granted = { {}, { scopes = "mch_x" }, { scopes = "mch_x", aud = ME },
      { scopes = "", aud = ME }, { scopes = ME .. "x" }, { aud = "x" .. ME }, { scopes = 7 },
      { scopes = { [ME] = true } }, { aud = "mch_x " .. ME } }
    for _, claims in ipairs(not_granted) do
      assert_refused("token_not_granted", verifier, api:jwt(claims))
    end
  end)

  it('"none" lets in every machine of the instance, and needs no machine_id', function()
    local verifier = api:verifier { scope_check = "none", callers = ABSENT, machine_id = ABSENT }
    api.tokens[OPAQUE] = api:token { scopes = {}, subject = "mch_anyone" }
    assert.equal("mch_anyone", verifier:verify(OPAQUE).subject)
    assert.equal("mch_anyone", verifier:verify(api:jwt { sub = "mch_anyone" }).subject)
  end)

  it("both checks must pass where both are given", function()
    api.machines = { [CALLER] = { ME }, mch_other = { ME } }
    local verifier = api:verifier { scope_check = "machine", callers = { CALLER, "mch_third" } }
    assert.equal(CALLER, verifier:verify(api:jwt()).subject)
    assert_refused("token_not_granted", verifier, api:jwt { sub = "mch_other" })
    assert_refused("token_not_granted", verifier, api:jwt { sub = "mch_third" })
  end)

  it("the API is not asked about a machine whose token is refused anyway", function()
    local verifier = api:verifier { scope_check = "machine" }
    assert_refused("token_not_granted", verifier, api:jwt { sub = "mch_stranger" })
    assert_refused("token_expired", verifier, api:jwt { exp = 1 })
    assert.equal(0, api.asked.get)
  end)
end)

describe("Making a verifier", function()
  local function problem_of(changes)
    local problem = errors_of(api.verifier, api, changes)
    assert.equal("ArgumentError", problem.type)
    return problem.message
  end

  local function pk(kind, text)
    local encoded = require("support.signer").encode(text):gsub("-", "+"):gsub("_", "/")
    return "pk_" .. kind .. "_" .. encoded
  end

  it("fails without a choice of who is let in, and explains the choice", function()
    local message = problem_of { callers = ABSENT }
    for _, word in ipairs { "callers", '"machine"', '"claims"', "weak", '"none"', "jwt = false" } do
      assert.matches(word, message, 1, true)
    end
    assert.truthy(api:verifier { callers = ABSENT, jwt = false })
  end)

  it("fails when machine_id is missing or malformed", function()
    assert.matches("machine_id is missing", problem_of { machine_id = ABSENT }, 1, true)
    assert.matches("environment variable", problem_of { machine_id = ABSENT }, 1, true)
    local long = "mch_" .. ("a"):rep(65)
    for _, id in ipairs { "", "mch_", "user_1", "mch_a b", "mch_a\n", 7, long } do
      assert.matches("machine_id must be", problem_of { machine_id = id }, 1, true)
      assert.matches("machine_id must be", problem_of { machine_id = id, scope_check = "none" }, 1,
        true)
    end
  end)

  it("fails when a caller is malformed, missing, or there is none", function()
    for _, callers in ipairs { {}, { "" }, { "user_1" }, { CALLER, 7 }, { nil, CALLER },
      { a = CALLER }, CALLER } do
      assert.matches("callers", problem_of { callers = callers }, 1, true)
    end
    local verifier = api:verifier()
    local mistakes = { { callers = {} }, { callers = "mch_1" }, { caller = CALLER }, 7 }
    for _, narrowing in ipairs(mistakes) do
      assert.equal("ArgumentError", error_of(verifier, OPAQUE, narrowing).type)
    end
    assert.same({}, api.requests)
  end)

  it("takes at most one source of keys", function()
    local sources = {
      publishable_key = pk("test", "clerk.example.com$"), jwks_url = "https://example.com/jwks",
      jwt_key = token_api.signer().pem,
    }
    for first, one in pairs(sources) do
      assert.truthy(api:verifier { [first] = one })
      for second, other in pairs(sources) do
        if first ~= second then
          assert.matches("only one of", problem_of { [first] = one, [second] = other }, 1, true)
        end
      end
    end
  end)

  it("needs a source of keys, unless only opaque tokens are accepted", function()
    local machine_only = api:client { secret_key = ABSENT }
    local message = problem_of { client = machine_only }
    local words = { "publishable_key", "jwks_url", "jwt_key", "secret_key", "jwt = false" }
    for _, word in ipairs(words) do
      assert.matches(word, message, 1, true)
    end
    assert.truthy(api:verifier { client = machine_only, jwt = false })
    assert.truthy(api:verifier { client = machine_only, jwks_url = "https://example.com/jwks" })
  end)

  it("refuses a publishable key that is not the name of a host", function()
    local keys = { "", "pk_test_", "pk_test_aGVsbG8k", "sk_test_abc", "pk_prod_abc", "pk_test_???",
      pk("test", "clerk.example.com"), pk("test", "10.0.0.1$"), pk("test", "a b.com$"),
      pk("test", "evil.com/x$"), pk("test", "evil.com:80$"), pk("test", "-a.com$"),
      pk("test", "a..com$"), pk("test", "user@evil.com$"), 7 }
    for _, key in ipairs(keys) do
      assert.matches("name of a host", problem_of { publishable_key = key }, 1, true)
    end
  end)

  it("refuses a live publishable key next to a test key, and the reverse", function()
    local message = problem_of { publishable_key = pk("live", "clerk.example.com$") }
    assert.matches("publishable_key is of a live instance", message, 1, true)
    local live = api:client { secret_key = "sk_live_instance_key" }
    problem_of { client = live, publishable_key = pk("test", "clerk.example.com$") }
    assert.truthy(api:verifier { client = live, publishable_key = pk("live", "a.example.com$") })
  end)

  it("looks at such keys again when a function returns another one", function()
    local key = "sk_test_instance_key"
    local client = api:client { secret_key = function() return key end }
    local verifier = api:verifier {
      client = client, publishable_key = pk("test", "clerk.example.com$"),
    }
    assert.equal(CALLER, verifier:verify(api:jwt()).subject)
    key = "sk_live_instance_key"
    assert.equal("ArgumentError", error_of(verifier, api:jwt()).type)
  end)

  it("holds its client's keys in no field, so that printing all of them shows none", function()
    local verifier, seen = api:verifier(), {}
    verifier:verify(api:jwt())
    local function search(value)
      assert.is_nil(type(value) == "string" and value:match "[sa]k_%w+_key" or nil)
      if type(value) ~= "table" or value == api or seen[value] then return end
      seen[value] = true
      for name, member in pairs(value) do
        search(name)
        search(member)
      end
    end
    search(verifier)
    assert.is_truthy(seen[verifier.identity])
  end)

  it("refuses a URL of keys that is not https, or has no path", function()
    for _, url in ipairs { "", "example.com", "http://example.com/jwks", "ftp://example.com/jwks",
      "https://example.com", "https://user:pass@example.com/jwks", 7 } do
      assert.matches("jwks_url", problem_of { jwks_url = url }, 1, true)
    end
    local client = api:client { allow_http = true }
    assert.truthy(api:verifier { client = client, jwks_url = "http://example.com/jwks" })
  end)

  it("refuses a key that is not a PEM of an RSA key", function()
    local empty = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    for _, pem in ipairs { "", "abc", 7, empty } do
      assert.matches("jwt_key", problem_of { jwt_key = pem }, 1, true)
    end
  end)

  it('refuses "machine" without the key of the instance', function()
    local machine_only = api:client { secret_key = ABSENT }
    for _, client in ipairs { machine_only, ABSENT } do
      assert.matches('scope_check "machine" needs a client with secret_key',
        problem_of { client = client, scope_check = "machine", jwt_key = token_api.signer().pem },
        1, true)
    end
  end)

  it("refuses other options, with a suggestion, and values out of bounds", function()
    assert.matches('did you mean "cache_ms"', problem_of { cache_msec = 1 }, 1, true)
    for name, value in pairs {
      cache_ms = -1, refusal_ms = "1", cache_entries = 0, max_in_flight = 0, max_per_second = 0,
      clock_skew_ms = -1, now = 7, client = {}, jwt = "yes", scope_check = "some",
      shared_dict = "x",
    } do
      assert.matches(name, problem_of { [name] = value }, 1, true)
    end
    assert.equal("ArgumentError", errors_of(tokens.verifier).type)
    assert.equal("ArgumentError", errors_of(tokens.verifier, {}).type)
  end)

  it("takes a client of clerk.machines.safe too", function()
    local client = require("clerk.machines.safe").new {
      secret_key = "sk_test_instance_key", transport = api, base_url = token_api.base_url,
    }
    api.tokens[OPAQUE] = api:token()
    assert.equal(CALLER, api:verifier({ client = client }):verify(OPAQUE).subject)
  end)
end)

describe("Where the keys of JWTs come from:", function()
  local function asked_for_keys(changes)
    api:verifier(changes):verify(api:jwt())
    return api.requests[1]
  end

  it("the client's own /jwks, with the key of the instance, which only that gets", function()
    local request = asked_for_keys { client = api:client { headers = { ["X-Own"] = "1" } } }
    assert.same({ "GET", token_api.base_url .. "/jwks" }, { request.method, request.url })
    assert.equal("Bearer sk_test_instance_key", request.headers.authorization)
    assert.equal("2026-05-12", request.headers["clerk-api-version"])
    assert.equal("1", request.headers["x-own"])
  end)

  it("the host of the publishable key, without a key", function()
    local request = asked_for_keys { publishable_key = "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k" }
    assert.equal("https://clerk.example.com/.well-known/jwks.json", request.url)
    assert.is_nil(request.headers.authorization)
    assert.matches("clerk-machines/", request.headers["user-agent"], 1, true)
  end)

  it("jwks_url, without a key", function()
    local request = asked_for_keys { jwks_url = "https://keys.example.com/jwks" }
    assert.equal("https://keys.example.com/jwks", request.url)
    assert.is_nil(request.headers.authorization)
  end)
end)

describe("A token is a secret:", function()
  local function everything_in(value, seen)
    if type(value) ~= "table" then
      return tostring(value)
    end
    local parts = {}
    for key, member in pairs(value) do
      table.insert(parts, everything_in(key, seen) .. "=" .. everything_in(member, seen))
    end
    return table.concat(parts, "\n")
  end

  it("no error and no event holds it, although the server repeats it", function()
    local events = {}
    local client = api:client { on_event = function(event) table.insert(events, event) end }
    local verifier = api:verifier { client = client }
    for _, status in ipairs { 400, 401, 403, 404, 429, 500 } do
      local text = OPAQUE .. status
      function api.send()
        return { status = status, headers = { ["x-echo"] = text }, body =
          ('{"errors":[{"code":"x","message":"%s","long_message":"%s"}],"meta":{"t":"%s"}}')
          :format(text, text, text) }
      end
      local problem = error_of(verifier, text)
      assert.falsy((everything_in(problem) .. tostring(problem)):find(OPAQUE, 1, true))
    end
    assert.truthy(events[1])
    assert.falsy(everything_in(events):find(OPAQUE, 1, true))
  end)

  it("nor is the API key shown when keys are asked for, whatever a transport says", function()
    function api.send(_, request)
      local message = "not sent: " .. request.headers.authorization
      return nil, { code = "connection_lost", message = message, sent = false }
    end
    local problem = error_of(api:verifier(), api:jwt())
    assert.matches("not sent: Bearer", problem.message, 1, true)
    assert.falsy((everything_in(problem) .. tostring(problem)):find("sk_test_instance", 1, true))
  end)

  it("a result does not hold it either", function()
    api.tokens[OPAQUE] = api:token { token = OPAQUE }
    local verifier = api:verifier()
    for _ = 1, 2 do assert.is_nil(verifier:verify(OPAQUE).token) end
  end)

  it("the text of an error is one line", function()
    for _, text in ipairs { OPAQUE, "x\ny", api:jwt({ exp = 1 }) } do
      local line = tostring(error_of(api:verifier(), text))
      assert.matches("^TokenError: [^\n]+ %(.*token_%l+[%l_]*.*%)$", line)
    end
  end)
end)

describe("With the emulator", function()
  local client, service, verifier

  before_each(function()
    local emulated = emulator.new { clock = api.clock }
    client = machines.new { secret_key = "sk_test_emulator", transport = emulated }
    service = client:create { name = "service" }
    local caller = client:create { name = "caller", scoped_machines = { service.id } }
    client = machines.new {
      secret_key = "sk_test_emulator", machine_secret_key = caller.secret_key,
      transport = emulated,
    }
    verifier = tokens.verifier {
      client = machines.new {
        secret_key = "sk_test_emulator", machine_secret_key = service.secret_key,
        transport = emulated,
      },
      machine_id = service.id, callers = { caller.id }, scope_check = "machine", now = api.clock,
    }
  end)

  it("tokens of both formats are verified, with their claims", function()
    for _, format in ipairs { "opaque", "jwt" } do
      local made = client:create_token { token_format = format, claims = { role = "worker" } }
      local token = verifier:verify(made.token)
      assert.same({ made.subject, "worker" }, { token.subject, token.claims.role })
    end
  end)

  it("a token is refused after its revocation, once it is not remembered any more", function()
    local made = client:create_token()
    verifier:verify(made.token)
    client:revoke_token(made.id)
    verifier:verify(made.token)
    api.time = api.time + 60000
    assert_refused("token_revoked", verifier, made.token)
  end)

  it("a token that is used after its end is refused", function()
    for _, format in ipairs { "opaque", "jwt" } do
      local made = client:create_token { token_format = format, seconds_until_expiration = 10 }
      verifier:verify(made.token)
      api.time = api.time + 15000
      assert_refused("token_expired", verifier, made.token)
    end
  end)

  it("a machine that is not in the scopes of the caller any more is not called by it", function()
    local made = client:create_token { token_format = "jwt" }
    verifier:verify(made.token)
    client:delete_scope(made.subject, service.id)
    api.time = api.time + 60000
    assert_refused("token_not_granted", verifier, made.token)
  end)

  it("a source's token is accepted, and replaced when it was revoked", function()
    local source = tokens.source { client = client }
    local text, made = source:get()
    verifier:verify(text)
    client:revoke_token(made.id)
    source:invalidate(text)
    local other = source:get()
    assert.not_equal(text, other)
    verifier:verify(other)
  end)
end)

describe("A verifier's method", function()
  it("says how to call it when it is called with a dot", function()
    local verifier = api:verifier()
    local problem = errors_of(verifier.verify, "mt_a")
    assert.equal("ArgumentError", problem.type)
    assert.matches("verifier:verify", problem.message, 1, true)
  end)

  it("returns nil and the error in the safe twin", function()
    local safe = require "clerk.machines.tokens.safe"
    api.tokens[OPAQUE] = api:token()
    local verifier = assert(safe.verifier(api:options()))
    assert.equal(CALLER, verifier:verify(OPAQUE).subject)
    local token, problem = verifier:verify "mt_other"
    assert.is_nil(token)
    assert.equal("token_unknown", problem.code)
    local nothing, mistake = safe.verifier {}
    assert.is_nil(nothing)
    assert.equal("ArgumentError", mistake.type)
  end)
end)
