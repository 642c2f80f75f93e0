-- Which failures are repeated, after which waits, and what the client reports about it.

local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local fake = require "support.fake"

local almost_one = 1 - 2 ^ -32

-- One call of each method, and of each rule that is not the method's, as core.call takes it.
local calls = {
  GET = { "get", nil, "mch_1" },
  PATCH = { "update", {}, "mch_1" },
  DELETE = { "delete", nil, "mch_1" },
  POST = { "create", { name = "a" } },
  ["a POST that reads"] = { "verify_token", { token = "mt_1" } },
  ["a POST that is harmless twice"] = { "revoke_token", {}, "mt_1" },
  ["a POST that may reuse a token"] = { "create_token", { min_remaining_ttl_seconds = 0 } },
}

-- What is repeated although the server may have acted on it.
local REPEATABLE = { "GET", "PATCH", "DELETE", "a POST that reads",
  "a POST that is harmless twice", "a POST that may reuse a token" }

local function merge(defaults, given)
  local result = {}
  for name, value in pairs(defaults) do result[name] = value end
  for name, value in pairs(given or {}) do result[name] = value end
  return result
end

local function policy(given)
  given = given or {}
  local retries = merge({
    strategy = "backoff", retry_connection_errors = true, repeat_unsafe = false,
    status_codes = { "5XX", 429 },
  }, given)
  retries.backoff = merge({
    initial_interval = 500, max_interval = 60000, exponent = 1.5, max_elapsed_time = 60000,
  }, given.backoff)
  return retries
end

--- A call by method that starts at 0 ms, or at `start_ms`.
local function begin(method, retries, deadline_ms, start_ms)
  local settings = core.settings {
    base_url = "https://api.test", api_version = "1", user_agent = "spec", headers = {},
    check_bounds = true, retries = policy(retries), deadline_ms = deadline_ms,
    timeout_ms = 1000, connect_timeout_ms = 1000, max_response_bytes = 1000,
  }
  return assert(core.call(calls[method][1], settings, start_ms or 0, calls[method][2],
    calls[method][3]))
end

local function receive(call, answer, now, random)
  return call:receive(not answer.failure and answer or nil, answer.failure, now or 0, random or 0)
end

--- The verdict on the first attempt of a fresh call.
local function first(method, answer, retries)
  return receive(begin(method, retries), answer)
end

local function outcome(...)
  return first(...).outcome
end

--- The waits, which alone take time, until a call whose attempts all end alike gives up, or
--- `count` of them.
local function waits(call, answer, random, count)
  local result, now = {}, 0
  for i = 1, count do
    local verdict = receive(call, answer, now, random)
    if verdict.outcome ~= "again" then return result, verdict end
    result[i], now = verdict.wait_ms, now + verdict.wait_ms
  end
  return result
end

local function busy(retry_after, date)
  return fake.answer(429, '{"errors":[]}', { ["retry-after"] = retry_after, date = date })
end

local lost = fake.failure("connection_lost", true)
local unsent = fake.failure("connect_failed", false)

--- Whether a wait is the expected one, minus the time that has really passed in between.
local function is_near(expected, actual)
  return actual <= expected and actual > expected - 1000
end

--- Whether a wait is the rest of a pause and the random part of a second after it.
local function is_spread(pause_ms, waited_ms)
  return waited_ms > pause_ms - 2000 and waited_ms <= pause_ms + 1000
end

