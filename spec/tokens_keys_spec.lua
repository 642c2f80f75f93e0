-- The keys of JWTs: when they are fetched, how long they are used, and when a token is refused.

local error_of = require "support.error_of"
local json_writer = require "clerk.machines.json_writer"
local token_api = require "support.token_api"

local CALLER = token_api.caller
local SECOND_MS, MINUTE_MS = 1000, 60000

local api, verifier, old, new

setup(function()
  old, new = token_api.signer(), token_api.signer "new"
end)

before_each(function()
  api = token_api.new()
  verifier = api:verifier { cache_ms = 0 }
end)

local function wait(ms)
  api.time = api.time + ms
end

local function jwt(key, header)
  return api:jwt({ exp = api.time / 1000 + 7200 }, header, key)
end

local function accepts(text)
  return verifier:verify(text).subject == CALLER
end

local function code_of(text)
  return error_of(verifier.verify, verifier, text).code
end

local function is_doubted(text)
  return error_of(verifier.verify, verifier, text).type ~= "TokenError"
end

describe("Keys are fetched", function()
  it("once for all tokens, and again after five minutes", function()
    for _ = 1, 3 do assert.is_true(accepts(jwt())) end
    wait(5 * MINUTE_MS - 1)
    assert.is_true(accepts(jwt()))
    assert.equal(1, api.asked.keys)
    wait(1)
    assert.is_true(accepts(jwt()))
    assert.equal(2, api.asked.keys)
  end)

  it("once for all verifiers of a process that take them from the same place", function()
    local client = api:client()
    for _ = 1, 3 do
      api:verifier({ client = client, callers = { CALLER, "mch_x" } }):verify(jwt())
    end
    assert.equal(1, api.asked.keys)
    for _, url in ipairs { "https://a.example.com/jwks", "https://b.example.com/jwks" } do
      for _ = 1, 2 do api:verifier({ jwks_url = url }):verify(jwt()) end
    end
    assert.equal(3, api.asked.keys)
  end)

  it("apart for each key of an instance, although the instances' key IDs may be equal", function()
    api:verifier():verify(jwt())
    api:publish(new)
    local other = api:verifier { client = api:client { secret_key = "sk_test_other_instance" } }
    assert.equal("token_signature_invalid", error_of(other.verify, other, jwt(old)).code)
    assert.equal(CALLER, other:verify(jwt(new)).subject)
    assert.equal(CALLER, api:verifier():verify(jwt(old)).subject)
  end)

  it("apart for each transport of the caller's own, which may lead elsewhere", function()
    assert.is_true(accepts(jwt()))
    local elsewhere = token_api.new()
    elsewhere:publish(new)
    local other = elsewhere:verifier { now = api.clock }
    assert.equal("token_signature_invalid", error_of(other.verify, other, jwt(old)).code)
    assert.equal(CALLER, other:verify(jwt(new)).subject)
  end)

  it("never for a token that is refused anyway", function()
    assert.is_true(accepts(jwt()))
    wait(6 * MINUTE_MS)
    for _, text in ipairs {
      api:jwt { exp = 1 }, api:jwt { sub = "mch_stranger" }, api:jwt { sub = "user_1" },
      api:jwt({}, { alg = "HS256" }), api:jwt({}, { typ = "at+jwt" }), "x.y.z",
    } do
      code_of(text)
    end
    assert.equal(1, api.asked.keys)
  end)
end)

describe("A new key under the same key ID", function()
  before_each(function()
    assert.is_true(accepts(jwt(old)))
    api:publish(new)
    wait(10 * SECOND_MS)
  end)

  it("is found at once, and the old one is not accepted any more", function()
    assert.is_true(accepts(jwt(new)))
    assert.equal(2, api.asked.keys)
    assert.equal("token_signature_invalid", code_of(jwt(old)))
  end)

  it("ends the acceptance of tokens that the old one signed, after five minutes at most", function()
    local remembering = api:verifier()
    local text = jwt(old)
    remembering:verify(text)
    wait(5 * MINUTE_MS - 10 * SECOND_MS - 1)
    remembering:verify(text)
    wait(1)
    assert.equal("token_signature_invalid", error_of(remembering.verify, remembering, text).code)
  end)

  it("may stand next to the old one", function()
    api:publish(old, new)
    assert.is_true(accepts(jwt(new)))
    assert.is_true(accepts(jwt(old)))
  end)
end)

