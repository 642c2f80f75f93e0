-- The default transport over real sockets, with servers that behave well and servers that do not.

local core = require "clerk.machines.core"
local descriptors = require "support.descriptors"
local files = require "support.files"
local libcurl = require "clerk.machines.loop.transport"
local machines = require "clerk.machines"
local posix = require "support.posix"
local process = require "support.process"
local server = require "support.server"
local success = require "support.success"

local KEY = "sk_test_marked_key"
local MACHINE = '{"object":"machine","id":"mch_1"}'
local QUICK = { backoff = { initial_interval = 1, max_interval = 5, max_elapsed_time = 5000 } }
local ANSWER_ALL = "connection:answer_all(200, [[" .. MACHINE .. "]])"

local function new_client(options)
  options.secret_key = options.secret_key or KEY
  if options.retries == nil then options.retries = QUICK end
  return machines.new(options)
end

local function client_of(web, options)
  options = options or {}
  options.base_url = options.base_url or web:url "/v1"
  return new_client(options)
end

local function failure_of(method, ...)
  local ok, problem = pcall(method, ...)
  assert.is_false(ok, "no error was raised")
  assert.is_true(machines.is_error(problem), tostring(problem))
  return problem
end

-- How many attempts a call that keeps failing makes, counted up to three.
local function count_attempts(options, call)
  local attempts = 0
  options.secret_key = function()
    attempts = attempts + 1
    if attempts == 3 then error "enough" end
    return KEY
  end
  assert.is_false(pcall(call, new_client(options)))
  return attempts
end

local function create(client)
  return client:create { name = "a" }
end

local function get(client)
  return client:get "mch_1"
end

-- A POST fails so that it was certainly not sent, and therefore is repeated.
local function assert_unsent_and_repeated(options, code, words)
  options.retries = false
  local failure = failure_of(create, new_client(options))
  assert.equal(code, failure.code)
  assert.is_false(failure.maybe_applied)
  assert.matches(words, failure.message, 1, true)
  options.retries = QUICK
  assert.equal(3, count_attempts(options, create))
end

local function gzip(command)
  return process.output_of(command .. " | gzip -c")
end

