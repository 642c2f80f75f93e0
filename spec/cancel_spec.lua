-- Tasks that are cancelled: by themselves, by other tasks, or because their client is closed.

local error_of = require "support.error_of"
local fake = require "support.fake"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local server = require "support.server"

local failure_of, spawn_and_await = task_server.failure_of, task_server.spawn_and_await

--- Retries that wait long enough to be cancelled in.
local PATIENT = { backoff = { initial_interval = 30000, max_elapsed_time = 100000 } }

local function assert_cancelled(task)
  assert.equal("cancelled", task.status)
  local err = failure_of(task)
  assert.is_true(machines.is_error(err), tostring(err))
  assert.equal("TransportError", err.type)
  assert.equal("cancelled", err.code)
  return err
end

local function create(client, name, options)
  return client:create({ name = name or "mch_hang" }, options)
end

--- A client with long waits between attempts, and a function that returns whether one has begun.
local function waiting_client(web)
  local has_begun = false
  local client = task_server.client(web, { retries = PATIENT, on_event = function(event)
    has_begun = has_begun or event.type == "wait"
  end })
  return client, function() return has_begun end
end

--- On 5.4: runs f(client, ...) with `close` as a handler of a variable to be closed.
local function with_close_handler(close, f)
  local source = [[
    local close, f = ...
    return function(...)
      local guard <close> = setmetatable({}, { __close = close })
      return (f(...))
    end
  ]]
  return load(source)(close, f)
end

local has_close_handlers = load "local x <close> = nil"

