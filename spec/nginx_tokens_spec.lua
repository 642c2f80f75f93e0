-- Inside nginx: verifiers and sources, whose answers all workers share, and clients that hang up.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local json_writer = require "clerk.machines.json_writer"
local nginx = require "support.nginx"
local process = require "support.process"
local server = require "support.server"
local token_api = require "support.token_api"

local ME, CALLER = token_api.me, token_api.caller
local WAITERS = 50

-- mt_gate… is answered after a request about mt_open; what has "bad" in it is unknown.
local API = [[
  for request in connection:requests() do
    local text = request.body:match '"token":"(.-)"' or ""
    if text == "mt_open" then shared.is_open = true end
    while text:find "^mt_gate" and not shared.is_open do connection:sleep(5) end
    if request.target:find "jwks" then connection:answer(200, values.keys)
    elseif request.target:find "m2m_tokens$" then
      connection:sleep(50)
      connection:answer(201, values.minted)
    elseif text:find "bad" then connection:answer(404, '{"errors":[{"code":"not_found"}]}')
    else connection:answer(200, values.token) end
  end
]]
local INIT = [[
  tokens = require "clerk.machines.tokens"
  client = require("clerk.machines").new {
    secret_key = "sk_test_instance_key", machine_secret_key = "ak_machine_key", base_url = "%s",
  }
  verifier = tokens.verifier {
    client = client, machine_id = "%s", callers = { "%s" }, shared_dict = "clerk_tokens",
  }
  source = tokens.source { client = client }
]]
local HTTP = "lua_shared_dict clerk_tokens 1m; lua_check_client_abort on;"
local SERVER = [[
  location /verify {
    access_by_lua_block {
      local text = (ngx.var.http_authorization or ""):sub(8)
      local ok, problem = pcall(verifier.verify, verifier, text)
      if not ok then
        ngx.status = problem.type == "TokenError" and 401 or 503
        ngx.say(tostring(problem))
        ngx.exit(ngx.status)
      end
    }
    content_by_lua_block { ngx.print "in" }
  }
  location /log { content_by_lua_block { } log_by_lua_block { run() } }
]]

