-- The adapters for event loops: clients attached to a real loop, over real sockets.

local cqueues = require "cqueues"
local files = require "support.files"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local process = require "support.process"
local safe = require "clerk.machines.safe"
local uv = require "luv"

local PATIENCE_S = 20

local for_cqueues = require "clerk.machines.adapters.cqueues"
local for_luv = require "clerk.machines.adapters.luv"

--- How each host attaches a client, calls a function in its loop, and runs until nothing is left.
local hosts = {}

function hosts.luv()
  local function run()
    local is_late, patience = false, uv.new_timer()
    uv.update_time() -- which is that of the last run, or of an earlier spec file
    patience:start(PATIENCE_S * 1000, 0, function()
      is_late = true
      uv.stop()
    end)
    patience:unref()
    uv.run()
    patience:close()
    uv.run() -- until it is closed
    assert.is_false(is_late, "the loop did not end")
  end

  local function later(ms, f)
    local timer = uv.new_timer()
    timer:start(ms, 0, function()
      timer:close()
      f()
    end)
  end
  return { attach = for_luv.attach, later = later, run = run }
end

function hosts.cqueues()
  local loop = cqueues.new()

  local function run()
    assert(loop:loop(PATIENCE_S))
    assert.is_true(loop:empty(), "the loop did not end")
  end

  local function later(ms, f)
    loop:wrap(function()
      cqueues.sleep(ms / 1000)
      f()
    end)
  end

  local function attach(client)
    return for_cqueues.attach(client, loop)
  end
  return { attach = attach, later = later, run = run }
end

