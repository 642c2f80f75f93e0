-- Inside nginx: in which phases calls work, how, and what is refused.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local certificates = require "clerk.machines.emulator.certificates"
local nginx = require "support.nginx"
local server = require "support.server"

local KEY = "sk_test_emulator"
local ECHO = [[
  for request in connection:requests() do
    connection:answer(200, ('{"id":"%s"}'):format(request.target:match "mch_%w*" or ""))
  end
]]
local GET = [[ return client:get("mch_1").id, ngx.get_phase() ]]
local HTTP = [[
  upstream balanced { server 127.0.0.1:1; balancer_by_lua_block { run() } }
  server {
    listen unix:@DIRECTORY@/ssl_cert ssl;
    ssl_certificate_by_lua_block { run() }
    location / { return 204; }
  }
  server {
    listen unix:@DIRECTORY@/ssl_client_hello ssl;
    ssl_client_hello_by_lua_block { run() }
    location / { return 204; }
  }
  ssl_certificate @DIRECTORY@/server.pem;
  ssl_certificate_key @DIRECTORY@/server.key;
]]
local SERVER = [[
  server_rewrite_by_lua_block { if ngx.var.uri == "/server_rewrite" then run() end }
  location /server_rewrite { return 204; }
  location /rewrite { rewrite_by_lua_block { run() } content_by_lua_block { } }
  location /access { access_by_lua_block { run() } content_by_lua_block { } }
  location /timer { content_by_lua_block { ngx.timer.at(0, run) } }
  location /set { set_by_lua_block $set { run() } return 204; }
  location /header_filter { content_by_lua_block { } header_filter_by_lua_block { run() } }
  location /body_filter { content_by_lua_block { } body_filter_by_lua_block { run() } }
  location /log { content_by_lua_block { } log_by_lua_block { run() } }
  location /balancer { proxy_pass http://balanced; }
]]

local made = certificates.new()
local FILES = { ["server.pem"] = made.certificate, ["server.key"] = made.key }

-- What a worker runs first: a client that was created in the master.
local function make_client(web)
  return ([[client = require("clerk.machines").new { secret_key = %q, base_url = %q }]])
    :format(KEY, web:url "/v1")
end

describe("In nginx", function()
  local api, web

  setup(function()
    api = server.start(ECHO)
    web = nginx.start { init = make_client(api), http = HTTP, server = SERVER, files = FILES }
  end)

  teardown(function()
    nginx.stop_all()
    server.stop_all()
  end)

  describe("a client from the master makes calls in", function()
    local paths = {
      content = "/run",
      rewrite = "/rewrite",
      server_rewrite = "/server_rewrite",
      access = "/access",
      timer = "/timer",
    }
    for phase, path in pairs(paths) do
      it(phase, function()
        assert.same({ "mch_1", phase }, { web:run(GET, nil, path) })
      end)
    end

    it("ssl_certificate", function()
      assert.same({ "mch_1", "ssl_cert" }, { web:run(GET, nil, "/", "ssl_cert") })
    end)
  end)

  it("a request asks for an uncompressed response", function()
    web:run(GET)
    local requests = api:requests()
    local request = requests[#requests]
    assert.equal("GET /v1/machines/mch_1 HTTP/1.1", request.line)
    assert.equal("127.0.0.1:" .. api.port, request.headers.host)
    assert.equal("Bearer " .. KEY, request.headers.authorization)
    assert.matches("LuaJIT", request.headers["user-agent"], 1, true)
    assert.equal("identity", request.headers["accept-encoding"])
  end)

  describe("a response is a `bad_response` if it has", function()
    local heads = {
      ["two lengths"] = "Content-Length: 14\r\nContent-Length: 15\r\n",
      ["a list of two lengths"] = "Content-Length: 14, 15\r\n",
      ["words after a length"] = "Content-Length: 14x\r\n",
      ["a length and chunks"] = "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n",
      ["two codings"] = "Transfer-Encoding: gzip, chunked\r\n",
      ["a bare CR in a header"] = "X-A: a\rContent-Length: 1\r\nContent-Length: 14\r\n",
      ["a compressed body"] = "Content-Encoding: gzip\r\nContent-Length: 14\r\n",
    }
    local odd

    setup(function()
      odd = server.start([[
        local request = connection:read_request()
        local name = request.target:match "mch_(.*)$":gsub("_", " ")
        connection:write("HTTP/1.1 200 OK\r\n", values[name], "\r\n", '{"id":"mch_1"}')
      ]], { values = heads })
    end)

    teardown(function() odd:stop() end)

    for name in pairs(heads) do
      it(name, function()
        local problem = web:run([[
          local url, id = unpack(...)
          local client = require("clerk.machines").new { secret_key = "sk_test_1", base_url = url }
          return select(2, pcall(client.get, client, id))
        ]], { odd:url "/v1", "mch_" .. name:gsub(" ", "_") })
        assert.same({ "TransportError", "bad_response" }, { problem.type, problem.code })
        assert.equal(1, problem.attempts)
      end)
    end
  end)

  describe("`localhost` is reached", function()
    local GET_BY_URL = [[
      local machines = require "clerk.machines"
      local client = machines.new { secret_key = "sk_test_1", base_url = ..., retries = false }
      local ok, result = pcall(client.get, client, "mch_1")
      return ok and result.id or result
    ]]

    local function url_of(port)
      return ("http://localhost:%d/v1"):format(port)
    end

    for _, address in ipairs { "127.0.0.1", "::1" } do
      it("at " .. address .. " when a server listens only there", function()
        local other = server.start(ECHO, { address = address })
        for _ = 1, 2 do assert.equal("mch_1", web:run(GET_BY_URL, url_of(other.port))) end
        assert.equal(1, other:connections())
        other:stop()
      end)
    end

    it("at no address, and the error is about the first", function()
      local problem = web:run(GET_BY_URL, url_of(1))
      assert.equal("connect_failed", problem.code)
      assert.matches("localhost:1: connection refused", problem.message, 1, true)
    end)
  end)

  describe("a call is refused, and the error says where it works, in", function()
    for _, phase in ipairs { "set", "header_filter", "body_filter", "log", "balancer" } do
      it(phase, function()
        local problem = web:run([[
          local _, problem = pcall(client.get, client, "mch_1")
          return problem
        ]], nil, "/" .. phase)
        assert.equal("ArgumentError", problem.type)
        assert.equal("get", problem.operation)
        assert.matches("phase " .. phase, problem.message, 1, true)
        assert.matches("ngx.timer.at", problem.message, 1, true)
      end)
    end
  end)

  describe("a call blocks, because nothing is served yet, and leaves no connection, in", function()
    local other

    after_each(function() other:stop() end)

    -- The server answers 503 to the first attempt.
    local function assert_called(options)
      local flaky = server.start [[
        for request in connection:requests() do
          shared.count = (shared.count or 0) + 1
          connection:answer(shared.count == 1 and 503 or 200, '{"id":"mch_1"}', "Retry-After: 0")
        end
      ]]
      options.init = make_client(flaky) .. (options.init or "")
      other = nginx.start(options)
      local outcome = { other:run [[ return unpack(outcome) ]] }
      assert.same({ options.phase, true, "mch_1", 2 }, outcome)
      flaky:wait_until_closed(2)
      flaky:stop()
    end

    local CALL = [[
      local ok, machine, info = pcall(client.get, client, "mch_1")
      local id = ok and machine.id or tostring(machine)
      outcome = { ngx.get_phase(), ok, id, ok and info.attempts }
    ]]

    it("init", function()
      assert_called { phase = "init", init = CALL }
    end)

    it("init_worker", function()
      local http = "init_worker_by_lua_block { " .. CALL .. " }"
      assert_called { phase = "init_worker", http = http }
    end)

    it("init, where a task is refused", function()
      local init = make_client(api) .. " outcome = { pcall(client.spawn, client, print) }"
      other = nginx.start { init = init }
      local ok, problem = other:run [[ return unpack(outcome) ]]
      assert.is_false(ok)
      assert.equal("ArgumentError", problem.type)
      assert.matches("phase init", problem.message, 1, true)
    end)
  end)

  describe("the key is read from the environment", function()
    local NEW = [[
      local machines = require "clerk.machines"
      local ok, client = pcall(machines.new, { base_url = ... })
      return ok, ok and client:get("mch_1").id or client
    ]]
    local other

    after_each(function() other:stop() end)

    it("that nginx.conf passes to the workers", function()
      other = nginx.start {
        environment = "CLERK_SECRET_KEY=sk_test_environment",
        main = "env CLERK_SECRET_KEY;",
      }
      assert.same({ true, "mch_1" }, { other:run(NEW, api:url "/v1") })
      local requests = api:requests()
      assert.equal("Bearer sk_test_environment", requests[#requests].headers.authorization)
    end)

    it("and the error about a missing key names the directive that passes it", function()
      other = nginx.start { environment = "CLERK_SECRET_KEY=sk_test_environment" }
      local ok, problem = other:run(NEW, api:url "/v1")
      assert.is_false(ok)
      assert.matches("env CLERK_SECRET_KEY;", problem.message, 1, true)
    end)
  end)

  describe("no call works in", function()
    -- nginx gives this message if it was not built to wait there.
    it("ssl_client_hello of an nginx that cannot wait there, and nginx goes on", function()
      web:prepare(GET)
      web:get("/", "ssl_client_hello")
      if not web:log():find "while loading SSL client hello" then
        return assert.same({ "mch_1", "ssl_client_hello" }, { web:result() })
      end
      assert.same({ "mch_1", "content" }, { web:run(GET) })
    end)
  end)

  describe("an option is refused if nginx has a directive for it:", function()
    for name, remedy in pairs { ca_file = "lua_ssl_trusted_certificate", proxy = "directly" } do
      it(name, function()
        local problem = web:run([[
          return select(2, pcall(require("clerk.machines").new, {
            secret_key = "sk_test", [(...)] = "/etc/passwd",
          }))
        ]], name)
        assert.equal("ArgumentError", problem.type)
        assert.matches(name, problem.message, 1, true)
        assert.matches(remedy, problem.message, 1, true)
      end)
    end
  end)
end)
