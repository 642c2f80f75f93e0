local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local fake = require "support.fake"

local null = machines.null

--- Calls one operation of a client without retries and returns the error.
local function error_of(answer, method, ...)
  local client = fake.client({ answer }, { retries = false })
  local arguments, count = { ... }, select("#", ...)
  local err = assert.has_error(function()
    client[method](client, (table.unpack or unpack)(arguments, 1, count))
  end)
  assert.is_true(machines.is_error(err))
  assert.equal(method, err.operation)
  assert.equal(1, err.attempts)
  assert.is_true(err.elapsed_ms >= 0)
  assert.is_string(err.message)
  assert.is_string(err.code)
  return err
end

local function get(answer)
  return error_of(answer, "get", "mch_1")
end

--- Whether `text` occurs in any string within `value`.
local function holds(value, text)
  if type(value) == "string" then return value:find(text, 1, true) ~= nil end
  if type(value) ~= "table" then return false end
  for name, content in pairs(value) do
    if holds(name, text) or holds(content, text) then return true end
  end
  return false
end

local function api_errors(fields)
  return '{"errors":[{"message":"is not there","long_message":"No machine was found.",'
    .. '"code":"machine_not_found"}]' .. (fields or "") .. "}"
end

describe("A 401", function()
  local KINDS = { pk_live_ = "a publishable key", ak_ = "a machine's secret key" }
  local ANSWERS = {
    fake.answer(401, '{"errors":[{"message":"Invalid secret key","code":"clerk_key_invalid"}]}'),
    fake.answer(401, "<html>"),
  }

  local function refused_with(key, answer)
    local client = fake.client({ answer }, { secret_key = key })
    local _, err = pcall(client.get, client, "mch_1")
    assert.falsy(holds(err, key))
    return tostring(err)
  end

  for prefix, kind in pairs(KINDS) do
    it("for a key that begins with " .. prefix .. " says what kind it is, and hides it", function()
      local words = ("(secret_key is %s, not the instance's secret key)"):format(kind)
      for _, answer in ipairs(ANSWERS) do
        assert.truthy(refused_with(prefix .. "0123456789", answer):find(words, 1, true))
      end
    end)
  end

  it("is about the key of the last attempt", function()
    local keys = { "pk_test_0123", "sk_test_0123" }
    local client = fake.client({ fake.answer(503), ANSWERS[1] }, {
      secret_key = function() return table.remove(keys, 1) end,
    })
    local _, err = pcall(client.get, client, "mch_1")
    assert.equal("Invalid secret key", err.message)
  end)

  it("says nothing about other keys, and other statuses say nothing about keys", function()
    for _, key in ipairs { "sk_test_0123", "pk", "xpk_0123", "0123456789" } do
      assert.falsy(refused_with(key, ANSWERS[1]):find("publishable", 1, true))
    end
    assert.falsy(refused_with("pk_test_0123", fake.answer(403)):find("publishable", 1, true))
  end)
end)

--- What must not be shown: control characters, separators, marks that change the direction of text
--- or are invisible, and bytes that are not UTF-8.
local UNSAFE = { "\0", "\1", "\t", "\n", "\r", "\27", "\31", "\127", "\194\128", "\194\133",
  "\194\155", "\194\159", "\194\173", "\216\156", "\225\160\142", "\226\128\139", "\226\128\142",
  "\226\128\143", "\226\128\168", "\226\128\169", "\226\128\170", "\226\128\171", "\226\128\172",
  "\226\128\173", "\226\128\174", "\226\129\160", "\226\129\166", "\226\129\167", "\226\129\168",
  "\226\129\169", "\239\187\191", "\239\191\185", "\243\160\129\129",
  "\128", "\155", "\255", "\192\128", "\194", "\226\128", "\237\160\128", "\240\159\152",
  "\244\144\128\128", "\233" }

local function is_utf8(text)
  return core.decode('["' .. text:gsub("%c", " ") .. '"]') ~= nil
end

--- As JSON escapes control characters.
local function escaped(text)
  return (text:gsub("%c", function(byte) return ("\\u%04x"):format(byte:byte()) end))
end

