-- Machines' JWTs: what is read, what is refused, and what a token says.

local core = require "clerk.machines.core"
local signer = require "support.signer"
local vectors = require "support.token_vectors"

local encode = signer.encode

local NOW = 1800000000000 -- Unix ms
local SKEW = 5000
local GOOD_HEADER = '{"alg":"RS256","kid":"ins_1"}'
local GOOD_PAYLOAD = '{"sub":"mch_1","exp":1800000060}'

local own = signer.new()
local key = assert(core.rsa_key(own.n, own.e))

--- What is wrong with a token, before its signature matters.
local function refusal(text)
  local jwt, code, message = core.jwt(text)
  assert.is_nil(jwt)
  assert.equal("string", type(message))
  return code, message
end

local function unsigned(header, payload)
  return encode(header) .. "." .. encode(payload) .. ".AAAA"
end

local function refused(code, header, payload)
  assert.equal(code, (refusal(unsigned(header, payload or GOOD_PAYLOAD))))
end

local function verified(header, payload)
  local jwt = assert(core.jwt(own:jwt(header, payload)))
  assert.is_true(jwt:verify(key))
  return jwt
end

--- The token of a payload whose signature is verified, or nil, code, message.
local function judged(payload, now)
  return verified(GOOD_HEADER, payload):token(now or NOW, SKEW)
end

local function judged_with(members, now)
  return judged('{"sub":"mch_1","exp":1800000060,' .. members .. "}", now)
end

local function code_of(...)
  assert.is_nil((...))
  local code, message = select(2, ...)
  assert.equal("string", type(message))
  return code
end

describe("A JWT", function()
  it("of another implementation is read, verified and judged", function()
    local jwt = assert(core.jwt(vectors.signed .. "." .. vectors.signature))
    assert.equal("ins_2xhFjEI5X2qWRvtV13BzSj8H6Dk", jwt:kid())
    assert.is_true(jwt:verify(assert(core.rsa_key(vectors.key.n, vectors.key.e))))
    local token, times = jwt:token(NOW, SKEW)
    assert.same({
      object = "machine_to_machine_token",
      id = "mt_0123456789abcdef0123456789abcdef",
      subject = "mch_2xhFjEI5X2qWRvtV13BzSj8H6Dk",
      scopes = { "mch_one", "mch_two" },
      claims = {
        aud = { "mch_other" },
        scopes = "mch_one mch_two",
        role = "worker",
        limits = { rps = 10, burst = 1.5, tags = { "a", core.null, "ä" } },
      },
      revoked = false,
      expired = false,
      expiration = 4102444800000,
      created_at = 1750000000000,
      updated_at = 1750000000000,
    }, token)
    assert.same({
      expiration = 4102444800000, not_before = 1749999990000, issued_at = 1750000000000,
    }, times)
  end)

  it("needs no more than a subject and an expiration", function()
    local token, times = judged(GOOD_PAYLOAD)
    assert.same({
      object = "machine_to_machine_token",
      id = "",
      subject = "mch_1",
      scopes = {},
      revoked = false,
      expired = false,
      expiration = 1800000060000,
    }, token)
    assert.same({ expiration = 1800000060000 }, times)
  end)

  it("is judged by its own key alone", function()
    local jwt = assert(core.jwt(own:jwt(GOOD_HEADER, GOOD_PAYLOAD)))
    assert.is_false(jwt:verify(assert(core.rsa_key(vectors.key.n, vectors.key.e))))
    assert.is_true(jwt:verify(key))
  end)

  it("shows nothing of its claims before its signature is verified", function()
    local jwt = assert(core.jwt(own:jwt(GOOD_HEADER, GOOD_PAYLOAD)))
    local other = assert(core.rsa_key(vectors.key.n, vectors.key.e))
    assert.has_error(function() jwt:token(NOW, SKEW) end)
    jwt:verify(other)
    assert.has_error(function() jwt:token(NOW, SKEW) end)
    assert.is_true(jwt:verify(key))
    assert.truthy(jwt:token(NOW, SKEW))
    jwt:verify(other)
    assert.has_error(function() jwt:token(NOW, SKEW) end)
    assert.falsy(tostring(jwt):find "mch_")
  end)

  it("outlives the string that it was read from", function()
    local jwt = assert(core.jwt(own:jwt(GOOD_HEADER, GOOD_PAYLOAD)))
    for i = 1, 1000 do
      assert(core.jwt(unsigned(GOOD_HEADER, ('{"a":%d}'):format(i))))
    end
    collectgarbage()
    assert.is_true(jwt:verify(key))
    assert.equal("mch_1", jwt:token(NOW, SKEW).subject)
  end)

  it("is only read from a string", function()
    for _, value in ipairs { 1, true, {} } do
      assert.has_error(function() core.jwt(value) end)
    end
    assert.has_error(function() core.jwt() end)
  end)
end)

