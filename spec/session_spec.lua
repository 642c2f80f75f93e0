-- Long sessions, which must not take more and more memory or descriptors, and forks.
--
-- CLERK_SESSION_CALLS=1000 makes the sessions shorter; CLERK_SESSION_RUNNER is put in front of the
-- interpreter: CLERK_SESSION_RUNNER="valgrind -q --error-exitcode=1 --leak-check=full …".

local certificates = require "clerk.machines.emulator.certificates"
local core = require "clerk.machines.core"
local emulate = require "support.emulate"
local files = require "support.files"
local task_server = require "support.task_server"
local machines = require "clerk.machines"
local posix = require "support.posix"
local process = require "support.process"
local server = require "support.server"

local quote = process.quote

local LUA = require("support.interpreter").name
local CALLS = tonumber(os.getenv "CLERK_SESSION_CALLS" or 10000)
local RUNNER = os.getenv "CLERK_SESSION_RUNNER" or ""
local KEY = "sk_test_marked_key"

-- Growth in KiB that means nothing: two bytes a call of allocated memory; of resident memory, pages
-- that are used in part, half of the 300 KiB that a leak of 1 KiB in ten calls adds over TLS.
-- Sanitizers and valgrind need more, and hide what they allocate.
local IS_WATCHED = os.getenv "LD_PRELOAD" or RUNNER ~= ""
local ALLOCATED_MORE, RESIDENT_MORE = 16, IS_WATCHED and 4096 or 150
local CALLS_OVER_TLS = CALLS / 2 -- in about the same time

local function run(prefix, sanitizer_options, script, ...)
  local asan_options = (os.getenv "ASAN_OPTIONS" or "") .. ":" .. sanitizer_options
  local words = { "env", "LUA_PATH=" .. quote(package.path), "LUA_CPATH=" .. quote(package.cpath),
    "LD_PRELOAD=" .. (os.getenv "LD_PRELOAD" or ""), "ASAN_OPTIONS=" .. quote(asan_options),
    prefix, LUA, "spec/support/" .. script, ... }
  local status, output, errors = process.run(table.concat(words, " "))
  assert.equal(0, status, errors)
  return output
end

