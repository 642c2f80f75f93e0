-- The types for LuaLS describe the values and methods that there are.

local annotations = dofile "docs/annotations.lua"
local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local files = require "support.files"
local machines = require "clerk.machines"
local safe = require "clerk.machines.safe"

local types = files.read "lua/clerk/machines/types.lua"

local function names(map)
  local list = {}
  for name in pairs(map) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The values of `name` in an array of rows, sorted.
local function column(rows, name)
  local set = {}
  for _, row in ipairs(rows) do set[row[name]] = true end
  return names(set)
end

local function fields_of(class)
  return column(annotations.class(types, class).fields, "name")
end

local function methods_of(class)
  return column(annotations.methods(types, class), "name")
end

local function public_methods(object)
  local methods = {}
  for name, value in pairs(getmetatable(object)) do
    if type(value) == "function" and name:sub(1, 2) ~= "__" then methods[name] = true end
  end
  return names(methods)
end

--- Looks like a table, and notes in a set which fields are read.
local function watched(table, seen)
  return setmetatable({}, {
    __index = function(_, name)
      seen[name] = true
      return table[name]
    end,
  })
end

local function new_client(new, on_event)
  return (new or machines.new) {
    secret_key = "sk_test_emulator", machine_secret_key = "ak_1", transport = emulator.new(),
    on_event = on_event,
  }
end

describe("The types of results", function()
  it("have every field that results have, and no other", function()
    local client = new_client()
    local a, b = client:create { name = "a" }, client:create { name = "b" }
    local scope = client:create_scope(a.id, { to_machine_id = b.id })
    local api = client.settings.transport
    local minter = machines.new { machine_secret_key = a.secret_key, transport = api }
    local instance = machines.new { secret_key = "sk_test_emulator", transport = api }
    local minted = minter:create_token { claims = { c = 1 } }
    instance:verify_token { token = minted.token } -- gives it a last_used_at
    local revoked = minter:revoke_token(minted.id, { revocation_reason = "d" })
    minted.revocation_reason, minted.last_used_at = revoked.revocation_reason, 1
    local seen = {
      CreatedToken = minted,
      Token = revoked,
      TokenList = minter:list_tokens { subject = a.id },
      CreatedMachine = a,
      Machine = client:get(a.id),
      ScopedMachine = client:get(a.id).scoped_machines[1],
      MachineList = client:list(),
      SecretKey = client:get_secret_key(a.id),
      Scope = scope,
      DeletedScope = client:delete_scope(a.id, b.id),
      DeletedMachine = client:delete(a.id),
      CallInfo = select(2, client:list()),
    }
    for class, value in pairs(seen) do
      assert.same(names(value), fields_of(class), class)
    end
  end)
end)

describe("The types of methods", function()
  it("are those of clients and tasks", function()
    local client = new_client()
    assert.same(public_methods(client), methods_of "Client")
    assert.same(public_methods(client:spawn(os.time)), methods_of "Task")
  end)

  it("are those of the safe interface", function()
    local client = new_client(safe.new)
    assert.same(public_methods(client), methods_of "SafeClient")
    assert.same(public_methods(client:spawn(os.time)), methods_of "SafeTask")
  end)

  it("say which operations cannot do without params", function()
    local client, methods = new_client(), annotations.methods(types, "Client")
    for _, operation in ipairs(core.operations) do
      local ids, needs_params = {}, false
      for _, parameter in ipairs(methods[operation.name].parameters) do
        if parameter.type == "string" then ids[#ids + 1] = "mch_1" end
        needs_params = needs_params or parameter.name == "params" and not parameter.is_optional
      end
      local ok, err = pcall(client[operation.name], client, ids[1], ids[2])
      assert.equal(needs_params, not ok and err.type == "ArgumentError", operation.name)
    end
  end)

  it("have every status of a task", function()
    local client = new_client()
    local cancelled = client:spawn(coroutine.yield)
    local seen = {
      client:spawn(coroutine.yield).status,
      client:spawn(type, 1).status,
      client:spawn(error).status,
    }
    cancelled:cancel()
    client:run()
    seen[4] = cancelled.status
    local status = '"' .. table.concat(seen, '"|"') .. '"'
    for _, class in ipairs { "Task", "SafeTask" } do
      assert.same({ status }, column(annotations.class(types, class).fields, "type"))
    end
  end)
end)

describe("The types of transports, events and errors", function()
  --- Updates a machine over a transport that always returns this; what was seen on the way.
  local function run(response, failure)
    local seen = { events = {}, request = {} }
    local client = machines.new {
      secret_key = "sk_test",
      retries = { backoff = { initial_interval = 0, max_elapsed_time = 50 } },
      on_event = function(event)
        for name in pairs(event) do seen.events[name] = true end
      end,
      transport = {
        sleep = function() end,
        send = function(_, request)
          for name in pairs(request) do seen.request[name] = true end
          return response, failure
        end,
      },
    }
    local ok, err = pcall(client.update, client, "mch_1", { name = "a" })
    seen.err = not ok and err
    return seen
  end

  it("have the fields of requests and events", function()
    local seen = run { status = 503, headers = { ["retry-after"] = "0" }, body = "" }
    assert.same(names(seen.request), fields_of "Request")
    assert.same(names(seen.events), fields_of "Event")
  end)

  it("have the fields of page events", function()
    local seen
    local client = new_client(machines.new, function(event) seen = event end)
    client:create { name = "a" }
    client:collect()
    assert.same(names(seen), fields_of "PageEvent")
  end)

  it("have the fields that are read of transports, responses and failures", function()
    local transport, response, failure = {}, {}, {}
    local answers = {
      { watched({ status = 503, headers = {}, body = "" }, response) },
      { nil, watched({ code = "tls_failed", message = "a", sent = false, final = true }, failure) },
    }
    local client = machines.new {
      secret_key = "sk_test",
      transport = watched({
        send = function()
          local answer = table.remove(answers, 1)
          return answer[1], answer[2]
        end,
        sleep = function() end,
      }, transport),
    }
    assert.equal("tls_failed", select(2, pcall(client.get, client, "mch_1")).code)
    client:close()
    assert.same(names(transport), fields_of "Transport")
    assert.same(names(response), fields_of "Response")
    assert.same(names(failure), fields_of "Failure")
  end)

  it("have the fields of a request that the emulator reads", function()
    local seen, api = {}, emulator.new()
    local client = machines.new {
      secret_key = "sk_test_emulator",
      transport = { send = function(_, request) return api:send(watched(request, seen)) end },
    }
    client:create { name = "a" }
    local source = files.read "lua/clerk/machines/emulator/init.lua"
    local fields = annotations.class(source, "emulator.Request").fields
    assert.same(names(seen), column(fields, "name"))
  end)

  it("have the fields of errors", function()
    local body = '{"errors":[{"code":"a","message":"b"}],"meta":{},"clerk_trace_id":"t"}'
    local client = new_client()
    local seen = {}
    for _, err in ipairs {
      run({ status = 503, headers = { ["retry-after"] = "0" }, body = body }).err,
      select(2, pcall(client.get, client)),
      select(2, pcall(machines.new { secret_key = "sk", transport = emulator.new() }:pages())),
    } do
      for name in pairs(err) do seen[name] = true end
    end
    assert.same(names(seen), fields_of "Error")
  end)

  it("have every code that a transport may return", function()
    for _, failure in ipairs(core.failures) do
      assert.equal(failure.name, run(nil, { code = failure.name }).err.code)
    end
    assert.equal("bad_response", run(nil, { code = "another" }).err.code)
  end)
end)
