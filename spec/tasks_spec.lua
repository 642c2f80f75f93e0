-- Tasks: how they run, end and wait for each other, how steps move them, and calls outside tasks.

local fake = require "support.fake"
local task_server = require "support.task_server"
local interpreter = require "support.interpreter"
local machines = require "clerk.machines"
local process = require "support.process"
local safe = require "clerk.machines.safe"

local failure_of = task_server.failure_of

-- In this file, because errors name the file that made the call.
local function error_of(f, ...)
  local ok, problem = pcall(f, ...)
  assert.is_false(ok, "no error was raised")
  return problem
end

local function assert_refused(pattern, f, ...)
  local problem = error_of(f, ...)
  assert.is_true(machines.is_error(problem), tostring(problem))
  assert.equal("ArgumentError", problem.type)
  assert.matches(pattern, problem.message)
  return problem
end

--- A client without I/O.
local function idle_client()
  return (fake.client { fake.ok })
end

local function burn(seconds)
  local from = os.clock()
  while os.clock() - from < seconds do end -- luacheck: ignore
end

--- Runs f in a new coroutine to its end; f must never yield.
local function in_coroutine(f, ...)
  local thread = coroutine.create(f)
  local results = { coroutine.resume(thread, ...) }
  assert.equal("dead", coroutine.status(thread))
  assert.is_true(results[1], results[2])
  return results[2]
end

