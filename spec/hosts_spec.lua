-- Hosts with loops of their own, each started as its header says: calls are under way in them, and
-- their own work goes on.

local emulate = require "support.emulate"
local machines = require "clerk.machines"
local process = require "support.process"
local server = require "support.server"
local uv = require "luv"

local quote = process.quote

local is_luajit = rawget(_G, "jit") ~= nil
local LUA = require("support.interpreter").name
local STRICT = "cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"

describe("A host's own work goes on in", function()
  local emulating, url, directory

  local function control(arguments)
    local status, _, problem = process.run(("curl -sS --fail -o /dev/null %s %s %s %s"):format(
      "-H 'Authorization: Bearer sk_test_emulator'", "-H 'Content-Type: application/json'",
      arguments, (url:gsub("/v1$", "/emulator/faults"))))
    assert(status == 0, problem)
  end

  local function fault(body)
    control("-d " .. quote(body))
  end

  setup(function()
    emulating, url = emulate()
    directory = select(2, process.run "mktemp -d"):match "%S+"
  end)

  teardown(function()
    assert.equal(0, emulating:stop())
    os.execute("rm -r " .. directory)
    process.none_left()
  end)

  after_each(function()
    control "-X DELETE"
  end)

  --- The commands in a program's header, for the Lua of this run.
  local function commands_of(path)
    local lines = {}
    for line in io.lines(path) do
      lines[#lines + 1] = line:match "^[-*][-*]   (.*)$"
    end
    return (table.concat(lines, "\n")
      :gsub("lua5%.4", LUA)
      :gsub("^cc ", STRICT .. " ")
      :gsub("%-o ", "-o " .. directory .. "/")
      :gsub("%./", directory .. "/"))
  end

  local function run(path, key)
    local script = ("export CLERK_API_URL=%s CLERK_SECRET_KEY=%s\n%s"):format(url,
      key or "sk_test_emulator", commands_of(path))
    return process.run("timeout 30 sh -c " .. quote(script))
  end

  --- Who was visited, as a set, and the least number of ticks or frames by then.
  local function read_visits(output)
    local names, least = {}, math.huge
    for name, count in output:gmatch "(%w+) visited %l+ %l+ (%d+)\n" do
      names[name] = true
      least = math.min(least, tonumber(count))
    end
    return names, least
  end

  local function goes_on(path, expected)
    describe(path .. ",", function()
      it("while calls wait for answers, and for their next attempts", function()
        fault '{"operation":"get","status":503,"times":4}'
        fault '{"delay_ms":100,"times":100}'
        local status, output, errors = run(path)
        assert.equal(0, status, errors)
        local names, least = read_visits(output)
        assert.same(expected, names)
        assert.is_true(least >= 3, output)
      end)

      it("which ends with the error of a call that fails", function()
        local status, output, errors = run(path, "sk_test_other")
        local told = output .. errors
        assert.is_true(status == 1, told)
        assert.same({}, (read_visits(output)))
        assert.truthy(told:find "ClerkErrors: create: .- %(401 clerk_key_invalid; trace ", told)
      end)
    end)
  end

  local at_once = { gateway = true, worker = true, reporter = true }
  local and_later = { gateway = true, worker = true, reporter = true, latecomer = true }

  goes_on("examples/luv.lua", and_later)
  goes_on("examples/cqueues.lua", and_later)
  goes_on("examples/poll/host.c", at_once)

  if is_luajit then -- which these two are made with
    goes_on("examples/neovim.lua", and_later)
    goes_on("examples/love/main.lua", at_once)

    it("examples/love, where no frame waits for an answer", function()
      fault '{"operation":"create","delay_ms":2000}'
      local status, output = run "examples/love/main.lua"
      assert.equal(0, status)
      local frame = output:match "longest frame ([%d.]+) ms\n$"
      assert.is_true(tonumber(frame) < 2000, output)
    end)
  end
end)

if is_luajit then
  describe("Installed as the manual says, the library is found by", function()
    local tree

    before_each(function()
      tree = select(2, process.run "mktemp -d"):match "%S+"
    end)

    after_each(function()
      os.execute("rm -r " .. tree)
      process.none_left()
    end)

    local function install(directory)
      local core = assert(package.searchpath("clerk.machines.core", package.cpath))
      assert(os.execute(("mkdir -p %s && cp -r lua/clerk %s && cp %s %s/clerk/machines")
        :format(directory, directory, core, directory)))
    end

    -- Without the paths of this run.
    local function output_of(command)
      local status, output, errors = process.run(("cd / && env -u LUA_PATH -u LUA_CPATH %s"):format(
        command))
      assert.equal(0, status, errors)
      return output .. errors
    end

    it("LÖVE, in the game's directory", function()
      install(tree)
      os.execute(("cp examples/love/conf.lua %s && echo %s >%s/main.lua"):format(tree,
        quote [[print(require("clerk.machines").version) love.event.quit()]], tree))
      assert.matches("^%d+%.%d+%.%d+\n", output_of("timeout 30 love " .. tree))
    end)

    it("Neovim, in its configuration", function()
      install(tree .. "/nvim/lua")
      local show = quote [[lua io.write(require("clerk.machines").version)]]
      local command = ("env XDG_CONFIG_HOME=%s timeout 30 nvim --headless -c %s -c 'qall!'")
        :format(tree, show)
      assert.matches("%d+%.%d+%.%d+", output_of(command))
    end)
  end)
end

describe("A loop that watches the descriptor all the time", function()
  local client, poll, timer, heart, wakes

  local function step()
    wakes = wakes + 1
    client:step(0)
    local _, ms = client:pollable()
    timer:stop()
    if ms then
      timer:start(math.max(ms, 1), 0, step)
    end
  end

  local function watch(script)
    local web = server.start(script)
    client = machines.new { secret_key = "sk_test", base_url = web:url() }
    poll, timer, heart, wakes = uv.new_poll((client:pollable())), uv.new_timer(), uv.new_timer(), 0
    poll:start("r", step)
    heart:start(10, 10, function() end)
    return web
  end

  --- Runs the loop, about 10 ms each time, until the task, if there is one, has ended.
  local function turn(times, task)
    for _ = 1, times do
      if task and task.status ~= "running" then
        return
      end
      uv.run "once"
    end
  end

  local function call()
    local task = client:spawn(client.get, client, "mch_1")
    step()
    turn(500, task)
    return task:result()
  end

  after_each(function()
    for _, handle in ipairs { poll, timer, heart } do
      handle:close()
    end
    uv.run()
    client:close()
    server.stop_all()
  end)

  it("is not woken while there is nothing to do", function()
    watch [[ connection:answer_all(200, '{"id":"mch_1"}') ]]
    assert.equal("mch_1", call().id)
    wakes = 0
    turn(30)
    assert.equal(0, wakes)
    assert.equal("mch_1", call().id)
  end)

  it("is not woken again and again by a connection that has ended", function()
    local web = watch [[
      connection:read_request()
      connection:answer(200, '{"id":"mch_1"}')
      connection:sleep(100)
    ]]
    assert.equal("mch_1", call().id)
    wakes = 0
    web:wait_until_closed(1)
    turn(30)
    assert.is_true(wakes <= 3, wakes)
    assert.equal("mch_1", call().id)
    assert.equal(2, web:connections())
  end)
end)
