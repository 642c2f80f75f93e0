-- The default transport over TLS: which servers it trusts, what it reports otherwise, and HTTP/2.

local certificates = require "clerk.machines.emulator.certificates"
local emulate = require "support.emulate"
local machines = require "clerk.machines"
local files = require "support.files"
local posix = require "support.posix"
local process = require "support.process"
local server = require "support.server"

local KEY = "sk_test_marked_key"
local QUICK = { backoff = { initial_interval = 1, max_interval = 5, max_elapsed_time = 5000 } }
local HOSTS = { "127.0.0.1", "localhost", "machines.invalid" }
local DAY_SECONDS = 86400
local INTERPRETER = require("support.interpreter").name
local ECHO = [[
  for request in connection:requests() do
    connection:answer(200, success(request.target:match "mch_%w+"))
  end
]]
local HTTP2_ECHO = [[
  connection:http2(function(request)
    return 200, ('{"id":"%s"}'):format(request.target:match "mch_%w*" or "")
  end)
]]

-- Reasons as OpenSSL and libcurl word them, which differs between versions.
local UNKNOWN_AUTHORITY = { "unable to get local issuer certificate" }
local OTHER_HOST = { "no alternative certificate subject name matches" }
local NO_TLS = { "wrong version number", "packet length too long" }
local OLD_TLS = { "unsupported protocol", "alert protocol version" }
local HUNG_UP = { "SSL_ERROR_SYSCALL", "unexpected eof" }

local function failure_of(method, ...)
  local ok, problem = pcall(method, ...)
  assert.is_false(ok, "no error was raised")
  assert.is_true(machines.is_error(problem), tostring(problem))
  return problem
end

local function get(client)
  return client:get "mch_1"
end

local function create(client)
  return client:create { name = "a" }
end

local function assert_tells(message, reasons)
  for _, reason in ipairs(reasons) do
    if message:find(reason, 1, true) then return end
  end
  error(("%q tells none of: %s"):format(message, table.concat(reasons, ", ")), 2)
end

-- A server with a certificate from its own authority, which is in the file `web.ca_file`.
-- `first`: what it does on its first connection, instead of a handshake.
local function start(script, alpn, certificate_options, version, first)
  local options = { hosts = HOSTS }
  for name, value in pairs(certificate_options or {}) do options[name] = value end
  local made = certificates.new(options)
  local web = server.start(script, {
    tls = { certificate = made.certificate, key = made.key, alpn = alpn, version = version },
    first = first,
  })
  web.ca_file = files.write_temporary(made.ca)
  return web
end

local function client_of(web, options)
  local settings = {
    base_url = ("https://127.0.0.1:%d/v1"):format(web.port),
    ca_file = web.ca_file,
    secret_key = KEY,
    retries = QUICK,
  }
  for name, value in pairs(options or {}) do settings[name] = value end
  return machines.new(settings)
end