describe("A task", function()
  after_each(task_server.stop_all)

  it("runs until it has to wait, and goes on with steps", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local steps = {}
    local task = client:spawn(function()
      table.insert(steps, "begun")
      table.insert(steps, client:get("mch_gate").id)
      table.insert(steps, client:get("mch_2").id)
    end)
    assert.same({ "begun" }, steps)
    assert.equal("running", task.status)
    task_server.step_until_received(client, web, 1)
    assert.equal("running", task.status)
    client:get "mch_open"
    client:run()
    assert.same({ "begun", "mch_gate", "mch_2" }, steps)
    assert.equal("done", task.status)
  end)

  it("that never waits is done at once and has all its results", function()
    local client = idle_client()
    local task = client:spawn(function() return nil, 1, false, nil end)
    assert.equal("done", task.status)
    assert.equal(4, select("#", task:result()))
    assert.same({ nil, 1, false, nil }, { task:result() })
    assert.equal(0, select("#", client:spawn(function() end):result()))
    assert.equal(0, client:step())
  end)

  it("takes and returns hundreds of values", function()
    local values = {}
    for i = 1, 250 do values[i] = i end
    local task = idle_client():spawn(function(...) return ... end,
      (rawget(table, "unpack") or rawget(_G, "unpack"))(values))
    assert.same(values, { task:result() })
  end)

  it("gets its arguments, including nils", function()
    local count, last
    idle_client():spawn(function(...)
      count, last = select("#", ...), (select(2, ...))
    end, nil, "b", nil)
    assert.equal(3, count)
    assert.equal("b", last)
  end)

  it("can run a method", function()
    local client = task_server.client(task_server.start())
    local task = client:spawn(client.get, client, "mch_1")
    client:run()
    local machine, info = task:result()
    assert.equal("mch_1", machine.id)
    assert.equal(200, info.status)
    assert.equal(machine, (task:result()))
  end)

  it("shows its status and nothing else", function()
    local client = idle_client()
    local task = client:spawn(coroutine.yield, task_server.key)
    assert.equal("clerk.machines.Task (running)", tostring(task))
    client:run()
    assert.equal("clerk.machines.Task (done)", tostring(task))
  end)

  for name, value in pairs { ["a string"] = "mine", ["a table"] = {}, ["false"] = false,
    ["a function"] = print } do
    it("that raises " .. name .. " has failed, and its result raises the same", function()
      local client = idle_client()
      local at_once = client:spawn(error, value, 0)
      assert.equal("failed", at_once.status)
      assert.equal(value, failure_of(at_once))
      local later = client:spawn(function()
        coroutine.yield()
        error(value, 0)
      end)
      assert.equal("running", later.status)
      client:run()
      assert.equal("failed", later.status)
      assert.equal(value, failure_of(later))
      assert.equal(value, failure_of(later))
    end)
  end

  it("that raises nil has failed too", function()
    local task = idle_client():spawn(error)
    assert.equal("failed", task.status)
    assert.is_nil(failure_of(task))
  end)

  it("fails with the API's errors, and with arguments refused before any I/O", function()
    local client = task_server.client(task_server.start())
    local refused = client:spawn(client.get, client, "mch_none")
    local wrong = client:spawn(client.get, client, "..")
    assert.equal("failed", wrong.status)
    assert.equal("ArgumentError", failure_of(wrong).type)
    client:run()
    assert.equal("failed", refused.status)
    assert.equal("ClerkErrors", failure_of(refused).type)
    assert.equal(404, failure_of(refused).status)
  end)

  it("that fails does not disturb other tasks, and nothing is printed", function()
    local web = task_server.start()
    local script = [[
      local client = require "clerk.machines".new { secret_key = "sk_test", base_url = %q }
      local names = { "mch_none", "..", "mch_1", "mch_none" }
      local tasks = {}
      client:spawn(error, "mine")
      for i, name in ipairs(names) do tasks[i] = client:spawn(client.get, client, name) end
      client:run()
      for i, task in ipairs(tasks) do names[i] = task.status end
      assert(table.concat(names, " ") == "failed failed done failed")
    ]]
    local command = "env LD_PRELOAD=%s LUA_PATH=%s LUA_CPATH=%s %s -e %s"
    local status, output, errors = process.run(command:format(os.getenv "LD_PRELOAD" or "",
      process.quote(package.path), process.quote(package.cpath), interpreter.name,
      process.quote(script:format(web:url "/v1"))))
    assert.equal(0, status, errors)
    assert.equal("", output .. errors)
  end)

  it("can spawn other tasks, which run like it", function()
    local client = task_server.client(task_server.start())
    local inner
    local outer = client:spawn(function()
      inner = client:spawn(client.get, client, "mch_inner")
      assert(inner.status == "running")
      return client:get("mch_outer").id
    end)
    assert.equal(2, client:step())
    client:run()
    assert.equal("mch_outer", outer:result())
    assert.equal("mch_inner", inner:result().id)
  end)

  it("can spawn other tasks after a failed call and as its last act", function()
    local client = task_server.client(task_server.start())
    local late, last
    client:spawn(function()
      pcall(client.get, client, "mch_none")
      late = client:spawn(function()
        client:get "mch_1"
        last = client:spawn(client.get, client, "mch_2")
      end)
      error "mine"
    end)
    client:run()
    assert.equal("done", late.status)
    assert.equal("mch_2", last:result().id)
  end)

  it("that yields on its own is resumed by the next step", function()
    local client, turns = idle_client(), 0
    local task = client:spawn(function()
      for _ = 1, 3 do
        turns = turns + 1
        coroutine.yield "its own affair"
      end
    end)
    assert.equal(1, turns)
    client:run()
    assert.equal(3, turns)
    assert.equal("done", task.status)
  end)

  it("that yields on its own after long work lets other tasks run", function()
    local first, second, other = idle_client(), idle_client(), idle_client()
    local is_over = false
    local function hog()
      while not is_over do
        burn(0.002)
        coroutine.yield()
      end
    end
    first:spawn(hog)
    second:spawn(hog)
    local tasks = {}
    for i, client in ipairs { first, second, other } do tasks[i] = client:spawn(coroutine.yield) end
    for _ = 1, 50 do other:step(0) end
    for _, task in ipairs(tasks) do assert.equal("done", task.status) end
    is_over = true
    first:run()
    second:run()
  end)
end)

