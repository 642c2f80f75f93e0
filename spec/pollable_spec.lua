-- Tasks in a host's own event loop: client:pollable, and forks.
--
-- CLERK_USE_POLL says that the library was built without epoll.

local descriptors = require "support.descriptors"
local fake = require "support.fake"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local posix = require "support.posix"
local process = require "support.process"
local server = require "support.server"

local PATIENCE_MS = 10000
local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

if os.getenv "CLERK_USE_POLL" then
  describe("Without epoll pollable", function()
    it("is refused, and says what to do instead", function()
      local client = fake.client { fake.ok }
      local ok, err = pcall(client.pollable, client)
      assert.is_false(ok)
      assert.equal("ArgumentError", err.type)
      assert.matches("step%(0%) by a timer", err.message)
    end)
  end)
  return
end

--- Sends a request to the server from another process.
local function ask(web, path)
  local status, _, errors = process.run("curl -sS " .. process.quote(web:url(path)))
  assert.equal(0, status, errors)
end

--- One turn of an event loop that knows only what pollable returns.
local function turn(client)
  local fd, ms = client:pollable()
  local is_readable = posix.is_readable(fd, ms or PATIENCE_MS)
  assert(is_readable or ms, "nothing is ready, nor due")
  client:step(0)
end

--- How many turns it takes until `holds` returns true.
local function turns_until(client, holds)
  local turns = 0
  while not holds() do
    turn(client)
    turns = turns + 1
    assert(turns < 10000, "it spins")
  end
  return turns
end

local function drive(client, ...)
  local given = { ... }
  return turns_until(client, function()
    for _, task in ipairs(given) do
      if task.status == "running" then return false end
    end
    return true
  end)
end

