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

describe("The small examples", function()
  local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"
  local emulator, url, directory

  before_each(function()
    emulator = process.start "bin/clerk-machines emulate"
    url = emulator:read_line():match "^listening on (.*)$"
    directory = process.output_of("mktemp -d"):match "%S+"
  end)
  after_each(function()
    emulator:stop()
    os.execute("rm -rf " .. directory)
    process.none_left()
  end)

  local function run(arguments)
    local command = "env CLERK_API_URL=%s CLERK_SECRET_KEY=sk_test_emulator %s examples/%s"
    return process.output_of(command:format(url, LUA, arguments))
  end

  it("make machines for a list of services, once", function()
    assert.truthy(run("services.lua " .. directory):find("7 of 7: ", 1, true))
    assert.equal("nothing to change\n", run("services.lua " .. directory))
    assert.equal("4\n", process.output_of("ls " .. directory .. " | wc -l"))
  end)

  it("show two progress bars at once", function()
    run("services.lua " .. directory)
    local bars = select(2, run("progress.lua"):gsub("# 4 of 4", ""))
    assert.is_true(bars >= 2)
  end)

  it("explain errors to a person", function()
    local shown = run "show_error.lua"
    assert.matches("No machine was found with the ID 'mch_missing'%.\nIt may have been", shown)
    assert.matches("could not be reached%.\nCheck the network%.\n", shown)
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