describe("A task's result", function()
  after_each(task_server.stop_all)

  it("can be waited for outside tasks, and in a coroutine that a task made", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task = client:spawn(client.get, client, "mch_1")
    assert.equal("running", task.status)
    assert.equal("mch_1", task:result().id)
    local outer = client:spawn(function()
      local inner = client:spawn(client.get, client, "mch_2")
      return in_coroutine(function() return inner:result().id end)
    end)
    assert.equal("mch_2", outer:result())
  end)

  it("cannot be waited for by the task itself", function()
    local client = idle_client()
    local task
    task = client:spawn(function()
      coroutine.yield()
      return task:result()
    end)
    client:run()
    assert.equal("ArgumentError", failure_of(task).type)
    assert.equal("a task cannot wait for its own result", failure_of(task).message)
  end)

  it("cannot be waited for by a coroutine that the task has resumed", function()
    local client = idle_client()
    local task
    task = client:spawn(function()
      coroutine.yield()
      in_coroutine(function() assert_refused("own result", task.result, task) end)
    end)
    client:run()
    assert.equal("done", task.status)
  end)

  it("is passed to the tasks that wait for it, also of other clients, in their order", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    local order = {}
    local joined = client:spawn(client.get, client, "mch_gate")
    local function join(name)
      local machine, info = joined:result()
      table.insert(order, name)
      return machine.id, info.status
    end
    local tasks = { client:spawn(join, "a"), client:spawn(join, "b"), other:spawn(join, "c"),
      client:spawn(join, "d") }
    client:get "mch_open"
    client:run()
    other:run()
    for _, task in ipairs(tasks) do assert.same({ "mch_gate", 200 }, { task:result() }) end
    assert.equal("a b d", table.concat(order, " "):gsub(" c", ""):gsub("c ", ""))
  end)

  it("is there at once for a task that asks after its end", function()
    local client = idle_client()
    local joined = client:spawn(function() return 1, nil end)
    local task = client:spawn(function() return select("#", joined:result()) end)
    assert.equal(2, task:result())
  end)

  it("takes no memory when a cancelled task asks for it again and again", function()
    local client = task_server.client(task_server.start())
    local awaited = client:spawn(client.get, client, "mch_hang")
    local grown_kb
    local task = client:spawn(function()
      pcall(awaited.result, awaited)
      collectgarbage()
      local before = collectgarbage "count"
      for _ = 1, 10000 do
        assert.equal("cancelled", error_of(awaited.result, awaited).code)
      end
      collectgarbage()
      grown_kb = collectgarbage "count" - before
    end)
    task:cancel()
    awaited:cancel()
    assert.equal("cancelled", task.status)
    assert.is_true(grown_kb < 100, grown_kb)
  end)

  it("raises the error of a failed task only in the task that waits for it", function()
    local client = task_server.client(task_server.start())
    local joined = client:spawn(client.get, client, "mch_none")
    local plain = client:spawn(joined.result, joined)
    local caught = client:spawn(pcall, joined.result, joined)
    client:run()
    assert.equal("failed", plain.status)
    assert.equal(failure_of(joined), failure_of(plain))
    assert.equal("done", caught.status)
    assert.same({ false, failure_of(joined) }, { caught:result() })
  end)
end)

