-- What a verifier asks over real sockets: once for all that ask, in time, within limits of its own.

local error_of = require "support.error_of"
local task_server = require "support.task_server"
local json_writer = require "clerk.machines.json_writer"
local machines = require "clerk.machines"
local server = require "support.server"
local token_api = require "support.token_api"
local tokens = require "clerk.machines.tokens"

local ME, CALLER = token_api.me, token_api.caller
local WAITERS = 50

-- Acts by what is asked about:
--   mt_hang…   is never answered
--   mt_gate…   is answered after a request about mt_open
--   mt_busy…   is answered 429, with a Retry-After of 40 seconds, and so is mch_busy…
--   mt_last…   is answered, and then the connection is closed
-- All others are good. Keys are answered at once the first time, and later after mt_open. Notes
-- "crowd" when more than two lookups run at once.
local SCRIPT = [[
  local function answer(request, name)
    if name:find "^m%a+_busy" then return connection:answer(429, "{}", "Retry-After: 40") end
    if name:find "^mch" then return connection:answer(200, success(name)) end
    if name == "keys" then return connection:answer(200, values.keys) end
    return connection:answer(200, values.token)
  end

  for request in connection:requests() do
    local name = (request.body .. request.target):match "m%a+_%w+"
    if not request.body:find "m" and not name then name = "keys" end
    shared.open = (shared.open or 0) + 1
    if shared.open > 2 then connection:note "crowd" end
    if name:find "^mt_hang" then connection:hang() end
    if name == "mt_open" then shared.is_open = true end
    local is_shut = name:find "^mt_gate" or name == "keys" and shared.has_keys
    while is_shut and not shared.is_open do connection:sleep(5) end
    shared.has_keys = shared.has_keys or name == "keys"
    connection:sleep(20)
    shared.open = shared.open - 1
    if not answer(request, name) then return end
    if name:find "^mt_last" then return connection:close() end
  end
]]