describe("An unknown key ID, or a bad signature,", function()
  local bad

  before_each(function()
    bad = {
      token_key_unknown = function(i) return jwt(old, { kid = "ins_made_up_" .. i }) end,
      token_signature_invalid = function(i) return jwt(new, { i = i }) end,
    }
  end)

  for _, code in ipairs { "token_key_unknown", "token_signature_invalid" } do
    it("causes one download in ten seconds, however many there are: " .. code, function()
      assert.is_true(accepts(jwt()))
      for i = 1, 200 do assert.equal(code, code_of(bad[code](i))) end
      wait(10 * SECOND_MS - 1)
      assert.equal(code, code_of(bad[code](1)))
      assert.equal(1, api.asked.keys)
      wait(1)
      for i = 1, 200 do assert.equal(code, code_of(bad[code](i))) end
      assert.equal(2, api.asked.keys)
      assert.is_true(accepts(jwt()))
      assert.equal(2, api.asked.keys)
    end)

    it("is refused only if the keys were fetched within ten seconds: " .. code, function()
      assert.is_true(accepts(jwt()))
      wait(10 * SECOND_MS)
      for _, outage in ipairs { "timeout", 503, 404, 200 } do
        api.key_set = outage == 200 and "[]" or outage
        assert.is_true(is_doubted(bad[code](1)))
        wait(SECOND_MS)
        assert.is_true(is_doubted(bad[code](1)))
        wait(10 * SECOND_MS)
      end
      assert.equal(5, api.asked.keys)
      api:publish(old)
      assert.equal(code, code_of(bad[code](1)))
    end)
  end

  it("of a token without a key ID causes none", function()
    local text = jwt(old, { kid = token_api.absent })
    assert.equal("token_key_unknown", code_of(text))
    assert.equal(0, api.asked.keys)
    assert.is_true(accepts(jwt()))
    wait(10 * MINUTE_MS)
    assert.equal("token_key_unknown", code_of(text))
    assert.equal(1, api.asked.keys)
  end)
end)

describe("While the JWKS cannot be had", function()
  for _, outage in ipairs { "timeout", "connect_failed", 500, 503 } do
    it(("before the first keys, nothing can be told (%s)"):format(outage), function()
      api.key_set = outage
      assert.is_true(is_doubted(jwt()))
      api:publish(old)
      wait(SECOND_MS)
      assert.is_true(accepts(jwt()))
    end)

    it(("keys are used for an hour, and then nothing can be told (%s)"):format(outage), function()
      assert.is_true(accepts(jwt()))
      api.key_set = outage
      wait(5 * MINUTE_MS)
      assert.is_true(accepts(jwt()))
      wait(55 * MINUTE_MS - 1)
      assert.is_true(accepts(jwt()))
      assert.equal("token_not_granted", code_of(api:jwt { sub = "mch_stranger" }))
      wait(1)
      assert.is_true(is_doubted(jwt()))
      api:publish(old)
      wait(SECOND_MS)
      assert.is_true(accepts(jwt()))
    end)
  end

  it("it is asked again every ten seconds, and not by every token", function()
    assert.is_true(accepts(jwt()))
    api.key_set = 503
    wait(5 * MINUTE_MS)
    for _ = 1, 20 do assert.is_true(accepts(jwt())) end
    assert.equal(2, api.asked.keys)
    wait(10 * SECOND_MS)
    for _ = 1, 20 do assert.is_true(accepts(jwt())) end
    assert.equal(3, api.asked.keys)
  end)

  it("it is asked once in a second when there are no keys, however many tokens come", function()
    api.key_set = 503
    for i = 1, 20 do assert.is_true(is_doubted(jwt(old, { i = i }))) end
    assert.equal(1, api.asked.keys)
  end)

  it("no token is remembered for longer than its keys are fresh", function()
    local remembering = api:verifier()
    local text = jwt()
    remembering:verify(text)
    wait(5 * MINUTE_MS)
    api.key_set = 503
    remembering:verify(text)
    wait(10 * SECOND_MS)
    api:publish(new)
    assert.equal("token_signature_invalid", error_of(remembering.verify, remembering, text).code)
  end)
end)

describe("A transport of the caller's own that does not answer as it must is an outage:", function()
  local RETURNS = {
    nothing = {},
    ["a response without a status"] = { { body = "{}" } },
    ["a status that is no number"] = { { status = {}, body = "{}" } },
    ["a body that is no string"] = { { status = 200, body = {} } },
    ["a failure without a message"] = { nil, { code = "timeout" } },
    ["a failure with an unknown code"] = { nil, { code = "invalid_argument", message = "m" } },
    ["a failure that is no table"] = { nil, "it failed" },
  }
  for what, returned in pairs(RETURNS) do
    it(what, function()
      assert.is_true(accepts(jwt()))
      function api.send() return returned[1], returned[2] end
      local unknown = jwt(old, { kid = "ins_2" })
      wait(10 * SECOND_MS)
      local problem = error_of(verifier.verify, verifier, unknown)
      local code = what == "a failure without a message" and "timeout" or "bad_response"
      assert.same({ "TransportError", code }, { problem.type, problem.code })
      wait(5 * MINUTE_MS)
      assert.is_true(accepts(jwt()))
    end)
  end

  it("an error, too, which is raised as it is", function()
    function api.send() error("a fault of the transport", 0) end
    local _, problem = pcall(verifier.verify, verifier, jwt())
    assert.equal("a fault of the transport", problem)
  end)
end)

