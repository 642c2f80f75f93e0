-- Neither the secret key nor a machine's secret appears in anything that a program may print.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local files = require "support.files"
local gate = require "support.gate"
local machines = require "clerk.machines"
local paths = require "support.secret_paths"
local process = require "support.process"
local safe = require "clerk.machines.safe"
local server = require "support.server"

local KEY = paths.key
local SECRET = paths.secret
local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"

--- The fields of a result that may hold a secret.
local SECRET_FIELDS = { secret = true, secret_key = true }

local function is_asked_for(value, name)
  return getmetatable(value) == core.result and SECRET_FIELDS[name]
end

--- Fails when a secret is in any string within a value, or in its `tostring`. The fields of results
--- above may hold one.
local function search(value, path, holds_secret, seen)
  if type(value) == "string" then
    assert(not value:find("MARKED", 1, true), "a secret in " .. path .. ": " .. value)
    return
  elseif value == nil or seen[value] then
    return
  end
  seen[value] = true
  search(tostring(value), "tostring(" .. path .. ")", false, seen)
  search(debug.getmetatable(value), path .. "'s metatable", holds_secret, seen)
  for name, member in pairs(type(value) == "table" and value or {}) do
    search(name, path .. ", a name", holds_secret, seen)
    if not (holds_secret and is_asked_for(value, name)) then
      search(member, path .. "." .. tostring(name), holds_secret, seen)
    end
  end
end

local function check(value, path, holds_secret)
  search(value, path, holds_secret, {})
end