describe("A verifier over a socket", function()
  local api, web, client, verifier

  local function new_verifier(changes)
    return api:verifier { client = client, now = changes and changes.now or token_api.absent,
      max_in_flight = changes and changes.max_in_flight or 8 }
  end

  before_each(function()
    api = token_api.new()
    api.time = os.time() * 1000
    web = server.start(SCRIPT, {
      values = { keys = api.key_set, token = json_writer.write(api:token()) },
    })
    client = machines.new {
      secret_key = "sk_test_instance_key", machine_secret_key = "ak_machine_key",
      base_url = web:url "/v1", retries = false,
    }
    verifier = new_verifier()
  end)

  after_each(function()
    client:close()
    server.stop_all()
  end)

  local function spawn_all(count, text)
    local spawned = {}
    for i = 1, count do
      spawned[i] = client:spawn(verifier.verify, verifier, text)
    end
    return spawned
  end

  for what, text in pairs { ["an opaque token"] = "mt_gate", ["a JWT's keys"] = false } do
    it(("asks once about %s, however many ask at the same time"):format(what), function()
      local spawned = spawn_all(WAITERS, text or api:jwt())
      if text then spawned[WAITERS + 1] = client:spawn(verifier.verify, verifier, "mt_open") end
      client:run()
      for _, task in ipairs(spawned) do assert.equal(CALLER, task:result().subject) end
      assert.equal(text and 2 or 1, #web:requests())
    end)
  end

  it("accepts good tokens while a bad one waits for newer keys", function()
    verifier = new_verifier { now = api.clock }
    verifier:verify(api:jwt())
    api.time = api.time + 10000
    local bad = client:spawn(verifier.verify, verifier, api:jwt({}, { kid = "ins_2" }))
    task_server.step_until_received(client, web, 2)
    local good = client:spawn(verifier.verify, verifier, api:jwt { jti = "mt_2" })
    assert.same({ "done", "running" }, { good.status, bad.status })
    verifier:verify "mt_open"
    assert.equal("token_key_unknown", error_of(bad.result, bad).code)
    assert.equal(3, #web:requests())
  end)

  it("gives each that asked a result of its own", function()
    local spawned = spawn_all(2, "mt_a")
    spawned[1]:result().subject = "mch_other"
    assert.equal(CALLER, spawned[2]:result().subject)
  end)

  it("works outside tasks, where it blocks, and shares the answer that tasks wait for", function()
    local task = client:spawn(verifier.verify, verifier, "mt_a")
    assert.equal(CALLER, verifier:verify("mt_a").subject)
    assert.equal(CALLER, task:result().subject)
    assert.equal(1, #web:requests())
  end)

  it("works where Lua cannot yield, although the task below waits for the same answer", function()
    local task = client:spawn(function()
      local inner = client:spawn(verifier.verify, verifier, "mt_a")
      local subject
      ("x"):gsub("x", function() subject = verifier:verify("mt_a").subject end)
      return subject, inner:result().subject
    end)
    assert.same({ CALLER, CALLER }, { task:result() })
    assert.equal(1, #web:requests())
  end)

  it("ends the wait of a task that is cancelled, and not the lookup", function()
    local spawned = spawn_all(3, "mt_gate")
    task_server.step_until_received(client, web, 1)
    spawned[1]:cancel()
    assert.equal("cancelled", error_of(spawned[1].result, spawned[1]).code)
    verifier:verify "mt_open"
    for i = 2, 3 do assert.equal(CALLER, spawned[i]:result().subject) end
    assert.equal(2, #web:requests())
  end)

  it("remembers the answer when all that asked have gone", function()
    local task = client:spawn(verifier.verify, verifier, "mt_gate")
    task_server.step_until_received(client, web, 1)
    task:cancel()
    verifier:verify "mt_open"
    client:run()
    assert.equal(CALLER, verifier:verify("mt_gate").subject)
    assert.equal(2, #web:requests())
  end)

  it("cannot tell when the API does not answer in time, whatever timeout_ms is", function()
    local problem = error_of(verifier.verify, verifier, "mt_hang")
    assert.same({ "TransportError", "timeout" }, { problem.type, problem.code })
  end)

  it("sends no more than max_in_flight lookups at once; further ones wait", function()
    verifier = new_verifier { max_in_flight = 2 }
    local spawned = {}
    for i = 1, 12 do spawned[i] = client:spawn(verifier.verify, verifier, "mt_" .. i) end
    for i = 1, 12 do assert.equal(CALLER, spawned[i]:result().subject) end
    assert.equal(12, #web:requests())
    for _, event in ipairs(web:events()) do assert.not_equal("crowd", event.kind) end
  end)

  it("cannot tell when its turn does not come in time", function()
    verifier = new_verifier { max_in_flight = 1 }
    local hanging = client:spawn(verifier.verify, verifier, "mt_hang")
    local waiting = client:spawn(verifier.verify, verifier, "mt_a")
    for _, task in ipairs { hanging, waiting } do
      assert.equal("timeout", error_of(task.result, task).code)
    end
    assert.equal(1, #web:requests())
  end)

  it("does not stop the client's other calls by a 429", function()
    assert.equal(429, error_of(verifier.verify, verifier, "mt_busy").status)
    local patient = { retries = { strategy = "backoff" }, deadline_ms = 5000 }
    local _, info = client:get("mch_1", patient)
    assert.equal(1, info.attempts)
  end)

  it("is not stopped by a 429 that other calls got", function()
    local patient = { retries = { strategy = "backoff" }, deadline_ms = 500 }
    error_of(client.get, client, "mch_busy", patient)
    assert.equal("rate_limited", error_of(client.get, client, "mch_1", patient).code)
    assert.equal(CALLER, verifier:verify("mt_a").subject)
  end)

  it("does not ask again at once after a 429 of its own", function()
    error_of(verifier.verify, verifier, "mt_busy")
    local problem = error_of(verifier.verify, verifier, "mt_a")
    assert.same({ "TransportError", "rate_limited" }, { problem.type, problem.code })
    assert.equal(1, #web:requests())
  end)

  it("tries again when a kept connection was closed", function()
    verifier:verify "mt_last"
    web:wait_until_closed(1)
    assert.equal(CALLER, verifier:verify("mt_a").subject)
  end)

  it("needs no client for JWTs: it asks jwks_url by itself", function()
    local alone = tokens.verifier {
      machine_id = ME, callers = { CALLER }, jwks_url = web:url "/.well-known/jwks.json",
    }
    for _ = 1, 3 do assert.equal(CALLER, alone:verify(api:jwt()).subject) end
    local requests = web:requests()
    assert.equal(1, #requests)
    assert.equal("GET /.well-known/jwks.json HTTP/1.1", requests[1].line)
    assert.is_nil(requests[1].headers.authorization)
    assert.matches("^clerk%-machines/", requests[1].headers["user-agent"])
  end)

  it("does not follow a redirect of the JWKS", function()
    local elsewhere = server.start [[ connection:answer_all(200, "{}") ]]
    local moved = server.start([[
      connection:answer_all(302, "", "Location: " .. values.url)
    ]], { values = { url = elsewhere:url "/" } })
    local alone = tokens.verifier {
      machine_id = ME, callers = { CALLER }, jwks_url = moved:url "/jwks",
    }
    local problem = error_of(alone.verify, alone, api:jwt())
    assert.same({ "SDKError", 302 }, { problem.type, problem.status })
    assert.equal(0, elsewhere:connections())
  end)

  it("reads no key set of more than 256 KiB", function()
    local large = server.start([[
      connection:answer_all(200, values.keys .. (" "):rep(256 * 1024))
    ]], { values = { keys = api.key_set } })
    local alone = tokens.verifier {
      machine_id = ME, callers = { CALLER }, jwks_url = large:url "/jwks",
    }
    local problem = error_of(alone.verify, alone, api:jwt())
    assert.same({ "TransportError", "response_too_large" }, { problem.type, problem.code })
  end)
end)

describe("A verification", function()
  local api

  before_each(function() api = token_api.new() end)

  it("has two seconds for all its lookups together", function()
    local verifier = api:verifier { scope_check = "machine" }
    api.tokens.mt_a, api.machines[CALLER] = api:token(), { ME }
    local send = api.send
    function api.send(...)
      os.execute "sleep 0.3"
      return send(...)
    end
    verifier:verify "mt_a"
    assert.is_true(api.requests[1].timeout_ms <= 2000)
    assert.is_true(api.requests[2].timeout_ms <= 1700)
  end)

  it("leaves a transport of the caller's own to the loop that it yields to", function()
    local verifier = api:verifier { max_in_flight = 2 }
    local send, threads, subjects = api.send, {}, {}
    function api.send(...)
      coroutine.yield()
      return send(...)
    end
    for i = 1, 5 do
      api.tokens["mt_" .. i] = api:token { subject = CALLER }
      threads[i] = coroutine.create(function()
        subjects[i] = verifier:verify("mt_" .. i).subject
      end)
      assert(coroutine.resume(threads[i]))
    end
    assert.same({}, subjects)
    for i = 1, 5 do assert(coroutine.resume(threads[i])) end
    assert.same({ CALLER, CALLER, CALLER, CALLER, CALLER }, subjects)
  end)
end)

describe("In any second", function()
  it("max_per_second lookups begin, and further ones fail at once", function()
    local api = token_api.new()
    local verifier = api:verifier { max_per_second = 3 }
    local function outcomes(first)
      local codes = {}
      for i = 0, 3 do
        local _, problem = pcall(verifier.verify, verifier, "mt_" .. first + i)
        codes[i + 1] = problem.code
      end
      return codes
    end
    local unknown = "token_unknown"
    assert.same({ unknown, unknown, unknown, "rate_limited" }, outcomes(1))
    api.time = api.time + 999
    assert.equal("rate_limited", outcomes(11)[1])
    api.time = api.time + 1
    assert.same({ unknown, unknown, unknown, "rate_limited" }, outcomes(21))
    assert.equal(6, api.asked.verify_token)
  end)
end)
