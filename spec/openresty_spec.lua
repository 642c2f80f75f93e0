-- examples/openresty/directory, started and asked as by its users; both examples, shown at work.

-- nginx's Lua is LuaJIT, and cannot run with sanitizers.
if not rawget(_G, "jit") or os.getenv "LD_PRELOAD" then return end

local certificates = require "clerk.machines.emulator.certificates"
local files = require "support.files"
local process = require "support.process"
local server = require "support.server"

local KEY = "sk_test_emulator"
local SERVE = "env %s LUA_PATH=%s LUA_CPATH=%s examples/openresty/run_nginx %s %s %s"
local SETTINGS = 's/dictionary = "machines"/&, %s/' -- of the directory, by sed
local PATIENCE_POLLS = 500

-- An API that does not know mch_gone, refuses mch_refused, and mch_once after the first time, and
-- is slow to find mch_slow.
local API = [[
  for request in connection:requests() do
    local id = request.target:match "[^/]*$"
    shared[id] = (shared[id] or 0) + 1
    if id:find "mch_slow" then connection:sleep(300) end
    if id == "mch_gone" then
      connection:answer(404, '{"errors":[{"code":"machine_not_found","message":"none"}]}')
    elseif id == "mch_refused" or id == "mch_once" and shared[id] > 1 then
      connection:answer(403, '{"errors":[{"code":"forbidden","message":"no"}]}')
    else
      connection:answer(200, ('{"id":"%s","name":"%d","secret_key":"ak_1",'
        .. '"scoped_machines":[{"id":"mch_other"}]}'):format(id, shared[id]))
    end
  end
]]