describe("ClerkErrors", function()
  local body = '{"errors":['
    .. '{"message":"is too long","long_message":"The name is too long.",'
    .. '"code":"form_param_max_length_exceeded","meta":{"param_name":"name","limits":[1,255]}},'
    .. '{"message":"is unknown","long_message":"No such parameter.","code":"form_param_unknown",'
    .. '"meta":{"param_name":"nam"},"hint":"see the reference"}],'
    .. '"meta":{"request":"req_1","extra":null},"clerk_trace_id":"trace_1"}'
  local headers = { ["content-type"] = "application/json; charset=utf-8", ["retry-after"] = "3" }

  it("have every field of the response", function()
    local err = error_of(fake.answer(422, body, headers), "create", { name = "a" })
    assert.equal("ClerkErrors", err.type)
    assert.equal("is too long", err.message)
    assert.equal("form_param_max_length_exceeded", err.code)
    assert.equal(422, err.status)
    assert.same(headers, err.headers)
    assert.equal(body, err.body)
    assert.same({ request = "req_1" }, err.meta)
    assert.equal("trace_1", err.clerk_trace_id)
    assert.equal(3, err.retry_after)
    assert.is_false(err.maybe_applied)
    assert.is_nil(err.where)
  end)

  it("have every error as it was sent", function()
    local err = get(fake.answer(422, body))
    assert.same({
      {
        message = "is too long", long_message = "The name is too long.",
        code = "form_param_max_length_exceeded",
        meta = { param_name = "name", limits = { 1, 255 } },
      },
      {
        message = "is unknown", long_message = "No such parameter.", code = "form_param_unknown",
        meta = { param_name = "nam" }, hint = "see the reference",
      },
    }, err.errors)
  end)

  it("come with any status that is neither a success nor a redirect", function()
    for _, status in ipairs { 400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 499, 500, 503 } do
      local err = get(fake.answer(status, api_errors()))
      assert.equal("ClerkErrors", err.type)
      assert.equal("machine_not_found", err.code)
      assert.equal(status, err.status)
    end
  end)

  it("come with any content type", function()
    for _, content_type in ipairs { "application/json", "application/problem+json", "text/html" } do
      local err = get(fake.answer(404, api_errors(), { ["content-type"] = content_type }))
      assert.equal("ClerkErrors", err.type)
    end
  end)

  it("come from every operation", function()
    local answer = fake.answer(403, api_errors())
    for _, call in ipairs {
      { "list" }, { "create", { name = "a" } }, { "get", "m" }, { "update", "m", {} },
      { "delete", "m" }, { "get_secret_key", "m" },
      { "rotate_secret_key", "m", { previous_token_ttl = 0 } },
      { "create_scope", "m", { to_machine_id = "n" } }, { "delete_scope", "m", "n" },
      { "create_token" }, { "list_tokens", { subject = "m" } }, { "revoke_token", "t" },
      { "verify_token", { token = "t" } },
    } do
      local err = error_of(answer, (table.unpack or unpack)(call))
      assert.equal("ClerkErrors", err.type)
      assert.equal(answer.body, err.body)
    end
  end)

  it("have a message and a code even where the server gave none", function()
    for _, errors in ipairs { "[]", "[{}]", '[{"message":null,"code":null}]',
      '[{"message":5,"code":[]}]', "[null]", "[1]", '["text"]', "[[]]" } do
      local err = get(fake.answer(400, '{"errors":' .. errors .. "}"))
      assert.not_equal("", err.message)
      assert.not_equal("", err.code)
      assert.equal(400, err.status)
      assert.is_string(tostring(err))
    end
  end)

  it("have no meta unless the answer has one", function()
    assert.is_nil(get(fake.answer(404, api_errors())).meta)
  end)
end)

describe("an SDKError", function()
  local html = "<html>\r\n<body>502 Bad Gateway</body>"

  -- what, answer, code
  local unusable = {
    { "a proxy's page", fake.answer(502, html), "unexpected_status" },
    { "no body", fake.answer(500, ""), "unexpected_status" },
    { "JSON without errors", fake.answer(404, "{}"), "unexpected_status" },
    { "errors that are no array", fake.answer(404, '{"errors":"no"}'), "unexpected_status" },
    { "errors in an array", fake.answer(404, '[{"errors":[]}]'), "unexpected_status" },
    { "errors cut short", fake.answer(404, api_errors():sub(1, -2)), "unexpected_status" },
    { "errors deeper down", fake.answer(404, '{"a":{"errors":[]}}'), "unexpected_status" },
    { "a bare word", fake.answer(400, "Bad Request"), "unexpected_status" },
    { "an informational status", fake.answer(101, ""), "unexpected_status" },
    { "a success of HTML", fake.answer(200, html), "invalid_json" },
    { "a success of nothing", fake.answer(200, ""), "invalid_json" },
    { "a success without content", fake.answer(204, ""), "unexpected_shape" },
    { "a success that resets", fake.answer(205, ""), "invalid_json" },
    { "a success cut short", fake.answer(200, '{"id":"mch_1"'), "invalid_json" },
    { "a success with more behind it", fake.answer(200, '{"id":"mch_1"}x'), "invalid_json" },
    { "a success in broken UTF-8", fake.answer(200, '{"id":"\255"}'), "invalid_json" },
    { "a success of two documents", fake.answer(200, "{}{}"), "invalid_json" },
    { "a success of an array", fake.answer(200, "[]"), "unexpected_shape" },
    { "a success of a string", fake.answer(200, '"mch_1"'), "unexpected_shape" },
    { "a success of a number", fake.answer(200, "1"), "unexpected_shape" },
    { "a success of true", fake.answer(201, "true"), "unexpected_shape" },
    { "a success of false", fake.answer(200, "false"), "unexpected_shape" },
    { "a success of null", fake.answer(200, "null"), "unexpected_shape" },
    { "a success of errors", fake.answer(200, api_errors()), "unexpected_shape" },
    { "a move", fake.answer(301, "", { location = "https://b.test" }), "redirect_refused" },
    { "a redirect", fake.answer(302, html, { location = "/" }), "redirect_refused" },
    { "a redirect of the method", fake.answer(307), "redirect_refused" },
    { "a redirect for good", fake.answer(308), "redirect_refused" },
    { "an unmodified answer", fake.answer(304), "redirect_refused" },
  }
  for _, case in ipairs(unusable) do
    local what, answer, code = case[1], case[2], case[3]
    it("keeps the whole response of " .. what, function()
      local err = get(answer)
      assert.equal("SDKError", err.type)
      assert.equal(code, err.code)
      assert.equal(answer.status, err.status)
      assert.equal(answer.body, err.body)
      assert.same(answer.headers, err.headers)
      assert.is_nil(err.errors)
      assert.not_equal("", err.message)
    end)
  end

  it("names what a success lacks", function()
    local err = error_of(fake.answer(200, '{"object":"machine","id":"mch_1"}'), "delete", "mch_1")
    assert.truthy(err.message:find("`deleted` of the response must be true", 1, true))
  end)

  it("says where broken JSON breaks", function()
    assert.truthy(get(fake.answer(200, '{"id":}')).message:find("byte 6", 1, true))
  end)

  it("has the trace of a response that is not JSON", function()
    local err = get(fake.answer(502, html, { ["cf-ray"] = "ray_1" }))
    assert.equal("ray_1", err.clerk_trace_id)
  end)

  it("has the Retry-After", function()
    assert.equal(9, get(fake.answer(503, html, { ["retry-after"] = "9" })).retry_after)
    assert.is_nil(get(fake.answer(503, html)).retry_after)
  end)
end)

