-- The operator's commands: plan, apply, export, graph, rotate of several, whoami, names for IDs; in
-- a terminal of three widths, piped, interrupted, and with faults.

local core = require "clerk.machines.core"
local emulators = require "clerk.machines.emulator"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"
local pty = require "support.pty"
local server = require "support.server"

local quote = process.quote

local LUA = jit and "luajit" or "lua5.4"
local KEY = "sk_test_emulator"
local ID = "mch_%w+"

local SHOP = [[return {
  machines = {
    { name = "gateway", default_token_ttl = 900, scoped_machines = { "billing", "search" } },
    { name = "billing", scoped_machines = { "ledger" } },
    { name = "search" },
    { name = "ledger" },
  },
}]]

local emulator, url, key, client, directory

local function start(options, with_key)
  key = with_key or KEY
  local path = quote(os.getenv "PATH")
  emulator = process.start(("env -i PATH=%s bin/clerk-machines emulate --secret-key %s %s"):format(
    path, key, options or ""))
  url = emulator:read_line():match "^listening on (.*)$"
  client = machines.new { secret_key = key, base_url = url }
end

local function restart(...)
  client:close()
  emulator:stop()
  start(...)
end

local function begin()
  start()
  directory = process.output_of("mktemp -d"):match "%S+"
end

local function finish()
  client:close()
  emulator:stop()
  os.execute("rm -rf " .. directory)
  server.stop_all()
  process.none_left()
end

-- Without any variable of the environment but these.
local function command(arguments, variables)
  return ("env -i PATH=%s CLERK_SECRET_KEY=%s CLERK_API_URL=%s TERM=xterm %s %s %s %s"):format(
    quote(os.getenv "PATH"), key, url, variables or "", LUA, "bin/clerk-machines", arguments)
end

local function run(arguments, variables)
  return process.run(command(arguments, variables) .. " </dev/null")
end

local function succeed(arguments, variables)
  local status, output, errors = run(arguments, variables)
  assert.equal(0, status, errors)
  return output, errors
end

local function succeed_with_json(arguments)
  return assert(core.decode((succeed(arguments .. " --json")), core.result))
end

local function refused(status, pattern, arguments, variables)
  local actual, output, errors = run(arguments, variables)
  assert.equal(status, actual, errors)
  assert.matches(pattern, errors)
  return output, errors
end

--- The whole text that a person sees who answers questions with these keys.
local function on_terminal(arguments, keys, options)
  options = options or {}
  local screen = pty.start(command(arguments, options.variables), options)
  if keys and screen:await "[y/N]" then screen:type(keys) end
  local status, text = screen:finish()
  return pty.visible(text), status, text
end

local function write(name, text)
  local path = directory .. "/" .. name
  files.write(path, text)
  return path
end

local function fault(json)
  local send = "curl -sSf -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' "
    .. "-d %s %s"
  process.output_of(send:format(key, quote(json), (url:gsub("/v1$", "/emulator/faults"))))
end

local function create(name, params)
  params = params or {}
  params.name = name
  return client:create(params)
end

local function names()
  local list = {}
  for i, machine in ipairs(client:collect { order_by = "name" }) do list[i] = machine.name end
  return table.concat(list, " ")
end

