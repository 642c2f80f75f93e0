-- The types for LuaLS tell what the code does.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local machines = require "clerk.machines"
local options = require "clerk.machines.options"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local types = read "lua/clerk/machines/types.lua"

--- The fields of a class and of its parents: name -> what follows it.
local function fields_of(text, class)
  local start = "---@class clerk.machines." .. class
  local from, till = text:find(start:gsub("%p", "%%%0") .. "[:\n]")
  assert(from, "no class " .. class)
  local parent = text:sub(till):match "^: [%w.]-(%w+)\n"
  local fields = parent and fields_of(text, parent) or {}
  for name, rest in text:sub(till):match("^(.-)\n\n"):gmatch "%-%-%-@field ([%w_]+%??) ([^\n]+)" do
    fields[name:match "[%w_]+"] = name:find "%?$" and "? " .. rest or rest
  end
  return fields
end

local function names(map)
  local list = {}
  for name in pairs(map) do list[#list + 1] = name end
  table.sort(list)
  return list
end

describe("The types of operations", function()
  for _, operation in ipairs(core.operations) do
    it("have the method, request and parameters of " .. operation.name, function()
      local arguments, others = {}, {}
      for _, parameter in ipairs(operation.parameters) do
        if parameter.place == "path" then
          arguments[#arguments + 1] = parameter.name
        else
          others[parameter.name] = parameter
        end
      end
      if next(others) then arguments[#arguments + 1] = "params" end
      arguments[#arguments + 1] = "options"
      local signature = ("function Client:%s(%s) end"):format(operation.name,
        table.concat(arguments, ", "))
      local at = assert(types:find(signature, 1, true), signature)
      local comment = types:sub(1, at - 1):match ".*\n\n(.*)$"
      assert(comment:find(operation.method .. " " .. operation.path .. "\n", 1, true))
      if not next(others) then return end
      local class = comment:match "@param params%?? clerk%.machines%.(%w+)\n"
      local declared = fields_of(types, class)
      assert.same(names(others), names(declared))
      for name, parameter in pairs(others) do
        assert.equal(parameter.required, declared[name]:sub(1, 1) ~= "?", name)
        if parameter.max then assert(declared[name]:find(("%d"):format(parameter.max), 1, true)) end
        for _, value in ipairs(parameter.values or {}) do
          assert(declared[name]:find('"' .. value .. '"', 1, true), value)
        end
      end
    end)
  end

  it("have every field that results are seen to have, and no other", function()
    local client = machines.new { secret_key = "sk_test_emulator", transport = emulator.new() }
    local a, b = client:create { name = "a" }, client:create { name = "b" }
    local scope = client:create_scope(a.id, { to_machine_id = b.id })
    local seen = {
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
      assert.same(names(fields_of(types, class)), names(value), class)
    end
  end)
end)

describe("The types of methods", function()
  --- The methods that are declared of a class.
  local function declared(class)
    local methods = {}
    for name in types:gmatch("\nfunction " .. class .. ":([%w_]+)%(") do methods[name] = true end
    return names(methods)
  end

  local function public_methods(object)
    local methods = {}
    for name, value in pairs(getmetatable(object).__index) do
      if type(value) == "function" and name:sub(1, 2) ~= "__" then methods[name] = true end
    end
    return names(methods)
  end

  it("are those of clients and of tasks", function()
    local client = machines.new { secret_key = "sk_test_emulator", transport = emulator.new() }
    assert.same(declared "Client", public_methods(client))
    assert.same(declared "Task", public_methods(client:spawn(os.time)))
  end)

  it("have every status of a task", function()
    local client = machines.new { secret_key = "sk_test_emulator", transport = emulator.new() }
    local cancelled = client:spawn(coroutine.yield)
    local seen = {
      client:spawn(coroutine.yield).status,
      client:spawn(type, 1).status,
      client:spawn(error).status,
    }
    cancelled:cancel()
    client:run()
    seen[4] = cancelled.status
    for i, status in ipairs(seen) do seen[i] = '"' .. status .. '"' end
    assert.same({ status = table.concat(seen, "|") }, fields_of(types, "Task"))
  end)

  it("have the parameters of walks", function()
    local listed = fields_of(types, "ListParams")
    listed.offset = nil
    assert.same(names(listed), names(fields_of(types, "WalkParams")))
    local options_of_a_call = fields_of(types, "CallOptions")
    options_of_a_call.concurrency = true
    assert.same(names(options_of_a_call), names(fields_of(types, "CollectOptions")))
  end)
end)

describe("The types of options", function()
  it("are those of machines.new and of a call", function()
    local per_call = {}
    for name, may in pairs(options.names) do per_call[name] = may or nil end
    assert.same(names(options.names), names(fields_of(types, "Options")))
    assert.same(names(per_call), names(fields_of(types, "CallOptions")))
  end)

  it("are those of retries", function()
    local given = { strategy = "none", backoff = {}, retry_connection_errors = true,
      status_codes = {}, repeat_unsafe = true }
    for name in pairs(fields_of(types, "Backoff")) do given.backoff[name] = 1 end
    assert.same(names(given), names(fields_of(types, "Retries")))
    machines.new { secret_key = "sk", retries = given }
  end)
end)

describe("The types of what is handed in and out", function()
  local function run(transport_answer, failure)
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
          return transport_answer, failure
        end,
      },
    }
    local ok, err = pcall(client.update, client, "mch_1", { name = "a" })
    seen.err = not ok and err
    return seen
  end

  it("have the fields of requests and events", function()
    local seen = run { status = 503, headers = { ["retry-after"] = "0" }, body = "" }
    assert.same(names(fields_of(types, "Request")), names(seen.request))
    assert.same(names(fields_of(types, "Event")), names(seen.events))
  end)

  it("have the fields of a walk's events", function()
    local seen
    local client = machines.new {
      secret_key = "sk_test_emulator",
      transport = emulator.new(),
      on_event = function(event) seen = event end,
    }
    client:create { name = "a" }
    client:collect()
    assert.same(names(fields_of(types, "PageEvent")), names(seen))
  end)

  it("have the fields of errors", function()
    local declared = fields_of(read "lua/clerk/machines/errors.lua", "Error")
    local body = '{"errors":[{"code":"a","message":"b"}],"meta":{},"clerk_trace_id":"t"}'
    local seen = { where = true }
    local err = run({ status = 503, headers = { ["retry-after"] = "0" }, body = body }).err
    for name in pairs(err) do seen[name] = true end
    local client = machines.new { secret_key = "sk", transport = emulator.new() }
    for name in pairs(select(2, pcall(client.collect, client))) do seen[name] = true end
    assert.same(names(declared), names(seen))
  end)

  it("have every failure code", function()
    for code in types:gmatch '\n%-%-%-| "([%w_]+)"' do
      assert.equal(code, run(nil, { code = code }).err.code)
    end
    local _, count = types:gsub('\n%-%-%-| "', "")
    assert.equal(8, count)
    assert.equal("bad_response", run(nil, { code = "another" }).err.code)
  end)
end)