describe("In nginx", function()
  local api, web, facts

  before_each(function()
    facts = token_api.new()
    facts.time = os.time() * 1000
    api = server.start(API, { values = {
      keys = facts.key_set,
      token = json_writer.write(facts:token()),
      minted = json_writer.write(facts:token { token = "mt_minted" }),
    } })
  end)

  after_each(function()
    nginx.stop_all()
    server.stop_all()
  end)

  local function start(options)
    options = options or {}
    options.init = INIT:format(api:url "/v1", ME, CALLER) .. (options.init or "")
    options.http, options.server = HTTP .. (options.http or ""), SERVER
    web = nginx.start(options)
    return web
  end

  local function curl(text, arguments)
    local header = ("-H 'Authorization: Bearer %s' "):format(text)
    return web:curl("/verify", nil, header .. (arguments or "-m 60"))
  end

  local function verify(text)
    local _, output = process.run(curl(text))
    local body, status = output:match "^(.*)\n(%d+)$"
    return tonumber(status), body
  end

  --- How often the API was asked about a token.
  local function questions_about(text)
    local count = 0
    for _, request in ipairs(api:requests()) do
      count = count + (request.body:find(text, 1, true) and 1 or 0)
    end
    return count
  end

  it("tokens are verified in the access phase, and refused with the reason", function()
    start()
    assert.same({ 200, "in" }, { verify "mt_good" })
    assert.same({ 200, "in" }, { verify(facts:jwt()) })
    local status, line = verify "mt_bad"
    assert.equal(401, status)
    assert.matches("^TokenError: .*token_unknown", line)
    assert.equal(401, (verify(facts:jwt { sub = "mch_stranger" })))
    assert.equal(401, (verify ""))
  end)

  it("all workers share what the API said, also those that come later", function()
    start { workers = 2 }
    verify "mt_good"
    for _ = 1, 5 do
      web:reload()
      assert.equal(200, (verify "mt_good"))
    end
    assert.equal(1, questions_about "mt_good")
  end)

  it("the dictionary holds no token, and names none", function()
    start()
    local jwt = facts:jwt { role = "worker" }
    verify "mt_good_secret"
    verify(jwt)
    local content = web:run [[
      local parts = {}
      for _, key in ipairs(ngx.shared.clerk_tokens:get_keys(0)) do
        table.insert(parts, key .. "=" .. ngx.shared.clerk_tokens:get(key))
      end
      return parts
    ]]
    assert.equal(2, #content)
    content = table.concat(content, "\n")
    assert.matches(CALLER, content, 1, true)
    assert.falsy(content:find("mt_good_secret", 1, true))
    assert.falsy(content:find(jwt:match "[^.]*$", 1, true))
  end)

  it("a result from the dictionary is the same as the first one", function()
    start()
    local code = [[
      local function plain(value)
        if type(value) ~= "table" then return value end
        local copy = {}
        for k, v in pairs(value) do copy[k] = plain(v) end
        return copy
      end
      return plain(verifier:verify(...)), plain(verifier:verify(...))
    ]]
    local jwt = facts:jwt { n = 1.5, list = { "a" }, deep = { b = true } }
    for _, text in ipairs { "mt_good", jwt } do
      local first, second = web:run(code, text)
      assert.same(first, second)
    end
  end)

  -- Runs code with `other(options)`, which makes another verifier over the same dictionary.
  local function run_with_other(code, value)
    return web:run([[
      local function other(options)
        options.client = options.client or client
        options.shared_dict, options.machine_id = "clerk_tokens", "mch_me"
        return require("clerk.machines.tokens").verifier(options)
      end
    ]] .. code, value)
  end

  it("a JWT in the dictionary is refused by a verifier that accepts no JWTs", function()
    start()
    local code = run_with_other([[
      verifier:verify(...)
      local opaque = other { jwt = false }
      local ok, problem = pcall(opaque.verify, opaque, ...)
      return ok or problem.code
    ]], facts:jwt())
    assert.equal("token_type_refused", code)
  end)

  it("what another instance, key or URL says of a token is not in the dictionary", function()
    start()
    run_with_other([[
      local url = client.settings.base_url
      local function ask(secret_key, machine_secret_key, base_url)
        other({ jwt = false, client = require("clerk.machines").new {
          secret_key = secret_key, machine_secret_key = machine_secret_key, base_url = base_url,
        } }):verify "mt_good"
      end
      for _ = 1, 2 do
        ask("sk_test_instance_key", "ak_machine_key", url)
        ask("sk_test_other", "ak_machine_key", url)
        ask("sk_test_instance_key", "ak_other", url)
        ask("sk_test_instance_key", "ak_machine_key", url .. "/elsewhere")
      end
    ]])
    assert.equal(4, questions_about "mt_good")
  end)

  it("a JWT in the dictionary is verified again by one that has another key", function()
    start()
    local code = run_with_other([[
      local given = ...
      verifier:verify(given.jwt)
      local by_pem = other { jwt_key = given.pem, callers = { "mch_caller" } }
      local ok, problem = pcall(by_pem.verify, by_pem, given.jwt)
      return ok or problem.code
    ]], { jwt = facts:jwt(), pem = token_api.signer("another").pem })
    assert.equal("token_signature_invalid", code)
  end)

  it("a verifier uses no answer for longer than its own cache_ms", function()
    start()
    run_with_other([[
      local asks = other { cache_ms = 0, jwt = false }
      for _ = 1, 2 do
        verifier:verify "mt_good"
        asks:verify "mt_good"
      end
    ]])
    assert.equal(3, questions_about "mt_good")
  end)

  it("the API is asked once, however many requests ask at the same time", function()
    start()
    local asking = process.start(("sh -c %s"):format(process.quote(
      ("for i in $(seq %d); do %s & done; wait"):format(WAITERS, curl "mt_gate"))))
    api:wait_until_received(1)
    verify "mt_open"
    local _, output = asking:wait()
    assert.equal(WAITERS, select(2, output:gsub("200", "")), output) -- the rest comes mixed up
    assert.equal(1, questions_about "mt_gate")
  end)

  it("a client that hangs up does not end the question that others wait for", function()
    start()
    local gone = process.start(curl "mt_gate")
    api:wait_until_received(1)
    local waiting = process.start(curl "mt_gate")
    gone:stop()
    web:wait_until("the end of the first request", function()
      return web:log():find "client prematurely closed connection" ~= nil
    end)
    verify "mt_open"
    local _, output = waiting:wait()
    assert.equal("in\n200", output)
    assert.equal(1, questions_about "mt_gate")
  end)

  it("an answer is remembered when all clients that asked have hung up", function()
    start()
    local gone = process.start(curl "mt_gate")
    api:wait_until_received(1)
    gone:stop()
    web:wait_until("the end of the request", function()
      return web:log():find "client prematurely closed connection" ~= nil
    end)
    verify "mt_open"
    assert.equal(200, (verify "mt_gate"))
    assert.equal(1, questions_about "mt_gate")
  end)

  it("nothing can be told when the API does not answer in time", function()
    start()
    local status, line = verify "mt_gate"
    assert.equal(503, status)
    assert.matches("TransportError: .*timeout", line)
  end)

  it("nothing can be told when nginx has no timer left, and later it can", function()
    start { http = "lua_max_pending_timers 1;" }
    web:run [[ ngx.timer.at(5, function() end) ]]
    local status, line = verify "mt_good"
    assert.equal(503, status)
    assert.matches("too many pending timers", line, 1, true)
    web:wait_until("a timer", function() return (verify "mt_good") == 200 end)
  end)

  it("where nothing can wait, known tokens are verified, and others are a mistake", function()
    start()
    local code = [[
      local ok, result = pcall(verifier.verify, verifier, ...)
      return ok, ok and result.subject or result
    ]]
    local ok, problem = web:run(code, "mt_good", "/log")
    assert.is_false(ok)
    assert.same({ "ArgumentError", "verify" }, { problem.type, problem.operation })
    assert.matches("phase log", problem.message, 1, true)
    verify "mt_good"
    assert.same({ true, CALLER }, { web:run(code, "mt_good", "/log") })
  end)

  it("in init a verification blocks, because nothing is served yet", function()
    local init = ([[ subject = verifier:verify(%q).subject ]]):format(facts:jwt())
    start { init = init }
    assert.equal(CALLER, (web:run [[ return subject ]]))
  end)

  it("a host name of keys without a `resolver` in nginx.conf is a mistake", function()
    local problem = start():run([[
      local keys = tokens.verifier {
        machine_id = "mch_a", callers = { "mch_caller" },
        jwks_url = "https://keys.example.com/jwks",
      }
      local _, problem = pcall(keys.verify, keys, (...))
      return problem
    ]], facts:jwt())
    assert.same({ "ArgumentError", "verify" }, { problem.type, problem.operation })
    assert.matches("`resolver`", problem.message, 1, true)
  end)

  it("a shared_dict that nginx.conf does not declare is refused, with the remedy", function()
    start()
    local problem = web:run [[
      return select(2, pcall(require("clerk.machines.tokens").verifier, {
        client = client, machine_id = "mch_1", callers = { "mch_2" }, shared_dict = "missing",
      }))
    ]]
    assert.equal("ArgumentError", problem.type)
    assert.matches("lua_shared_dict missing", problem.message, 1, true)
  end)

  it("a source mints one token, however many threads need one", function()
    start()
    local texts = web:run [[
      local threads, texts = {}, {}
      for i = 1, 20 do threads[i] = ngx.thread.spawn(source.get, source) end
      for i = 1, 20 do texts[i] = select(2, ngx.thread.wait(threads[i])) end
      return texts
    ]]
    for i = 1, 20 do assert.equal("mt_minted", texts[i]) end
    assert.equal(1, #api:requests())
  end)

  it("no token reaches the error log", function()
    start()
    for _, text in ipairs { "mt_good_secret", "mt_bad_secret", "mt_gate_secret", facts:jwt() } do
      verify(text)
      assert.falsy(web:log():find(text, 1, true))
    end
  end)
end)