describe("examples/openresty/directory", function()
  local directory, api, running, url, errors

  local function prepare(options)
    directory = select(2, process.run "mktemp -d"):match "%S+"
    errors = directory .. "/errors"
    api = server.start(API, options)
  end

  local function clean_up()
    running:stop()
    os.execute("rm -r " .. directory)
    server.stop_all()
  end

  local function log()
    return select(2, process.run("cat " .. errors))
  end

  local function wait_until(what, is_so)
    for _ = 1, PATIENCE_POLLS do
      if is_so() then return end
      os.execute "sleep 0.02"
    end
    error(what .. " did not come to pass: " .. log(), 2)
  end

  local function has_begun()
    local file = io.open(directory .. "/pid")
    if file then file:close() end
    return file ~= nil
  end

  local function start(environment, edits)
    local quote = process.quote
    running = process.start(SERVE:format(environment, quote(package.path), quote(package.cpath),
      "directory", directory, quote(edits or "")), { errors = errors })
    url = assert(running:read_line(), log()):match "http://%S+"
  end

  -- With a key and the API, and what is to differ in nginx.conf.
  local function serve(edits)
    start(("CLERK_SECRET_KEY=%s CLERK_API_URL=%s"):format(KEY, api:url "/v1"), edits)
    wait_until("serving", has_begun)
  end

  ---@return integer status
  ---@return string? state
  ---@return string body
  local function ask(path, arguments)
    local _, output = process.run(("curl -si -m 30 %s %s%s"):format(arguments or "", url, path))
    local head, body = output:match "^(.-)\r\n\r\n(.*)$"
    return tonumber(head:match "^HTTP/1.1 (%d+)"), head:match "X%-Cache%-Status: (%u+)", body
  end

  -- Asks for what curl makes of a range in the path, so many at once; the answers' statuses and
  -- states, each with its count.
  local function ask_at_once(count, path)
    local _, output = process.run(("curl -s -m 30 --parallel --parallel-immediate -o /dev/null "
      .. "--parallel-max %d -w '%%{http_code} %%header{x-cache-status}\\n' '%s%s'")
      :format(count, url, path))
    local counts = {}
    for line in output:gmatch "[^\n]+" do counts[line] = (counts[line] or 0) + 1 end
    return counts
  end

  local function count_fetches(id)
    local count = 0
    for _, request in ipairs(api:requests()) do
      count = count + (request.target == "/v1/machines/" .. id and 1 or 0)
    end
    return count
  end

  describe("as it is", function()
    setup(function()
      prepare()
      serve()
    end)

    teardown(clean_up)

    it("fetches a machine once, and keeps of it what is no secret", function()
      local status, state, body = ask "/machines/mch_1"
      assert.same({ 200, "MISS" }, { status, state })
      assert.truthy(body:find('"id":"mch_1"', 1, true))
      assert.truthy(body:find('"may_call":{"mch_other":true}', 1, true))
      assert.falsy(body:find "ak_")
      assert.same({ 200, "HIT", body }, { ask "/machines/mch_1" })
      assert.equal(1, count_fetches "mch_1")
    end)

    it("takes the key from the environment", function()
      ask "/machines/mch_2"
      assert.equal("Bearer " .. KEY, api:requests()[1].headers.authorization)
    end)

    it("fetches once for twenty that ask at once", function()
      local counts = ask_at_once(20, "/machines/mch_slow?[1-20]")
      assert.same({ ["200 MISS"] = 1, ["200 HIT"] = 19 }, counts)
      assert.equal(1, count_fetches "mch_slow")
    end)

    it("remembers that a machine is not there", function()
      local status, state, body = ask "/machines/mch_gone"
      assert.same({ 404, "MISS", '{"error":"machine_not_found"}\n' }, { status, state, body })
      assert.same({ 404, "HIT", body }, { ask "/machines/mch_gone" })
      assert.equal(1, count_fetches "mch_gone")
    end)

    it("knows no path but its own, and nothing but GET", function()
      local before = #api:requests()
      for _, path in ipairs { "/", "/machines/x", "/machines/mch_3/scopes", "/machines/mch_.." } do
        assert.equal(404, (ask(path)), path)
      end
      assert.equal(403, (ask("/machines/mch_3", "-X DELETE")))
      assert.equal(before, #api:requests())
    end)

    it("shows its memory use to 127.0.0.1 only", function()
      local status, _, body = ask "/admin/directory"
      assert.equal(200, status)
      assert.truthy(body:find '"free_bytes":%d+')
      assert.equal(403, (ask("/admin/directory", "--interface 127.0.0.2")))
    end)

    it("forgets a machine only when 127.0.0.1 asks", function()
      ask "/machines/mch_4"
      assert.equal(403, (ask("/admin/machines/mch_4", "-X DELETE --interface 127.0.0.2")))
      assert.equal("HIT", select(2, ask "/machines/mch_4"))
      assert.equal(403, (ask "/admin/machines/mch_4"))
      assert.equal(204, (ask("/admin/machines/mch_4", "-X DELETE")))
      assert.equal("MISS", select(2, ask "/machines/mch_4"))
    end)

    it("keeps what it knows over a reload", function()
      local function workers()
        return select(2, process.run("pgrep -P " .. running.pid))
      end
      ask "/machines/mch_5"
      local before = workers():match "%d+"
      os.execute("kill -s HUP " .. running.pid)
      wait_until("a reload", function()
        return not workers():find(before, 1, true)
      end)
      assert.equal("HIT", select(2, ask "/machines/mch_5"))
      assert.equal("MISS", select(2, ask "/machines/mch_6"))
    end)

    it("logs no key", function()
      assert.falsy(log():find "sk_")
    end)
  end)

  describe("with a change in nginx.conf", function()
    before_each(function() prepare() end)
    after_each(clean_up)

    it("forgets after a while that a machine was not there", function()
      serve(SETTINGS:format "not_found_s = 0.1")
      ask "/machines/mch_gone"
      wait_until("a second fetch", function()
        return select(2, ask "/machines/mch_gone") == "MISS"
      end)
    end)

    it("remembers a failure briefly, and logs why", function()
      serve(SETTINGS:format "failure_s = 60")
      local unavailable = '{"error":"unavailable"}\n'
      assert.same({ 502, "MISS", unavailable }, { ask "/machines/mch_refused" })
      assert.same({ 502, "HIT", unavailable }, { ask "/machines/mch_refused" })
      assert.equal(1, count_fetches "mch_refused")
      assert.truthy(log():find("ClerkErrors: get: no (403 forbidden)", 1, true))
    end)

    it("serves what is stale while it is fetched, and then what is new", function()
      serve(SETTINGS:format "fresh_s = 0.1")
      local _, _, first = ask "/machines/mch_slow"
      local last_stale
      wait_until("something new", function()
        local status, state, body = ask "/machines/mch_slow"
        assert.equal(200, status)
        assert.not_equal("MISS", state)
        last_stale = state == "STALE" and body == first or last_stale
        return body ~= first
      end)
      assert.is_true(last_stale)
    end)

    it("serves what is stale while the API is down", function()
      serve(SETTINGS:format "fresh_s = 0.1, deadline_ms = 1500")
      local _, _, first = ask "/machines/mch_1"
      api:stop()
      wait_until("a failure", function()
        local status, _, body = ask "/machines/mch_1"
        assert.same({ 200, first }, { status, body })
        return log():find "connect_failed"
      end)
      assert.same({ 200, "STALE", first }, { ask "/machines/mch_1" })
    end)

    it("does not ask all the time for what is stale and cannot be had", function()
      serve(SETTINGS:format "fresh_s = 0.1, failure_s = 60")
      ask "/machines/mch_once"
      wait_until("a refusal", function()
        ask "/machines/mch_once"
        return log():find "forbidden"
      end)
      for _ = 1, 5 do
        assert.equal("STALE", select(2, ask "/machines/mch_once"))
      end
      assert.equal(2, count_fetches "mch_once")
    end)

    it("makes room when there is none", function()
      serve "s/machines 10m/machines 64k/"
      assert.same({ ["200 MISS"] = 500 }, ask_at_once(1, "/machines/mch_[1-500]"))
      assert.equal("HIT", select(2, ask "/machines/mch_500"))
      assert.equal("MISS", select(2, ask "/machines/mch_1"))
      assert.equal("", log())
    end)
  end)

  describe("for TLS", function()
    local dns

    setup(function()
      local made = certificates.new { hosts = { "api.test" } }
      prepare { tls = made, host = "api.test" }
      dns = process.start "luajit spec/support/dns_server.lua"
      files.write(directory .. "/ca.pem", made.ca)
    end)

    teardown(function()
      dns:stop()
      clean_up()
    end)

    it("uses the configured resolver and CA file", function()
      serve(("s/include conf.d.*;/& resolver %s ipv6=off;/; s,/etc/ssl.*;,%s/ca.pem;,")
        :format(dns:read_line():match "[%d.:]+$", directory))
      assert.equal(200, (ask "/machines/mch_1"), log())
    end)
  end)

  it("does not start with an option that it does not know, and says so", function()
    prepare()
    start("CLERK_SECRET_KEY=" .. KEY, SETTINGS:format "fresh_sec = 1")
    assert.not_equal(0, (running:wait()))
    assert.truthy(log():find('unknown option "fresh_sec"', 1, true))
    clean_up()
  end)

  it("does not start without a key, and says so", function()
    prepare()
    start "-u CLERK_SECRET_KEY"
    assert.not_equal(0, (running:wait()))
    assert.truthy(log():find("CLERK_SECRET_KEY", 1, true))
    clean_up()
  end)

  it("is shown by one command", function()
    local status, output, problem = process.run "examples/openresty/directory/run"
    assert.same({ 0, "" }, { status, problem })
    for _, shown in ipairs { "200, .*: MISS", "200, .*: HIT", "404, .*: MISS", "free_bytes" } do
      assert.truthy(output:find(shown), shown)
    end
    assert.falsy(output:find "[as]k_")
    process.none_left()
  end)
end)

describe("examples/openresty/gate", function()
  it("is shown by one command", function()
    local status, output, problem = process.run "examples/openresty/gate/run"
    assert.same({ 0, "" }, { status, problem })
    local machine = output:match "\nHello, (mch_%w+)\nstatus 200\n"
    for _, shown in ipairs {
      "GET / 200 caller=" .. machine, "GET /refunds/1 403 caller=\n", "GET / 403 caller=\n",
      "GET / 401 caller=\n", "GET /reports/1 200 caller=\n", "insufficient_scope", "invalid_token",
    } do
      assert.truthy(output:find(shown, 1, true), shown)
    end
    assert.falsy(output:find "mch_me\nstatus")
    assert.falsy(output:find "[as]k_")
    process.none_left()
  end)

  it("does not start without the ID of its own machine, and says so", function()
    local directory = select(2, process.run "mktemp -d"):match "%S+"
    local running = process.start(SERVE:format("CLERK_SECRET_KEY=" .. KEY,
      process.quote(package.path), process.quote(package.cpath), "gate", directory,
      process.quote "s/access_log .*;/access_log off;/"), { errors = directory .. "/errors" })
    assert.not_equal(0, (running:wait()))
    assert.truthy(files.read(directory .. "/errors"):find("machine_id is missing", 1, true))
    os.execute("rm -r " .. directory)
  end)
end)