describe("A long session with faults mixed in", function()
  after_each(process.none_left)

  local function start_emulator(options)
    local emulator, url, ca_file = emulate(("--secret-key %s %s"):format(KEY, options))
    finally(function() emulator:stop() end)
    return url, ca_file or ""
  end

  local function parse(report)
    local rows = {}
    for line in report:gmatch "[^\n]+" do
      local calls, descriptors, resident, allocated, lua =
        line:match "^(%d+) (%d+) (%d+) (%d+) (%d+)$"
      rows[#rows + 1] = { calls = calls, descriptors = descriptors, resident = resident,
        allocated = allocated, lua = lua }
    end
    return rows
  end

  local function mean_resident(rows, from, to)
    local sum = 0
    for i = from, to do sum = sum + rows[i].resident end
    return sum / (to - from + 1)
  end

  -- What a row has more than the one before, in the middle of all rows.
  local function usual_step(rows)
    local steps = {}
    for i = 2, #rows do steps[i - 1] = rows[i].resident - rows[i - 1].resident end
    table.sort(steps)
    return steps[(#steps + 1) / 2]
  end

  -- How many pages are used in part differs from row to row, and a library may take some more once.
  -- A leak takes them from row to row.
  local function check_resident(rows, report)
    local growth = mean_resident(rows, 7, 10) - mean_resident(rows, 1, 4)
    growth = math.min(growth, 6 * usual_step(rows)) -- six rows are between the means
    assert.is_true(growth <= RESIDENT_MORE, "resident\n" .. report)
  end

  local function least(rows, what, from, to)
    local found = math.huge
    for i = from, to do found = math.min(found, tonumber(rows[i][what])) end
    return found
  end

  local function check_least(rows, what, more, report)
    local growth = least(rows, what, 7, 10) - least(rows, what, 1, 4)
    assert.is_true(growth <= more, what .. "\n" .. report)
  end

  local function check_flat(calls, manner, url, ca_file)
    local forget_what_is_freed = "quarantine_size_mb=1"
    local keep_no_freed = "env GLIBC_TUNABLES=glibc.malloc.tcache_count=0 "
    local report = run(keep_no_freed .. RUNNER, forget_what_is_freed, "session.lua", url, KEY,
      calls, manner, ca_file)
    local rows = parse(report)
    assert.equal(calls, tonumber(rows[10].calls))
    check_least(rows, "descriptors", 0, report)
    check_least(rows, "allocated", ALLOCATED_MORE, report)
    check_least(rows, "lua", ALLOCATED_MORE, report)
    check_resident(rows, report)
  end

  it("uses no more descriptors and memory at its end than at its beginning", function()
    check_flat(CALLS, "blocking", start_emulator "")
  end)

  it("uses no more over TLS either", function()
    check_flat(CALLS_OVER_TLS, "blocking", start_emulator "--tls")
  end)

  it("uses no more with tasks that are cancelled, late or abandoned", function()
    check_flat(CALLS, "tasks", start_emulator "")
  end)

  it("uses no more with tasks over TLS either", function()
    check_flat(CALLS_OVER_TLS, "tasks", start_emulator "--tls")
  end)
end)

describe("A fork", function()
  after_each(server.stop_all)

  local SCRIPT = [[
    for request in connection:requests() do
      local id = request.target:match "mch_%w+"
      while id:find "^mch_waits" and not shared.is_over do connection:sleep(5) end
      shared.is_over = shared.is_over or id == "mch_ends"
      connection:answer(id == "mch_busy" and 503 or 200, ('{"id":"%s"}'):format(id))
    end
  ]]

  local function start(is_tls)
    local made = certificates.new { hosts = { "127.0.0.1" } }
    local ca_file = files.write_temporary(made.ca)
    finally(files.remove_temporary)
    return server.start(SCRIPT, { tls = is_tls and made or nil }), ca_file
  end

  -- The connection of each request, by the name in its path.
  local function connections_of(web)
    local connections = {}
    for _, request in ipairs(web:requests()) do
      connections[request.target:match "mch_(%w+)"] = request.connection
    end
    return connections
  end

  local function fork_when(moment, web, ca_file)
    local child_leaves_all_to_parent = "detect_leaks=0"
    run("", child_leaves_all_to_parent, "forking.lua", moment, web:url "/v1", ca_file)
  end

  it("leaves the parent's TLS connection and task alone when the child just ends", function()
    local web, ca_file = start(true)
    fork_when("under_way", web, ca_file)
    assert.same({ first = 1, waits = 1, ends = 2 }, connections_of(web))
  end)

  for moment, when in pairs {
    required = "after require alone",
    made = "after a client was created but not used",
  } do
    for scheme, is_tls in pairs { http = false, https = true } do
      it(when .. " lets both sides call over " .. scheme, function()
        local web, ca_file = start(is_tls)
        fork_when(moment, web, ca_file)
        local connections = connections_of(web)
        assert.equal(connections.parent1, connections.parent2)
        assert.equal(connections.child1, connections.child2)
        assert.not_equal(connections.parent1, connections.child1)
        assert.equal(5, #web:requests())
      end)
    end
  end

  local function start_transfer(curl, web, id)
    return curl:start {
      method = "GET",
      url = web:url("/v1/machines/mch_" .. id),
      headers = {},
      timeout_ms = 30000,
      connect_timeout_ms = 30000,
      max_response_bytes = 1000,
    }
  end

  local function finish(transfer)
    while not transfer:is_finished() do core.loop:step(1000, 0) end
    return transfer:take()
  end

  local function start_and_wait_until_received(curl, web)
    local transfer = start_transfer(curl, web, "waits")
    while not web:requests()[1] and not transfer:is_finished() do core.loop:step(10, 0) end
    return transfer
  end

  for scheme, is_tls in pairs { http = false, https = true } do
    it("under way over " .. scheme .. " cancels a transfer only in the child", function()
      local web, ca_file = start(is_tls)
      local curl = core.curl { max_connections = 2, ca_file = ca_file }
      local transfer = start_and_wait_until_received(curl, web)
      local pid = posix.in_child(function()
        local response, failure = finish(transfer)
        assert(not response and failure.code == "cancelled" and failure.sent)
        assert(finish(start_transfer(curl, web, "ends")).body == '{"id":"mch_ends"}')
        curl:close()
      end)
      assert.equal('{"id":"mch_waits"}', finish(transfer).body)
      assert.equal(0, posix.wait(pid))
      finish(start_transfer(curl, web, "again"))
      assert.same({ waits = 1, ends = 2, again = 1 }, connections_of(web))
      curl:close()
    end)

    it("under way over " .. scheme .. " lets the child collect its copy of a transfer", function()
      local web, ca_file = start(is_tls)
      local curl = core.curl { max_connections = 2, ca_file = ca_file }
      local transfer = start_and_wait_until_received(curl, web)
      local pid = posix.in_child(function()
        transfer, curl = nil, nil
        collectgarbage()
        collectgarbage()
      end)
      assert.equal(0, posix.wait(pid))
      local helper = core.curl { max_connections = 1, ca_file = ca_file }
      finish(start_transfer(helper, web, "ends"))
      assert.equal('{"id":"mch_waits"}', finish(transfer).body)
      finish(start_transfer(curl, web, "again"))
      assert.same({ waits = 1, ends = 2, again = 1 }, connections_of(web))
      helper:close()
      curl:close()
    end)

    local function new_client(web, ca_file)
      local client = machines.new {
        secret_key = KEY,
        base_url = web:url "/v1",
        ca_file = ca_file,
        max_connections = 2,
        retries = { backoff = { initial_interval = 20000 } },
      }
      finally(function() client:close() end)
      return client
    end

    local function get(client, name)
      return client:get("mch_" .. name).id
    end

    -- One waits for its next attempt, two are under way, one waits for a connection.
    local function start_tasks(client, web)
      local spawned = {}
      for _, name in ipairs { "busy", "waits1", "waits2", "queued" } do
        spawned[name] = client:spawn(get, client, name)
      end
      task_server.step_until_received(client, web, 3)
      return spawned
    end

    local function check_cancelled(spawned)
      for name, task in pairs(spawned) do
        local _, problem = pcall(task.result, task)
        assert(task.status == "cancelled" and problem.code == "cancelled", name)
        assert(name:find "waits" == nil or problem.message == "the process was forked", problem)
      end
    end

    local function check_results(spawned)
      for name, task in pairs(spawned) do assert.equal("mch_" .. name, task:result()) end
    end

    local function registrations(client)
      local file = assert(io.open("/proc/self/fdinfo/" .. client:pollable()))
      local text = file:read "*a"
      file:close()
      return text
    end

    -- The parent's connections are the first two.
    local function check_connections(web)
      for name, connection in pairs(connections_of(web)) do
        assert.equal(name:find "child" == nil and name ~= "ends", connection <= 2, name)
      end
    end

    it("under way over " .. scheme .. " cancels tasks only in the child", function()
      local web, ca_file = start(is_tls)
      local client = new_client(web, ca_file)
      local spawned = start_tasks(client, web)
      local before = registrations(client)
      local pid = posix.in_child(function()
        client:run()
        check_cancelled(spawned)
        assert(get(client, "ends") == "mch_ends")
        local one, other = client:spawn(get, client, "child1"), client:spawn(get, client, "child2")
        client:run()
        assert(one:result() == "mch_child1" and other:result() == "mch_child2")
        client:close()
      end)
      assert.equal(0, posix.wait(pid))
      assert.equal(before, registrations(client))
      spawned.busy:cancel()
      spawned.busy = nil
      client:run()
      check_results(spawned)
      assert.equal("mch_again", get(client, "again"))
      assert.equal(8, #web:requests())
      check_connections(web)
    end)

    it("made by a task over " .. scheme .. " lets this task go on in the child", function()
      local web, ca_file = start(is_tls)
      local client = new_client(web, ca_file)
      local spawned = start_tasks(client, web)
      local pid
      local forking = client:spawn(function()
        pid = posix.fork()
        return get(client, pid == 0 and "ends" or "forked")
      end)
      if pid == 0 then
        posix.exit_after(function()
          client:run()
          check_cancelled(spawned)
          assert(forking:result() == "mch_ends")
        end)
      end
      spawned.busy:cancel()
      spawned.busy = nil
      spawned.forked = forking
      client:run()
      assert.equal(0, posix.wait(pid))
      check_results(spawned)
      check_connections(web)
    end)
  end
end)