describe("clerk-machines plan", function()
  before_each(begin)
  after_each(finish)

  it("shows what must change, and changes nothing", function()
    local output = succeed("plan " .. write("shop.lua", SHOP))
    assert.matches("^%+ gateway\n    default_token_ttl 900\n  %+ may call billing\n", output)
    assert.matches("\n4 machines to create, 3 scopes to add\n$", output)
    assert.equal("", names())
  end)

  it("fits a narrow terminal without a broken ID", function()
    local callee = create "ledger"
    for _ = 1, 2 do create("a caller", { scoped_machines = { callee.id } }) end
    local path = write("other.lua", "return { machines = { { name = 'other' } } }")
    local text = on_terminal("plan --prune ledger " .. path, nil, { columns = 40 })
    for line in text:gmatch "[^\n]+" do assert.is_true(#line <= 40, text) end
    for _, caller in ipairs(client:collect { query = "a caller" }) do
      assert.truthy(text:find("\n    (" .. caller.id .. ")\n", 1, true), text)
    end
  end)

  it("exits with 3 when there is something to change and it is asked to", function()
    local path = write("shop.lua", SHOP)
    assert.equal(3, (run("plan --exit-code " .. path)))
    succeed("apply --yes " .. path)
    assert.equal("nothing to change\n", succeed("plan --exit-code " .. path))
  end)

  it("prints JSON", function()
    local list = succeed_with_json("plan " .. write("shop.lua", SHOP))
    assert.equal(7, list.total_count)
    assert.same({ "create", "gateway", 900 }, { list.data[1].action, list.data[1].name,
      list.data[1].to.default_token_ttl })
  end)

  it("refuses a broken file by its path and place, before any request", function()
    for text, pattern in pairs {
      ["return { machines = { { nme = 'a' } } }"] = 'machines%[1%]%.nme is unknown; .* "name"',
      ["return {\n machines = = 1 }"] = ":2: ",
    } do
      local path = write("broken.lua", text)
      for _, name in ipairs { "plan ", "apply --yes " } do
        local _, errors = refused(2, pattern, name .. path, "CLERK_API_URL=http://127.0.0.1:1")
        assert.truthy(errors:find(path, 1, true))
        assert.is_nil(errors:find("--help", 1, true)) -- which says nothing about the file
      end
    end
    refused(2, "cannot read the plan: /nowhere: No such file", "plan /nowhere")
    refused(2, "missing argument 'file' %(see clerk%-machines plan %-%-help%)", "plan")
  end)

  it("deletes only with --prune, and names what is cut off", function()
    local old = create "old worker"
    create("cron", { scoped_machines = { old.id } })
    local path = write("shop.lua", SHOP)
    assert.falsy(succeed("plan " .. path):find("old worker", 1, true))
    assert.matches("\n%- old worker\n    cron can no longer call it\n.*, 1 machine to delete\n$",
      succeed("plan --prune 'old ' " .. path))
    succeed("apply --yes --prune 'old ' " .. path)
    assert.equal("billing cron gateway ledger search", names())
  end)

  it("has colours on a terminal", function()
    local _, _, raw = on_terminal("plan " .. write("shop.lua", SHOP))
    assert.matches("^\27%[32m%+ gateway\27%[0m\n", raw)
  end)
end)

describe("clerk-machines apply", function()
  before_each(begin)
  after_each(finish)

  it("makes the changes, and lists what it created", function()
    local output, errors = succeed("apply --yes " .. write("shop.lua", SHOP))
    assert.equal("", errors)
    assert.matches("\ncreated " .. ID .. "  gateway\n", output)
    assert.matches("\nchanges made: 7\n$", output)
    assert.equal("billing gateway ledger search", names())
  end)

  it("shows the plan and the instance, and asks", function()
    create "other"
    local path = write("shop.lua", SHOP)
    for _, keys in ipairs { "n\n", "y\n" } do
      local text, status = on_terminal("apply " .. path, keys)
      assert.equal(keys == "y\n" and 0 or 1, status, text)
      assert.matches("3 scopes to add\nInstance ins_%w+ %(test%)\n/tmp/[^\n]+ does not say for "
        .. "which instance it is%.\nMake these changes%? %[y/N%] ", text)
      if keys == "n\n" then assert.equal("other", names()) end
    end
    assert.equal("billing gateway ledger other search", names())
  end)

  it("does not ask when there is nothing to change", function()
    local path = write("shop.lua", SHOP)
    succeed("apply --yes " .. path)
    assert.equal("nothing to change\n", (on_terminal("apply " .. path)))
  end)

  it("names the instance of the file where it cannot be checked, and asks", function()
    local path = write("shop.lua", (SHOP:gsub("return {", "return { instance = 'ins_a',", 1)))
    local text = on_terminal("apply " .. path, "n\n")
    assert.matches("is for instance ins_a; without machines, this one cannot be told from others",
      (text:gsub("%s+", " ")), 1, true)
    refused(1, "Apply it without %-%-yes, or create a machine first", "apply --yes " .. path)
    assert.equal("", names())
  end)

  it("needs --yes without a terminal", function()
    refused(2, "give %-%-yes", "apply " .. write("shop.lua", SHOP))
    assert.equal("", names())
  end)

  it("shows a live instance in red", function()
    restart(nil, "sk_live_emulator")
    local _, _, raw = on_terminal("apply " .. write("shop.lua", SHOP), "n\n")
    assert.matches("\nInstance unknown, since it has no machines \27%[31m%(live%)\27%[0m\n", raw)
  end)

  it("says how far it came when a request fails, and goes on from there", function()
    fault '{"operation": "create_scope", "status": 403, "times": 1}'
    local path = write("shop.lua", SHOP)
    local _, errors = refused(1, "\nclerk%-machines apply: .*%(403 ", "apply --yes " .. path)
    local made = errors:match "^(%d) of 7 changes were made%. Run it again for"
    assert.is_true(tonumber(made) >= 4, errors)
    local output = succeed("apply --yes " .. path)
    assert.matches("\nchanges made: " .. 7 - made .. "\n$", output)
    assert.equal("nothing to change\n", succeed("plan " .. path))
  end)

  it("can be interrupted at any time and run again", function()
    local path = write("shop.lua", SHOP)
    local arguments = ("apply --yes --secrets-dir %s %s"):format(directory, path)
    for _, operation in ipairs { "list", "create", "create_scope" } do
      fault(('{"operation": "%s", "delay_ms": 600, "times": 9, "applied": true}'):format(operation))
      local screen = pty.start(command(arguments))
      screen:await "to add"
      os.execute "sleep 0.3"
      screen:type "\3"
      assert.equal(130, (screen:finish()))
      process.output_of(("curl -sSf -X DELETE -H 'Authorization: Bearer %s' %s"):format(key,
        (url:gsub("/v1$", "/emulator/faults"))))
    end
    succeed(arguments)
    assert.equal("billing gateway ledger search", names())
    for _, machine in ipairs(client:collect()) do
      assert.equal(client:get_secret_key(machine.id).secret .. "\n",
        files.read(directory .. "/" .. machine.id))
    end
  end)

  it("keeps the keys in a directory, and shows none", function()
    local output = succeed(("apply --yes --secrets-dir %s %s"):format(directory,
      write("shop.lua", SHOP)))
    assert.matches("\nsecret keys written to /tmp/[^\n]+: 4\n$", output)
    assert.falsy(output:find("ak_", 1, true))
    local asking = "apply --secrets-dir /nowhere "
      .. write("more.lua", "return { machines = { { name = 'more' } } }")
    refused(1, "cannot write a secret key: /nowhere/.*: No such file", asking)
    assert.equal("billing gateway ledger search", names())
  end)

  it("makes the changes of two hundred machines, also through a rate limit", function()
    local text = [[local machines = {}
      for i = 1, %d do
        machines[i] = { name = "worker " .. i, scoped_machines = i > 1 and { "worker 1" } or nil }
      end
      return { machines = machines }]]
    local output = succeed("apply --yes " .. write("many.lua", text:format(200)))
    assert.matches("\nchanges made: 399\n$", output)
    restart "--rate-limit 20"
    output = succeed("apply --yes " .. write("some.lua", text:format(15)))
    assert.matches("\nchanges made: 29\n$", output)
  end)
end)

describe("clerk-machines export", function()
  before_each(begin)
  after_each(finish)

  it("prints a plan that has nothing to change, in Lua and in JSON", function()
    succeed("apply --yes " .. write("shop.lua", SHOP))
    create "gateway"
    local lua = write("exported.lua", (succeed "export"))
    local json = write("exported.json", (succeed "export --json"))
    for _, path in ipairs { lua, json } do
      assert.equal("nothing to change\n", succeed("plan " .. path))
    end
  end)

  it("refuses to change another instance", function()
    create "a"
    local path = write("exported.lua", (succeed "export"))
    restart()
    create "b"
    refused(2, "exported%.lua: instance is \"ins_%w+\", but the secret key is that of ins_%w+",
      "apply --yes --prune b " .. path)
    assert.equal("b", names())
  end)
end)

describe("clerk-machines graph", function()
  before_each(begin)
  after_each(finish)

  it("is a tree that marks cycles, and machines that no machine may call", function()
    local ledger, alone = create "ledger", create "alone"
    local billing = create("billing", { scoped_machines = { ledger.id } })
    create("cron", { scoped_machines = { billing.id, ledger.id } })
    client:create_scope(ledger.id, { to_machine_id = billing.id })
    assert.equal([[
cron (no callers)
├─ billing
│  └─ ledger
│     └─ billing (cycle)
└─ ledger (see above)
alone (no scopes)
]], (succeed "graph"))
    local dot = succeed "graph --dot"
    assert.truthy(dot:find(('"%s" -> "%s" [color=red];'):format(ledger.id, billing.id), 1, true))
    local node = '"%s" [label="alone", style="rounded,dashed"];'
    assert.truthy(dot:find(node:format(alone.id), 1, true))
  end)

  it("begins somewhere in a cycle that no machine outside may call", function()
    local a, b = create "a", create "b"
    client:create_scope(a.id, { to_machine_id = b.id })
    client:create_scope(b.id, { to_machine_id = a.id })
    assert.equal("a\n└─ b\n   └─ a (cycle)\n", (succeed "graph"))
  end)

  it("tells machines of one name apart, and quotes names for Graphviz", function()
    local one = create '"\\'
    create('"\\', { scoped_machines = { one.id } })
    assert.truthy(succeed("graph"):find(('└─ "\\ (%s)'):format(one.id), 1, true))
    assert.truthy(succeed("graph --dot"):find([=[[label="\"\\"]]=], 1, true))
  end)
end)

describe("clerk-machines rotate, of several machines,", function()
  before_each(begin)
  after_each(finish)

  local function secret_of(machine) return client:get_secret_key(machine.id).secret end

  it("takes IDs, names, --query or --all", function()
    local one, two, other = create "worker 1", create "worker 2", create "gateway"
    local function changed(arguments)
      local before = { secret_of(one), secret_of(two), secret_of(other) }
      succeed("rotate --yes --previous-token-ttl 1h30m " .. arguments)
      local after = {}
      for i, machine in ipairs { one, two, other } do after[i] = secret_of(machine) ~= before[i] end
      return after
    end
    assert.same({ true, false, true }, changed(one.id .. " gateway"))
    assert.same({ true, true, false }, changed "--query worker")
    assert.same({ true, true, true }, changed "--all")
    refused(1, "no machine matches 'x'", "rotate --yes --query x --previous-token-ttl 0")
  end)

  it("asks once, and names all", function()
    local one, two = create "one", create "two"
    local before = secret_of(one)
    local text, status = on_terminal("rotate --all --previous-token-ttl 0", "n\n")
    assert.equal(1, status)
    local lines = ("\n  one (%s)\n  two (%s)\n"):format(one.id, two.id)
    assert.truthy(text:find(lines .. "Rotate the keys of these 2 machines? [y/N] ", 1, true))
    assert.equal(before, secret_of(one))
  end)

  it("keeps the keys in a directory", function()
    local one, two = create "one", create "two"
    local rotate = ("rotate --yes --previous-token-ttl 1h --secrets-dir %s "):format(directory)
    local output = succeed(rotate .. "--all")
    assert.falsy(output:find("ak_", 1, true))
    for _, machine in ipairs { one, two } do
      assert.equal(secret_of(machine) .. "\n", files.read(directory .. "/" .. machine.id))
    end
    assert.truthy(succeed(rotate .. "one"):find(directory .. "/" .. one.id, 1, true))
    assert.equal(secret_of(one) .. "\n", files.read(directory .. "/" .. one.id))
  end)

  it("prints JSON with IDs and names", function()
    local one, two = create "one", create "two"
    local list = succeed_with_json "rotate --all --yes --reveal --previous-token-ttl 0"
    assert.equal(2, list.total_count)
    for i, machine in ipairs { one, two } do
      assert.same({ machine.id, machine.name, secret_of(machine) },
        { list.data[i].id, list.data[i].name, list.data[i].secret })
    end
  end)

  it("lists what is left when one fails, for the next run", function()
    local all = {}
    for i = 1, 4 do all[i] = create("worker " .. i) end
    local web = server.start([[
      local rotated = 0
      for request in connection:requests() do
        if request.line:find "^POST" then rotated = rotated + 1 end
        if rotated == 3 then
          connection:answer(403, '{"errors":[{"code":"quota_exceeded","message":"No."}]}')
        else
          connection:answer(200, ('{"secret":"ak_%d","id":"%s","name":"a","object":"machine"}')
            :format(rotated, request.target:match "mch_%w+"))
        end
      end
    ]])
    local ids = {}
    for i, machine in ipairs(all) do ids[i] = machine.id end
    local _, errors = refused(1, "\nclerk%-machines rotate: No%. %(403 quota_exceeded%)\n",
      "rotate --yes --previous-token-ttl 0 --base-url " .. web:url "/v1 " .. table.concat(ids, " "))
    assert.equal(("2 of 4 machines were rotated. These were not: %s %s"):format(ids[3], ids[4]),
      errors:match "^[^\n]+")
  end)

  it("loses no key when responses are lost", function()
    local machine = create "one"
    local old = secret_of(machine)
    fault '{"operation": "rotate_secret_key", "drop": true, "applied": true}'
    succeed("rotate --yes --previous-token-ttl 0 one --secrets-dir " .. directory)
    assert.not_equal(old, secret_of(machine))
    assert.equal(secret_of(machine) .. "\n", files.read(directory .. "/" .. machine.id))
  end)
end)

describe("A rotation that is broken at any request", function()
  local rotation = require "clerk.machines.cli.rotation"
  local plan = require "clerk.machines.plan"

  before_each(function() directory = process.output_of("mktemp -d"):match "%S+" end)
  after_each(function() os.execute("rm -rf " .. directory) end)

  --- A client whose transport raises at `transport.break_at`, before or after it is applied.
  local function breakable(is_applied)
    local api, transport = emulators.new(), { count = 0, sleep = function() end }
    function transport.send(_, request)
      transport.count = transport.count + 1
      if transport.count == transport.break_at then
        if is_applied then api:send(request) end
        error("interrupted!", 0)
      end
      return api:send(request)
    end
    local settings = { secret_key = KEY, transport = transport, retries = false }
    return machines.new(settings), transport
  end

  --- Whether the rotation has a request of that number.
  local function check_broken(is_applied, number)
    local own, transport = breakable(is_applied)
    local machine = own:create { name = "a" }
    local function apply()
      plan.compare(own, { machines = { { name = "a" } } }, { secrets_dir = directory }):apply()
    end
    apply()
    transport.break_at = transport.count + number
    pcall(rotation.new(own, 0, directory), machine)
    local was_broken = transport.count >= transport.break_at
    transport.break_at = nil
    apply()
    assert.equal(own:get_secret_key(machine.id).secret .. "\n",
      files.read(directory .. "/" .. machine.id))
    return was_broken
  end

  it("leaves the directory so that the next apply has the key that is valid", function()
    for _, is_applied in ipairs { false, true } do
      assert.is_true(check_broken(is_applied, 1))
      assert.is_true(check_broken(is_applied, 2))
      assert.is_false(check_broken(is_applied, 3))
    end
  end)
end)

describe("A machine's name", function()
  before_each(begin)
  after_each(finish)

  it("works in place of its ID", function()
    local gateway, billing = create "gateway", create "billing"
    assert.equal(gateway.id, succeed_with_json "get gateway".id)
    assert.equal(client:get_secret_key(gateway.id).secret .. "\n", (succeed "secret gateway"))
    succeed "update gateway --default-token-ttl 1h30m"
    assert.equal(5400, client:get(gateway.id).default_token_ttl)
    succeed "scope add gateway billing"
    assert.equal(billing.id, client:get(gateway.id).scoped_machines[1].id)
    succeed "scope remove gateway billing --yes"
    assert.equal(0, #client:get(gateway.id).scoped_machines)
    assert.equal(billing.id, succeed_with_json "create cron --scope billing".scoped_machines[1].id)
    succeed "delete billing gateway cron --yes"
    assert.equal("", names())
  end)

  it("must be exact", function()
    create "gateway"
    refused(1, "no machine has the ID or the name 'gate'", "get gate")
    refused(1, "no machine has the ID or the name 'gatewya'; did you mean 'gateway'%?",
      "get gatewya")
  end)

  it("must be that of one machine, or the candidates are listed", function()
    local one, two = create "twin", create "twin"
    local _, errors = refused(1, "2 machines are named 'twin': ", "get twin")
    for _, machine in ipairs { one, two } do
      assert.truthy(errors:find(machine.id, 1, true))
    end
  end)

  it("that looks like an ID does not hide the machine of that ID", function()
    local victim = create "victim"
    create(victim.id)
    assert.equal("victim", succeed_with_json("get " .. victim.id).name)
  end)
end)

describe("Several machines", function()
  before_each(begin)
  after_each(finish)

  it("are shown one after the other, each once", function()
    local one, two = create "one", create "two"
    local output = succeed(("get one %s %s"):format(two.id, one.id))
    assert.matches("^ID +" .. one.id .. "\n.*\n\nID +" .. two.id .. "\n", output)
    assert.equal(2, succeed_with_json "get one two".total_count)
  end)

  it("are deleted after one question, which names what is cut off", function()
    local ledger = create "ledger"
    local billing = create("billing", { scoped_machines = { ledger.id } })
    create("cron", { scoped_machines = { ledger.id, billing.id } })
    local text, status = on_terminal("delete ledger billing", "y\n")
    assert.equal(0, status)
    assert.matches("\nbilling and cron can no longer call ledger%.\n"
      .. "cron can no longer call billing%.\nDelete these 2 machines%? ", text)
    assert.equal("cron", names())
  end)

  it("that cannot all be deleted are listed", function()
    create "one"
    local _, errors = refused(1, "1 of 3 machines were deleted%. These were not: mch_x mch_y\n",
      "delete one mch_x mch_y --yes")
    assert.matches("\nclerk%-machines delete: No machine was found", errors)
  end)

  it("that were deleted before one could not be are printed, with --json too", function()
    local one = create "one"
    local output, errors = refused(1, "1 of 3 machines were deleted", "delete one mch_x mch_y "
      .. "--yes --json")
    assert.matches("not: mch_x mch_y\n", errors)
    local list = core.decode(output, core.result)
    assert.same({ 1, one.id }, { list.total_count, list.data[1].id })
  end)

  it("lose their scope only after a question that says so", function()
    local to = create "to"
    local from = create("from", { scoped_machines = { to.id } })
    local text, status = on_terminal("scope remove from to", "n\n")
    assert.equal(1, status)
    local question = "from (%s) can no longer call to (%s). Remove this scope?"
    assert.truthy(text:gsub("%s+", " "):find(question:format(from.id, to.id), 1, true))
    assert.equal(1, #client:get(from.id).scoped_machines)
  end)
end)

describe("clerk-machines whoami", function()
  before_each(begin)
  after_each(finish)

  it("shows the instance, the key's kind, the API, and whether it responds", function()
    assert.matches("^Instance +unknown, since it has no machines %(test%)\n", (succeed "whoami"))
    local machine = create "a"
    local output = succeed "whoami"
    for _, pattern in ipairs {
      "^Instance +" .. machine.instance_id .. " %(test%)\n",
      "\nKey +an instance's secret key %(%$CLERK_SECRET_KEY%)\n", "\nAPI +http://127", "/v1\n",
      "\nAPI version +%d%d%d%d%-%d%d%-%d%d\n", "\nReachable +yes, in %d+ ms\n",
      "\nClock +agrees with the API's\n", "\nVersion +clerk%-machines %d",
    } do
      assert.matches(pattern, output)
    end
    assert.falsy(output:find(KEY, 1, true))
    assert.equal(machine.instance_id, succeed_with_json "whoami".instance_id)
  end)

  it("shows what it can when the API refuses or does not respond, and exits with 1", function()
    local output = refused(1, "^$", "whoami", "CLERK_SECRET_KEY=sk_live_x")
    assert.matches("\nReachable +yes, but: .*401 clerk_key_invalid", output)
    assert.matches("^Instance +unknown %(live%)\n", output)
    output = refused(1, "^$", "whoami", "CLERK_API_URL=http://127.0.0.1:1")
    assert.matches("\nReachable +no: .*connect_failed", output)
    assert.matches("\nClock +unknown: ", output)
    output = refused(1, "^$", "whoami", "CLERK_SECRET_KEY=ak_0123456789")
    assert.matches("\nKey +a machine's secret key: an instance's is needed ", output)
  end)

  it("says by how much the clocks differ", function()
    local web = server.start [[
      connection:answer_all(200, '{"data":[],"total_count":0}',
        "Date: Sun, 06 Nov 1994 08:49:37 GMT")
    ]]
    assert.matches("\nClock +%d+ s ahead of the API's\n",
      (succeed("whoami", "CLERK_API_URL=" .. web:url "/v1")))
  end)
end)

describe("The output", function()
  setup(function()
    begin()
    succeed("apply --yes " .. write("shop.lua", SHOP))
    create(("long name "):rep(20))
  end)
  teardown(finish)

  local function widest(text)
    local width = 0
    for line in text:gmatch "[^\n]+" do
      width = math.max(width, select(2, line:gsub("[^\128-\191]", "")))
    end
    return width
  end

  for _, columns in ipairs { 40, 80, 200 } do
    it(("fits %d columns without a broken ID"):format(columns), function()
      local ids = {}
      for i, machine in ipairs(client:collect()) do ids[i] = machine.id end
      for _, arguments in ipairs { "list", "get gateway billing", "scope list billing", "graph",
        "delete gateway billing", "scope remove gateway billing",
        "rotate --all --previous-token-ttl 1h", "get mch_missing", "whoami" } do
        local text = on_terminal(arguments, "n\n", { columns = columns })
        assert.is_true(widest(text) <= columns + #"n", arguments .. "\n" .. text)
        if arguments == "list" or arguments:find "^rotate" then
          for _, id in ipairs(ids) do assert.truthy(text:find(id, 1, true), text) end
        end
      end
    end)
  end

  it("shows what may be called next to a name where there is room", function()
    local text = on_terminal("list --query a", nil, { columns = 200 })
    assert.matches("^ID +AGE +TTL +SCOPES  NAME +MAY CALL\n", text)
    assert.matches("  gateway +billing, search\n", text)
  end)

  it("is a table or lines as it is asked for, on a terminal or not", function()
    assert.matches("^ID +AGE ", (succeed("list --table", "COLUMNS=60")))
    assert.matches("^ID +AGE ", (succeed "list --table"))
    assert.equal(succeed "list", (on_terminal "list --tsv"))
    assert.equal(succeed "list --tsv", (succeed "list"))
    assert.matches("may be called by:\nID ", (succeed "scope list billing --table"))
  end)

  it("ends after --limit machines", function()
    local _, count = succeed("list --limit 2"):gsub("\n", "")
    assert.equal(2, count)
    local list = succeed_with_json "list --limit 2"
    assert.same({ 2, 5 }, { #list.data, list.total_count })
    assert.equal(5, #succeed_with_json "list --limit 99".data)
  end)

  it("begins errors in red, with the command that was typed", function()
    local _, _, raw = on_terminal "secret mch_missing"
    assert.matches("^\27%[31mclerk%-machines secret:\27%[0m No machine", raw)
    assert.matches("\n`clerk%-machines list` shows the machines that exist%.\n$", raw)
  end)
end)