describe("The form of a JWT", function()
  local text = own:jwt(GOOD_HEADER, GOOD_PAYLOAD)
  local head, body, signature = text:match "^(.-)%.(.-)%.(.-)$"

  for name, malformed in pairs {
    ["nothing"] = "",
    ["an opaque token"] = "mt_0123456789abcdef0123456789abcdef",
    ["one part"] = head,
    ["two parts"] = head .. "." .. body,
    ["four parts"] = text .. "." .. signature,
    ["five parts, as encrypted ones have"] = text .. "." .. head .. "." .. body,
    ["no header"] = "." .. body .. "." .. signature,
    ["no payload"] = head .. ".." .. signature,
    ["no signature"] = head .. "." .. body .. ".",
    ["dots alone"] = "..",
    ["a leading dot"] = "." .. text,
    ["a space before it"] = " " .. text,
    ["a space after it"] = text .. " ",
    ["a line break after it"] = text .. "\n",
    ["a line break within"] = head .. "." .. body .. "\r\n." .. signature,
    ["a tab within"] = head .. "\t." .. body .. "." .. signature,
    ["a NUL after it"] = text .. "\0",
    ["a NUL within"] = head .. "." .. body .. "\0." .. signature,
    ["its scheme before it"] = "Bearer " .. text,
    ["quotes around it"] = '"' .. text .. '"',
    ["a comma and another token"] = text .. "," .. text,
    ["a byte order mark before it"] = "\239\187\191" .. text,
    ["bytes beyond ASCII"] = text:gsub("^e", "\195\169"),
    ["padding behind a part"] = encode '{"alg":"RS256"}' .. "=." .. body .. "." .. signature,
    ["padding at the end"] = text .. "==",
    ["base64's own digits"] = head .. "." .. body .. ".AA+/AA",
    ["percent signs"] = head .. "." .. body .. ".AA%2D",
    ["a digit too many"] = head .. "." .. body .. ".AAAAA",
    ["spare bits in a group of two"] = head .. "." .. body .. ".AAAAAB",
    ["spare bits in a group of three"] = head .. "." .. body .. ".AAAAAAB",
    ["spare bits in the header"] = encode '{"alg":"RS256" }':gsub(".$", "R") .. ".AA.AA",
  } do
    it("is refused when there is " .. name, function()
      assert.equal("token_malformed", (refusal(malformed)))
    end)
  end

  local function of_length(length)
    local start = unsigned(GOOD_HEADER, GOOD_PAYLOAD)
    return start .. ("A"):rep(length - #start)
  end

  it("has at most 8192 bytes", function()
    assert.truthy(core.jwt(of_length(8192)))
    for length = 8193, 8196 do -- of which some are base64url
      local code, message = refusal(of_length(length))
      assert.equal("token_malformed", code)
      assert.matches("longer than 8192 bytes", message)
    end
    assert.equal("token_malformed", (refusal(("a."):rep(5000000))))
  end)

  it("may be full of one string", function()
    local payload = ('{"sub":"mch_1","exp":1800000060,"a":"%s"}'):format(("x"):rep(5600))
    assert.equal(5600, #judged(payload).claims.a)
    local kid = ("\\u0041"):rep(900)
    local jwt = verified(('{"alg":"RS256","kid":"%s"}'):format(kid), GOOD_PAYLOAD)
    assert.equal(("A"):rep(900), jwt:kid())
  end)

  it("says nothing of the token in its message", function()
    for _, header in ipairs { "secret", '{"alg":"secret"}', '{"alg":"RS256","typ":"secret"}' } do
      local _, message = refusal(unsigned(header, GOOD_PAYLOAD))
      assert.falsy(message:find "secret")
    end
  end)
end)

-- What neither the header nor the payload may be.
local NOT_OBJECTS = {
  "[]", '"RS256"', "null", "true", "1", "", " ", "{", "}", "{}{}", "{},", "{}x", "{} {}", "[{}]",
  '{"a":1', '{"a"}', '{"a":1,}', "{'a':1}", "{a:1}", '{"a":NaN}', '{"a":Infinity}', '{"a":01}',
  '{"a":+1}', '{"a":.5}', '{"a":1.}', '{"a":0x1}', '{"a":"\1"}', '{"a":"\\x"}', '{"a":"\\u12"}',
  '{"a":"\255"}', '{"a":"\192\128"}', '{"a":1}//', '{"a":/**/1}', '{"a":1}\0', '\239\187\191{}',
  "\0{}", "{\0}",
}

-- The same name twice, in one object.
local DUPLICATES = {
  '"a":1,"a":1', '"a":1,"b":2,"a":3', '"a":1,"\\u0061":2', '"\\u0061":1,"a":2',
  '"\\u0061":1,"\\u0061":2', '"":1,"":2', '"\\/":1,"/":2', '"\\u00e4":1,"ä":2',
  '"\\ud83d\\ude00":1,"\240\159\152\128":2', '"\\ud800":1,"\\udc00":2', '"\\u0000":1,"\\u0000":2',
  '"x":{"a":1,"a":2}', '"x":[{},{"a":1,"b":{},"a":2}]', '"x":{"y":{"z":{"a":1,"\\u0061":2}}}',
  '"x":{"a":{"b":1},"a":2}', '"a":{"a":1},"a":2',
}

-- Names that differ, or are of different objects.
local DIFFERENT = {
  '"a":1,"A":2', '"a":1,"b":{"a":2,"b":{"a":3}}', '"a":{"c":1},"b":{"c":1}', '"a":1,"a\\u0000":2',
  '"a":[{"b":1},{"b":2}]', '"ab":1,"a":2,"b":3,"":4', '"\\\\u0061":1,"a":2',
}

describe("The header of a JWT", function()
  for _, header in ipairs(NOT_OBJECTS) do
    it(("is not %q"):format(header), function()
      refused("token_malformed", header)
    end)
  end

  for _, members in ipairs(DUPLICATES) do
    it("does not have " .. members, function()
      refused("token_malformed", ('{"alg":"RS256",%s}'):format(members))
    end)
  end

  for _, members in ipairs(DIFFERENT) do
    it("may have " .. members, function()
      assert.truthy(core.jwt(unsigned(('{"alg":"RS256",%s}'):format(members), "{}")))
    end)
  end

  for _, header in ipairs {
    '{"alg":"RS256","alg":"none"}', '{"alg":"none","alg":"RS256"}',
    '{"alg":"RS256","\\u0061lg":"HS256"}', '{"alg":"RS256","kid":"a","kid":"b"}',
    '{"alg":"RS256","alg":"RS256"}',
  } do
    it("does not say a thing twice: " .. header, function()
      refused("token_malformed", header)
    end)
  end

  for _, alg in ipairs {
    '"none"', '"None"', '"NONE"', '"nOnE"', '""', '"HS256"', '"HS384"', '"HS512"', '"RS384"',
    '"RS512"', '"PS256"', '"ES256"', '"EdDSA"', '"rs256"', '"RS256 "', '" RS256"', '"RS256\\u0000"',
    '"RS2560"', '"RS25"', '"RSA-OAEP"', "null", "true", "256", '["RS256"]', '{"alg":"RS256"}',
  } do
    it("is not accepted with the algorithm " .. alg, function()
      refused("token_algorithm_refused", ('{"alg":%s}'):format(alg))
    end)
  end

  it("is not accepted without an algorithm", function()
    refused("token_algorithm_refused", "{}")
    refused("token_algorithm_refused", '{"ALG":"RS256"}')
    refused("token_algorithm_refused", '{"x":{"alg":"RS256"}}')
  end)

  it("is not accepted with a key's text as the secret of an HMAC", function()
    local text = vectors.signed:gsub("^[^.]+", encode '{"alg":"HS256"}')
    assert.equal("token_algorithm_refused",
      (refusal(text .. "." .. vectors.others["an HMAC by the public key"])))
  end)

  for _, alg in ipairs { '"RS256"', '"\\u0052S256"', ' "RS256" ' } do
    it("is accepted with the algorithm " .. alg, function()
      assert.truthy(core.jwt(unsigned(('{"alg":%s}'):format(alg), "{}")))
    end)
  end

  for _, member in ipairs {
    '"typ":"at+jwt"', '"typ":"application/at+jwt"', '"typ":"jwt"', '"typ":"JOSE"', '"typ":""',
    '"typ":null', '"typ":1', '"typ":["JWT"]', '"cat":"cl_B7d4PD111AAA"', '"cat":"cl_B7d4PD222AAA"',
    '"cat":"cl_I7d4PD111III"', '"cat":"cl_B7d4PD333AAA "', '"cat":""', '"cat":null', '"cat":1',
    '"cat":["cl_B7d4PD333AAA"]', '"crit":["exp"]', '"crit":[]', '"crit":null', '"jku":"https://a"',
    '"jwk":{}', '"x5u":"https://a"', '"x5c":[]', '"b64":true', '"b64":false', '"zip":"DEF"',
    '"\\u0063rit":[]',
  } do
    it("is refused with " .. member, function()
      refused("token_type_refused", ('{"alg":"RS256",%s}'):format(member))
      refused("token_type_refused", ('{%s,"alg":"RS256"}'):format(member))
    end)
  end

  for _, member in ipairs {
    '"typ":"JWT"', '"cat":"cl_B7d4PD333AAA"', '"kid":""', '"x5t":"a"', '"cty":"JWT"', '"CRIT":1',
    '"x":{"crit":["b64"],"cat":"cl_B7d4PD111AAA"}',
  } do
    it("may have " .. member, function()
      assert.truthy(core.jwt(unsigned(('{"alg":"RS256",%s}'):format(member), "{}")))
    end)
  end

  it("may have spaces", function()
    assert.equal("a",
      assert(core.jwt(unsigned(' \n{ "alg" :\t"RS256" , "kid" : "a" }\r\n', " { } "))):kid())
  end)

  for _, kid in ipairs { "null", "1", "true", "[]", "{}" } do
    it("does not have a key ID that is " .. kid, function()
      refused("token_malformed", ('{"alg":"RS256","kid":%s}'):format(kid))
    end)
  end

  for text, kid in pairs {
    [""] = "", ["a\\u0000b"] = "a\0b", ["\\u00e4\\n"] = "ä\n", ['\\"'] = '"',
    ["\\ud83d"] = "\239\191\189",
  } do
    it("has the key ID " .. text, function()
      local header = ('{"alg":"RS256","kid":"%s"}'):format(text)
      assert.equal(kid, assert(core.jwt(unsigned(header, "{}"))):kid())
    end)
  end

  it("may be without a key ID", function()
    assert.is_nil(assert(core.jwt(unsigned('{"alg":"RS256"}', "{}"))):kid())
  end)
end)

describe("The payload of a JWT", function()
  for _, payload in ipairs(NOT_OBJECTS) do
    it(("is not %q"):format(payload), function()
      refused("token_malformed", GOOD_HEADER, payload)
    end)
  end

  for _, members in ipairs(DUPLICATES) do
    it("does not have " .. members, function()
      refused("token_malformed", GOOD_HEADER, ("{%s}"):format(members))
    end)
  end

  for _, members in ipairs(DIFFERENT) do
    it("may have " .. members, function()
      assert.truthy(core.jwt(unsigned(GOOD_HEADER, ("{%s}"):format(members))))
    end)
  end

  it("does not name its subject twice", function()
    refused("token_malformed", GOOD_HEADER, '{"sub":"mch_1","exp":1800000060,"sub":"mch_2"}')
    refused("token_malformed", GOOD_HEADER, '{"sub":"mch_1","exp":1800000060,"su\\u0062":"mch_2"}')
  end)

  it("may have as many members as fit, and one of them twice is seen", function()
    local names = {}
    for i = 1, 700 do
      names[i] = ('"%x":1'):format(i)
    end
    local members = table.concat(names, ",")
    assert.truthy(core.jwt(unsigned(GOOD_HEADER, ("{%s}"):format(members))))
    refused("token_malformed", GOOD_HEADER, ('{%s,"1":2}'):format(members))
    refused("token_malformed", GOOD_HEADER, ('{"2bc":2,%s}'):format(members))
    refused("token_malformed", GOOD_HEADER, ("{%s}"):format(('"":1,'):rep(1200) .. '"":1'))
  end)

  it("is refused, whatever it holds, when it is not complete", function()
    local deep = "{" .. ('"":{'):rep(511)
    for length = 6130, 6141 do -- with the header, as long as can be
      local payload = (deep .. ('"":1,'):rep(1000)):sub(1, length - 20)
      refused("token_malformed", '{"alg":"RS256"}', payload)
    end
  end)

  it("may be nested as deeply as JSON may", function()
    local function nested(depth)
      return ('{"a":'):rep(depth) .. "1" .. ("}"):rep(depth)
    end
    assert.truthy(core.jwt(unsigned(GOOD_HEADER, nested(512))))
    refused("token_malformed", GOOD_HEADER, nested(513))
  end)
end)

describe("The subject of a JWT", function()
  for _, subject in ipairs {
    "mch_1", "mch_2xhFjEI5X2qWRvtV13BzSj8H6Dk", "mch__", "mch_" .. ("z"):rep(64), "mch\\u005f1",
    "\\u006dch_A",
  } do
    it("may be " .. subject, function()
      local token = judged(('{"sub":"%s","exp":1800000060}'):format(subject))
      assert.equal(subject:gsub("\\u005f", "_"):gsub("\\u006d", "m"), token.subject)
    end)
  end

  for _, subject in ipairs {
    "", "mch_", "mch", "MCH_1", "Mch_1", " mch_1", "mch_1 ", "mch_1\\n", "mch_1\\u0000",
    "mch_1\\u0000mch_2", "mch_1/2", "mch_1.", "mch_..", "mch_ä", "mch-1", "user_1", "xmch_1",
    "sess_1", "mch_" .. ("z"):rep(65), "mch_1,mch_2", "mch_%31", "mch_\\uff11",
  } do
    it(("is not %q"):format(subject), function()
      assert.equal("token_type_refused",
        code_of(judged(('{"sub":"%s","exp":1800000060}'):format(subject))))
    end)
  end

  for _, subject in ipairs { "null", "1", "true", '["mch_1"]', '{"sub":"mch_1"}' } do
    it("is not " .. subject, function()
      local payload = ('{"sub":%s,"exp":1800000060}'):format(subject)
      assert.equal("token_malformed", code_of(judged(payload)))
    end)
  end

  it("is required", function()
    assert.equal("token_malformed", code_of(judged '{"exp":1800000060}'))
    assert.equal("token_malformed", code_of(judged '{"exp":1800000060,"x":{"sub":"mch_1"}}'))
  end)
end)

describe("The ID of a JWT", function()
  it("is jti", function()
    assert.equal("mt_ä", judged_with('"jti":"mt_\\u00e4"').id)
    assert.equal("", judged_with('"jti":""').id)
  end)

  for _, id in ipairs { "null", "1", "{}" } do
    it("is not " .. id, function()
      assert.equal("token_malformed", code_of(judged_with('"jti":' .. id)))
    end)
  end
end)

describe("The times of a JWT", function()
  local NOT_TIMES = {
    "null", "true", '"1800000060"', '""', "[]", "[1800000060]", "{}", "-1", "-0.001", "-1800000060",
    "1e300", "-1e300", "1e999", "-1e999", "1e13", "1000000000001", "1800000060000",
    "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551615",
    "18446744073709551617", "100000000000000000000000000000000000001", "9007199254740993",
  }

  for _, name in ipairs { "exp", "nbf", "iat" } do
    for _, value in ipairs(NOT_TIMES) do
      it(("are not %s for %s"):format(value, name), function()
        local members = { exp = "1800000060", [name] = value }
        local payload = '{"sub":"mch_1"'
        for member, text in pairs(members) do
          payload = ('%s,"%s":%s'):format(payload, member, text)
        end
        assert.equal("token_malformed", code_of(judged(payload .. "}")))
      end)
    end
  end

  it("hold an expiration", function()
    assert.equal("token_malformed", code_of(judged '{"sub":"mch_1"}'))
    assert.equal("token_malformed", code_of(judged '{"sub":"mch_1","EXP":1800000060}'))
    assert.equal("token_malformed", code_of(judged '{"sub":"mch_1","x":{"exp":1800000060}}'))
  end)

  for text, ms in pairs {
    ["1800000060"] = 1800000060000, ["1800000060.0"] = 1800000060000,
    ["1800000060.5"] = 1800000060500,
    ["1800000060.0009"] = 1800000060001, ["1.80000006e9"] = 1800000060000,
    ["18000000600e-1"] = 1800000060000, ["1e12"] = 1e15, ["1000000000000"] = 1e15,
  } do
    it(("are read from %s"):format(text), function()
      local token, times = judged(('{"sub":"mch_1","exp":%s}'):format(text))
      assert.equal(ms, token.expiration)
      assert.equal(ms, times.expiration)
      if math.type then assert.equal("integer", math.type(token.expiration)) end
    end)
  end

  for _, zero in ipairs { "0", "-0", "0.0", "-0.0", "0e9", "1e-300" } do
    it(("may be %s, which is long ago"):format(zero), function()
      assert.equal("token_expired", code_of(judged(('{"sub":"mch_1","exp":%s}'):format(zero))))
      assert.truthy(judged_with(('"nbf":%s,"iat":%s'):format(zero, zero)))
    end)
  end

  local EXP = 1800000060000

  it("end the token, whose clock may be slow by the skew", function()
    assert.truthy(judged(GOOD_PAYLOAD, EXP + SKEW - 1))
    assert.equal("token_expired", code_of(judged(GOOD_PAYLOAD, EXP + SKEW)))
    assert.equal("token_expired", code_of(judged(GOOD_PAYLOAD, 1e15)))
  end)

  for _, name in ipairs { "nbf", "iat" } do
    it("begin the token by " .. name, function()
      local members = ('"%s":1800000010'):format(name)
      assert.truthy(judged_with(members, 1800000010000 - SKEW))
      assert.equal("token_not_active", code_of(judged_with(members, 1800000010000 - SKEW - 1)))
      assert.equal("token_not_active", code_of(judged_with(members, 0)))
    end)
  end

  it("are compared to the millisecond without a skew", function()
    local jwt = verified(GOOD_HEADER, '{"sub":"mch_1","exp":1800000060.001,"nbf":1800000060}')
    assert.equal("token_not_active", code_of(jwt:token(EXP - 1, 0)))
    assert.truthy(jwt:token(EXP, 0))
    assert.equal("token_expired", code_of(jwt:token(EXP + 1, 0)))
  end)

  it("become created_at and updated_at", function()
    local token, times = judged_with '"iat":1799999999.25,"nbf":1799999998'
    assert.same({ 1799999999250, 1799999999250 }, { token.created_at, token.updated_at })
    assert.same({ expiration = EXP, issued_at = 1799999999250, not_before = 1799999998000 }, times)
  end)

  it("are compared with times of a clock", function()
    local jwt = verified(GOOD_HEADER, GOOD_PAYLOAD)
    for _, odd in ipairs { -1, 0 / 0, 1 / 0, -1 / 0, 1e16, "now", {}, false } do
      assert.has_error(function() jwt:token(odd, SKEW) end)
      assert.has_error(function() jwt:token(NOW, odd) end)
    end
    assert.has_error(function() jwt:token(NOW) end)
    assert.truthy(jwt:token(NOW + 0.5, 0.5))
  end)
end)

describe("Times that are judged again", function()
  local function judge(times, now, skew)
    return core.judge_times(times, now, skew or 0)
  end

  it("are good or not by the same rules", function()
    local times = { expiration = 3000, not_before = 1000, issued_at = 500 }
    assert.is_true(judge(times, 1000))
    assert.is_true(judge(times, 2999))
    assert.equal("token_expired", code_of(judge(times, 3000)))
    assert.is_true(judge(times, 3000, 1))
    assert.equal("token_not_active", code_of(judge(times, 999)))
    assert.is_true(judge(times, 999, 1))
    assert.equal("token_not_active", code_of(judge({ expiration = 3000, issued_at = 1001 }, 1000)))
  end)

  it("may be those that jwt:token returned", function()
    local _, times = judged_with '"iat":1799999999,"nbf":1799999998'
    assert.is_true(judge(times, NOW, SKEW))
    assert.equal("token_expired", code_of(judge(times, 1800000060000)))
  end)

  it("do not end without an expiration, as with opaque tokens", function()
    assert.is_true(judge({}, 0))
    assert.is_true(judge({}, 1e15))
  end)

  it("are numbers", function()
    for _, name in ipairs { "expiration", "not_before", "issued_at" } do
      for _, odd in ipairs { "soon", -1, 0 / 0, 1 / 0, 1e16, {}, false } do
        assert.has_error(function() judge({ [name] = odd }, NOW) end)
      end
    end
    assert.has_error(function() core.judge_times(nil, NOW, SKEW) end)
    assert.has_error(function() core.judge_times({}, 0 / 0, SKEW) end)
    assert.has_error(function() core.judge_times({}, NOW, -1) end)
  end)
end)

describe("The scopes of a JWT", function()
  for members, scopes in pairs {
    ['"scopes":"mch_1 mch_2"'] = { "mch_1", "mch_2" },
    ['"scopes":"  mch_1   mch_2 "'] = { "mch_1", "mch_2" },
    ['"scopes":"mch_1\\u0020mch_2"'] = { "mch_1", "mch_2" },
    ['"scopes":"mch_1,mch_2"'] = { "mch_1,mch_2" },
    ['"scopes":"mch_1\\tmch_2"'] = { "mch_1\tmch_2" },
    ['"scopes":"mch_1\\u0000"'] = { "mch_1\0" },
    ['"scopes":""'] = {},
    ['"scopes":" "'] = {},
    ['"scopes":["mch_1","mch_\\u0032"]'] = { "mch_1", "mch_2" },
    ['"scopes":["mch_1 mch_2","mch_3",""]'] = { "mch_3" },
    ['"scopes":[["mch_1"],{"mch_2":"mch_3"},null,4,"mch_5"]'] = { "mch_5" },
    ['"scopes":[]'] = {},
    ['"scopes":"","aud":"mch_1"'] = {},
    ['"scopes":null,"aud":"mch_1"'] = {},
    ['"scopes":{"mch_1":true},"aud":"mch_1"'] = {},
    ['"scopes":7,"aud":["mch_1"]'] = {},
    ['"scopes":"mch_1","aud":"mch_2"'] = { "mch_1" },
    ['"aud":"mch_2","scopes":["mch_1"]'] = { "mch_1" },
    ['"aud":"mch_1"'] = { "mch_1" },
    ['"aud":"mch_1 mch_2"'] = {},
    ['"aud":["mch_1","mch_2"]'] = { "mch_1", "mch_2" },
    ['"aud":["mch_1 mch_2"]'] = {},
    ['"aud":null'] = {},
    ['"aud":{"mch_1":"mch_2"}'] = {},
    ['"scope":"mch_1","Scopes":"mch_2","x":{"scopes":"mch_3"}'] = {},
  } do
    it("of " .. members .. " are " .. table.concat(scopes, " and "), function()
      assert.same(scopes, judged_with(members).scopes)
    end)
  end

  it("may be as many as fit", function()
    local scopes = judged_with(('"scopes":"%s"'):format(("a "):rep(2700))).scopes
    assert.equal(2700, #scopes)
    assert.equal("a", scopes[2700])
    assert.equal(1400, #judged_with(('"scopes":[%s"a"]'):format(('"a",'):rep(1399))).scopes)
  end)
end)

describe("The claims of a JWT", function()
  it("are what the token's own fields do not say", function()
    assert.same({ aud = "a", scopes = "b", name = "c", Sub = "d" }, judged_with(
      '"iss":"i","nbf":1,"iat":1,"jti":"j","aud":"a","scopes":"b","name":"c","Sub":"d"').claims)
  end)

  it("are absent when nothing is left", function()
    assert.is_nil(judged_with('"iss":"i","nbf":1,"iat":1,"jti":"j"').claims)
    assert.is_nil(judged_with('"a":null').claims)
  end)

  it("keep every kind of value", function()
    local token = judged_with '"a":[],"o":{"sub":"x"},"f":1.5,"b":false,"n":[null],"s":"\\u00e4"'
    assert.same({ a = {}, o = { sub = "x" }, f = 1.5, b = false, n = { core.null }, s = "ä" },
      token.claims)
  end)

  if math.type then
    it("keep whole numbers as integers", function()
      local claims = judged_with('"i":9007199254740993,"f":1.0').claims
      assert.equal(9007199254740993, claims.i)
      assert.equal("integer", math.type(claims.i))
      assert.equal("float", math.type(claims.f))
    end)
  end

  it("are new tables each time", function()
    local jwt = verified(GOOD_HEADER, '{"sub":"mch_1","exp":1800000060,"a":{}}')
    local one, other = jwt:token(NOW, SKEW), jwt:token(NOW, SKEW)
    assert.not_equal(one, other)
    assert.not_equal(one.claims.a, other.claims.a)
    assert.not_equal(one.scopes, other.scopes)
  end)
end)

describe("The table of refusals", function()
  it("names each of them once, with a sentence", function()
    local names = {}
    for i, refused_as in ipairs(core.refusals) do
      names[i] = refused_as.name
      assert.matches("^The token.*%.$", refused_as.summary:gsub("^The API", "The token"))
    end
    assert.same({
      "token_malformed", "token_type_refused", "token_algorithm_refused", "token_key_unknown",
      "token_signature_invalid", "token_expired", "token_not_active", "token_revoked",
      "token_unknown", "token_not_granted",
    }, names)
  end)
end)

describe("A token that was changed", function()
  local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  local text = own:jwt(GOOD_HEADER, '{"sub":"mch_1","exp":1800000060,"scopes":"mch_2 mch_3"}')
  local another = own:jwt(GOOD_HEADER, '{"sub":"mch_9","exp":1800000061,"scopes":"mch_9"}')
  local state = 20260101

  local function random(max)
    state = (state * 1103515245 + 12345) % 2 ^ 31
    return math.floor(state / 65536) % max + 1
  end

  local function replaced(from, to, by)
    return text:sub(1, from - 1) .. by .. text:sub(to + 1)
  end

  local function digit()
    local place = random(#ALPHABET)
    return ALPHABET:sub(place, place)
  end

  local function parts(of)
    return of:match "^(.-)%.(.-)%.(.-)$"
  end

  local changes = {
    function() -- a digit is another
      local place = random(#text)
      return replaced(place, place, digit())
    end,
    function() -- a byte is any other
      local place = random(#text)
      return replaced(place, place, string.char(random(256) - 1))
    end,
    function() -- a digit more
      local place = random(#text)
      return replaced(place, place - 1, digit())
    end,
    function() -- some bytes fewer
      local place = random(#text)
      return replaced(place, place + random(4) - 1, "")
    end,
    function() -- cut
      return text:sub(1, random(#text) - 1)
    end,
    function() -- two neighbours change places
      local place = random(#text - 1)
      return replaced(place, place + 1, text:sub(place, place + 1):reverse())
    end,
    function() -- the end of another token
      local place = random(#text - 1)
      return text:sub(1, place) .. another:sub(place + 1)
    end,
    function() -- several digits are others
      local changed = text
      for _ = 1, random(5) + 1 do
        local place = random(#text)
        changed = changed:sub(1, place - 1) .. digit() .. changed:sub(place + 1)
      end
      return changed
    end,
    function() -- parts of both tokens
      local head, body, signature = parts(text)
      local _, other_body, other_signature = parts(another)
      local choice = random(3)
      return table.concat({ head, choice == 1 and other_body or choice == 2 and head or body,
        choice == 1 and signature or choice == 2 and signature or other_signature }, ".")
    end,
    function() -- a payload of one's own
      local head, _, signature = parts(text)
      local payload = ('{"sub":"mch_%d","exp":1800000060}'):format(random(1e6))
      return head .. "." .. encode(payload) .. "." .. signature
    end,
  }

  it("is never accepted, in a thousand tries", function()
    local verdicts = { malformed = 0, unverified = 0 }
    local tried = 0
    while tried < 1000 do
      local changed = changes[tried % #changes + 1]()
      if changed ~= text and changed ~= another then -- which may come by chance
        tried = tried + 1
        local jwt = core.jwt(changed)
        assert(not jwt or not jwt:verify(key), changed)
        local verdict = jwt and "unverified" or "malformed"
        verdicts[verdict] = verdicts[verdict] + 1
      end
    end
    assert.is_true(verdicts.malformed > 200)
    assert.is_true(verdicts.unverified > 200)
  end)
end)
