-- Machines as code: what a plan finds, how it is applied, and what is left when that fails.

local emulator = require "clerk.machines.emulator"
local files = require "support.files"
local machines = require "clerk.machines"
local plan = require "clerk.machines.plan"
local process = require "support.process"

local KEY = "sk_test_emulator"

--- A client of an emulator in memory. `transport.break_at`, if set, gets each request instead.
local function new_instance()
  local api = emulator.new()
  local transport = { count = 0 }
  function transport.send(_, request)
    transport.count = transport.count + 1
    if transport.break_at then return transport.break_at(transport.count, request) end
    return api:send(request)
  end
  function transport.sleep() end
  local client = machines.new { secret_key = KEY, transport = transport, retries = false }
  return client, api, transport
end

local function names_of(list)
  local names = {}
  for i, machine in ipairs(list) do names[i] = machine.name end
  table.sort(names)
  return names
end

local function find(client, name)
  local found
  for machine in client:each() do
    if machine.name == name then
      assert.is_nil(found, "two machines are named " .. name)
      found = machine
    end
  end
  return found
end

--- The actions of a plan with what they are about: "add_scope gateway billing".
local function shown(changes)
  local list = {}
  for i, change in ipairs(changes) do
    local to = type(change.to) == "string" and " " .. change.to or ""
    list[i] = ("%s %s%s"):format(change.action, change.name, to)
  end
  return list
end

local function error_of(f, ...)
  local ok, problem = pcall(f, ...)
  assert(not ok, "no error was raised")
  return problem
end

local function refused(pattern, f, ...)
  local problem = error_of(f, ...)
  assert.is_true(machines.is_error(problem), tostring(problem))
  assert.equal("ArgumentError", problem.type)
  assert.matches(pattern, problem.message)
end

local SHOP = {
  machines = {
    { name = "gateway", default_token_ttl = 900, scoped_machines = { "billing", "search" } },
    { name = "billing", scoped_machines = { "ledger" } },
    { name = "search" },
    { name = "ledger" },
  },
}