describe("No secret is", function()
  after_each(gate.stop_all)

  for _, path in ipairs(paths) do
    it("in the outcome of " .. path.name, function() path.run(check) end)
  end

  it("printed on any of these paths", function()
    local program = [[for _, path in ipairs(require "support.secret_paths") do
      path.run(function() end)
    end]]
    local status, output, errors = process.run(("env LUA_CPATH='build/%s/?.so;;' %s -e %s")
      :format(LUA, LUA, process.quote(program)))
    assert.same({ 0, "", "" }, { status, output, errors })
  end)

  it("shown by `tostring` of a value that carries one", function()
    local client = machines.new { secret_key = KEY }
    local call = core.call("get_secret_key", client.settings.prepared, 0, nil, "mch_1")
    local request = call:request(KEY)
    request.timeout_ms, request.connect_timeout_ms, request.max_response_bytes = 1, 1, 1
    local curl = core.curl { max_connections = 1 }
    local transfer = curl:start(request)
    for what, value in pairs { call = call, curl = curl, transfer = transfer } do
      check(value, what)
    end
    curl:close()
  end)

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

  it("in the error about a refused key", function()
    for _, key in ipairs { KEY .. "\n", KEY .. "\0", "\r" .. KEY } do
      local _, err = safe.new { secret_key = key }
      check(err, "the error")
      local client = safe.new { secret_key = function() return key end }
      local _, later = client:list()
      assert.equal("ArgumentError", later.type)
      check(later, "the error")
    end
  end)

  it("in the error about another refused argument", function()
    local client = machines.new { secret_key = KEY }
    for _, mistake in ipairs {
      function() machines.new { secret_key = KEY, headers = { Authorization = KEY } } end,
      function() machines.new { secret_key = KEY, headers = { a = KEY .. "\n" } } end,
      function() machines.new { secret_key = KEY, user_agent = KEY .. "\n" } end,
      function() machines.new { secret_key = KEY, base_url = "https://u:" .. KEY .. "@a" } end,
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

describe("Buffers of the C part", function()
  local SYSTEM_FILE = "/etc/ssl/certs/ca-certificates.crt"
  local watch = os.tmpname()

  setup(function()
    local status, _, problem = process.run("env -u LD_PRELOAD cc -shared -fPIC -o " .. watch
      .. " spec/support/wipe_watch.c")
    assert.equal(0, status, problem)
  end)
  teardown(function() os.remove(watch) end)

  local PREPARE = [[
    local machines = require "clerk.machines"
    local client = machines.new { secret_key = arg[1], base_url = arg[2], ca_file = arg[3] }
  ]]

  local SESSION = PREPARE .. [[
    local machine = client:create { name = "marked " .. arg[1] }
    for _ = 1, 3 do client:rotate_secret_key(machine.id, { previous_token_ttl = 0 }) end
    client:get_secret_key(machine.id)
    client:update(machine.id, { name = "marked twice " .. arg[1] })
    pcall(client.get, client, "mch_" .. arg[1])
    client:list()
    client:close()
    collectgarbage()
  ]]

  --- How often a program frees a block that holds a part of a text, and how often it wipes one.
  local function count(program, url, text, ca_file)
    local path = files.write_temporary(program)
    local command = "env LD_PRELOAD=%s WIPE_WATCH=%s LUA_CPATH='build/%s/?.so;;' %s %s %s %s %s"
    local status, _, told = process.run(
      command:format(watch, text, LUA, LUA, path, KEY, url, ca_file or SYSTEM_FILE))
    files.remove_temporary()
    assert.equal(0, status, told)
    return select(2, told:gsub("freed", "")), select(2, told:gsub("wiped", ""))
  end

  --- The key and a machine's secret were in blocks that were wiped, and in none that was freed.
  local function assert_wiped(program, url, least)
    for text, least_often in pairs { [KEY] = 1, [SECRET] = least or 1 } do
      local freed, wiped = count(program, url, text)
      assert.equal(0, freed, text)
      assert.is_true(wiped >= least_often, ("%s was wiped %d times"):format(text, wiped))
    end
  end

  describe("after all operations", function()
    local ANSWER = ('{"id":"mch_1","name":"%s","secret":"%s","secret_key":"ak_1","data":[]}')
      :format(KEY, SECRET:rep(20))
    local ANSWER_ALL = [[
      for request in connection:requests() do
        connection:answer(request.target:find("MARKED", 1, true) and 404 or 200, values.answer)
      end
    ]]
    local url

    before_each(function()
      url = server.start(ANSWER_ALL, { values = { answer = ANSWER } }):url "/v1"
    end)
    after_each(server.stop_all)

    it("are wiped before they are freed", function() assert_wiped(SESSION, url, 5) end)

    it("are told apart from what libcurl leaves in memory", function()
      local urls = "for i = 1, 60 do pcall(client.get, client, ('a'):rep(i) .. %q) end"
      assert.equal(0, (count(PREPARE .. urls:format(SECRET), url, SECRET)))
    end)

    it("are noticed by this spec when they are not wiped", function()
      local path = os.tmpname() -- the library does not wipe it: it is not a secret
      files.write(path, files.read(SYSTEM_FILE))
      assert.is_true(count(SESSION, url, path:match "[^/]+$", path) > 0)
      os.remove(path)
    end)
  end)

  --- After the answer, which may be half of one, single bytes come.
  local SCRIPT = [[
    connection:read_request()
    connection:write(values.answer)
    if values.drips then connection:drip((" "):rep(900), 20) end
  ]]

  --- Each step ends when something has come.
  local UNDER_WAY = PREPARE .. [[
    local task = client:spawn(client.get_secret_key, client, "mch_1")
    for _ = 1, 10 do client:step(1000) end
    assert(task.status == "running")
  ]]

  local HALF = ('HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"secret":"%s",'):format(SECRET)
  local chunk = ("3e8\r\n%s\r\n"):format((" "):rep(1000))
  local document = ('{"secret":"%s"}'):format(SECRET)
  local CHUNKED = ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s0\r\n\r\n")
    :format(#document, document, chunk:rep(60))

  local cases = {
    ["an answer that breaks off"] = { answer = HALF, program = PREPARE .. [[
      local ok, err = pcall(client.rotate_secret_key, client, "mch_1", { previous_token_ttl = 0 })
      assert(not ok and err.code == "connection_lost", err)
    ]] },
    ["an answer that ends too late"] = { answer = HALF, drips = "yes", program = PREPARE .. [[
      local options = { timeout_ms = 1000, retries = false }
      local ok, err = pcall(client.get_secret_key, client, "mch_1", options)
      assert(not ok and err.code == "timeout", err)
    ]] },
    ["an answer that is too large"] = { answer = CHUNKED, program = PREPARE .. [[
      local small = { secret_key = arg[1], base_url = arg[2], max_response_bytes = 100 }
      client = machines.new(small)
      local ok, err = pcall(client.get_secret_key, client, "mch_1")
      assert(not ok and err.code == "response_too_large", err)
    ]] },
    ["an answer whose length is not known"] = { answer = CHUNKED, least = 3, program = PREPARE .. [[
      assert(client:get_secret_key("mch_1").secret)
    ]] },
    ["a task that is cancelled"] = { answer = HALF, drips = "yes", program = UNDER_WAY .. [[
      task:cancel()
      assert(task.status == "cancelled")
    ]] },
    ["a client that is closed"] = { answer = HALF, drips = "yes", program = UNDER_WAY .. [[
      client:close()
      assert(task.status == "cancelled")
    ]] },
    ["a client that is collected"] = { answer = HALF, drips = "yes", program = UNDER_WAY .. [[
      task, client = nil, nil
      collectgarbage()
      collectgarbage()
    ]] },
    ["a Lua state that ends"] = { answer = HALF, drips = "yes", program = UNDER_WAY },
  }

  describe("are wiped after", function()
    after_each(server.stop_all)

    for what, case in pairs(cases) do
      it(what, function()
        local web = server.start(SCRIPT, { values = { answer = case.answer, drips = case.drips } })
        assert_wiped(case.program, web:url "/v1", case.least)
      end)
    end
  end)
end)
