-- Inside nginx: requests that wait at the same time, that are killed, and the tasks of each.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local task_server = require "support.task_server"
local nginx = require "support.nginx"
local process = require "support.process"
local server = require "support.server"

-- A client for each purpose, which all requests share.
local CLIENTS = [[
  local machines = require "clerk.machines"
  local function new(options)
    options.secret_key, options.base_url = "sk_test_1", "%s"
    return machines.new(options)
  end
  client = new {}
  narrow = new { max_connections = 3 }
  single = new { max_connections = 1, timeout_ms = 60000, retries = false }
  hasty = new { max_connections = 1, timeout_ms = 1500, retries = false }
]]
local SERVER = [[
  lua_check_client_abort on;
  location /get/ {
    content_by_lua_block {
      local name, id = ngx.var.uri:match "^/get/(%w+)/(.*)$"
      local ok, result = pcall(_G[name].get, _G[name], id)
      ngx.print(ok and result.id or tostring(result))
    }
  }
  location /spawn {
    content_by_lua_block {
      other = client:spawn(client.get, client, "mch_gate")
      local ok, result = pcall(other.result, other)
      ngx.print(ok and result.id or tostring(result))
    }
  }
  location /log { content_by_lua_block { } log_by_lua_block { run() } }
]]

-- Sends a second, unrequested response when a file says that the first has been read, and creates a
-- file when it has done so.
local STRAY = [[
  for request in connection:requests() do
    local id = request.target:match "mch_%w+" or "mch_made"
    connection:answer(200, ('{"id":"%s","deleted":true}'):format(id))
    repeat connection:sleep(1) until io.open(values.directory .. "/read-" .. id)
    connection:answer(200, '{"id":"mch_stray","deleted":true}')
    io.open(values.directory .. "/sent-" .. id, "w"):close()
  end
]]

