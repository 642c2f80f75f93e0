-- Clients that the garbage collector takes while their tasks are running.

local descriptors = require "support.descriptors"
local task_server = require "support.task_server"

local spawn_and_await = task_server.spawn_and_await

--- Retries that wait long enough to be collected in.
local PATIENT = { backoff = { initial_interval = 30000, max_elapsed_time = 100000 } }

describe("A task that is still referenced", function()
  after_each(task_server.stop_all)

  it("does not keep other tasks alive that slept at the same time", function()
    local client = task_server.client(task_server.start(), {
      retries = { backoff = { initial_interval = 5, max_interval = 5 } },
    })
    local given, others = 0, setmetatable({}, { __mode = "v" })
    local function spawn()
      given = given + 1
      local id = "mch_flaky" .. given
      others[given] = client:spawn(function()
        client:get(id)
        if given < 60 then spawn() end
      end)
      return others[given]
    end
    local kept = spawn()
    for _ = 1, 3 do spawn() end
    client:run()
    for _ = 1, 4 do collectgarbage() end
    local count = 0
    for _ in pairs(others) do count = count + 1 end
    assert.equal(kept, others[1])
    assert.is_true(count < 10, count) -- stacks may still hold one that was used last
  end)
end)

describe("A client that is collected", function()
  after_each(task_server.stop_all)

  --- Calls f with a new client; returns what then is left of f's results, and of the client.
  local function outlive(web, options, f)
    local weak = setmetatable({}, { __mode = "v" })
    local function live()
      local client = task_server.client(web, options)
      weak[1] = client
      for _, each in ipairs { f(client) } do table.insert(weak, each) end
      assert(#weak > 1)
    end
    live()
    for _ = 1, 4 do collectgarbage() end
    return next(weak)
  end

  for name, f in pairs {
    ["in a transfer"] = function(web, client)
      return spawn_and_await(web, client, client.get, "mch_hang")
    end,
    ["not yet begun"] = function(_, client)
      return client:spawn(client.get, client, "mch_1")
    end,
    ["in the queue"] = function(web, client)
      return spawn_and_await(web, client, client.get, "mch_hang"),
        client:spawn(client.get, client, "mch_1")
    end,
    ["in a retry wait"] = function(_, client, is_waiting)
      local task = client:spawn(client.get, client, "mch_flaky")
      task_server.step_until(client, is_waiting)
      return task
    end,
    ["waiting for another"] = function(web, client)
      local joined = spawn_and_await(web, client, client.get, "mch_hang")
      return joined, client:spawn(joined.result, joined)
    end,
    ["yielding on its own"] = function(_, client)
      return client:spawn(coroutine.yield)
    end,
    ["cancelled"] = function(web, client)
      local task = spawn_and_await(web, client, client.get, "mch_hang")
      task:cancel()
      return task
    end,
    ["done"] = function(_, client)
      local task = client:spawn(client.get, client, "mch_1")
      client:run()
      return task
    end,
  } do
    it("takes its tasks with it, " .. name .. ", and leaves nothing open", function()
      local web = task_server.start()
      task_server.client(web):step()
      local before = descriptors.count()
      local has_waited = false
      local options = { max_connections = 1, retries = PATIENT, on_event = function(event)
        has_waited = has_waited or event.type == "wait"
      end }
      local function is_waiting() return has_waited end
      assert.is_nil(outlive(web, options, function(client) return f(web, client, is_waiting) end))
      assert.equal(before, descriptors.count())
      web:wait_until_closed(web:connections())
      assert.equal("mch_2", task_server.client(web):get("mch_2").id)
    end)
  end

  it("takes its tasks with it over HTTP/2", function()
    local web = task_server.start_http2()
    task_server.client(web):step()
    local before = descriptors.count()
    assert.is_nil(outlive(web, {}, function(client)
      local task = spawn_and_await(web, client, client.get, "mch_hang")
      return task, spawn_and_await(web, client, client.get, "mch_hang")
    end))
    assert.equal(before, descriptors.count())
  end)

  it("does not resume its tasks once more, even if their wait is over", function()
    local web = task_server.start()
    local other = task_server.client(web)
    local turns, events = 0, 0
    local function live()
      local client = task_server.client(web, { on_event = function() events = events + 1 end })
      client:spawn(client.get, client, "mch_flaky")
      task_server.step_until(client, function() return events == 3 end)
      client:spawn(function()
        while true do
          turns = turns + 1
          coroutine.yield()
        end
      end)
    end
    live()
    collectgarbage()
    other:get "mch_slow"
    assert.equal(3, events)
    assert.equal(1, turns)
  end)

  it("is kept by a task that uses it", function()
    local web = task_server.start()
    local function spawn()
      local client = task_server.client(web)
      return client:spawn(client.get, client, "mch_1")
    end
    local task, other = spawn(), task_server.client(web)
    collectgarbage()
    collectgarbage()
    task_server.step_until(other, function() return task.status ~= "running" end)
    assert.equal("mch_1", task:result().id)
  end)

  it("is kept by a task of its own", function()
    local web = task_server.start()
    local other = task_server.client(web)
    local function spawn()
      return task_server.client(web):spawn(other.get, other, "mch_1")
    end
    local task = spawn()
    for _ = 1, 3 do collectgarbage() end
    task_server.step_until(other, function() return task.status ~= "running" end)
    assert.equal("mch_1", task:result().id)
  end)

  for name, count in pairs { ["a connection"] = 1, ["a place in the queue"] = 2 } do
    it("gives back what its tasks hold of another client: " .. name, function()
      local web = task_server.start()
      local other = task_server.client(web, { max_connections = 1 })
      outlive(web, {}, function(client)
        for i = 2, count do client:spawn(other.get, other, "mch_" .. i) end
        return spawn_and_await(web, client, function() return other:get "mch_slow" end)
      end)
      assert.equal("mch_3", other:get("mch_3", { deadline_ms = 8000 }).id)
    end)
  end

  it("is collected although it was used in a coroutine that is gone", function()
    local web = task_server.start()
    assert.is_nil(outlive(web, {}, function(client)
      return client:spawn(function()
        local machine = coroutine.wrap(client.get)(client, "mch_1")
        coroutine.yield(machine)
      end)
    end))
  end)
end)

describe("A safe client that is collected", function()
  after_each(task_server.stop_all)

  it("leaves an iterator that still works", function()
    local safe = require "clerk.machines.safe"
    local emulator = require "clerk.machines.emulator"
    local client = safe.new { secret_key = "sk_test_emulator", transport = emulator.new() }
    local following = client:each()
    client = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    local machine, problem = following()
    assert.is_nil(machine)
    assert.is_nil(problem)
  end)
end)
