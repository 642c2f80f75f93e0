-- One call through its attempts: what the caller's functions and transports may do in the middle.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local error_of = require "support.error_of"
local fake = require "support.fake"
local files = require "support.files"
local machines = require "clerk.machines"

local function busy(seconds)
  return fake.answer(429, "", { ["retry-after"] = seconds })
end

describe("A transport", function()
  it("may create the strings of its response only when they are read", function()
    local function lazy(values)
      return setmetatable({}, { __index = function(_, name)
        local value = values[name]
        collectgarbage()
        return type(value) == "string" and table.concat { value:sub(1, 1), value:sub(2) } or value
      end })
    end
    local body = ('{"id":"mch_1","name":"%s"}'):format(("x"):rep(2000))
    local client = machines.new { secret_key = "sk_test", transport = { send = function()
      local headers = lazy { ["retry-after"] = "1", date = "x" }
      return lazy { status = 200, headers = headers, body = body }
    end } }
    for _ = 1, 20 do assert.equal(2000, #client:get("mch_1").name) end

    local failing = machines.new { secret_key = "sk_test", transport = { send = function()
      return nil, lazy { code = "tls_failed", message = "the reason is long enough", sent = false }
    end } }
    local err = error_of(failing.get, failing, "mch_1")
    assert.equal("tls_failed", err.code)
    assert.equal("the reason is long enough", err.message)
  end)

  it("may return any status of three digits", function()
    local client = fake.client { fake.answer(600, "odd") }
    local err = error_of(client.get, client, "mch_1")
    assert.equal("SDKError", err.type)
    assert.equal(600, err.status)
    assert.equal("odd", err.body)
  end)

  for _, time in ipairs { -1, 0 / 0, 1 / 0, -1 / 0, 1e300, "7", {} } do
    it(("must not return %s as its time"):format(type(time) == "table" and "a table" or time),
      function()
        local client = fake.client({}, { transport = {
          send = function() error "must not be called" end,
          now = function() return time end,
        } })
        local err = error_of(client.get, client, "mch_1")
        assert.equal("ArgumentError", err.type)
        assert.truthy(err.message:find("transport:now must return milliseconds", 1, true))
      end)
  end
end)

describe("A method refuses, by name, what is not a client of this Lua state:", function()
  local client = fake.client {}
  local methods = { "spawn", "step", "run", "pollable", "each", "pages", "collect", "close" }
  for _, operation in ipairs(core.operations) do table.insert(methods, operation.name) end

  -- Of a client from another Lua state, a host can pass on only a pointer.
  local others = { ["nothing"] = false, ["a table"] = {}, ["a pointer"] = core.null }

  for what, other in pairs(others) do
    for _, method in ipairs(methods) do
      it(what .. ", " .. method, function()
        local err = error_of(client[method], other or nil, "mch_1")
        assert.equal("ArgumentError", err.type)
        assert.matches("a client of this Lua state: client:" .. method .. "(", err.message, 1, true)
      end)
    end
  end

  it("including the parts of a transport", function()
    for _, made in ipairs { core.loop, core.curl { max_connections = 1 } } do
      for _, method in pairs(getmetatable(made)) do
        if type(method) == "function" then
          assert.matches("bad argument #1", error_of(method, core.null, 0), 1, true)
        end
      end
    end
  end)
end)

describe("A client that is closed while a call is under way", function()
  it("sends nothing more", function()
    local client, transport
    client, transport = fake.client({ fake.ok }, { on_event = function(event)
      if event.type == "attempt" then client:close() end
    end })
    local err = error_of(client.create, client, { name = "a" })
    assert.equal("cancelled", err.code)
    assert.is_false(err.maybe_applied)
    assert.equal(0, #transport.requests)
  end)

  it("makes no further attempt", function()
    local client, transport = fake.client { fake.answer(503) }
    function transport.sleep() client:close() end
    assert.equal("cancelled", error_of(client.get, client, "mch_1").code)
    assert.equal(1, #transport.requests)
  end)

  it("says that close needs a colon", function()
    assert.equal("ArgumentError", error_of(fake.client({ fake.ok }).close).type)
  end)
end)

describe("A deadline", function()
  it("that passes before the request is built lets nothing be sent", function()
    local client, transport = fake.client({ fake.ok }, {
      deadline_ms = 5,
      secret_key = function()
        local from = os.clock()
        while os.clock() - from < 0.02 do end -- luacheck: ignore
        return fake.secret_key
      end,
    })
    local err = error_of(client.create, client, { name = "a" })
    assert.equal("timeout", err.code)
    assert.is_false(err.maybe_applied)
    assert.equal(0, #transport.requests)
  end)
end)

describe("The pause after a 429", function()
  it("holds even when on_event raises at the response", function()
    local raises = true
    local client, transport = fake.client({ busy "30", fake.ok }, { on_event = function(event)
      if raises and event.type == "answer" then error "mine" end
    end })
    assert.matches("mine", error_of(client.get, client, "mch_1"))
    raises = false
    client:get "mch_1"
    assert.equal(1, #transport.sleeps)
  end)

  it("is waited for to its end even when it grows in between", function()
    local client, transport = fake.client { busy "1", busy "3", fake.ok }
    local slept = 0
    function transport.sleep(_, ms)
      slept = slept + ms
      if slept <= 1000 then client:get("mch_2", { deadline_ms = 30000 }) end
    end
    client:get "mch_1"
    assert.is_true(slept >= 3000)
    assert.equal(4, #transport.requests)
  end)

  it("is at most a minute, whatever the server asks for", function()
    local client, transport = fake.client({ busy "9999999999", fake.ok }, {
      retries = { backoff = { max_elapsed_time = 2 ^ 31 - 1 } },
    })
    assert.equal(9999999999, error_of(client.get, client, "mch_1").retry_after)
    client:get "mch_1"
    assert.is_true(transport.sleeps[1] <= 61000)
  end)

  it("is reported by a wait event with the URL, and ends a call that it is too long for", function()
    local events = {}
    local client = fake.client({ busy "30", fake.ok }, { on_event = function(event)
      events[#events + 1] = event
    end })
    error_of(client.get, client, "mch_1", { retries = false })
    events = {}
    client:get "mch_1"
    assert.equal("wait", events[1].type)
    assert.matches("/machines/mch_1$", events[1].url)
    local other = fake.client({ busy "99" }, { on_event = function(event)
      events[#events + 1] = event
    end })
    error_of(other.get, other, "mch_1")
    events = {}
    error_of(other.get, other, "mch_1")
    assert.equal(1, #events)
    assert.equal("end", events[1].type)
    assert.equal("rate_limited", events[1].code)
  end)
end)

describe("An attempt that on_event keeps from being sent", function()
  it("does not count and has no `answer`", function()
    local client
    local events = {}
    client = fake.client({ fake.ok }, { on_event = function(event)
      table.insert(events, ("%s %d"):format(event.type, event.attempt))
      client:close()
    end })
    local err = error_of(client.create, client, { name = "a" })
    assert.equal("cancelled", err.code)
    assert.equal(0, err.attempts)
    assert.is_false(err.maybe_applied)
    assert.same({ "attempt 1", "end 0" }, events)
  end)
end)

describe("A key that is refused at a later attempt", function()
  --- A client whose key is refused at the second attempt, and its events.
  local function client_losing_key()
    local calls, events = 0, {}
    local client = fake.client({ fake.failure("timeout", true) }, {
      secret_key = function()
        calls = calls + 1
        return calls == 1 and fake.secret_key or nil
      end,
      on_event = function(event) table.insert(events, event) end,
    })
    return client, events
  end

  it("does not hide that an earlier attempt may have been applied", function()
    local client = client_losing_key()
    local err = error_of(client.update, client, "mch_1", { name = "a" })
    assert.equal("ArgumentError", err.type)
    assert.equal("update", err.operation)
    assert.equal(1, err.attempts)
    assert.is_true(err.maybe_applied)
    assert.is_string(err.where)
  end)

  it("ends the call with an `end` event, like other errors", function()
    local client, events = client_losing_key()
    error_of(client.update, client, "mch_1", { name = "a" })
    assert.equal(4, #events)
    assert.equal("wait", events[3].type)
    assert.equal("end", events[4].type)
    assert.equal("invalid_argument", events[4].code)
    assert.equal(1, events[4].attempt)
  end)
end)

describe("The number of a call in its events", function()
  it("is the same in all events of a call, and another one in other calls", function()
    local numbers = {}
    local client = fake.client({ fake.answer(503), fake.ok }, { on_event = function(event)
      table.insert(numbers, event.call)
    end })
    client:get "mch_1"
    client:get "mch_1"
    assert.same({ 1, 1, 1, 1, 1, 1, 2, 2, 2 }, numbers)
  end)

  it("tells paginations apart that run at once, so that each can have its progress", function()
    local api, pages = emulator.new { secret_key = fake.secret_key }, {}
    local client = machines.new {
      secret_key = fake.secret_key,
      transport = api,
      on_event = function(event)
        if event.type == "page" then
          pages[event.call] = (pages[event.call] or "") .. event.machines .. " "
        end
      end,
    }
    for i = 1, 5 do client:create { name = "worker " .. i } end
    local one, two = client:pages { limit = 2 }, client:pages { limit = 3 }
    for _ = 1, 3 do
      one()
      two()
    end
    local shown = {}
    for _, text in pairs(pages) do shown[#shown + 1] = text end
    table.sort(shown)
    assert.same({ "2 4 5 ", "3 5 " }, shown)
  end)
end)

describe("A bundled library", function()
  it("still reports errors, though not where they come from", function()
    local path = package.searchpath and assert(package.searchpath("clerk.machines.errors",
      package.path)) or "lua/clerk/machines/errors.lua"
    local load_chunk = rawget(_G, "loadstring") or load
    local errors = assert(load_chunk(files.read(path), "@bundle.lua"))()
    local err = error_of(errors.refuse, "mine")
    assert.equal("ArgumentError: mine (invalid_argument)", tostring(err))
  end)
end)

describe("A malformed proxy", function()
  it("is refused at once, without showing its password", function()
    for _, proxy in ipairs { "http://user:hunter2@host:99999", "ftp://user:hunter2@host",
      "http://", "://" } do
      local err = error_of(machines.new, { secret_key = "sk_test", proxy = proxy })
      assert.equal("ArgumentError", err.type)
      assert.matches("^proxy must be", err.message)
      assert.falsy(tostring(err):find("hunter2", 1, true))
    end
  end)

  it("needs no scheme", function()
    machines.new({ secret_key = "sk_test", proxy = "127.0.0.1:3128" }):close()
    machines.new({ secret_key = "sk_test", proxy = "socks5h://127.0.0.1:1080" }):close()
  end)
end)

describe("A parameter's name", function()
  it("is compared as a whole, past a NUL byte", function()
    local client, transport = fake.client { fake.ok }
    local err = error_of(client.create, client, { name = "a", ["default_token_ttl\0"] = 5 })
    assert.equal("ArgumentError", err.type)
    assert.equal(0, #transport.requests)
  end)
end)
