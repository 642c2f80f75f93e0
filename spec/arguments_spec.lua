local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local fake = require "support.fake"
local posix = require "support.posix"

local unpack = table.unpack or unpack
local null = machines.null
local nan, inf = 0 / 0, math.huge

-- Must never appear in a message.
local secret = "hunter2hunter2"

local operations = core.operations

-- What an operation needs in addition to its IDs; nil if it takes no table.
local good_params = {
  list = {},
  create = { name = "a" },
  update = {},
  rotate_secret_key = { previous_token_ttl = 0 },
  create_scope = { to_machine_id = "mch_9" },
  create_token = {},
  list_tokens = { subject = "mch_1" },
  revoke_token = {},
  verify_token = { token = "mt_1" },
}

local function copy(original)
  if type(original) ~= "table" then return original end
  local result = {}
  for key, value in pairs(original) do result[key] = copy(value) end
  return result
end

--- Good arguments of an operation, and their number.
local function arguments_of(operation)
  local arguments = {}
  for _, parameter in ipairs(operation.parameters) do
    if parameter.place == "path" then arguments[#arguments + 1] = "mch_1" end
  end
  arguments[#arguments + 1] = copy(good_params[operation.name])
  return arguments, #arguments
end

--- Calls an operation with good arguments, except that `name` is `value`.
local function call_with(client, operation, name, value)
  local arguments, count = arguments_of(operation)
  local position = 0
  for _, parameter in ipairs(operation.parameters) do
    if parameter.place == "path" then position = position + 1 end
    if parameter.name == name then
      if parameter.place == "path" then arguments[position] = value
      else arguments[count][name] = value end
    end
  end
  return client[operation.name](client, unpack(arguments, 1, count))
end

--- Checks that `call` raises an ArgumentError whose message holds `name`.
local function refused(name, call)
  local err = assert.has_error(call)
  if not machines.is_error(err) then error(err, 0) end
  assert.equal("ArgumentError", err.type)
  assert.equal("invalid_argument", err.code)
  assert.is_string(err.message)
  if not err.message:find(name, 1, true) then
    error(("%q does not name %s"):format(err.message, name), 2)
  end
  for _, text in ipairs { err.message, tostring(err) } do
    assert.is_nil(text:find("%c"))
    assert.is_nil(text:find(secret, 1, true))
    assert.is_nil(text:find(fake.secret_key, 1, true))
  end
  assert.is_nil(err.status)
  assert.is_nil(err.maybe_applied)
  return err
end

--- The same for a call of an operation, which must use neither the transport nor the key.
local function call_refused(name, operation_name, call, options)
  local function ask() error "asked for the key" end
  local settings = { secret_key = ask, machine_secret_key = ask }
  for option, value in pairs(options or {}) do settings[option] = value end
  local client, transport = fake.client({ fake.ok }, settings)
  local err = refused(name, function() call(client) end)
  assert.equal(operation_name, err.operation)
  assert.equal(0, #transport.requests)
  return err
end

local function accepted(call, options)
  local client, transport = fake.client({ fake.ok }, options)
  call(client)
  assert.equal(1, #transport.requests)
end

local function new_refused(name, options)
  local settings = { secret_key = fake.secret_key, transport = fake.new { fake.ok } }
  for option, value in pairs(options) do settings[option] = value end
  return refused(name, function() machines.new(settings) end)
end

local function new_accepted(options)
  fake.client({ fake.ok }, options):list()
end

-- A hole: nil among the elements.
local function with_hole()
  return { "mch_1", nil, "mch_3" }
end

local function nested_in_itself()
  local value = {}
  value.a = { value }
  return value
end

-- name of the mistake, value
local bad_ids = {
  { "an empty string", "" }, { "one dot", "." }, { "two dots", ".." }, { "a NUL", "mch\0_1" },
  { "a leading NUL", "\0" }, { "a newline", "mch_1\n" }, { "a carriage return", "\rmch_1" },
  { "a tab", "mch\t1" }, { "a DEL", "mch_1\127" }, { "an escape", "\27[31m" },
  { "a number", 1 }, { "a boolean", true }, { "false", false }, { "a table", { "mch_1" } },
  { "a function", print }, { "null", null },
}
local bad_utf8 = {
  { "a stray byte", "a\255" }, { "cut UTF-8", "a\195" }, { "a stray continuation", "\128a" },
  { "an overlong form", "\192\175" }, { "an encoded surrogate", "\237\160\128" },
  { "more than U+10FFFF", "\244\144\128\128" }, { "Latin-1", "caf\233" },
}
local bad_values = {
  machine_id = bad_ids,
  string = {
    { "a number", 1 }, { "a boolean", true }, { "false", false }, { "a table", {} },
    { "a function", print }, { "null", null }, { "a NUL", "a\0b" }, { "a last NUL", "ab\0" },
  },
  integer = {
    { "a numeric string", "10" }, { "an empty string", "" }, { "a fraction", 1.5 },
    { "nearly a whole number", 10.000001 }, { "not a number", nan }, { "infinity", inf },
    { "minus infinity", -inf }, { "2^63", 2 ^ 63 }, { "1e300", 1e300 }, { "-1e300", -1e300 },
    { "a boolean", true }, { "false", false }, { "a table", {} }, { "null", null },
  },
  number = {
    { "a numeric string", "10" }, { "not a number", nan }, { "infinity", inf },
    { "minus infinity", -inf }, { "a boolean", true }, { "a table", {} }, { "null", null },
  },
  boolean = {
    { "a number", 1 }, { "a word", "true" }, { "a table", {} }, { "null", null },
  },
  json = {
    { "a function", print }, { "not a number", nan }, { "infinity", { a = { inf } } },
    { "a hole", with_hole() }, { "a name beside elements", { "a", n = 1 } },
    { "a boolean key", { [true] = "a" } }, { "a number as key", { a = { [1.5] = "b" } } },
    { "a coroutine", { coroutine.create(function() end) } }, { "a file", { io.stdout } },
    { "itself", nested_in_itself() }, { "bad UTF-8", "a\255" }, { "a bad name", { ["a\255"] = 1 } },
  },
  machine_ids = {
    { "a string", "mch_1" }, { "a number", 1 }, { "a boolean", false }, { "null", null },
    { "a hole", with_hole() }, { "a missing first", { [2] = "mch_2" } },
    { "a zeroth", { [0] = "mch_0" } }, { "a negative key", { [-1] = "mch_1" } },
    { "a fractional key", { "mch_1", [1.5] = "mch_2" } }, { "a name", { id = "mch_1" } },
    { "a name beside elements", { "mch_1", n = 1 } }, { "a boolean key", { [true] = "mch_1" } },
    { "a far key", { "mch_1", [1000] = "mch_2" } }, { "an infinite key", { [inf] = "mch_1" } },
    { "a numeric string as key", { ["1"] = "mch_1" } },
  },
}
bad_values.token_id, bad_values.secret = bad_ids, copy(bad_values.string)
table.insert(bad_values.secret, { "an empty string", "" })
for _, case in ipairs(bad_utf8) do
  table.insert(bad_values.string, case)
  table.insert(bad_values.machine_id, case)
end
for _, case in ipairs(bad_ids) do
  table.insert(bad_values.machine_ids, { "first " .. case[1], { case[2] } })
  table.insert(bad_values.machine_ids, { "later " .. case[1], { "mch_1", "mch_2", case[2] } })
end

for _, operation in ipairs(core.operations) do
  local name = operation.name

  describe(name, function()
    it("is accepted with its required arguments", function()
      accepted(function(client) call_with(client, operation) end)
    end)

    for _, parameter in ipairs(operation.parameters) do
      if parameter.required then
        it("is refused without " .. parameter.name, function()
          call_refused(parameter.name, name, function(client)
            call_with(client, operation, parameter.name, nil)
          end)
        end)
      elseif parameter.place ~= "path" then
        it("is accepted without " .. parameter.name, function()
          accepted(function(client) call_with(client, operation, parameter.name, nil) end)
        end)
      end

      if parameter.nullable then
        it("is accepted with null as " .. parameter.name, function()
          accepted(function(client) call_with(client, operation, parameter.name, null) end)
        end)
      end

      for _, case in ipairs(bad_values[parameter.type]) do
        if not (parameter.nullable and case[2] == null) then
          it(("is refused with %s as %s"):format(case[1], parameter.name), function()
            for _, check_bounds in ipairs { true, false } do
              call_refused(parameter.name, name, function(client)
                call_with(client, operation, parameter.name, case[2])
              end, { check_bounds = check_bounds })
            end
          end)
        end
      end
    end

    it("is refused with an extra argument", function()
      local arguments, count = arguments_of(operation)
      for _, extra in ipairs { "x", {}, 1, false } do
        arguments[count + 1], arguments[count + 2] = {}, extra
        call_refused("takes at most", name, function(client)
          client[name](client, unpack(arguments, 1, count + 2))
        end)
      end
    end)

    it("is refused with a dot in place of the colon", function()
      local client, transport = fake.client { fake.ok }
      local arguments, count = arguments_of(operation)
      local err = refused(":" .. name, function() client[name](unpack(arguments, 1, count)) end)
      assert.equal(name, err.operation)
      refused(":" .. name, function() client[name]() end)
      refused(":" .. name, function() client[name](nil, unpack(arguments, 1, count)) end)
      assert.equal(0, #transport.requests)
    end)

    local function with_options(client, options)
      local arguments, count = arguments_of(operation)
      arguments[count + 1] = options
      return client[name](client, unpack(arguments, 1, count + 1))
    end

    it("is refused with options of another type", function()
      for _, options in ipairs { "x", 1, true, false, print, null } do
        call_refused("options", name, function(client) with_options(client, options) end)
      end
    end)

    it("is refused with an option that calls do not have, by its name", function()
      for _, option in ipairs { "timeout", "Timeout_ms", "secret_key", "transport", "on_event",
        "user_agent", "api_version", "check_bounds", "allow_http", "max_response_bytes",
        "connect_timeout_ms", "limit", "name" } do
        call_refused(option, name, function(client) with_options(client, { [option] = secret }) end)
      end
      call_refused("1", name, function(client) with_options(client, { secret }) end)
    end)

    if not good_params[name] then return end

    it("is refused with params of another type", function()
      for _, params in ipairs { "x", 1, true, false, print, null } do
        local arguments, count = arguments_of(operation)
        arguments[count] = params
        call_refused("params", name, function(client)
          client[name](client, unpack(arguments, 1, count))
        end)
      end
    end)

    it("is refused with a name that it does not have, by that name", function()
      for _, unknown in ipairs { "Name", "nam", "id", "machine_id", "other_machine_id", "options",
        "secret", "timeout_ms", "x y", "" } do
        local params = copy(good_params[name])
        params[unknown] = secret
        local arguments, count = arguments_of(operation)
        arguments[count] = params
        for _, check_bounds in ipairs { true, false } do
          call_refused(unknown, name, function(client)
            client[name](client, unpack(arguments, 1, count))
          end, { check_bounds = check_bounds })
        end
      end
    end)

    it("is refused with a key that is not a string", function()
      for _, key in ipairs { 1, 1.5, true, print } do
        local arguments, count = arguments_of(operation)
        arguments[count][key] = secret
        call_refused("params", name, function(client)
          client[name](client, unpack(arguments, 1, count))
        end)
      end
    end)

    if not operation.needs_params then
      it("is accepted without params", function()
        local arguments, count = arguments_of(operation)
        accepted(function(client) client[name](client, unpack(arguments, 1, count - 1)) end)
      end)
      return
    end

    it("is refused without params", function()
      local arguments, count = arguments_of(operation)
      arguments[count] = nil
      call_refused("params", name, function(client)
        client[name](client, unpack(arguments, 1, count - 1))
      end)
      call_refused("params", name, function(client)
        client[name](client, unpack(arguments, 1, count))
      end)
    end)
  end)
end

describe("the bounds of", function()
  -- operation, parameter, the last value at each edge, the first beyond each
  local umlaut, emoji = "\195\188", "\240\159\152\128"
  local bounds = {
    { "list", "limit", { 1, 500 }, { 0, -1, 501 } },
    { "list", "limit", { 1.0, 500.0 }, { 0.0, -0.0, 501.0 } },
    { "list", "offset", { 0, -0.0, 2 ^ 53 }, { -1 } },
    { "create", "default_token_ttl", { 1, 315360000 }, { 0, -1, 315360001 } },
    { "update", "default_token_ttl", { 1, 315360000 }, { 0, -1, 315360001 } },
    { "rotate_secret_key", "previous_token_ttl", { 0, 28800 }, { -1, 28801 } },
    { "create", "name", { "a", ("a"):rep(255) }, { "", ("a"):rep(256) } },
    { "update", "name", { "a", ("a"):rep(255) }, { "", ("a"):rep(256) } },
    { "create", "name", { umlaut, umlaut:rep(255) }, { umlaut:rep(256) } },
    { "update", "name", { emoji, emoji:rep(255) }, { emoji:rep(256) } },
    { "list", "query", { "", ("a"):rep(10000) }, {} },
  }

  for _, case in ipairs(bounds) do
    local operation, parameter = operations[case[1]], case[2]

    it(case[1] .. "'s " .. parameter .. " are accepted", function()
      for _, value in ipairs(case[3]) do
        accepted(function(client) call_with(client, operation, parameter, value) end)
      end
    end)

    it(case[1] .. "'s " .. parameter .. " are enforced", function()
      for _, value in ipairs(case[4]) do
        call_refused(parameter, case[1], function(client)
          call_with(client, operation, parameter, value)
        end)
      end
    end)

    it(case[1] .. "'s " .. parameter .. " can be left to the server", function()
      for _, value in ipairs(case[4]) do
        accepted(function(client) call_with(client, operation, parameter, value) end,
          { check_bounds = false })
      end
    end)
  end

  local function ids(count)
    local list = {}
    for i = 1, count do list[i] = "mch_" .. i end
    return list
  end

  it("scoped_machines are 150 elements", function()
    for _, count in ipairs { 0, 1, 150 } do
      accepted(function(client) client:create { name = "a", scoped_machines = ids(count) } end)
    end
    call_refused("scoped_machines", "create", function(client)
      client:create { name = "a", scoped_machines = ids(151) }
    end)
    accepted(function(client) client:create { name = "a", scoped_machines = ids(151) } end,
      { check_bounds = false })
  end)

  it("are in the message, both of them", function()
    local err = call_refused("limit", "list", function(client) client:list { limit = 501 } end)
    assert.truthy(err.message:find("1", 1, true) and err.message:find("500", 1, true))
    err = call_refused("name", "create", function(client) client:create { name = "" } end)
    assert.truthy(err.message:find("255", 1, true))
  end)
end)

describe("order_by", function()
  local allowed = { "name", "+name", "-name", "created_at", "+created_at", "-created_at" }

  it("allows these values in the table of operations", function()
    local expected, values = copy(allowed), copy(operations.list.parameters.order_by.values)
    table.sort(expected)
    table.sort(values)
    assert.same(expected, values)
  end)

  for _, value in ipairs(allowed) do
    it("may be " .. value, function()
      accepted(function(client) client:list { order_by = value } end)
      accepted(function(client) client:list { order_by = value } end, { check_bounds = false })
    end)
  end

  for _, value in ipairs { "", "+", "-", "id", "updated_at", "Name", "NAME", "name ", " name",
    "++name", "+-name", "name,created_at", "created", "created_at_", "nam", "namename" } do
    it(("may not be %q"):format(value), function()
      for _, check_bounds in ipairs { true, false } do
        call_refused("order_by", "list", function(client) client:list { order_by = value } end,
          { check_bounds = check_bounds })
      end
    end)
  end

  it("names what it allows", function()
    local err = call_refused("order_by", "list", function(client)
      client:list { order_by = "id" }
    end)
    assert.truthy(err.message:find("name", 1, true) and err.message:find("created_at", 1, true))
  end)
end)

describe("scoped_machines", function()
  it("belongs to create and not to update", function()
    call_refused("scoped_machines", "update", function(client)
      client:update("mch_1", { scoped_machines = {} })
    end)
  end)
end)

describe("a refused argument", function()
  it("is reported before later ones are checked", function()
    call_refused("machine_id", "update", function(client) client:update("", { name = "" }) end)
    call_refused("other_machine_id", "delete_scope", function(client)
      client:delete_scope("mch_1", "..")
    end)
  end)

  it("names the element of an array", function()
    call_refused("scoped_machines[3]", "create", function(client)
      client:create { name = "a", scoped_machines = { "a", "b", "" } }
    end)
  end)

  it("says what was expected and what was given", function()
    local err = call_refused("limit", "list", function(client) client:list { limit = "10" } end)
    assert.truthy(err.message:find("integer", 1, true))
    err = call_refused("name", "create", function(client) client:create { name = 5 } end)
    assert.truthy(err.message:find("string", 1, true))
  end)

  it("does not show the argument's value", function()
    call_refused("machine_id", "get", function(client) client:get(secret .. "\n") end)
    call_refused("name", "create", function(client) client:create { name = secret .. "\0" } end)
    call_refused("order_by", "list", function(client) client:list { order_by = secret } end)
  end)

  it("has the file and line of the call", function()
    local client = fake.client { fake.ok }
    local here = debug.getinfo(1, "Sl")
    local function where(lines)
      return ("%s:%d"):format(here.short_src, here.currentline + lines)
    end
    local err = refused("machine_id", function()
      client:get("")
    end)
    assert.equal(where(5), err.where)
    err = refused("params", function()
      client:create()
    end)
    assert.equal(where(9), err.where)
    err = refused("limit", function()
      local result = client:list { limit = 0 }
      return result
    end)
    assert.equal(where(13), err.where)
    err = refused("nonsense", function()
      client:list({}, { nonsense = 1 })
    end)
    assert.equal(where(18), err.where)
    err = refused("nonsense", function()
      machines.new { nonsense = 1 }
    end)
    assert.equal(where(22), err.where)
    client:close()
    err = refused("closed", function()
      client:list()
    end)
    assert.equal(where(27), err.where)
  end)

  it("has the file and line inside a coroutine too", function()
    local client = fake.client { fake.ok }
    local here = debug.getinfo(1, "Sl")
    local thread = coroutine.create(function()
      client:get("")
    end)
    local _, err = coroutine.resume(thread)
    assert.equal(("%s:%d"):format(here.short_src, here.currentline + 2), err.where)
  end)

  it("shows the file, line and operation in its text, on one line", function()
    local client = fake.client { fake.ok }
    local err = refused("machine_id", function()
      client:get("")
    end)
    assert.truthy(tostring(err):find(err.where, 1, true))
    assert.truthy(tostring(err):find("get", 1, true))
    assert.truthy(tostring(err):find(err.message, 1, true))
  end)

  it("leaves the client usable", function()
    local client, transport = fake.client { fake.ok }
    for _ = 1, 3 do pcall(client.get, client, "") end
    assert.equal("mch_1", client:get("mch_1").id)
    assert.equal(1, #transport.requests)
  end)
end)

describe("the caller's tables", function()
  it("are not changed by a call", function()
    local options = {
      timeout_ms = 5, deadline_ms = 9000, base_url = "https://a.test/", headers = { ["X-A"] = "1" },
      retries = { strategy = "none", status_codes = { "5XX", 429 }, backoff = { exponent = 2 } },
    }
    for _, operation in ipairs(core.operations) do
      local arguments, count = arguments_of(operation)
      arguments[count + 1] = options
      local before = copy(arguments)
      accepted(function(client)
        client[operation.name](client, unpack(arguments, 1, count + 1))
      end)
      assert.same(before, arguments)
    end
  end)

  it("are not changed by a call that is refused", function()
    local params = { name = "a", scoped_machines = { "a", "" } }
    call_refused("scoped_machines", "create", function(client) client:create(params) end)
    assert.same({ name = "a", scoped_machines = { "a", "" } }, params)
  end)

  it("are not changed by machines.new", function()
    local transport = fake.new { fake.ok }
    local options = {
      secret_key = "k", transport = transport, base_url = "https://a.test/",
      headers = { ["X-A"] = "1" }, user_agent = "mine/1",
      retries = { status_codes = { 429 }, backoff = { exponent = 2 } },
    }
    local before = { transport = transport }
    for name, value in pairs(options) do
      if name ~= "transport" then before[name] = copy(value) end
    end
    machines.new(options):list()
    assert.same(before, options)
  end)

  it("can change after machines.new without effect on the client", function()
    local options = {
      secret_key = "k", transport = fake.new { fake.ok }, headers = { ["X-A"] = "1" },
      base_url = "https://a.test",
    }
    local client = machines.new(options)
    options.base_url, options.headers["X-A"], options.secret_key = "x", "\n", ""
    client:list()
    local request = options.transport.requests[1]
    assert.equal("https://a.test/machines", request.url)
    assert.equal("1", request.headers["x-a"])
    assert.equal("Bearer k", request.headers.authorization)
  end)
end)

-- option, values accepted, values refused; the first group is for machines.new and each call
local call_options = {
  { "timeout_ms", { 1, 10000, 5000.0 }, { 0, -1, nan, inf, "100", true, {} } },
  { "deadline_ms", { 1000, 60000 }, { 0, -1, nan, inf, "100", true, {} } },
  { "retries", { false, {}, { strategy = "none" } }, { true, "none", 3, print } },
  { "headers", { {}, { ["X-A"] = "1" } }, { "X-A: 1", true, 1, { "X-A: 1" }, print } },
  { "base_url", { "https://a.test" }, { 1, true, {}, print } },
}
local new_options = {
  { "connect_timeout_ms", { 1, 5000 }, { 0, -1, nan, inf, "100", true, {} } },
  { "api_version", { "2025-11-10", "x" }, { 1, true, {}, "", "a\r\nb", "a\nb", "a\0b" } },
  { "user_agent", { "mine/1 (x; y)" }, { 1, true, {}, "a\r\nb", "a\nb", "a\0b" } },
  { "max_connections", { 1, 32, 1000 }, { 0, -1, 1.5, nan, inf, "32", true, {} } },
  { "max_response_bytes", { 1, 2 ^ 31, 2 ^ 32 }, { 0, -1, 1.5, nan, inf, "1", true, {} } },
  -- The caller's own transport cannot follow these two, whatever their value.
  { "ca_file", {}, { "/etc/ca.pem", 1, true, {}, print } },
  { "proxy", {}, { "http://127.0.0.1:1", 1, true, {}, print } },
  { "transport", {}, { "x", 1, true, print, null, {}, { send = 1 },
    { sleep = print } } },
  { "on_event", { function() end }, { "x", 1, true, {} } },
  { "allow_http", { true, false }, { "true", 1, {} } },
  { "check_bounds", { true, false }, { "false", 0, {} } },
}
for _, name in ipairs { "secret_key", "machine_secret_key" } do
  table.insert(new_options, { name, { "x", "sk_live_1", function() return "k" end },
    { "", 1, true, {}, secret .. "\r\n", secret .. "\n", secret .. "\r", "\0" .. secret } })
end

local function describe_options(options, check, accept)
  for _, case in ipairs(options) do
    local option = case[1]
    if #case[2] > 0 then
      it("accept a valid " .. option, function()
        for _, value in ipairs(case[2]) do accept(option, value) end
      end)
    end
    it("refuse an invalid " .. option, function()
      for _, value in ipairs(case[3]) do check(option, value) end
    end)
  end
end

describe("the options of machines.new", function()
  local function accept(option, value)
    new_accepted { [option] = value }
  end
  local function refuse(option, value)
    new_refused(option, { [option] = value })
  end
  describe_options(call_options, refuse, accept)
  describe_options(new_options, refuse, accept)

  it("refuse an unknown name by that name", function()
    for _, option in ipairs { "secretkey", "key", "timeout", "retry", "Headers", "limit", "x y" } do
      new_refused(option, { [option] = secret })
    end
    new_refused("1", { secret })
  end)

  it("must be a table", function()
    for _, options in ipairs { fake.secret_key, 1, true, false, print, null } do
      refused("options", function() machines.new(options) end)
    end
  end)

  it("must contain a key when the environment has none", function()
    local getenv = os.getenv
    finally(function() os.getenv = getenv end) -- luacheck: ignore 122
    for _, value in ipairs { false, "", secret .. "\n" } do
      os.getenv = function() return value or nil end -- luacheck: ignore 122
      refused("secret_key", function() machines.new { transport = fake.new {} } end)
      refused("secret_key", function() machines.new() end)
    end
  end)
end)

local function message_of(f, ...)
  local _, err = pcall(f, ...)
  assert.is_true(machines.is_error(err), err)
  return err.message
end

describe("an unknown name", function()
  local suggestions = {
    timeout = "timeout_ms", timeoutMs = "timeout_ms", TIMEOUT_MS = "timeout_ms",
    tiemout_ms = "timeout_ms", deadline = "deadline_ms", secretKey = "secret_key",
    retry = "retries", header = "headers", connect_timeout = "connect_timeout_ms",
    max_conections = "max_connections", on_events = "on_event", allow_htp = "allow_http",
    timeout_mss = "timeout_ms",
  }
  for name, nearest in pairs(suggestions) do
    it("of an option is reported with the nearest one: " .. name, function()
      assert.equal(('unknown option "%s"; did you mean "%s"?'):format(name, nearest),
        message_of(machines.new, { secret_key = "k", [name] = 1 }))
    end)
  end

  it("of an option within another is shown with its group, and so is the nearest one", function()
    local wrong = {
      { { retires = {} }, "retires", "retries" },
      { { retries = { stratgy = "none" } }, "retries.stratgy", "retries.strategy" },
      { { retries = { backoff = { max_intervall = 1 } } }, "retries.backoff.max_intervall",
        "retries.backoff.max_interval" },
    }
    for _, case in ipairs(wrong) do
      local expected = ('unknown option "%s"; did you mean "%s"?'):format(case[2], case[3])
      case[1].secret_key = "k"
      assert.equal(expected, message_of(machines.new, case[1]))
      case[1].secret_key = nil
      local client = fake.client { fake.ok }
      assert.equal(expected, message_of(client.list, client, {}, case[1]))
    end
  end)

  it("of a parameter is reported with the nearest one of that operation", function()
    local client = fake.client { fake.ok }
    assert.equal('unknown parameter "nmae"; did you mean "name"?',
      message_of(client.create, client, { nmae = "a" }))
    assert.equal('unknown parameter "default_ttl"; did you mean "default_token_ttl"?',
      message_of(client.update, client, "mch_1", { default_ttl = 60 }))
    assert.equal('unknown parameter "to_machine"; did you mean "to_machine_id"?',
      message_of(client.create_scope, client, "mch_1", { to_machine = "mch_2" }))
  end)

  it("is reported alone if no name is near", function()
    for _, name in ipairs { "x", "", "foo", "api_key", "verbose", ("timeout_ms"):rep(9) } do
      assert.equal(('unknown option "%s"'):format(name),
        message_of(machines.new, { secret_key = "k", [name] = 1 }))
    end
    local client = fake.client { fake.ok }
    assert.equal('unknown parameter "machine_id"',
      message_of(client.update, client, "mch_1", { machine_id = "mch_2" }))
  end)

  it("that is an option of machines.new is reported as such to a call", function()
    local client = fake.client { fake.ok }
    for _, name in ipairs { "secret_key", "proxy", "max_connections" } do
      assert.equal(('option "%s" can only be given to machines.new'):format(name),
        message_of(client.get, client, "mch_1", { [name] = 1 }))
    end
  end)

  it("that is an option of collect is reported as such to others", function()
    local expected = 'option "concurrency" can only be given to collect'
    local client = fake.client { fake.ok }
    for _, name in ipairs { "each", "pages", "list" } do
      assert.equal(expected, message_of(client[name], client, {}, { concurrency = 4 }))
    end
    assert.equal(expected, message_of(machines.new, { secret_key = "k", concurrency = 4 }))
  end)
end)

describe("A message about an argument", function()
  it("quotes a short string", function()
    for text, expected in pairs {
      string = 'retries.strategy must be "backoff" or "none", got "string"',
      [""] = 'retries.strategy must be "backoff" or "none", got ""',
      ["5 s"] = 'retries.strategy must be "backoff" or "none", got "5 s"',
      [("x"):rep(100)] = 'retries.strategy must be "backoff" or "none", got string',
    } do
      assert.equal(expected,
        message_of(machines.new, { secret_key = "k", retries = { strategy = text } }))
    end
    assert.equal('timeout_ms must be an integer from 1 to 2147483647, got "10"',
      message_of(machines.new, { secret_key = "k", timeout_ms = "10" }))
  end)

  it("never quotes a secret key or a password, wherever it was given", function()
    for _, given in ipairs {
      "sk_live_1", { secret_key = { "sk_live_1" } }, { secret_key = "sk_live_1\n" },
      { secret_key = "k", retries = "sk_live_1" }, { secret_key = "k", timeout_ms = "sk_live_1" },
      { secret_key = "k", retries = { strategy = "sk_live_1" } },
      { secret_key = "k", headers = "sk_live_1" }, { secret_key = "k", allow_http = "sk_live_1" },
      { secret_key = "k", proxy = "http://a:live@b\n" },
    } do
      assert.is_nil(message_of(machines.new, given):find("live", 1, true))
    end
  end)

  it("that there are too many of says how many the operation takes", function()
    local client = fake.client { fake.ok }
    assert.equal("takes at most 2 arguments, got 3",
      message_of(client.get, client, "mch_1", {}, {}))
    assert.equal("takes at most 3 arguments, got 4",
      message_of(client.update, client, "mch_1", {}, {}, {}))
  end)
end)

describe("of several problems", function()
  local in_order = {
    { "secret_key", "" }, { "base_url", "x" }, { "timeout_ms", 0 }, { "connect_timeout_ms", 0 },
    { "deadline_ms", 0 }, { "retries", 1 }, { "headers", 1 }, { "api_version", 1 },
    { "user_agent", 1 }, { "max_connections", 0 }, { "max_response_bytes", 0 }, { "ca_file", 1 },
    { "proxy", 1 }, { "transport", 1 }, { "on_event", 1 }, { "allow_http", 1 },
    { "check_bounds", 1 },
  }

  local function refused_first(name, options)
    local err = refused(name, function() machines.new(options) end)
    assert.equal(name, err.message:match "^[%w_]+")
  end

  it("the first in the order of the documentation is reported", function()
    for first = 1, #in_order do
      local given = { secret_key = "k" }
      for i = #in_order, first, -1 do given[in_order[i][1]] = in_order[i][2] end
      refused_first(in_order[first][1], given)
    end
  end)

  it("a missing key comes first", function()
    local getenv = os.getenv
    finally(function() os.getenv = getenv end) -- luacheck: ignore 122
    os.getenv = function() end -- luacheck: ignore 122
    refused_first("secret_key", { timeout_ms = 0, base_url = "x" })
  end)

  it("an option that the transport cannot follow is reported in the same order", function()
    local transport = fake.new { fake.ok }
    refused_first("user_agent", { secret_key = "k", transport = transport, proxy = "http://a.test",
      ca_file = "/x", user_agent = 1 })
    refused_first("ca_file", { secret_key = "k", transport = transport, proxy = "http://a.test",
      ca_file = "/x", on_event = 1 })
  end)

  it("the first unknown name in the alphabet is reported before everything else", function()
    local unknown = { zebra = 1, apple = 1, mango = 1 }
    local given = copy(unknown)
    given.secret_key = ""
    refused('unknown option "apple"', function() machines.new(given) end)
    local client = fake.client { fake.ok }
    refused('unknown parameter "apple"', function() client:create(unknown) end)
    refused('unknown option "apple"', function() client:list({}, unknown) end)
  end)

  it("the first header in the alphabet is reported", function()
    for _ = 1, 20 do
      refused("x-a", function()
        machines.new { secret_key = "k", headers = {
          ["x-e"] = "\n", ["x-a"] = "\n", ["x-d"] = "\n", ["x-b"] = "\n", ["x-c"] = "\0",
        } }
      end)
    end
  end)
end)

describe("the options of a call", function()
  describe_options(call_options, function(option, value)
    call_refused(option, "list", function(client) client:list(nil, { [option] = value }) end)
    call_refused(option, "delete_scope", function(client)
      client:delete_scope("a", "b", { [option] = value })
    end)
  end, function(option, value)
    accepted(function(client) client:list(nil, { [option] = value }) end)
  end)
end)

for option, operation in pairs { secret_key = "list", machine_secret_key = "create_token" } do
describe("a " .. option .. " function", function()
  for name, key in pairs {
    ["nothing"] = function() end,
    ["an empty string"] = function() return "" end,
    ["a number"] = function() return 5 end,
    ["a table"] = function() return {} end,
    ["CR and LF"] = function() return secret .. "\r\nX-A: 1" end,
    ["a NUL"] = function() return secret .. "\0" end,
  } do
    it("is refused when it returns " .. name, function()
      local client, transport = fake.client({ fake.ok }, { [option] = key })
      local err = refused(option, function() client[operation](client) end)
      assert.equal(operation, err.operation)
      assert.equal(0, #transport.requests)
    end)
  end
end)
end

describe("base_url", function()
  local function refuse(url, options)
    options = copy(options or {})
    options.base_url = url
    new_refused("base_url", options)
    call_refused("base_url", "list", function(client)
      client:list(nil, { base_url = url })
    end, { allow_http = options.allow_http })
  end

  local function accept(url, options)
    options = copy(options or {})
    accepted(function(client) client:list(nil, { base_url = url }) end, options)
    options.base_url = url
    new_accepted(options)
  end

  for _, url in ipairs {
    "https://api.clerk.com/v1", "https://a", "https://a.test/", "https://A.Test:8443/v1",
    "https://a-b.c_d.test/x/y-z/~1", "https://127.0.0.1", "https://[::1]:8443/v1",
    "https://[fe80::1]", "https://10.0.0.1:1", "https://a.test:65535", "https://a.test/v1/%20x",
    "http://127.0.0.1", "http://127.0.0.1:8080/v1", "http://127.1.2.3", "http://127.255.255.255:1/",
    "http://localhost", "http://LocalHost:80/v1", "http://[::1]", "http://[::1]:9000/v1",
  } do
    it("may be " .. url, function() accept(url) end)
  end

  for _, url in ipairs {
    "", " ", "/", "//a.test", "a.test", "a.test/v1", "https", "https:", "https:/", "https://",
    "https:a.test", "https:/a.test", "https:///v1", "https://:443", "https://:443/v1",
    "https://?x", "https://#x", "ftp://a.test", "file:///etc/passwd", "javascript:alert(1)",
    "ws://127.0.0.1", "gopher://127.0.0.1", "unix:///run/x", "data:,x", "://a.test",
    "https//a.test", "httpss://a.test", "xhttps://a.test",
    "https://a.test?x=1", "https://a.test/v1?", "https://a.test/v1?x", "https://a.test#f",
    "https://a.test/v1#", "https://a.test/?#",
    "https://" .. secret .. "@a.test", "https://u:" .. secret .. "@a.test",
    "https://:" .. secret .. "@a.test", "https://@a.test", "https://u@a.test:443/v1",
    "https://a.test:0", "https://a.test:65536", "https://a.test:99999999999999999999",
    "https://a.test:x", "https://a.test:8443x", "https://a.test:-1", "https://a.test:+1",
    "https://a.test:1:2", "https://a.test:0x50", "https://a.test: 80", "https://a.test:8 0",
    " https://a.test", "https://a.test ", "https://a test", "https://a.test/v 1",
    "https://a.test\n", "https://a.test\r\n", "https://a.test/\tv1", "\nhttps://a.test",
    "https://a.test\0", "https://a.test/\0/v1", "https://\0a.test", "https://a.test/\127",
    "https://a.test\1", "https://a.test/\27", "https://a.test\\v1", "https://a.test/\\..\\",
    "https://a.test/<x>", 'https://a.test/"', "https://a.test/{x}", "https://a.test/%",
    "https://2130706433", "https://0x7f.1", "https://127.1", "https://1.2.3.4.5",
    "https://127.0.0.1.", "https://a.0x1", "https://[::::]", "https://[1::2::3]",
    "https://a.test/%zz", "https://a%2etest", "https://a.test/../v1", "https://a.test/v1/..",
    "https://a.test/v1/.", "https://a.test/%2e%2e/v1", "https://a.test/%2E", "https://[",
    "https://[]", "https://[::1", "https://[::1]x",
    "https://[::1]:x", "https://::1", "https://[127.0.0.1%25lo]", "https://[::1%25lo]",
    "https://a.test,b.test", "https://a;b", "https://<a>", "https://a*b", "https://{a}",
  } do
    it(("may not be %q"):format(url):gsub("%c", "?"), function()
      refuse(url)
      refuse(url, { allow_http = true })
    end)
  end

  local plain = {
    "http://api.clerk.com/v1", "http://a.test", "http://10.0.0.1", "http://0.0.0.0", "http://0",
    "http://126.255.255.255", "http://128.0.0.1", "http://[::2]", "http://[::]", "http://[fe80::1]",
    "http://127.0.0.1.evil.test", "http://127.0.0.1.", "http://127.1", "http://127",
    "http://127.0.0", "http://127.0.0.256", "http://127.0.0.1.1", "http://127.0.0.",
    "http://1270.0.1", "http://127..0.1", "http://0127.0.0.1", "http://127.0.0.01",
    "http://0177.0.0.1", "http://0x7f.0.0.1",
    "http://0x7f000001", "http://2130706433", "http://localhost.evil.test", "http://localhost.",
    "http://xlocalhost", "http://localhostx", "http://evil-localhost", "http://localhos",
    "http://ip6-localhost", "http://[::1.evil]", "http://[::1f]", "http://[::1:2]",
    "http://evil.test/127.0.0.1",
    "http://evil.test/localhost", "http://evil.test:80/[::1]",
  }
  for _, url in ipairs(plain) do
    it("may not be " .. url, function() refuse(url) end)
  end

  for _, url in ipairs {
    "http://localhost@evil.test", "http://127.0.0.1@evil.test", "http://127.0.0.1:80@evil.test",
    "http://evil.test@127.0.0.1", "http://evil.test\\@127.0.0.1", "http://127.0.0.1\\@evil.test",
    "http://127.0.0.1%2eevil.test", "http://127.0.0.1#@evil.test", "http://127.0.0.1?@evil.test",
    "http://localhost:80:80@evil.test", "http://[::1]@evil.test", "http://[::1].evil.test",
    "http://127.0.0.1%00.evil.test", "http://127.0.0.1\0.evil.test", "http://local\thost",
    "http://localhost%20.evil.test", "http://\239\189\140ocalhost", "http://127\227\128\1300.0.1",
  } do
    it(("may not be the trick %q"):format(url), function()
      refuse(url)
      refuse(url, { allow_http = true })
    end)
  end

  it("may be plain http to any host with allow_http", function()
    for _, url in ipairs { "http://a.test", "http://10.0.0.1:8080/v1", "https://a.test" } do
      accept(url, { allow_http = true })
    end
  end)
end)

describe("the environment", function()
  local VARIABLES = { "CLERK_API_URL", "CLERK_SECRET_KEY" }
  local before = {}

  before_each(function()
    for _, name in ipairs(VARIABLES) do
      before[name] = os.getenv(name)
      posix.setenv(name, nil)
    end
  end)

  after_each(function()
    for _, name in ipairs(VARIABLES) do posix.setenv(name, before[name]) end
  end)

  --- The only request of a client that was created with these options.
  local function request_with(options, of_call)
    local transport = fake.new { fake.ok }
    options.secret_key = options.secret_key or "k"
    options.transport = transport
    machines.new(options):list(nil, of_call)
    return transport.requests[1]
  end

  local urls = {
    ["https://api.clerk.com"] = "https://api.clerk.com/v1/machines",
    ["https://api.clerk.com/"] = "https://api.clerk.com/v1/machines",
    ["https://api.clerk.com//"] = "https://api.clerk.com/v1/machines",
    ["http://127.0.0.1:8080"] = "http://127.0.0.1:8080/v1/machines",
    ["http://[::1]:8080/"] = "http://[::1]:8080/v1/machines",
    ["https://api.clerk.com/v1"] = "https://api.clerk.com/v1/machines",
    ["https://api.clerk.com/v1/"] = "https://api.clerk.com/v1/machines",
    ["https://a.test/clerk/v2"] = "https://a.test/clerk/v2/machines",
    [""] = "https://api.clerk.com/v1/machines",
  }
  for value, url in pairs(urls) do
    it(("sets the API's URL, as a host's root or with a path: %q"):format(value), function()
      posix.setenv("CLERK_API_URL", value)
      assert.equal(url, request_with({}).url)
    end)
  end

  it("does not replace a base_url, to which no path is added", function()
    for _, value in ipairs { "https://a.test", "nonsense" } do
      posix.setenv("CLERK_API_URL", value)
      assert.equal("https://b.test/machines", request_with({ base_url = "https://b.test" }).url)
    end
    posix.setenv("CLERK_API_URL", "https://a.test")
    assert.equal("https://b.test/machines", request_with({}, { base_url = "https://b.test" }).url)
    assert.equal("https://a.test/v1/machines", request_with({}, { timeout_ms = 1 }).url)
  end)

  it("is named when its value is refused, and the value is not shown", function()
    for _, value in ipairs { "api.clerk.com", "http://api.clerk.com", "https://" .. secret .. "@a",
      "https://a.test/?" .. secret, "https://a.test\n", "https://", " ", "/v1" } do
      posix.setenv("CLERK_API_URL", value)
      new_refused("base_url (from CLERK_API_URL) must", {})
    end
    posix.setenv("CLERK_API_URL", nil)
    posix.setenv("CLERK_SECRET_KEY", secret .. "\n")
    refused("secret_key (from CLERK_SECRET_KEY) must not", function() machines.new() end)
  end)

  it("is not named when the option itself is refused", function()
    posix.setenv("CLERK_API_URL", "https://a.test")
    local err = new_refused("base_url", { base_url = "x" })
    assert.falsy(err.message:find("CLERK_API_URL", 1, true))
  end)

  it("allows plain http with allow_http", function()
    posix.setenv("CLERK_API_URL", "http://a.test")
    assert.equal("http://a.test/v1/machines", request_with({ allow_http = true }).url)
  end)

  it("sets the key, unless it is empty", function()
    posix.setenv("CLERK_SECRET_KEY", "sk_test_environment")
    local transport = fake.new { fake.ok }
    machines.new({ transport = transport }):list()
    assert.equal("Bearer sk_test_environment", transport.requests[1].headers.authorization)
    posix.setenv("CLERK_SECRET_KEY", "")
    refused("secret_key is missing", function() machines.new() end)
  end)
end)

describe("headers", function()
  local function refuse(name, headers)
    new_refused("headers", { headers = headers })
    local err = call_refused("headers", "list", function(client)
      client:list(nil, { headers = headers })
    end)
    assert.truthy(err.message:lower():find(name:lower(), 1, true))
  end

  it("can have any token as name and any text as value", function()
    accepted(function(client)
      client:list(nil, {
        headers = {
          ["X-A"] = "", b = "a b\tc", ["!#$%&'*+-.^_`|~9"] = '\195\188;,="', Cookie = "a=b",
        },
      })
    end)
  end)

  for _, name in ipairs { "", " ", "X A", "X-A ", " X-A", "X-A:", ":authority", "X(A)", "X/A",
    "X@A", "X\tA", "X\r\nA", "X\n", "X\0", "\127", "\195\188", "X[1]", 'X"A"', "{X}", "X=1",
    "X,Y", "X;Y",
    "X\\Y", "X?Y" } do
    it(("may not have the name %q"):format(name), function()
      refuse("", { [name] = "1" })
    end)
  end

  it("may not have a name that is not a string", function()
    for _, name in ipairs { 1, true, print } do refuse("", { [name] = "1" }) end
  end)

  for _, value in ipairs { "a\r\nX-B: 1", "a\nb", "a\rb", "\n", "a\n", "a\0b", "\0", "a\1",
    "a\127" } do
    it(("may not have the value %q"):format(value), function()
      refuse("X-A", { ["X-A"] = value })
      refuse("X-A", { ["X-A"] = secret .. value })
    end)
  end

  it("may not have a value that is not a string", function()
    for _, value in ipairs { true, {}, print, null, 1 } do refuse("X-A", { ["X-A"] = value }) end
    refuse("", { ["X\r\nA"] = true })
  end)

  for _, name in ipairs { "Authorization", "Accept-Encoding", "Content-Length",
    "Transfer-Encoding", "Host", "Connection", "Expect", "Proxy-Authorization" } do
    it("may not set " .. name .. " in any spelling", function()
      for _, spelling in ipairs { name, name:lower(), name:upper() } do
        refuse(name, { [spelling] = secret })
      end
    end)
  end

  it("may not name one header twice", function()
    refuse("X-A", { ["X-A"] = "1", ["x-a"] = "2" })
    refuse("X-A", { ["X-a"] = "1", ["x-A"] = "1" })
  end)
end)

describe("retries", function()
  local function refuse(name, retries)
    new_refused(name, { retries = retries })
    call_refused(name, "list", function(client) client:list(nil, { retries = retries }) end)
  end

  local function accept(retries)
    new_accepted { retries = retries }
    accepted(function(client) client:list(nil, { retries = retries }) end)
  end

  -- field, values accepted, values refused
  local fields = {
    { "strategy", { "none", "backoff" }, { "", "Backoff", "linear", 1, true, {} } },
    { "backoff", { {} }, { 500, "fast", true } },
    { "retry_connection_errors", { true, false }, { 1, "yes", {} } },
    { "repeat_unsafe", { true, false }, { 1, "yes", {} } },
    { "status_codes", {
      {}, { "5XX" }, { 429 }, { "503" }, { "4XX", 503.0, "500" }, { 100, 599 },
    }, {
      "5XX", 429, true, { "abc" }, { "" }, { "5X" }, { "XX5" }, { "5XXX" }, { "6XX" }, { "0XX" },
      { "9XX" }, { "XXX" }, { 99 }, { 600 }, { "99" }, { "600" }, { 0 }, { -1 }, { 503.5 }, { nan },
      { inf }, { true }, { {} }, { "503 " }, { " 503" }, { "+503" }, { "5.3" }, { "5XX", "x" },
      { [2] = 429 }, { status = 429 }, { "5XX", n = 1 },
    } },
  }
  for _, field in ipairs(fields) do
    it("accept a valid " .. field[1], function()
      for _, value in ipairs(field[2]) do accept { [field[1]] = value } end
    end)
    it("refuse an invalid " .. field[1], function()
      for _, value in ipairs(field[3]) do refuse(field[1], { [field[1]] = value }) end
    end)
  end

  local intervals = {
    { "initial_interval", { 1, 500, 1000.0 }, { -1, nan, inf, "500", true, {} } },
    { "max_interval", { 1, 60000 }, { -1, nan, inf, "500", true, {} } },
    { "exponent", { 1, 1.5, 2 }, { 0, -1, nan, inf, "1.5", true, {} } },
    { "max_elapsed_time", { 0, 1, 3600000 }, { -1, nan, inf, "500", true, {} } },
  }
  for _, field in ipairs(intervals) do
    it("accept a valid backoff." .. field[1], function()
      for _, value in ipairs(field[2]) do accept { backoff = { [field[1]] = value } } end
    end)
    it("refuse an invalid backoff." .. field[1], function()
      for _, value in ipairs(field[3]) do refuse(field[1], { backoff = { [field[1]] = value } }) end
    end)
  end

  it("refuse an unknown field by its name", function()
    refuse("strategi", { strategi = "none" })
    refuse("max_attempts", { max_attempts = 3 })
    refuse("initial", { backoff = { initial = 500 } })
    refuse("initial_interval", { initial_interval = 500 })
    refuse("1", { "backoff" })
    refuse("1", { backoff = { 500 } })
  end)
end)

describe("a closed client", function()
  it("refuses every operation", function()
    for _, operation in ipairs(core.operations) do
      call_refused("closed", operation.name, function(client)
        client:close()
        call_with(client, operation)
      end)
    end
  end)

  it("can be closed again", function()
    local client = fake.client { fake.ok }
    client:list()
    client:close()
    client:close()
  end)

  it("has not closed the caller's transport, and can be closed again", function()
    local transport = fake.new { fake.ok }
    function transport.close() error "the transport is the caller's" end
    local client = fake.client({}, { transport = transport })
    client:close()
    client:close()
    local other = fake.client({}, { transport = transport })
    assert.equal("mch_1", other:get("mch_1").id)
  end)

  it("that was collected has not closed the caller's transport", function()
    local is_closed = false
    local transport = fake.new { fake.ok }
    function transport.close() is_closed = true end
    local function forget()
      fake.client({}, { transport = transport })
    end
    forget()
    for _ = 1, 3 do collectgarbage() end
    assert.is_false(is_closed)
  end)

  it("leaves other clients open", function()
    local one, other = fake.client { fake.ok }, fake.client { fake.ok }
    one:close()
    assert.equal("mch_1", other:get("mch_1").id)
  end)

  if _VERSION ~= "Lua 5.1" then
    it("is what a <close> variable holds after its scope", function()
      local client = fake.client { fake.ok }
      getmetatable(client).__close(client)
      refused("closed", function() client:list() end)
    end)
  end
end)
