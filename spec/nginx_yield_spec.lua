-- Inside nginx, where Lua cannot yield: what would have to wait is refused before anything is sent.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local nginx = require "support.nginx"
local server = require "support.server"

local ECHO = [[
  for request in connection:requests() do
    if request.target:find "mch_hang" then return connection:hang() end
    connection:answer(200, ('{"id":"%s","deleted":true,"data":[{"id":"mch_1","created_at":1}],'
      .. '"total_count":1}'):format(request.target:match "mch_%w+" or ""))
  end
]]

-- Places where a function cannot yield, and where it can.
local PLACES = [[
  local function in_ffi_callback(f)
    local ffi = require "ffi"
    ffi.cdef "void qsort(void *, size_t, size_t, int (*)(const void *, const void *));"
    local callback = ffi.cast("int (*)(const void *, const void *)", function() f() return 0 end)
    ffi.C.qsort(ffi.new "int[2]", 2, 4, callback)
    callback:free()
  end

  blocked = {
    require = function(f)
      package.preload["some.module"], package.loaded["some.module"] = f, nil
      require "some.module"
    end,
    ["string.gsub"] = function(f) string.gsub("x", "x", f) end,
    ["table.sort"] = function(f) table.sort({ 2, 1 }, function(a, b) f() return a < b end) end,
    load = function(f) load(function() f() end) end,
    ["a __tostring that print calls"] = function(f)
      print(setmetatable({}, { __tostring = function() f() return "" end }))
    end,
    ["a __gc"] = function(f)
      getmetatable(newproxy(true)).__gc = f
      collectgarbage()
    end,
    ["a debug hook"] = function(f)
      local is_done
      debug.sethook(function()
        if not is_done then is_done = true f() end
      end, "l")
      local _ = 1
      debug.sethook()
    end,
    ["a callback of FFI's"] = in_ffi_callback,
    ["pcall inside string.gsub"] = function(f)
      string.gsub("x", "x", function() pcall(f) end)
    end,
  }

  free = {
    pcall = function(f) pcall(f) end,
    ["a coroutine"] = function(f) coroutine.resume(coroutine.create(f)) end,
    ["an iterator"] = function(f)
      for _ in coroutine.wrap(function() f() coroutine.yield(1) end) do end
    end,
    ["a for loop's function"] = function(f) for _ in function() f() end do end end,
    ["an __index"] = function(f)
      local _ = setmetatable({}, { __index = function() f() end }).x
    end,
    ["an __add"] = function(f)
      local _ = setmetatable({}, { __add = function() f() return 1 end }) + 1
    end,
    ["a task"] = function(f) client:spawn(f):result() end,
  }

  -- What f(...) returns or raises in that place.
  function outcome_in(place, f, ...)
    local arguments, outcome = { ... }, nil
    place(function() outcome = { pcall(f, unpack(arguments)) } end)
    return unpack(outcome)
  end
]]

-- Methods that have to wait.
local ACTIONS = [[
  actions = {
    create = function() return client:create { name = "a" } end,
    delete = function() return client:delete "mch_1" end,
    get = function() return client:get "mch_1" end,
    list = function() return client:list() end,
    each = function() return client:each()() end,
    pages = function() return client:pages()() end,
    collect = function() return client:collect() end,
    ["collect overlapped"] = function() return client:collect(nil, { concurrency = 2 }) end,
    spawn = function() return client:spawn(function() end) end,
    step = function() return client:step(10) end,
    run = function() return client:run() end,
    result = function() return waiting:result() end,
  }
]]

local NAMES = { "create", "delete", "get", "list", "each", "pages", "collect", "collect overlapped",
  "spawn", "step", "run", "result" }
local BLOCKED = { "require", "string.gsub", "table.sort", "load",
  "a __tostring that print calls", "a __gc", "a debug hook", "a callback of FFI's",
  "pcall inside string.gsub" }
local FREE = { "pcall", "a coroutine", "an iterator", "a for loop's function", "an __index",
  "an __add", "a task" }