describe("A change that is cancelled", function()
  after_each(task_server.stop_all)

  it("before it starts never reaches the server", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(create, client)
    task:cancel()
    local err = assert_cancelled(task)
    assert.equal("create", err.operation)
    assert.is_false(err.maybe_applied)
    assert.equal(0, client:step(100))
    assert.equal(0, web:connections())
  end)

  it("while it connects was not applied", function()
    local web = server.start("", { deaf = true })
    local client = task_server.client(web)
    local task = client:spawn(create, client)
    for _ = 1, 5 do client:step(10) end
    task:cancel()
    assert.is_false(assert_cancelled(task).maybe_applied)
  end)

  it("after it was sent may have been applied, and its connection is closed at once", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = spawn_and_await(web, client, create)
    task:cancel()
    local err = assert_cancelled(task)
    assert.is_true(err.maybe_applied)
    assert.equal(1, err.attempts)
    web:wait_until_closed(1)
  end)

  it("in a retry wait is reported by its earlier attempts", function()
    local web = task_server.start()
    local client, is_waiting = waiting_client(web)
    local task = client:spawn(client.update, client, "mch_flaky", { name = "a" })
    task_server.step_until(client, is_waiting)
    task:cancel()
    local err = assert_cancelled(task)
    assert.is_true(err.maybe_applied)
    assert.equal(1, err.attempts)
    assert.equal("update", err.operation)
    assert.equal(0, client:step())
  end)

  it("in a pause was not applied", function()
    local web = task_server.start()
    local client, is_waiting = waiting_client(web)
    local refused = client:spawn(create, client, "mch_closed")
    task_server.step_until(client, is_waiting)
    local waiting = client:spawn(create, client, "mch_1")
    for task, attempts in pairs { [refused] = 1, [waiting] = 0 } do
      task:cancel()
      local err = assert_cancelled(task)
      assert.is_false(err.maybe_applied)
      assert.equal(attempts, err.attempts)
    end
    assert.equal(1, #web:requests())
  end)

  it("in the queue was not applied", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    spawn_and_await(web, client, client.get, "mch_hang")
    local task = client:spawn(create, client, "mch_1")
    client:step(10)
    task:cancel()
    local err = assert_cancelled(task)
    assert.is_false(err.maybe_applied)
    assert.equal(0, err.attempts)
    client:close()
    assert.equal(1, #web:requests())
  end)

  it("in its own on_event or secret_key is not sent", function()
    local web = task_server.start()
    for _, name in ipairs { "on_event", "secret_key" } do
      local task
      local client = task_server.client(web, { [name] = function()
        task:cancel()
        return task_server.key
      end })
      task = client:spawn(function()
        coroutine.yield()
        return create(client, "mch_1")
      end)
      client:run()
      assert.is_false(assert_cancelled(task).maybe_applied)
    end
    assert.equal(0, web:connections())
  end)
end)

describe("A task that is cancelled", function()
  after_each(task_server.stop_all)

  it("stops waiting for another task, which goes on", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local joined = spawn_and_await(web, client, client.get, "mch_gate")
    local joiner = client:spawn(joined.result, joined)
    local other = client:spawn(joined.result, joined)
    joiner:cancel()
    assert_cancelled(joiner)
    client:get "mch_open"
    client:run()
    assert.equal("mch_gate", joined:result().id)
    assert.equal("mch_gate", other:result().id)
  end)

  it("fails the tasks that wait for it", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local joined = spawn_and_await(web, client, client.get, "mch_hang")
    local joiner = client:spawn(joined.result, joined)
    joined:cancel()
    client:run()
    assert.equal("failed", joiner.status)
    assert.equal(failure_of(joined), failure_of(joiner))
  end)

  it("can be cancelled again, also after its end", function()
    local client = task_server.client(task_server.start())
    local task = client:spawn(client.get, client, "mch_hang")
    task:cancel()
    local err = assert_cancelled(task)
    task:cancel()
    assert.equal(err, assert_cancelled(task))
    local done, failed = client:spawn(function() return 1 end), client:spawn(error, "mine")
    done:cancel()
    failed:cancel()
    assert.equal("done", done.status)
    assert.equal(1, done:result())
    assert.equal("failed", failed.status)
    assert.equal("mine", failure_of(failed))
  end)

  it("can be cancelled by another task", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local victims = {}
    for i = 1, 3 do victims[i] = spawn_and_await(web, client, client.get, "mch_hang") end
    client:spawn(function()
      client:get "mch_1"
      for _, victim in ipairs(victims) do victim:cancel() end
    end)
    client:run()
    for _, victim in ipairs(victims) do assert_cancelled(victim) end
    web:wait_until_closed(3)
  end)

  it("by itself goes on until it has to wait", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task, went_on
    task = client:spawn(function()
      coroutine.yield()
      task:cancel()
      went_on = true
      client:get "mch_1"
    end)
    client:run()
    assert.is_true(went_on)
    assert.equal(0, assert_cancelled(task).attempts)
    assert.equal(0, web:connections())
  end)

  it("and catches the error cannot wait any more", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local joined = client:spawn(coroutine.yield)
    local errs = {}
    local function try(f, ...)
      errs[#errs + 1] = error_of(f, ...)
    end
    local task = client:spawn(function()
      try(client.get, client, "mch_hang")
      try(client.get, client, "mch_1")
      try(create, client)
      try(joined.result, joined)
      return "more"
    end)
    task_server.step_until_received(client, web, 1)
    joined = client:spawn(coroutine.yield)
    task:cancel()
    assert.equal("cancelled", task.status)
    assert.equal(4, #errs)
    for _, err in ipairs(errs) do assert.equal("cancelled", err.code) end
    assert.is_false(errs[3].maybe_applied)
    assert_cancelled(task)
    client:run()
    assert.equal(1, #web:requests())
  end)

  it("has finished its clean-up when cancel returns", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local cleaned
    local task = client:spawn(function()
      local _, err = pcall(client.get, client, "mch_hang")
      cleaned = err.code
      error("mine", 0)
    end)
    task_server.step_until_received(client, web, 1)
    task:cancel()
    assert.equal("cancelled", cleaned)
    assert.equal("cancelled", task.status)
    assert.equal("mine", failure_of(task))
  end)

  it("and yields on its own in its clean-up ends with a later step", function()
    local client = task_server.client(task_server.start())
    local is_clean
    local task = client:spawn(function()
      pcall(client.get, client, "mch_hang")
      coroutine.yield()
      is_clean = true
    end)
    task:cancel()
    assert.equal("running", task.status)
    assert.equal(0, client:step())
    assert.is_true(is_clean)
    assert_cancelled(task)
  end)

  it("while it yields on its own gets the error at its next wait", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(function()
      coroutine.yield()
      client:get "mch_1"
    end)
    task:cancel()
    assert.equal("running", task.status)
    client:run()
    assert_cancelled(task)
    assert.equal(0, web:connections())
  end)

  it("and blocks in a coroutine of its own ends after that call", function()
    local client = task_server.client(task_server.start())
    local inner, task
    task = client:spawn(function()
      coroutine.yield()
      inner = coroutine.wrap(client.get)(client, "mch_gate").id
      client:get "mch_1"
    end)
    client:spawn(function()
      coroutine.yield()
      task:cancel()
      client:get "mch_open"
    end)
    client:run()
    assert.equal("mch_gate", inner)
    assert_cancelled(task)
  end)

  it("leaves other calls on its connection undisturbed", function()
    local web = task_server.start_http2()
    local client = task_server.client(web)
    local given = {}
    for i = 1, 4 do given[i] = client:spawn(client.get, client, "mch_gate" .. i) end
    task_server.step_until_received(client, web, 4)
    given[2]:cancel()
    assert_cancelled(given[2])
    client:get "mch_open"
    client:run()
    for _, i in ipairs { 1, 3, 4 } do assert.equal("mch_gate" .. i, given[i]:result().id) end
    assert.equal("mch_5", client:get("mch_5").id)
    assert.equal(1, web:connections())
  end)

  it("gives its connection to the next call", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local first = spawn_and_await(web, client, client.get, "mch_hang")
    local queued = client:spawn(client.get, client, "mch_2")
    local last = client:spawn(client.get, client, "mch_3")
    queued:cancel()
    first:cancel()
    client:run()
    assert.equal("mch_3", last:result().id)
    assert.same({ "mch_hang", "mch_3" }, task_server.asked(web))
  end)

  it("just after it got a connection, gives it to the next call", function()
    local client = task_server.client(task_server.start(), { max_connections = 1 })
    local queued, last
    client:spawn(function()
      client:get "mch_1" -- its connection goes to the next call as it ends,
      queued:cancel() -- which has not run since then
    end)
    queued = client:spawn(client.get, client, "mch_2")
    last = client:spawn(client.get, client, "mch_3")
    client:run()
    assert_cancelled(queued)
    assert.equal("mch_3", last:result().id)
  end)

  it("just after it got a connection, may block in its clean-up", function()
    local client = task_server.client(task_server.start(), { max_connections = 1 })
    local queued, cleaned
    client:spawn(function()
      client:get "mch_1"
      queued:cancel()
    end)
    queued = client:spawn(function()
      pcall(client.get, client, "mch_2")
      cleaned = coroutine.wrap(client.get)(client, "mch_slow").id
    end)
    local instructions = task_server.instructions_of(function() client:run() end)
    assert.equal("mch_slow", cleaned)
    assert_cancelled(queued)
    assert.is_true(instructions < 100000, instructions) -- else it spins
  end)
end)

-- As Ctrl-C interrupts the interpreter: a hook raises an error.
describe("A call that is interrupted by a signal", function()
  after_each(server.stop_all)

  local SCRIPT = [[
    for request in connection:requests() do
      if request.method == "POST" then return connection:hang() end
      connection:answer(200, success())
    end
  ]]

  local function create_until_interrupted(client, instructions)
    local _, problem = pcall(function()
      debug.sethook(function()
        debug.sethook()
        error("interrupted", 0)
      end, "", instructions)
      local _, err = pcall(client.create, client, { name = "a" }, { deadline_ms = 100 })
      debug.sethook()
      error(err, 0)
    end)
    return problem == "interrupted"
  end

  it("is cancelled, and not carried out by the next call", function()
    local web = server.start(SCRIPT)
    local client = machines.new { secret_key = task_server.key, base_url = web:url "/v1" }
    local instructions = 1
    while create_until_interrupted(client, instructions) do
      client:get "mch_1"
      web:wait_until_closed(web:connections() - 1) -- all but that of the get
      instructions = instructions + 7
    end
    assert.is_true(instructions > 200)
    client:close()
  end)
end)

describe("The caller's own transport in a task that is cancelled", function()
  it("is not called again", function()
    local sends = 0
    local client = machines.new { secret_key = task_server.key, transport = { send = function()
      sends = sends + 1
      return fake.answer(503)
    end } }
    local task = client:spawn(client.update, client, "mch_1", { name = "a" })
    task:cancel()
    assert.is_true(assert_cancelled(task).maybe_applied)
    assert.equal(1, sends)
    local other = client:spawn(function()
      coroutine.yield()
      client:get "mch_2"
    end)
    other:cancel()
    client:run()
    assert_cancelled(other)
    assert.equal(1, sends)
  end)

  it("may finish what it is doing", function()
    local client = machines.new { secret_key = task_server.key, transport = { send = function()
      coroutine.yield()
      return fake.ok
    end } }
    local task = client:spawn(function() return client:get("mch_1").id end)
    task:cancel()
    client:run()
    assert_cancelled(task)
  end)
end)

if has_close_handlers then
  describe("A variable to be closed in a task", function()
    after_each(task_server.stop_all)

    for name, f in pairs {
      ["is done"] = function(client) return client:get "mch_1" end,
      ["fails"] = function(client) return client:get "mch_none" end,
      ["fails at once"] = function() error "mine" end,
    } do
      it("is closed when it " .. name .. ", and may wait then", function()
        local client = task_server.client(task_server.start())
        local closed
        local task = client:spawn(with_close_handler(function()
          closed = client:get("mch_closing").id
        end, f), client)
        client:run()
        assert.equal("mch_closing", closed)
        assert.not_equal("running", task.status)
      end)
    end

    it("is closed when it is cancelled, before cancel returns", function()
      local web = task_server.start()
      local client = task_server.client(web)
      local raised, err
      local task = spawn_and_await(web, client, with_close_handler(function(_, problem)
        raised = problem
        err = error_of(client.get, client, "mch_1")
      end, client.get), "mch_hang")
      task:cancel()
      assert.equal("cancelled", err.code)
      assert.equal(raised, assert_cancelled(task))
    end)

    it("can be a client, whose tasks are then cancelled", function()
      local web = task_server.start()
      local task
      local scope = load [[
        local new, work = ...
        local client <close> = new()
        work(client)
      ]]
      scope(function() return task_server.client(web) end, function(client)
        task = spawn_and_await(web, client, client.get, "mch_hang")
      end)
      assert_cancelled(task)
      web:wait_until_closed(1)
    end)
  end)
end

describe("A client that is closed", function()
  after_each(task_server.stop_all)

  --- Tasks in every state in which a task can be, by what they wait for.
  local function spawn_everywhere(web, client)
    local given = { transfer = spawn_and_await(web, client, client.get, "mch_hang") }
    given.retry = spawn_and_await(web, client, client.get, "mch_flaky", { retries = PATIENT })
    given.join = client:spawn(given.transfer.result, given.transfer)
    given.second = spawn_and_await(web, client, client.get, "mch_hang")
    given.queue = client:spawn(client.get, client, "mch_1")
    return given
  end

  it("cancels its tasks, whatever they wait for", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 2 })
    local given = spawn_everywhere(web, client)
    client:close()
    assert_cancelled(given.transfer)
    assert_cancelled(given.retry)
    assert_cancelled(given.second)
    assert_cancelled(given.queue)
    assert.equal("cancelled", given.join.status)
    web:wait_until_closed(web:connections())
  end)

  it("refuses everything, except for the results of its tasks", function()
    local client = task_server.client(task_server.start())
    local done = client:spawn(client.get, client, "mch_1")
    client:run()
    local task = client:spawn(client.get, client, "mch_hang")
    client:close()
    client:close()
    task:cancel()
    assert_cancelled(task)
    assert.equal("mch_1", done:result().id)
    for _, name in ipairs { "spawn", "step", "run", "pollable" } do
      local err = error_of(client[name], client, print)
      assert.equal("ArgumentError", err.type)
      assert.matches("closed", err.message)
    end
  end)

  it("refuses the calls of its tasks' clean-up", function()
    local client = task_server.client(task_server.start())
    local errs = {}
    client:spawn(function()
      pcall(client.get, client, "mch_hang")
      errs[1] = error_of(client.get, client, "mch_1")
      errs[2] = error_of(client.spawn, client, print)
    end)
    client:close()
    assert.equal("ArgumentError", errs[1].type)
    assert.equal("ArgumentError", errs[2].type)
  end)

  it("can be closed by its own task, which goes on until it has to wait", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local went_on
    local other = spawn_and_await(web, client, client.get, "mch_hang")
    local task = client:spawn(function()
      client:get "mch_1"
      client:close()
      went_on = other.status
    end)
    client:run()
    assert.equal("cancelled", went_on)
    assert_cancelled(other)
    assert.equal("cancelled", task.status)
  end)

  for _, name in ipairs { "attempt", "answer", "wait", "end" } do
    local function closing_client(web)
      local client
      client = task_server.client(web, { retries = task_server.quick, on_event = function(event)
        local is_ours = event.url:find("mch_flaky", 1, true)
        if is_ours and event.type == name then client:close() end
      end })
      return client
    end

    it("can be closed by on_event at " .. name .. " in its own task", function()
      local web = task_server.start()
      local client, other = closing_client(web), task_server.client(web)
      local task = client:spawn(client.get, client, "mch_flaky")
      task_server.step_until(other, function() return task.status ~= "running" end)
      assert_cancelled(task)
    end)

    it("can be closed by on_event at " .. name .. " of a call outside tasks", function()
      local web = task_server.start()
      local client = closing_client(web)
      local task = client:spawn(client.get, client, "mch_hang")
      local ok, result = pcall(client.get, client, "mch_flaky")
      assert.equal(name == "end", ok)
      assert.equal(ok and "mch_flaky" or nil, result.id)
      assert.equal(not ok and "cancelled" or nil, result.code)
      assert_cancelled(task)
    end)
  end

  it("fails calls that other clients' tasks make on it, and only these tasks", function()
    local web = task_server.start()
    local client, other = task_server.client(web, { max_connections = 1 }), task_server.client(web)
    local moving = spawn_and_await(web, other, function() return create(client) end)
    local queued = other:spawn(create, client)
    local own = other:spawn(other.get, other, "mch_1")
    client:close()
    other:run()
    for task, maybe_applied in pairs { [moving] = true, [queued] = false } do
      assert.equal("failed", task.status)
      local err = failure_of(task)
      assert.equal("cancelled", err.code)
      assert.matches("closed", err.message)
      assert.equal(maybe_applied, err.maybe_applied)
    end
    assert.equal("mch_1", own:result().id)
  end)

  it("by a task ends the blocking call outside tasks", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    other:spawn(function()
      repeat other:get "mch_1" until table.concat(task_server.asked(web), " "):find "mch_hang"
      client:close()
    end)
    local err = error_of(create, client)
    assert.equal("cancelled", err.code)
    assert.is_true(err.maybe_applied)
    other:run()
  end)

  it("leaves other clients' tasks undisturbed", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    client:spawn(client.get, client, "mch_hang")
    local task = spawn_and_await(web, other, other.get, "mch_gate")
    client:close()
    other:get "mch_open"
    other:run()
    assert.equal("mch_gate", task:result().id)
  end)
end)
