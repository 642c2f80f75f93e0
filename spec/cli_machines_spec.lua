-- The commands as people use them: in a terminal, and piped to other programs.

local core = require "clerk.machines.core"
local files = require "support.files"
local machines = require "clerk.machines"
local process = require "support.process"
local pty = require "support.pty"
local server = require "support.server"

local quote = process.quote

local unpack = table.unpack or unpack

local LUA = require("support.interpreter").name
local KEY = "sk_test_emulator"
local ID = "mch_%w+"
local TIME = "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ"

local function start_emulator()
  local path = quote(os.getenv "PATH")
  local emulator = process.start("env -i PATH=" .. path .. " bin/clerk-machines emulate")
  return emulator, emulator:read_line():match "^listening on (.*)$"
end

describe("clerk-machines", function()
  local emulator, url, client, scratch

  setup(function()
    emulator, url = start_emulator()
    client = machines.new { secret_key = KEY, base_url = url }
  end)

  teardown(function()
    client:close()
    assert.equal(0, emulator:stop())
    process.none_left()
  end)

  before_each(function()
    scratch = os.tmpname()
  end)

  after_each(function()
    os.remove(scratch)
    for _, machine in ipairs(client:collect()) do
      client:delete(machine.id)
    end
  end)

  -- Without any variable of the environment but these.
  local function command(arguments, variables)
    return ("env -i PATH=%s CLERK_SECRET_KEY=%s CLERK_API_URL=%s TERM=xterm %s %s %s %s"):format(
      quote(os.getenv "PATH"), KEY, url, variables or "", LUA, "bin/clerk-machines", arguments)
  end

  local function run(arguments, variables)
    return process.run(command(arguments, variables) .. " </dev/null")
  end

  local function succeed(arguments, variables)
    local status, output, errors = run(arguments, variables)
    assert.equal(0, status, errors)
    assert.equal("", errors)
    return output
  end

  local function read_json(text)
    return assert(core.decode(text, core.result))
  end

  local function succeed_with_json(arguments)
    return read_json(succeed(arguments .. " --json"))
  end

  --- Expects one line on standard error; returns the hint after it, if there is one.
  local function assert_refused(status, pattern, arguments, variables)
    local actual, output, errors = run(arguments, variables)
    assert.equal(status, actual, errors)
    assert.equal("", output)
    local line, hint = errors:match "^(clerk%-machines[%l ]*: [^\n]+\n)([^\n]*\n?)$"
    assert.matches(pattern, line or errors)
    return hint
  end

  local function on_terminal(arguments, options)
    options = options or {}
    local status, text = pty.start(command(arguments, options.variables), options):finish()
    return text, status
  end

  local function fault(json)
    local send = "curl -sSf -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' "
      .. "-d %s %s"
    local faults = url:gsub("/v1$", "/emulator/faults")
    local status = process.run(send:format(KEY, quote(json), faults))
    assert.equal(0, status)
  end

  local function create(name, params)
    params = params or {}
    params.name = name
    return client:create(params)
  end

  describe("list", function()
    it("prints lines for programs when piped: whole names, tabs, times and numbers", function()
      local worker = create(("w"):rep(255))
      local gateway = create("gateway", {
        default_token_ttl = 900,
        scoped_machines = { worker.id },
      })
      local first, second = succeed("list"):match "^([^\n]+)\n([^\n]+)\n$"
      assert.matches(("^%s\t%s\t900\t1\tgateway$"):format(gateway.id, TIME), first)
      assert.matches(("^%s\t%s\t3600\t0\t%s$"):format(worker.id, TIME, worker.name), second)
    end)

    it("takes --query and --order-by, with a minus too", function()
      for _, name in ipairs { "b one", "a one", "c two" } do
        create(name)
      end
      local function names(arguments)
        return (succeed(arguments):gsub("[^\n]*\t", ""))
      end
      assert.equal("a one\nb one\n", names "list --query one --order-by name")
      assert.equal("c two\nb one\na one\n", names "list --order-by -name")
      assert.equal("c two\nb one\na one\n", names "list --order-by=-name")
      assert.equal("b one\na one\nc two\n", names "list --order-by created_at")
    end)

    it("accepts option values that begin with a dash", function()
      local machine = create "-x"
      assert.matches("\t%-x\n$", succeed "list --query -x")
      assert.matches("\t%-x\n$", succeed "list --query=-x")
      assert.equal("", succeed "list --query --json")
      assert.equal("", succeed "list --query --")
      for _, name in ipairs { "--reveal", "-y" } do
        local output = succeed(("update --name %s %s"):format(name, machine.id))
        assert.truthy(output:find(name .. "\n", 1, true))
      end
      for option, problem in pairs {
        ["create a --default-token-ttl -5"] = "%-%-default%-token%-ttl must be a time from 1 s to "
          .. "3650 d, such as 90, 15m or 1h30m, not '%-5'",
        ["create a --scope -1"] = "no machine has the ID or the name '%-1'",
        ["rotate mch_1 --previous-token-ttl -y"] = "%-%-previous%-token%-ttl must be .* not '%-y'",
        ["list --base-url -1"] = "base_url must be an absolute URL",
        ["list --ca-file -1"] = 'ca_file "%-1" cannot be read',
        ["list --secret-key-file --json"] = "cannot read the secret key: %-%-json: No such file",
      } do
        local status, _, errors = run(option)
        assert.not_equal(0, status)
        assert.matches(problem, errors)
      end
    end)

    it("treats everything after -- as an argument", function()
      assert.matches("\nName +%-%-query\n", succeed "create -- --query")
      assert.matches("\nName +%-%-json\n", succeed "create --default-token-ttl 60 -- --json")
      assert.equal("--", read_json(succeed "create --json -- --").name)
      assert_refused(2, "option '%-%-query' requires an argument", "list --query")
      assert_refused(2, "unknown option '%-x'", "list --json -x")
    end)

    it("writes the same JSON on a terminal", function()
      create("a", { scoped_machines = { create("b").id } })
      assert.equal(succeed "list --json", on_terminal "list --json")
    end)

    it("prints nothing when there are no machines, and says so on a terminal", function()
      assert.equal("", succeed "list")
      assert.equal('{\n  "data": [],\n  "total_count": 0\n}\n', succeed "list --json")
      assert.equal("There are no machines.\n", pty.visible(on_terminal "list"))
      assert.equal("No machine matches 'x'.\n", pty.visible(on_terminal "list --query x"))
    end)

    it("fails when it cannot write", function()
      create("a")
      local status, _, errors = process.run(command "list" .. " >/dev/full")
      assert.equal(1, status)
      assert.equal("clerk-machines list: cannot write to standard output: "
        .. "No space left on device\n", errors)
    end)
  end)

  describe("list on a terminal", function()
    local function lines(text)
      local found = {}
      for line in pty.visible(text):gmatch "[^\n]+" do
        found[#found + 1] = line
      end
      return found
    end

    it("shows a head, ages and durations", function()
      create("gateway", { scoped_machines = { create("worker").id }, default_token_ttl = 900 })
      local head, first = unpack(lines(on_terminal "list"))
      assert.matches("^ID +AGE +TTL +SCOPES  NAME$", head)
      assert.matches("^" .. ID .. "  %d+ s +15 min  1       gateway$", first)
    end)

    it("fits the width and leaves out less important columns", function()
      local machine = create(("long name "):rep(20))
      local heads = {
        [100] = "^ID +AGE +TTL  SCOPES  NAME$",
        [80] = "^ID +AGE +TTL  SCOPES  NAME$",
        [65] = "^ID +AGE +TTL  NAME$",
        [60] = "^ID +AGE +NAME$",
        [50] = "^ID +NAME$",
        [40] = "^ID$",
      }
      for columns, head in pairs(heads) do
        local shown = lines(on_terminal("list", { columns = columns }))
        assert.matches(head, shown[1])
        local last = shown[#shown]
        assert.equal(columns, #last - #"…" + 1)
        assert.matches("long name.*…$", last)
        assert.equal(machine.id, table.concat(shown, "\n"):match(ID))
      end
    end)

    it("uses COLUMNS as the width", function()
      create(("n"):rep(255))
      for _, line in ipairs(lines(on_terminal("list", { variables = "COLUMNS=70" }))) do
        assert.is_true(#line <= 70 + #"…" - 1)
      end
    end)

    it("assumes 80 columns when neither COLUMNS nor the terminal has a number", function()
      create(("n"):rep(255))
      local shown = lines(on_terminal("list", { columns = 0, variables = "COLUMNS=wide" }))
      assert.equal(80, #shown[2] - #"…" + 1)
    end)

    it("replaces control and bidi characters in names", function()
      create "\27[31mred\7\194\155m\226\128\174\226\128\168\216\156\243\160\129\129é"
      assert.matches("  %?%[31mred%?%?m%?%?%?%?é\n$", on_terminal "list")
      assert.matches("\t%?%[31mred%?%?m%?%?%?%?é\n$", succeed "list")
      local json = on_terminal "list --json"
      assert.truthy(json:find(
        [["\u001b[31mred\u0007\u009bm\u202e\u2028\u061c\udb40\udc41é"]], 1, true))
      assert.equal(client:list().data[1].name, succeed_with_json "list".data[1].name)
    end)

    it("replaces bytes in its arguments that are not UTF-8", function()
      local _, _, errors = run "list --nonsense-$(printf '\\233')"
      assert.matches("unknown option '%-%-nonsense%-%?'", errors)
    end)

    it("has colours, but not with NO_COLOR or on a dumb terminal", function()
      create "a"
      assert.matches("^\27%[1mID", on_terminal "list")
      assert.matches("^ID", on_terminal("list", { variables = "NO_COLOR=1" }))
      assert.matches("^ID", on_terminal("list", { variables = "TERM=dumb" }))
    end)

  end)

  describe("list, of more than a page,", function()
    local COUNT = 510
    local crowd, variables

    setup(function()
      local emulator_url
      crowd, emulator_url = start_emulator()
      variables = "CLERK_API_URL=" .. emulator_url
      local creator = machines.new { secret_key = KEY, base_url = emulator_url }
      for i = 1, COUNT do
        creator:create { name = "machine " .. i }
      end
      creator:close()
    end)

    teardown(function()
      assert.equal(0, crowd:stop())
    end)

    local function on_crowded_terminal(arguments, more)
      return (on_terminal(arguments, { variables = variables .. " " .. (more or "") }))
    end

    it("prints all pages as one JSON object", function()
      local list = read_json(succeed("list --json --order-by created_at", variables))
      assert.equal(COUNT, list.total_count)
      assert.equal(COUNT, #list.data)
      for i, machine in ipairs(list.data) do
        assert.equal("machine " .. i, machine.name)
      end
    end)

    -- Another process that shares a pipe may have made it non-blocking.
    local NOT_BLOCKING = [[luajit -e 'local ffi = require "ffi"
      ffi.cdef "int fcntl(int, int, int);"
      assert(ffi.C.fcntl(1, %d, %d) >= 0)']]
    local F_SETFL, O_NONBLOCK, F_SETPIPE_SZ = 4, 2048, 1031

    it("loses no row when its pipe is non-blocking and the reader is slow", function()
      local script = ("{ %s; %s; %s; echo $? >%s; } | { sleep 0.5; cat; }"):format(
        NOT_BLOCKING:format(F_SETPIPE_SZ, 4096), NOT_BLOCKING:format(F_SETFL, O_NONBLOCK),
        command("list --json", variables), scratch)
      local _, output, errors = process.run(script)
      assert.equal("", errors)
      assert.equal("0\n", files.read(scratch))
      assert.equal(COUNT, #read_json(output).data)
    end)

    it("ends quietly when its reader is gone", function()
      for _, before in ipairs { "", "trap '' PIPE; " } do
        local script = before .. command("list", variables) .. " | head -n 1"
        local status, output, errors = process.run(script)
        assert.equal(0, status)
        assert.matches("machine 510\n$", output)
        assert.equal("", errors)
      end
    end)

    it("shows how far it is in a status line on a terminal", function()
      local text = on_crowded_terminal "list"
      assert.matches("500 of 510 machines", text)
      assert.equal(COUNT + 1, select(2, pty.visible(text):gsub("\n", "")))
      assert.falsy(pty.visible(text):find("of 510", 1, true))
    end)

    it("accepts numbers that are fractions or too large", function()
      for _, number in ipairs { "1e400", "-1e400", "700.5", "9223372036854775808" } do
        local web = server.start([[
          for request in connection:requests() do
            local rows, offset = {}, request.target:match "offset=(%d+)"
            for i = offset + 1, 500 do
              rows[#rows + 1] = ('{"id":"mch_%d","created_at":%d,"default_token_ttl":%s}')
                :format(i, 1000 - i, values.number)
            end
            connection:answer(200, ('{"data":[%s],"total_count":%s}'):format(
              table.concat(rows, ","), values.number))
          end
        ]], { values = { number = number } })
        for _, arguments in ipairs { "list", "list --json" } do
          local text, status = on_terminal(arguments .. " --base-url " .. web:url "/v1")
          assert.equal(0, status)
          assert.truthy(pty.visible(text):find("mch_500", 1, true))
        end
        web:stop()
      end
    end)

    it("shows the same when only its output goes elsewhere", function()
      local text = on_crowded_terminal("list >" .. scratch)
      assert.matches("500 of 510 machines", text)
      assert.equal("", pty.visible(text))
    end)

    it("shows no status line on a terminal that cannot erase it", function()
      local text = on_crowded_terminal("list", "TERM=dumb")
      assert.falsy(text:find("of 510", 1, true))
    end)
  end)

  describe("list, from a server that limits pages and miscounts,", function()
    local COUNT = 250

    --- Serves 250 machines, at most 100 at a time, with this total_count.
    local function start_limited(total_count)
      return server.start([[
        for request in connection:requests() do
          local offset, rows = tonumber(request.target:match "offset=(%d+)"), {}
          for i = offset + 1, math.min(250, offset + 100) do
            rows[#rows + 1] = ('{"id":"mch_%d","created_at":%d}'):format(i, 1000 - i)
          end
          connection:answer(200, ('{"data":[%s],"total_count":%s}'):format(table.concat(rows, ","),
            values.total_count))
        end
      ]], { values = { total_count = total_count } })
    end

    for total, shown in pairs {
      ["250"] = 250, ["1e400"] = COUNT, ["700.5"] = COUNT, ["9223372036854775808"] = COUNT,
      ["-1"] = COUNT, ['"250"'] = COUNT, ["700"] = 700, ["7"] = 7,
    } do
      it("shows all machines when total_count is " .. total, function()
        local web = start_limited(total)
        local variables = "CLERK_API_URL=" .. web:url "/v1"
        assert.equal(COUNT, select(2, succeed("list", variables):gsub("\n", "")))
        local list = read_json(succeed("list --json", variables))
        assert.same({ COUNT, shown }, { #list.data, list.total_count })
        local text, status = on_terminal("list", { variables = variables })
        web:stop()
        assert.equal(0, status, text)
        assert.equal(COUNT + 1, select(2, pty.visible(text):gsub("\n", "")))
      end)
    end
  end)

  describe("get", function()
    it("shows a machine field by field", function()
      local worker = create "worker"
      local gateway = create("gateway", { scoped_machines = { worker.id }, default_token_ttl = 90 })
      local output = succeed("get " .. gateway.id)
      for _, pattern in ipairs {
        "^ID +" .. gateway.id .. "\n", "\nName +gateway\n", "\nInstance +ins_%w+\n",
        "\nCreated +" .. TIME .. " %(%d+ %a+ ago%)\n", "\nToken TTL +90 s\n",
        "\nMay call +" .. worker.id .. "  worker\n", "\nCalled by +no machines\n$",
      } do
        assert.matches(pattern, output)
      end
      assert.matches("\nMay call +no machines\nCalled by +" .. gateway.id .. "  gateway\n$",
        succeed("get " .. worker.id))
    end)

    it("prints what the API sent as JSON, members in the order of their names", function()
      local machine = create "worker"
      assert.equal(([[
{
  "created_at": %.0f,
  "default_token_ttl": 3600,
  "id": "%s",
  "instance_id": "%s",
  "name": "worker",
  "object": "machine",
  "scoped_machines": [],
  "updated_at": %.0f
}
]]):format(machine.created_at, machine.id, machine.instance_id, machine.updated_at),
        succeed("get --json " .. machine.id))
    end)

    it("passes on members that it does not know", function()
      local odd = server.start [[
        connection:answer_all(200,
          '{"z":[[],{},null,true,0.1,1e300,-5],"id":"7","name":7,"\\u0001":"\\u00e9",'
          .. '"data":[]}')
      ]]
      local base = (" --base-url %s/v1"):format(odd:url())
      local compact = succeed("get mch_1 --json" .. base):gsub("\n *", "")
      local expected = [[{"\u0001": "é","data": [],"id": "7","name": 7,]]
        .. [["z": [[],{},null,true,0.1,1e+300,-5]}]]
      assert.equal(expected, compact)
      assert.matches("^ID +7\nName +%-\n", succeed("get mch_1" .. base))
      odd:stop()
    end)
  end)

  it("masks in JSON whatever is named a secret, however deep", function()
    local odd = server.start [[
      connection:answer_all(200, '{"id":"mch_1","secret_keys":["ak_MARKED",{"a":"ak_MARKED"}],'
        .. '"more":[{"the_Secret":{"value":"MARKED"}}],"name":"a"}')
    ]]
    local output = succeed(("get mch_1 --json --base-url %s"):format(odd:url()))
    assert.equal("/v1/machines/mch_1", odd:requests()[1].target)
    odd:stop()
    assert.falsy(output:find("MARKED", 1, true))
    local json = read_json(output)
    assert.same({ "ak_********", { a = "ak_********" } }, json.secret_keys)
    assert.equal("********", json.more[1].the_Secret.value)
    assert.equal("a", json.name)
  end)

  describe("a success", function()
    local CHANGES = {
      { "update mch_1 --name a", "Updated mch_1.\n" },
      { "delete mch_1 --yes", "Deleted mch_1.\n" },
      { "scope add mch_1 mch_2", "mch_1 may call mch_2.\n" },
      { "scope remove mch_1 mch_2 --yes", "mch_1 may no longer call mch_2.\n" },
    }
    local NO_204 = { "list", "get mch_1", "create a", "secret mch_1",
      "rotate mch_1 --previous-token-ttl 0 --yes" }

    local function with_answer(status, body, work)
      local web = server.start("connection:answer_all(tonumber(values.status), values.body)",
        { values = { status = tostring(status), body = body } })
      work(" --base-url " .. web:url "/v1")
      web:stop()
    end

    it("that lacks what it promises is an error", function()
      for _, body in ipairs { "{}", '{"message":"maintenance"}', '{"errors":[]}',
        '{"object":"machine","id":"","deleted":false,"secret":""}' } do
        with_answer(200, body, function(base)
          for _, arguments in ipairs(NO_204) do
            assert_refused(1, "unexpected_shape", arguments .. base)
          end
          for _, change in ipairs(CHANGES) do
            assert_refused(1, "unexpected_shape", change[1] .. base)
          end
        end)
      end
    end)

    it("without content is reported with the IDs that were given", function()
      with_answer(204, nil, function(base)
        for _, change in ipairs(CHANGES) do
          assert.equal(change[2], succeed(change[1] .. base))
        end
        assert.equal("{}\n", succeed("delete mch_1 --yes --json" .. base))
        for _, arguments in ipairs(NO_204) do
          assert_refused(1, "unexpected_shape", arguments .. base)
        end
      end)
    end)
  end)

  describe("create and update", function()
    it("create with scopes and a lifetime", function()
      local worker, other = create "worker", create "other"
      local scopes = ("--scope %s --scope %s"):format(worker.id, other.id)
      local made = succeed_with_json("create gateway --default-token-ttl 15m " .. scopes)
      local machine = client:get(made.id)
      assert.equal("gateway", machine.name)
      assert.equal(900, machine.default_token_ttl)
      assert.equal(2, #machine.scoped_machines)
    end)

    it("mask the secret key, unless it is to be revealed", function()
      local output = succeed "create a"
      local id = output:match(ID)
      local masked = ("\nSecret key ak_%s (clerk-machines secret %s)\n"):format(("*"):rep(8), id)
      assert.truthy(output:find(masked, 1, true))
      assert.equal("ak_********", succeed_with_json("create b").secret_key)
      local revealed = succeed_with_json "create c --reveal"
      assert.equal(client:get_secret_key(revealed.id).secret, revealed.secret_key)
      output = succeed "create d --reveal"
      assert.equal(client:get_secret_key(output:match(ID)).secret,
        output:match "\nSecret key +(ak_%w+)\n$")
    end)

    it("change only what is given", function()
      local id = create("a", { default_token_ttl = 60 }).id
      assert.matches("\nName +b\n", succeed(("update %s --name b"):format(id)))
      assert.equal(60, client:get(id).default_token_ttl)
      assert.equal(86400, succeed_with_json(("update %s --default-token-ttl 1d"):format(id))
        .default_token_ttl)
      assert.equal("b", client:get(id).name)
    end)

    it("say that a change may have been made", function()
      fault '{"operation": "create", "drop": true, "applied": true}'
      local pattern = "^clerk%-machines create: .*%(connection_lost%) "
        .. "%(it may have taken effect%)\n$"
      assert.equal("Check whether the change was made before you try again.\n",
        assert_refused(1, pattern, "create a"))
    end)
  end)

  describe("secret and rotate", function()
    it("fail when standard output is closed, and do not write the key elsewhere", function()
      local machine = create "a"
      for _, closed in ipairs { ">&-", "<&- >&-" } do
        local status, _, errors = process.run(command("secret " .. machine.id) .. " " .. closed)
        assert.equal(1, status)
        assert.matches("cannot write to standard output: Bad file descriptor\n$", errors)
      end
      assert.equal(machine.secret_key .. "\n",
        select(2, process.run(command("secret " .. machine.id) .. " <&- 2>&-")))
    end)

    it("show the key alone on its line", function()
      local machine = create "a"
      assert.equal(machine.secret_key .. "\n", succeed("secret " .. machine.id))
      assert.equal(machine.secret_key, succeed_with_json("secret " .. machine.id).secret)
    end)

    it("give a new key, masked, and say what happens to the old one", function()
      local machine = create "a"
      local rotate = ("rotate %s --yes --previous-token-ttl "):format(machine.id)
      local output = succeed(rotate .. "1h")
      assert.equal(([[
Machine    %s  a
Secret key ak_%s (clerk-machines secret %s)
Old key    valid for another 1 h
]]):format(machine.id, ("*"):rep(8), machine.id), output)
      assert.matches("\nOld key +no longer valid\n$", succeed(rotate .. "0"))
      local json = succeed_with_json(rotate .. "0")
      assert.same({ machine.id, "a", "ak_********" }, { json.id, json.name, json.secret })
      local secret = succeed_with_json(rotate .. "0 --reveal").secret
      assert.equal(secret, client:get_secret_key(machine.id).secret)
      assert.not_equal(secret, machine.secret_key)
    end)
  end)

  describe("scope", function()
    it("adds, lists and removes", function()
      local from, to = create "from", create "to"
      local pair = (" %s %s"):format(from.id, to.id)
      assert.equal(("%s may call %s.\n"):format(from.id, to.id), succeed("scope add" .. pair))
      assert.matches(("^%s\t%s\t3600\tmay call\tto\n$"):format(to.id, TIME),
        succeed("scope list " .. from.id))
      assert.matches(("^%s\t%s\t3600\tcalled by\tfrom\n$"):format(from.id, TIME),
        succeed("scope list " .. to.id))
      local list = succeed_with_json("scope list " .. from.id)
      assert.equal(1, list.total_count)
      assert.equal(to.id, list.data[1].id)
      assert.equal(("%s may no longer call %s.\n"):format(from.id, to.id),
        succeed("scope remove --yes" .. pair))
      assert.equal(0, #client:get(from.id).scoped_machines)
      assert.equal("", succeed("scope list " .. from.id))
    end)

    it("prints JSON", function()
      local from, to = create "from", create "to"
      local pair = (" %s %s"):format(from.id, to.id)
      assert.equal(to.id, succeed_with_json("scope add" .. pair).to_machine_id)
      local list = succeed_with_json("scope list " .. to.id)
      assert.same({ {}, 0, from.id }, { list.data, list.total_count, list.callers[1].id })
      assert.is_nil(list.callers[1].scoped_machines)
      assert.is_true(succeed_with_json("scope remove --yes" .. pair).deleted)
      assert.equal('{\n  "callers": [],\n  "data": [],\n  "total_count": 0\n}\n',
        succeed("scope list --json " .. from.id))
    end)

    it("is a table on a terminal", function()
      local from = create("from", { scoped_machines = { create("to").id } })
      local rows = ":\nID +AGE +TTL  NAME\n" .. ID .. "  %d+ s +1 h  "
      assert.matches("^from may call" .. rows .. "to\n\nfrom may be called by no machine%.\n$",
        pty.visible(on_terminal("scope list " .. from.id)))
      assert.matches("^to may call no machine%.\n\nto may be called by" .. rows .. "from\n$",
        pty.visible(on_terminal("scope list to")))
    end)
  end)

  describe("asks", function()
    local function ask(arguments, keys)
      local screen = pty.start(command(arguments))
      assert.is_true(screen:await "[y/N] ")
      screen:type(keys)
      local status, text = screen:finish()
      return status, pty.visible(text)
    end

    local function exists(id)
      return client:list({ query = id }).total_count == 1
    end

    it("before it deletes, and names the machine", function()
      local machine = create "worker"
      local status, text = ask("delete " .. machine.id, "y\n")
      assert.equal(0, status)
      assert.equal(([[
Instance %s (test)
No machine may call worker.
Delete machine worker (%s)? [y/N] y
Deleted %s.
]]):format(machine.instance_id, machine.id, machine.id), text)
      assert.is_false(exists(machine.id))
    end)

    it("and changes nothing without a yes", function()
      local machine = create "worker"
      for _, keys in ipairs { "n\n", "\n", "yep\n", "\4" } do
        local status, text = ask("delete " .. machine.id, keys)
        assert.equal(1, status)
        assert.matches("\nclerk%-machines delete: nothing was changed\n$", text)
      end
      assert.is_true(exists(machine.id))
    end)

    it("and ends on ^C", function()
      local machine = create "worker"
      local status, text = ask("delete " .. machine.id, "\3")
      assert.equal(130, status)
      assert.matches("%[y/N%] %^C$", text)
      assert.is_true(exists(machine.id))
    end)

    it("before it rotates", function()
      local machine = create "worker"
      local rotate = ("rotate %s --reveal --previous-token-ttl "):format(machine.id)
      local status, text = ask(rotate .. "0", "no\n")
      assert.equal(1, status)
      assert.matches("\nThe current key will stop working at once%.\nRotate the key of worker %("
        .. ID .. "%)%? %[y/N%] no\n", text)
      assert.equal(machine.secret_key, client:get_secret_key(machine.id).secret)
      status, text = ask(rotate .. "8h", "YES\n")
      assert.equal(0, status)
      assert.matches("\nThe current key will keep working for 8 h%.\n", text)
      assert.matches(" %[y/N%] YES\nMachine +" .. ID .. "  worker\nSecret key ak_%w+\n", text)
      assert.not_equal(machine.secret_key, client:get_secret_key(machine.id).secret)
    end)

    it("not with --yes", function()
      local machine = create "worker"
      assert.equal(("Deleted %s.\n"):format(machine.id), succeed("delete -y " .. machine.id))
      machine = create "worker"
      assert.is_true(succeed_with_json("delete --yes " .. machine.id).deleted)
    end)

    it("not without a terminal: there it needs --yes", function()
      local machine = create "worker"
      assert_refused(2, "cannot ask for confirmation without a terminal: give %-%-yes",
        "delete " .. machine.id)
      assert_refused(2, "give %-%-yes", "rotate --previous-token-ttl 0 " .. machine.id)
      local text, status = on_terminal("delete " .. machine.id .. " </dev/null")
      assert.equal(2, status)
      assert.matches("give%s%-%-yes", text)
      assert.is_true(exists(machine.id))
    end)
  end)

  describe("when something is wrong", function()
    it("exits with 1 and shows the API's error with its trace", function()
      for _, arguments in ipairs { "get mch_1", "delete mch_1 --yes", "secret mch_1" } do
        assert_refused(1, "No machine was .- %(404 machine_not_found; trace %x+%)\n$", arguments)
      end
      assert_refused(1, "list: .*%(401 clerk_key_invalid; trace ", "list",
        "CLERK_SECRET_KEY=sk_test_no")
    end)

    it("begins the message with the command as it was typed", function()
      for arguments, name in pairs {
        ["list"] = "list", ["get mch_1"] = "get", ["create a"] = "create",
        ["update mch_1 --name a"] = "update", ["delete mch_1 --yes"] = "delete",
        ["secret mch_1"] = "secret", ["rotate mch_1 --yes --previous-token-ttl 0"] = "rotate",
        ["scope add mch_1 mch_2"] = "scope add",
        ["scope remove mch_1 mch_2 --yes"] = "scope remove",
        ["scope list mch_1"] = "scope list",
      } do
        local pattern = "^clerk%-machines " .. name .. ": %u.*%(401 "
        assert_refused(1, pattern, arguments, "CLERK_SECRET_KEY=sk_test_no")
        pattern = "^clerk%-machines " .. name .. ": base_url .*%(see clerk%-machines " .. name
          .. " %-%-help%)\n$"
        assert_refused(2, pattern, arguments .. " --base-url x")
        pattern = "^clerk%-machines " .. name .. ": unknown option '%-%-nonsense'"
        assert_refused(2, pattern, arguments .. " --nonsense")
      end
      for _, name in ipairs { "list", "scope", "scope add" } do
        assert_refused(1, "^clerk%-machines " .. name .. ": cannot write",
          name .. " --help >/dev/full")
      end
      assert_refused(2, "^clerk%-machines: unknown option '%-%-nonsense'", "--nonsense list")
      assert_refused(2, "^clerk%-machines scope: unknown command 'ad'", "scope ad mch_1 mch_2")
    end)

    it("says when the key is of the wrong kind", function()
      for key, kind in pairs {
        pk_test_0123456789 = "a publishable key", ak_0123456789 = "a machine's secret key",
      } do
        local _, _, errors = run("list", "CLERK_SECRET_KEY=" .. key)
        assert.truthy(errors:find("secret_key is " .. kind, 1, true))
        assert.falsy(errors:find(key, 1, true))
      end
    end)

    it("adds a hint, on a terminal and piped", function()
      local HINT = "`clerk-machines list` shows the machines that exist.\n"
      local text, status = on_terminal "get mch_1"
      assert.equal(1, status)
      assert.equal(HINT, pty.visible(text):match "\n([^\n]*\n)$")
      assert.equal(HINT, assert_refused(1, "machine_not_found", "get mch_1"))
      assert.equal("Is it the secret key of the right instance?\n",
        assert_refused(1, "clerk_key_invalid", "list", "CLERK_SECRET_KEY=sk_test_no"))
      fault '{"operation": "get", "status": 429, "retry_after": 40}'
      assert.equal("Try again in 40 s.\n", assert_refused(1, "429 too_many_requests", "get mch_1"))
    end)

    it("exits with 1 when there is no response", function()
      local base = url:gsub("http", "https")
      local _, _, errors = run("get mch_1 --base-url " .. base)
      assert.matches("^clerk%-machines get: connect_failed; trying again for up to 20 s\n"
        .. "clerk%-machines get: [^\n]*%(connect_failed%)\n$", errors)
    end)

    it("exits with 2 when it is used wrongly, and names the help", function()
      local wrong = {
        ["get"] = "missing argument 'machine' %(see clerk%-machines get %-%-help%)",
        ["get ''"] = "machine_id must not be empty %(see clerk%-machines get %-%-help%)",
        ["secret mch_1 mch_2"] = "too many arguments",
        ["list --limit 0"] = "%-%-limit must be an integer from 1 to",
        ["list --json --tsv"] = "can not be used together",
        ["list --order-by age"] = "order_by must be one of name, ",
        ["create ''"] = "name must be from 1 to 255 characters",
        ["create a --default-token-ttl 0"] = "must be a time from 1 s to 3650 d, .* not '0'",
        ["create a --default-token-ttl 1y"] = "not '1y'",
        ["create a --secret-key sk_test_1"] = "unknown option '%-%-secret%-key'",
        ["update mch_1"] = "nothing to change: give %-%-name or %-%-default%-token%-ttl",
        ["rotate mch_1 --yes"] = "missing option '%-%-previous%-token%-ttl'",
        ["rotate mch_1 --previous-token-ttl 9h"] = "must be a time from 0 s to 8 h, .* not '9h'",
        ["rotate --previous-token-ttl 0 --yes"] = "missing argument 'machine': give machines, ",
        ["rotate --all mch_1 --previous-token-ttl 0 --yes"] = "give either machines, %-%-all or",
        ["rotate --query '' --previous-token-ttl 0 --yes"] = "%-%-query must not be empty",
        ["rotate --previous-token-ttl 30d mch_1"] = "from 0 s to 8 h, .* or 1h30m, not '30d'",
        ["scope add mch_1"] = "missing argument 'other%-machine' %(see .* scope add %-%-help%)",
        ["list --base-url http://example.com"] = "base_url must be https",
        ["list --ca-file /nowhere"] = 'ca_file "/nowhere" cannot be read: No such file',
      }
      for arguments, pattern in pairs(wrong) do
        assert_refused(2, pattern, arguments)
      end
    end)
  end)

  describe("gets its key", function()
    it("from a file rather than the environment, whatever an editor added", function()
      for _, start in ipairs { "", "\239\187\191" } do
        for _, ending in ipairs { "", "\n", "\r\n", "\r\n\r\n", " \n" } do
          files.write(scratch, start .. KEY .. ending)
          succeed("list --secret-key-file " .. scratch, "CLERK_SECRET_KEY=sk_test_wrong")
        end
      end
    end)

    it("or says what is wrong, and never shows it", function()
      assert_refused(2, "no secret key: set CLERK_SECRET_KEY or give %-%-secret%-key%-file", "list",
        "CLERK_SECRET_KEY=")
      assert_refused(2, "cannot read the secret key: /nowhere: No such file",
        "list --secret-key-file /nowhere")
      assert_refused(2, "cannot read the secret key: /: Is a directory", "list --secret-key-file /")
      files.write(scratch, "sk_test_MARKED\nsk_test_MARKED")
      local _, _, errors = run("list --secret-key-file " .. scratch)
      assert.matches("secret_key must not contain control bytes", errors)
      assert.falsy(errors:find("MARKED", 1, true))
    end)
  end)

  describe("finds the API", function()
    it("by CLERK_API_URL, with or without the API's path", function()
      create "a"
      for _, root in ipairs { url, url .. "/", url:match "^(.*)/v1$", url:match "^(.*/)v1$" } do
        assert.matches("\ta\n$", succeed("list", "CLERK_API_URL=" .. root))
      end
    end)

    it("by --base-url rather than the environment", function()
      create "a"
      assert.matches("\ta\n$", succeed("list --base-url " .. url, "CLERK_API_URL=nonsense"))
    end)

    it("or names the variable that is wrong", function()
      assert_refused(2, "base_url %(from CLERK_API_URL%) must be https", "list",
        "CLERK_API_URL=http://example.com")
    end)
  end)

  describe("reports attempts and waits", function()
    local FAULT = '{"operation": "get", "status": 503, "retry_after": 1}'

    it("with --verbose, on standard error", function()
      local machine = create "worker"
      fault(FAULT)
      local status, output, errors = run("get --verbose --json " .. machine.id)
      assert.equal(0, status)
      assert.equal("worker", read_json(output).name)
      local address = url .. "/machines/" .. machine.id
      local expected = ([[
get attempt 1: GET %s
get attempt 1: 503 in N ms, N bytes
get 503: waiting 1000 ms
get attempt 2: GET %s
get attempt 2: 200 in N ms, N bytes
]]):format(address, address)
      local reported = errors:gsub("in %d+ ms, %d+ bytes", "in N ms, N bytes")
      assert.equal(expected, reported)
    end)

    it("in a status line on a terminal", function()
      local machine = create "worker"
      fault(FAULT)
      local text = on_terminal("get " .. machine.id)
      assert.matches("503: next attempt in 1 s", text)
      assert.matches("^ID ", pty.visible(text))
    end)

    it("and leaves no status line behind when ^C ends it and its script", function()
      local machine = create "worker"
      fault '{"operation": "get", "status": 503, "retry_after": 9}'
      local script = command("get " .. machine.id) .. "; echo went on"
      local screen = pty.start("bash -c " .. quote(script))
      assert.is_true(screen:await "503: next attempt in 9 s\27[0m")
      screen:type "\3"
      local status, text = screen:finish()
      assert.equal(130, status)
      assert.equal("", pty.visible(text))
    end)
  end)

  local COMMANDS = { "whoami", "list", "get", "create", "update", "delete", "secret", "rotate",
    "scope add", "scope remove", "scope list", "graph", "plan", "apply", "export", "emulate",
    "scope", "" }

  it("explains every command within 80 columns, with examples", function()
    for _, name in ipairs(COMMANDS) do
      local help = succeed(name .. " --help")
      assert.matches("^Usage: clerk%-machines " .. name, help)
      for line in help:gmatch "[^\n]+" do
        assert.is_true(#line <= 80, line)
      end
      assert.matches("\nExamples?:\n   clerk%-machines " .. name, help)
    end
  end)

  it("fits its help to a narrow terminal", function()
    for _, name in ipairs(COMMANDS) do
      for line in on_terminal(name .. " --help", { columns = 40 }):gmatch "[^\n]+" do
        assert.is_true(#line <= 40 or line:find "^Usage: " ~= nil, line)
      end
    end
  end)
end)

describe("clerk.machines.cli.text", function()
  local text = require "clerk.machines.cli.text"
  local locale

  setup(function()
    locale = os.setlocale(nil, "ctype")
    assert(os.setlocale("C.UTF-8", "ctype"))
  end)

  teardown(function() os.setlocale(locale, "ctype") end)

  it("knows the width of characters", function()
    local widths = {
      [""] = 0, ["abc"] = 3, ["é"] = 1, ["e\204\129"] = 1, ["東京"] = 4, ["한국"] = 4, ["👍"] = 2,
      ["д…"] = 2,
    }
    for value, width in pairs(widths) do
      assert.equal(width, text.width(value), value)
    end
  end)

  it("shortens between characters to fit the room", function()
    assert.equal("abc", text.fit("abc", 3))
    assert.equal("ab…", text.fit("abcd", 3))
    assert.equal("東…", text.fit("東京都", 4))
    assert.equal("東…", text.fit("東京都", 3))
    assert.equal("…", text.fit("東京都", 1))
    assert.equal("e\204\129…", text.fit("e\204\129ab", 2))
  end)
end)

describe("clerk.machines.cli.units", function()
  local units = require "clerk.machines.cli.units"

  it("writes exact durations and reads what people write", function()
    local written = {
      [0] = "0 s", [59] = "59 s", [60] = "1 min", [90] = "90 s", [3600] = "1 h", [86400] = "1 d",
    }
    for seconds, duration in pairs(written) do
      assert.equal(duration, units.duration(seconds))
      assert.equal(seconds, units.parse_duration(duration))
    end
    assert.equal(900, units.parse_duration "15m")
    assert.equal(5400, units.parse_duration "1h30m")
    assert.equal(90061, units.parse_duration "1d1h1min1s")
    for _, nonsense in ipairs { "", "m", "1.5h", "-1", "1w", "1 h 5 m", "30m1h", "1h1h", "1h5",
      "0h0m", ("9"):rep(30), ("9"):rep(30) .. "h1m" } do
      assert.is_nil(units.parse_duration(nonsense))
    end
  end)

  it("writes rounded ages", function()
    local ages = {
      [-9] = "0 s", [0] = "0 s", [90] = "1 min", [7200] = "2 h", [3 * 86400 + 5] = "3 d",
      [400 * 86400] = "400 d",
    }
    for ago, age in pairs(ages) do
      local now, shown
      repeat now, shown = os.time(), units.age((os.time() - ago) * 1000) until now == os.time()
      assert.equal(age, shown)
    end
  end)

  it("shows a dash for what is not a time", function()
    for _, value in ipairs { "x", {}, -1, 1e300, 0 / 0, math.huge } do
      assert.equal("-", units.age(value))
      assert.equal("-", units.date(value))
    end
    assert.equal("1970-01-01T00:00:01Z", units.date(1999))
    assert.equal("-", units.duration(nil))
    assert.equal("-", units.duration(0.5))
  end)
end)
