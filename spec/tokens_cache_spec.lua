-- What a verifier remembers, for how long, and what it judges every time.

local error_of = require "support.error_of"
local token_api = require "support.token_api"

local ABSENT = token_api.absent
local ME, CALLER = token_api.me, token_api.caller
local MINUTE_MS = 60000

local api, verifier

before_each(function()
  api = token_api.new()
  verifier = api:verifier()
end)

local function code_of(text, by)
  return error_of((by or verifier).verify, by or verifier, text).code
end

local function times(count, f, ...)
  for _ = 1, count do f(...) end
end

local function opaque(text, changes)
  api.tokens[text] = api:token(changes)
  return text
end

describe("A verified token is remembered", function()
  it("for cache_ms, and then the API is asked again", function()
    opaque("mt_a", { expiration = api.time + 10 * MINUTE_MS })
    times(3, verifier.verify, verifier, "mt_a")
    api.time = api.time + MINUTE_MS - 1
    verifier:verify "mt_a"
    assert.equal(1, api.asked.verify_token)
    api.time = api.time + 1
    verifier:verify "mt_a"
    assert.equal(2, api.asked.verify_token)
  end)

  it("so that a revocation is seen after cache_ms", function()
    opaque "mt_a"
    verifier:verify "mt_a"
    opaque("mt_a", { revoked = true })
    verifier:verify "mt_a"
    api.time = api.time + MINUTE_MS
    assert.equal("token_revoked", code_of "mt_a")
  end)

  it("not at all if cache_ms is 0", function()
    local asks = api:verifier { cache_ms = 0, scope_check = "machine" }
    api.machines[CALLER] = { ME }
    opaque "mt_a"
    times(3, asks.verify, asks, "mt_a")
    assert.same({ 3, 3 }, { api.asked.verify_token, api.asked.get })
  end)

  it("from when the question was asked, not from when the answer came", function()
    opaque("mt_a", { expiration = api.time + 10 * MINUTE_MS })
    local send = api.send
    function api.send(...)
      api.time = api.time + 1500
      return send(...)
    end
    verifier:verify "mt_a"
    api.time = api.time + MINUTE_MS - 1500
    verifier:verify "mt_a"
    assert.equal(2, api.asked.verify_token)
  end)

  it("never beyond its own expiration, clock skew included", function()
    opaque("mt_a", { expiration = api.time + 10000 })
    local jwt = api:jwt { exp = api.time / 1000 + 10 }
    for _, text in ipairs { "mt_a", jwt } do verifier:verify(text) end
    api.time = api.time + 14999
    for _, text in ipairs { "mt_a", jwt } do verifier:verify(text) end
    api.time = api.time + 1
    for _, text in ipairs { "mt_a", jwt } do assert.equal("token_expired", code_of(text)) end
    assert.equal(1, api.asked.verify_token)
  end)

  it("but not as a verdict: callers are judged every time", function()
    opaque "mt_a"
    local jwt = api:jwt()
    for _, text in ipairs { "mt_a", jwt } do
      verifier:verify(text)
      local problem = error_of(verifier.verify, verifier, text, { callers = { "mch_other" } })
      assert.equal("token_not_granted", problem.code)
      verifier:verify(text)
    end
    assert.equal(1, api.asked.verify_token)
  end)

  it("but not as a verdict: the caller's scopes are looked up again after cache_ms", function()
    local by = api:verifier { scope_check = "machine", cache_ms = 20000 }
    api.machines[CALLER] = { ME }
    local jwt = api:jwt()
    times(3, by.verify, by, jwt)
    assert.equal(1, api.asked.get)
    api.machines[CALLER] = {}
    api.time = api.time + 20000
    assert.equal("token_not_granted", code_of(jwt, by))
    assert.equal("token_not_granted", code_of(jwt, by))
    assert.equal(2, api.asked.get)
    api.machines[CALLER] = { ME }
    api.time = api.time + 20000
    by:verify(jwt)
  end)

  it("also when it is not for this receiver", function()
    opaque("mt_a", { scopes = { "mch_other" } })
    times(3, code_of, "mt_a")
    assert.equal(1, api.asked.verify_token)
  end)

  it("as a copy: what a caller does to a result changes no other", function()
    opaque("mt_a", { claims = { roles = { "worker" } } })
    for _, text in ipairs { "mt_a", api:jwt { roles = { "worker" } } } do
      for _ = 1, 3 do
        local token = verifier:verify(text)
        assert.same({ roles = { "worker" } }, token.claims)
        assert.equal(CALLER, token.subject)
        token.subject, token.claims.roles[1], token.scopes[1] = "mch_other", "admin", "mch_x"
      end
    end
  end)

  it("for at most cache_entries tokens, the latest ones", function()
    local small = api:verifier { cache_entries = 3 }
    for i = 1, 5 do small:verify(opaque("mt_" .. i)) end
    for i = 3, 5 do small:verify("mt_" .. i) end
    assert.equal(5, api.asked.verify_token)
    small:verify "mt_1"
    assert.equal(6, api.asked.verify_token)
  end)

  it("separately for different keys of the client", function()
    local key = "ak_machine_key_one"
    local client = api:client { machine_secret_key = function() return key end }
    local by = api:verifier { client = client }
    opaque "mt_a"
    times(2, by.verify, by, "mt_a")
    key = "ak_machine_key_two"
    times(2, by.verify, by, "mt_a")
    assert.equal(2, api.asked.verify_token)
    api.tokens.mt_a = 404
    key = "ak_machine_key_one"
    by:verify "mt_a"
    assert.equal(2, api.asked.verify_token)
  end)
end)

