-- nginx's error log holds neither the secret key nor a machine's secret, whatever a server sends
-- back, and even if everything about a call is logged.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local literal = require "support.literal"
local nginx = require "support.nginx"
local process = require "support.process"
local server = require "support.server"

local KEY = "sk_test_MARKED0123456789"
local SECRET = "ak_MARKED9876543210"

-- Logs the whole outcome of one call: as a value, in a task, and as an uncaught error.
local CALLS = [[
  local machines = require "clerk.machines"
  local options = ...
  local function log(what, value)
    ngx.log(ngx.ERR, what, " ", tostring(value))
    for name, member in pairs(type(value) == "table" and value or {}) do
      if name ~= "secret" then log(what .. "." .. tostring(name), member) end
    end
  end
  local client = machines.new {
    secret_key = options.key, base_url = options.url, timeout_ms = options.timeout_ms,
    retries = { backoff = { initial_interval = 1, exponent = 1000, max_elapsed_time = 400 } },
    on_event = function(event) log("event", event) end,
  }
  local function get()
    return client:get_secret_key "mch_1"
  end
  local ok, result, info = pcall(get)
  log("result", result)
  log("info", info)
  local task = client:spawn(get)
  client:run()
  log("task", task)
  local cancelled = client:spawn(get)
  cancelled:cancel()
  log("cancelled", select(2, pcall(cancelled.result, cancelled)))
  ngx.thread.wait(ngx.thread.spawn(get))
  log("closing", client:close())
  return ok or result.code
]]

-- A cancelled call may send nothing.
local ECHO = [[
  local request = connection:read_request()
  if not request then return end
  local key = request.headers.authorization
]]

local function answer(head, body)
  return ECHO .. ([[connection:write("HTTP/1.1 %s\r\nX-Echo: ", key, "\r\n%s\r\n\r\n", %s)]])
    :format(head[1], head[2] or "Connection: close", body)
end

local SUCCESS = [['{"object":"machine_secret_key","secret":"', values.secret, '"}']]

-- What a server does, and whether that is a success, or else the error's code.
local SCRIPTS = {
  ["a success"] = { true, answer({ "200 OK" }, SUCCESS) },
  ["a success that is no JSON"] = { "invalid_json", answer({ "200 OK" }, SUCCESS .. ", 'x'") },
  ["an answer that breaks off"] = { "connection_lost",
    answer({ "200 OK", "Content-Length: 999" }, SUCCESS) },
  ["an answer that never ends"] = { "timeout",
    answer({ "200 OK", "Content-Length: 999" }, SUCCESS) .. "connection:hang()" },
  ["an error"] = { "c (secret)", answer({ "401 No" }, [['{"errors":[{"code":"c ',
    key:match "sk_.*", '","message":"', key, '"}]}']]) },
  ["a redirect"] = { "redirect_refused", answer({ "302 No", "Location: http://a/" }, "key") },
  ["no HTTP at all"] = { "bad_response", ECHO .. [[connection:write(key, "\r\n\r\n")]] },
  ["a reset"] = { "connection_lost", ECHO .. "connection:reset()" },
}

-- A call that takes the fast path: its headers are made when they are first read.
local GET = [[
  local client = require("clerk.machines").new { secret_key = options.key, base_url = options.url }
  local machine, meta = client:get "mch_1"
  client:close()
  local lines = {}
  for name, value in pairs(meta.headers) do table.insert(lines, name .. ": " .. value) end
  table.sort(lines)
  return machine.id, table.concat(lines, "\n")
]]

describe("Inside nginx the headers of a call that succeeds at once", function()
  after_each(function()
    nginx.stop_all()
    server.stop_all()
  end)

  it("do not hold the key", function()
    local api = server.start(ECHO .. [[
      connection:write("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n", "X-Echo: a ", key, "\r\n",
        "X-Echo: c\r\n\r\n", '{"id":"mch_1"}')
    ]])
    local id, headers = nginx.start():run("local options = ...;" .. GET,
      { key = KEY, url = api:url "/v1" })
    assert.equal("mch_1", id)
    assert.equal("content-length: 14\nx-echo: a Bearer (secret), c", headers)
  end)
end)

describe("nginx's error log holds no secret after", function()
  local web

  before_each(function() web = nginx.start() end)
  after_each(function()
    nginx.stop_all()
    server.stop_all()
    process.none_left()
  end)

  for name, row in pairs(SCRIPTS) do
    it(name, function()
      local api = server.start(row[2], { values = { secret = SECRET } })
      local timeout_ms = row[1] == "timeout" and 200 or nil
      local outcome = web:run(CALLS, { key = KEY, url = api:url "/v1", timeout_ms = timeout_ms })
      assert.equal(row[1], outcome, literal(outcome))
      assert.matches("cancelled", web:log(), 1, true)
      assert.is_nil(web:log():find("MARKED", 1, true), web:log())
    end)
  end
end)
