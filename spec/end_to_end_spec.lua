-- The client, libcurl and the emulator's server together: every operation over HTTP and HTTPS.

local emulate = require "support.emulate"
local machines = require "clerk.machines"
local process = require "support.process"

local KEY = "sk_test_end_to_end"

local function describe_over(what, flags)
  describe("Over " .. what, function()
    local server, url, ca_file, client

    setup(function()
      server, url, ca_file = emulate("--secret-key " .. KEY .. flags)
    end)

    teardown(function()
      assert.equal(0, server:stop())
      process.none_left()
    end)

    before_each(function()
      client = machines.new { secret_key = KEY, base_url = url, ca_file = ca_file }
    end)

    after_each(function()
      for _, machine in ipairs(client:list({ limit = 500 }).data) do
        client:delete(machine.id)
      end
      client:close()
    end)

    --- Scripts a fault, as a test in any language would.
    local function fault(json)
      local status, _, errors = process.run(("curl -sS --fail %s -o /dev/null -d %s "
        .. "-H 'Authorization: Bearer %s' -H 'Content-Type: application/json' %s"):format(
        ca_file and "--cacert " .. ca_file or "", process.quote(json), KEY,
        (url:gsub("/v1$", "/emulator/faults"))))
      assert.equal(0, status, errors)
    end

    it("a machine is created, read, changed, listed and deleted", function()
      local made, info = client:create { name = "größer \"x\"", default_token_ttl = 60 }
      assert.equal(200, info.status)
      assert.matches("^mch_%w+$", made.id)
      assert.equal(31, #made.id)
      assert.matches("^ak_", made.secret_key)
      assert.same({}, made.scoped_machines)

      local read = client:get(made.id)
      assert.equal("größer \"x\"", read.name)
      assert.is_nil(read.secret_key)

      local changed = client:update(made.id, { name = "b" })
      assert.equal("b", changed.name)
      assert.equal(60, changed.default_token_ttl)
      assert.same(changed, client:update(made.id, {}))

      local page = client:list { query = made.id, order_by = "+name", limit = 1, offset = 0 }
      assert.equal(1, page.total_count)
      assert.same(changed, page.data[1])

      local gone = client:delete(made.id)
      assert.same({ object = "machine", id = made.id, deleted = true }, gone)
      local _, err = pcall(client.get, client, made.id)
      assert.equal("ClerkErrors", err.type)
      assert.equal(404, err.status)
      assert.is_string(err.clerk_trace_id)
    end)

    it("a secret key is read and rotated", function()
      local made = client:create { name = "a" }
      assert.equal(made.secret_key, client:get_secret_key(made.id).secret)
      local new = client:rotate_secret_key(made.id, { previous_token_ttl = 0 })
      assert.not_equal(made.secret_key, new.secret)
      assert.equal(new.secret, client:get_secret_key(made.id).secret)
    end)

    it("a scope is created, seen and deleted", function()
      local a, b = client:create { name = "a" }, client:create { name = "b" }
      local scope = client:create_scope(a.id, { to_machine_id = b.id })
      assert.equal(a.id, scope.from_machine_id)
      assert.equal(b.id, scope.to_machine_id)
      assert.equal(b.id, client:get(a.id).scoped_machines[1].id)
      assert.same({}, client:get(b.id).scoped_machines)
      local _, err = pcall(client.create_scope, client, a.id, { to_machine_id = b.id })
      assert.equal(409, err.status)
      assert.is_true(client:delete_scope(a.id, b.id).deleted)
      assert.same({}, client:get(a.id).scoped_machines)
    end)

    it("a full page arrives complete, on one connection", function()
      for i = 1, 60 do
        client:create { name = "machine " .. i }
      end
      local page = client:list { limit = 500, order_by = "+created_at" }
      assert.equal(60, #page.data)
      assert.equal("machine 1", page.data[1].name)
    end)

    it("a failed change is repeated where that is safe", function()
      local made = client:create { name = "a" }
      fault '{"operation": "update", "status": 503, "retry_after": 0, "times": 2}'
      local changed, info = client:update(made.id, { name = "b" })
      assert.equal("b", changed.name)
      assert.equal(3, info.attempts)
    end)

    it("a POST whose response is lost is not repeated, and may be applied", function()
      local made = client:create { name = "a" }
      fault '{"operation": "rotate_secret_key", "drop": true, "applied": true}'
      local _, err = pcall(client.rotate_secret_key, client, made.id, { previous_token_ttl = 0 })
      assert.equal("TransportError", err.type)
      assert.equal(1, err.attempts)
      assert.is_true(err.maybe_applied)
      assert.not_equal(made.secret_key, client:get_secret_key(made.id).secret)
    end)

    it("a truncated response is an error", function()
      fault '{"operation": "list", "truncate": 5, "times": 9}'
      local _, err = pcall(client.list, client, nil, { retries = false })
      assert.equal("TransportError", err.type)
      assert.equal("connection_lost", err.code)
      fault '{"operation": "get", "body": "<html>", "content_type": "text/html", "status": 502}'
      _, err = pcall(client.get, client, "mch_1", { retries = false })
      assert.equal("SDKError", err.type)
      assert.equal("<html>", err.body)
      for _ = 2, 9 do
        pcall(client.list, client, nil, { retries = false })
      end
    end)

    it("a wrong key is refused", function()
      local stranger = machines.new { secret_key = "sk_test_other", base_url = url,
        ca_file = ca_file }
      local _, err = pcall(stranger.list, stranger)
      assert.equal(401, err.status)
      assert.equal("clerk_key_invalid", err.code)
      stranger:close()
    end)
  end)
end

describe_over("http", "")
describe_over("TLS", " --tls")
