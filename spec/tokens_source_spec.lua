-- A source of tokens: one mint however many ask, early refreshes, and tokens that were refused.

local error_of = require "support.error_of"
local json_writer = require "clerk.machines.json_writer"
local machines = require "clerk.machines"
local server = require "support.server"
local token_api = require "support.token_api"
local tokens = require "clerk.machines.tokens"

local SECOND_MS = 1000

-- A transport that mints what a spec has told it to, with a clock that the spec moves.
local mint = {}
mint.__index = mint

local function new_mint()
  return setmetatable({ time = 1800000000000, requests = {}, count = 0, faults = {} }, mint)
end

function mint:now() return self.time end

function mint:sleep(ms) self.time = self.time + ms end

local function http_date(ms)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", ms / 1000)
end

-- The next token; `reuse` returns the last one once more.
function mint:send(request)
  table.insert(self.requests, request)
  local fault = table.remove(self.faults, 1)
  if type(fault) == "table" then return nil, fault end
  if fault then return { status = fault, headers = {}, body = '{"errors":[{"code":"x"}]}' } end
  if not self.reuse then
    self.count = self.count + 1
    self.expiration = self.time + (self.life_ms or 300 * SECOND_MS)
  end
  return {
    status = 201,
    headers = { date = not self.has_no_date and http_date(self.time + (self.skew_ms or 0)) or nil },
    body = json_writer.write {
      object = "machine_to_machine_token", id = "mt_id_" .. self.count,
      token = "mt_secret_" .. self.count, subject = "mch_1", scopes = { "mch_2" },
      revoked = false, expired = false, created_at = self.time, updated_at = self.time,
      expiration = self.is_endless and machines.null or self.odd_expiration
        or self.expiration + (self.skew_ms or 0),
    },
  }
end

local api, source

local function body_of(request)
  return require("clerk.machines.core").decode(request.body)
end

local function new_source(changes)
  local options = {
    client = machines.new {
      machine_secret_key = "ak_machine_key", secret_key = "sk_test_1", transport = api,
      retries = false,
    },
  }
  for name, value in pairs(changes or {}) do
    options[name] = value ~= token_api.absent and value or nil
  end
  return tokens.source(options)
end

local function text()
  return (source:get())
end

before_each(function()
  api = new_mint()
  source = new_source()
end)

