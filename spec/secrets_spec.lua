-- Neither the key nor a machine's secret is in anything that somebody may print.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local machines = require "clerk.machines"
local process = require "support.process"
local safe = require "clerk.machines.safe"
local server = require "support.server"

local KEY = "sk_test_MARKED0123456789"
local SECRET = "ak_MARKED9876543210"

--- Fails when a secret is in any string within a value, or in what `tostring` shows of it.
local function search(value, path, seen)
  if type(value) == "string" then
    assert(not value:find("MARKED", 1, true), "a secret in " .. path .. ": " .. value)
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    search(tostring(value), "tostring(" .. path .. ")", seen)
    for name, member in pairs(value) do
      search(name, path .. ", a name", seen)
      search(member, path .. "." .. tostring(name), seen)
    end
  end
end

local function check(value, path)
  search(value, path, {})
end

local params = {
  create = { name = "a" },
  update = { name = "b" },
  rotate_secret_key = { previous_token_ttl = 0 },
  create_scope = { to_machine_id = "mch_2" },
}

local function arguments_of(operation)
  local arguments = {}
  for _, parameter in ipairs(operation.parameters) do
    if parameter.place == "path" then
      arguments[#arguments + 1] = "mch_1"
    end
  end
  arguments[#arguments + 1] = params[operation.name]
  return arguments
end

local unpack = table.unpack or unpack

--- Calls an operation on a client whose events are searched; returns what came of it.
local function call(operation, transport, base_url)
  local client = machines.new {
    secret_key = KEY,
    transport = transport,
    base_url = base_url,
    timeout_ms = 300,
    retries = { backoff = { initial_interval = 0, max_elapsed_time = 50 } },
    on_event = function(event)
      check(event, operation.name .. "'s event")
    end,
  }
  check(client, "the client")
  local ok, result, info = pcall(client[operation.name], client, unpack(arguments_of(operation)))
  check(info, operation.name .. "'s second result")
  client:close()
  check(client, "the closed client")
  return ok, result
end

local echo = ('{"errors":[{"code":"c %s","message":"m %s","long_message":"l","meta":{"%s":["%s"]}}]'
  .. ',"clerk_trace_id":"%s"}'):format(KEY, KEY, KEY, KEY, KEY)

local answers = {
  ["an error that repeats the key"] = { status = 401, body = echo },
  ["a page that repeats the key"] = { status = 502, body = "<p>Bearer " .. KEY .. "</p>" },
  ["a success that is no JSON"] = { status = 200, body = '{"secret":"' .. SECRET .. '",' },
  ["a success of another shape"] = { status = 200, body = '["' .. SECRET .. '"]' },
  ["an empty success"] = { status = 200, body = "" },
  ["a redirect that repeats the key"] = { status = 302, body = KEY },
  ["too many requests"] = { status = 429, body = echo },
}

describe("No secret is", function()
  for _, operation in ipairs(core.operations) do
    for name, answer in pairs(answers) do
      local holds_secret = answer.body:find(SECRET, 1, true)
      if operation.answers_secret or not holds_secret then
        it(("in what %s makes of %s"):format(operation.name, name), function()
          local headers = { ["x-echo"] = KEY, ["cf-ray"] = KEY, ["retry-after"] = "99" }
          local transport = {
            send = function()
              return { status = answer.status, headers = headers, body = answer.body }
            end,
          }
          local ok, err = call(operation, transport)
          assert.is_false(ok)
          check(err, "the error")
        end)
      end
    end

    it("in what " .. operation.name .. " makes of a failure", function()
      local transport = {
        send = function()
          return nil, { code = "connection_lost", message = "lost " .. KEY, sent = true }
        end,
      }
      local ok, err = call(operation, transport)
      assert.is_false(ok)
      check(err, "the error")
    end)
  end

  it("shown by `tostring` of a result that holds one", function()
    local api = emulator.new { secret_key = KEY }
    local client = machines.new { secret_key = KEY, transport = api }
    local machine = client:create { name = "a" }
    local shown = { tostring(machine), tostring(client:get_secret_key(machine.id)),
      tostring(client:rotate_secret_key(machine.id, { previous_token_ttl = 0 })),
      tostring(client), tostring(client:list()) }
    for _, text in ipairs(shown) do
      assert.falsy(text:find("ak_", 1, true), text)
      assert.falsy(text:find("MARKED", 1, true), text)
    end
  end)

  it("in the refusal of a key", function()
    for _, key in ipairs { KEY .. "\n", KEY .. "\0", "\r" .. KEY } do
      local _, err = safe.new { secret_key = key }
      check(err, "the error")
      local client = safe.new { secret_key = function() return key end }
      local _, later = client:list()
      assert.equal("ArgumentError", later.type)
      check(later, "the error")
    end
  end)

  it("in the refusal of anything else", function()
    local client = machines.new { secret_key = KEY }
    for _, mistake in ipairs {
      function() machines.new { secret_key = KEY, headers = { Authorization = KEY } } end,
      function() machines.new { secret_key = KEY, headers = { a = KEY .. "\n" } } end,
      function() machines.new { secret_key = KEY, user_agent = KEY .. "\n" } end,
      function() machines.new { secret_key = KEY, base_url = "https://u:" .. KEY .. "@a" } end,
      function() machines.new { secret_key = KEY, ca_file = "/nowhere/" .. KEY } end,
      function() client:create { name = { KEY } } end,
      function() client:get(KEY .. "\n") end,
    } do
      local ok, err = pcall(mistake)
      assert.is_false(ok)
      assert.equal("ArgumentError", err.type)
      check(err, "the error")
    end
    check(client, "the client")
  end)
end)

describe("Over real HTTP no secret is", function()
  after_each(server.stop_all)

  local scripts = {
    ["an answer that breaks off"] = [[
      connection:read_request()
      connection:write("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"secret\":\"ak_MARKED\"")
      connection:close()
    ]],
    ["a connection that is reset"] = [[
      connection:read_request()
      connection:reset()
    ]],
    ["an answer that never comes"] = [[
      connection:read_request()
      connection:sleep(2)
    ]],
    ["no HTTP at all"] = [[
      local request = connection:read_request()
      connection:write(request.bytes .. "\r\n")
      connection:close()
    ]],
  }

  for name, script in pairs(scripts) do
    it("in what is made of " .. name, function()
      local web = server.start(script)
      for _, operation in ipairs(core.operations) do
        local ok, err = call(operation, nil, web:url "/v1")
        assert.is_false(ok)
        assert.equal("TransportError", err.type)
        check(err, "the error")
      end
    end)
  end
end)

describe("Buffers of the C part", function()
  local build = rawget(_G, "jit") and "luajit" or "lua5.4"
  local watch = os.tmpname()
  local emulating
  local url

  setup(function()
    local status, _, problem = process.run("env -u LD_PRELOAD cc -shared -fPIC -o " .. watch
      .. " spec/support/wipe_watch.c")
    assert.equal(0, status, problem)
    emulating = process.start("bin/clerk-machines emulate --secret-key " .. KEY)
    url = emulating:read_line():match "^listening on (.*)$"
  end)
  teardown(function()
    emulating:stop()
    os.remove(watch)
    process.none_left()
  end)

  local PROGRAM = [[
    local machines = require "clerk.machines"
    local client = machines.new { secret_key = arg[1], base_url = arg[2], ca_file = arg[3] }
    local machine = client:create { name = "marked " .. arg[1] }
    for _ = 1, 3 do client:rotate_secret_key(machine.id, { previous_token_ttl = 0 }) end
    client:update(machine.id, { name = "marked twice " .. arg[1] })
    pcall(client.get, client, "mch_" .. arg[1])
    client:list()
    client:close()
    collectgarbage()
  ]]

  local function complaints(marked, ca_file)
    local program = os.tmpname()
    local file = assert(io.open(program, "w"))
    file:write(PROGRAM)
    file:close()
    local command = "env LD_PRELOAD=%s WIPE_WATCH=%s LUA_CPATH='build/%s/?.so;;' %s %s %s %s %s"
    local status, _, errors = process.run(
      command:format(watch, marked, build, build, program, KEY, url, ca_file))
    os.remove(program)
    assert.equal(0, status, errors)
    return errors
  end

  it("are wiped before they are freed", function()
    local system_file = "/etc/ssl/certs/ca-certificates.crt"
    assert.equal("", complaints("MARKED", system_file))
    assert.equal("", complaints("ak_", system_file))
  end)

  it("are seen by this spec when they are not", function()
    local path = os.tmpname() -- kept as it is, for it is no secret
    assert.truthy(complaints(path:match "[^/]+$", path):find("without being wiped", 1, true))
    os.remove(path)
  end)
end)