describe("An answer that is not an outage ends the use of old keys:", function()
  local OTHERS = { ["401"] = 401, ["403"] = 403, ["404"] = 404, ["429"] = 429,
    ["an answer that is too large"] = "response_too_large", ["an array"] = "[]" }
  for what, answer in pairs(OTHERS) do
    it(what, function()
      assert.is_true(accepts(jwt()))
      api.key_set = answer
      wait(5 * MINUTE_MS - 1)
      assert.is_true(accepts(jwt()))
      wait(1)
      assert.is_true(is_doubted(jwt()))
    end)
  end

  it("a set without keys", function()
    assert.is_true(accepts(jwt()))
    api:publish()
    wait(5 * MINUTE_MS)
    assert.equal("token_key_unknown", code_of(jwt()))
  end)
end)

describe("A key set", function()
  local function with(key, changes)
    api:publish(token_api.jwk(key, changes))
    return code_of(jwt())
  end

  it("asks for no more than 256 KiB", function()
    accepts(jwt())
    assert.equal(256 * 1024, api.requests[1].max_response_bytes)
  end)

  it("is not used if it is something else", function()
    for i, body in ipairs {
      "", "{", "[]", "{}", "7", '{"keys":{}}', '{"keys":7}', '{"keys":null}', '"keys"',
      '{"keys":[]}{}', "\0",
    } do
      local other = api:verifier { jwks_url = "https://example.com/" .. i }
      function api.send() return { status = 200, headers = {}, body = body } end
      local problem = error_of(other.verify, other, jwt())
      assert.same({ "SDKError", "unexpected_shape" }, { problem.type, problem.code }, body)
    end
  end)

  it("is not used if it is no text, and is not asked for more often because of that", function()
    local count = 0
    function api.send()
      count = count + 1
      return { status = 200, headers = {} }
    end
    for i = 1, 5 do
      local problem = error_of(verifier.verify, verifier, jwt(old, { kid = "ins_" .. i }))
      assert.equal("unexpected_shape", problem.code)
    end
    assert.equal(1, count)
  end)

  it("may have 32 keys, and is not used if it has more", function()
    local list = {}
    for i = 1, 31 do list[i] = token_api.jwk(new, { kid = "ins_" .. i + 1 }) end
    list[32] = token_api.jwk(old)
    api.key_set = json_writer.write { keys = list }
    assert.is_true(accepts(jwt()))
    local large = api:verifier { jwks_url = "https://example.com/33" }
    list[33] = list[1]
    api.key_set = json_writer.write { keys = list }
    local problem = error_of(large.verify, large, jwt())
    assert.matches("more than 32 keys", problem.message, 1, true)
  end)

  it("may hold anything next to the keys, which is ignored", function()
    local odd = { 7, "key", {}, { kty = "EC" }, { kty = "RSA" }, { kty = "RSA", n = 7, e = {} },
      { kty = "RSA", kid = "ins_1", n = "", e = "" }, { kty = "oct", k = "AAAA", kid = "ins_1" },
      { kty = "RSA", kid = 7, n = old.n, e = old.e } }
    odd[#odd + 1] = token_api.jwk(old)
    api.key_set = json_writer.write { keys = odd }
    assert.is_true(accepts(jwt()))
  end)

  it("ignores keys for another use", function()
    assert.equal("token_key_unknown", with(old, { alg = "RS512" }))
    wait(10 * SECOND_MS)
    assert.equal("token_key_unknown", with(old, { use = "enc" }))
    wait(10 * SECOND_MS)
    assert.equal("token_key_unknown", with(old, { kty = "oct" }))
    wait(10 * SECOND_MS)
    api:publish(token_api.jwk(old, { alg = token_api.absent, use = token_api.absent }))
    assert.is_true(accepts(jwt()))
  end)

  it("ignores keys that are too weak", function()
    local weak = require("support.signer").new { bits = 1024 }
    api:publish(weak)
    assert.equal("token_key_unknown", code_of(jwt(weak)))
  end)

  it("ages from when it was asked for", function()
    local send = api.send
    function api.send(...)
      wait(1500)
      return send(...)
    end
    assert.is_true(accepts(jwt()))
    api.send = nil
    wait(5 * MINUTE_MS - 1500)
    assert.is_true(accepts(jwt()))
    assert.equal(2, api.asked.keys)
  end)
end)
