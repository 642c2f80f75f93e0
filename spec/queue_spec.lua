-- The connection limit: how many transfers run at once, in which order the others follow, and how
-- timeouts, deadlines, retries and pauses count while they wait.

local emulate = require "support.emulate"
local error_of = require "support.error_of"
local task_server = require "support.task_server"
local machines = require "clerk.machines"

local failure_of, spawn_and_await = task_server.failure_of, task_server.spawn_and_await

--- Tasks that get machines, `count` of them, whose names end with a number.
local function spawn_gets(client, name, count)
  local given = {}
  for i = 1, count do given[i] = client:spawn(client.get, client, name .. i) end
  return given
end

local function assert_got(given, name)
  for i, task in ipairs(given) do assert.equal(name .. i, task:result().id) end
end

describe("Transfers under way", function()
  after_each(task_server.stop_all)

  for _, count in ipairs { 1, 2, 5 } do
    it(("are at most %d when max_connections is that"):format(count), function()
      local web = task_server.start()
      local client = task_server.client(web, { max_connections = count })
      local given = spawn_gets(client, "mch_gate", 8)
      task_server.step_until_received(client, web, count)
      for _ = 1, 20 do client:step(10) end
      assert.equal(count, #web:requests())
      assert.equal(8, client:step())
      task_server.client(web):get "mch_open"
      client:run()
      assert_got(given, "mch_gate")
      assert.equal(count + 1, web:connections())
    end)
  end

  it("are at most 32 by default", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local given = spawn_gets(client, "mch_gate", 40)
    task_server.step_until_received(client, web, 32)
    for _ = 1, 10 do client:step(10) end
    assert.equal(32, #web:requests())
    task_server.client(web):get "mch_open"
    client:run()
    assert_got(given, "mch_gate")
  end)

  it("are counted separately for each client", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local other = task_server.client(web, { max_connections = 1 })
    spawn_and_await(web, client, client.get, "mch_hang")
    local queued = client:spawn(client.get, client, "mch_1")
    local task = other:spawn(other.get, other, "mch_2")
    other:run()
    assert.equal("mch_2", task:result().id)
    assert.equal("running", queued.status)
  end)

  it("reuse a few connections one after the other", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 4 })
    local given = spawn_gets(client, "mch_", 100)
    client:run()
    assert_got(given, "mch_")
    assert.is_true(web:connections() <= 4)
  end)

  it("share one connection over HTTP/2", function()
    local web = task_server.start_http2()
    local client = task_server.client(web)
    local given = spawn_gets(client, "mch_gate", 32)
    task_server.step_until_received(client, web, 32)
    task_server.client(web):get "mch_open"
    client:run()
    assert_got(given, "mch_gate")
    assert.equal(2, web:connections()) -- and the one that opened the gate
    local more = spawn_gets(client, "mch_", 50)
    client:run()
    assert_got(more, "mch_")
    assert.equal(2, web:connections())
  end)

  it("share one connection over HTTP/2 even when some fail", function()
    local web = task_server.start_http2()
    local client = task_server.client(web)
    client:get "mch_0" -- connects, which no timeout of 500 ms is to end
    local hanging = client:spawn(client.get, client, "mch_hang", {
      timeout_ms = 500,
      retries = false,
    })
    local refused = client:spawn(client.get, client, "mch_none")
    local given = spawn_gets(client, "mch_", 10)
    client:run()
    assert_got(given, "mch_")
    assert.equal("timeout", failure_of(hanging).code)
    assert.equal(404, failure_of(refused).status)
    assert.equal("mch_1", client:get("mch_1").id)
    assert.equal(1, web:connections())
  end)
end)

