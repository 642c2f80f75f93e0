-- Buffers of the C part that held the secret key or a machine's secret are wiped before they are
-- freed: programs run with wipe_watch.c, which sees both.

local files = require "support.files"
local paths = require "support.secret_paths"
local process = require "support.process"
local server = require "support.server"

local KEY = paths.key
local SECRET = paths.secret
local LUA = require("support.interpreter").name

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
    local client = machines.new {
      secret_key = arg[1], machine_secret_key = arg[1], base_url = arg[2], ca_file = arg[3],
    }
  ]]

  local SESSION = PREPARE .. [[
    local machine = client:create { name = "marked " .. arg[1] }
    for _ = 1, 3 do client:rotate_secret_key(machine.id, { previous_token_ttl = 0 }) end
    client:get_secret_key(machine.id)
    client:update(machine.id, { name = "marked twice " .. arg[1] })
    pcall(client.get, client, "mch_" .. arg[1])
    client:list()
    client:create_token { claims = { mark = arg[1] } }
    client:verify_token { token = arg[1]:rep(100) }
    client:close()
    collectgarbage()
  ]]

  --- How often a program frees a block that holds a part of each text, and how often it wipes one.
  local function count(program, url, texts, ca_file)
    local path = files.write_temporary(program)
    local command = "env LD_PRELOAD=%s WIPE_WATCH=%s LUA_CPATH='build/%s/?.so;;' %s %s %s %s %s"
    local status, _, told = process.run(
      command:format(watch, table.concat(texts, ":"), LUA, LUA, path, KEY, url,
        ca_file or SYSTEM_FILE))
    files.remove_temporary()
    assert.equal(0, status, told)
    local freed, wiped = {}, {}
    for _, text in ipairs(texts) do
      freed[text] = select(2, told:gsub("freed " .. text .. "\n", ""))
      wiped[text] = select(2, told:gsub("wiped " .. text .. "\n", ""))
    end
    return freed, wiped
  end

  --- The key and a machine's secret were in blocks that were wiped, and in none that was freed.
  local function assert_wiped(program, url, least)
    local freed, wiped = count(program, url, { KEY, SECRET })
    assert.same({ [KEY] = 0, [SECRET] = 0 }, freed)
    for text, least_often in pairs { [KEY] = 1, [SECRET] = least or 1 } do
      local times = wiped[text]
      assert.is_true(times >= least_often, ("%s was wiped %d times"):format(text, times))
    end
  end

  describe("after all operations", function()
    local ANSWER = ('{"id":"mch_1","name":"%s","secret":"%s","secret_key":"ak_1","data":[],'
      .. '"token":"mt_1","subject":"mch_1","revoked":false,"expired":false}')
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
      assert.equal(0, count(PREPARE .. urls:format(SECRET), url, { SECRET })[SECRET])
    end)

    it("are noticed by this spec when they are not wiped", function()
      local path = os.tmpname() -- the library does not wipe it: it is not a secret
      files.write(path, files.read(SYSTEM_FILE))
      local name = path:match "[^/]+$"
      assert.is_true(count(SESSION, url, { name }, path)[name] > 0)
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
    ["bytes of nginx's cosockets"] = { answer = HALF, program = PREPARE .. [[
      local core = require "clerk.machines.core"
      local call = core.call("get", client.settings.prepared, 0, nil, "mch_1")
      assert(core.http_call(call, arg[1]):find(arg[1], 1, true))
      local secret = os.getenv "WIPE_WATCH":match ":(.*)"
      assert(core.http_head("HTTP/1.1 200 OK\r\n\r\n" .. secret, 1000, 1000) == 200)
    ]] },
    ["a request that is refused half-way"] = { answer = HALF, least = 0, program = [[
      local core = require "clerk.machines.core"
      local request = { method = "GET", url = "http://a/" .. arg[1], headers = 1 }
      assert(not pcall(core.http_request, request))
    ]] },
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
