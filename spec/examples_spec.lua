-- The examples, run as a newcomer runs them.

local core = require "clerk.machines.core"
local process = require "support.process"

describe("examples/run", function()
  local status, output, errors
  setup(function()
    status, output, errors = process.run "env CLERK_SECRET_KEY= examples/run"
  end)
  teardown(process.none_left)

  it("succeeds without a complaint", function()
    assert.equal("", errors)
    assert.equal(0, status)
  end)

  it("shows all operations by name", function()
    for _, operation in ipairs(core.operations) do
      assert(output:find("\n" .. operation.name .. " ", 1, true), operation.name)
    end
  end)

  it("shows an error, a mistake, and a retry that succeeds", function()
    assert.truthy(output:find "ClerkErrors: get: No machine .- %(404 machine_not_found; trace ")
    assert.truthy(output:find "ArgumentError: list: limit must be from 1 to 500")
    assert.truthy(output:find "503, next one in 1000 ms")
    assert.truthy(output:find "attempts +2\n")
  end)

  it("shows no secret", function()
    assert.falsy(output:find "ak_")
    assert.falsy(output:find "sk_")
  end)

  it("refuses an argument that it does not know", function()
    local misused, _, complaint = process.run "examples/run --lvie"
    assert.equal(2, misused)
    assert.truthy(complaint:find("usage: examples/run", 1, true))
  end)

  it("asks for a key before it goes live", function()
    local without, _, complaint = process.run "env -u CLERK_SECRET_KEY examples/run --live"
    assert.not_equal(0, without)
    assert.truthy(complaint:find("CLERK_SECRET_KEY", 1, true))
  end)
end)

describe("examples/setup", function()
  after_each(process.none_left)

  it("may be started twice at once", function()
    local started = {}
    for i = 1, 2 do started[i] = process.start("sh -c 'exec examples/setup run 2>&1'") end
    for i = 1, 2 do assert.same({ 0, "" }, { started[i]:wait() }) end
  end)
end)
