local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"

local SOME_ID = "mch_" .. ("x"):rep(27)

describe("The emulator", function()
  local api, time

  local function clock()
    return time
  end

  before_each(function()
    time = 1700000000000
    api = emulator.new { clock = clock }
  end)

  -- A header given as false is not sent.
  local function request(method, path, body, headers)
    local all = { authorization = "Bearer sk_test_emulator" }
    if body then
      all["content-type"] = "application/json"
    end
    for name, value in pairs(headers or {}) do
      all[name] = value or nil
    end
    return { method = method, url = "https://api.clerk.com/v1" .. path, headers = all, body = body }
  end

  -- Returns the decoded body and the response.
  local function call(...)
    local response = assert(api:send(request(...)))
    return core.decode(response.body), response
  end

  local function create(name, more)
    local body = ('{"name":"%s"%s}'):format(name, more or "")
    local machine, response = call("POST", "/machines", body)
    assert.equal(200, response.status)
    return machine
  end

  local function scope(from, to)
    local body = ('{"to_machine_id":"%s"}'):format(to.id)
    return call("POST", "/machines/" .. from.id .. "/scopes", body)
  end

  local function rotate(machine, seconds)
    local path = "/machines/" .. machine.id .. "/secret_key/rotate"
    return call("POST", path, ('{"previous_token_ttl":%d}'):format(seconds)).secret
  end

  local function names(query)
    local found, list = {}, call("GET", "/machines" .. query)
    for i, machine in ipairs(list.data) do
      found[i] = machine.name
    end
    return table.concat(found, " "), list.total_count
  end

  local function assert_refused(status, code, param_name, ...)
    local body, response = call(...)
    assert.equal(status, response.status)
    local problem = body.errors[1]
    assert.equal(code, problem.code)
    assert.equal(param_name, problem.meta and problem.meta.param_name)
    assert.is_string(problem.message)
    assert.is_string(problem.long_message)
    assert.equal(response.headers["clerk-trace-id"], body.clerk_trace_id)
    return body, response
  end

  describe("new", function()
    it("refuses an unknown option and suggests the likely name", function()
      assert.error_matches(function()
        emulator.new { secret = "x" }
      end, 'unknown option "secret"; did you mean "secret_key"?', 1, true)
    end)

    it("refuses a value of the wrong type and says what is expected", function()
      local wrong = {
        { { secret_key = "" }, "secret_key must be a string that is not empty" },
        { { clock = 5 }, "clock must be a function" },
        { { rate_limit = 0 }, "rate_limit must be an integer from 1 to" },
        { { rate_limit = 1.5 }, "rate_limit must be an integer from 1 to" },
        { "options", "options must be a table, got string" },
      }
      for _, case in ipairs(wrong) do
        assert.error_matches(function()
          emulator.new(case[1])
        end, case[2], 1, true)
      end
    end)

    it("works without options", function()
      assert.equal(200, emulator.new():send(request("GET", "/machines")).status)
    end)
  end)

  describe("every response", function()
    it("has a date, a content type and a unique trace", function()
      local seen = {}
      for _, path in ipairs { "/machines", "/machines", "/machines/" .. SOME_ID } do
        local _, response = call("GET", path)
        assert.equal("Tue, 14 Nov 2023 22:13:20 GMT", response.headers.date)
        assert.equal("application/json", response.headers["content-type"])
        local trace = response.headers["clerk-trace-id"]
        assert.matches("^%x+$", trace)
        assert.is_nil(seen[trace])
        seen[trace] = true
      end
    end)
  end)

  describe("the key", function()
    it("is checked before the path", function()
      local code = "authorization_header_format_invalid"
      for _, value in ipairs { false, "", "Bearer", "Bearer ", "sk_test_emulator", "Basic a" } do
        assert_refused(401, code, nil, "GET", "/nowhere", nil, { authorization = value })
      end
    end)

    it("must be the key of the instance", function()
      local headers = { authorization = "Bearer sk_test_other" }
      assert_refused(401, "clerk_key_invalid", nil, "GET", "/machines", nil, headers)
    end)

    it("can be chosen freely", function()
      api = emulator.new { secret_key = "my own: key" }
      local _, response = call("GET", "/machines", nil, { authorization = "Bearer my own: key" })
      assert.equal(200, response.status)
      assert_refused(401, "clerk_key_invalid", nil, "GET", "/machines")
    end)

    it("never appears in an error", function()
      local headers = { authorization = "Bearer sk_test_private" }
      local _, response = call("GET", "/machines", nil, headers)
      assert.is_nil(response.body:find("sk_test", 1, true))
    end)
  end)

  describe("routing", function()
    it("answers 404 for an unknown path", function()
      local paths = {
        "", "/", "/machine", "/Machines", "/machines/", "//machines", "/machines/a/b",
        "/machines/a/secret_key/", "/machines//secret_key", "/machines/a/scopes/b/c",
      }
      for _, path in ipairs(paths) do
        assert_refused(404, "resource_not_found", nil, "GET", path)
      end
    end)

    it("serves the API only below /v1", function()
      local outside = request("GET", "")
      outside.url = "https://api.clerk.com/machines"
      assert.equal(404, api:send(outside).status)
    end)

    it("answers 405 for a wrong method and lists the allowed methods", function()
      local _, response = assert_refused(405, "method_not_allowed", nil, "PUT", "/machines")
      assert.equal("GET, POST", response.headers.allow)
      assert_refused(405, "method_not_allowed", nil, "get", "/machines")
      assert_refused(405, "method_not_allowed", nil, "POST", "/machines/" .. SOME_ID)
    end)

    it("decodes each path segment separately", function()
      assert_refused(404, "machine_not_found", nil, "GET", "/machines/a%2Fb%3Fc")
      local machine = create("a")
      local encoded = machine.id:gsub("_", "%%5F")
      assert.equal(machine.id, call("GET", "/machines/" .. encoded).id)
    end)

    it("refuses a path that is not percent-encoded UTF-8", function()
      local code = "malformed_request_parameters"
      local segments = { "%", "%4", "%zz", "%FF", "%ED%A0%80", "%C0%80", "a b", "\195\164" }
      for _, segment in ipairs(segments) do
        assert_refused(400, code, nil, "GET", "/machines/" .. segment)
      end
    end)

    it("serves every operation of the API", function()
      for _, operation in ipairs(core.operations) do
        local path = operation.path:gsub("{.-}", SOME_ID)
        local _, response = call(operation.method, path)
        assert.is_not.equal(405, response.status, operation.name)
        local body = core.decode(response.body)
        assert.is_not.equal("resource_not_found", body.errors and body.errors[1].code)
      end
    end)
  end)

  describe("the API version", function()
    it("can be left out or be any date", function()
      for _, version in ipairs { false, "2026-05-12", "2021-02-05" } do
        local _, response = call("GET", "/machines", nil, { ["clerk-api-version"] = version })
        assert.equal(200, response.status)
      end
    end)

    it("is refused when it is not a date", function()
      for _, version in ipairs { "", "latest", "2026-5-12", "2026-05-12x", "20260512" } do
        local headers = { ["clerk-api-version"] = version }
        assert_refused(400, "api_version_invalid", nil, "GET", "/machines", nil, headers)
      end
    end)
  end)

  describe("a body", function()
    it("must have the content type of JSON, with or without a charset", function()
      for _, content_type in ipairs { false, "", "text/plain", "application/jsonp" } do
        local headers = { ["content-type"] = content_type }
        local code = "unsupported_content_type"
        assert_refused(415, code, nil, "POST", "/machines", '{"name":"a"}', headers)
      end
      for _, content_type in ipairs { "application/json; charset=utf-8", "Application/JSON" } do
        local headers = { ["content-type"] = content_type }
        local _, response = call("POST", "/machines", '{"name":"a"}', headers)
        assert.equal(200, response.status)
      end
    end)

    it("must be a JSON object", function()
      for _, body in ipairs { "", "{", '{"name":"a",}', '{"name":"\255"}', "null", "[]", '"a"' } do
        assert_refused(400, "request_body_invalid", nil, "POST", "/machines", body)
      end
    end)

    it("is refused by operations that do not take one", function()
      local machine = create("a")
      local path = "/machines/" .. machine.id
      assert_refused(400, "request_body_invalid", nil, "DELETE", path, "{}")
      assert.equal(machine.id, call("GET", path).id)
    end)

    it("is refused when it is too large", function()
      local spaces = (" "):rep(1048577)
      assert_refused(413, "request_body_too_large", nil, "POST", "/machines", spaces)
    end)
  end)

  describe("a query", function()
    it("is refused when it is malformed", function()
      local code = "malformed_request_parameters"
      local queries = { "?query=%", "?query=%C3", "?=1", "?&limit=1", "?limit=1&", "?a#b" }
      for _, query in ipairs(queries) do
        assert_refused(400, code, nil, "GET", "/machines" .. query)
      end
    end)

    it("is refused when it repeats a parameter", function()
      local query = "?limit=1&offset=0&limit=1"
      assert_refused(422, "form_param_duplicate", "limit", "GET", "/machines" .. query)
    end)

    it("is refused when a parameter is unknown, whatever the operation", function()
      local code = "form_param_unknown"
      assert_refused(422, code, "page", "GET", "/machines?page=2")
      assert_refused(422, code, "limit", "GET", "/machines/" .. SOME_ID .. "?limit=2")
    end)

    it("has bounds", function()
      local wrong = {
        { "limit", "0", "form_param_value_invalid" },
        { "limit", "501", "form_param_value_too_large" },
        { "limit", "-1", "form_param_value_invalid" },
        { "offset", "-1", "form_param_value_invalid" },
        { "order_by", "id", "form_param_value_invalid" },
        { "order_by", "+name", "form_param_value_invalid" },
        { "order_by", "", "form_param_value_invalid" },
      }
      for _, case in ipairs(wrong) do
        local query = ("?%s=%s"):format(case[1], case[2])
        assert_refused(422, case[3], case[1], "GET", "/machines" .. query)
      end
      for _, query in ipairs { "?limit=500", "?offset=0", "?offset=99999999999999999999" } do
        assert.equal("", (names(query)))
      end
    end)

    it("accepts only digits as an integer", function()
      for _, value in ipairs { "", "abc", "1.0", "0x10", "1e2", "%201", "+1" } do
        local query = "?limit=" .. value
        assert_refused(422, "form_param_type_invalid", "limit", "GET", "/machines" .. query)
      end
    end)
  end)

  describe("parameters in a body", function()
    local function refused(code, name, body)
      assert_refused(422, code, name, "POST", "/machines", body)
    end

    it("must be given when they are required", function()
      refused("form_param_missing", "name", "{}")
      local path = "/machines/" .. SOME_ID
      local code = "form_param_missing"
      assert_refused(422, code, "to_machine_id", "POST", path .. "/scopes", "{}")
      path = path .. "/secret_key/rotate"
      assert_refused(422, code, "previous_token_ttl", "POST", path, "{}")
    end)

    it("must not be null", function()
      refused("form_param_nil", "name", '{"name":null}')
      refused("form_param_nil", "default_token_ttl", '{"name":"a","default_token_ttl":null}')
    end)

    it("must be known", function()
      refused("form_param_unknown", "nam", '{"name":"a","nam":"b"}')
      refused("form_param_unknown", "nam", '{"name":"a","nam":null}')
      local path, body = "/machines/" .. SOME_ID, '{"scoped_machines":[]}'
      assert_refused(422, "form_param_unknown", "scoped_machines", "PATCH", path, body)
    end)

    it("must have the right type", function()
      for _, value in ipairs { "1", "true", "{}", "[]" } do
        refused("form_param_type_invalid", "name", ('{"name":%s}'):format(value))
      end
      for _, value in ipairs { '"1"', "1.5", "true", "{}", "1e400" } do
        local body = ('{"name":"a","default_token_ttl":%s}'):format(value)
        refused("form_param_type_invalid", "default_token_ttl", body)
      end
      for _, value in ipairs { '"mch_1"', "{}", "[1]", "[null]", "[[]]", "1" } do
        local body = ('{"name":"a","scoped_machines":%s}'):format(value)
        refused("form_param_type_invalid", "scoped_machines", body)
      end
    end)

    it("have bounds, counted in characters rather than bytes", function()
      local ttl = '{"name":"a","default_token_ttl":%s}'
      refused("form_param_value_invalid", "default_token_ttl", ttl:format("0"))
      refused("form_param_value_too_large", "default_token_ttl", ttl:format("315360001"))
      refused("form_param_value_invalid", "name", '{"name":""}')
      local name = ("ä"):rep(255)
      assert.equal(name, create(name).name)
      refused("form_param_max_length_exceeded", "name", ('{"name":"%sx"}'):format(name))
      local ids = ('"%s",'):format(SOME_ID):rep(150) .. '"b"'
      local body = ('{"name":"a","scoped_machines":[%s]}'):format(ids)
      refused("form_param_array_size_exceeded", "scoped_machines", body)
    end)

    it("are all reported when several are wrong", function()
      local body = '{"name":1,"default_token_ttl":0,"x":1,"b":2}'
      local answer = call("POST", "/machines", body)
      local told = {}
      for i, problem in ipairs(answer.errors) do
        told[i] = problem.meta.param_name
      end
      assert.same({ "name", "default_token_ttl", "b", "x" }, told)
    end)
  end)

  describe("create", function()
    it("returns the machine with its secret key", function()
      local machine, response = call("POST", "/machines", '{"name":"a"}')
      assert.equal(200, response.status)
      assert.matches("^mch_%w+$", machine.id)
      assert.equal(#"mch_" + 27, #machine.id)
      assert.matches("^ins_%w+$", machine.instance_id)
      assert.matches("^ak_%w+$", machine.secret_key)
      machine.id, machine.instance_id, machine.secret_key = nil, nil, nil
      assert.same({
        object = "machine",
        name = "a",
        created_at = time,
        updated_at = time,
        default_token_ttl = 3600,
        scoped_machines = {},
      }, machine)
      assert.truthy(response.body:find('"scoped_machines":[]', 1, true))
    end)

    it("returns any name unchanged", function()
      local name = [[\"\\\/\b\f\n\r\t\u0000\u001f\u007f\ud83d\ude00 ü]]
      local machine = create(name)
      assert.equal('"\\/\b\f\n\r\t\0\31\127\240\159\152\128 ü', machine.name)
      assert.equal(machine.name, call("GET", "/machines/" .. machine.id).name)
    end)

    it("embeds the scoped machines without their own scopes", function()
      local c = create("c")
      local b = create("b", (',"scoped_machines":["%s"]'):format(c.id))
      local a = create("a", (',"scoped_machines":["%s","%s"]'):format(c.id, b.id))
      assert.equal(c.id, a.scoped_machines[1].id)
      assert.equal(b.id, a.scoped_machines[2].id)
      assert.equal("b", a.scoped_machines[2].name)
      assert.equal(b.instance_id, a.scoped_machines[2].instance_id)
      assert.is_nil(a.scoped_machines[2].scoped_machines)
      assert.is_nil(a.scoped_machines[2].secret_key)
    end)

    it("refuses scoped machines that are missing or given twice, and creates nothing", function()
      local b = create("b")
      local body = '{"name":"a","scoped_machines":["%s","%s"]}'
      local unknown, twice = body:format(b.id, SOME_ID), body:format(b.id, b.id)
      local code, name = "form_param_value_invalid", "scoped_machines"
      assert_refused(422, code, name, "POST", "/machines", unknown)
      assert_refused(422, "form_param_duplicate", name, "POST", "/machines", twice)
      assert.equal("b", (names("")))
    end)
  end)

  describe("get, update and delete", function()
    it("answer 404 for a machine that does not exist", function()
      local path, code = "/machines/" .. SOME_ID, "machine_not_found"
      assert_refused(404, code, nil, "GET", path)
      assert_refused(404, code, nil, "PATCH", path, "{}")
      assert_refused(404, code, nil, "DELETE", path)
      assert_refused(404, code, nil, "GET", path .. "/secret_key")
      local rotation = '{"previous_token_ttl":0}'
      assert_refused(404, code, nil, "POST", path .. "/secret_key/rotate", rotation)
      local other = ('{"to_machine_id":"%s"}'):format(SOME_ID)
      assert_refused(404, code, nil, "POST", path .. "/scopes", other)
      assert_refused(404, code, nil, "DELETE", path .. "/scopes/" .. SOME_ID)
    end)

    it("do not return the secret key", function()
      local machine = create("a")
      for _, method in ipairs { "GET", "PATCH", "DELETE" } do
        local body = method == "PATCH" and "{}" or nil
        local _, response = call(method, "/machines/" .. machine.id, body)
        assert.is_nil(response.body:find(machine.secret_key, 1, true))
      end
    end)

    it("change only what is given", function()
      local machine = create("a")
      local path = "/machines/" .. machine.id
      time = time + 5
      local renamed = call("PATCH", path, '{"name":"b"}')
      assert.equal("b", renamed.name)
      assert.equal(3600, renamed.default_token_ttl)
      assert.equal(machine.created_at, renamed.created_at)
      assert.equal(time, renamed.updated_at)
      time = time + 5
      assert.equal(60, call("PATCH", path, '{"default_token_ttl":60}').default_token_ttl)
      assert.same(call("GET", path), call("PATCH", path, "{}"))
      assert.equal("b", call("GET", path).name)
    end)

    it("change nothing when one parameter is wrong", function()
      local machine = create("a")
      local path = "/machines/" .. machine.id
      local before = call("GET", path)
      local body = '{"name":"b","default_token_ttl":0}'
      assert_refused(422, "form_param_value_invalid", "default_token_ttl", "PATCH", path, body)
      assert.same(before, call("GET", path))
    end)

    it("delete the machine, its keys, and every scope that names it", function()
      local a, b, c = create("a"), create("b"), create("c")
      for _, pair in ipairs { { a, b }, { b, c }, { c, a }, { c, b } } do
        scope(pair[1], pair[2])
      end
      local deleted = call("DELETE", "/machines/" .. b.id)
      assert.same({ object = "machine", id = b.id, deleted = true }, deleted)
      assert_refused(404, "machine_not_found", nil, "GET", "/machines/" .. b.id)
      assert_refused(404, "machine_not_found", nil, "DELETE", "/machines/" .. b.id)
      assert.is_nil(api:machine_of(b.secret_key))
      assert.same({}, call("GET", "/machines/" .. a.id).scoped_machines)
      local left = call("GET", "/machines/" .. c.id).scoped_machines
      assert.equal(1, #left)
      assert.equal(a.id, left[1].id)
      local list, total = names("")
      assert.equal("c a", list)
      assert.equal(2, total)
    end)
  end)

  describe("secret keys", function()
    it("can be read again", function()
      local machine = create("a")
      local key = call("GET", "/machines/" .. machine.id .. "/secret_key")
      assert.same({ object = "machine_secret_key", secret = machine.secret_key }, key)
    end)

    it("authenticate one machine", function()
      local a, b = create("a"), create("b")
      assert.equal(a.id, api:machine_of(a.secret_key))
      assert.equal(b.id, api:machine_of(b.secret_key))
      assert.is_nil(api:machine_of("ak_other"))
    end)

    it("overlap after a rotation for the given time", function()
      local machine = create("a")
      local new = rotate(machine, 60)
      assert.is_not.equal(machine.secret_key, new)
      assert.equal(machine.id, api:machine_of(new))
      time = time + 59999
      assert.equal(machine.id, api:machine_of(machine.secret_key))
      time = time + 1
      assert.is_nil(api:machine_of(machine.secret_key))
      assert.equal(machine.id, api:machine_of(new))
      assert.equal(new, call("GET", "/machines/" .. machine.id .. "/secret_key").secret)
    end)

    it("expire at once when the given time is 0", function()
      local machine = create("a")
      local new = rotate(machine, 0)
      assert.is_nil(api:machine_of(machine.secret_key))
      assert.equal(machine.id, api:machine_of(new))
    end)

    it("keep their own expiry when another rotation follows", function()
      local machine = create("a")
      local second = rotate(machine, 60)
      local third = rotate(machine, 10)
      time = time + 10000
      assert.equal(machine.id, api:machine_of(machine.secret_key))
      assert.is_nil(api:machine_of(second))
      time = time + 50000
      assert.is_nil(api:machine_of(machine.secret_key))
      assert.equal(machine.id, api:machine_of(third))
    end)

    it("overlap for a bounded time", function()
      local path = "/machines/" .. create("a").id .. "/secret_key/rotate"
      local name = "previous_token_ttl"
      local code = "form_param_value_too_large"
      assert_refused(422, code, name, "POST", path, '{"previous_token_ttl":28801}')
      code = "form_param_value_invalid"
      assert_refused(422, code, name, "POST", path, '{"previous_token_ttl":-1}')
    end)
  end)

  describe("scopes", function()
    it("have a direction", function()
      local a, b = create("a"), create("b")
      time = time + 5
      local made, response = scope(a, b)
      assert.equal(200, response.status)
      assert.same({
        object = "machine_scope",
        from_machine_id = a.id,
        to_machine_id = b.id,
        created_at = time,
      }, made)
      assert.equal(b.id, call("GET", "/machines/" .. a.id).scoped_machines[1].id)
      assert.same({}, call("GET", "/machines/" .. b.id).scoped_machines)
      assert.equal(200, select(2, scope(b, a)).status)
    end)

    it("cannot be created twice", function()
      local a, b = create("a"), create("b")
      scope(a, b)
      local body = ('{"to_machine_id":"%s"}'):format(b.id)
      assert_refused(409, "conflict", nil, "POST", "/machines/" .. a.id .. "/scopes", body)
    end)

    it("need two machines that exist", function()
      local path = "/machines/" .. create("a").id .. "/scopes"
      local body = ('{"to_machine_id":"%s"}'):format(SOME_ID)
      assert_refused(404, "machine_not_found", nil, "POST", path, body)
      body = '{"to_machine_id":""}'
      assert_refused(422, "form_param_format_invalid", "to_machine_id", "POST", path, body)
    end)

    it("cannot lead from a machine to itself", function()
      local a = create("a")
      local path, body = "/machines/" .. a.id .. "/scopes", ('{"to_machine_id":"%s"}'):format(a.id)
      assert_refused(422, "form_param_value_invalid", "to_machine_id", "POST", path, body)
    end)

    it("are limited to 150 for each machine", function()
      local a = create("a")
      for i = 1, 150 do
        assert.equal(200, select(2, scope(a, create("b" .. i))).status)
      end
      local path = "/machines/" .. a.id .. "/scopes"
      local body = ('{"to_machine_id":"%s"}'):format(create("c").id)
      assert_refused(422, "form_param_array_size_exceeded", nil, "POST", path, body)
    end)

    it("cannot be deleted twice", function()
      local a, b = create("a"), create("b")
      scope(a, b)
      local path = "/machines/" .. a.id .. "/scopes/"
      assert.same({
        object = "machine_scope",
        from_machine_id = a.id,
        to_machine_id = b.id,
        deleted = true,
      }, call("DELETE", path .. b.id))
      assert.same({}, call("GET", "/machines/" .. a.id).scoped_machines)
      assert_refused(404, "resource_not_found", nil, "DELETE", path .. b.id)
      assert_refused(404, "machine_not_found", nil, "DELETE", path .. SOME_ID)
    end)
  end)

  describe("list", function()
    it("is empty at first", function()
      local list, response = call("GET", "/machines")
      assert.same({ data = {}, total_count = 0 }, list)
      assert.equal('{"data":[],"total_count":0}', response.body)
    end)

    it("returns ten machines by default, the newest first", function()
      for i = 1, 12 do
        time = time + 1
        create("m" .. i)
      end
      local list, total = names("")
      assert.equal("m12 m11 m10 m9 m8 m7 m6 m5 m4 m3", list)
      assert.equal(12, total)
      assert.equal("m2 m1", (names("?offset=10")))
      assert.equal("", (names("?offset=12")))
    end)

    it("can be ordered", function()
      for _, name in ipairs { "b", "c", "a" } do
        time = time + 1
        create(name)
      end
      local orders = {
        ["name"] = "a b c",
        ["%2Bname"] = "a b c",
        ["-name"] = "c b a",
        ["created_at"] = "b c a",
        ["%2Bcreated_at"] = "b c a",
        ["-created_at"] = "a c b",
      }
      for order_by, expected in pairs(orders) do
        assert.equal(expected, (names("?order_by=" .. order_by)))
      end
    end)

    it("stays in the order of names through every change", function()
      local a, b = create("a"), create("b")
      assert.equal("a b", (names("?order_by=name")))
      call("PATCH", "/machines/" .. a.id, '{"name":"d"}')
      create("c")
      assert.equal("b c d", (names("?order_by=name")))
      call("DELETE", "/machines/" .. b.id)
      assert.equal("c d", (names("?order_by=name")))
    end)

    it("has a stable order for equal times and names, which can be reversed", function()
      for i = 1, 5 do
        create("m" .. i)
      end
      assert.equal("m1 m2 m3 m4 m5", (names("?order_by=created_at")))
      assert.equal("m5 m4 m3 m2 m1", (names("?order_by=-created_at")))
      local forward, backward = {}, {}
      for i = 1, 5 do
        local id = create("same").id
        forward[i], backward[6 - i] = id, id
      end
      local function ids(order_by)
        local found = {}
        for i, machine in ipairs(call("GET", "/machines?query=same&order_by=" .. order_by).data) do
          found[i] = machine.id
        end
        return found
      end
      assert.same(forward, ids("name"))
      assert.same(backward, ids("-name"))
    end)

    it("orders by created_at even when the clock was set back", function()
      create("late")
      time = time - 1000
      create("early")
      assert.equal("late early", (names("")))
    end)

    it("searches for a part of the name, or for a whole ID", function()
      local one, two = create("Payments one"), create("payments two")
      create("100%")
      local found, total = names("?query=PAY")
      assert.equal("payments two Payments one", found)
      assert.equal(2, total)
      assert.equal("payments two", (names("?query=" .. two.id)))
      assert.equal("", (names("?query=" .. one.id:sub(1, -2))))
      assert.equal("100%", (names("?query=%25")))
      assert.equal("Payments one", (names("?query=s+one")))
      assert.equal(3, select(2, names("?query=")))
      assert.equal(3, select(2, names("?query")))
    end)

    it("counts all matching machines, whatever the page", function()
      for i = 1, 7 do
        create((i % 2 == 0 and "even" or "odd") .. i)
      end
      local found, total = names("?query=odd&limit=2&offset=1&order_by=name")
      assert.equal("odd3 odd5", found)
      assert.equal(4, total)
    end)

    it("embeds the scoped machines", function()
      local a, b = create("a"), create("b")
      scope(b, a)
      local data = call("GET", "/machines").data
      assert.equal(a.id, data[1].scoped_machines[1].id)
      assert.same({}, data[2].scoped_machines)
    end)
  end)

  describe("the rate limit", function()
    before_each(function()
      api = emulator.new { clock = clock, rate_limit = 3 }
    end)

    it("refuses further requests within ten seconds and says how long to wait", function()
      for _ = 1, 3 do
        call("GET", "/machines")
      end
      time = time + 2500
      local code = "too_many_requests"
      local _, response = assert_refused(429, code, nil, "GET", "/machines")
      assert.equal("8", response.headers["retry-after"])
      time = time + 7500
      assert.equal(200, select(2, call("GET", "/machines")).status)
    end)

    it("refuses a request before it changes anything", function()
      create("a")
      create("b")
      create("c")
      assert_refused(429, "too_many_requests", nil, "POST", "/machines", '{"name":"d"}')
      time = time + 10000
      assert.equal("c b a", (names("")))
    end)

    it("does not count requests without a valid key", function()
      for _ = 1, 5 do
        call("GET", "/machines", nil, { authorization = "Bearer x" })
      end
      assert.equal(200, select(2, call("GET", "/machines")).status)
    end)

    it("is off by default", function()
      api = emulator.new { clock = clock }
      for _ = 1, 2000 do
        assert.equal(200, select(2, call("GET", "/machines")).status)
      end
    end)
  end)

  describe("a fault", function()
    local function send(...)
      return api:send(request(...))
    end

    it("is refused when a field is unknown, wrong or contradictory", function()
      local wrong = {
        { { state = 503 }, 'unknown option "fault.state"; did you mean "fault.status"?' },
        { { operation = "read" }, 'fault.operation must be "list" or "create" or "get"' },
        { { times = 0 }, "fault.times must be an integer from 1 to" },
        { { status = 99 }, "fault.status must be an integer from 200 to 599" },
        { { status = "503" }, "fault.status must be an integer" },
        { { retry_after = -1 }, "fault.retry_after must be an integer from 0 to" },
        { { retry_after = "1\r\nx: y" }, "fault.retry_after must be " },
        { { content_type = "a\nb" }, "fault.content_type must be " },
        { { delay_ms = -1 }, "fault.delay_ms must be " },
        { { truncate = 0.5 }, "fault.truncate must be " },
        { { drop = 1 }, "fault.drop must be a boolean" },
        { { applied = "yes" }, "fault.applied must be a boolean" },
        { { drop = true, status = 503 }, "fault.drop sends no response" },
        { { drop = true, truncate = 3 }, "fault.drop sends no response" },
      }
      for _, case in ipairs(wrong) do
        assert.error_matches(function()
          api:fault(case[1])
        end, case[2], 1, true)
      end
      assert.equal(200, send("GET", "/machines").status)
    end)

    it("strikes one request of any operation, and nothing is changed", function()
      api:fault { status = 500 }
      local body, response = call("POST", "/machines", '{"name":"a"}')
      assert.equal(500, response.status)
      assert.equal("internal_clerk_error", body.errors[1].code)
      assert.equal(response.headers["clerk-trace-id"], body.clerk_trace_id)
      assert.equal(0, call("GET", "/machines").total_count)
    end)

    it("answers 503 to a fault that says nothing about the response", function()
      for _, fault in ipairs { {}, { applied = true } } do
        api:fault(fault)
        assert.equal(503, send("POST", "/machines", '{"name":"a"}').status)
      end
    end)

    it("strikes only its operation, as often as given", function()
      api:fault { operation = "create", status = 503, times = 2 }
      for _, expected in ipairs { 503, 503, 200 } do
        assert.equal(200, send("GET", "/machines").status)
        assert.equal(expected, send("POST", "/machines", '{"name":"a"}').status)
      end
    end)

    it("strikes in the order of scripting", function()
      api:fault { operation = "list", status = 500 }
      api:fault { status = 502 }
      api:fault { operation = "list", status = 503 }
      assert.equal(502, send("GET", "/machines/" .. SOME_ID).status)
      assert.equal(500, send("GET", "/machines").status)
      assert.equal(503, send("GET", "/machines").status)
      assert.equal(200, send("GET", "/machines").status)
    end)

    it("can be cleared, and does not depend on the caller's table", function()
      local fault = { status = 500, times = 2 }
      api:fault(fault)
      fault.status = 200
      assert.equal(500, send("GET", "/machines").status)
      assert.equal(2, fault.times)
      api:clear_faults()
      assert.equal(200, send("GET", "/machines").status)
    end)

    it("does not strike a request with a wrong key or path", function()
      api:fault { status = 503 }
      assert.equal(401, send("GET", "/machines", nil, { authorization = "Bearer x" }).status)
      assert.equal(404, send("GET", "/nowhere").status)
      assert.equal(503, send("GET", "/machines").status)
    end)

    it("can strike after the change was made", function()
      api:fault { operation = "create", status = 503, applied = true }
      assert.equal(503, send("POST", "/machines", '{"name":"a"}').status)
      assert.equal("a", (names("")))
    end)

    it("changes nothing when the request itself is wrong", function()
      api:fault { status = 503, applied = true }
      assert.equal(503, send("POST", "/machines", '{"name":1}').status)
      assert.equal(0, call("GET", "/machines").total_count)
    end)

    it("can have a Retry-After, in seconds or as a date", function()
      api:fault { status = 429, retry_after = 7 }
      api:fault { retry_after = "Tue, 14 Nov 2023 22:13:30 GMT" }
      local body, response = call("GET", "/machines")
      assert.equal("7", response.headers["retry-after"])
      assert.equal("too_many_requests", body.errors[1].code)
      response = send("GET", "/machines")
      assert.equal(503, response.status)
      assert.equal("Tue, 14 Nov 2023 22:13:30 GMT", response.headers["retry-after"])
    end)

    it("can have any body", function()
      api:fault { status = 502, body = "<html>", content_type = "text/html" }
      api:fault { status = 200, body = '{"data":' }
      local response = send("GET", "/machines")
      assert.equal("<html>", response.body)
      assert.equal("text/html", response.headers["content-type"])
      assert.is_string(response.headers.date)
      response = send("GET", "/machines")
      assert.equal('{"data":', response.body)
      assert.equal("application/json", response.headers["content-type"])
    end)

    it("closes the connection before or after the change", function()
      for _, applied in ipairs { false, true } do
        api:fault { operation = "create", drop = true, applied = applied }
        local response, failure = send("POST", "/machines", '{"name":"a"}')
        assert.is_nil(response)
        assert.equal("connection_lost", failure.code)
        assert.is_string(failure.message)
        assert.is_true(failure.sent)
        assert.equal(applied and 1 or 0, call("GET", "/machines").total_count)
      end
    end)

    it("truncates the body before or after the change", function()
      for _, applied in ipairs { false, true } do
        api:fault { operation = "create", truncate = 5, applied = applied }
        local response, failure = send("POST", "/machines", '{"name":"a"}')
        assert.is_nil(response)
        assert.equal("connection_lost", failure.code)
        assert.is_true(failure.sent)
        assert.equal(applied and 1 or 0, call("GET", "/machines").total_count)
      end
    end)

    it("delays the operation's response without really waiting", function()
      api:fault { delay_ms = 3600000 }
      assert.equal("a", create("a").name)
    end)

    it("delays a response past the timeout of the request", function()
      for _, applied in ipairs { false, true } do
        api:fault { operation = "create", delay_ms = 100, applied = applied }
        local slow = request("POST", "/machines", '{"name":"a"}')
        slow.timeout_ms = 100
        local response, failure = api:send(slow)
        assert.is_nil(response)
        assert.equal("timeout", failure.code)
        assert.is_true(failure.sent)
        assert.equal(applied and 1 or 0, call("GET", "/machines").total_count)
      end
      api:fault { delay_ms = 99 }
      local quick = request("GET", "/machines")
      quick.timeout_ms = 100
      assert.equal(200, api:send(quick).status)
    end)

    it("can be scripted by a request", function()
      local function control(method, body)
        local control_request = request(method, "", body)
        control_request.url = "http://127.0.0.1/emulator/faults"
        local response = api:send(control_request)
        return core.decode(response.body), response.status
      end
      assert.same({ pending = 2 }, (control("POST", '{"status":500,"times":2,"operation":"list"}')))
      assert.same({ pending = 3 }, (control("POST", '{"drop":true}')))
      assert.equal(500, send("GET", "/machines").status)
      assert.same({ pending = 0 }, (control("DELETE")))
      assert.equal(200, send("GET", "/machines").status)
      local body, status = control("POST", '{"state":500}')
      assert.equal(422, status)
      assert.matches('unknown option "fault.state"', body.errors[1].long_message, 1, true)
      assert.equal(422, select(2, control("POST", '{"status":null}')))
      assert.equal(400, select(2, control("POST", "[]")))
      assert.equal(405, select(2, control("GET")))
    end)
  end)

  describe("as a transport", function()
    it("moves its clock by sleeping, without really waiting", function()
      api = emulator.new()
      local machine = create("a")
      local new = rotate(machine, 3600)
      api:sleep(3599000)
      assert.equal(machine.id, api:machine_of(machine.secret_key))
      api:sleep(1000)
      assert.is_nil(api:machine_of(machine.secret_key))
      assert.equal(machine.id, api:machine_of(new))
    end)

    it("starts with the current time", function()
      api = emulator.new()
      assert.near(os.time() * 1000, create("a").created_at, 60000)
    end)

    it("does not move a clock that the caller supplied", function()
      api:sleep(5000)
      assert.equal(time, create("a").created_at)
    end)

    it("refuses a response larger than the request allows", function()
      local small = request("GET", "/machines")
      small.max_response_bytes = #'{"data":[],"total_count":0}'
      assert.equal(200, api:send(small).status)
      create("a")
      local response, failure = api:send(small)
      assert.is_nil(response)
      assert.equal("response_too_large", failure.code)
    end)

    it("does not change the request", function()
      local sent = request("POST", "/machines", '{"name":"a"}')
      local copy = request("POST", "/machines", '{"name":"a"}')
      api:send(sent)
      assert.same(copy, sent)
    end)
  end)

  describe("with 5000 machines", function()
    it("lists a page without sorting them again", function()
      for i = 1, 5000 do
        create("m" .. i)
      end
      local sort, sorted = table.sort, 0
      finally(function() table.sort = sort end) -- luacheck: ignore 122
      function table.sort(list, ...) -- luacheck: ignore 122
        sorted = sorted + (#list == 5000 and 1 or 0)
        return sort(list, ...)
      end
      for offset = 0, 4999, 100 do
        assert.equal(5000, select(2, names("?limit=1&order_by=name&offset=" .. offset)))
      end
      assert.equal(1, sorted)
    end)
  end)
end)
