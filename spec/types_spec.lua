-- The types for LuaLS tell what the code does, and the README's reference what they tell.

local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local faults = require "clerk.machines.emulator.faults"
local files = require "support.files"
local machines = require "clerk.machines"
local option_groups = require "support.option_groups"
local options = require "clerk.machines.options"
local safe = require "clerk.machines.safe"

local read = files.read

local types = read "lua/clerk/machines/types.lua"
local errors_source = read "lua/clerk/machines/errors.lua"
local emulator_source = read "lua/clerk/machines/emulator/init.lua"
local faults_source = read "lua/clerk/machines/emulator/faults.lua"
local readme = read "README.md"

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

--- The names in a table of options.
local function names_of(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = row.name end
  table.sort(list)
  return list
end

local function sorted(list)
  local copy = {}
  for i, value in ipairs(list) do copy[i] = value end
  table.sort(copy)
  return copy
end

--- What a pattern finds in a text, each once.
local function found(text, pattern)
  local set = {}
  for name in text:gmatch(pattern) do set[name] = true end
  return names(set)
end

--- The strings that a type allows.
local function alternatives(text)
  return found(text, '"([%w_]+)"')
end

local function alias(name)
  local start = "\n---@alias clerk.machines." .. name .. "\n"
  local _, till = types:find(start, 1, true)
  return alternatives(types:sub(till):match "^.-\n\n")
end

--- What is told of a function: the comment before it, and its parameters.
local function annotation(text, name)
  local at, _, list = text:find("\nfunction " .. name:gsub("%p", "%%%0") .. "(%b())")
  assert(at, name .. " is missing")
  local parameters = {}
  for parameter in list:gmatch "[%w_.]+" do parameters[#parameters + 1] = parameter end
  return text:sub(1, at):match ".*\n\n(.*)$", parameters
end

local function has_parameters(text, name)
  local comment, parameters = annotation(text, name)
  for _, parameter in ipairs(parameters) do
    assert(comment:find("@param " .. parameter:gsub("%p", "%%%0") .. "%?? %S"),
      name .. " does not tell of " .. parameter)
  end
end

local function new_client(new)
  return (new or machines.new) { secret_key = "sk_test_emulator", transport = emulator.new() }
end

--- Looks like a table, and notes in a set what is asked of it.
local function watched(table, seen)
  return setmetatable({}, {
    __index = function(_, name)
      seen[name] = true
      return table[name]
    end,
  })
end

local function class_of_result(operation)
  local comment = annotation(types, "Client:" .. operation)
  return comment:match "@return clerk%.machines%.(%w+)\n"
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
    local client = new_client()
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

--- The methods that are declared of a class.
local function declared(class, text)
  return found(text or types, "\nfunction " .. class .. ":([%w_]+)%(")
end

local function public_methods(object)
  local methods = {}
  for name, value in pairs(getmetatable(object)) do
    if type(value) == "function" and name:sub(1, 2) ~= "__" then methods[name] = true end
  end
  return names(methods)
end

describe("The types of methods", function()
  it("are those of clients and of tasks", function()
    local client = new_client()
    assert.same(declared "Client", public_methods(client))
    assert.same(declared "Task", public_methods(client:spawn(os.time)))
  end)

  it("are those of the safe twin", function()
    local client = new_client(safe.new)
    assert.same(declared "SafeClient", public_methods(client))
    assert.same(declared "SafeTask", public_methods(client:spawn(os.time)))
    assert.same(fields_of(types, "Task"), fields_of(types, "SafeTask"))
  end)

  --- What a method of the safe twin returns, by what the method itself returns: that or nil, and
  --- the error at the place of the second result.
  local function safe_returns(returns)
    if returns[1] == "any" then return { "any" } end
    local first = (returns[1] or "nil"):gsub("%.Task$", ".SafeTask")
    local iterator = first:find "^fun" and "(" .. first .. ", clerk.machines.Error?)?"
    local second = returns[2] and returns[2]:gsub("%?$", "|nil")
    return {
      iterator or first == "nil" and first or first .. "?",
      second and (second:gsub("^[%w.]+", "%0|clerk.machines.Error")) or "clerk.machines.Error?",
    }
  end

  local function returns_of(comment)
    local list = {}
    for line in comment:gmatch "%-%-%-@return ([^\n]+)" do
      list[#list + 1] = line:match "^fun%(%): %S+" or line:match "^%b()%?" or line:match "^%S+"
    end
    return list
  end

  for _, class in ipairs { "Client", "Task" } do
    for _, name in ipairs(declared(class)) do
      it(("tell that %s:%s returns the error in the safe twin"):format(class, name), function()
        local comment, parameters = annotation(types, class .. ":" .. name)
        local safe_comment, safe_parameters = annotation(types, ("Safe%s:%s"):format(class, name))
        assert.same(parameters, safe_parameters)
        assert.same(found(comment, "@param [^\n]+"), found(safe_comment, "@param [^\n]+"))
        assert.same(safe_returns(returns_of(comment)), returns_of(safe_comment))
      end)
    end
  end

  it("have all parameters", function()
    for class, name in types:gmatch "\nfunction (%w+):([%w_]+)%(" do
      has_parameters(types, class .. ":" .. name)
    end
  end)

  it("are those of the modules", function()
    local init, twin = read "lua/clerk/machines/init.lua", read "lua/clerk/machines/safe.lua"
    local fields = fields_of(twin, "safe")
    for name in pairs(machines) do
      assert(init:find(("\n%%-%%-%%-@type [^\n]+\nmachines%%.%s = "):format(name)), name)
      assert.not_nil(safe[name])
      assert(fields[name] or twin:find(("\nfunction safe.%s("):format(name), 1, true), name)
    end
    local told = annotation(twin, "safe.new")
    assert.truthy(told:find("@return clerk.machines.SafeClient?\n---@return clerk.machines.Error?",
      1, true))
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
    for i, status in ipairs(seen) do seen[i] = '"' .. status .. '"' end
    assert.same({ status = table.concat(seen, "|") }, fields_of(types, "Task"))
  end)

  it("have the parameters of each, pages and collect", function()
    local listed = fields_of(types, "ListParams")
    listed.offset = nil
    assert.same(names(listed), names(fields_of(types, "PageParams")))
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

  it("are those of retries, and of each group within", function()
    for group, members in pairs(option_groups) do
      local class = group:gsub("^%l", string.upper)
      assert.same(members, names(fields_of(types, class)))
    end
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

  it("have the fields of page events", function()
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

  it("have what is asked of transports, responses and failures", function()
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
    assert.same(names(fields_of(types, "Transport")), names(transport))
    assert.same(names(fields_of(types, "Response")), names(response))
    assert.same(names(fields_of(types, "Failure")), names(failure))
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
    assert.same(names(fields_of(errors_source, "Error")), names(seen))
  end)

  it("have every failure code", function()
    assert.same(sorted(core.failures), alias "FailureCode")
    for _, code in ipairs(core.failures) do
      assert.equal(code, run(nil, { code = code }).err.code)
    end
    assert.equal("bad_response", run(nil, { code = "another" }).err.code)
  end)

  it("have every code of an answer that cannot be used", function()
    assert.same(sorted(core.judgements), alias "SDKErrorCode")
  end)
end)

describe("The types of the emulator", function()
  it("have the parameters of all functions", function()
    has_parameters(emulator_source, "emulator.new")
    for _, name in ipairs(public_methods(emulator.new())) do
      has_parameters(emulator_source, "Emulator:" .. name)
    end
  end)

  it("have its options, and the fields of faults", function()
    assert.same(names_of(emulator.options), names(fields_of(emulator_source, "emulator.Options")))
    assert.same(names_of(faults.fields), names(fields_of(faults_source, "emulator.Fault")))
  end)

  it("have what it asks of a request", function()
    local seen = {}
    local api = emulator.new()
    local client = machines.new {
      secret_key = "sk_test_emulator",
      transport = { send = function(_, request) return api:send(watched(request, seen)) end },
    }
    client:create { name = "a" }
    assert.same(names(fields_of(emulator_source, "emulator.Request")), names(seen))
  end)
end)

-- ---------------------------------------------------------------- the README

local NAME = "`([%w_]+)[` ]"
local WORD = "[%w_]+"
local MEMBER = "([%w_]+) ="

--- What stands in parentheses is told about the names, and is none of them.
local function without_asides(text)
  return (text:gsub("%b()", ""))
end

--- The row of a table with this in its first cell; its second cell.
local function row_of(name)
  for first, second in readme:gmatch "\n| ([^|]+) | ([^|]*) |%f[\n]" do
    if first:find("`" .. name .. "`", 1, true) then return second end
  end
  error("no row for " .. name)
end

--- The first cells of a table, by its head.
local function first_cells(head)
  local rows = readme:match("\n" .. head:gsub("%p", "%%%0") .. "\n[-|]+(.-)\n\n")
  return table.concat(found(rows, "\n| ([^|]+) |"), "\n")
end

describe("The README's reference", function()
  for _, operation in ipairs(core.operations) do
    it("has the fields of a result of " .. operation.name, function()
      local told = row_of(operation.name)
      if told:find "^a machine and" then told = told .. row_of "get" end
      assert.same(names(fields_of(types, class_of_result(operation.name))),
        found(without_asides(told), NAME))
    end)
  end

  for _, row in ipairs {
    { "CallInfo", types, "and, second, `(%b{})", WORD },
    { "Event", types, "\nFields: (.-)%. Every", NAME },
    { "PageEvent", types, " gets an event for every page: (.-)%.\n", NAME },
    { "Request", types, "\n%-%- request: (.-)\nfunction", WORD },
    { "Response", types, "\n  return (%b{})\n", MEMBER },
    { "Failure", types, "return nil, (%b{})", MEMBER },
    { "Transport", types, "\nlocal transport = {}\n(.-)```", "function transport:([%w_]+)" },
    { "PageParams", types, " without `offset`: (.-)%. `options`", NAME },
    { "emulator.Options", emulator_source, "`emulator.new` takes (.-)%. A fault", NAME },
    { "emulator.Fault", faults_source, "A fault has (.-)%. Nothing", NAME },
  } do
    local class, source, place, pattern = row[1], row[2], row[3], row[4]
    it("has the fields of " .. class, function()
      local told = assert(readme:match(place), "the README has no such place")
      assert.same(names(fields_of(source, class)), found(without_asides(told), pattern))
    end)
  end

  it("has the fields of errors", function()
    assert.same(names(fields_of(errors_source, "Error")), found(first_cells "| field | |", NAME))
  end)

  it("has the types of errors and of events, and the statuses of tasks", function()
    assert.same(alternatives(fields_of(errors_source, "Error").type),
      found(first_cells "| `type` | what happened | `code` |", NAME))
    assert.same(alternatives(fields_of(types, "Event").type),
      found(readme:match "with a table for each (.-):", NAME))
    assert.same(alternatives(fields_of(types, "Task").status), found(row_of "task.status", NAME))
  end)

  it("has the option of collect alone", function()
    local of_calls = fields_of(types, "CallOptions")
    for name in pairs(fields_of(types, "CollectOptions")) do
      assert(of_calls[name] or readme:find("with the option `" .. name .. "`", 1, true), name)
    end
  end)

  --- As the README writes it, such as client:each([params [, options]]).
  local function signature(object, class, name)
    local comment, parameters = annotation(types, class .. ":" .. name)
    local text, closing = "", ""
    for i, parameter in ipairs(parameters) do
      local comma = i > 1 and ", " or ""
      if comment:find("@param " .. parameter .. "? ", 1, true) then
        text = text .. (i > 1 and " [" or "[") .. comma
        closing = closing .. "]"
      else
        text = text .. comma
      end
      text = text .. parameter
    end
    return ("`%s:%s(%s%s)`"):format(object, name, text, closing)
  end

  for object, class in pairs { client = "Client", task = "Task" } do
    it("has the methods of a " .. object .. ", and no other", function()
      for _, name in ipairs(declared(class)) do
        local call = signature(object, class, name)
        assert(readme:find(call, 1, true), call)
      end
      for name in readme:gmatch("[^%w_]" .. object .. ":([%w_]+)%(") do
        annotation(types, class .. ":" .. name)
      end
    end)
  end

  it("has the methods of the emulator that transports do not have", function()
    local of_transports = fields_of(types, "Transport")
    for _, name in ipairs(declared("Emulator", emulator_source)) do
      assert(of_transports[name] or readme:find("api:" .. name .. "[({ ]"), name)
    end
  end)

  it("has what the module has", function()
    for name in pairs(machines) do
      assert(readme:find("machines." .. name .. "%f[^%w_]"), name)
    end
  end)
end)