describe("A function given to task:on_done", function()
  after_each(task_server.stop_all)

  local endings = {
    done = function() return 1 end,
    failed = function() error("mine", 0) end,
    cancelled = function(task) task():cancel() error("mine", 0) end,
  }

  for status, f in pairs(endings) do
    it("is called with a " .. status .. " task, once, or at once after the end", function()
      local client, seen = idle_client(), {}
      local function note(task) table.insert(seen, task.status) end
      local task
      task = client:spawn(function()
        coroutine.yield(task_server.key)
        return f(function() return task end)
      end)
      task:on_done(note)
      task:on_done(note)
      assert.same({}, seen)
      client:run()
      assert.same({ status, status }, seen)
      task:on_done(note)
      assert.same({ status, status, status }, seen)
      client:step()
      assert.equal(3, #seen)
    end)
  end

  it("is called when the task is cancelled while it waits", function()
    local web = task_server.start()
    local client = task_server.client(web)
    local task, seen = task_server.spawn_and_await(web, client, client.get, "mch_hang"), nil
    task:on_done(function(ended) seen = ended end)
    task:cancel()
    assert.equal(task, seen)
  end)

  it("may use the client, and spawn tasks", function()
    local client = task_server.client(task_server.start())
    local task, id, next_task = client:spawn(client.get, client, "mch_1"), nil, nil
    task:on_done(function()
      id = client:get("mch_2").id
      next_task = client:spawn(client.get, client, "mch_3")
    end)
    repeat client:step(10) until next_task
    assert.equal("mch_2", id)
    assert.equal("mch_3", next_task:result().id)
  end)

  it("may raise, which the step does after the other functions were called", function()
    local client, seen = idle_client(), 0
    local task = client:spawn(coroutine.yield, task_server.key)
    local waiting = client:spawn(task.result, task)
    task:on_done(function() error("first", 0) end)
    task:on_done(function() seen = seen + 1 error("second", 0) end)
    assert.equal("first", error_of(client.step, client))
    assert.equal(1, seen)
    assert.equal("done", task.status)
    client:run()
    assert.equal("done", waiting.status)
  end)

  it("must be a function", function()
    local task = idle_client():spawn(function() end)
    assert_refused("on_done needs a function, got nil", task.on_done, task)
    assert_refused("colon", task.on_done, function() end)
  end)

  it("is given the safe twin's task by the safe twin", function()
    local client = safe.new { secret_key = "sk_test", transport = fake.new { fake.ok } }
    local seen
    local task = client:spawn(function() error("mine", 0) end)
    task:on_done(function(ended) seen = ended end)
    assert.equal(task, seen)
    assert.same({ nil, "mine" }, { seen:result() })
  end)
end)

describe("Steps", function()
  after_each(task_server.stop_all)

  it("return how many of the client's own tasks are left", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    client:spawn(client.get, client, "mch_gate")
    client:spawn(client.get, client, "mch_gate")
    other:spawn(other.get, other, "mch_gate")
    assert.equal(2, client:step(0))
    assert.equal(1, other:step(0))
    client:get "mch_open"
    client:run()
    assert.equal(0, client:step())
    other:run()
    assert.equal(0, other:step())
  end)

  it("also move other clients' tasks", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    local task = other:spawn(other.get, other, "mch_1")
    task_server.step_until(client, function() return task.status == "done" end)
    other:run()
  end)

  it("return even if more tasks are ready", function()
    local client, turns = idle_client(), 0
    local is_slow = true
    for _ = 1, 2000 do
      client:spawn(function()
        coroutine.yield()
        turns = turns + 1
        if is_slow then burn(0.001) end
      end)
    end
    local left = client:step(0)
    assert.equal(2000 - turns, left)
    assert.is_true(turns > 0 and turns < 1000)
    is_slow = false
    client:run()
    assert.equal(2000, turns)
  end)

  it("do not spin while all tasks wait", function()
    local client = task_server.client(task_server.start())
    client:spawn(client.get, client, "mch_slow")
    client:spawn(client.get, client, "mch_busy")
    local instructions = task_server.instructions_of(function() client:run() end)
    assert.is_true(instructions < 100000, instructions)
  end)

  it("wait only when they may, and not by default", function()
    local web = task_server.start()
    local client = task_server.client(web)
    task_server.spawn_and_await(web, client, client.get, "mch_hang")
    local blocked = task_server.blocked_count(function()
      for _ = 1, 50 do
        client:step()
        client:step(0)
      end
    end)
    assert.is_true(blocked < 50, blocked)
    assert.is_true(task_server.blocked_count(function() client:step(200) end) > 0)
  end)

  it("lose no task, however often they are interrupted", function()
    local function interrupted_step(client, after)
      local function interrupt()
        debug.sethook()
        error("a signal", 0)
      end
      return pcall(function()
        debug.sethook(interrupt, "", after)
        client:step(0)
        debug.sethook()
      end)
    end

    local function interrupt_twice(first, second)
      local answers = fake.new { fake.answer(503), fake.answer(503), fake.ok }
      local client = machines.new {
        secret_key = "sk_test",
        transport = { send = function(_, request) return answers:send(request) end },
        retries = { backoff = { initial_interval = 5, max_interval = 5 } },
      }
      local given = {
        client:spawn(client.get, client, "mch_1"), client:spawn(client.get, client, "mch_2"),
      }
      interrupted_step(client, first)
      local is_over = interrupted_step(client, second)
      task_server.step_until(client, function()
        return given[1].status ~= "running" and given[2].status ~= "running"
      end)
      return is_over
    end

    for first = 20, 60, 20 do
      local second = 1
      while not interrupt_twice(first, second) do second = second + 7 end
      assert.is_true(second > 1)
    end
  end)

  it("check their argument", function()
    local client = idle_client()
    for _, ms in ipairs { 0, 0.5, 1, 20 } do assert.equal(0, client:step(ms)) end
    for _, ms in ipairs { -1, -0.5, 0 / 0, -math.huge, "5", {}, true } do
      local err = assert_refused("ms must be a number of at least 0", client.step, client, ms)
      assert.matches("tasks_spec", err.where)
    end
  end)

  it("can wait without a limit", function()
    local client = task_server.client(task_server.start())
    local task = client:spawn(client.get, client, "mch_1")
    while client:step(math.huge) > 0 do end -- luacheck: ignore
    assert.equal("mch_1", task:result().id)
  end)

  it("are refused inside a task, as is run", function()
    local client, other = idle_client(), idle_client()
    for _, name in ipairs { "step", "run" } do
      for _, each in ipairs { client, other } do
        local task = client:spawn(each[name], each)
        assert.equal("failed", task.status)
        assert.equal("ArgumentError", failure_of(task).type)
        assert.matches(name .. " cannot be called inside a task", failure_of(task).message)
      end
    end
  end)

  it("are possible in a coroutine that a task made", function()
    local client = task_server.client(task_server.start())
    local inner = client:spawn(client.get, client, "mch_1")
    local outer = client:spawn(in_coroutine, function()
      while inner.status == "running" do client:step(100) end
      return inner:result().id
    end)
    assert.equal("mch_1", outer:result())
  end)
end)

describe("What is not a task's function or a task", function()
  it("is refused by spawn", function()
    local client = idle_client()
    for _, value in ipairs { "get", 1, {}, setmetatable({}, { __call = print }), true } do
      local err = assert_refused("spawn needs a function, got " .. type(value),
        client.spawn, client, value)
      assert.matches("tasks_spec", err.where)
    end
    assert_refused("spawn needs a function, got nil", client.spawn, client)
    assert.equal(0, client:step())
  end)

  it("is refused as self", function()
    local client = idle_client()
    local task = client:spawn(os.time)
    assert_refused("colon", task.result)
    assert_refused("colon", task.cancel, client)
    for _, name in ipairs { "spawn", "step", "run", "pollable" } do
      assert_refused("colon", client[name], print)
    end
  end)
end)

describe("A client in a task of another one", function()
  after_each(task_server.stop_all)

  it("yields there too, and counts no unfinished task for that", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    local task = client:spawn(other.get, other, "mch_gate")
    assert.equal("running", task.status)
    assert.equal(1, client:step())
    assert.equal(0, other:step())
    other:run()
    assert.equal("running", task.status)
    other:get "mch_open"
    client:run()
    assert.equal("mch_gate", task:result().id)
  end)
end)

describe("A call in the caller's own coroutine", function()
  after_each(task_server.stop_all)

  it("blocks when there are no tasks", function()
    local client = task_server.client(task_server.start())
    assert.equal("mch_1", in_coroutine(client.get, client, "mch_1").id)
  end)

  it("blocks within a task, while the other tasks go on", function()
    local client = task_server.client(task_server.start())
    local opener = client:spawn(function()
      client:get "mch_1"
      return client:get "mch_open"
    end)
    local task = client:spawn(function()
      return in_coroutine(client.get, client, "mch_gate").id
    end)
    assert.equal("done", task.status)
    assert.equal("mch_gate", task:result())
    client:run()
    assert.equal("mch_open", opener:result().id)
  end)

  it("also blocks within a task in its retry waits", function()
    local client = task_server.client(task_server.start(), { retries = task_server.quick })
    local _, info = client:spawn(function()
      return nil, in_coroutine(function()
        return (select(2, client:get "mch_flaky"))
      end)
    end):result()
    assert.equal(2, info.attempts)
  end)
end)

describe("A call outside tasks", function()
  after_each(task_server.stop_all)

  it("blocks, while the tasks go on", function()
    local client = task_server.client(task_server.start())
    local task = client:spawn(function()
      client:get "mch_1"
      return client:get "mch_open"
    end)
    assert.equal("mch_gate", client:get("mch_gate").id)
    client:run()
    assert.equal("mch_open", task:result().id)
  end)

  it("lets tasks go on in its retry waits", function()
    local web = task_server.start()
    local client, other = task_server.client(web), task_server.client(web)
    local task = other:spawn(other.get, other, "mch_1")
    local _, info = client:get("mch_flaky", { retries = { backoff = { initial_interval = 1000 } } })
    assert.equal(2, info.attempts)
    assert.equal("mch_1", task:result().id)
  end)

  it("raises its own error, and tasks keep theirs", function()
    local client = task_server.client(task_server.start())
    local task = client:spawn(client.get, client, "mch_none1")
    assert.equal("mch_none2", error_of(client.get, client, "mch_none2").code)
    client:run()
    assert.equal("mch_none1", failure_of(task).code)
  end)
end)

describe("The caller's function in a task", function()
  after_each(task_server.stop_all)

  --- Yields a few times.
  local function dawdle()
    for _ = 1, 3 do coroutine.yield() end
  end

  it("can yield as secret_key and as on_event", function()
    local web = task_server.start()
    local events = {}
    local client = task_server.client(web, {
      retries = task_server.quick,
      secret_key = function()
        dawdle()
        return task_server.key
      end,
      on_event = function(event)
        dawdle()
        table.insert(events, event.type)
      end,
    })
    local task = client:spawn(client.get, client, "mch_flaky")
    assert.equal(0, #events)
    client:run()
    assert.equal(2, select(2, task:result()).attempts)
    assert.equal("attempt answer wait attempt answer end", table.concat(events, " "))
    assert.equal("Bearer " .. task_server.key, web:requests()[2].headers.authorization)
  end)

  it("can yield as a transport, while other calls overtake it", function()
    local order = {}
    local client = machines.new { secret_key = task_server.key, transport = {
      send = function(_, request)
        local id = request.url:match "mch_%w+"
        if id == "mch_slow" then dawdle() end
        table.insert(order, id)
        return fake.ok
      end,
    } }
    local task = client:spawn(client.get, client, "mch_slow")
    client:spawn(client.get, client, "mch_quick")
    client:run()
    assert.equal("mch_1", task:result().id)
    assert.same({ "mch_quick", "mch_slow" }, order)
  end)

  it("can resume its task itself, as callbacks do", function()
    local callbacks = {}
    local answers = { fake.answer(503), fake.ok }
    local client = machines.new {
      secret_key = task_server.key,
      retries = { backoff = { initial_interval = 100 } },
      transport = { send = function()
        local thread, response = coroutine.running(), nil
        table.insert(callbacks, function()
          response = table.remove(answers, 1)
          assert(coroutine.resume(thread))
        end)
        repeat coroutine.yield() until response
        return response
      end },
    }
    local task = client:spawn(client.get, client, "mch_1")
    for _ = 1, 2 do
      task_server.step_until(client, function() return callbacks[1] end)
      client:step(0)
      table.remove(callbacks)()
      client:step(0)
    end
    assert.equal(2, select(2, task:result()).attempts)
    assert.equal(0, client:step())
  end)

  for _, name in ipairs { "secret_key", "on_event", "send" } do
    it("can raise as " .. name .. ", which ends only that call", function()
      local web = task_server.start()
      local mine = {}
      local function raise()
        if coroutine.running() then coroutine.yield() end
        error(mine, 0)
      end
      local transport = { send = raise }
      local client = task_server.client(web, { [name == "send" and "transport" or name] =
        name == "send" and transport or raise })
      local other = task_server.client(web)
      local task = client:spawn(client.get, client, "mch_1")
      local caught = client:spawn(function()
        return pcall(client.get, client, "mch_2")
      end)
      local undisturbed = other:spawn(other.get, other, "mch_3")
      client:run()
      other:run()
      assert.equal(mine, failure_of(task))
      assert.same({ false, mine }, { caught:result() })
      assert.equal("mch_3", undisturbed:result().id)
    end)
  end

  it("can use the client while the connection limit is reached", function()
    local client
    local has_asked = false
    local function ask()
      if has_asked then return end
      has_asked = true
      assert(client:get("mch_inner", { deadline_ms = 5000 }).id == "mch_inner")
    end
    for _, name in ipairs { "attempt", "answer", "end" } do
      has_asked = false
      local function on_event(event)
        if event.type == name then ask() end
      end
      client = task_server.client(task_server.start(), { max_connections = 1, on_event = on_event })
      assert.equal("mch_1", client:get("mch_1").id)
      has_asked = false
      local task = client:spawn(client.get, client, "mch_2")
      client:run()
      assert.equal("mch_2", task:result().id)
    end
  end)
end)

describe("The safe twin's tasks", function()
  after_each(task_server.stop_all)


  it("return the function's results, or nil and the error it raised", function()
    local client = safe.new(task_server.settings(task_server.start()))
    local good = client:spawn(client.get, client, "mch_1")
    local refused = client:spawn(client.get, client, "mch_none")
    local failing = client:spawn(error, "mine", 0)
    assert.equal("running", good.status)
    assert.equal("failed", failing.status)
    assert.same({ nil, "mine" }, { failing:result() })
    assert.equal(2, client:step(0))
    assert.equal("mch_1", good:result().id)
    client:run()
    assert.equal(200, select(2, good:result()).status)
    assert.equal("done", refused.status)
    assert.equal(404, select(2, refused:result()).status)
    assert.equal("clerk.machines.Task (done)", tostring(good))
  end)

  it("return a refused argument's error without raising it", function()
    local client = safe.new(task_server.settings(task_server.start()))
    local function assert_refusal(none, err)
      assert.is_nil(none)
      assert.equal("ArgumentError", err.type)
      assert.matches("tasks_spec", err.where)
    end
    assert_refusal(client:spawn "get")
    assert_refusal(client:step(-1))
    assert_refusal(client:spawn(function()
      local none, err = client:run()
      return none, err
    end):result())
    client:close()
    assert_refusal(client:spawn(print))
    assert_refusal(client:step())
    assert_refusal(client:run())
    assert_refusal(client:pollable())
  end)

  for _, swallows in ipairs { false, true } do
    it("keep the error of the call that was cancelled, " .. (swallows and "even when the function "
      .. "returns something else" or "when the function returns it"), function()
      local web = task_server.start()
      local client = safe.new(task_server.settings(web))
      local task = client:spawn(function()
        local machine, err = client:create { name = "mch_hang" }
        if swallows then
          client:get "mch_1" -- is cancelled as well, and changes nothing
          return "something else"
        end
        return machine, err
      end)
      task_server.step_until_received(client, web, 1)
      task:cancel()
      assert.equal("cancelled", task.status)
      local none, err = task:result()
      assert.is_nil(none)
      assert.equal("cancelled", err.code)
      assert.equal("create", err.operation)
      assert.is_true(err.maybe_applied)
    end)
  end

  it("can be cancelled and waited for", function()
    local client = safe.new(task_server.settings(task_server.start()))
    local task = client:spawn(client.get, client, "mch_hang")
    local joiner = client:spawn(function() return task:result() end)
    task:cancel()
    client:run()
    assert.equal("cancelled", task.status)
    assert.equal("done", joiner.status)
    assert.equal("cancelled", select(2, task:result()).code)
    assert.equal("cancelled", select(2, joiner:result()).code)
  end)
end)