describe("The queue", function()
  after_each(task_server.stop_all)

  it("is served in order, including calls outside tasks", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    spawn_gets(client, "mch_a", 5)
    assert.equal("mch_b", client:get("mch_b").id)
    spawn_gets(client, "mch_c", 2)
    client:run()
    assert.same({ "mch_a1", "mch_a2", "mch_a3", "mch_a4", "mch_a5", "mch_b", "mch_c1", "mch_c2" },
      task_server.asked(web))
  end)

  it("is served in order, whichever client the tasks belong to", function()
    local web = task_server.start()
    local client, other = task_server.client(web, { max_connections = 1 }), task_server.client(web)
    for i = 1, 6 do
      local owner = i % 2 == 0 and client or other
      owner:spawn(client.get, client, "mch_" .. i)
    end
    client:run()
    other:run()
    assert.same({ "mch_1", "mch_2", "mch_3", "mch_4", "mch_5", "mch_6" }, task_server.asked(web))
  end)

  it("is left by calls that are cancelled or late, and the others keep their places", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local first = spawn_and_await(web, client, client.get, "mch_hang")
    local given = spawn_gets(client, "mch_", 4)
    local late = client:spawn(client.get, client, "mch_late", { deadline_ms = 50 })
    given[1]:cancel()
    given[3]:cancel()
    task_server.step_until(client, function() return late.status == "failed" end)
    first:cancel()
    client:run()
    assert.same({ "mch_hang", "mch_2", "mch_4" }, task_server.asked(web))
  end)

  it("does not use up timeout_ms", function()
    local client = task_server.client(task_server.start(), { max_connections = 1 })
    client:spawn(client.get, client, "mch_slow")
    local task = client:spawn(client.get, client, "mch_1", {
      timeout_ms = 700,
      retries = false,
    })
    client:run()
    assert.equal("mch_1", task:result().id)
    assert.is_true(select(2, task:result()).elapsed_ms >= 700)
  end)

  it("uses up deadline_ms", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    spawn_and_await(web, client, client.get, "mch_hang")
    local task = client:spawn(client.create, client, { name = "mch_1" }, { deadline_ms = 300 })
    task_server.step_until(client, function() return task.status ~= "running" end)
    for _, err in ipairs { failure_of(task),
      error_of(client.create, client, { name = "mch_1" }, { deadline_ms = 300 }) } do
      assert.equal("TransportError", err.type)
      assert.equal("timeout", err.code)
      assert.matches("deadline", err.message)
      assert.equal("create", err.operation)
      assert.equal(0, err.attempts)
      assert.is_false(err.maybe_applied)
      assert.is_true(err.elapsed_ms >= 300)
    end
    assert.equal(1, #web:requests())
  end)

  it("leaves an attempt the rest of the deadline", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1, timeout_ms = 3600000 })
    spawn_and_await(web, client, client.get, "mch_gate")
    local task = client:spawn(client.get, client, "mch_hang", { deadline_ms = 1500 })
    task_server.client(web):get "mch_open"
    client:run()
    local err = failure_of(task)
    assert.equal("timeout", err.code)
    assert.equal(1, err.attempts)
  end)

  it("is not held up by a call that waits for its next attempt", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    client:spawn(client.get, client, "mch_flaky")
    client:spawn(client.get, client, "mch_2")
    client:run()
    assert.same({ "mch_flaky", "mch_2", "mch_flaky" }, task_server.asked(web))
  end)
end)

describe("A call that blocks within a task", function()
  after_each(task_server.stop_all)

  --- A task that soon blocks in a coroutine that it made.
  local function spawn_blocking(client)
    return client:spawn(function()
      coroutine.yield()
      return coroutine.wrap(client.get)(client, "mch_inner", { deadline_ms = 5000 }).id
    end)
  end

  it("does not wait for a call that waits for it and has been sent", function()
    local client = task_server.client(task_server.start(), { max_connections = 1 })
    local task = spawn_blocking(client)
    assert.equal("mch_slow", client:get("mch_slow").id)
    client:run()
    assert.equal("mch_inner", task:result())
  end)

  it("does not wait for a call that waits for it and is in the queue", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local first = client:spawn(client.get, client, "mch_slow")
    local given = { spawn_blocking(client), spawn_blocking(client) }
    assert.equal("mch_outside", client:get("mch_outside").id)
    client:run()
    assert.equal("mch_slow", first:result().id)
    for _, task in ipairs(given) do assert.equal("mch_inner", task:result()) end
    spawn_and_await(web, client, client.get, "mch_gate")
    local last = client:spawn(client.get, client, "mch_last")
    for _ = 1, 10 do client:step(10) end
    assert.equal("mch_gate", table.remove(task_server.asked(web)))
    task_server.client(web):get "mch_open"
    client:run()
    assert.equal("mch_last", last:result().id)
  end)

  it("does not wait for an on_event that has cancelled it", function()
    local web = task_server.start()
    local other = task_server.client(web)
    local client, victim, cleaned
    client = task_server.client(web, { max_connections = 1, on_event = function(event)
      if event.url:find "mch_1" and event.type == "answer" then victim:cancel() end
    end })
    victim = client:spawn(function()
      pcall(other.get, other, "mch_hang")
      cleaned = coroutine.wrap(client.get)(client, "mch_inner", { deadline_ms = 5000 }).id
    end)
    assert.equal("mch_1", client:get("mch_1").id)
    assert.equal("mch_inner", cleaned)
    assert.equal("cancelled", victim.status)
  end)
end)