describe("a call", function()
  it("is done after a success", function()
    for method in pairs(calls) do
      for _, status in ipairs { 200, 201, 202, 299 } do
        local verdict = first(method, fake.answer(status, fake.ok.body))
        assert.equal("done", verdict.outcome)
        assert.equal("mch_1", verdict.value.id)
        assert.is_nil(verdict.wait_ms)
      end
    end
  end)

  for _, method in ipairs(REPEATABLE) do
    it("by " .. method .. " is repeated after a 429 and every 5XX", function()
      for _, status in ipairs { 429, 500, 501, 502, 503, 504, 520, 599 } do
        assert.equal("again", outcome(method, fake.answer(status)))
      end
    end)

    it("by " .. method .. " is repeated after every failure that may pass, sent or not", function()
      for _, code in ipairs { "dns_failed", "connect_failed", "connection_lost", "timeout" } do
        assert.equal("again", outcome(method, fake.failure(code, true)))
        assert.equal("again", outcome(method, fake.failure(code, false)))
      end
    end)
  end

  it("by POST is repeated after a 429 and after no other status", function()
    assert.equal("again", outcome("POST", fake.answer(429)))
    for _, status in ipairs { 500, 501, 502, 503, 504, 520, 599 } do
      assert.equal("failed", outcome("POST", fake.answer(status)))
      assert.equal("failed", outcome("POST", fake.answer(status, "", { ["retry-after"] = "1" })))
    end
  end)

  it("by POST is repeated after a failure only when nothing was sent", function()
    for _, code in ipairs { "dns_failed", "connect_failed", "connection_lost", "timeout" } do
      assert.equal("again", outcome("POST", fake.failure(code, false)))
      assert.equal("failed", outcome("POST", fake.failure(code, true)))
    end
  end)

  it("by POST is not repeated when the transport does not say whether it sent anything", function()
    assert.equal("failed", outcome("POST", fake.failure("connection_lost", nil)))
  end)

  it("by POST stays safe in later attempts", function()
    local call = begin "POST"
    assert.equal("again", receive(call, unsent).outcome)
    assert.equal("again", receive(call, fake.answer(429)).outcome)
    assert.equal("failed", receive(call, fake.answer(503)).outcome)
  end)

  it("by POST is repeated like any other call when repeat_unsafe is set", function()
    local unsafe = { repeat_unsafe = true }
    assert.equal("again", outcome("POST", fake.answer(503), unsafe))
    assert.equal("again", outcome("POST", lost, unsafe))
    assert.equal("failed", outcome("POST", fake.answer(422), unsafe))
    assert.equal("failed", outcome("POST", fake.failure("tls_failed", false), unsafe))
  end)

  it("is not repeated after any other status", function()
    for method in pairs(calls) do
      for _, status in ipairs { 100, 205, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 408,
        409, 413, 415, 422, 425, 428, 431, 499 } do
        assert.equal("failed", outcome(method, fake.answer(status)))
      end
    end
  end)

  it("is not repeated after a success that cannot be used", function()
    for method in pairs(calls) do
      for _, body in ipairs { "", "<html>", "[]", "null", "{", "{}" } do
        assert.equal("failed", outcome(method, fake.answer(200, body)))
      end
    end
  end)

  it("is not repeated after a failure that would only happen again", function()
    for method in pairs(calls) do
      for _, code in ipairs { "tls_failed", "response_too_large", "bad_response", "cancelled" } do
        for _, sent in ipairs { true, false } do
          local verdict = first(method, fake.failure(code, sent))
          assert.equal("failed", verdict.outcome)
          assert.equal("TransportError", verdict.type)
          assert.equal(code, verdict.code)
        end
      end
    end
  end)

  it("is never repeated with the strategy \"none\"", function()
    for method in pairs(calls) do
      for _, answer in ipairs { fake.answer(503), busy "1", lost, unsent } do
        assert.equal("failed", outcome(method, answer, { strategy = "none" }))
      end
    end
  end)

  it("is repeated after the configured statuses instead of the default ones", function()
    local only = { status_codes = { 409, "418", "3XX", 503 } }
    for _, status in ipairs { 409, 418, 300, 302, 399, 503 } do
      assert.equal("again", outcome("GET", fake.answer(status), only))
    end
    for _, status in ipairs { 400, 404, 417, 419, 429, 500, 502, 599 } do
      assert.equal("failed", outcome("GET", fake.answer(status), only))
    end
  end)

  it("by POST is not repeated after a status just because it is configured", function()
    local asked = { status_codes = { "4XX", "5XX" } }
    assert.equal("failed", outcome("POST", fake.answer(409), asked))
    assert.equal("failed", outcome("POST", fake.answer(503), asked))
    assert.equal("again", outcome("POST", fake.answer(429), asked))
    assert.equal("failed", outcome("POST", fake.answer(429), { status_codes = { "5XX" } }))
  end)

  it("is not repeated after any status when the configured list is empty", function()
    assert.equal("failed", outcome("GET", fake.answer(503), { status_codes = {} }))
    assert.equal("failed", outcome("GET", busy "1", { status_codes = {} }))
    assert.equal("again", outcome("GET", lost, { status_codes = {} }))
  end)

  it("is not repeated after transport failures when those are excluded", function()
    local no_connection = { retry_connection_errors = false }
    for method in pairs(calls) do
      for _, code in ipairs { "dns_failed", "connect_failed", "connection_lost", "timeout" } do
        assert.equal("failed", outcome(method, fake.failure(code, false), no_connection))
      end
    end
    assert.equal("again", outcome("GET", fake.answer(503), no_connection))
  end)
end)

