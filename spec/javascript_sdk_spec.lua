-- Clerk's own SDK for JavaScript works against the emulator.

local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local process = require "support.process"

local PACKAGE = "@clerk/backend@3.25.0" -- needs Node 20.9
local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"
local DIRECTORY = "build/node-" .. LUA

--- Why the SDK cannot run here, or nil.
local function reason_to_skip()
  local status, versions = process.run "node --version && npm --version"
  if status ~= 0 then
    return "node and npm are not installed"
  end
  local major, minor = versions:match "^v(%d+)%.(%d+)"
  if tonumber(major) * 100 + tonumber(minor) < 2009 then
    return "node is older than 20.9: " .. versions:match "%S+"
  end
end

local function install()
  local command = "mkdir -p %s && npm install --prefix %s --no-audit --no-fund --ignore-scripts %s"
  local status, output, errors = process.run(command:format(DIRECTORY, DIRECTORY, PACKAGE))
  assert(status == 0, output .. errors)
end

describe("Clerk's SDK for JavaScript", function()
  local outcomes, gateway, billing
  local reason = reason_to_skip()

  --- Starts an emulator with three machines; returns what the SDK made of it.
  local function drive()
    local emulator = process.start(LUA .. " bin/clerk-machines emulate")
    local url = emulator:read_line():match "^listening on (%S+)$"
    local client = machines.new { secret_key = "sk_test_emulator", base_url = url }
    billing = client:create { name = "billing" }
    local search = client:create { name = "search" }
    gateway = client:create { name = "gateway", scoped_machines = { billing.id } }
    client:close()
    local environment = ("DIRECTORY=%s API_URL=%s SECRET_KEY=sk_test_emulator GATEWAY_ID=%s "
      .. "GATEWAY_KEY=%s BILLING_KEY=%s SEARCH_KEY=%s"):format(DIRECTORY, url:match "^(.*)/v1$",
      gateway.id, gateway.secret_key, billing.secret_key, search.secret_key)
    local status, output, errors = process.run("env " .. environment
      .. " node spec/support/javascript_sdk.mjs")
    emulator:stop()
    assert(status == 0, errors)
    return core.decode(output)
  end

  setup(function()
    if reason then return end
    install()
    outcomes = drive()
  end)

  local function specify(title, check)
    it(title, function()
      if reason then pending(reason) end
      check()
    end)
  end

  specify("mints tokens", function()
    local created = outcomes.created
    assert.matches("^mt_", created.token)
    assert.equal(gateway.id, created.subject)
    assert.same({ billing.id }, created.scopes)
    assert.same({ role = "reader", levels = { 1, 2 } }, created.claims)
    assert.equal(60000, created.expiration - created.createdAt)
    assert.matches("^mt_", outcomes.defaults.token)
    assert.equal(created.token, outcomes.reused.token)
  end)

  specify("verifies tokens with the key of a machine that they are granted to", function()
    assert.equal(outcomes.created.id, outcomes.granted.id)
    assert.is_false(outcomes.granted.revoked)
    assert.equal(404, outcomes.notGranted.status)
  end)

  specify("lists and revokes tokens", function()
    assert.equal(2, outcomes.listed.totalCount)
    assert.equal(outcomes.created.id, outcomes.listed.data[2].id)
    assert.is_true(outcomes.revoked.revoked)
    assert.equal("lost", outcomes.revoked.revocationReason)
    assert.equal(1, outcomes.listedAfterwards.totalCount)
    assert.equal(2, outcomes.listedWithRevoked.totalCount)
  end)

  specify("gets the errors that it knows", function()
    assert.same({ 401, "machine_secret_key_invalid" },
      { outcomes.wrongKey.status, outcomes.wrongKey.code })
  end)

  specify("verifies JWTs by the emulator's key, and refuses forged ones", function()
    local verified = outcomes.verifiedJwt
    assert.equal(outcomes.jwt.id, verified.id)
    assert.equal(gateway.id, verified.subject)
    assert.same({ role = "jwt" }, verified.claims)
    assert.is_false(verified.expired)
    assert.equal("token-verification-failed", outcomes.forgedJwt.code)
  end)
end)