describe("A connection is not held", function()
  after_each(task_server.stop_all)

  for _, name in ipairs { "secret_key", "on_event" } do
    it(("while a coroutine of the host's is suspended in %s"):format(name), function()
      local suspends = true
      local client = task_server.client(task_server.start(), { max_connections = 1, retries = false,
        [name] = function()
          if suspends then coroutine.yield() end
          return task_server.key
        end })
      local suspended = coroutine.create(function() return client:get("mch_2").id end)
      assert.is_true(coroutine.resume(suspended))
      assert.equal("suspended", coroutine.status(suspended))
      suspends = false
      assert.equal("mch_1", client:get("mch_1").id)
      local task = client:spawn(client.get, client, "mch_3")
      assert.equal("mch_3", task:result().id)
      assert.same({ true, "mch_2" }, { coroutine.resume(suspended) })
    end)
  end

  it("by a call outside tasks that has waited for one for timeout_ms", function()
    local web = task_server.start()
    local options = { max_connections = 1, retries = false, timeout_ms = 100 }
    local client = task_server.client(web, options)
    local moving = client:spawn(client.get, client, "mch_hang", { timeout_ms = 60000 })
    task_server.step_until_received(client, web, 1)
    local err = error_of(client.create, client, { name = "mch_1" })
    assert.equal("timeout", err.code)
    assert.matches("busy", err.message)
    assert.equal(0, err.attempts)
    assert.is_false(err.maybe_applied)
    moving:cancel()
    assert.equal("mch_1", client:get("mch_1").id)
  end)
end)

describe("A connection is given back", function()
  after_each(task_server.stop_all)

  --- With one connection: `f` uses it three times, in tasks and outside, and leaves it free.
  local function assert_given_back(options, f)
    local web = task_server.start()
    options.max_connections = 1
    local client = task_server.client(web, options)
    for _ = 1, 3 do
      f(client)
      client:spawn(f, client)
      client:spawn(f, client)
      client:run()
    end
    assert.equal("mch_1", client:get("mch_1", { deadline_ms = 5000 }).id)
  end

  it("after an error of the API", function()
    assert_given_back({}, function(client) error_of(client.get, client, "mch_none") end)
  end)

  it("after a timeout", function()
    assert_given_back({}, function(client)
      error_of(client.get, client, "mch_hang", { timeout_ms = 20, retries = false })
    end)
  end)

  it("after an error in the caller's functions", function()
    for _, name in ipairs { "secret_key", "on_event" } do
      local raises = true
      assert_given_back({ [name] = function()
        if raises then error("mine", 0) end
        return task_server.key
      end }, function(client)
        raises = true
        assert.equal("mine", error_of(client.get, client, "mch_1"))
        raises = false
      end)
    end
  end)

  it("after a refused key", function()
    local key
    assert_given_back({ secret_key = function() return key end }, function(client)
      key = "with\nline"
      assert.equal("ArgumentError", error_of(client.get, client, "mch_1").type)
      key = nil
      assert.equal("ArgumentError", error_of(client.get, client, "mch_1").type)
      key = task_server.key
    end)
  end)

  it("after a cancelled task", function()
    assert_given_back({}, function(client)
      local task = client:spawn(client.get, client, "mch_hang")
      task:cancel()
      assert.equal("cancelled", task.status)
    end)
  end)

  it("when a client is used inside the caller's functions", function()
    local client
    local depth = 0
    client = task_server.client(task_server.start(), { max_connections = 1, secret_key = function()
      depth = depth + 1
      if depth == 1 then client:get("mch_inner", { deadline_ms = 5000 }) end
      depth = depth - 1
      return task_server.key
    end })
    for _ = 1, 3 do
      assert.equal("mch_1", client:get("mch_1").id)
      local task = client:spawn(client.get, client, "mch_2")
      client:run()
      assert.equal("mch_2", task:result().id)
    end
  end)
end)

