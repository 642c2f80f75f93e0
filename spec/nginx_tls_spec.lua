-- Inside nginx over TLS: which servers it trusts, what it says otherwise, and what it needs from
-- nginx.conf.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local certificates = require "clerk.machines.emulator.certificates"
local nginx = require "support.nginx"
local process = require "support.process"
local server = require "support.server"

local ECHO = [[
  for request in connection:requests() do
    connection:answer(200, ('{"id":"%s"}'):format(request.target:match "mch_%w*" or "made"))
  end
]]
local DAY_SECONDS = 86400

-- Calls `method` of one client `times` times; returns what each call raised, or "done".
local CALLS = [[
  local machines = require "clerk.machines"
  local options = ...
  local client = machines.new {
    secret_key = "sk_test_1", base_url = options.url, timeout_ms = options.timeout_ms,
    retries = { backoff = { initial_interval = 1, max_interval = 2, max_elapsed_time = 1000 } },
  }
  local outcomes = {}
  for i = 1, options.times or 1 do
    local ok, problem
    if options.method == "create" then
      ok, problem = pcall(client.create, client, { name = "a" })
    else
      ok, problem = pcall(client.get, client, "mch_1")
    end
    outcomes[i] = ok and "done" or problem
  end
  return unpack(outcomes)
]]

