-- The emulator over real sockets, with the curl command line as its client.

local certificates = require "clerk.machines.emulator.certificates"
local core = require "clerk.machines.core"
local emulate = require "support.emulate"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"

local quote = process.quote

local TERMINATED = 128 + 15

describe("The emulator's server", function()
  local server, url, ca_file

  local function start(options)
    server, url, ca_file = emulate(options)
  end

  after_each(function()
    if server then
      assert.equal(0, server:stop())
      server = nil
    end
    files.remove_temporary()
    process.none_left()
  end)

  -- Runs curl with these options and URLs.
  local function curl(...)
    local parts = { "curl -sS -m 10 -H 'Authorization: Bearer sk_test_emulator'" }
    if ca_file then
      parts[#parts + 1] = "--cacert " .. quote(ca_file)
    end
    return process.run(table.concat(parts, " ") .. " " .. table.concat({ ... }, " "))
  end

  local function json_body(body)
    return "-H 'Content-Type: application/json' -d " .. quote(body)
  end

  local function script_fault(fault)
    local faults_url = url:gsub("/v1$", "/emulator/faults")
    local _, answer = curl(json_body(fault), faults_url)
    local pending = core.decode(answer).pending
    assert.is_number(pending, answer)
    return pending
  end

  -- Starts a request in the background, and returns once its response is being delayed.
  local function begin_delayed(operation, delay_ms, applied, request)
    local count = script_fault(('{"operation":"%s","delay_ms":%d,"applied":%s}')
      :format(operation, delay_ms, applied))
    local command = "curl -sSk -o /dev/null -H 'Authorization: Bearer sk_test_emulator' "
    local begun = process.start(command .. request)
    for _ = 1, 100 do -- until one fewer is pending although one more was scripted
      local new_count = script_fault '{"operation":"rotate_secret_key","status":500}'
      if new_count == count then return begun end
      count = new_count
    end
    error "the request does not arrive"
  end

  local function create(name)
    local _, answer = curl(json_body(('{"name":"%s"}'):format(name)), url .. "/machines")
    return core.decode(answer)
  end

  local function count()
    local _, answer = curl(url .. "/machines")
    return core.decode(answer).total_count
  end

  -- What is the same in every protocol.
  local function behaves_alike(version)
    local function first_line(status)
      return ("^HTTP/%s %d"):format(version:gsub("%p", "%%%0"), status)
    end

    it("serves the operations", function()
      local machine = create("a")
      local _, answer = curl("-i", url .. "/machines/" .. machine.id)
      assert.matches(first_line(200), answer)
      assert.matches("\r\ncontent%-type: application/json\r\n", answer)
      assert.matches("\r\nclerk%-trace%-id: %x+\r\n", answer)
      assert.matches("\r\ndate: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT\r\n", answer)
      assert.equal(machine.id, core.decode(answer:match("\r\n\r\n(.*)$")).id)
      local _, deleted = curl("-X DELETE", url .. "/machines/" .. machine.id)
      assert.is_true(core.decode(deleted).deleted)
    end)

    it("serves tokens and the keys of JWTs", function()
      local machine = create("a")
      local trust = ca_file and "--cacert " .. quote(ca_file) or ""
      local function plain_curl(...)
        return select(2, process.run(table.concat({ "curl -sS -m 10", trust, ... }, " ")))
      end
      local answer = plain_curl("-w ' %{http_code}'", json_body '{"token_format":"jwt"}',
        "-H 'Authorization: Bearer " .. machine.secret_key .. "'", url .. "/m2m_tokens")
      assert.matches("^{.*} 201$", answer)
      local jwt = core.decode(answer:match "^(.*) 201$").token
      local _, verified = curl(json_body('{"token":"' .. jwt .. '"}'), url .. "/m2m_tokens/verify")
      assert.equal(machine.id, core.decode(verified).subject)
      local keys = plain_curl((url:gsub("/v1$", "/.well-known/jwks.json")))
      assert.equal(machine.instance_id, core.decode(keys).keys[1].kid)
    end)

    it("keeps the connection open for the next request", function()
      local urls = (" -o /dev/null " .. url .. "/machines"):rep(50)
      local _, connects = curl("-w '%{num_connects}'", urls)
      assert.equal("1" .. ("0"):rep(49), connects)
    end)

    it("answers a body that is too large, and keeps the connection", function()
      local large = files.write_temporary((" "):rep(3 * 1048576))
      local data = "-H 'Content-Type: application/json' --data-binary @" .. large
      local options = "-m 10 -o /dev/null -w '%{http_code} '"
        .. " -H 'Authorization: Bearer sk_test_emulator'"
      local trust = ca_file and "--cacert " .. ca_file or ""
      local target = url .. "/machines"
      for _, headers in ipairs { "", "-H 'Expect:'", "-H 'Transfer-Encoding: chunked'" } do
        local _, statuses = curl(options, headers, data, target, "--next", options, trust,
          json_body('{"name":"a"}'), target)
        assert.equal("413 200 ", statuses)
      end
    end)

    it("answers HEAD without a body", function()
      local status, answer = curl("-I", url .. "/machines")
      assert.equal(0, status)
      assert.matches(first_line(405), answer)
    end)

    it("closes the connection without a response, before or after the change", function()
      for _, applied in ipairs { "false", "true" } do
        script_fault(('{"operation":"create","drop":true,"applied":%s}'):format(applied))
        local data = json_body('{"name":"a"}')
        local status, answer = curl("-w '%{http_code}'", data, url .. "/machines")
        assert.is_not.equal(0, status)
        assert.equal("000", answer)
        assert.equal(applied == "true" and 1 or 0, count())
      end
    end)

    it("truncates a response and closes the connection", function()
      for _, bytes in ipairs { 0, 7, 100000 } do
        script_fault(('{"truncate":%d,"applied":true}'):format(bytes))
        local status, answer = curl(url .. "/machines")
        assert.is_not.equal(0, status)
        assert.equal(('{"data":[],"total_count":0}'):sub(1, bytes), answer)
      end
    end)

    it("sends a scripted response", function()
      script_fault([[{"status":502,"body":"<html>","content_type":"text/html","retry_after":3}]])
      local _, answer = curl("-i", url .. "/machines")
      assert.matches(first_line(502), answer)
      assert.matches("\r\nretry%-after: 3\r\n", answer)
      assert.matches("\r\ncontent%-type: text/html\r\n", answer)
      assert.matches("\r\n\r\n<html>$", answer)
      script_fault('{"status":204}')
      local options = "-o /dev/null -w '%{http_code} %{num_connects} '"
      local status, codes = curl(options, url .. "/machines", "-o /dev/null", url .. "/machines")
      assert.equal(0, status)
      assert.equal("204 1 200 0 ", codes)
    end)

    it("really waits before a delayed response", function()
      script_fault '{"operation":"list","delay_ms":300}'
      local _, seconds = curl("-o /dev/null -w '%{time_total}'", url .. "/machines")
      assert.is_true(tonumber(seconds) >= 0.3)
    end)

    it("serves other requests while a response is delayed", function()
      local slow = begin_delayed("list", 60000, "false", url .. "/machines")
      local _, code = curl("-o /dev/null -w '%{http_code}'", url .. "/machines/x")
      assert.equal("404", code)
      assert.equal(TERMINATED, slow:stop())
    end)

    it("makes a delayed change after its client left only if the fault says so", function()
      local request = json_body('{"name":"a"}') .. " " .. url .. "/machines"
      assert.equal(TERMINATED, begin_delayed("create", 1000, "false", request):stop())
      script_fault '{"operation":"get","delay_ms":1000}' -- ends after the delayed change
      curl(url .. "/machines/x")
      assert.equal(0, count())
      assert.equal(TERMINATED, begin_delayed("create", 60000, "true", request):stop())
      assert.equal(1, count())
    end)
  end

  local function serves_the_client()
    local client

    before_each(function()
      client = machines.new {
        secret_key = "sk_test_emulator",
        base_url = url,
        ca_file = ca_file,
        retries = { backoff = { initial_interval = 1 } },
      }
    end)

    after_each(function()
      client:close()
    end)

    it("serves every operation to the client", function()
      local b = client:create { name = "b" }
      local a = client:create { name = "a", scoped_machines = { b.id } }
      assert.equal(b.id, client:get(a.id).scoped_machines[1].id)
      assert.equal("c", client:update(a.id, { name = "c" }).name)
      assert.equal(2, client:list({ order_by = "+name", limit = 1 }).total_count)
      assert.equal(a.secret_key, client:get_secret_key(a.id).secret)
      local rotated = client:rotate_secret_key(a.id, { previous_token_ttl = 0 })
      assert.equal(rotated.secret, client:get_secret_key(a.id).secret)
      assert.equal(a.id, client:create_scope(b.id, { to_machine_id = a.id }).to_machine_id)
      assert.is_true(client:delete_scope(b.id, a.id).deleted)
      assert.is_true(client:delete(a.id).deleted)
      assert.same({}, client:get(b.id).scoped_machines)
    end)

    it("shows scripted faults to the client", function()
      local machine = client:create { name = "a" }
      script_fault('{"status":503,"times":2}')
      assert.equal(3, select(2, client:get(machine.id)).attempts)
      local faults = {
        ['{"drop":true}'] = { code = "connection_lost" },
        ['{"truncate":3,"applied":true}'] = { code = "connection_lost" },
        ['{"delay_ms":60000}'] = { code = "timeout", options = { timeout_ms = 300 } },
      }
      for fault, expected in pairs(faults) do
        script_fault(fault)
        local ok, err = pcall(client.create, client, { name = "b" }, expected.options)
        assert.is_false(ok)
        assert.equal(expected.code, err.code)
        assert.is_true(err.maybe_applied)
      end
      assert.equal(2, client:list().total_count)
    end)
  end

  describe("over HTTP", function()
    before_each(function()
      start()
    end)

    behaves_alike("1.1")
    serves_the_client()

    it("listens on the loopback interface", function()
      assert.matches("^http://127%.0%.0%.1:%d+/v1$", url)
      assert.is_nil(ca_file)
    end)

    it("requires the key, also for scripting faults", function()
      for _, path in ipairs { "/v1/machines", "/emulator/faults" } do
        local target = url:gsub("/v1$", path)
        local _, code = process.run("curl -sS -o /dev/null -w '%{http_code}' " .. target)
        assert.equal("401", code)
      end
    end)

    it("clears scripted faults", function()
      script_fault('{"status":500,"times":5}')
      local faults_url = url:gsub("/v1$", "/emulator/faults")
      local _, answer = curl("-X DELETE", faults_url)
      assert.equal('{"pending":0}', answer)
      assert.equal(0, count())
    end)

    it("refuses a fault with an unknown field", function()
      local faults_url = url:gsub("/v1$", "/emulator/faults")
      local _, answer = curl("-w '%{http_code}'", json_body('{"states":500}'), faults_url)
      assert.matches("fault%.states.*422$", answer)
    end)

    it("joins repeated headers, so that two keys are refused", function()
      local _, code = curl("-o /dev/null -w '%{http_code}'", "-H 'Authorization: Bearer x'",
        url .. "/machines")
      assert.equal("401", code)
    end)

    -- Sends bytes (as printf writes them) and closes the connection.
    local function send_and_close(bytes)
      local port = url:match(":(%d+)")
      local script = ("printf '%s' >/dev/tcp/127.0.0.1/%s"):format(bytes, port)
      process.run("bash -c " .. quote(script))
    end

    it("ignores an incomplete request", function()
      local head = "POST /v1/machines HTTP/1.1\\r\\nHost: x\\r\\n"
        .. "Authorization: Bearer sk_test_emulator\\r\\nContent-Type: application/json\\r\\n"
      local small = head .. "Content-Length: 13\\r\\n\\r\\n"
      local large = head .. "Content-Length: 9000000\\r\\n\\r\\n%2000000s"
      local chunked = head .. "Transfer-Encoding: chunked\\r\\n\\r\\nc\\r\\n"
      local body = [[{"name":"a"}]]
      for _, bytes in ipairs { head, small, small .. body, chunked .. body, large } do
        send_and_close(bytes)
        assert.equal(0, count())
      end
      send_and_close(small .. body .. " ")
      assert.equal(1, count())
    end)

    it("survives bytes that are not HTTP", function()
      send_and_close([[\000\377 nonsense\r\n\r\n]])
      assert.equal(0, count())
    end)

    it("serves many clients at once", function()
      local data = json_body('{"name":"m"}')
      local urls = (" -o /dev/null " .. url .. "/machines"):rep(200)
      local status = curl("-Z --parallel-max 50", data, urls)
      assert.equal(0, status)
      assert.equal(200, count())
    end)
  end)

  describe("over HTTPS with HTTP/2", function()
    before_each(function()
      start("--tls")
    end)

    behaves_alike("2")
    serves_the_client()

    it("has a certificate of its CA for every name of the loopback interface", function()
      local port = url:match(":(%d+)/")
      for _, host in ipairs { "127.0.0.1", "localhost" } do
        local target = ("https://%s:%s/v1/machines"):format(host, port)
        local status = curl(target)
        assert.equal(0, status)
      end
      local other_name = ("--resolve example.test:%s:127.0.0.1 https://example.test:%s/"):format(
        port, port)
      assert.equal(60, (curl(other_name)))
      ca_file = nil
      assert.equal(60, (curl(url .. "/machines")))
    end)

    it("speaks HTTP/1.1 to a client that prefers it", function()
      local _, version = curl("--http1.1 -o /dev/null -w '%{http_version}'", url .. "/machines")
      assert.equal("1.1", version)
      local _, without = curl("--no-alpn -o /dev/null -w '%{http_version}'", url .. "/machines")
      assert.equal("1.1", without)
    end)

    it("does not answer plain HTTP", function()
      local plain = url:gsub("^https", "http")
      assert.is_not.equal(0, (curl(plain .. "/machines")))
      assert.equal(0, count())
    end)
  end)
end)

describe("Certificates", function()
  local function verify(made, options)
    local ca = files.write_temporary(made.ca)
    local certificate = files.write_temporary(made.certificate)
    local command = "openssl verify -x509_strict -CAfile %s %s %s"
    local status, output, errors = process.run(command:format(ca, options or "", certificate))
    files.remove_temporary()
    return status, output .. errors
  end

  after_each(process.none_left)

  it("are for the loopback interface by default, and pass strict verification", function()
    local made = certificates.new()
    for _, option in ipairs { "hostname localhost", "ip 127.0.0.1", "ip ::1" } do
      assert.equal(0, (verify(made, "-verify_" .. option)))
    end
    assert.is_not.equal(0, (verify(made, "-verify_hostname example.test")))
    assert.matches("^%-%-%-%-%-BEGIN PRIVATE KEY", made.key)
  end)

  it("can be for other hosts", function()
    local made = certificates.new { hosts = { "example.test", "10.1.2.3" } }
    assert.equal(0, (verify(made, "-verify_hostname example.test")))
    assert.equal(0, (verify(made, "-verify_ip 10.1.2.3")))
    assert.is_not.equal(0, (verify(made, "-verify_hostname localhost")))
  end)

  it("can be expired or not yet valid", function()
    local now = os.time()
    local _, expired = verify(certificates.new { not_before = now - 20, not_after = now - 10 })
    assert.matches("certificate has expired", expired)
    local _, early = verify(certificates.new { not_before = now + 3600 })
    assert.matches("certificate is not yet valid", early)
  end)

  it("differ each time", function()
    assert.is_not.equal(certificates.new().ca, certificates.new().ca)
  end)

  it("refuse an unknown option", function()
    assert.error_matches(function()
      certificates.new { names = {} }
    end, 'unknown option "names"')
  end)
end)