describe("The libcurl transport over TLS", function()
  after_each(function()
    files.remove_temporary()
    server.stop_all()
  end)

  describe("trusts", function()
    it("a private authority that `ca_file` holds", function()
      local web = start(ECHO)
      assert.equal("mch_1", get(client_of(web)).id)
      assert.equal("Bearer " .. KEY, web:requests()[1].headers.authorization)
    end)

    it("the server by its name", function()
      local web = start(ECHO)
      local url = ("https://localhost:%d/v1"):format(web.port)
      assert.equal("mch_1", get(client_of(web, { base_url = url })).id)
    end)

    it("the server for 200 calls on one connection", function()
      local web = start(ECHO)
      local client = client_of(web)
      for i = 1, 200 do assert.equal("mch_" .. i, client:get("mch_" .. i).id) end
      assert.equal(1, web:connections())
    end)
  end)

  describe("sends nothing, makes one attempt, and says why", function()
    local function assert_refused(web, reasons, options)
      local failure = failure_of(create, client_of(web, options))
      assert.equal("TransportError", failure.type)
      assert.equal("tls_failed", failure.code)
      assert_tells(failure.message, reasons)
      assert.equal(1, failure.attempts)
      assert.is_false(failure.maybe_applied)
      assert.equal(1, web:connections())
      assert.equal("", web:everything())
      return failure
    end

    it("when the authority is unknown", function()
      local web = start(ECHO)
      web.ca_file = nil
      assert_refused(web, UNKNOWN_AUTHORITY)
    end)

    it("when another authority signed", function()
      local web = start(ECHO)
      local ca_file = files.write_temporary(certificates.new().ca)
      assert_refused(web, UNKNOWN_AUTHORITY, { ca_file = ca_file })
    end)

    it("when the certificate is for another host", function()
      local web = start(ECHO, nil, { hosts = { "elsewhere.invalid" } })
      assert_tells(assert_refused(web, OTHER_HOST).message, { "'127.0.0.1'" })
    end)

    it("when the certificate has expired", function()
      local now = os.time()
      local lifetime = { not_before = now - 2 * DAY_SECONDS, not_after = now - DAY_SECONDS }
      assert_refused(start(ECHO, nil, lifetime), { "certificate has expired" })
    end)

    it("when the certificate is not valid yet", function()
      local web = start(ECHO, nil, { not_before = os.time() + DAY_SECONDS })
      assert_refused(web, { "certificate is not yet valid" })
    end)

    it("when the server speaks plain http", function()
      assert_refused(server.start [[
        connection:read(1)
        connection:answer(400, "<html>plain HTTP</html>")
      ]], NO_TLS)
    end)

  end)

  describe("repeats a call on another connection, a POST too, when the handshake is", function()
    -- On the first connection the server does this instead of a handshake.
    local endings = {
      ["closed at once"] = "connection:close()",
      ["closed after the client's hello"] = "connection:read(4096) connection:close()",
      ["reset at once"] = "connection:reset()",
      ["reset after the client's hello"] = "connection:read(4096) connection:reset()",
      ["closed within the server's hello"] =
        [[connection:read(4096) connection:write "\22\3\3\0\100\2\0\0" connection:close()]],
      ["reset within the server's hello"] =
        [[connection:read(4096) connection:write "\22\3\3\0\100\2\0\0" connection:reset()]],
    }
    for what, ending in pairs(endings) do
      it(what, function()
        local web = start(ECHO, nil, nil, nil, ending)
        local _, meta = create(client_of(web))
        assert.equal(2, meta.attempts)
        assert.equal(1, #web:requests())
      end)
    end

    it("cut off at every attempt, until it gives up", function()
      local web = server.start "connection:read(4096) connection:close()"
      local failure = failure_of(create, client_of(web, { retries = false }))
      assert.equal("connect_failed", failure.code)
      assert_tells(failure.message, HUNG_UP)
      assert.is_false(failure.maybe_applied)
    end)
  end)

  describe("where OpenSSL's configuration allows any version", function()
    local LAX = [[
      openssl_conf = main
      [main]
      ssl_conf = modules
      [modules]
      system_default = lax
      [lax]
      MinProtocol = TLSv1
      CipherString = DEFAULT:@SECLEVEL=0
    ]]

    -- Creates a machine in a separate program, since OpenSSL reads its configuration once. Returns
    -- the program's output as lines.
    local function create_laxly(web)
      local program = files.write_temporary(([[
        local machines = require "clerk.machines"
        local client = machines.new { secret_key = %q, base_url = %q, ca_file = %q }
        local ok, problem = pcall(client.create, client, { name = "a" })
        if ok then return print "created" end
        for _, field in ipairs { "code", "message", "attempts", "maybe_applied" } do
          print(problem[field])
        end
      ]]):format(KEY, web:url "/v1", web.ca_file))
      local command = "env LD_PRELOAD=%s LUA_PATH=%s LUA_CPATH=%s OPENSSL_CONF=%s %s %s"
      local status, output, errors = process.run(command:format(os.getenv "LD_PRELOAD" or "",
        process.quote(package.path), process.quote(package.cpath), files.write_temporary(LAX),
        INTERPRETER, program))
      assert.equal(0, status, errors)
      local lines = {}
      for line in output:gmatch "[^\n]+" do table.insert(lines, line) end
      return lines
    end

    it("speaks TLS 1.2", function()
      local web = start(ECHO, nil, nil, "TLSv1.2")
      assert.same({ "created" }, create_laxly(web))
      assert.equal(1, #web:requests())
    end)

    for _, version in ipairs { "TLSv1", "TLSv1.1" } do
      it("still sends nothing to a server that knows only " .. version, function()
        local web = start(ECHO, nil, nil, version)
        local code, message, attempts, maybe_applied = (table.unpack or unpack)(create_laxly(web))
        assert.equal("tls_failed", code)
        assert_tells(message, OLD_TLS)
        assert.equal("1", attempts)
        assert.equal("false", maybe_applied)
        assert.equal(1, web:connections())
        assert.equal("", web:everything())
      end)
    end
  end)

  it("ends a handshake after connect_timeout_ms, and has sent nothing", function()
    local web = server.start "connection:hang()"
    local client = client_of(web, { connect_timeout_ms = 200, retries = false })
    local failure = failure_of(create, client)
    assert.equal("timeout", failure.code)
    assert.is_false(failure.maybe_applied)
  end)

  describe("reports a lost connection", function()
    it("when it is reset while sending, without dying of SIGPIPE", function()
      posix.restore_sigpipe()
      local web = start [[
        connection:read(1000)
        connection:reset()
      ]]
      local client = client_of(web, { check_bounds = false })
      local failure = failure_of(client.create, client, { name = ("x"):rep(2 ^ 23) })
      assert.equal("connection_lost", failure.code)
      assert.is_true(failure.maybe_applied)
      assert.equal(1, web:connections())
    end)

    it("when the body is cut short", function()
      local web = start [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"
        connection:drop()
      ]]
      local failure = failure_of(create, client_of(web))
      assert.equal("connection_lost", failure.code)
      assert.equal(1, #web:requests())
    end)

    it("when a body of unknown length is cut short", function()
      local web = start [[
        connection:read_request()
        connection:write 'HTTP/1.1 200 OK\r\n\r\n{"id":"mch_1",'
        connection:drop()
      ]]
      failure_of(create, client_of(web))
    end)
  end)

  it("closes a kept connection that the server has reset, without dying of SIGPIPE", function()
    posix.restore_sigpipe()
    local web = start [[
      connection:read_request()
      connection:answer(200, success())
      connection:reset()
    ]]
    local client = client_of(web)
    get(client)
    web:wait_until_closed(1)
    client:close()
  end)

  describe("speaks HTTP/2", function()
    local BOTH = { "h2", "http/1.1" }

    it("where the server offers it, on one connection", function()
      local web = start(HTTP2_ECHO, BOTH)
      local client = client_of(web)
      for i = 1, 200 do assert.equal("mch_" .. i, client:get("mch_" .. i).id) end
      assert.equal(1, web:connections())
      assert.equal("GET /v1/machines/mch_1 HTTP/2", web:requests()[1].line)
    end)

    it("with the same headers and body", function()
      local web = start(HTTP2_ECHO, BOTH)
      client_of(web):update("mch_1", { name = "b" })
      local request = web:requests()[1]
      assert.same({
        [":method"] = "PATCH",
        [":path"] = "/v1/machines/mch_1",
        [":scheme"] = "https",
        [":authority"] = "127.0.0.1:" .. web.port,
        authorization = "Bearer " .. KEY,
        accept = "application/json",
        ["accept-encoding"] = "gzip, deflate",
        ["clerk-api-version"] = "2026-05-12",
        ["user-agent"] = request.headers["user-agent"],
        ["content-type"] = "application/json",
        ["content-length"] = "12",
      }, request.headers)
      assert.equal('{"name":"b"}', request.body)
    end)

    it("and returns status and headers as with HTTP/1.1", function()
      local web = start(HTTP2_ECHO, BOTH)
      local _, meta = get(client_of(web))
      assert.equal(200, meta.status)
      assert.equal("application/json", meta.headers["content-type"])
      assert.is_nil(meta.headers[":status"])
    end)

    it("but HTTP/1.1 when the server prefers that", function()
      local web = start(ECHO, { "http/1.1" })
      get(client_of(web))
      assert.equal("GET /v1/machines/mch_1 HTTP/1.1", web:requests()[1].line)
    end)

    -- With RST_STREAM and REFUSED_STREAM (RFC 9113, 8.7).
    local REFUSES_TWO = [[
      connection:http2(function(_, stream)
        shared.count = (shared.count or 0) + 1
        if shared.count <= 2 then return stream:write_rst_stream_frame(7) and nil end
        return 200, '{"id":"mch_1","secret_key":"ak_1"}'
      end)
    ]]

    it("and repeats a POST whose stream the server refused without processing it", function()
      local web = start(REFUSES_TWO, BOTH)
      local _, meta = create(client_of(web))
      assert.equal(3, meta.attempts)
      assert.equal(3, #web:requests())
    end)

    it("and reports without retries that a refused POST was not applied", function()
      local web = start(REFUSES_TWO, BOTH)
      local failure = failure_of(create, client_of(web, { retries = false }))
      assert.equal("connection_lost", failure.code)
      assert.is_false(failure.maybe_applied)
      assert.equal(1, failure.attempts)
    end)

    it("and sends each POST on its own connection, so that a refusal is certain", function()
      local web = start(HTTP2_ECHO, BOTH)
      local client = client_of(web)
      get(client)
      client:update("mch_1", { name = "b" })
      pcall(create, client)
      get(client)
      assert.equal(2, web:connections())
      assert.equal(1, web:requests()[3].number)
    end)

    it("and does not repeat a POST whose stream ended with another error", function()
      local web = start([[
        connection:http2(function(_, stream) stream:write_rst_stream_frame(2) end)
      ]], BOTH)
      local failure = failure_of(create, client_of(web))
      assert.equal("connection_lost", failure.code)
      assert.is_true(failure.maybe_applied)
      assert.equal(1, #web:requests())
    end)

    it("and sends a POST once when the server goes away and may have processed it", function()
      local web = start([[
        connection:http2(function(_, _, http2)
          http2:write_goaway_frame(1, 0, "maintenance")
          connection.socket:shutdown "rw"
        end)
      ]], BOTH)
      local failure = failure_of(create, client_of(web))
      assert.equal("TransportError", failure.type)
      assert.equal("connection_lost", failure.code)
      assert.equal(1, failure.attempts)
      assert.equal(1, #web:requests())
    end)

    it("and repeats a GET whose stream was reset", function()
      local web = start([[
        connection:http2(function(request, stream)
          shared.count = (shared.count or 0) + 1
          if shared.count == 1 then return stream:write_rst_stream_frame(7) and nil end
          return 200, '{"id":"mch_1"}'
        end)
      ]], BOTH)
      local machine, meta = get(client_of(web))
      assert.equal("mch_1", machine.id)
      assert.equal(2, meta.attempts)
      assert.equal(2, #web:requests())
    end)
  end)

  describe("through a proxy", function()
    it("shows the proxy neither the key nor a header of ours", function()
      local web = start(ECHO)
      local proxy = server.start([[
        connection:read_request()
        connection:write "HTTP/1.1 200 Connected\r\nX-Proxy: 1\r\n\r\n"
        connection:tunnel(]] .. web.port .. ")")
      local url = "https://machines.invalid/v1"
      local machine, meta = get(client_of(web, { base_url = url, proxy = proxy:url() }))
      assert.equal("mch_1", machine.id)
      assert.is_nil(meta.headers["x-proxy"])
      assert.equal("machines.invalid", web:requests()[1].headers.host)
      assert.equal("CONNECT machines.invalid:443 HTTP/1.1", proxy:requests()[1].line)
      local seen = proxy:requests()[1].headers
      assert.is_nil(seen.authorization)
      assert.is_nil(seen["clerk-api-version"])
      assert.is_nil(proxy:everything():find(KEY, 1, true))
    end)

    it("distinguishes an untrusted server behind the proxy from a failure after sending", function()
      local web = start(ECHO, nil, { hosts = { "elsewhere.invalid" } })
      local proxy = server.start([[
        connection:read_request()
        connection:write "HTTP/1.1 200 Connected\r\n\r\n"
        connection:tunnel(]] .. web.port .. ")")
      local url = "https://machines.invalid/v1"
      local failure = failure_of(create, client_of(web, { base_url = url, proxy = proxy:url() }))
      assert.equal("tls_failed", failure.code)
      assert_tells(failure.message, OTHER_HOST)
      assert_tells(failure.message, { "'machines.invalid'" })
      assert.is_false(failure.maybe_applied)
      assert.equal(1, failure.attempts)
    end)
  end)

  describe("after a fork", function()
    it("leaves the parent's connection alone, whatever the child does with the client", function()
      local web = start(ECHO)
      local client = client_of(web)
      get(client)
      local pid = posix.fork()
      if pid == 0 then
        local ok, machine = pcall(client.get, client, "mch_child")
        client:close()
        client = nil
        collectgarbage()
        posix.exit(ok and machine.id == "mch_child" and 0 or 1)
      end
      assert.equal(0, posix.wait(pid))
      assert.equal("mch_2", client:get "mch_2".id)
      local connections = {}
      for i, request in ipairs(web:requests()) do connections[i] = request.connection end
      assert.same({ 1, 2, 1 }, connections)
    end)
  end)

  it("follows no redirect from https to http", function()
    local elsewhere = server.start(ECHO)
    local web = start([[
      connection:read_request()
      connection:answer(307, "", "Location: ]] .. elsewhere:url "/v1" .. [[")
    ]])
    local failure = failure_of(create, client_of(web))
    assert.equal("redirect_refused", failure.code)
    assert.equal(0, elsewhere:connections())
  end)

  it("refuses a `ca_file` that cannot be read, by name", function()
    local failure = failure_of(machines.new, { secret_key = KEY, ca_file = "/nowhere/ca.pem" })
    assert.equal("ArgumentError", failure.type)
    local message = 'ca_file "/nowhere/ca.pem" cannot be read: No such file'
    assert.matches(message, failure.message, 1, true)
    failure = failure_of(machines.new, { secret_key = KEY, ca_file = "/tmp" })
    assert.matches('ca_file "/tmp" cannot be read: ', failure.message, 1, true)
  end)

  it("refuses a `ca_file` without a certificate, by name", function()
    local made = certificates.new { hosts = HOSTS }
    local request = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"
    for _, content in ipairs { "", "\n", "not a certificate", made.key, request, ("\0"):rep(9) } do
      local path = files.write_temporary(content)
      local failure = failure_of(machines.new, { secret_key = KEY, ca_file = path })
      assert.equal("ArgumentError", failure.type)
      local message = 'ca_file "%s" holds no certificate in PEM format'
      assert.equal(message:format(path), failure.message)
    end
  end)

  it("makes, reads and deletes a machine at the emulator's server", function()
    local emulator, url, ca_file = emulate("--tls --secret-key " .. KEY)
    finally(function() emulator:stop() end)
    local client = machines.new { base_url = url, secret_key = KEY, ca_file = ca_file }
    local machine = client:create { name = "a" }
    assert.equal("a", client:get(machine.id).name)
    assert.is_true(client:delete(machine.id).deleted)
  end)
end)