describe("Inside nginx, over TLS,", function()
  local dns, resolver, web, trusted, expired, unknown
  local servers = {}

  setup(function()
    dns = process.start "luajit spec/support/dns_server.lua"
    resolver = ("resolver %s ipv6=off;"):format(dns:read_line():match "[%d.:]+$")
    trusted = certificates.new { hosts = { "api.test", "localhost", "127.0.0.1" } }
    expired = certificates.new { hosts = { "api.test" }, not_before = 0, not_after = DAY_SECONDS }
    unknown = certificates.new { hosts = { "api.test" } }
    web = nginx.start {
      http = resolver .. "lua_ssl_trusted_certificate @DIRECTORY@/ca.pem;",
      server = [[
        location /1.2 { lua_ssl_protocols TLSv1.2; content_by_lua_block { run() } }
        location /1.3 { lua_ssl_protocols TLSv1.3; content_by_lua_block { run() } }
      ]],
      files = { ["ca.pem"] = trusted.ca .. expired.ca },
    }
  end)

  teardown(function()
    nginx.stop_all()
    dns:stop()
    process.none_left()
  end)

  after_each(function()
    for i = #servers, 1, -1 do table.remove(servers, i):stop() end
  end)

  local function start(certificate, script)
    local tls = certificate and { certificate = certificate.certificate, key = certificate.key }
    local api = server.start(script or ECHO, { tls = tls })
    table.insert(servers, api)
    return api
  end

  local function url(api, host)
    return ("https://%s:%d/v1"):format(host or "api.test", api.port)
  end

  -- All outcomes of CALLS.
  local function call(options, path)
    return { web:run(CALLS, options, path) }
  end

  local function assert_refused(outcomes, count, code, pattern)
    assert.equal(count, #outcomes)
    for _, problem in ipairs(outcomes) do
      assert.equal("TransportError", problem.type)
      assert.equal(code, problem.code, problem.message)
      assert.matches(pattern, problem.message)
      assert.is_false(problem.maybe_applied)
      assert.equal(1, problem.attempts)
    end
  end

  for _, version in ipairs { "1.2", "1.3" } do
    it("keeps one connection for 100 calls with TLS version " .. version, function()
      local api = start(trusted)
      local outcomes = call({ url = url(api), times = 100 }, "/" .. version)
      for i = 1, 100 do assert.equal("done", outcomes[i]) end
      assert.equal(1, api:connections())
      assert.equal("api.test:" .. api.port, api:requests()[1].headers.host)
    end)
  end

  it("trusts localhost by its name without a resolver", function()
    local api = start(trusted)
    assert.same({ "done" }, call { url = url(api, "localhost") })
  end)

  it("refuses a certificate for another host, 50 times out of 50, and sends nothing", function()
    local api = start(trusted)
    local outcomes = call { url = url(api, "other.test"), times = 50, method = "create" }
    assert_refused(outcomes, 50, "tls_failed", "certificate")
    assert.equal("", api:everything())
  end)

  it("refuses an unknown authority, 50 times out of 50, and names the directive", function()
    local api = start(unknown)
    local outcomes = call { url = url(api), times = 50, method = "create" }
    assert_refused(outcomes, 50, "tls_failed", "lua_ssl_trusted_certificate")
    assert.equal("", api:everything())
  end)

  it("refuses a certificate that has expired", function()
    local api = start(expired)
    assert_refused(call { url = url(api), method = "create" }, 1, "tls_failed", "certificate")
    assert.equal("", api:everything())
  end)

  describe("repeats a create, because nothing was sent, when the handshake", function()
    local ways = {
      ["is reset"] = [[ connection:read(1000) connection:reset() ]],
      ["is reset before it begins"] = [[ connection:reset() ]],
      ["is closed"] = [[ connection:read(1000) ]],
      ["is closed before it begins"] = [[ ]],
      ["meets something else than TLS"] = [[ connection:write "HTTP/1.1 400 Bad Request\r\n\r\n" ]],
    }
    for title, way in pairs(ways) do
      it(title .. ", once", function()
        local api = start(trusted)
        local front = start(nil, ([[
          if connection.number > 1 then return connection:tunnel(%d) end
          %s
        ]]):format(api.port, way))
        assert.same({ "done" }, call { url = url(front), method = "create" })
        assert.same({ 2, 1 }, { front:connections(), #api:requests() })
      end)

      it(title .. ", always", function()
        local problem = call({ url = url(start(nil, way)), method = "create" })[1]
        assert.equal("TransportError", problem.type)
        assert.equal("connect_failed", problem.code, problem.message)
        -- A reset may be noticed before the connection counts as made.
        local is_early = way:find "reset" and problem.message:find "reset by peer"
        assert.is_truthy(is_early or problem.message:find "handshake failed", problem.message)
        assert.is_false(problem.maybe_applied)
        assert.is_true(problem.attempts > 1)
      end)
    end
  end)

  it("ends a handshake after connect_timeout_ms", function()
    local api = start(nil, [[ connection:hang() ]])
    local problem = call({ url = url(api), method = "create", timeout_ms = 50 })[1]
    assert.equal("timeout", problem.code)
    assert.is_false(problem.maybe_applied)
  end)

  it("refuses an address, which nginx cannot verify, without connecting", function()
    local api = start(trusted)
    local outcomes = call { url = url(api, "127.0.0.1"), method = "create" }
    assert_refused(outcomes, 1, "tls_failed", "use a host name")
    assert.equal(0, api:connections())
  end)

  it("uses no connection that other code has kept without verifying it", function()
    local api = start(unknown)
    web:run([[
      local socket = ngx.socket.tcp()
      assert(socket:connect("api.test", ...))
      assert(socket:sslhandshake(nil, "api.test", false))
      assert(socket:setkeepalive())
    ]], api.port)
    assert_refused(call { url = url(api), method = "create" }, 1, "tls_failed", "certificate")
    assert.equal(2, api:connections())
  end)

  describe("reports a name", function()
    it("that does not exist", function()
      local problem = call({ url = "https://nowhere.test/v1" })[1]
      assert.equal("dns_failed", problem.code)
      assert.matches("nowhere.test", problem.message, 1, true)
      assert.is_true(problem.attempts > 1)
    end)

    it("that the name server ignores, after its own timeout and not the resolver's", function()
      local options = { url = "https://silent.test/v1", timeout_ms = 50, method = "create" }
      local problem = call(options)[1]
      assert.equal("timeout", problem.code)
      assert.is_false(problem.maybe_applied)
      assert.is_true(problem.attempts > 1)
    end)
  end)

  describe("where a directive is missing, names", function()
    local bare

    before_each(function() bare = nginx.start() end)
    after_each(function() bare:stop() end)

    it("resolver, at once", function()
      local problem = bare:run(CALLS, { url = "https://api.test/v1" })
      assert.equal("ArgumentError", problem.type)
      assert.matches("`resolver`", problem.message, 1, true)
      assert.matches("api.test", problem.message, 1, true)
    end)

    it("resolver, in an error of the call that ends with an `end` event", function()
      local seen = bare:run [[
        local events = {}
        local client = require("clerk.machines").new {
          secret_key = "sk_test_marked_key",
          base_url = "https://api.test/v1",
          on_event = function(event) table.insert(events, event.type) end,
        }
        local _, err = pcall(client.create, client, { name = "a" })
        return { operation = err.operation, attempts = err.attempts or "none", events = events }
      ]]
      assert.same({ operation = "create", attempts = "none", events = { "attempt", "end" } }, seen)
    end)

    it("lua_ssl_trusted_certificate", function()
      local api = start(trusted)
      local problem = bare:run(CALLS, { url = url(api, "localhost") })
      assert.equal("tls_failed", problem.code)
      assert.matches("lua_ssl_trusted_certificate", problem.message, 1, true)
    end)
  end)
end)