describe("In nginx, where Lua cannot yield,", function()
  local api, web

  setup(function()
    api = server.start(ECHO)
    local init = ([[
      options = { secret_key = "sk_test_1", base_url = %q }
      client = require("clerk.machines").new(options)
      safe = require("clerk.machines.safe").new(options)
    ]]):format(api:url "/v1")
    web = nginx.start { init = init .. PLACES .. ACTIONS }
  end)

  teardown(function()
    nginx.stop_all()
    server.stop_all()
  end)

  local function count_requests()
    local count = 0
    for _, request in ipairs(api:requests()) do
      local is_before = request.target:find "mch_kept" or request.target:find "mch_hang"
      count = count + (is_before and 0 or 1)
    end
    return count
  end

  -- Runs code while a connection is kept, so that a request could go out at once, and a task waits;
  -- returns how many requests the code made, and what it returned.
  local function run(code, value)
    local before = count_requests()
    local results = { web:run([[
      client:get "mch_kept"
      waiting = client:spawn(client.get, client, "mch_hang")
      local results = { (function(...) ]] .. code .. [[ end)(...) }
      waiting:cancel()
      return unpack(results)
    ]], value) }
    return count_requests() - before, unpack(results)
  end

  local function assert_refused(problem)
    assert.equal("ArgumentError", problem.type)
    assert.equal("invalid_argument", problem.code)
    assert.matches("Lua cannot yield", problem.message, 1, true)
    assert.matches("string.gsub", problem.message, 1, true)
  end

  for _, place in ipairs(BLOCKED) do
    it("a change is refused before it is sent: " .. place, function()
      local sent, ok, problem = run(
        [[ return outcome_in(blocked[...], client.delete, client, "mch_1") ]], place)
      assert.is_false(ok)
      assert_refused(problem)
      assert.equal("delete", problem.operation)
      assert.equal(0, sent)
    end)
  end

  for _, name in ipairs(NAMES) do
    it("`" .. name .. "` is refused, in a task and outside tasks", function()
      for _, place in ipairs { "outside", "in a task" } do
        local sent, ok, problem = run([[
          local place, name = unpack(...)
          local function try() return outcome_in(blocked["string.gsub"], actions[name]) end
          if place == "outside" then return try() end
          return client:spawn(try):result()
        ]], { place, name })
        assert.is_false(ok, place)
        assert_refused(problem)
        assert.equal(0, sent)
      end
    end)
  end

  it("the safe twin returns nil and the error", function()
    local sent, is_nothing, problem, no_task = run [[
      local machine, problem, task, no_task
      string.gsub("x", "x", function()
        machine, problem = safe:delete "mch_1"
        task, no_task = safe:spawn(function() end)
      end)
      return machine == nil and task == nil, problem, no_task
    ]]
    assert.is_true(is_nothing)
    assert_refused(problem)
    assert_refused(no_task)
    assert.equal(0, sent)
  end)

  it("cancelling a task and closing a client still work", function()
    local sent, codes = run [[
      local own = require("clerk.machines").new(options)
      local first = own:spawn(own.get, own, "mch_hang")
      local second = own:spawn(own.get, own, "mch_hang")
      string.gsub("x", "x", function() first:cancel() own:close() end)
      local codes = {}
      for i, task in ipairs { first, second } do
        codes[i] = select(2, pcall(task.result, task)).code
      end
      return codes
    ]]
    assert.same({ "cancelled", "cancelled" }, codes)
    assert.equal(0, sent)
  end)

  it("a page that another thread waits for is not requested again", function()
    local sent, ok, problem, count = run [[
      local page = client:pages()
      local other = client:spawn(page)
      local ok, problem = outcome_in(blocked["string.gsub"], page)
      return ok, problem, #other:result().data
    ]]
    assert.is_false(ok)
    assert_refused(problem)
    assert.same({ 1, 1 }, { count, sent })
  end)

  describe("a call over the caller's own transport", function()
    local CALL = [[
      local sent = 0
      local transport = { sleep = ... }
      function transport:send()
        sent = sent + 1
        return { status = sent == 1 and 503 or 200, body = '{"id":"mch_1","deleted":true}' }
      end
      local own = require("clerk.machines").new { secret_key = "sk_test_1", transport = transport }
      local ok, result = outcome_in(blocked["string.gsub"], own.delete, own, "mch_1")
      return ok, result, sent
    ]]

    it("is refused before it is sent when it would wait in nginx for its next attempt", function()
      local _, ok, problem, sent = run(CALL)
      assert.is_false(ok)
      assert_refused(problem)
      assert.equal("delete", problem.operation)
      assert.equal(0, sent)
    end)

    it("is made if the transport waits by itself", function()
      local _, ok, machine, sent = run((CALL:gsub("%.%.%.", "function() end")))
      assert.is_true(ok, machine)
      assert.same({ "mch_1", 2 }, { machine.id, sent })
    end)
  end)

  for _, place in ipairs(FREE) do
    it("but a call is made where it can: " .. place, function()
      local sent, ok, machine = run(
        [[ return outcome_in(free[...], client.get, client, "mch_1") ]], place)
      assert.is_true(ok, machine)
      assert.same({ "mch_1", 1 }, { machine.id, sent })
    end)
  end
end)