describe("A success of", function()
  local scope = '"from_machine_id":"mch_1","to_machine_id":"mch_2"'

  --- For each operation: the call, the smallest response that is a success, the members it must
  --- have, and whether a 204 is also a success.
  local operations = {
    list = { {}, '{"data":[]}', { "data" } },
    create = { { { name = "a" } }, '{"id":"mch_1","secret_key":"ak_1"}', { "id" } },
    get = { { "mch_1" }, '{"id":"mch_1"}', { "id" } },
    update = { { "mch_1", {} }, '{"id":"mch_1"}', { "id" }, true },
    delete = { { "mch_1" }, '{"deleted":true}', { "deleted" }, true },
    get_secret_key = { { "mch_1" }, '{"secret":"ak_1"}', { "secret" } },
    rotate_secret_key = { { "mch_1", { previous_token_ttl = 0 } }, '{"secret":"ak_1"}',
      { "secret" } },
    create_scope = { { "mch_1", { to_machine_id = "mch_2" } }, "{" .. scope .. "}",
      { "from_machine_id", "to_machine_id" }, true },
    delete_scope = { { "mch_1", "mch_2" }, "{" .. scope .. ',"deleted":true}', { "deleted" },
      true },
    create_token = { {}, '{"token":"mt_1"}', { "token" } },
    list_tokens = { { { subject = "mch_1" } }, '{"m2m_tokens":[]}', { "m2m_tokens" } },
    revoke_token = { { "mt_1" }, '{"revoked":true}', { "revoked" } },
    verify_token = { { { token = "mt_1" } },
      '{"subject":"mch_1","revoked":false,"expired":true}', { "subject", "revoked", "expired" } },
  }

  --- Values that no member may have.
  local WRONG = { "null", "0", "1", "{}", '{"id":"a"}', '""', '{"a":[]}' }

  --- The members that may be true or false.
  local BOOLEANS = { verify_token = { revoked = true, expired = true } }

  local function all_escaped(name)
    return (name:gsub(".", function(letter) return ("\\u%04X"):format(letter:byte()) end))
  end

  for _, operation in ipairs(core.operations) do
    local name = operation.name
    local call, least, members, may_be_204 = (table.unpack or unpack)(operations[name], 1, 4)
    local is_change = operation.is_change

    local function succeeds(answer)
      local client = fake.client { answer }
      return (client[name](client, (table.unpack or unpack)(call)))
    end

    --- Checks that the response is refused, and that a change may have been applied.
    local function refuses(body, code, status)
      local err = error_of(fake.answer(status or 200, body), name, (table.unpack or unpack)(call))
      assert.equal("SDKError", err.type)
      assert.equal(code or "unexpected_shape", err.code)
      assert.equal(is_change or nil, err.maybe_applied)
      assert.equal(not operation.returns_secret and body or nil, err.body)
      assert.is_nil(err.errors)
    end

    it(name .. " has what it promises", function()
      succeeds(fake.answer(200, least))
      succeeds(fake.answer(201, "\239\187\191 " .. least .. "\n"))
      succeeds(fake.answer(200, (least:gsub("}$", ',"errors":[],"new":{"id":5,"deleted":1}}'))))
    end)

    it(name .. " is not just any JSON", function()
      for _, body in ipairs { "{}", "[]", "null", "true", '"mch_1"', '{"message":"maintenance"}',
        '{"object":"machine","name":"a","deleted":false}', api_errors(), "[" .. least .. "]",
        '{"a":' .. least .. "}", '{"a":[' .. least .. "]}" } do
        refuses(body)
      end
    end)

    for _, member in ipairs(members) do
      it(("%s has %s, and of the right type"):format(name, member), function()
        local place = '"' .. member .. '":'
        local value = least:match(place .. "([^,}]+)")
        for _, wrong in ipairs(WRONG) do
          refuses((least:gsub(place .. "[^,}]+", place .. wrong)))
          refuses((least:gsub("}$", "," .. place .. wrong .. "}")))
          succeeds(fake.answer(200, (least:gsub("^{", "{" .. place .. wrong .. ","))))
        end
        for _, boolean in ipairs { "true", "false" } do
          if value ~= boolean and not (BOOLEANS[name] or {})[member] then
            refuses((least:gsub(place .. "[^,}]+", place .. boolean)))
          end
        end
        if value ~= "[]" then refuses((least:gsub(place .. "[^,}]+", place .. '["a"]'))) end
        refuses((least:gsub(member, member:upper())))
        refuses((least:gsub(member, member .. "\\u0000")))
        succeeds(fake.answer(200, (least:gsub(member, all_escaped(member)))))
      end)
    end

    it(name .. (may_be_204 and " may be a 204" or " is not a 204"), function()
      for _, body in ipairs { "", least, "<html>" } do
        if may_be_204 then
          local result = succeeds(fake.answer(204, body))
          assert.same({}, result)
          assert.equal(core.result, getmetatable(result))
          assert.is_string(tostring(result))
        else
          refuses(body, "unexpected_shape", 204)
        end
      end
    end)

    it(name .. " is not empty with any other status", function()
      for _, status in ipairs { 200, 201, 202, 203, 205, 206, 299 } do
        refuses("", "invalid_json", status)
      end
    end)
  end
end)

