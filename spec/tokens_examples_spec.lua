-- The examples of tokens, run against each other and the emulator.

-- lua-http, as installed, is for LuaJIT; its processes cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local machines = require "clerk.machines"
local process = require "support.process"

local KEY = "sk_test_examples"
local LUA = 'LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;"'

describe("The examples of tokens", function()
  local url, client, service, caller, stranger
  local servers = {}

  --- Starts a server, and returns the URL at the end of its first line.
  local function start(command)
    local server = process.start(command, { errors = "/dev/null" })
    table.insert(servers, server)
    return server:read_line():match "%S+$"
  end

  local function start_service(callers)
    return start(("env CLERK_API_URL=%s CLERK_SECRET_KEY=%s "
      .. "CLERK_MACHINE_SECRET_KEY=%s MACHINE_ID=%s CALLERS=%s %s luajit examples/verify.lua 0")
      :format(url, KEY, service.secret_key, service.id, callers, LUA))
  end

  local function call(address, machine, count)
    return process.run(("env CLERK_API_URL=%s CLERK_MACHINE_SECRET_KEY=%s %s "
      .. "luajit examples/call_service.lua %s %d"):format(url, machine.secret_key, LUA, address,
      count or 1))
  end

  setup(function()
    url = start("bin/clerk-machines emulate --secret-key " .. KEY)
    client = machines.new { secret_key = KEY, base_url = url }
    service = client:create { name = "service" }
    caller = client:create { name = "caller", scoped_machines = { service.id } }
    stranger = client:create { name = "stranger" }
  end)

  teardown(function()
    client:close()
    for _, server in ipairs(servers) do server:stop() end
    process.none_left()
  end)

  it("let a machine in that may call the service, with one token for all calls", function()
    local address = start_service(caller.id)
    local status, output, errors = call(address, caller, 3)
    assert.same({ 0, "" }, { status, errors })
    assert.equal(("200 hello, %s\n"):format(caller.id):rep(3), output)
    assert.equal(1, client:list_tokens({ subject = caller.id }).total_count)
  end)

  it("keep out a machine that may not call, even if it is on the list", function()
    local address = start_service(process.quote(stranger.id))
    for _, machine in ipairs { stranger, caller } do
      local _, output = call(address, machine)
      assert.matches("^40[13] no entry\n$", output)
    end
  end)
end)