describe("Inside nginx", function()
  local api, web

  before_each(function()
    api = task_server.start()
    web = nginx.start { init = CLIENTS:format(api:url "/v1"), server = SERVER }
  end)

  after_each(function()
    nginx.stop_all()
    task_server.stop_all()
  end)

  --- A request that goes on in the background.
  local function begin(path)
    return process.start(web:curl(path))
  end

  local function end_of(request)
    local _, output = request:wait()
    return output:match "^(.*)\n%d+$"
  end

  describe("a worker serves other requests", function()
    it("while a call waits for its response", function()
      local waiting = begin "/get/client/mch_gate"
      api:wait_until_received(1)
      assert.equal("mch_open", web:get "/get/client/mch_open")
      assert.equal("mch_gate", end_of(waiting))
    end)

    it("while a call waits for its next attempt", function()
      local waiting = begin "/get/client/mch_closed"
      api:wait_until_received(1)
      assert.equal("mch_2", web:get "/get/single/mch_2")
      assert.same({ "mch_closed", "mch_2" }, task_server.asked(api))
      waiting:stop()
      assert.equal("mch_flaky", web:get "/get/narrow/mch_flaky")
    end)

    it("while a call waits for a connection", function()
      local waiting = { begin "/get/single/mch_gate" }
      api:wait_until_received(1)
      for i = 2, 4 do waiting[i] = begin("/get/single/mch_" .. i) end
      assert.equal("mch_open", web:get "/get/client/mch_open")
      assert.equal("mch_gate", end_of(waiting[1]))
      for i = 2, 4 do assert.equal("mch_" .. i, end_of(waiting[i])) end
      assert.equal(2, api:connections())
    end)
  end)

  it("a hundred simultaneous calls share the allowed connections", function()
    local left, count = web:run [[
      local tasks = {}
      for i = 1, 100 do tasks[i] = narrow:spawn(narrow.get, narrow, "mch_" .. i) end
      narrow:run()
      local right = 0
      for i = 1, 100 do right = right + (tasks[i]:result().id == "mch_" .. i and 1 or 0) end
      return narrow:step(), right
    ]]
    assert.same({ 0, 100 }, { left, count })
    assert.equal(3, api:connections())
  end)

  it("a killed request gives its connection to others", function()
    local killed = begin "/get/hasty/mch_hang"
    api:wait_until_received(1)
    killed:stop()
    assert.equal("mch_1", web:get "/get/hasty/mch_1")
  end)

  it("calls get the connection in their order, also those of a thread that has just used it",
    function()
      local first_id, last_id, id = web:run [[
        local first = single:spawn(function()
          return single:get("mch_1").id, single:get("mch_3").id
        end)
        local second = single:spawn(single.get, single, "mch_2")
        single:run()
        local first_id, last_id = first:result()
        return first_id, last_id, second:result().id
      ]]
      assert.same({ "mch_1", "mch_3", "mch_2" }, { first_id, last_id, id })
      assert.same({ "mch_1", "mch_2", "mch_3" }, task_server.asked(api))
    end)

  it("steps take no memory that stays while a task waits", function()
    local kilobytes = web:run [[
      local task = client:spawn(client.get, client, "mch_hang")
      local function used_after(steps)
        for _ = 1, steps do client:step(0) end
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      local before = used_after(100)
      local grown = used_after(1000) - before
      task:cancel()
      return grown
    ]]
    assert.is_true(kilobytes < 50, kilobytes)
  end)

  it("a request killed in the queue does not disturb the others in it", function()
    local first = begin "/get/single/mch_gate"
    api:wait_until_received(1)
    local killed, last = begin "/get/single/mch_2", begin "/get/single/mch_3"
    assert.equal("mch_1", web:get "/get/client/mch_1")
    killed:stop()
    web:get "/get/client/mch_open"
    assert.equal("mch_gate", end_of(first))
    assert.equal("mch_3", end_of(last))
    assert.not_matches("mch_2", api:everything(), 1, true)
  end)

  it("a coroutine abandoned inside secret_key does not hold up other calls forever", function()
    local machine, refused = web:run([[
      local is_left = true
      local client = require("clerk.machines").new {
        secret_key = function()
          if is_left then coroutine.yield() end
          return "sk_test_1"
        end,
        base_url = ..., max_connections = 1, timeout_ms = 500, retries = false,
      }
      local left = coroutine.create(client.get)
      assert(coroutine.resume(left, client, "mch_left"))
      is_left = false
      local ok, problem = pcall(client.get, client, "mch_1", { deadline_ms = 50 })
      return client:get("mch_1"), ok or problem.code == "timeout"
    ]], api:url "/v1")
    assert.same({ "mch_1", true }, { machine.id, refused })
  end)

  it("bytes that arrive on a kept connection are not taken for the next response", function()
    local stray = server.start(STRAY, { values = { directory = web.directory } })
    local ids = { web:run([[
      local url, directory = unpack(...)
      local client = require("clerk.machines").new { secret_key = "sk_test_1", base_url = url }
      local function await_stray(id) -- while nginx notices nothing
        io.open(directory .. "/read-" .. id, "w"):close()
        repeat until io.open(directory .. "/sent-" .. id)
      end
      local ids = {}
      for i, call in ipairs {
        function() return client:get "mch_1" end,
        function() return client:update("mch_2", { name = "a" }) end,
        function() return client:create { name = "a" } end,
        function() return client:delete "mch_3" end,
      } do
        ids[i] = call().id
        if ids[i] == "mch_stray" then break end
        await_stray(ids[i])
      end
      return unpack(ids)
    ]], { stray:url "/v1", web.directory }) }
    assert.same({ "mch_1", "mch_2", "mch_made", "mch_3" }, ids)
    assert.equal(4, stray:connections())
    stray:stop()
  end)

  it("run and result do not wait for another request's tasks", function()
    local other = begin "/spawn"
    api:wait_until_received(1)
    local status, problem = web:run [[
      client:run()
      return other.status, select(2, pcall(other.result, other)), client:get("mch_open")
    ]]
    assert.equal("running", status)
    assert.equal("ArgumentError", problem.type)
    assert.matches("another request", problem.message, 1, true)
    assert.equal("mch_gate", end_of(other))
  end)

  it("tasks of any request are cancelled when their client is closed", function()
    local other = begin "/spawn"
    api:wait_until_received(1)
    assert.equal("cancelled", (web:run [[
      client:close()
      return other.status
    ]]))
    assert.matches("cancelled", end_of(other))
  end)

  it("the log has what a function given to on_done raises, also an error object", function()
    web:run [[
      local task = client:spawn(client.get, client, "mch_1")
      task:on_done(function() client:get("", "too", "many") end)
      client:run()
    ]]
    assert.is_truthy(web:log():find("ArgumentError: get: takes at most 2 arguments", 1, true))
    assert.is_nil(web:log():find("unknown reason", 1, true))
  end)

  it("a change without a free descriptor fails with `no_resources`, and was not applied", function()
    local scarce = nginx.start { main = "worker_rlimit_nofile 64;" }
    local problem = scarce:run([[
      local client = require("clerk.machines").new {
        secret_key = "sk_test_1", base_url = ..., retries = false,
      }
      local files = {}
      repeat
        local file = io.open "/dev/null"
        table.insert(files, file)
      until not file
      local _, problem = pcall(client.delete, client, "mch_1")
      for _, file in ipairs(files) do file:close() end
      return problem
    ]], api:url "/v1")
    assert.equal("TransportError", problem.type)
    assert.equal("no_resources", problem.code, problem.message)
    assert.matches("worker_rlimit_nofile", problem.message, 1, true)
    assert.same({ "delete", false }, { problem.operation, problem.maybe_applied })
    assert.equal("", api:everything())
  end)

  it("`pollable` is refused, and so is spawn where nothing can wait", function()
    local problem = web:run [[ return select(2, pcall(client.pollable, client)) ]]
    assert.equal("ArgumentError", problem.type)
    assert.matches("nginx", problem.message, 1, true)
    problem = web:run([[ return select(2, pcall(client.spawn, client, print)) ]], nil, "/log")
    assert.equal("ArgumentError", problem.type)
    assert.matches("phase log", problem.message, 1, true)
  end)
end)