describe("the trace", function()
  -- body, clerk-trace-id, cf-ray, expected
  for _, case in ipairs {
    { '"body"', "header", "ray", "body" },
    { '"body"', nil, nil, "body" },
    { nil, "header", "ray", "header" },
    { nil, nil, "ray", "ray" },
    { nil, nil, nil, nil },
    { "null", "header", nil, "header" },
    { "5", "header", "ray", "header" },
  } do
    local in_body, header, ray, expected = (table.unpack or unpack)(case, 1, 4)
    it(("is %s of %s, %s and %s"):format(expected, in_body, header, ray), function()
      local body = api_errors(in_body and ',"clerk_trace_id":' .. in_body)
      local err = get(fake.answer(404, body, { ["clerk-trace-id"] = header, ["cf-ray"] = ray }))
      assert.equal(expected, err.clerk_trace_id)
    end)
  end
end)

describe("a TransportError", function()
  it("has the failure and nothing of a response", function()
    local failure = fake.failure("tls_failed", false, "certificate has expired")
    local err = error_of(failure, "delete", "m")
    assert.equal("TransportError", err.type)
    assert.equal("tls_failed", err.code)
    assert.equal("certificate has expired", err.message)
    assert.is_false(err.maybe_applied)
    for _, field in ipairs { "status", "headers", "body", "errors", "meta", "clerk_trace_id",
      "retry_after", "where" } do
      assert.is_nil(err[field])
    end
  end)

  it("has every code that a failure may have", function()
    for _, code in ipairs { "dns_failed", "connect_failed", "connection_lost", "timeout",
      "rate_limited", "tls_failed", "response_too_large", "bad_response", "cancelled",
      "no_resources" } do
      assert.equal(code, get(fake.failure(code, true)).code)
    end
  end)

  it("has a message even if the failure has none", function()
    local err = get { failure = { code = "timeout", sent = true } }
    assert.not_equal("", err.message)
  end)

  it("is that of the failure where a transport returns false instead of nil", function()
    local client = fake.client({}, { transport = { send = function()
      return false, { code = "tls_failed", message = "certificate has expired", sent = false }
    end } })
    local err = assert.has_error(function() client:get "m" end)
    assert.equal("certificate has expired", err.message)
  end)

  it("does not keep the response of an earlier attempt", function()
    local client = fake.client {
      fake.answer(503, "busy", { ["cf-ray"] = "r", ["retry-after"] = "1" }),
      fake.failure("tls_failed", false),
    }
    local err = assert.has_error(function() client:get "m" end)
    assert.equal("TransportError", err.type)
    assert.equal(2, err.attempts)
    for _, field in ipairs { "status", "headers", "body", "clerk_trace_id", "retry_after" } do
      assert.is_nil(err[field])
    end
  end)

  local function returning(...)
    local values, count = { ... }, select("#", ...)
    return { send = function() return (table.unpack or unpack)(values, 1, count) end }
  end

  local nonsense = {
    { "nothing", returning() },
    { "nil", returning(nil) },
    { "nil and a string", returning(nil, "connection refused") },
    { "nil and true", returning(nil, true) },
    { "nil and an empty table", returning(nil, {}) },
    { "nil and a code that is not a string", returning(nil, { code = 7 }) },
    { "nil and an unknown code", returning(nil, { code = "out_of_paper", sent = false }) },
    { "true", returning(true) },
    { "false", returning(false) },
    { "a string", returning "HTTP/1.1 200 OK" },
    { "a number", returning(200) },
    { "a function", returning(print) },
    { "an empty table", returning {} },
    { "no status", returning { headers = {}, body = "{}" } },
    { "a status that is a string", returning { status = "200", headers = {}, body = "{}" } },
    { "a status that is no integer", returning { status = 200.5, headers = {}, body = "{}" } },
    { "a status of zero", returning { status = 0, headers = {}, body = "{}" } },
    { "a status of 99", returning { status = 99, headers = {}, body = "{}" } },
    { "a status of 1000", returning { status = 1000, headers = {}, body = "{}" } },
    { "a negative status", returning { status = -200, headers = {}, body = "{}" } },
    { "a body that is a table", returning { status = 200, headers = {}, body = {} } },
    { "a body that is a number", returning { status = 200, headers = {}, body = 5 } },
    { "headers that are a string", returning { status = 200, headers = "a: b", body = "{}" } },
  }
  for _, case in ipairs(nonsense) do
    it("is a bad_response for a transport that returns " .. case[1], function()
      local client = fake.client({}, { transport = case[2] })
      local err = assert.has_error(function() client:create { name = "a" } end)
      assert.is_true(machines.is_error(err))
      assert.equal("TransportError", err.type)
      assert.equal("bad_response", err.code)
      assert.equal(1, err.attempts)
      assert.is_true(err.maybe_applied)
      assert.truthy(err.message:find("transport", 1, true))
    end)
  end

  it("is not raised for odd headers that are not needed", function()
    for _, headers in ipairs { { 1, 2 }, { ["x-a"] = 5 }, { ["retry-after"] = 7 },
      { ["clerk-trace-id"] = {} }, { ["cf-ray"] = 5 } } do
      local transport = returning { status = 200, headers = headers, body = '{"id":"m"}' }
      assert.equal("m", fake.client({}, { transport = transport }):get("m").id)
      transport = returning { status = 404, headers = headers, body = api_errors() }
      local client = fake.client({}, { transport = transport })
      local err = assert.has_error(function() client:get "m" end)
      assert.equal("ClerkErrors", err.type)
      assert.is_string(tostring(err))
    end
  end)
end)