describe("A plan", function()
  local client, transport
  before_each(function()
    local _
    client, _, transport = new_instance()
  end)

  it("creates what is missing, machines before scopes", function()
    local changes = plan.compare(client, SHOP)
    assert.same({
      "create gateway", "create billing", "create search", "create ledger",
      "add_scope gateway billing", "add_scope gateway search", "add_scope billing ledger",
    }, shown(changes))
    assert.equal(1, transport.count)
    changes:apply()
    local gateway = find(client, "gateway")
    assert.equal(900, gateway.default_token_ttl)
    assert.same({ "billing", "search" }, names_of(gateway.scoped_machines))
    assert.equal(0, #plan.compare(client, SHOP))
  end)

  it("reads like a diff, with the old values and scopes by name, and ends in a count", function()
    plan.compare(client, SHOP):apply()
    assert.equal([[
~ gateway
  ~ default_token_ttl 900 → 60
  + may call ledger
  - may call billing
  - may call search
+ cron
    default_token_ttl 30
  + may call gateway
- billing
    gateway can no longer call it
2 machines to change]], (tostring(plan.compare(client, {
      machines = {
        { name = "gateway", default_token_ttl = 60, scoped_machines = { "ledger" } },
        { name = "ledger" },
        { name = "search" },
        { name = "cron", default_token_ttl = 30, scoped_machines = { "gateway" } },
      },
    }, { prune = "bill" })):gsub("\n[^\n]*$", "\n2 machines to change")))
  end)

  it("counts each kind of change, or says that there is nothing to change", function()
    assert.equal("4 machines to create, 3 scopes to add", plan.compare(client, SHOP):summary())
    plan.compare(client, SHOP):apply()
    assert.equal("nothing to change", tostring(plan.compare(client, SHOP)))
    local changes = plan.compare(client, { machines = { { name = "ledger" } } }, { prune = "se" })
    assert.equal("1 machine to delete", changes:summary())
  end)

  it("leaves a token lifetime alone that it does not mention", function()
    client:create { name = "a", default_token_ttl = 77 }
    assert.equal(0, #plan.compare(client, { machines = { { name = "a" } } }))
  end)

  it("removes scopes that it does not mention", function()
    plan.compare(client, SHOP):apply()
    local changes = plan.compare(client, { machines = { { name = "billing" } } })
    assert.same({ "remove_scope billing ledger" }, shown(changes))
    changes:apply()
    assert.equal(0, #find(client, "billing").scoped_machines)
  end)

  it("leaves machines alone that it does not mention, and their scopes", function()
    local other = client:create { name = "other" }
    local owner = client:create { name = "owner", scoped_machines = { other.id } }
    plan.compare(client, SHOP):apply()
    assert.equal(other.id, client:get(owner.id).scoped_machines[1].id)
  end)

  it("renames a machine that it names by its ID", function()
    local id = client:create({ name = "old" }).id
    local changes = plan.compare(client, { machines = { { name = "new", id = id } } })
    assert.same({ "update old" }, shown(changes))
    assert.matches("^~ old\n  ~ name old → new\n1 machine to change$", tostring(changes))
    changes:apply()
    assert.equal("new", client:get(id).name)
  end)

  it("renames before it creates a machine of the old name", function()
    local id = client:create({ name = "a" }).id
    local wanted = { machines = { { name = "a" }, { name = "b", id = id } } }
    local changes = plan.compare(client, wanted)
    assert.same({ "update a", "create a" }, shown(changes))
    changes:apply()
    assert.equal("b", client:get(id).name)
    assert.equal(0, #plan.compare(client, wanted))
  end)

  it("names machines outside of the plan by their IDs", function()
    local other = client:create { name = "other" }
    local changes = plan.compare(client, {
      machines = { { name = "a", scoped_machines = { other.id } } },
    })
    assert.same({ "create a", "add_scope a other" }, shown(changes))
    changes:apply()
    assert.equal(other.id, find(client, "a").scoped_machines[1].id)
    assert.equal(other.id, changes[2].to_id)
  end)

  it("takes the ID where another machine has it as its name", function()
    local victim = client:create { name = "victim" }
    client:create { name = victim.id }
    plan.compare(client, {
      machines = { { name = victim.id }, { name = "a", scoped_machines = { victim.id } } },
    }):apply()
    assert.equal("victim", find(client, "a").scoped_machines[1].name)
  end)

  it("accepts several machines of one name if each has its ID", function()
    local one, two = client:create { name = "twin" }, client:create { name = "twin" }
    local wanted = {
      machines = {
        { name = "twin", id = one.id, scoped_machines = { two.id } },
        { name = "twin", id = two.id },
      },
    }
    local changes = plan.compare(client, wanted)
    assert.truthy(tostring(changes):find(("may call twin (%s)"):format(two.id), 1, true))
    changes:apply()
    assert.equal(two.id, client:get(one.id).scoped_machines[1].id)
    assert.equal(0, #plan.compare(client, wanted))
  end)

  it("tells the callback of each change how many have been made", function()
    local calls = {}
    local changes = plan.compare(client, SHOP)
    changes:apply(function(change, made, count)
      calls[#calls + 1] = ("%d of %d: %s %s"):format(made, count, change.action, change.name)
      assert.matches("^mch_", change.id)
    end)
    assert.equal(7, #calls)
    assert.equal("1 of 7: create gateway", calls[1])
    assert.equal("7 of 7: add_scope billing ledger", calls[7] .. " ledger")
  end)

  it("has the instance's ID, unless the instance is empty", function()
    assert.is_nil(plan.compare(client, SHOP).instance_id)
    local machine = client:create { name = "a" }
    assert.equal(machine.instance_id, plan.compare(client, SHOP).instance_id)
  end)

  it("makes room for new scopes where a machine has as many as it can", function()
    local callees, wanted = {}, { machines = { { name = "hub", scoped_machines = {} } } }
    for i = 1, 151 do
      local name = ("worker %d"):format(i)
      wanted.machines[i + 1] = { name = name }
      if i <= 150 then callees[i] = client:create({ name = name }).id end
      if i > 1 then table.insert(wanted.machines[1].scoped_machines, name) end
    end
    client:create { name = "hub", scoped_machines = callees }
    local changes = plan.compare(client, wanted)
    assert.same({ "create worker 151", "remove_scope hub worker 1", "add_scope hub worker 151" },
      shown(changes))
    changes:apply()
    assert.equal(0, #plan.compare(client, wanted))
  end)

  it("removes a scope whose machine is not in the list", function()
    transport.break_at = function()
      local body = '{"data":[{"id":"mch_1","created_at":1,"name":"a","scoped_machines":'
        .. '[{"id":"mch_gone"}]}],"total_count":1}'
      return { status = 200, headers = {}, body = body }
    end
    local changes = plan.compare(client, { machines = { { name = "a" } } })
    assert.same({ "remove_scope a mch_gone" }, shown(changes))
    assert.matches("\n  %- may call mch_gone\n", tostring(changes))
  end)

  it("needs a client that raises errors", function()
    local safe = require("clerk.machines.safe").new { secret_key = KEY }
    local expected = "^plan functions need a client of clerk.machines, not of clerk.machines.safe$"
    refused(expected, plan.compare, safe, SHOP)
    refused(expected, plan.export, nil)
  end)

  it("shows no control characters of names", function()
    client:create { name = "\27[31mred" }
    local changes = plan.compare(client, { machines = { { name = "a" } } }, { prune = "\27" })
    assert.falsy(tostring(changes):find("\27", 1, true))
  end)

  it("is paced by a rate limit, and made all the same", function()
    local api = emulator.new { rate_limit = 5 }
    local limited = machines.new { secret_key = KEY, transport = api }
    plan.compare(limited, SHOP):apply()
    assert.equal(0, #plan.compare(limited, SHOP))
  end)

  it("can be applied inside a task", function()
    local task = client:spawn(function() plan.compare(client, SHOP):apply() end)
    task:result()
    assert.equal(0, #plan.compare(client, SHOP))
  end)
end)

describe("Pruning", function()
  local client
  before_each(function()
    client = new_instance()
    plan.compare(client, SHOP):apply()
  end)

  it("deletes machines of the prefix that are not in the plan, last, and names callers", function()
    local changes = plan.compare(client, {
      machines = { { name = "gateway", scoped_machines = { "ledger" } }, { name = "ledger" } },
    }, { prune = "se" })
    assert.equal("delete search", shown(changes)[#changes])
    assert.same({ "gateway" }, changes[#changes].callers)
    changes:apply()
    assert.same({ "billing", "gateway", "ledger" }, names_of(client:collect()))
  end)

  it("takes the prefix as text, not as a pattern", function()
    local wanted = { machines = { { name = "ledger" } } }
    assert.equal(0, #plan.compare(client, wanted, { prune = "." }))
  end)

  it("keeps machines that the plan has under another name", function()
    local id = find(client, "search").id
    local wanted = { machines = { { name = "finder", id = id } } }
    plan.compare(client, wanted, { prune = "se" }):apply()
    assert.equal("finder", client:get(id).name)
  end)

  it("does not delete a machine that one of the plan may call", function()
    local old = client:create { name = "old ledger" }
    local problem = '^machines%%[1%%]%%.scoped_machines has "%s", which prune would delete$'
    refused(problem:format(old.id), plan.compare, client,
      { machines = { { name = "a", scoped_machines = { old.id } } } }, { prune = "old" })
  end)

  it("needs a prefix and a plan with machines", function()
    refused("^prune must be a string that is not empty$", plan.compare, client, SHOP,
      { prune = "" })
    refused("^machines is empty: prune would delete every machine whose name begins with \"a\"$",
      plan.compare, client, { machines = {} }, { prune = "a" })
    refused('unknown option "purne"; did you mean "prune"%?', plan.compare, client, SHOP,
      { purne = "a" })
  end)
end)

describe("A plan file", function()
  local path
  after_each(function() os.remove(path) end)

  local function write(text, ending)
    path = os.tmpname() .. (ending or ".lua")
    files.write(path, text)
    return path
  end

  it("is Lua", function()
    local wanted = plan.read(write [[
      local names = {}
      for i = 1, 3 do names[i] = { name = "worker " .. i } end
      return { machines = names }
    ]])
    assert.equal("worker 3", wanted.machines[3].name)
  end)

  it("or JSON", function()
    local text = '\239\187\191{"machines":[{"name":"a","default_token_ttl":60,"id":null}]}'
    local wanted = plan.read(write(text, ".json"))
    assert.equal(60, wanted.machines[1].default_token_ttl)
  end)

  it("in Lua has no libraries and cannot be bytecode", function()
    local bytecode = string.dump(load "return { machines = {} }")
    for _, source in ipairs { "return os.exit()", "return require 'os'", bytecode } do
      local problem = error_of(plan.read, write(source))
      assert.equal("ArgumentError", problem.type)
    end
  end)

  it("that is broken is refused with its line", function()
    refused("^/tmp/[^:]+%.lua:2: ", plan.read, write "return {\n machines = = {} }")
    refused("^/tmp/[^:]+%.lua:3: ", plan.read, write "return {\n machines = {\n { name = a.b } } }")
    refused("^/tmp/[^:]+%.json:3: ", plan.read, write('{\n"machines":\n[{]}', ".json"))
  end)

  it("that cannot be read is refused by its path", function()
    path = "/nowhere/plan.lua"
    refused("^cannot read the plan: /nowhere/plan.lua: No such file", plan.read, path)
    refused("^cannot read the plan: /: Is a directory", plan.read, "/")
  end)

  local WRONG = {
    ["{}"] = "machines is missing",
    ["{ machines = 5 }"] = "machines must be an array, got 5",
    ["{ machines = { a = {} } }"] = "machines must be an array, got table",
    ["{ machines = {}, b = 1, d = 1, a = 1, c = 1, e = 1 }"] = "a is unknown",
    ["{ machnes = {} }"] = 'machnes is unknown; did you mean "machines"%?',
    ["{ machines = {}, instance = 7 }"] = "instance must be a string that is not empty, got 7",
    ["{ machines = { 'a' } }"] = 'machines%[1%] must be a table, got "a"',
    ["{ machines = { {} } }"] = "machines%[1%]%.name is missing",
    ["{ machines = { { name = 'a' }, { name = '' } } }"] =
      'machines%[2%]%.name must be a string of 1 to 255 characters, got ""',
    ["{ machines = { { name = 'a', scopes = {} } } }"] = "machines%[1%]%.scopes is unknown",
    ["{ machines = { { name = 'a', default_token_ttl = '1h' } } }"] =
      'machines%[1%]%.default_token_ttl must be an integer from 1 to 315360000, .* got "1h"',
    ["{ machines = { { name = 'a', default_token_ttl = 0 } } }"] = "machines.*, got 0",
    ["{ machines = { { name = 'a', scoped_machines = 'b' } } }"] =
      'machines%[1%]%.scoped_machines must be an array, got "b"',
    ["{ machines = { { name = 'a', scoped_machines = { 1 } } } }"] =
      "machines%[1%]%.scoped_machines%[1%] must be a string",
    ["{ machines = { { name = 'a' }, { name = 'a' } } }"] =
      'machines%[2%]%.name "a" is also the name of machines%[1%]: give each its id',
    ["{ machines = { { name = 'a', id = 'm' }, { name = 'b', id = 'm' } } }"] =
      "machines%[2%]%.id is also the ID of machines%[1%]",
    ["{ machines = { { name = 'a', id = {} } } }"] = "machines%[1%]%.id must be a string",
    ["5"] = "a plan must be a table, got number",
  }

  for source, pattern in pairs(WRONG) do
    it("is checked as a whole: " .. source, function()
      refused("^/tmp/[^:]+%.lua: " .. pattern, plan.read, write("return " .. source))
    end)
  end

  it("may have at most as many scopes as the API allows", function()
    local names = ("'a',"):rep(151)
    refused("machines%[1%]%.scoped_machines must be at most 150 machines, got 151", plan.read,
      write(("return { machines = { { name = 'b', scoped_machines = {%s} } } }"):format(names)))
  end)
end)

describe("Before any change, a plan is refused", function()
  local client, api
  before_each(function() client, api = new_instance() end)

  local function refuses(pattern, ...)
    local before = #client:collect()
    refused(pattern, plan.compare, client, { machines = { ... }, file = "shop.lua" })
    assert.equal(before, #client:collect())
  end

  it("when a scope names nothing, with what was probably meant", function()
    refuses('^shop%.lua: machines%[1%]%.scoped_machines%[1%] "ledgr" is neither a name in the plan '
      .. 'nor an ID in the instance; did you mean "ledger"%?$',
      { name = "a", scoped_machines = { "ledgr" } }, { name = "ledger" })
  end)

  it("when a machine would call itself", function()
    local id = client:create({ name = "a" }).id
    refuses('scoped_machines%[1%] "a" is the machine itself',
      { name = "a", scoped_machines = { "a" } })
    refuses("is the machine itself", { name = "a", scoped_machines = { id } })
  end)

  it("when a name is that of several machines, with their IDs", function()
    local one, two = client:create { name = "twin" }, client:create { name = "twin" }
    local pattern = 'name "twin" is the name of 2 machines %%(%s, %s%%): give the id$'
    refuses("^shop%.lua: machines%[1%]%." .. pattern:format(one.id, two.id), { name = "twin" })
    refuses("is the name of several machines: give the ID", { name = "twin", id = one.id },
      { name = "twin", id = two.id }, { name = "a", scoped_machines = { "twin" } })
  end)

  it("when an ID is not in the instance", function()
    refuses('machines%[1%]%.id "mch_x" is not in the instance', { name = "a", id = "mch_x" })
  end)

  it("when the key is that of another instance", function()
    local machine = client:create { name = "a" }
    refused(('^instance is "ins_other", but the secret key is that of %s$'):format(
      machine.instance_id), plan.compare, client, { instance = "ins_other", machines = {} })
    assert.equal(0, #plan.compare(client, { instance = machine.instance_id, machines = {} }))
  end)

  it("when the list of machines lacks what is compared", function()
    api.send = function()
      local body = '{"data":[{"id":"mch_1","created_at":1,"name":"a"}],"total_count":1}'
      return { status = 200, headers = {}, body = body }
    end
    local problem = error_of(plan.compare, client, SHOP)
    assert.equal("unexpected_shape", problem.code)
    assert.matches("machine mch_1 has no scoped_machines", problem.message)
  end)
end)

describe("An export", function()
  local client
  before_each(function() client = new_instance() end)

  it("has nothing to change, as a table, as Lua and as JSON", function()
    plan.compare(client, SHOP):apply()
    local twin = client:create { name = 'tw"in\\\n\r1é\226\128\174' }
    client:create { name = twin.name, scoped_machines = { twin.id, find(client, "search").id } }
    client:create { name = twin.id, scoped_machines = { twin.id } }
    local exported = plan.export(client)
    assert.equal(0, #plan.compare(client, exported))
    local as_json = require("clerk.machines.json_writer").write {
      instance = exported.instance, machines = exported.machines,
    }
    for ending, text in pairs { [".lua"] = tostring(exported), [".json"] = as_json } do
      local path = os.tmpname() .. ending
      files.write(path, text)
      assert.equal(0, #plan.compare(client, plan.read(path)), ending)
      os.remove(path)
    end
    assert.falsy(tostring(exported):find("[%z\1-\9\11-\31]"))
  end)

  it("of an empty instance is an empty plan", function()
    assert.equal("return {\n  machines = {\n  },\n}\n", tostring(plan.export(client)))
  end)
end)

-- ---------------------------------------------------------------- failures

--- What an instance has at first, and what is wanted of it: every kind of change.
local function prepare(client)
  local old = client:create { name = "old-worker" }
  local ledger = client:create { name = "ledger" }
  client:create { name = "cron", scoped_machines = { old.id } }
  local gateway = client:create { name = "gate", scoped_machines = { old.id } }
  return {
    machines = {
      { name = "gateway", id = gateway.id, scoped_machines = { "billing", "ledger" } },
      { name = "billing", default_token_ttl = 60, scoped_machines = { "ledger", "search" } },
      { name = "search" },
      { name = "ledger", id = ledger.id, default_token_ttl = 900 },
    },
  }
end

--- Each machine of the plan has a file with its key.
local function check_secrets(client, directory)
  for _, machine in ipairs(client:collect()) do
    local path = directory .. "/" .. machine.id
    if machine.name ~= "cron" then
      assert.equal(client:get_secret_key(machine.id).secret .. "\n", files.read(path))
    end
  end
end

describe("An apply that fails at any request", function()
  local directory
  before_each(function() directory = process.output_of("mktemp -d"):match "%S+" end)
  after_each(function() os.execute("rm -rf " .. directory) end)

  local function lost() return nil, { code = "connection_lost", message = "lost", sent = true } end

  --- What happens to a request: the response, or nil and a failure; or it raises.
  local BREAKS = {
    ["before it reaches the server"] = function() return lost() end,
    ["after it was applied"] = function(api, request)
      api:send(request)
      return lost()
    end,
    ["by a server error"] = function()
      return { status = 500, headers = {}, body = "" }
    end,
    ["by ^C before it is sent"] = function() error("interrupted!", 0) end,
    ["by ^C before its response"] = function(api, request)
      api:send(request)
      error("interrupted!", 0)
    end,
  }

  local function options() return { prune = "old-", secrets_dir = directory } end

  --- Whether the run was broken at its request of that number.
  local function run_broken(broken, number)
    local client, api, transport = new_instance()
    local wanted = prepare(client)
    local first, was_broken = transport.count, false
    function transport.break_at(count, request)
      if count - first == number then
        was_broken = true
        return broken(api, request)
      end
      return api:send(request)
    end
    pcall(function() plan.compare(client, wanted, options()):apply() end)
    transport.break_at = nil
    plan.compare(client, wanted, options()):apply()
    assert.equal(0, #plan.compare(client, wanted, options()))
    assert.same({ "billing", "cron", "gateway", "ledger", "search" }, names_of(client:collect()))
    check_secrets(client, directory)
    return was_broken
  end

  for name, broken in pairs(BREAKS) do
    it(name .. ", is finished by the next one: nothing twice, no secret lost", function()
      local number = 0
      repeat
        number = number + 1
        os.execute("rm -rf " .. directory .. "/*")
      until not run_broken(broken, number)
      assert.equal(15, number) -- each of the 14 was broken once
    end)
  end

  it("begins no change after it, and raises its error", function()
    local client, api, transport = new_instance()
    local made = {}
    function transport.break_at(_, request)
      if request.method == "POST" and request.body:find "billing" then
        return { status = 403, headers = {}, body = '{"errors":[{"code":"quota_exceeded"}]}' }
      end
      return api:send(request)
    end
    local changes = plan.compare(client, SHOP)
    local problem = error_of(changes.apply, changes, function(change)
      made[#made + 1] = change.name
    end)
    assert.equal("quota_exceeded", problem.code)
    assert.same({ "gateway" }, made)
    assert.same({ "gateway" }, names_of(client:collect()))
  end)

  it("adopts a machine whose create got no response", function()
    local client, api = new_instance()
    api:fault { operation = "create", drop = true, applied = true, times = 4 }
    plan.compare(client, SHOP, { secrets_dir = directory }):apply()
    assert.equal(4, #client:collect())
    check_secrets(client, directory)
  end)

  it("stops with all IDs when a create got no response and several machines may be it", function()
    local client, api, transport = new_instance()
    local was_lost
    function transport.break_at(_, request)
      if request.method == "POST" and not was_lost then
        was_lost = true
        api:send(request)
        api:send(request)
        return lost()
      end
      return api:send(request)
    end
    local changes = plan.compare(client, SHOP)
    local problem = error_of(changes.apply, changes)
    assert.equal("connection_lost", problem.code)
    assert.is_true(problem.maybe_applied)
    for _, machine in ipairs(client:collect()) do
      assert.truthy(problem.message:find(machine.id, 1, true))
    end
    refused("is the name of 2 machines", plan.compare, client, SHOP)
  end)

  it("does not apply a plan when the instance has changed since", function()
    local client = new_instance()
    local changes = plan.compare(client, SHOP)
    client:create { name = "ledger" }
    refused("^the instance has changed since the comparison", changes.apply, changes)
    assert.same({ "ledger" }, names_of(client:collect()))
    local again = plan.compare(client, SHOP)
    again:apply()
    refused("^the instance has changed since the comparison", again.apply, again)
  end)
end)

describe("A directory of secrets", function()
  local directory, client
  before_each(function()
    client = new_instance()
    directory = process.output_of("mktemp -d"):match "%S+"
  end)
  after_each(function() os.execute("rm -rf " .. directory) end)

  local function apply(where)
    return plan.compare(client, SHOP, { secrets_dir = where or directory }):apply()
  end

  it("gets one file for each machine, which only its owner can read", function()
    assert.equal(4, apply())
    check_secrets(client, directory)
    assert.equal(("600\n"):rep(4), process.output_of(("stat -c %%a $(find %s -type f)"):format(
      directory)))
  end)

  it("that cannot be written is refused before the first change", function()
    refused("^cannot write a secret key: /nowhere/[^:]+: No such file", apply, "/nowhere")
    assert.equal(0, #client:collect())
  end)

  it("gets what is missing, and keeps what is there", function()
    apply()
    local ledger, search = find(client, "ledger").id, find(client, "search").id
    os.remove(directory .. "/" .. ledger)
    files.write(directory .. "/" .. search, "kept")
    assert.equal(1, apply())
    assert.equal("kept", files.read(directory .. "/" .. search))
    local secret = client:get_secret_key(ledger).secret
    assert.equal(secret .. "\n", files.read(directory .. "/" .. ledger))
  end)

  it("is not left through a link, neither one of a file nor one of a mark", function()
    plan.compare(client, SHOP):apply()
    local target = directory .. "/target"
    files.write(target, "untouched")
    for _, machine in ipairs(client:collect()) do
      process.output_of(("ln -s %s %s/.%s.new"):format(target, directory, machine.id))
    end
    assert.equal(4, apply())
    assert.equal("untouched", files.read(target))
    check_secrets(client, directory)
  end)

  it("is not left by an ID that looks like a path", function()
    local secrets = require "clerk.machines.plan.secrets"
    local kept = secrets.open(directory)
    for _, id in ipairs { "../mch_1", "a/b", ".", "..", "", "a\0b", "/etc/passwd" } do
      refused("cannot be a file's name", kept.write, kept, id, "ak_1")
    end
  end)
end)