for name, new_host in pairs(hosts) do
  describe("Attached to a loop of " .. name, function()
    local host, web, clients

    before_each(function()
      host, web, clients = new_host(), task_server.start(), {}
    end)

    after_each(function()
      for _, client in ipairs(clients) do
        client:close()
      end
      host.run()
      task_server.stop_all()
    end)

    local function new_client(options)
      local client = task_server.client(web, options)
      clients[#clients + 1] = client
      return client, host.attach(client)
    end

    it("a client's tasks run to their end, and then the loop ends", function()
      local client = new_client()
      local tasks = {}
      for i, id in ipairs { "mch_1", "mch_flaky", "mch_busy", "mch_slow" } do
        tasks[i] = client:spawn(client.get, client, id)
      end
      host.run()
      for _, task in ipairs(tasks) do
        assert.equal("done", task.status)
      end
    end)

    it("several clients are stepped", function()
      local one, other = new_client(), new_client()
      local tasks = {
        one:spawn(one.get, one, "mch_gate"),
        other:spawn(other.get, other, "mch_1"),
      }
      host.later(100, function()
        tasks[3] = other:spawn(other.get, other, "mch_open")
      end)
      host.run()
      for i = 1, 3 do
        assert.equal("done", tasks[i].status)
      end
    end)

    it("a client of clerk.machines.safe works too", function()
      local client = safe.new(task_server.settings(web))
      clients[1] = client
      host.attach(client)
      local task = client:spawn(client.get, client, "mch_1")
      host.run()
      assert.equal("mch_1", task:result().id)
    end)

    it("a client without tasks does not keep the loop running", function()
      new_client()
      host.run()
    end)

    it("a task that the loop's last callback starts still runs", function()
      local client = new_client()
      local task
      host.later(50, function()
        task = client:spawn(client.get, client, "mch_1")
      end)
      host.run()
      assert.equal("done", task.status)
    end)

    it("a failed task keeps its error, and the loop goes on", function()
      local client = new_client()
      local failed = client:spawn(client.get, client, "mch_none")
      local faulty = client:spawn(function()
        client:get "mch_1"
        error "a mistake"
      end)
      local task = client:spawn(client.get, client, "mch_flaky")
      host.run()
      assert.equal("done", task.status)
      assert.equal(404, task_server.failure_of(failed).status)
      assert.matches("a mistake", task_server.failure_of(faulty))
    end)

    it("a task that a callback cancels ends, and so does one that waits for it", function()
      local client = new_client()
      local hanging = client:spawn(client.get, client, "mch_hang")
      local joiner = client:spawn(pcall, hanging.result, hanging)
      host.later(50, function()
        hanging:cancel()
      end)
      host.run()
      assert.equal("cancelled", hanging.status)
      local _, err = joiner:result()
      assert.equal("cancelled", err.code)
    end)

    it("a task that waits for a connection goes on after a call outside of tasks", function()
      local client = new_client { max_connections = 1 }
      local other = new_client()
      local task
      host.later(20, function()
        -- While this call blocks, it has the only connection.
        other:spawn(function()
          other:get "mch_1"
          task = client:spawn(client.get, client, "mch_2")
        end)
        client:get "mch_slow"
      end)
      host.run()
      assert.equal("done", task.status)
    end)

    it("a detached client is not stepped, until it is attached again", function()
      local client, attachment = new_client()
      local task = client:spawn(client.get, client, "mch_1")
      attachment:detach()
      host.run()
      assert.equal("running", task.status)
      host.attach(client)
      host.run()
      assert.equal("done", task.status)
    end)

    it("detaching one client leaves the others attached", function()
      local client, attachment = new_client()
      local other = new_client()
      local task = other:spawn(other.get, other, "mch_1")
      attachment:detach()
      attachment:detach()
      host.run()
      assert.equal("done", task.status)
      assert.equal(0, client:step(0))
    end)

    it("a client that is closed lets the loop end", function()
      local client = new_client()
      local other = new_client()
      local task = client:spawn(client.get, client, "mch_hang")
      local slow = other:spawn(other.get, other, "mch_slow")
      host.later(50, function()
        client:close()
      end)
      host.run()
      assert.equal("cancelled", task.status)
      assert.equal("done", slow.status)
    end)

    it("the loop's own work goes on while calls wait", function()
      local client = new_client()
      local ticks = 0
      local task = client:spawn(client.get, client, "mch_slow")
      local function tick()
        ticks = ticks + 1
        if task.status == "running" then
          host.later(20, tick)
        end
      end
      tick()
      host.run()
      assert.is_true(ticks > 1, ticks)
    end)

    it("something that is not an open client is refused", function()
      for _, value in ipairs { 1, "client", {}, machines } do
        local ok, err = pcall(host.attach, value)
        assert.is_false(ok)
        assert.equal("ArgumentError", err.type)
        assert.equal("attach needs a client, got " .. type(value), err.message)
      end
      assert.matches("attach needs a client, got nil", tostring(select(2, pcall(host.attach))))
      local client = task_server.client(web)
      client:close()
      local ok, err = pcall(host.attach, client)
      assert.is_false(ok)
      assert.matches("the client is closed", err.message)
    end)
  end)
end

describe("In a loop of cqueues", function()
  after_each(task_server.stop_all)

  it("a coroutine waits for a task's results while others go on", function()
    local client, loop = task_server.client(task_server.start()), cqueues.new()
    local attachment = for_cqueues.attach(client, loop)
    local order = {}
    loop:wrap(function()
      local machine, info = attachment:await(client:spawn(client.get, client, "mch_gate"))
      order[#order + 1] = machine.id
      assert.equal(200, info.status)
    end)
    loop:wrap(function()
      local machine = attachment:await(client:spawn(client.get, client, "mch_open"))
      order[#order + 1] = machine.id -- the place is computed after the wait
    end)
    assert(loop:loop(PATIENCE_S))
    table.sort(order)
    assert.same({ "mch_gate", "mch_open" }, order)
    client:close()
  end)

  it("a coroutine that waits for a task has its error raised", function()
    local client, loop = task_server.client(task_server.start()), cqueues.new()
    local attachment = for_cqueues.attach(client, loop)
    local err
    loop:wrap(function()
      err = select(2, pcall(function()
        attachment:await(client:spawn(client.get, client, "mch_none"))
      end))
    end)
    assert(loop:loop(PATIENCE_S))
    assert.equal(404, err.status)
    client:close()
  end)

  it("a coroutine that waits for something that is not a task is refused", function()
    local client = task_server.client(task_server.start())
    local attachment = for_cqueues.attach(client, cqueues.new())
    for _, value in ipairs { 1, "task", {} } do
      local ok, err = pcall(attachment.await, attachment, value)
      assert.is_false(ok)
      assert.equal("await needs a task, got " .. type(value), err.message)
    end
    client:close()
  end)

  it("a coroutine that waits for a task goes on when the client is closed", function()
    local client, loop = task_server.client(task_server.start()), cqueues.new()
    local attachment = for_cqueues.attach(client, loop)
    local err
    loop:wrap(function()
      err = select(2, pcall(function()
        attachment:await(client:spawn(client.get, client, "mch_hang"))
      end))
    end)
    loop:wrap(function()
      cqueues.sleep(0.05)
      client:close()
    end)
    assert(loop:loop(PATIENCE_S))
    assert.equal("cancelled", err.code)
  end)

  it("attach takes the loop that runs, unless it is given one", function()
    local client, loop = task_server.client(task_server.start()), cqueues.new()
    local machine
    loop:wrap(function()
      machine = for_cqueues.attach(client):await(client:spawn(client.get, client, "mch_1"))
    end)
    assert(loop:loop(PATIENCE_S))
    assert.equal("mch_1", machine.id)
    client:close()
  end)

  it("attach refuses something that is not a loop", function()
    local client = task_server.client(task_server.start())
    for _, loop in ipairs { 1, "loop", {} } do
      local ok, err = pcall(for_cqueues.attach, client, loop)
      assert.is_false(ok)
      assert.equal("attach needs a loop of cqueues, got " .. type(loop), err.message)
    end
    local ok, err = pcall(for_cqueues.attach, client)
    assert.is_false(ok)
    assert.equal("attach needs a loop of cqueues, got nil", err.message)
    client:close()
  end)
end)

-- Neovim is LuaJIT, and knows no sanitizers.
if rawget(_G, "jit") and not os.getenv "LD_PRELOAD" then
  describe("Attached to Neovim's loop", function()
    after_each(function()
      task_server.stop_all()
      process.none_left()
    end)

    --- Runs a program in Neovim, where `client`, `attach` and `quit` are at hand.
    local function run(program)
      local path = files.write_temporary(([[
        local attach = require("clerk.machines.adapters.neovim").attach
        local client = require("clerk.machines").new { secret_key = "sk_test", base_url = %q }
        local function quit(...)
          io.write(...)
          vim.cmd "qall!"
        end
      ]]):format(task_server.start():url "/v1") .. program)
      local status, output, errors = process.run(
        "timeout 20 nvim --headless --clean -c 'luafile " .. path .. "'")
      assert.equal(0, status, errors)
      return output, errors
    end

    it("a client's tasks run to their end, and may use all of vim", function()
      assert.equal("mch_1 mch_flaky", (run [[
        local attachment = attach(client)
        client:spawn(function()
          for _, id in ipairs { "mch_1", "mch_flaky" } do
            vim.api.nvim_buf_set_lines(0, -1, -1, true, { client:get(id).id })
          end
          attachment:detach()
          quit(table.concat(vim.api.nvim_buf_get_lines(0, 1, -1, true), " "))
        end)
      ]]))
    end)

    it("something that is not a client is refused", function()
      assert.equal("attach needs a client, got string", (run [[
        quit(select(2, pcall(attach, "client")).message)
      ]]))
    end)
  end)
end