describe("The libcurl transport", function()
  after_each(server.stop_all)

  describe("sends over HTTP/1.1", function()
    local function call_all(web)
      local client = client_of(web)
      client:list { limit = 5, offset = 0, query = "a b", order_by = "+name" }
      client:create { name = "é", scoped_machines = { "mch_2" }, default_token_ttl = 60 }
      client:get "mch_1"
      client:update("mch_1", { name = "b" })
      client:delete "mch_1"
      client:get_secret_key "mch_1"
      client:rotate_secret_key("mch_1", { previous_token_ttl = 0 })
      client:create_scope("mch_1", { to_machine_id = "mch_2" })
      client:delete_scope("mch_1", "mch_2")
    end

    local expected = {
      { "GET /v1/machines?limit=5&offset=0&query=a%20b&order_by=%2Bname HTTP/1.1", "" },
      {
        "POST /v1/machines HTTP/1.1",
        '{"name":"é","scoped_machines":["mch_2"],"default_token_ttl":60}',
      },
      { "GET /v1/machines/mch_1 HTTP/1.1", "" },
      { "PATCH /v1/machines/mch_1 HTTP/1.1", '{"name":"b"}' },
      { "DELETE /v1/machines/mch_1 HTTP/1.1", "" },
      { "GET /v1/machines/mch_1/secret_key HTTP/1.1", "" },
      { "POST /v1/machines/mch_1/secret_key/rotate HTTP/1.1", '{"previous_token_ttl":0}' },
      { "POST /v1/machines/mch_1/scopes HTTP/1.1", '{"to_machine_id":"mch_2"}' },
      { "DELETE /v1/machines/mch_1/scopes/mch_2 HTTP/1.1", "" },
    }

    local requests, host

    before_each(function()
      local web = server.start [[
        for request in connection:requests() do
          connection:answer(200, success())
        end
      ]]
      call_all(web)
      requests, host = web:requests(), "127.0.0.1:" .. web.port
    end)

    it("each operation's request line and body", function()
      local seen = {}
      for i, request in ipairs(requests) do seen[i] = { request.line, request.body } end
      assert.same(expected, seen)
    end)

    it("only the documented headers, each once", function()
      for _, request in ipairs(requests) do
        local headers = {
          host = host,
          authorization = "Bearer " .. KEY,
          accept = "application/json",
          ["accept-encoding"] = request.headers["accept-encoding"],
          ["clerk-api-version"] = "2026-05-12",
          ["user-agent"] = request.headers["user-agent"],
        }
        if request.body ~= "" then
          headers["content-type"] = "application/json"
          headers["content-length"] = tostring(#request.body)
        end
        assert.same(headers, request.headers)
        local names = 0
        for _ in pairs(headers) do names = names + 1 end
        local _, lines = request.bytes:match "^.-\r\n(.-\r\n)\r\n":gsub("\r\n", "")
        assert.equal(names, lines)
      end
    end)

    it("the encodings that it can unpack, and the user agent", function()
      for _, request in ipairs(requests) do
        assert.matches("^gzip, deflate$", request.headers["accept-encoding"])
        assert.matches("^clerk%-machines/%d+%.%d+%.%d+", request.headers["user-agent"])
      end
    end)
  end)

  describe("keeps connections", function()
    it("and needs one for 200 calls", function()
      local web = server.start(ANSWER_ALL)
      local client = client_of(web)
      for i = 1, 200 do client:get("mch_" .. i) end
      assert.equal(1, web:connections())
      assert.equal(200, #web:requests())
    end)

    it("except those that the server wants to close", function()
      local web = server.start [[
        connection:read_request()
        connection:answer(200, success(), "Connection: close")
        connection:hang()
      ]]
      local client = client_of(web)
      get(client)
      get(client)
      assert.equal(2, web:connections())
    end)

    it("and sends a POST once when the server has closed one in between", function()
      local web = server.start [[
        connection:read_request()
        connection:answer(200, success())
      ]]
      local client = client_of(web)
      create(client)
      web:wait_until_closed(1)
      local _, meta = create(client)
      assert.equal(1, meta.attempts)
      assert.equal(2, #web:requests())
    end)

    for _, ending in ipairs { "close", "reset" } do
      describe("and when the server answers the second request on one with a " .. ending, function()
        local web, client

        before_each(function()
          web = server.start([[
            connection:read_request()
            connection:answer(200, success())
            if connection.number == 1 then
              connection:read_request()
              connection:]] .. ending .. [[()
            else
              connection:answer_all(200, success())
            end
          ]])
          client = client_of(web)
          get(client)
        end)

        it("repeats a GET on another connection", function()
          local _, meta = client:get "mch_2"
          assert.equal(2, meta.attempts)
          assert.equal(3, #web:requests())
        end)

        it("repeats a PATCH on another connection", function()
          local _, meta = client:update("mch_1", { name = "b" })
          assert.equal(2, meta.attempts)
          assert.equal(3, #web:requests())
        end)

        it("does not repeat a POST, which arrives exactly once", function()
          local failure = failure_of(create, client)
          assert.equal("TransportError", failure.type)
          assert.equal("connection_lost", failure.code)
          assert.is_true(failure.maybe_applied)
          assert.equal(1, failure.attempts)
          assert.equal(2, #web:requests())
        end)

        it("repeats a POST when repeat_unsafe is set", function()
          local retries = { repeat_unsafe = true, backoff = QUICK.backoff }
          local _, meta = client:create({ name = "a" }, { retries = retries })
          assert.equal(2, meta.attempts)
          assert.equal(3, #web:requests())
        end)

        it("repeats nothing when retries are off", function()
          local failure = failure_of(client.get, client, "mch_2", { retries = false })
          assert.equal("connection_lost", failure.code)
          assert.equal(1, failure.attempts)
          assert.equal(2, #web:requests())
        end)
      end)
    end

    it("and does not take bytes after one response for the next one", function()
      local web = server.start [[
        local forged = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"
        for request in connection:requests() do
          connection:write("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n",
            ('{"id":"%s"}'):format(request.target:match "mch_."), forged, '{"id":"forged"}')
        end
      ]]
      local client = client_of(web)
      assert.equal("mch_1", client:get "mch_1".id)
      assert.equal("mch_2", client:get "mch_2".id)
    end)

    it("and does not take a late response for the next one", function()
      local web = server.start [[
        for request in connection:requests() do
          if connection.number == 1 then connection:sleep(400) end
          connection:answer(200, ('{"id":"%s"}'):format(request.target:match "mch_."))
        end
      ]]
      local client = client_of(web, { retries = false })
      failure_of(client.get, client, "mch_1", { timeout_ms = 100 })
      assert.equal("mch_2", client:get "mch_2".id)
    end)
  end)

  describe("unpacks", function()
    local function answer_packed(encoding, bytes)
      return server.start([[
        connection:read_request()
        connection:answer(200, values.bytes, "Content-Encoding: ]] .. encoding .. [[")
      ]], { values = { bytes = bytes } })
    end

    -- A zlib stream of one stored block.
    local function deflate(bytes)
      local a, b = 1, 0
      for i = 1, #bytes do
        a = (a + bytes:byte(i)) % 65521
        b = (b + a) % 65521
      end
      local length, check = #bytes, 65535 - #bytes
      return string.char(0x78, 0x01, 1, length % 256, math.floor(length / 256), check % 256,
        math.floor(check / 256)) .. bytes .. string.char(math.floor(b / 256), b % 256,
        math.floor(a / 256), a % 256)
    end

    it("gzip", function()
      local web = answer_packed("gzip", gzip("printf %s '" .. MACHINE .. "'"))
      assert.equal("mch_1", get(client_of(web)).id)
    end)

    it("deflate", function()
      local web = answer_packed("deflate", deflate(MACHINE))
      assert.equal("mch_1", get(client_of(web)).id)
    end)

    it("no broken data", function()
      local web = answer_packed("gzip", gzip "printf %s {}":sub(1, 12) .. ("x"):rep(20))
      local failure = failure_of(get, client_of(web))
      assert.equal("bad_response", failure.code)
      assert.equal(1, failure.attempts)
    end)

    local tails = {
      ["zeros"] = ("\0"):rep(16),
      ["text"] = "more",
      ["a second, empty member"] = gzip "printf ''",
      ["a second member"] = gzip "printf x",
    }
    for what, tail in pairs(tails) do
      it("no gzip data that is followed by " .. what, function()
        local web = answer_packed("gzip", gzip("printf %s '" .. MACHINE .. "'") .. tail)
        local failure = failure_of(get, client_of(web))
        assert.equal("bad_response", failure.code)
        assert.is_nil(failure.message:find("larger", 1, true))
        assert.equal(1, failure.attempts)
      end)
    end

    it("no encoding that it did not offer", function()
      local web = answer_packed("x-unheard-of", MACHINE)
      assert.equal("bad_response", failure_of(get, client_of(web)).code)
    end)
  end)

  describe("ends a transfer at once, with little memory,", function()
    local LIMIT = 65536
    local PEAK_KILOBYTES = 8192

    local function kilobytes(name)
      return tonumber(files.read "/proc/self/status":match(name .. ":%s*(%d+)"))
    end

    -- The peak memory of `work`, measured from now on and not from the process's start.
    local function growth_of(work)
      local file = assert(io.open("/proc/self/clear_refs", "w"))
      file:write "5"
      assert(file:close())
      local before = kilobytes "VmRSS"
      work()
      return kilobytes "VmHWM" - before
    end

    local function assert_too_large(script, values)
      local web = server.start(script, { values = values })
      local client = client_of(web, { max_response_bytes = LIMIT, timeout_ms = 5000 })
      local failure
      local growth = growth_of(function() failure = failure_of(get, client) end)
      assert.is_true(growth < PEAK_KILOBYTES, growth)
      assert.equal("response_too_large", failure.code)
      assert.equal("TransportError", failure.type)
      assert.equal(1, #web:requests())
    end

    it("when an endless body passes the limit", function()
      assert_too_large [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\n\r\n"
        while connection:write(("x"):rep(8192)) do end
      ]]
    end)

    it("when an endless chunked body passes the limit", function()
      assert_too_large [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while connection:write("2000\r\n", ("x"):rep(8192), "\r\n") do end
      ]]
    end)

    it("when Content-Length announces more than the limit", function()
      assert_too_large [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n"
        connection:hang()
      ]]
    end)

    it("when a small body unpacks to a large one", function()
      assert_too_large([[
        connection:read_request()
        connection:answer(200, values.bomb, "Content-Encoding: gzip")
      ]], { bomb = gzip "head -c 100663296 /dev/zero" })
    end)

    it("when the headers never end", function()
      assert_too_large [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\n"
        while connection:write("X-Flood: ", ("x"):rep(1000), "\r\n") do end
      ]]
    end)

    it("when a header line never ends", function()
      assert_too_large [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\nX-Flood: "
        while connection:write(("x"):rep(8192)) do end
      ]]
    end)

    it("when 1XX responses never end", function()
      assert_too_large [[
        connection:read_request()
        while connection:write "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" do end
      ]]
    end)

    it("when the trailer never ends", function()
      assert_too_large [[
        connection:read_request()
        connection:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        while connection:write("X-Flood: ", ("x"):rep(1000), "\r\n") do end
      ]]
    end)

    it("when the body is one byte too long, but not when it fits exactly", function()
      local web = server.start(ANSWER_ALL)
      local client = client_of(web, { max_response_bytes = #MACHINE })
      assert.equal("mch_1", get(client).id)
      client = client_of(web, { max_response_bytes = #MACHINE - 1 })
      assert.equal("response_too_large", failure_of(get, client).code)
    end)

    it("and reports that a change may have been applied", function()
      local web = server.start(ANSWER_ALL)
      local failure = failure_of(create, client_of(web, { max_response_bytes = 10 }))
      assert.equal("response_too_large", failure.code)
      assert.is_true(failure.maybe_applied)
      assert.equal(1, #web:requests())
    end)
  end)

  describe("waits no longer than its timeout", function()
    local HANG = "connection:read_request() connection:hang()"
    local HEAD = [["HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]]
    local scripts = {
      ["a server that hangs"] = HANG,
      ["one that hangs after the head"] = [[
        connection:read_request()
        connection:write(]] .. HEAD .. [[)
        connection:hang()
      ]],
      ["one that drips its head"] = [[
        connection:read_request()
        connection:drip(]] .. HEAD .. [[ .. (" "):rep(9999), 10)
      ]],
      ["one that drips its body"] = [[
        connection:read_request()
        connection:write(]] .. HEAD .. [[)
        connection:drip((" "):rep(9999), 10)
      ]],
    }

    for name, script in pairs(scripts) do
      it("for one attempt, with " .. name, function()
        local web = server.start(script)
        local failure = failure_of(get, client_of(web, { timeout_ms = 200, retries = false }))
        assert.equal("TransportError", failure.type)
        assert.equal("timeout", failure.code)
        web:wait_until_closed(1)
        assert.equal(1, #web:requests())
      end)

      it("for the whole call, with " .. name, function()
        local web = server.start(script)
        local client = client_of(web, { timeout_ms = 3600000, deadline_ms = 300 })
        assert.equal("timeout", failure_of(get, client).code)
      end)
    end

    it("and repeats a GET that took too long", function()
      local web = server.start [[
        if connection.number > 1 then return connection:answer_all(200, success()) end
        connection:read_request()
        connection:hang()
      ]]
      local client = client_of(web)
      local _, meta = client:get("mch_1", { timeout_ms = 1000 })
      assert.equal(2, meta.attempts)
    end)

    it("and does not repeat a POST that took too long", function()
      local web = server.start(HANG)
      local failure = failure_of(create, client_of(web, { timeout_ms = 200 }))
      assert.equal("timeout", failure.code)
      assert.is_true(failure.maybe_applied)
      web:wait_until_closed(1)
      assert.equal(1, #web:requests())
    end)

    it("for a connection, and repeats even a POST because nothing was sent", function()
      local web = server.start("", { deaf = true })
      local options = { base_url = web:url "/v1", connect_timeout_ms = 100, retries = false }
      local failure = failure_of(create, new_client(options))
      assert.equal("timeout", failure.code)
      assert.is_false(failure.maybe_applied)
      options.retries = QUICK
      assert.equal(3, count_attempts(options, create))
    end)
  end)

  describe("reports an unusable response:", function()
    local HTML = "<html>\r\n<h1>502 Bad Gateway</h1>"
    local UNTIL_CLOSE = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    local NO_CHUNKS = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "0\r\n\r\n"

    local function list(client)
      return client:list()
    end

    local function nested(depth)
      return '{"a":' .. ("["):rep(depth - 1) .. ("]"):rep(depth - 1) .. "}"
    end

    local function nested_errors(depth)
      return '{"errors":[{"message":"m","code":"deep","meta":' .. nested(depth - 3) .. "}]}"
    end

    -- what, status or head, body, code, calls (else get and create)
    local cases = {
      { "no body", 200, "", "invalid_json" },
      { "no body to the connection's end", UNTIL_CLOSE, "", "invalid_json" },
      { "no chunks", NO_CHUNKS, "", "invalid_json" },
      { "blanks", 200, " \r\n ", "invalid_json" },
      { "HTML", 200, HTML, "invalid_json" },
      { "half of a machine", 200, MACHINE:sub(1, -3), "invalid_json" },
      { "two machines", 200, MACHINE .. MACHINE, "invalid_json" },
      { "513 levels", 200, nested(513), "invalid_json", { get, create, list } },
      { "100000 levels", 200, nested(100000), "invalid_json" },
      { "100000 levels without an end", 200, ("["):rep(100000), "invalid_json" },
      { "an array", 200, "[" .. MACHINE .. "]", "unexpected_shape" },
      { "a string", 200, '"mch_1"', "unexpected_shape", { get, create, list } },
      { "a number", 200, "1", "unexpected_shape" },
      { "true", 200, "true", "unexpected_shape" },
      { "null", 200, "null", "unexpected_shape", { get, create, list } },
      { "an array for a list", 200, '[{"data":[]}]', "unexpected_shape", { list } },
      { "a list without data", 200, '{"total_count":0}', "unexpected_shape", { list } },
      { "a list of an object", 200, '{"data":{}}', "unexpected_shape", { list } },
      { "a list of a string", 200, '{"data":"[]"}', "unexpected_shape", { list } },
      { "a list of null", 200, '{"data":null}', "unexpected_shape", { list } },
      { "a 404 without a body", 404, "", "unexpected_status" },
      { "a 404 of HTML", 404, HTML, "unexpected_status" },
      { "a 404 of an array", 404, '[{"errors":[]}]', "unexpected_status" },
      { "a 404 of a string", 404, '"errors"', "unexpected_status" },
      { "a 404 whose errors are a string", 404, '{"errors":"no"}', "unexpected_status" },
      { "a 404 of 513 levels", 404, nested_errors(513), "unexpected_status" },
      { "a 500 without a body", 500, "", "unexpected_status", { create } },
      { "a 502 of HTML", 502, HTML, "unexpected_status", { create } },
      { "a 503 of 513 levels", 503, nested_errors(513), "unexpected_status", { create } },
    }

    local function answer_once(head, body)
      if type(head) == "number" then
        head = ("HTTP/1.1 %d Scripted\r\nConnection: close\r\nContent-Length: %d\r\n\r\n")
          :format(head, #body)
      end
      return server.start([[
        connection:read_request()
        connection:write(values.head, values.body)
      ]], { values = { head = head, body = body } })
    end

    -- Where a success would contain a secret, the error does not show its body.
    local function assert_bears(failure, status, body)
      assert.equal("SDKError", failure.type)
      assert.equal(status, failure.status)
      assert.equal(1, failure.attempts)
      assert.is_nil(failure.errors)
      assert.is_nil(failure.retry_after)
      local is_change = failure.operation == "create"
      assert.equal(not (is_change and status == 200) and body or nil, failure.body)
      if is_change then assert.equal(status ~= 404, failure.maybe_applied) end
    end

    for _, case in ipairs(cases) do
      local what, head, body, code = case[1], case[2], case[3], case[4]
      it(what, function()
        local web = answer_once(head, body)
        local calls = case[5] or { get, create }
        for _, call in ipairs(calls) do
          local failure = failure_of(call, client_of(web))
          assert.equal(code, failure.code)
          assert_bears(failure, tonumber(head) or 200, body)
        end
        assert.equal(#calls, #web:requests())
      end)
    end

    it("but not one of 512 levels of JSON", function()
      local deep = nested(512):gsub("^{", '{"id":"mch_1",')
      assert.is_table(get(client_of(answer_once(200, deep))).a)
      local failure = failure_of(get, client_of(answer_once(404, nested_errors(512))))
      assert.equal("deep", failure.code)
    end)
  end)

  describe("follows Retry-After in", function()
    local DATE = "Date: Sun, 06 Nov 1994 08:49:07 GMT"

    -- what, headers, seconds (nil: as if the header were absent)
    local cases = {
      { "nothing", {} },
      { "0", { "Retry-After: 0" }, 0 },
      { "seconds", { "Retry-After: 20" }, 20 },
      { "seconds in blanks and another case", { "RETRY-AFTER: \t 20 " }, 20 },
      { "a date", { DATE, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT" }, 30 },
      { "a date of the old form", { "Retry-After: Sunday, 06-Nov-94 08:49:37 GMT", DATE }, 30 },
      { "a date gone by", { DATE, "Retry-After: Sun, 06 Nov 1994 08:48:37 GMT" }, 0 },
      { "a date without a Date", { "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT" } },
      { "an empty value", { "Retry-After:" } },
      { "nonsense", { "Retry-After: soon" } },
      { "a negative number", { "Retry-After: -20" } },
      { "a fraction", { "Retry-After: 20.5" } },
      { "several", { "Retry-After: 20", "Retry-After: 30" } },
      { "the same twice", { "Retry-After: 20", "Retry-After: 20" } },
    }

    -- After a 429 the other calls pause for a minute, of which a part is over when they begin.
    local LESS_THAN_A_PAUSE_MS = 55000

    -- what, value, seconds at least
    local too_long = {
      { "more than max_elapsed_time", "61", 61 },
      { "much more", "9999999999", 9999999999 },
      { "more than numbers hold", ("9"):rep(30), 2 ^ 31 },
    }

    -- Answers like this in every first, third … response; the others are good.
    local function start_busy(status, headers)
      local body = '{"errors":[{"message":"Come back later","code":"busy"}]}'
      local lines = { ("HTTP/1.1 %d Busy"):format(status), "Content-Length: " .. #body }
      for _, line in ipairs(headers) do table.insert(lines, line) end
      return server.start([[
        for _ in connection:requests() do
          shared.is_busy = not shared.is_busy
          connection:write(shared.is_busy and values.busy or values.good)
        end
      ]], { values = {
        busy = table.concat(lines, "\r\n") .. "\r\n\r\n" .. body,
        good = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(#success()) .. success(),
      } })
    end

    -- Sends over real connections, and does not really sleep.
    local function new_sleepless_transport()
      local transport, slept = libcurl.new { max_connections = 1 }, 0
      return {
        send = function(_, request) return transport:send(request) end,
        sleep = function(_, ms) slept = slept + ms end,
        now = function() return core.now() + slept end,
      }
    end

    -- A client that waits without taking time, and a function that returns how many ms it has
    -- waited since the function was last called.
    local function new_sleeper(web, max_elapsed_ms)
      local waited = 0
      local client = client_of(web, {
        transport = new_sleepless_transport(),
        retries = {
          backoff = { initial_interval = 10000, max_elapsed_time = max_elapsed_ms or 60000 },
        },
        on_event = function(event) waited = waited + (event.wait_ms or 0) end,
      })
      return client, function()
        local ms = waited
        waited = 0
        return ms
      end
    end

    -- Minus the time that has really passed, and up to `spread_ms` more.
    local function assert_waited(seconds, ms, spread_ms)
      local least, most = 5000, 10000 -- the backoff's, which is the least
      if (seconds or 0) > 0 then least, most = seconds * 1000, seconds * 1000 end
      assert.is_true(ms <= most + (spread_ms or 0) and ms > least - 1000, ms)
    end

    local function assert_busy(status, seconds, failure)
      assert.equal("ClerkErrors", failure.type)
      assert.equal("busy", failure.code)
      assert.equal(status, failure.status)
      assert.equal(1, failure.attempts)
      assert.equal(seconds, failure.retry_after)
    end

    local function assert_attempts(count, _, meta)
      assert.equal(count, meta.attempts)
    end

    -- A get that waits, and one that may not.
    local function meet_busy(status, headers, seconds)
      local web = start_busy(status, headers)
      local client, waited = new_sleeper(web)
      assert_attempts(2, get(client))
      assert_waited(seconds, waited())
      assert_busy(status, seconds, failure_of(client.get, client, "mch_1", { retries = false }))
      return web, client, waited
    end

    for _, case in ipairs(cases) do
      local what, headers, seconds = case[1], case[2], case[3]

      it(("a 429 with %s, for the whole client and for a POST"):format(what), function()
        local web, client, waited = meet_busy(429, headers, seconds)
        assert.equal(0, waited())
        assert_attempts(1, get(client))
        assert_waited(seconds, waited(), 1000)
        assert_attempts(2, create(client))
        assert_waited(seconds, waited())
        assert.equal(6, #web:requests())
      end)

      it(("a 503 with %s, only for that call and not for a POST"):format(what), function()
        local web, client, waited = meet_busy(503, headers, seconds)
        assert_attempts(1, get(client))
        local failure = failure_of(create, client)
        assert_busy(503, seconds, failure)
        assert.is_true(failure.maybe_applied)
        assert.equal(0, waited())
        assert.equal(5, #web:requests())
      end)
    end

    for _, case in ipairs(too_long) do
      local what, value, seconds = case[1], case[2], case[3]
      local headers = { "Retry-After: " .. value }

      local function assert_too_long(status, client)
        local failure = failure_of(get, client)
        assert_busy(status, failure.retry_after, failure)
        assert.is_true(failure.retry_after >= seconds, failure.retry_after)
      end

      it(("a 429 with %s, and nothing more is sent"):format(what), function()
        local web = start_busy(429, headers)
        local client, waited = new_sleeper(web, LESS_THAN_A_PAUSE_MS)
        assert_too_long(429, client)
        local failure = failure_of(create, client)
        assert.equal("rate_limited", failure.code)
        assert.equal(0, failure.attempts)
        assert.is_false(failure.maybe_applied)
        assert.is_true(failure.retry_after <= 60 and failure.retry_after > 58)
        assert.equal(0, waited())
        assert.equal(1, #web:requests())
      end)

      it(("a 503 with %s, and another call is not held up"):format(what), function()
        local web = start_busy(503, headers)
        local client, waited = new_sleeper(web, LESS_THAN_A_PAUSE_MS)
        assert_too_long(503, client)
        assert_attempts(1, create(client))
        assert.equal(0, waited())
        assert.equal(2, #web:requests())
      end)
    end
  end)

  describe("says that it cannot connect", function()
    it("when the port is closed, and repeats even a POST because nothing was sent", function()
      local web = server.start(ANSWER_ALL)
      local url = web:url "/v1"
      web:stop()
      local failure = failure_of(create, new_client { base_url = url, retries = false })
      assert.equal("TransportError", failure.type)
      assert.equal("connect_failed", failure.code)
      assert.is_false(failure.maybe_applied)
      assert.matches("127.0.0.1", failure.message, 1, true)
      assert.equal(3, count_attempts({ base_url = url }, create))
    end)

    it("when the host's name is unknown, and repeats even a POST", function()
      local options = { base_url = "http://machines.invalid/v1", allow_http = true }
      assert_unsent_and_repeated(options, "dns_failed", "machines.invalid")
    end)
  end)

  describe("reports a lost connection:", function()
    local SENT = "connection:read_request() "
    local cases = {
      ["closed before the answer"] = SENT,
      ["reset before the answer"] = SENT .. "connection:reset()",
      ["closed inside the head"] = SENT .. [[connection:write "HTTP/1.1 200 OK\r\nContent-"]],
      ["reset inside the head"] = SENT .. [[
        connection:write "HTTP/1.1 200 OK\r\nContent-"
        connection:reset()
      ]],
      ["closed after the head"] = SENT .. [[
        connection:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
      ]],
      ["reset after the head"] = SENT .. [[
        connection:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        connection:reset()
      ]],
      ["closed inside the body"] = SENT .. [[
        connection:write "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}"
      ]],
      ["closed inside a chunk"] = SENT .. [[
        connection:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}"
      ]],
      ["closed before the last chunk"] = SENT .. [[
        connection:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
      ]],
    }

    for name, script in pairs(cases) do
      it(name .. ", and does not repeat a POST", function()
        local web = server.start(script)
        local failure = failure_of(create, client_of(web))
        assert.equal("TransportError", failure.type)
        assert.equal("connection_lost", failure.code)
        assert.is_true(failure.maybe_applied)
        assert.equal(1, failure.attempts)
        assert.equal(1, #web:requests())
      end)

      it(name .. ", and repeats a GET", function()
        local web = server.start([[
          if connection.number > 1 then return connection:answer_all(200, success()) end
        ]] .. script)
        local _, meta = get(client_of(web))
        assert.equal(2, meta.attempts)
        assert.equal(2, #web:requests())
      end)
    end

    it("reset while sending, without dying of SIGPIPE", function()
      posix.restore_sigpipe()
      local web = server.start [[
        connection:read(10000)
        connection:reset()
      ]]
      local client = client_of(web, { check_bounds = false })
      local failure = failure_of(client.create, client, { name = ("x"):rep(2 ^ 23) })
      assert.equal("connection_lost", failure.code)
      assert.is_true(failure.maybe_applied)
      assert.equal(1, web:connections())
    end)
  end)

  describe("refuses as invalid HTTP", function()
    local cases = {
      ["garbage"] = "SSH-2.0-OpenSSH_9.2\r\nHello\r\n\r\n",
      ["HTML without a head"] = "<html><body>It works</body></html>",
      ["a status that is no number"] = "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}",
      ["a header without a colon"] = "HTTP/1.1 200 OK\r\ngarbage\r\nContent-Length: 2\r\n\r\n{}",
      ["NUL in the head"] = "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\n{}",
      ["a nonsensical length"] = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
      ["a negative length"] = "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
      ["a nonsensical chunk"] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    }
    for _, lengths in ipairs { "2x", "2,", ",2", "2 2", "2, 3", "2,2,4", "+2", "0x2", "2.0", "2e0",
      "", "2;", "2\r\nContent-Length: 3", "3\r\nContent-Length: 2", "3\r\ncontent-length:2",
      "2\r\nX-A: 1\r\nContent-Length: two", "2\r\n 3" } do
      cases[("lengths of %q"):format(lengths)] =
        ("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}"):format(lengths)
    end
    cases["a length and chunks"] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    cases["a wrong length with chunks"] = "HTTP/1.1 200 OK\r\nContent-Length: x\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    local function failure_after(bytes)
      local web = server.start([[
        connection:read_request()
        connection:write(values.bytes)
      ]], { values = { bytes = bytes } })
      local failure = failure_of(create, client_of(web))
      assert.equal("TransportError", failure.type)
      assert.is_true(failure.maybe_applied)
      assert.equal(1, #web:requests())
      return failure
    end

    for name, bytes in pairs(cases) do
      it(name, function() assert.equal("bad_response", failure_after(bytes).code) end)
    end

    it("but not a repeated equal Content-Length", function()
      for _, lengths in ipairs { "2, 2", "2,2 ,\t2", "2\r\nContent-Length: 2",
        "2\r\nX-Content-Length: 3", "2\r\nX-A: 1\r\n 3" } do
        local web = server.start([[
          connection:read_request()
          connection:write(values.bytes)
        ]], { values = { bytes = ("HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n"
          .. "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}"):format(lengths) } })
        local _, problem = pcall(get, client_of(web))
        assert.not_equal("bad_response", type(problem) == "table" and problem.code)
      end
    end)
  end)

  describe("follows no redirect", function()
    local elsewhere

    before_each(function() elsewhere = server.start(ANSWER_ALL) end)

    for _, status in ipairs { 300, 301, 302, 303, 307, 308 } do
      for name, call in pairs { GET = get, POST = create } do
        it(("with status %d after a %s"):format(status, name), function()
          local web = server.start([[
            local request = connection:read_request()
            connection:answer(]] .. status .. [[, "", "Location: " .. values.location)
          ]], { values = { location = elsewhere:url "/v1/machines/mch_1" } })
          local failure = failure_of(call, client_of(web))
          assert.equal("SDKError", failure.type)
          assert.equal("redirect_refused", failure.code)
          assert.equal(status, failure.status)
          assert.equal(elsewhere:url "/v1/machines/mch_1", failure.headers.location)
          assert.equal(1, #web:requests())
          assert.equal(0, elsewhere:connections())
        end)
      end
    end

    it("by a Refresh header", function()
      local web = server.start([[
        connection:read_request()
        connection:answer(200, success(), "Refresh: 0; url=" .. values.location)
      ]], { values = { location = elsewhere:url "/" } })
      get(client_of(web))
      assert.equal(0, elsewhere:connections())
    end)
  end)

  describe("reads the headers of a response:", function()
    local function answer_to(call, ...)
      local web = server.start([[
        connection:read_request()
        connection:write(values.bytes)
        connection:hang()
      ]], { values = { bytes = table.concat({ ... }, "\r\n") } })
      return call(client_of(web, { retries = false }))
    end

    local LENGTH = "Content-Length: " .. #MACHINE
    local SIZE = ("%x"):format(#MACHINE) -- of a chunk

    local function meta_of(...)
      local _, meta = answer_to(get, ...)
      return meta
    end

    it("many headers of one name, joined in linear time", function()
      local web = server.start [[
        for _ in connection:requests() do
          connection:write("HTTP/1.1 200 OK\r\n", ("a:bc\n"):rep(4900)) -- libcurl 8: 5000 at most
          connection:write("Content-Length: ", #success(), "\r\n\r\n", success())
        end
      ]]
      local client = client_of(web)
      local _, first = get(client)
      collectgarbage()
      collectgarbage "stop"
      local before = collectgarbage "count"
      local _, info = get(client)
      local made = collectgarbage "count" - before
      collectgarbage "restart"
      assert.equal(("bc, "):rep(4900), first.headers.a .. ", ")
      assert.equal(first.headers.a, info.headers.a)
      assert.is_true(made < 5000, made) -- 50 MB when each joins those before
    end)

    it("names in lower case, repeated headers joined", function()
      local meta = meta_of("HTTP/1.1 200 OK", "X-Request-ID: r1", "VARY: a", "Vary:b", "vary:  c ",
        LENGTH, "", MACHINE)
      assert.equal(200, meta.status)
      assert.equal("r1", meta.headers["x-request-id"])
      assert.equal("a, b, c", meta.headers.vary)
      assert.is_nil(meta.headers["X-Request-ID"])
    end)

    it("empty values, values with colons, and a missing reason", function()
      local meta = meta_of("HTTP/1.1 200", "X-Empty:", "X-Time: 12:30:01", LENGTH, "", MACHINE)
      assert.equal("", meta.headers["x-empty"])
      assert.equal("12:30:01", meta.headers["x-time"])
    end)

    it("a folded line belongs to the line before", function()
      local meta = meta_of("HTTP/1.1 200 OK", "X-Folded: a", " b: c", LENGTH, "", MACHINE)
      assert.matches("^a", meta.headers["x-folded"])
      for name in pairs(meta.headers) do assert.matches("^[%w-]+$", name) end
    end)

    it("nothing of the 1XX responses before the last", function()
      local meta = meta_of("HTTP/1.1 100 Continue", "X-Early: 1", "", "HTTP/1.1 103 Early Hints",
        "Link: </a>", "", "HTTP/1.1 200 OK", LENGTH, "", MACHINE)
      assert.equal(200, meta.status)
      assert.is_nil(meta.headers["x-early"])
      assert.is_nil(meta.headers.link)
    end)

    it("nothing of the trailer", function()
      local meta = meta_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Clerk-Trace-Id: true",
        "", SIZE, MACHINE, "0", "Clerk-Trace-Id: forged", "X-Trailer: 1", "", "")
      assert.equal("true", meta.headers["clerk-trace-id"])
      assert.is_nil(meta.headers["x-trailer"])
    end)

    it("no second response in the trailer", function()
      local meta = meta_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Clerk-Trace-Id: true",
        "", SIZE, MACHINE, "0", "HTTP/1.1: 200 Forged", "Clerk-Trace-Id: forged", "", "")
      assert.equal("true", meta.headers["clerk-trace-id"])
    end)

    it("an HTTP/1.0 response that ends with the connection", function()
      local web = server.start([[
        connection:read_request()
        connection:write("HTTP/1.0 200 OK\r\n\r\n", values.body)
      ]], { values = { body = MACHINE } })
      assert.equal("mch_1", get(client_of(web)).id)
    end)

    it("a 204 has no body, and is not a machine that was created", function()
      local failure = failure_of(answer_to, create, "HTTP/1.1 204 No Content", "", "")
      assert.equal("unexpected_shape", failure.code)
      assert.equal(204, failure.status)
      assert.is_true(failure.maybe_applied)
    end)

    it("a 204 is enough for a deletion", function()
      local result, info = answer_to(function(client)
        return client:delete "mch_1"
      end, "HTTP/1.1 204 No Content", "", "")
      assert.same({ {}, 204 }, { result, info.status })
    end)

    it("a 304 has no body, and is not a usable response", function()
      local failure = failure_of(answer_to, get, "HTTP/1.1 304 Not Modified", "Content-Length: 9",
        "", "")
      assert.equal("SDKError", failure.type)
      assert.equal(304, failure.status)
    end)

    it("a response counts even if it comes before the request is sent", function()
      local web = server.start [[
        local request = connection:read_request_head()
        connection:answer(413, '{"errors":[{"message":"m","code":"request_body_too_large"}]}')
        connection:hang()
      ]]
      local client = client_of(web, { check_bounds = false })
      local failure = failure_of(client.create, client, { name = ("x"):rep(2 ^ 23) })
      assert.equal("ClerkErrors", failure.type)
      assert.equal("request_body_too_large", failure.code)
      assert.is_false(failure.maybe_applied)
    end)
  end)

  describe("sends the path as it was built:", function()
    it("an ID with dots and slashes is one segment", function()
      local web = server.start(ANSWER_ALL)
      client_of(web):get "a/../b"
      assert.equal("GET /v1/machines/a%2F..%2Fb HTTP/1.1", web:requests()[1].line)
    end)

    it("an ID of dots is refused, and nothing is sent", function()
      local web = server.start(ANSWER_ALL)
      local client = client_of(web)
      assert.equal("ArgumentError", failure_of(client.get, client, "..").type)
      assert.equal("ArgumentError", failure_of(client.delete, client, ".").type)
      assert.equal(0, web:connections())
    end)
  end)

  describe("goes through a proxy", function()
    local variables = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy" }
    local proxy

    before_each(function()
      for _, name in ipairs(variables) do posix.setenv(name, nil) end
      proxy = server.start [[
        for request in connection:requests() do
          if request.method == "CONNECT" then return connection:answer(502, "no") end
          connection:answer(200, success(), "X-Proxy: 1")
        end
      ]]
    end)

    after_each(function()
      for _, name in ipairs(variables) do posix.setenv(name, nil) end
    end)

    it("that `proxy` names, over http", function()
      local _, meta = get(new_client {
        base_url = "http://machines.invalid/v1", allow_http = true, proxy = proxy:url(),
      })
      assert.equal("1", meta.headers["x-proxy"])
      local request = proxy:requests()[1]
      assert.equal("GET http://machines.invalid/v1/machines/mch_1 HTTP/1.1", request.line)
    end)

    it("that the environment names, for http to hosts elsewhere", function()
      posix.setenv("http_proxy", proxy:url())
      get(new_client { base_url = "http://machines.invalid/v1", allow_http = true })
      assert.equal(1, #proxy:requests())
    end)

    it("that the environment names, for https, and hides the key from it", function()
      posix.setenv("https_proxy", proxy:url())
      local failure = failure_of(create, new_client {
        base_url = "https://machines.invalid/v1", retries = false,
      })
      assert.equal("TransportError", failure.type)
      assert.equal("CONNECT machines.invalid:443 HTTP/1.1", proxy:requests()[1].line)
      assert.is_nil(proxy:everything():find(KEY, 1, true))
      assert.is_nil(proxy:everything():lower():find("clerk-api-version", 1, true))
    end)

    it("and knows that nothing was sent after a refused CONNECT", function()
      local options = { base_url = "https://machines.invalid/v1", proxy = proxy:url() }
      assert_unsent_and_repeated(options, "connect_failed", "502")
    end)

    for _, status in ipairs { 403, 407 } do
      it(("and does not retry after a %d to CONNECT"):format(status), function()
        local strict = server.start(([[
          for request in connection:requests() do connection:answer(%d, "no") end
        ]]):format(status))
        local failure = failure_of(create, new_client {
          base_url = "https://machines.invalid/v1",
          proxy = strict:url():gsub("://", "://user:hidden@"),
        })
        assert.equal("connect_failed", failure.code)
        assert.is_false(failure.maybe_applied)
        assert.equal(1, failure.attempts)
        assert.equal(1, #strict:requests())
        assert.matches(tostring(status), failure.message, 1, true)
      end)
    end

    it("and does not retry after a SOCKS proxy has rejected the user", function()
      local strict = server.start [[
        connection:read(3)
        connection:write "\5\2"
        connection:read(64)
        connection:note "asked"
        connection:write "\1\1"
      ]]
      local failure = failure_of(create, new_client {
        base_url = "https://machines.invalid/v1",
        proxy = ("socks5h://user:hidden@127.0.0.1:%d"):format(strict.port),
      })
      assert.equal("connect_failed", failure.code)
      assert.equal(1, failure.attempts)
      assert.equal(1, strict:connections())
    end)

    local malformed = {
      "http://user:Hunter2#x@127.0.0.1:3128", "htp://user:Hunter2@127.0.0.1:3128",
      "http://user:Hunter2@127.0.0.1:port", "http://user:Hunter2@", "ftp://Hunter2@127.0.0.1",
      "http://user:Hunter2@[::1:3128",
    }
    for _, url in ipairs(malformed) do
      for _, variable in ipairs { "https_proxy", "HTTPS_PROXY", "all_proxy" } do
        it(("and does not show the password of a malformed %s: %s"):format(variable,
          url:gsub("Hunter2", "…")), function()
          posix.setenv(variable, url)
          local failure = failure_of(get, new_client { base_url = "https://machines.invalid/v1" })
          assert.equal("TransportError", failure.type)
          assert.is_nil((tostring(failure) .. failure.message):find("Hunter2", 1, true))
          if url:find "^htp" then
            assert.equal(1, failure.attempts)
            assert.matches("https_proxy", failure.message, 1, true)
          end
        end)
      end
    end

    it("and knows that nothing was sent when the proxy hangs up on CONNECT", function()
      local rude = server.start "connection:read_request()"
      local failure = failure_of(create, new_client {
        base_url = "https://machines.invalid/v1", proxy = rude:url(), retries = false,
      })
      assert.equal("TransportError", failure.type)
      assert.is_false(failure.maybe_applied)
    end)

    it("and reports an unreachable proxy without its password", function()
      local url = proxy:url():gsub("://", "://user:hidden@")
      proxy:stop()
      local options = { base_url = "https://machines.invalid/v1", proxy = url, retries = false }
      local failure = failure_of(create, new_client(options))
      assert.equal("connect_failed", failure.code)
      assert.is_nil(tostring(failure):find("hidden", 1, true))
      assert.is_nil(failure.message:find("hidden", 1, true))
    end)

    it("but not to loopback over http when only the environment names it", function()
      for _, name in ipairs { "http_proxy", "all_proxy" } do posix.setenv(name, proxy:url()) end
      local web = server.start(ANSWER_ALL)
      get(client_of(web))
      get(client_of(web, { base_url = ("http://localhost:%d/v1"):format(web.port) }))
      assert.equal(2, #web:requests())
      assert.equal(0, proxy:connections())
    end)

    it("but not to hosts that no_proxy names", function()
      posix.setenv("https_proxy", proxy:url())
      posix.setenv("no_proxy", "machines.invalid")
      local failure = failure_of(get, new_client {
        base_url = "https://machines.invalid/v1", retries = false,
      })
      assert.equal("dns_failed", failure.code)
      assert.equal(0, proxy:connections())
    end)
  end)

  describe("leaves the process as it was:", function()
    local function sockets(listing)
      local found = {}
      for inode in listing:gmatch "socket:%[(%d+)%]" do found[inode] = true end
      return found
    end

    -- The inodes of sockets that are connected to a port, at this end.
    local function connected_to(port)
      local found = {}
      local row = ":%%s%%x+:%%x+%%s%%x+:%04X%%s01%%s%%S+%%s%%S+%%s%%S+%%s+%%d+%%s+%%d+%%s(%%d+)"
      for inode in files.read "/proc/net/tcp":gmatch(row:format(port)) do
        table.insert(found, inode)
      end
      return found
    end

    it("no descriptor after close, which can be called twice", function()
      local web = server.start(ANSWER_ALL)
      local before = descriptors.count()
      local client = client_of(web)
      get(client)
      assert.is_true(descriptors.count() > before)
      client:close()
      client:close()
      assert.equal(before, descriptors.count())
      assert.equal("ArgumentError", failure_of(get, client).type)
    end)

    it("no descriptor after a client was collected", function()
      local web = server.start(ANSWER_ALL)
      local before = descriptors.count()
      for _ = 1, 5 do get(client_of(web)) end
      assert.equal(before, descriptors.count())
    end)

    it("no descriptor after failures", function()
      local web = server.start "connection:read_request() connection:hang()"
      local before = descriptors.count()
      local client = client_of(web, { retries = false, timeout_ms = 50 })
      for _ = 1, 5 do failure_of(get, client) end
      client:close()
      assert.equal(before, descriptors.count())
    end)

    it("no connection in programs that it starts", function()
      local web = server.start(ANSWER_ALL)
      local client = client_of(web)
      get(client)
      local inherited = sockets(descriptors.list_directory "/proc/self/fd")
      local ours = connected_to(web.port)
      assert.equal(1, #ours)
      assert.is_nil(inherited[ours[1]])
      client:close()
    end)

    it("no global variable", function()
      local names = {}
      for name in pairs(_G) do names[name] = true end
      local web = server.start(ANSWER_ALL)
      get(client_of(web))
      for name in pairs(_G) do assert.is_true(names[name], name) end
    end)
  end)

  describe("after a fork", function()
    -- Runs `work` in a child, whose exit status says whether it went well.
    local ECHO = [[
      for request in connection:requests() do
        connection:answer(200, ('{"id":"%s"}'):format(request.target:match "mch_%w+"))
      end
    ]]

    it("serves parent and child, each on its own connections", function()
      local web = server.start(ECHO)
      local client = client_of(web)
      get(client)
      local function call_often(prefix)
        for i = 1, 50 do assert.equal(prefix .. i, client:get(prefix .. i).id) end
      end
      local pid = posix.in_child(function() call_often "mch_child" end)
      call_often "mch_parent"
      assert.equal(0, posix.wait(pid))
      call_often "mch_again"
      local connection_of = { child = {}, other = {} }
      for _, request in ipairs(web:requests()) do
        local who = request.target:find "child" and "child" or "other"
        connection_of[who][request.connection] = true
      end
      assert.same({ [1] = true }, connection_of.other)
      assert.same({ [2] = true }, connection_of.child)
    end)

    it("leaves the parent's connection alone when the child closes or collects", function()
      local web = server.start(ECHO)
      local client = client_of(web)
      get(client)
      local pid = posix.in_child(function()
        client:close()
        client = nil
        collectgarbage()
        collectgarbage()
      end)
      assert.equal(0, posix.wait(pid))
      assert.equal("mch_2", client:get "mch_2".id)
      assert.equal(1, web:connections())
    end)
  end)

  it("serves a client used from a coroutine", function()
    local web = server.start(ANSWER_ALL)
    local client = client_of(web)
    local id = coroutine.wrap(function() return get(client).id end)()
    assert.equal("mch_1", id)
  end)

  it("serves two clients that do not share connections", function()
    local web = server.start(ANSWER_ALL)
    local first, second = client_of(web), client_of(web, { secret_key = "sk_test_other" })
    get(first)
    get(second)
    first:close()
    get(second)
    assert.equal("Bearer sk_test_other", web:requests()[3].headers.authorization)
    assert.equal(2, web:connections())
  end)
end)