describe("Retries in tasks", function()
  after_each(task_server.stop_all)

  it("wait all at once", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local given = spawn_gets(client, "mch_flaky", 10)
    client:run()
    assert_got(given, "mch_flaky")
    for _, task in ipairs(given) do assert.equal(2, select(2, task:result()).attempts) end
    local asked, seen = task_server.asked(web), {}
    for i = 1, 10 do
      assert.is_nil(seen[asked[i]])
      seen[asked[i]] = true
    end
    assert.equal(20, #asked)
  end)

  it("may wait for fractions of a millisecond", function()
    local client = task_server.client(task_server.start(), {
      retries = { backoff = { initial_interval = 0.5, max_interval = 1.5, exponent = 1.1 } },
    })
    local task = client:spawn(client.get, client, "mch_flaky")
    client:run()
    assert.equal("mch_flaky", task:result().id)
  end)
end)

describe("The pause after a 429", function()
  after_each(task_server.stop_all)

  --- A client with a task that got a Retry-After of 40 seconds, and that may wait that long.
  local function start_pause(web, options)
    options.retries = { backoff = { max_elapsed_time = 100000 } }
    local waits = 0
    options.on_event = function(event) waits = waits + (event.type == "wait" and 1 or 0) end
    local client = task_server.client(web, options)
    client:spawn(client.get, client, "mch_closed")
    task_server.step_until(client, function() return waits > 0 end)
    return client, function() return waits end
  end

  it("holds for all tasks of the client, and for its calls outside tasks", function()
    local web = task_server.start()
    local waits = {}
    local client = task_server.client(web, { max_connections = 2, on_event = function(event)
      if event.type == "wait" then table.insert(waits, event.wait_ms) end
    end })
    local busy = client:spawn(client.get, client, "mch_busy")
    task_server.step_until(client, function() return waits[1] end)
    local given = spawn_gets(client, "mch_", 5)
    local other = task_server.client(web)
    assert.equal("mch_other", other:get("mch_other").id)
    assert.equal("mch_outside", client:get("mch_outside").id)
    client:run()
    assert.equal("mch_busy", busy:result().id)
    assert_got(given, "mch_")
    assert.equal(7, #waits)
    local asked = task_server.asked(web)
    assert.same({ "mch_busy", "mch_other" }, { asked[1], asked[2] })
  end)

  it("holds for calls in the queue", function()
    local web = task_server.start()
    local waits = 0
    local client = task_server.client(web, { max_connections = 1, on_event = function(event)
      if event.type == "wait" then waits = waits + 1 end
    end })
    local given = spawn_gets(client, "mch_busy", 1)
    for i = 2, 4 do given[i] = client:spawn(client.get, client, "mch_busy" .. i) end
    task_server.step_until(client, function() return waits == 4 end)
    assert.equal(1, #web:requests())
    for _, task in ipairs(given) do task:cancel() end
    assert.equal(0, client:step())
  end)

  it("does not disturb requests that were sent already", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local moving = spawn_and_await(web, client, client.get, "mch_gate")
    local busy = client:spawn(client.get, client, "mch_busy")
    task_server.step_until_received(client, web, 2)
    task_server.client(web):get "mch_open"
    task_server.step_until(client, function() return moving.status == "done" end)
    assert.equal("running", busy.status)
    client:run()
    assert.equal(2, select(2, busy:result()).attempts)
  end)

  it("does not count an attempt that it keeps from being sent", function()
    local web = task_server.start()
    local events = {}
    local client = task_server.client(web, { max_connections = 1, on_event = function(event)
      if event.url:find "mch_flaky" then
        table.insert(events, ("%s %d"):format(event.type, event.attempt))
      end
    end })
    local flaky = client:spawn(client.get, client, "mch_flaky", {
      retries = { backoff = { max_elapsed_time = 10000 } },
    })
    task_server.step_until(client, function() return events[3] == "wait 1" end)
    client:spawn(client.get, client, "mch_gateclosed", { retries = false })
    task_server.step_until(client, function() return events[4] == "attempt 2" end)
    task_server.client(web):get "mch_open"
    client:run()
    local err = failure_of(flaky)
    assert.equal(503, err.status)
    assert.equal(1, err.attempts)
    assert.same({ "attempt 1", "answer 1", "wait 1", "attempt 2", "end 1" }, events)
    assert.same({ "mch_flaky", "mch_gateclosed", "mch_open" }, task_server.asked(web))
  end)

  for _, count in ipairs { 1, 32 } do
    it("fails a call at once that cannot wait so long, with max_connections = " .. count, function()
      local web = task_server.start()
      local client, count_waits = start_pause(web, { max_connections = count })
      local waiting = spawn_gets(client, "mch_", 3)
      local waits = count_waits()
      local hasty = {
        retries = { backoff = { max_elapsed_time = 1000 } },
      }
      local task = client:spawn(client.create, client, { name = "mch_1" }, hasty)
      assert.equal("failed", task.status)
      for _, err in ipairs { failure_of(task),
        error_of(client.create, client, { name = "mch_1" }, hasty),
        error_of(client.create, client, { name = "mch_1" }, { deadline_ms = 5000 }) } do
        assert.equal("rate_limited", err.code)
        assert.equal(0, err.attempts)
        assert.is_true(err.retry_after > 20)
        assert.is_false(err.maybe_applied)
      end
      assert.equal(waits, count_waits())
      for _, each in ipairs(waiting) do assert.equal("running", each.status) end
      assert.equal(1, #web:requests())
      client:close()
    end)
  end
end)

describe("Tasks at the emulator's server", function()
  for what, flags in pairs { ["over HTTP/1.1"] = "", ["over TLS"] = " --tls" } do
    it("create, find and delete many machines " .. what, function()
      local emulator, url, ca_file = emulate("--secret-key " .. task_server.key .. flags)
      finally(function() emulator:stop() end)
      local client = machines.new {
        secret_key = task_server.key, base_url = url, ca_file = ca_file,
      }
      local made = {}
      for i = 1, 60 do
        client:spawn(function()
          local machine = client:create { name = "machine " .. i }
          made[i] = client:update(machine.id, { default_token_ttl = i })
        end)
      end
      client:run()
      assert.equal(60, client:list().total_count)
      for i, machine in ipairs(made) do
        assert.equal(i, machine.default_token_ttl)
        client:spawn(client.delete, client, machine.id)
      end
      client:run()
      assert.equal(0, client:list().total_count)
      client:close()
    end)
  end
end)

describe("Calls that wait for a connection that another call is making", function()
  after_each(task_server.stop_all)

  it("time out together when it is never made", function()
    local web = task_server.start()
    local client = task_server.client(web, {
      base_url = web:url("/v1"):gsub("^http:", "https:"), -- the server waits for a line
      timeout_ms = 1000,
      retries = false,
    })
    local given = spawn_gets(client, "mch_", 5)
    client:run()
    local shortest, longest = math.huge, 0
    for _, task in ipairs(given) do
      local problem = error_of(task.result, task)
      assert.equal("timeout", problem.code)
      shortest = math.min(shortest, problem.elapsed_ms)
      longest = math.max(longest, problem.elapsed_ms)
    end
    assert.is_true(longest < shortest + 1000) -- together, and not one timeout after the other
  end)
end)

describe("A wait where a task cannot yield", function()
  after_each(task_server.stop_all)

  local IS_5_2 = _VERSION == "Lua 5.2" -- which does not say that it cannot

  it(IS_5_2 and "is refused, and the task then goes on" or "blocks, and the task then goes on",
    function()
      local web = task_server.start()
      local client = task_server.client(web)
      local task = client:spawn(function()
        local inner
        string.gsub("x", "x", function()
          local _, result = pcall(client.get, client, "mch_open")
          inner = result.id or result.code
        end)
        return inner, client:get("mch_open").id
      end)
      client:run()
      assert.same({ IS_5_2 and "invalid_argument" or "mch_open", "mch_open" }, { task:result() })
    end)
end)