describe("A refusal by the API is remembered", function()
  for code, said in pairs {
    token_unknown = 404, token_revoked = { revoked = true }, token_expired = { expired = true },
  } do
    it("for refusal_ms: " .. code, function()
      api.tokens.mt_a = said == 404 and 404 or api:token(said)
      for _ = 1, 3 do assert.equal(code, code_of "mt_a") end
      assert.equal(1, api.asked.verify_token)
      opaque "mt_a"
      api.time = api.time + 9999
      assert.equal(code, code_of "mt_a")
      api.time = api.time + 1
      assert.equal(CALLER, verifier:verify("mt_a").subject)
    end)
  end

  it("not at all if refusal_ms is 0", function()
    local asks = api:verifier { refusal_ms = 0 }
    times(3, code_of, "mt_a", asks)
    assert.equal(3, api.asked.verify_token)
  end)

  it("unless the API could not read the token", function()
    api.tokens.mt_a = 400
    times(3, code_of, "mt_a")
    assert.equal(3, api.asked.verify_token)
  end)

  it("for the latest thousand tokens", function()
    local by = api:verifier { max_per_second = 2000 }
    for i = 0, 1000 do code_of("mt_bad" .. i, by) end
    for i = 1, 1000 do code_of("mt_bad" .. i, by) end
    assert.equal(1001, api.asked.verify_token)
    code_of("mt_bad0", by)
    assert.equal(1002, api.asked.verify_token)
  end)

  it("apart: a flood of bad tokens does not push out a good one", function()
    local by = api:verifier { cache_entries = 2, max_per_second = 10000 }
    by:verify(opaque "mt_good")
    for i = 1, 3000 do assert.equal("token_unknown", code_of("mt_bad" .. i, by)) end
    by:verify "mt_good"
    assert.equal(3001, api.asked.verify_token)
  end)

  it("as a copy: what a caller does to an error changes no other", function()
    for _ = 1, 3 do
      local problem = error_of(verifier.verify, verifier, "mt_a")
      assert.equal("token_unknown", problem.code)
      problem.code, problem.type = "fine", "Fine"
    end
  end)
end)

describe("What could not be told is remembered", function()
  it("for a second, and for that token alone", function()
    api.tokens.mt_a = 503
    for _ = 1, 3 do
      local problem = error_of(verifier.verify, verifier, "mt_a")
      assert.equal(503, problem.status)
      problem.status = 200
    end
    assert.equal(1, api.asked.verify_token)
    verifier:verify(opaque "mt_b")
    opaque "mt_a"
    api.time = api.time + 999
    assert.equal(503, error_of(verifier.verify, verifier, "mt_a").status)
    api.time = api.time + 1
    verifier:verify "mt_a"
  end)

  it("of JWTs and their machines too", function()
    api.key_set = 503
    local jwt = api:jwt()
    times(3, code_of, jwt)
    assert.equal(1, api.asked.keys)
    api:publish(token_api.signer())
    api.time = api.time + 1000
    local by = api:verifier { scope_check = "machine" }
    api.machines[CALLER] = 503
    times(3, code_of, jwt, by)
    assert.equal(1, api.asked.get)
  end)

  it("but not a mistake of the caller", function()
    local key
    local client = api:client { machine_secret_key = function() return key end }
    local by = api:verifier { client = client }
    opaque "mt_a"
    assert.equal("invalid_argument", code_of("mt_a", by))
    key = "ak_machine_key"
    by:verify "mt_a"
  end)
end)

describe("Without `now`, what is remembered", function()
  it("follows a clock that only goes forward", function()
    local by = api:verifier { now = ABSENT, cache_ms = 50 }
    opaque("mt_a", { expiration = 4102444800000 })
    times(2, by.verify, by, "mt_a")
    assert.equal(1, api.asked.verify_token)
    os.execute "sleep 0.1"
    by:verify "mt_a"
    assert.equal(2, api.asked.verify_token)
  end)

  it("is judged by the system's clock", function()
    local by = api:verifier { now = ABSENT }
    opaque("mt_past", { expiration = os.time() * 1000 - 6000 })
    opaque("mt_present", { expiration = os.time() * 1000 + 60000 })
    assert.equal("token_expired", code_of("mt_past", by))
    by:verify "mt_present"
  end)
end)