describe("A source", function()
  it("mints a token when one is needed, and returns it until it is refreshed", function()
    assert.equal(0, #api.requests)
    local first, token = source:get()
    assert.equal("mt_secret_1", first)
    assert.same({ "mt_id_1", "mt_secret_1" }, { token.id, token.token })
    api.time = api.time + 240 * SECOND_MS - 1
    assert.equal("mt_secret_1", text())
    api.time = api.time + 1
    assert.equal("mt_secret_2", text())
    assert.equal(2, #api.requests)
  end)

  it("asks for an opaque token of five minutes, which other processes may share", function()
    text()
    assert.equal("Bearer ak_machine_key", api.requests[1].headers.authorization)
    assert.same({
      seconds_until_expiration = 300, token_format = "opaque", min_remaining_ttl_seconds = 60,
    }, body_of(api.requests[1]))
  end)

  it("asks for what its options say", function()
    source = new_source {
      seconds_until_expiration = 90.5, claims = { role = "worker" }, token_format = "jwt",
      refresh_before_ms = 30000,
    }
    text()
    assert.same({
      seconds_until_expiration = 90.5, claims = { role = "worker" }, token_format = "jwt",
    }, body_of(api.requests[1]))
  end)

  it("is not changed when the table of claims is", function()
    local claims = { role = "worker" }
    source = new_source { claims = claims }
    claims.role = "admin"
    text()
    assert.equal("worker", body_of(api.requests[1]).claims.role)
  end)

  it("returns a table that is the caller's to change", function()
    select(2, source:get()).id = "mt_other"
    assert.equal("mt_id_1", select(2, source:get()).id)
  end)

  it("shows no token in its text", function()
    text()
    assert.equal("clerk.machines.tokens.Source (opaque)", tostring(source))
    assert.falsy(tostring(select(2, source:get())):find("secret", 1, true))
  end)
end)

describe("What is left of a token", function()
  it("is counted by the server's clock, however wrong ours is", function()
    for _, skew_ms in ipairs { -3600 * SECOND_MS, 3600 * SECOND_MS } do
      api.skew_ms = skew_ms
      source = new_source()
      local first = text()
      api.time = api.time + 239 * SECOND_MS
      assert.equal(first, text())
      api.time = api.time + SECOND_MS
      assert.not_equal(first, text())
    end
  end)

  it("is counted by our clock if the server does not say the time", function()
    api.has_no_date, api.time = true, os.time() * 1000
    local first = text()
    api.time = api.time + 200 * SECOND_MS
    assert.equal(first, text())
    api.time = api.time + 50 * SECOND_MS
    assert.not_equal(first, text())
  end)

  it("is counted from the request, and not from the response", function()
    local send = api.send
    function api:send(request)
      local response = send(self, request)
      self.time = self.time + 5 * SECOND_MS
      return response
    end
    local first = text()
    api.time = api.time + 235 * SECOND_MS
    assert.not_equal(first, text())
  end)

  it("may be less than the source has asked for: then it is refreshed earlier", function()
    api.life_ms = 70 * SECOND_MS
    local first = text()
    api.time = api.time + 9 * SECOND_MS
    assert.equal(first, text())
    api.time = api.time + SECOND_MS
    assert.not_equal(first, text())
  end)

  it("may be less than the margin: then it is minted once a second, not every time", function()
    api.life_ms = 10 * SECOND_MS
    local first = text()
    assert.equal(first, text())
    api.time = api.time + SECOND_MS
    assert.not_equal(first, text())
  end)

  it("may be without an end", function()
    api.is_endless = true
    local first = text()
    api.time = api.time + 1e12
    assert.equal(first, text())
  end)

  it("must be something: a new token that has expired is an error", function()
    api.life_ms = -SECOND_MS
    local problem = error_of(source.get, source)
    assert.same({ "SDKError", "unexpected_shape" }, { problem.type, problem.code })
  end)

  it("must be a number: anything else is an error", function()
    for _, odd in ipairs { "soon", "1900000000000", true, {} } do
      api.odd_expiration = odd
      local problem = error_of(source.get, source)
      assert.same({ "SDKError", "unexpected_shape" }, { problem.type, problem.code })
    end
  end)
end)

describe("When a token cannot be minted", function()
  local LOST = { code = "connection_lost", message = "lost", sent = true }

  it("get raises the error of the call", function()
    api.faults = { 401, LOST }
    assert.same({ "ClerkErrors", 401 }, (function()
      local problem = error_of(source.get, source)
      return { problem.type, problem.status }
    end)())
    assert.equal("connection_lost", error_of(source.get, source).code)
    assert.equal("mt_secret_1", text())
  end)

  it("early, the old one is returned as long as it lives", function()
    text()
    api.time = api.time + 240 * SECOND_MS
    for i = 1, 100 do api.faults[i] = 503 end
    assert.equal("mt_secret_1", text())
    api.time = api.time + 60 * SECOND_MS - 1
    assert.equal("mt_secret_1", text())
    api.time = api.time + 1
    assert.equal(503, error_of(source.get, source).status)
  end)

  it("early, it is tried again once a second", function()
    text()
    api.time = api.time + 240 * SECOND_MS
    api.faults = { 503, 503 }
    for _ = 1, 10 do text() end
    assert.equal(2, #api.requests)
    api.time = api.time + SECOND_MS
    for _ = 1, 10 do text() end
    assert.equal(3, #api.requests)
    api.time = api.time + SECOND_MS
    assert.equal("mt_secret_2", text())
  end)

  it("early, the call ends before the old token does", function()
    text()
    api.time = api.time + 299 * SECOND_MS
    text()
    assert.equal(SECOND_MS, api.requests[2].timeout_ms)
  end)
end)

describe("A token that a receiver has refused", function()
  local function is_refused(token_text)
    source:invalidate(token_text or text())
  end

  it("is never returned again, and its replacement is not shared", function()
    is_refused()
    assert.equal("mt_secret_2", text())
    assert.is_nil(body_of(api.requests[2]).min_remaining_ttl_seconds)
    assert.equal("mt_secret_2", text())
    assert.equal(2, #api.requests)
  end)

  it("has no effect if it is not the current one", function()
    local first = text()
    is_refused "mt_secret_of_someone_else"
    is_refused(first)
    local second = text()
    for _ = 1, 5 do is_refused(first) end
    assert.equal(second, text())
    assert.equal(2, #api.requests)
  end)

  it("is replaced at most every ten seconds: in between, get raises", function()
    is_refused()
    is_refused()
    api.time = api.time + 10 * SECOND_MS - 1
    local problem = error_of(source.get, source)
    assert.same({ "TransportError", "rate_limited", 1 },
      { problem.type, problem.code, problem.retry_after })
    assert.matches("replaced every 10 s at most", problem.message, 1, true)
    assert.equal(2, #api.requests)
    api.time = api.time + 1
    assert.equal("mt_secret_3", text())
  end)

  it("is replaced by the next get if the mint has failed without effect", function()
    is_refused()
    local unsent = { code = "connect_failed", message = "down", sent = false }
    api.faults = { unsent, unsent }
    for _ = 1, 2 do assert.equal("connect_failed", error_of(source.get, source).code) end
    assert.equal("mt_secret_2", text())
  end)

  it("is not returned when the API gives it out once more", function()
    is_refused()
    api.time = api.time + 10 * SECOND_MS
    is_refused()
    api.reuse = true
    api.time = api.time + 10 * SECOND_MS
    assert.equal("rate_limited", error_of(source.get, source).code)
  end)

  it("is not returned by a refresh either, which asks for another one instead", function()
    is_refused()
    local second = text()
    api.time = api.time + 240 * SECOND_MS
    local send, limits = api.send, {}
    function api:send(request)
      table.insert(limits, request.timeout_ms)
      if #limits == 1 then
        os.execute "sleep 0.3"
        return { status = 201, headers = {}, body = json_writer.write {
          object = "machine_to_machine_token", id = "mt_id_1", token = "mt_secret_1",
          subject = "mch_1", scopes = {}, revoked = false, expired = false,
          expiration = 4102444800000, created_at = 1, updated_at = 1,
        } }
      end
      return send(self, request)
    end
    local third = text()
    assert.same({ "mt_secret_2", "mt_secret_3" }, { second, third })
    assert.equal(2, #limits)
    assert.is_true(limits[2] <= limits[1] - 300) -- both mints share the time of one
  end)
end)

describe("Making a source", function()
  local function problem_of(changes)
    local problem = error_of(new_source, changes)
    assert.equal("ArgumentError", problem.type)
    return problem.message
  end

  it("fails when a token would not live longer than the margin", function()
    assert.matches("must be longer than", problem_of { refresh_before_ms = 300000 }, 1, true)
    assert.matches("must be longer than", problem_of { seconds_until_expiration = 60 }, 1, true)
    assert.truthy(new_source { seconds_until_expiration = 60.5 })
    assert.truthy(new_source { seconds_until_expiration = 1, refresh_before_ms = 999 })
  end)

  it("fails without the key of a machine, and says how to give it", function()
    local client = machines.new { secret_key = "sk_test_1", transport = api }
    local message = problem_of { client = client }
    assert.matches("machine_secret_key", message, 1, true)
    assert.matches("CLERK_MACHINE_SECRET_KEY", message, 1, true)
    assert.matches("client", problem_of { client = token_api.absent }, 1, true)
  end)

  it("refuses options that do not fit", function()
    for name, value in pairs {
      client = {}, seconds_until_expiration = 0, claims = print, token_format = "JWT",
      refresh_before_ms = -1, refresh_ms = 1,
    } do
      assert.matches(name, problem_of { [name] = value }, 1, true)
    end
    assert.equal("ArgumentError", error_of(tokens.source).type)
  end)

  it("gives methods that say how to call them", function()
    for _, method in ipairs { "get", "invalidate" } do
      local problem = error_of(source[method], "x")
      assert.matches("source:" .. method, problem.message, 1, true)
    end
  end)

  it("works in the safe twin, which returns nil and the error", function()
    local safe = assert(require("clerk.machines.tokens.safe").source { client = source.client })
    local first, token = safe:get()
    assert.same({ "mt_secret_1", "mt_id_1" }, { first, token.id })
    safe:invalidate(first)
    api.faults = { 503 }
    local nothing, problem = safe:get()
    assert.is_nil(nothing)
    assert.equal(503, problem.status)
  end)
end)

describe("Over a socket", function()
  local MINTED = json_writer.write {
    object = "machine_to_machine_token", id = "mt_1", token = "mt_secret_1", subject = "mch_1",
    scopes = {}, revoked = false, expired = false, expiration = 4102444800000, created_at = 1,
    updated_at = 1,
  }
  local web, client

  before_each(function()
    web = server.start([[
      for request in connection:requests() do
        connection:sleep(20)
        connection:answer(201, values.minted)
      end
    ]], { values = { minted = MINTED } })
    client = machines.new { machine_secret_key = "ak_machine_key", base_url = web:url "/v1" }
    source = tokens.source { client = client }
  end)

  after_each(function()
    client:close()
    server.stop_all()
  end)

  it("one token is minted, however many tasks need one at the same time", function()
    local spawned = {}
    for i = 1, 50 do spawned[i] = client:spawn(source.get, source) end
    for i = 1, 50 do assert.equal("mt_secret_1", (spawned[i]:result())) end
    assert.equal(1, #web:requests())
  end)

  it("a task that is cancelled does not end the mint that others wait for", function()
    local first, second = client:spawn(source.get, source), client:spawn(source.get, source)
    first:cancel()
    assert.equal("mt_secret_1", (second:result()))
    assert.equal("cancelled", first.status)
    assert.equal(1, #web:requests())
  end)

  it("a refresh that takes long holds up only the task that began it", function()
    local slow = server.start([[
      for request in connection:requests() do
        shared.count = (shared.count or 0) + 1
        if shared.count > 1 then connection:hang() end
        connection:answer(201, values.minted)
      end
    ]], { values = { minted = MINTED:gsub("4102444800000", os.time() * 1000 + 61500) } })
    local own = machines.new { machine_secret_key = "ak_machine_key", base_url = slow:url "/v1" }
    source = tokens.source { client = own }
    text()
    own:step(2000)
    os.execute "sleep 2"
    local refreshing = own:spawn(source.get, source)
    assert.equal("mt_secret_1", text())
    assert.equal("running", refreshing.status)
    own:close()
  end)

  it("a source works outside tasks, where it blocks", function()
    assert.equal("mt_secret_1", text())
    assert.equal("mt_secret_1", text())
    assert.equal(1, #web:requests())
  end)
end)