describe("the backoff", function()
  local doubling = {
    backoff = {
      initial_interval = 1000, exponent = 2, max_interval = 6000, max_elapsed_time = 1e9,
    },
  }

  it("is at least half of the interval", function()
    assert.same({ 500, 1000, 2000, 3000, 3000 },
      (waits(begin("GET", doubling), fake.answer(503), 0, 5)))
  end)

  it("is at most the interval", function()
    local most = waits(begin("GET", doubling), fake.answer(503), almost_one, 5)
    for i, expected in ipairs { 1000, 2000, 4000, 6000, 6000 } do
      assert.is_true(most[i] <= expected and most[i] >= expected - 1)
    end
  end)

  it("is spread evenly between the two", function()
    assert.same({ 750, 1500, 3000, 4500 },
      (waits(begin("GET", doubling), fake.answer(503), 0.5, 4)))
    assert.same({ 625, 1250 }, (waits(begin("GET", doubling), fake.answer(503), 0.25, 2)))
  end)

  it("starts at half a second by default and grows by half each time", function()
    local least = waits(begin "GET", fake.answer(503), 0, 6)
    for i, expected in ipairs { 250, 375, 562.5, 843.75, 1265.625, 1898.4375 } do
      assert.is_true(math.abs(least[i] - expected) < 1)
    end
  end)

  it("is the same after failures and for every method", function()
    for method in pairs(calls) do
      assert.same({ 500, 1000, 2000 }, (waits(begin(method, doubling), unsent, 0, 3)))
    end
  end)

  it("stays steady with an exponent of one", function()
    local steady = { backoff = { initial_interval = 800, exponent = 1 } }
    assert.same({ 400, 400, 400 }, (waits(begin("GET", steady), unsent, 0, 3)))
  end)

  it("never leaves its limits, however many attempts there are", function()
    local steep = {
      backoff = {
        initial_interval = 1, exponent = 1e6, max_interval = 8, max_elapsed_time = 1e12,
      },
    }
    local long = waits(begin("GET", steep), unsent, 0.5, 3000)
    assert.equal(3000, #long)
    for i = 2, #long do assert.equal(6, long[i]) end
  end)

  it("never waits when the interval is 0", function()
    local none = { backoff = { initial_interval = 0, exponent = 2 } }
    local short, verdict = waits(begin("GET", none), unsent, 0.5, 3000)
    assert.is_nil(verdict)
    for _, wait in ipairs(short) do assert.equal(0, wait) end
  end)
end)

describe("Retry-After", function()
  local dated = "Sun, 06 Nov 1994 08:49:07 GMT"

  --- The wait and the seconds of the verdict; the backoff would be 250.
  local function waited(retry_after, date)
    local verdict = receive(begin("GET", { backoff = { max_elapsed_time = 1e12 } }),
      busy(retry_after, date), 0, 0)
    assert.equal("again", verdict.outcome)
    return verdict.wait_ms, verdict.retry_after
  end

  for text, seconds in pairs { ["1"] = 1, ["7"] = 7, ["007"] = 7, ["3600"] = 3600 } do
    it("of " .. text .. " waits that many seconds", function()
      local wait, retry_after = waited(text)
      assert.equal(seconds * 1000, wait)
      assert.equal(seconds, retry_after)
    end)
  end

  it("of 0 waits as long as the backoff", function()
    local wait, retry_after = waited "0"
    assert.equal(250, wait)
    assert.equal(0, retry_after)
  end)

  it("never shortens the backoff, however often it is sent", function()
    for _, text in ipairs { "0", "1" } do
      local call = begin("GET", { backoff = { initial_interval = 3000 } })
      local growing = waits(call, busy(text), 0, 3)
      assert.same({ 1500, 2250, 3375 }, growing)
    end
  end)

  it("is not randomised, and may exceed the maximum interval", function()
    for _, random in ipairs { 0, 0.5, almost_one } do
      local call = begin("GET", { backoff = { max_interval = 1000 } })
      assert.equal(7000, receive(call, busy "7", 0, random).wait_ms)
    end
  end)

  it("applies to every status that is repeated", function()
    for _, status in ipairs { 429, 500, 503 } do
      local verdict = first("GET", fake.answer(status, "", { ["retry-after"] = "3" }))
      assert.equal(3000, verdict.wait_ms)
    end
  end)

  it("is also reported for an error that is not repeated", function()
    local verdict = first("POST", fake.answer(503, "", { ["retry-after"] = "3" }))
    assert.equal("failed", verdict.outcome)
    assert.equal(3, verdict.retry_after)
  end)

  it("has no effect on a success", function()
    local verdict = first("GET", fake.answer(200, fake.ok.body, { ["retry-after"] = "3" }))
    assert.equal("done", verdict.outcome)
  end)

  it("is not added to the backoff, and does not slow its growth", function()
    local call = begin "GET"
    assert.equal(2000, receive(call, busy "2").wait_ms)
    assert.equal(375, receive(call, fake.answer(503)).wait_ms)
  end)

  local forms = {
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
  }
  local now_forms = { dated, "Sunday, 06-Nov-94 08:49:07 GMT", "Sun Nov  6 08:49:07 1994" }
  for _, form in ipairs(forms) do
    for _, now in ipairs(now_forms) do
      it(("of %s is measured from a Date of %s"):format(form, now), function()
        local wait, retry_after = waited(form, now)
        assert.equal(30000, wait)
        assert.equal(30, retry_after)
      end)
    end
  end

  local spans = {
    { "Sun, 06 Nov 1994 08:49:07 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", 0, "the same moment" },
    { "Sun, 06 Nov 1994 08:49:06 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", 0, "a second ago" },
    { "Thu, 01 Jan 1970 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", 0, "long ago" },
    { "Mon, 07 Nov 1994 00:00:01 GMT", "Sun, 06 Nov 1994 23:59:59 GMT", 2, "past midnight" },
    { "Fri, 01 Mar 2024 00:00:10 GMT", "Thu, 29 Feb 2024 23:59:50 GMT", 20, "past a leap day" },
    { "Wed, 01 Mar 2023 00:00:10 GMT", "Tue, 28 Feb 2023 23:59:50 GMT", 20, "past a February" },
    { "Wed, 01 Mar 2000 00:00:10 GMT", "Tue, 29 Feb 2000 23:59:50 GMT", 20, "past 2000's leap" },
    { "Mon, 01 Mar 2100 00:00:10 GMT", "Sun, 28 Feb 2100 23:59:50 GMT", 20, "past 2100's none" },
    { "Thu, 01 Jan 2026 00:00:05 GMT", "Wed, 31 Dec 2025 23:59:55 GMT", 10, "past a year" },
    { "Sat, 01 Aug 2026 00:00:00 GMT", "Wed, 01 Jul 2026 00:00:00 GMT", 31 * 86400, "July" },
    { "Fri, 01 Jan 2027 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", 365 * 86400, "a year" },
  }
  for _, span in ipairs(spans) do
    it("of a date follows the calendar: " .. span[4], function()
      local wait, retry_after = waited(span[1], span[2])
      assert.equal(span[3], retry_after)
      assert.equal(math.max(250, span[3] * 1000), wait)
    end)
  end

  for _, nonsense in ipairs {
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "", " ", "-1", "+1", "1.5", "1e3", "0x10", "1s", "5 seconds", "soon", "now", "never", "NaN",
    "inf", "1,2", "1 2", "1;2", "\1", "Sunday", "06 Nov 1994", "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 PST", "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 06 Nov 1994 08:49:37 GMT+1", "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 06 N 1994 08:49:37 GMT", "Sun, 06 ovD 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1994 -8:49:37 GMT",
    "Sun, 06 Nov 94 08:49:37 GMT", "06 Nov 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 1994 GMT",
    ("9"):rep(5) .. "x",
  } do
    it(("of %q is ignored"):format(nonsense), function()
      local wait, retry_after = waited(nonsense, "Sun, 06 Nov 1994 08:49:07 GMT")
      assert.equal(250, wait)
      assert.is_nil(retry_after)
    end)
  end

  it("of a date is ignored when the Date header is missing or unreadable", function()
    for _, date in ipairs { false, "", "today", "7", "Sun, 06 Nov 1994" } do
      local wait, retry_after = waited(forms[1], date or nil)
      assert.equal(250, wait)
      assert.is_nil(retry_after)
    end
  end)

  it("of more seconds than a number holds is longer than any call waits", function()
    for _, text in ipairs { "2147483648", "4294967297", "9223372036854775808",
      "18446744073709551617", ("9"):rep(100) } do
      local verdict = first("GET", busy(text))
      assert.equal("failed", verdict.outcome)
      assert.is_true(verdict.retry_after >= 1e9)
    end
  end)
end)

describe("max_elapsed_time", function()
  local function within(ms)
    return { backoff = { initial_interval = 1000, exponent = 1, max_elapsed_time = ms } }
  end

  it("can be used up to the last millisecond, and no wait exceeds it", function()
    assert.equal("again", receive(begin "GET", busy "60", 0).outcome)
    assert.equal("failed", receive(begin "GET", busy "60", 1).outcome)
    assert.equal("failed", receive(begin "GET", busy "61", 0).outcome)
    assert.equal("again", receive(begin("GET", within(1500)), fake.answer(503), 1000, 0).outcome)
    assert.equal("failed", receive(begin("GET", within(1500)), fake.answer(503), 1001, 0).outcome)
  end)

  it("counts the waits", function()
    local begun, verdict = waits(begin("GET", within(2000)), fake.answer(503), 0, 100)
    assert.same({ 500, 500, 500, 500 }, begun)
    assert.equal("failed", verdict.outcome)
  end)

  it("counts the attempts", function()
    local call = begin("GET", within(2000))
    assert.equal("again", receive(call, fake.answer(503), 700).outcome)
    assert.equal("again", receive(call, fake.answer(503), 1300).outcome)
    assert.equal("failed", receive(call, fake.answer(503), 1501).outcome)
  end)

  it("counts from the start of the call, whatever the clock showed then", function()
    local call = begin("GET", within(1500), nil, 1e12)
    assert.equal("again", receive(call, fake.answer(503), 1e12 + 1000).outcome)
    assert.equal("failed", receive(call, fake.answer(503), 1e12 + 1001).outcome)
  end)

  it("of 0 allows no wait", function()
    assert.equal("failed", receive(begin("GET", within(0)), fake.answer(503)).outcome)
    assert.equal("failed", receive(begin("GET", within(0)), busy "0").outcome)
  end)

  it("ends the call with its last error", function()
    local call = begin("GET", within(500))
    assert.equal("again", receive(call, lost).outcome)
    local verdict = receive(call, fake.answer(502, "<html>"), 500)
    assert.equal("failed", verdict.outcome)
    assert.equal("SDKError", verdict.type)
    assert.equal("unexpected_status", verdict.code)
  end)
end)

describe("deadline_ms", function()
  it("is never reached by waiting", function()
    assert.equal("again", receive(begin("GET", nil, 5000), busy "4").outcome)
    assert.equal("failed", receive(begin("GET", nil, 5000), busy "6").outcome)
    assert.equal("failed", receive(begin("GET", nil, 5000), busy "4", 1001).outcome)
  end)

  it("counts the waits", function()
    local steady = { backoff = { initial_interval = 1000, exponent = 1 } }
    local begun = waits(begin("GET", steady, 1600), fake.answer(503), 0, 100)
    assert.same({ 500, 500, 500 }, begun)
  end)

  it("does not change max_elapsed_time, whether longer or shorter", function()
    assert.equal("failed", receive(begin("GET", nil, 100000), busy "61").outcome)
  end)

  it("limits the timeouts of later attempts to the time that is left", function()
    local client, transport = fake.client({ busy "2", busy "2", fake.ok }, { deadline_ms = 10000 })
    client:get "m"
    local left = {}
    for i, request in ipairs(transport.requests) do left[i] = request.timeout_ms end
    assert.is_true(is_near(10000, left[1]))
    assert.is_true(is_near(8000, left[2]))
    assert.is_true(is_near(6000, left[3]))
  end)

  it("raises the last error at once instead of waiting past it", function()
    local client, transport = fake.client({ busy "7" }, { deadline_ms = 5000 })
    local err = assert.has_error(function() client:get "m" end)
    assert.equal(429, err.status)
    assert.equal(1, err.attempts)
    assert.equal(7, err.retry_after)
    assert.same({}, transport.sleeps)
  end)
end)

describe("maybe_applied", function()
  --- That of the last verdict when a call's attempts end in these ways.
  local function after(method, answers, retries)
    local call, verdict = begin(method, retries), nil
    for i, answer in ipairs(answers) do
      verdict = receive(call, answer)
      assert.equal(i < #answers and "again" or "failed", verdict.outcome)
    end
    return verdict.maybe_applied
  end

  local changes = { "PATCH", "DELETE", "POST", "a POST that is harmless twice",
    "a POST that may reuse a token" }

  it("is never set for a call that only reads", function()
    for _, method in ipairs { "GET", "a POST that reads" } do
      for _, answer in ipairs { fake.answer(404), fake.answer(200, "x"),
        fake.failure("tls_failed", true) } do
        assert.is_nil(after(method, { answer }))
      end
      assert.is_nil(after(method, { lost, fake.answer(503), fake.answer(404) }))
    end
  end)

  it("is false for a change that was answered 4XX", function()
    for _, method in ipairs(changes) do
      for _, status in ipairs { 400, 401, 403, 404, 409, 422, 499 } do
        assert.is_false(after(method, { fake.answer(status) }))
      end
    end
  end)

  it("is false for a change when nothing was sent", function()
    for _, method in ipairs(changes) do
      assert.is_false(after(method, { fake.failure("tls_failed", false) }))
      assert.is_false(after(method, { unsent, fake.failure("cancelled", false) }))
      assert.is_false(after(method, { unsent, fake.answer(429), fake.answer(422) }))
    end
  end)

  it("is true for a change whose response was lost or was not a 4XX", function()
    for _, method in ipairs(changes) do
      for _, answer in ipairs { fake.failure("tls_failed", true),
        fake.failure("response_too_large", true), fake.answer(302), fake.answer(100),
        fake.answer(200, "<html>"), fake.answer(200, "[]"), fake.answer(200, "{}") } do
        assert.is_true(after(method, { answer }))
      end
    end
    assert.is_true(after("POST", { fake.answer(204) }))
    assert.is_true(after("POST", { lost }))
    assert.is_true(after("POST", { fake.answer(500) }))
  end)

  it("is true when the transport does not say whether it sent anything", function()
    for _, method in ipairs(changes) do
      assert.is_true(after(method, { fake.failure("tls_failed", nil) }))
    end
  end)

  it("is true for a change once any of its attempts may have been applied", function()
    for _, method in ipairs { "PATCH", "DELETE" } do
      assert.is_true(after(method, { lost, fake.answer(404) }))
      assert.is_true(after(method, { fake.answer(503), fake.answer(422) }))
      assert.is_true(after(method, { unsent, lost, fake.failure("tls_failed", false) }))
    end
    assert.is_true(after("POST", { lost, fake.answer(409) }, { repeat_unsafe = true }))
    assert.is_true(after("POST", { fake.answer(429), fake.answer(500) }))
  end)

  it("is not set for a success", function()
    assert.is_nil(first("POST", fake.ok).maybe_applied)
  end)

  it("is true for the 404 of a DELETE that was repeated after a lost response", function()
    local missing = fake.answer(404, '{"errors":[{"message":"no","code":"machine_not_found"}]}')
    local client = fake.client { lost, missing }
    local err = assert.has_error(function() client:delete "m" end)
    assert.equal("ClerkErrors", err.type)
    assert.equal(404, err.status)
    assert.equal(2, err.attempts)
    assert.is_true(err.maybe_applied)
  end)
end)

describe("the client", function()
  it("sleeps between attempts as long as the backoff says", function()
    local client, transport = fake.client { fake.answer(503), lost, unsent, fake.ok }
    local _, info = client:get "m"
    assert.equal(4, info.attempts)
    assert.equal(4, #transport.requests)
    assert.equal(3, #transport.sleeps)
    for i, interval in ipairs { 500, 750, 1125 } do
      local slept = transport.sleeps[i]
      assert.is_true(slept >= math.floor(interval / 2) and slept <= interval)
    end
  end)

  it("really waits when the transport has no sleep", function()
    local count, before = 0, core.now()
    local function send()
      count = count + 1
      return count > 1 and fake.ok or fake.answer(503)
    end
    fake.client({}, {
      transport = { send = send }, retries = { backoff = { initial_interval = 40 } },
    }):get "m"
    assert.is_true(core.now() - before >= 20)
  end)

  it("sleeps for a different time each time", function()
    local seen, count = {}, 0
    for _ = 1, 20 do
      local client, transport = fake.client { fake.answer(503), fake.ok }
      client:get "m"
      if not seen[transport.sleeps[1]] then count = count + 1 end
      seen[transport.sleeps[1]] = true
    end
    assert.is_true(count > 5)
  end)

  it("sends the same request again", function()
    local client, transport = fake.client { fake.answer(429), fake.ok }
    client:create { name = "a" }
    local one, other = transport.requests[1], transport.requests[2]
    for _, field in ipairs { "method", "url", "body" } do assert.equal(one[field], other[field]) end
    assert.same(one.headers, other.headers)
  end)

  it("gives up after a minute by default", function()
    local client, transport = fake.client { fake.answer(503) }
    local err = assert.has_error(function() client:get "m" end)
    local sum = 0
    for _, slept in ipairs(transport.sleeps) do sum = sum + slept end
    assert.is_true(sum <= 60000 and sum > 20000)
    assert.equal(#transport.requests, err.attempts)
    assert.equal(#transport.sleeps + 1, err.attempts)
  end)

  it("does not repeat when retries are false, for the client or for one call", function()
    local client, transport = fake.client({ fake.answer(503) }, { retries = false })
    assert.has_error(function() client:get "m" end)
    assert.equal(1, #transport.requests)
    client, transport = fake.client { fake.answer(503), fake.answer(503), fake.ok }
    assert.has_error(function() client:get("m", { retries = false }) end)
    assert.equal(1, #transport.requests)
    client:get "m"
    assert.equal(3, #transport.requests)
  end)

  it("merges given retries over the defaults field by field", function()
    local client, transport = fake.client({ busy "2", busy "2", fake.ok },
      { retries = { backoff = { max_elapsed_time = 3000 } } })
    assert.has_error(function() client:get "m" end)
    assert.equal(1, #transport.sleeps)
    assert.is_true(is_near(2000, transport.sleeps[1]))
  end)

  it("merges a call's retries over the client's field by field", function()
    local client, transport = fake.client({ fake.answer(503), fake.answer(500), fake.ok },
      { retries = { status_codes = { 503.0 }, backoff = { initial_interval = 100 } } })
    local err = assert.has_error(function()
      client:get("m", { retries = { backoff = { max_interval = 50000 } } })
    end)
    assert.equal(500, err.status)
    assert.equal(1, #transport.sleeps)
    assert.is_true(transport.sleeps[1] >= 50 and transport.sleeps[1] <= 100)
  end)

  it("turns retries on for one call where the client has none", function()
    local client, transport = fake.client({ fake.answer(503), fake.ok }, { retries = false })
    client:get("m", { retries = { strategy = "backoff" } })
    assert.equal(2, #transport.requests)
  end)
end)

describe("after a 429", function()
  --- A client that got a 429 with this Retry-After, and its transport.
  local function paused_client(seconds, options)
    local client, transport = fake.client({ busy(seconds), fake.ok }, options)
    assert.has_error(function() client:get("m", { retries = false }) end)
    return client, transport
  end

  it("a later call of the same client sleeps first, once", function()
    local client, transport = paused_client "30"
    assert.same({}, transport.sleeps)
    local _, info = client:list()
    assert.equal(1, info.attempts)
    assert.equal(1, #transport.sleeps)
    assert.is_true(is_spread(30000, transport.sleeps[1]))
    assert.equal(2, #transport.requests)
  end)

  it("calls without retries do not pause", function()
    local client, transport = paused_client "30"
    client:get("m", { retries = false })
    assert.same({}, transport.sleeps)
    assert.equal(2, #transport.requests)
  end)

  it("the other calls start spread out over a second", function()
    local client, transport = paused_client "30"
    function transport:sleep(ms)
      table.insert(self.sleeps, ms)
      error "enough"
    end
    for _ = 1, 50 do pcall(client.get, client, "m") end
    table.sort(transport.sleeps)
    assert.is_true(transport.sleeps[50] - transport.sleeps[1] > 500)
    assert.is_true(is_spread(30000, transport.sleeps[1]) and is_spread(30000, transport.sleeps[50]))
  end)

  it("the call itself waits an hour or more when configured to, other calls a minute", function()
    local patient = { retries = { backoff = { max_elapsed_time = 1e8 } } }
    local client, transport = fake.client({ busy "7200", fake.ok }, patient)
    client:get "m"
    assert.equal(1, #transport.sleeps)
    assert.is_true(is_near(7200000, transport.sleeps[1]))
    client, transport = paused_client("7200", patient)
    client:get "m"
    assert.equal(1, #transport.sleeps)
    assert.is_true(is_spread(60000, transport.sleeps[1]))
  end)

  it("the call itself sleeps once, and later calls do not sleep again", function()
    local client, transport = fake.client { busy "30", fake.ok }
    client:get "m"
    client:get "m"
    assert.equal(1, #transport.sleeps)
    assert.is_true(is_near(30000, transport.sleeps[1]))
    assert.equal(3, #transport.requests)
  end)

  it("another client is not held up", function()
    paused_client "30"
    local client, transport = fake.client { fake.ok }
    client:get "m"
    assert.same({}, transport.sleeps)
  end)

  it("a Retry-After of 0 pauses the other calls as long as the backoff", function()
    local client, transport = paused_client "0"
    client:get "m"
    assert.equal(1, #transport.sleeps)
    assert.is_true(transport.sleeps[1] > 200 and transport.sleeps[1] < 1600)
  end)

  --- A client whose first call gets the first answer after a second call, made meanwhile, has got
  --- the second one; all later ones are answered well.
  local function overlapping(first_answer, second_answer)
    local answers, client = { first_answer, second_answer }, nil
    local transport = fake.new()
    function transport.send()
      local answer = table.remove(answers, 1)
      if answers[1] then pcall(client.get, client, "m", { retries = false }) end
      return answer or fake.ok
    end
    client = fake.client({}, { transport = transport })
    return client, transport
  end

  it("a later response that asks for less does not shorten the pause", function()
    local client, transport = overlapping(busy "5", busy "40")
    client:get "m"
    assert.equal(2, #transport.sleeps)
    assert.is_true(is_near(5000, transport.sleeps[1]))
    assert.is_true(is_spread(35000, transport.sleeps[2]))
  end)

  it("a call fails with its own response when another call's pause is too long for it", function()
    local client = overlapping(busy "5", busy "90")
    local err = assert.has_error(function() client:get "m" end)
    assert.equal(429, err.status)
    assert.equal(1, err.attempts)
    assert.equal(5, err.retry_after)
  end)

  it("a 503 with Retry-After holds up no other call", function()
    local answer = fake.answer(503, "", { ["retry-after"] = "30" })
    local client, transport = fake.client { answer, fake.ok }
    assert.has_error(function() client:get("m", { retries = false }) end)
    client:get "m"
    assert.same({}, transport.sleeps)
  end)

  local function check_refusal(err, retry_after)
    assert.is_true(machines.is_error(err))
    assert.equal("TransportError", err.type)
    assert.equal("rate_limited", err.code)
    assert.equal(0, err.attempts)
    assert.is_true(err.retry_after <= retry_after and err.retry_after >= retry_after - 2)
    assert.is_nil(err.status)
  end

  it("a call that would have to wait past its max_elapsed_time fails at once", function()
    local client, transport = paused_client "90"
    local err = assert.has_error(function() client:get "m" end)
    check_refusal(err, 60)
    assert.equal("get", err.operation)
    assert.is_nil(err.maybe_applied)
    assert.equal(1, #transport.requests)
    assert.same({}, transport.sleeps)
  end)

  it("a call that would have to wait past its deadline fails at once", function()
    local client, transport = paused_client "30"
    local err = assert.has_error(function() client:get("m", { deadline_ms = 5000 }) end)
    check_refusal(err, 30)
    assert.equal(1, #transport.requests)
    client:get "m"
    assert.equal(2, #transport.requests)
  end)

  it("a change that fails this way was certainly not applied", function()
    local client = paused_client "90"
    for _, change in ipairs {
      function() client:create { name = "a" } end,
      function() client:update("m", {}) end,
      function() client:delete "m" end,
    } do
      local err = assert.has_error(change)
      check_refusal(err, 60)
      assert.is_false(err.maybe_applied)
    end
  end)

  it("the pause counts against the deadline of the call that waits", function()
    local client, transport = paused_client "3"
    client:get("m", { deadline_ms = 9000 })
    local left = transport.requests[2].timeout_ms
    assert.is_true(left > 4000 and left < 7000)
  end)
end)

describe("on_event", function()
  --- The events of `run`, and its transport or error.
  local function events_of(answers, run, options)
    local events = {}
    local settings = merge({ on_event = function(event) events[#events + 1] = event end }, options)
    local client, transport = fake.client(answers, settings)
    local ok, err = pcall(run, client)
    return events, ok and transport or err
  end

  local function types(events)
    local result = {}
    for i, event in ipairs(events) do result[i] = event.type end
    return result
  end

  local function get(client)
    client:get "mch_1"
  end

  it("reports one attempt, its response and the end", function()
    local events = events_of({ fake.ok }, get)
    assert.same({ "attempt", "answer", "end" }, types(events))
    for _, event in ipairs(events) do
      assert.equal("get", event.operation)
      assert.equal("GET", event.method)
      assert.equal("https://api.clerk.com/v1/machines/mch_1", event.url)
      assert.equal(1, event.attempt)
    end
    local answer = events[2]
    assert.equal(200, answer.status)
    assert.equal(#fake.ok.body, answer.bytes)
    assert.is_true(answer.elapsed_ms >= 0)
    assert.equal(200, events[3].status)
    assert.is_true(events[3].elapsed_ms >= 0)
  end)

  it("reports waits between attempts", function()
    local events, transport = events_of({ busy "2", lost, fake.ok }, get)
    assert.same({ "attempt", "answer", "wait", "attempt", "answer", "wait", "attempt", "answer",
      "end" }, types(events))
    assert.is_true(is_near(2000, events[3].wait_ms))
    assert.equal(transport.sleeps[1], events[3].wait_ms)
    assert.equal(transport.sleeps[2], events[6].wait_ms)
    assert.equal(429, events[2].status)
    assert.is_nil(events[5].status)
    assert.equal("connection_lost", events[5].code)
    for i, attempt in ipairs { 1, 1, 1, 2, 2, 2, 3, 3, 3 } do
      assert.equal(attempt, events[i].attempt)
    end
  end)

  it("reports the end of a call that fails", function()
    local events, err = events_of({ fake.answer(404) }, get)
    assert.same({ "attempt", "answer", "end" }, types(events))
    assert.equal(404, err.status)
    assert.equal(404, events[3].status)
    assert.equal(err.code, events[3].code)
    events = events_of({ fake.failure("tls_failed", false) }, get)
    assert.same({ "attempt", "answer", "end" }, types(events))
    assert.equal("tls_failed", events[3].code)
  end)

  it("reports the wait for another call's 429", function()
    local events = events_of({ busy "30", fake.ok }, function(client)
      pcall(client.get, client, "mch_1", { retries = false })
      client:get "mch_1"
    end)
    assert.same({ "attempt", "answer", "end", "wait", "attempt", "answer", "end" }, types(events))
    assert.is_true(is_spread(30000, events[4].wait_ms))
  end)

  it("of a call is called in addition to the client's", function()
    local seen = {}
    local function note(name)
      return function(event) table.insert(seen, name .. " " .. event.type) end
    end
    local client = fake.client({ fake.ok }, { on_event = note "client" })
    client:get("mch_1", { on_event = note "call" })
    assert.same({ "client attempt", "call attempt", "client answer", "call answer", "client end",
      "call end" }, seen)
    seen = {}
    client:get "mch_1"
    assert.same({ "client attempt", "client answer", "client end" }, seen)
    client, seen = fake.client { fake.ok }, {}
    for _ in client:pages({}, { on_event = note "call" }) do end
    assert.equal("call attempt", seen[1])
    assert.equal("ArgumentError", select(2, pcall(client.get, client, "m", { on_event = 1 })).type)
  end)

  it("never sees a key, a header or a body", function()
    local body = '{"object":"machine_secret_key","secret":"ak_1234567890"}'
    local events = events_of({ fake.answer(503, body), fake.answer(200, body) }, function(client)
      client:get_secret_key("mch_1", { headers = { ["X-A"] = "private value" } })
    end)
    assert.equal(6, #events)
    for _, event in ipairs(events) do
      for name, value in pairs(event) do
        assert.is_true(type(value) == "string" or type(value) == "number", name)
        for _, hidden in ipairs { fake.secret_key, "ak_1234567890", "private value" } do
          assert.is_nil(tostring(value):find(hidden, 1, true))
        end
      end
    end
  end)

  it("reports no attempt for a refused argument", function()
    local events = events_of({ fake.ok }, function(client) client:get "" end)
    assert.same({}, events)
  end)
end)