describe("the text of an error", function()
  local function check_line(text, parts)
    assert.is_nil(text:find("%c"))
    for _, part in ipairs(parts) do
      if not text:find(part, 1, true) then error(("%q lacks %q"):format(text, part)) end
    end
  end

  it("is one line with the explanation, and then status, code and trace", function()
    local err = get(fake.answer(404, api_errors ',"clerk_trace_id":"trace_1"'))
    assert.equal("ClerkErrors: get: No machine was found. (404 machine_not_found; trace trace_1)",
      tostring(err))
  end)

  --- The text for a create that the API refuses with these errors.
  local function refusal(errors)
    return tostring(error_of(fake.answer(422, '{"errors":[' .. errors .. "]}"), "create",
      { name = "a" }))
  end

  it("names the parameter that is wrong", function()
    assert.equal([[ClerkErrors: create: "mch_x" does not exist (scoped_machines; 422 bad_value)]],
      refusal [[{"message":"is invalid","long_message":"\"mch_x\" does not exist",
        "code":"bad_value","meta":{"param_name":"scoped_machines"}}]])
  end)

  it("has the message if there is no explanation", function()
    for _, long in ipairs { "", ',"long_message":null', ',"long_message":""', ',"long_message":5',
      ',"long_message":"is invalid"' } do
      assert.equal("ClerkErrors: create: is invalid (422 bad_value)",
        refusal('{"message":"is invalid","code":"bad_value"' .. long .. "}"))
    end
  end)

  it("has the explanation if there is no message", function()
    assert.equal("ClerkErrors: create: It is odd. (422 unknown)",
      refusal '{"long_message":"It is odd."}')
  end)

  it("says how many errors there are, and shows the first", function()
    local entry = '{"message":"m%d","code":"c%d","meta":{"param_name":"p%d"}}'
    local entries = {}
    for i = 1, 3 do entries[i] = entry:format(i, i, i) end
    assert.equal("ClerkErrors: create: m1 (p1; 422 c1; first of 3 errors)",
      refusal(table.concat(entries, ",")))
  end)

  it("copes with what the API should not send", function()
    for _, odd in ipairs { "[]", "null", "1", '"text"', "{}", '{"meta":5}', '{"meta":"a"}',
      '{"meta":{"param_name":5}}', '{"meta":[{"param_name":"a"}]}',
      '{"meta":{"param_name":""}}' } do
      assert.equal("ClerkErrors: create: the API refused the request without saying why "
        .. "(422 unknown)", refusal(odd))
    end
  end)

  it("is one line for a response that is not JSON, without that response", function()
    local answer = fake.answer(502, "<html>\nnginx</html>", { ["cf-ray"] = "ray_1" })
    local err = error_of(answer, "list")
    check_line(tostring(err), { "list", "502", "unexpected_status", err.message, "ray_1" })
    assert.is_nil(tostring(err):find("nginx", 1, true))
  end)

  it("is one line for a transport failure", function()
    local err = get(fake.failure("timeout", true, "no answer after 10000 ms"))
    check_line(tostring(err), { "get", "timeout", "no answer after 10000 ms" })
  end)

  it("is cleaned of terminal controls, line ends and invalid UTF-8", function()
    for _, bad in ipairs(UNSAFE) do
      local text = "a" .. bad .. "z"
      local clean = "a" .. ("?"):rep(is_utf8(bad) and 1 or #bad) .. "z"
      if bad ~= "\0" then -- which ends the message of a failure
        local failed = get(fake.failure("timeout", true, text))
        assert.equal(text, failed.message)
        assert.equal(("TransportError: get: %s (timeout)"):format(clean), tostring(failed))
      end
      if is_utf8(bad) then
        local entry = '{"message":"%s","code":"%s","meta":{"param_name":"%s"}}'
        local body = '{"errors":[' .. entry:gsub("%%s", escaped(text)) .. '],"clerk_trace_id":"'
          .. escaped(text) .. '"}'
        local refused = get(fake.answer(400, body))
        assert.same({ text, text, text, text, body }, { refused.message, refused.code,
          refused.errors[1].meta.param_name, refused.clerk_trace_id, refused.body })
        assert.equal(("ClerkErrors: get: X (X; 400 X; trace X)"):gsub("X", clean),
          tostring(refused))
      end
    end
  end)

  it("keeps ordinary text in any script", function()
    for _, good in ipairs { "café", "e\204\129", "東京", "😀", "👩\226\128\141💻",
      "می\226\128\140خ", "☝\239\184\143", "\194\160", "\239\191\189", " ~" } do
      assert.truthy(tostring(get(fake.failure("timeout", true, good))):find(good, 1, true))
    end
  end)

  it("about an argument is cleaned in the names that it quotes", function()
    for _, bad in ipairs(UNSAFE) do
      local client = fake.client { fake.ok }
      for _, mistake in ipairs {
        function() machines.new { ["a" .. bad] = 1 } end,
        function() client:create { name = "a", ["a" .. bad] = 1 } end,
        function() client:get("m", { ["a" .. bad] = 1 }) end,
        function() client:get("m", { headers = { ["a" .. bad] = 1 } }) end,
      } do
        local err = assert.has_error(mistake)
        assert.equal("ArgumentError", err.type)
        assert.is_nil(err.message:find(bad, 1, true))
        assert.is_nil(tostring(err):find(bad, 1, true))
      end
    end
  end)

  it("works where Lua wants a string", function()
    local err = get(fake.answer(404, api_errors()))
    local text = tostring(err)
    assert.equal(text, ("%s"):format(text))
    assert.equal("failed: " .. text, "failed: " .. err)
    assert.equal(text .. " failed", err .. " failed")
    assert.equal(text .. text, err .. err)
    assert.equal("1" .. text .. "2", 1 .. err .. 2)
    assert.equal("a" .. text .. "b" .. text, "a" .. err .. "b" .. err)
    for _, other in ipairs { {}, true, print } do
      assert.has_error(function() return err .. other end)
      assert.has_error(function() return other .. err end)
    end
    assert.has_error(function() return err .. nil end)
  end)
end)

describe("the secret key", function()
  local key = fake.secret_key
  local echo = ('{"errors":[{"message":"bad %s and %s again","long_message":"%s","code":"%s",'
    .. '"meta":{"given":"Bearer %s","list":["%s"],"%s":1}}],"meta":{"key":"%s"},'
    .. '"clerk_trace_id":"%s"}'):format(key, key, key, key, key, key, key, key, key)

  it("is replaced wherever an error response repeats it", function()
    local err = get(fake.answer(401, echo, {
      ["www-authenticate"] = "Bearer " .. key, ["x-" .. key] = "1", ["cf-ray"] = key,
    }))
    assert.equal("ClerkErrors", err.type)
    assert.is_false(holds(err, key))
    assert.is_nil(tostring(err):find(key, 1, true))
    assert.equal(1, (err.message:find "^bad .+ and .+ again$"))
    assert.equal(1, (err.headers["www-authenticate"]:find "^Bearer .+"))
    assert.truthy(err.body:find('"code":', 1, true))
  end)

  it("is replaced in a body that is not JSON, and in headers", function()
    local err = get(fake.answer(502, ("<html>%s%s</html>"):format(key, key),
      { ["x-echo"] = "Bearer " .. key .. ", " .. key, ["clerk-trace-id"] = key }))
    assert.is_false(holds(err, key))
    assert.equal(1, (err.body:find "^<html>.+</html>$"))
    assert.is_nil(tostring(err):find(key, 1, true))
  end)

  it("is replaced in a success that cannot be used", function()
    assert.is_false(holds(get(fake.answer(200, key)), key))
    assert.is_false(holds(get(fake.answer(200, '["' .. key .. '"]')), key))
    assert.is_false(holds(get(fake.answer(302, "", { location = "/?k=" .. key })), key))
  end)

  it("is replaced in what a transport says", function()
    local err = get(fake.failure("connection_lost", true, "sent Authorization: Bearer " .. key))
    assert.is_false(holds(err, key))
    assert.equal(1, (err.message:find("sent Authorization: Bearer ", 1, true)))
  end)

  it("is replaced whatever characters it has", function()
    for _, odd in ipairs { "%d+.*[a]-^$()", "a%b%%1%0%1", "sk test key", "k\195\169y_key" } do
      local client = fake.client({ fake.answer(502, "<" .. odd .. ">") },
        { secret_key = odd, retries = false })
      local err = assert.has_error(function() client:get "m" end)
      assert.is_false(holds(err, odd))
      assert.equal(1, (err.body:find "^<.+>$"))
    end
  end)

  it("is replaced for each attempt when a function returns the keys", function()
    local count = 0
    local repeats = fake.answer(401, "<sk_attempt_1 sk_attempt_2>")
    local client = fake.client({ fake.answer(503), repeats }, {
      secret_key = function()
        count = count + 1
        return "sk_attempt_" .. count
      end,
    })
    local err = assert.has_error(function() client:get "m" end)
    assert.equal(2, err.attempts)
    assert.is_false(holds(err, "sk_attempt_"))
  end)

  it("does not appear in the text of the client", function()
    local client = fake.client { fake.ok }
    assert.is_nil(tostring(client):find(key, 1, true))
  end)

  it("is in no field of the client", function()
    local client = fake.client { fake.ok }
    client:list()
    if type(client) ~= "table" then return end
    for name, value in pairs(client) do
      assert.not_equal(key, name)
      assert.not_equal(key, value)
    end
  end)
end)

describe("the password of a proxy", function()
  --- The message of the error for a failure with this message.
  local function shown(message)
    local err = get(fake.failure("connect_failed", false, message))
    assert.is_false(holds(err, "Hunter"))
    assert.is_nil(tostring(err):find("Hunter", 1, true))
    return err.message
  end

  it("is replaced in what a transport says", function()
    assert.equal("Could not resolve proxy: http://(hidden)@proxy.test:3128/",
      shown "Could not resolve proxy: http://user:Hunter2@proxy.test:3128/")
    assert.equal("cannot read 'htp://(hidden)@127.0.0.1:1' today",
      shown "cannot read 'htp://user:Hunter2@127.0.0.1:1' today")
  end)

  it("is replaced in every way it can be written", function()
    for _, written in ipairs { "http://user:Hunter2@h", "http://user:Hunter2#x@h:1",
      "http://user:Hun ter@Hunter2@h", "http://us er:'Hunter2'@h", "socks5h://:Hunter2@h",
      "http://user:Hunter/2?@h", "http://Hunter2@h", "//user:Hunter2@h", "user:Hunter2@h:99999",
      "http:/user:Hunter2@h", "http//user:Hunter2@h", "HTTPS://user:Hunter\"2@h",
      "http://user:Hunter2@%68", "https://a@b and https://user:Hunter2@h" } do
      for _, message in ipairs { "%s", "proxy %s", "proxy: '%s': bad", '"%s" is bad', "(%s)" } do
        shown((message:gsub("%%s", (written:gsub("%%", "%%%%")))))
      end
    end
  end)

  it("is replaced along with the secret key", function()
    assert.equal("http://(hidden)@h said (secret)",
      shown("http://user:Hunter2@h said " .. fake.secret_key))
  end)

  it("changes nothing where there is none", function()
    for _, message in ipairs { "mail ops@proxy.test", "https://api.clerk.com/v1: no", "a@b", "@",
      "50% of http://h:1" } do
      assert.equal(message, shown(message))
    end
  end)
end)

describe("a response that may contain a machine's key or a token", function()
  local leak = '{"object":"machine_secret_key","secret":"ak_0123456789"'
  local calls = {
    { "create", { name = "a" } },
    { "get_secret_key", "mch_1" },
    { "rotate_secret_key", "mch_1", { previous_token_ttl = 0 } },
    { "create_token" },
    { "verify_token", { token = "mt_1" } },
  }
  for _, call in ipairs(calls) do
    it("to " .. call[1] .. " is withheld when it cannot be used", function()
      for _, body in ipairs { leak, "[" .. leak .. "}]", leak .. "}}", '"ak_0123456789"',
        "ak_0123456789" } do
        for _, status in ipairs { 200, 201 } do
          local err = error_of(fake.answer(status, body), (table.unpack or unpack)(call))
          assert.equal("SDKError", err.type)
          assert.is_nil(err.body)
          assert.is_false(holds(err, "ak_0123456789"))
          assert.is_nil(tostring(err):find("ak_0123456789", 1, true))
          assert.truthy(err.message:find("withheld", 1, true))
          assert.equal(status, err.status)
          assert.is_table(err.headers)
        end
      end
    end)

    it("to " .. call[1] .. " is kept when it is not a success", function()
      local err = error_of(fake.answer(502, "<html>"), (table.unpack or unpack)(call))
      assert.equal("<html>", err.body)
      err = error_of(fake.answer(403, api_errors()), (table.unpack or unpack)(call))
      assert.equal(api_errors(), err.body)
      assert.is_nil(err.message:find("withheld", 1, true))
    end)
  end
end)

describe("is_error", function()
  it("recognises the errors of this library", function()
    assert.is_true(machines.is_error(get(fake.answer(404))))
    assert.is_true(machines.is_error(get(fake.failure("timeout", true))))
    local _, err = pcall(machines.new, { nonsense = 1 })
    assert.is_true(machines.is_error(err))
  end)

  it("recognises nothing else", function()
    local result = fake.client({ fake.ok }):get "m"
    for _, other in ipairs { false, true, 1, "SDKError", {}, { type = "SDKError", code = "x" },
      setmetatable({}, { __tostring = tostring }), print, null, result } do
      assert.is_false(machines.is_error(other))
    end
    assert.is_false(machines.is_error(nil))
    assert.is_false(machines.is_error())
  end)
end)

describe("what the caller's own code raises", function()
  local raised = setmetatable({}, { __tostring = function() return "mine" end })
  local function raise() error(raised) end

  local function caught(options)
    local client = fake.client({ fake.ok }, options)
    local ok, err = pcall(function() client:get "m" end)
    assert.is_false(ok)
    return err
  end

  it("in secret_key is passed on unchanged", function()
    assert.equal(raised, caught { secret_key = raise })
    assert.equal("no key today", caught { secret_key = function() error("no key today", 0) end })
  end)

  it("in secret_key ends the call before anything is sent", function()
    local client, transport = fake.client({ fake.ok }, { secret_key = raise })
    pcall(client.get, client, "m")
    assert.equal(0, #transport.requests)
  end)

  it("in on_event is passed on unchanged", function()
    assert.equal(raised, caught { on_event = raise })
  end)

  it("in send is passed on unchanged", function()
    assert.equal(raised, caught { transport = { send = raise } })
    assert.equal("broken", caught { transport = { send = function() error("broken", 0) end } })
  end)

  it("in sleep is passed on unchanged", function()
    local transport = { send = function() return fake.answer(503) end, sleep = raise }
    assert.equal(raised, caught { transport = transport })
  end)

  it("leaves the client usable", function()
    local fails = true
    local client = fake.client({}, {
      transport = {
        send = function()
          if fails then error(raised) end
          return fake.ok
        end,
      },
    })
    pcall(client.get, client, "m")
    fails = false
    assert.equal("mch_1", client:get("m").id)
  end)

  it("is passed on unchanged by the safe twin", function()
    local client = assert(require("clerk.machines.safe").new {
      secret_key = "k", transport = { send = raise },
    })
    local result, err = client:get "m"
    assert.is_nil(result)
    assert.equal(raised, err)
  end)
end)

describe("a result", function()
  local function got(body, method, ...)
    local client = fake.client { fake.answer(200, body) }
    return (client[method or "get"](client, ...))
  end

  it("has everything that the server sent", function()
    assert.same({
      object = "machine", id = "mch_1", name = "caf\195\169", created_at = 1700000000123,
      default_token_ttl = 3600, scoped_machines = { { id = "mch_2", later = { 1, { x = true } } } },
      brand_new = { a = { 1.5, "two", false } }, object_id = "",
    }, got('{"object":"machine","id":"mch_1","name":"caf\\u00e9","created_at":1700000000123,'
      .. '"default_token_ttl":3600,"scoped_machines":[{"id":"mch_2","later":[1,{"x":true}]}],'
      .. '"brand_new":{"a":[1.5,"two",false]},"object_id":""}', "get", "mch_1"))
  end)

  if math.type then
    it("has whole numbers as integers", function()
      local result = got('{"id":"m","created_at":1700000000123,"big":9007199254740993}', "get", "m")
      assert.equal("integer", math.type(result.created_at))
      assert.equal("9007199254740993", tostring(result.big))
    end)
  end

  it("leaves null members out and keeps null elements", function()
    local result = got('{"id":"m","gone":null,"list":[null,1,null]}', "get", "m")
    assert.is_nil(result.gone)
    assert.same({ null, 1, null }, result.list)
  end)

  it("may have more members than those that it must have", function()
    for _, member in ipairs { '"object":5', '"errors":[]', '"__tostring":1', '"deleted":false' } do
      assert.is_table(got('{"id":"m",' .. member .. "}", "get", "m"))
    end
  end)

  it("is read even if it begins with a byte order mark", function()
    assert.equal("mch_1", got('\239\187\191{"id":"mch_1"}', "get", "mch_1").id)
  end)

  it("has U+FFFD for a lone surrogate, so that one name does not hide a page", function()
    local result = got('{"data":[{"id":"mch_1","name":"a\\ud83d"},{"id":"mch_2","name":"b"}]}',
      "list")
    assert.equal("a\239\191\189", result.data[1].name)
    assert.equal("b", result.data[2].name)
  end)

  it("of a list has data and total_count", function()
    local result = got('{"data":[{"id":"mch_1"},{"id":"mch_2"}],"total_count":12}', "list")
    assert.same({ data = { { id = "mch_1" }, { id = "mch_2" } }, total_count = 12 }, result)
  end)

  it("shows an identity and no secret as text", function()
    local text = tostring(got(
      '{"object":"machine","id":"mch_1","name":"a","secret_key":"ak_0123456789"}',
      "create", { name = "a" }))
    assert.truthy(text:find("mch_1", 1, true))
    assert.is_nil(text:find("ak_0123456789", 1, true))
    text = tostring(got('{"object":"machine_secret_key","secret":"ak_0123456789"}',
      "get_secret_key", "mch_1"))
    assert.truthy(text:find("machine_secret_key", 1, true))
    assert.is_nil(text:find("ak_0123456789", 1, true))
  end)

  it("shows an identity in the rows of a list, too", function()
    local result = got('{"data":[{"object":"machine","id":"mch_1","scoped_machines":'
      .. '[{"object":"machine","id":"mch_2"}]}],"total_count":1}', "list")
    assert.truthy(tostring(result.data[1]):find("mch_1", 1, true))
    assert.truthy(tostring(result.data[1].scoped_machines[1]):find("mch_2", 1, true))
    assert.is_string(tostring(result))
  end)

  it("has a text that is cleaned like an error's", function()
    for _, bad in ipairs(UNSAFE) do
      if is_utf8(bad) then
        local text = escaped("a" .. bad .. "z")
        local machine = got(('{"object":"machine","id":"%s","name":"%s"}'):format(text, text),
          "get", "m")
        assert.equal("a" .. bad .. "z", machine.name)
        assert.equal("machine a?z (a?z)", tostring(machine))
        local scope = got(('{"object":"machine_scope","from_machine_id":"%s","to_machine_id":"%s"}')
          :format(text, text), "create_scope", "m", { to_machine_id = "n" })
        assert.equal("machine_scope a?z -> a?z", tostring(scope))
      end
    end
  end)

  it("of a list is decoded and shown with any total_count", function()
    local deep = ('{"data":[],"total_count":'):rep(400) .. "1" .. ("}"):rep(400)
    for _, total in ipairs { "1e400", "-1e400", "700.5", "9223372036854775808", "1e-400", "-1",
      "99999999999999999999", "null", '"many"', "[]", "{}", "true", deep } do
      local result = got('{"data":[{"id":"m"}],"total_count":' .. total .. "}", "list")
      assert.equal("m", result.data[1].id)
      assert.matches("^machines: 1 of [^ ]+$", tostring(result))
    end
    assert.equal("machines: 0 of ?", tostring(got('{"data":[]}', "list")))
  end)

  it("has a text of one line, whatever the server sent", function()
    for _, body in ipairs { '{"id":"m"}', '{"id":"m","object":[]}',
      '{"id":"a\\nb","object":"\\u001b"}', '{"id":"m","object":null}', '{"id":"m","name":{}}',
      '{"id":"m","from_machine_id":"m","to_machine_id":"n","object":"x"}' } do
      local text = tostring(got(body, "get", "m"))
      assert.is_string(text)
      assert.is_nil(text:find("%c"))
    end
    assert.equal("machine a?b (c?d)",
      tostring(got('{"id":"a\\u009bb","name":"c\\u202ed","object":"machine"}', "get", "m")))
  end)

  it("can be changed by its owner", function()
    local result = got('{"id":"m","data":[]}', "list")
    result.id, result.mine, result.data[1] = nil, 1, 2
    assert.same({ mine = 1, data = { 2 } }, result)
  end)
end)