describe("In an event loop", function()
  after_each(task_server.stop_all)

  it("a task goes through its transfers, waits and pauses", function()
    local client = task_server.client(task_server.start())
    local task = client:spawn(function()
      local attempts = 0
      for _, id in ipairs { "mch_1", "mch_flaky", "mch_busy", "mch_2" } do
        attempts = attempts + select(2, client:get(id)).attempts
      end
      return attempts
    end)
    assert.is_true(drive(client, task) < 100)
    assert.equal(6, task:result())
  end)

  it("many tasks go through the queue, whatever their outcome", function()
    local client = task_server.client(task_server.start(), { max_connections = 3 })
    local given = { client:spawn(client.get, client, "mch_flaky", { retries = false }),
      client:spawn(client.get, client, "mch_hang", { timeout_ms = 300, retries = false }) }
    for i = 1, 40 do given[#given + 1] = client:spawn(client.get, client, "mch_" .. i) end
    assert.is_true(drive(client, unpack(given)) < 1000)
    assert.equal("mch_40", given[42]:result().id)
    assert.equal("timeout", task_server.failure_of(given[2]).code)
  end)

  it("tasks work over TLS and HTTP/2", function()
    local client = task_server.client(task_server.start_http2())
    local given = {}
    for i = 1, 20 do given[i] = client:spawn(client.get, client, "mch_" .. i) end
    drive(client, unpack(given))
    for i = 1, 20 do assert.equal("mch_" .. i, given[i]:result().id) end
  end)

  it("tasks that wait for each other work", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    local joined = client:spawn(client.get, client, "mch_1")
    local joiner = other:spawn(joined.result, joined)
    drive(client, joined, joiner)
    assert.equal("mch_1", joiner:result().id)
  end)

  it("a task that yields on its own is due at once", function()
    local client = fake.client { fake.ok }
    local task = client:spawn(function()
      for _ = 1, 5 do coroutine.yield() end
    end)
    assert.equal(0, select(2, client:pollable()))
    drive(client, task)
  end)

  it("a task that is cancelled leaves nothing to wait for", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(client.get, client, "mch_hang")
    task_server.step_until_received(client, web, 1)
    task:cancel()
    client:step(0)
    local fd, ms = client:pollable()
    assert.is_false(posix.is_readable(fd, ms or 50))
    assert.equal(0, client:step())
  end)
end)

describe("What pollable returns", function()
  after_each(task_server.stop_all)

  it("is a readable descriptor once something is ready, and not before", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(client.get, client, "mch_gate")
    task_server.step_until_received(client, web, 1)
    local fd = client:pollable()
    assert.is_false(posix.is_readable(fd, 100))
    ask(web, "/v1/machines/mch_open")
    assert.is_true(posix.is_readable(fd, PATIENCE_MS))
    task_server.step_until(client, function() return task.status == "done" end)
    assert.is_false(posix.is_readable(fd, 0))
  end)

  describe("is not readable for long because the server has closed a kept connection", function()
    --- Answers one request on each connection, then closes it.
    local CLOSING = [[
      connection:read_request()
      connection:answer(values.status, '{"id":"mch_1","errors":[]}', "Retry-After: 1")
      values.status = 200
    ]]

    local function new_client(status)
      local web = server.start(CLOSING, { values = { status = status } })
      return machines.new { secret_key = "sk_test_1234", base_url = web:url "/v1" }
    end

    after_each(server.stop_all)

    it("after a call", function()
      local client = new_client(200)
      client:get "mch_1"
      local fd = client:pollable()
      assert.is_true(posix.is_readable(fd, PATIENCE_MS))
      client:step(0)
      assert.is_false(posix.is_readable(fd, 0))
      client:close()
    end)

    it("while a task waits", function()
      local client = new_client(429)
      local task = client:spawn(client.get, client, "mch_1")
      assert.is_true(drive(client, task) < 100)
      assert.equal("mch_1", task:result().id)
      client:close()
    end)
  end)

  it("is no time while nothing is in progress", function()
    local web = task_server.start()
    local client = task_server.client(web)
    assert.is_nil(select(2, client:pollable()))
    client:get "mch_1"
    assert.is_nil(select(2, client:pollable()))
  end)

  it("is 0 ms when a transfer is about to begin", function()
    local client = task_server.client(task_server.start())
    client:spawn(client.get, client, "mch_hang")
    assert.equal(0, select(2, client:pollable()))
    client:close()
  end)

  it("is the time until the next retry, timeout or deadline", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local function ms() return select(2, client:pollable()) end
    local function assert_within(low, high)
      task_server.step_until(client, function() return ms() and ms() > 0 end)
      assert.is_true(ms() > low and ms() <= high, ms())
    end
    local task = client:spawn(client.get, client, "mch_closed", {
      retries = { backoff = { max_elapsed_time = 100000 } },
    })
    task_server.step_until(client, function() return ms() and ms() > 20000 end)
    assert_within(30000, 40000)
    task:cancel()
    local other = task_server.client(web, { max_connections = 1, connect_timeout_ms = 30000 })
    other:spawn(other.get, other, "mch_hang", { timeout_ms = 25000 })
    task_server.step_until_received(other, web, 2)
    task_server.step_until(other, function() return ms() > 10000 end)
    assert_within(15000, 25000)
    local queued = other:spawn(other.get, other, "mch_1", { deadline_ms = 9000 })
    assert_within(5000, 9000)
    queued:cancel()
    task_server.step_until(other, function() return ms() > 10000 end)
    other:close()
    assert.is_nil(ms())
  end)

  it("is one descriptor for all clients, and stays the same", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    local fd = client:pollable()
    assert.equal(fd, (other:pollable()))
    local task = other:spawn(other.get, other, "mch_1")
    drive(client, task)
    assert.equal(fd, (other:pollable()))
    other:close()
    assert.equal(fd, (client:pollable()))
    client:get "mch_1"
    assert.equal(fd, (client:pollable()))
    client:close()
    assert.equal(fd, (task_server.client(web):pollable()))
  end)

  it("can be asked for inside a task", function()
    local client = fake.client { fake.ok }
    assert.equal(client:pollable(), (client:spawn(client.pollable, client):result()))
  end)

  it("is not inherited by programs that this one starts", function()
    local client = task_server.client(task_server.start())
    client:get "mch_1"
    assert.is_number((client:pollable()))
    local inherited = descriptors.list_directory "/proc/self/fd"
    assert.matches("pipe", inherited)
    assert.is_nil(inherited:find("eventpoll", 1, true))
  end)
end)

describe("After a fork", function()
  after_each(task_server.stop_all)

  it("both processes have their own descriptor, and the parent's tasks go on", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(client.get, client, "mch_gate")
    task_server.step_until_received(client, web, 1)
    local fd = client:pollable()
    local pid = posix.in_child(function()
      local own = task_server.spawn_and_await(web, client, client.get, "mch_slow")
      os.execute "sleep 1.5" -- with an answer to read
      drive(client, own)
    end)
    web:wait_until_received(2)
    assert.is_false(posix.is_readable(fd, 1200))
    assert.equal(0, posix.wait(pid))
    assert.is_false(posix.is_readable(fd, 0))
    assert.equal(fd, (client:pollable()))
    ask(web, "/v1/machines/mch_open")
    drive(client, task)
    assert.equal("mch_gate", task:result().id)
    assert.same({ "mch_gate", "mch_slow", "mch_open" }, task_server.asked(web))
  end)

  it("tasks that the child starts belong to it, whatever they wait for", function()
    local client = fake.client({}, { transport = { send = function()
      coroutine.yield()
      return fake.ok
    end } })
    local task = client:spawn(client.get, client, "mch_1")
    local pid = posix.in_child(function()
      local own = client:spawn(client.get, client, "mch_2")
      client:run()
      assert(own.status == "done" and task.status == "cancelled", own.status)
    end)
    assert.equal(0, posix.wait(pid))
    client:run()
    assert.equal("done", task.status)
  end)

  it("what was in progress stays with the parent, and is cancelled in the child", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(client.create, client, { name = "mch_gate" })
    task_server.step_until_received(client, web, 1)
    local pid = posix.in_child(function()
      client:run()
      assert(task.status == "cancelled")
      local err = task_server.failure_of(task)
      assert(err.code == "cancelled" and err.maybe_applied)
      assert(client:get("mch_child").id == "mch_child")
    end)
    assert.equal(0, posix.wait(pid))
    client:get "mch_open"
    client:run()
    assert.equal("mch_gate", task:result().id)
  end)

  it("the child does not repeat calls that waited for a connection or another attempt", function()
    local web = task_server.start()
    local client = task_server.client(web, { max_connections = 1 })
    local given = { client:spawn(client.update, client, "mch_flaky", { name = "a" }) }
    task_server.step_until_received(client, web, 1)
    task_server.spawn_and_await(web, client, client.get, "mch_gate")
    given[2] = client:spawn(client.create, client, { name = "mch_2" })
    local pid = posix.in_child(function()
      assert(client:get("mch_child").id == "mch_child")
      client:run()
      for _, task in ipairs(given) do assert(task.status == "cancelled") end
    end)
    assert.equal(0, posix.wait(pid))
    task_server.client(web):get "mch_open"
    client:run()
    for _, task in ipairs(given) do assert.equal("done", task.status) end
    local asked = task_server.asked(web)
    table.sort(asked)
    assert.same({ "mch_2", "mch_child", "mch_flaky", "mch_flaky", "mch_gate", "mch_open" }, asked)
  end)

  it("the child can cancel and close what it has inherited", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(client.get, client, "mch_gate")
    task_server.step_until_received(client, web, 1)
    local pid = posix.in_child(function()
      task:cancel()
      assert(task.status == "cancelled")
      client:close()
      local other = machines.new(task_server.settings(web))
      assert(other:get("mch_child").id == "mch_child")
    end)
    assert.equal(0, posix.wait(pid))
    client:get "mch_open"
    client:run()
    assert.equal("mch_gate", task:result().id)
  end)
end)
