--- This client's tasks: many calls at once, how long the host is held up by them, and how soon a
--- call ends whose name server does not answer.

local core = require "clerk.machines.core"
local socket = require "socket"
local worker = require "workers.worker"

local IN_FLIGHT = 32

local function seconds_of(f, ...)
  local start = socket.gettime()
  f(...)
  return socket.gettime() - start
end

--- Steps until all is done in a host that has other things to do, for which a ms stands. A lap is a
--- step.
local function step_through(client)
  local laps, left = {}, nil
  repeat
    table.insert(laps, seconds_of(function()
      left = client:step(0)
    end))
    core.sleep(1)
  until left == 0
  return laps
end

-- ---------------------------------------------------------------- many calls

local many = {}

--- Keeps so many calls under way until all are done.
function many.flight(client, calls)
  local tasks = {}
  local function get_in_turn()
    while calls > 0 do
      calls = calls - 1
      worker.check(client:get(worker.id))
    end
  end
  for i = 1, IN_FLIGHT do
    tasks[i] = client:spawn(get_in_turn)
  end
  client:run()
  for _, task in ipairs(tasks) do
    task:result()
  end
end

--- The collector is the one of a host that embeds Lua: only the command lua5.4 itself turns on the
--- generational one, which pauses for longer.
function many.steps(client, calls)
  local tasks = {}
  if not rawget(_G, "jit") then
    collectgarbage "incremental"
  end
  for i = 1, calls do
    tasks[i] = client:spawn(client.get, client, worker.id)
  end
  local laps = step_through(client)
  for _, task in ipairs(tasks) do
    worker.check(task:result())
  end
  return laps
end

-- ---------------------------------------------------------------- unresolved names

local NAME_ERROR = "\x81\x83" -- the flags of an answer that there is no such name
local IMPATIENT = { timeout_ms = 100, retries = false }

local function listen()
  local server = assert(socket.udp())
  assert(server:setsockname("127.0.0.1", 53))
  server:settimeout(0.01)
  return server
end

local function answer_late(server)
  local question, address, port = server:receivefrom()
  while question do
    assert(server:sendto(question:sub(1, 2) .. NAME_ERROR .. question:sub(5), address, port))
    question, address, port = server:receivefrom()
  end
end

--- A call whose question has come to the name server.
local function unresolved_call(client, server)
  local task = client:spawn(client.get, client, worker.id)
  repeat
    client:step(1)
  until socket.select({ server }, nil, 0.01)[server]
  return task
end

local function end_task(client, task)
  task:cancel()
  client:step(0)
end

local function check_timeout(ok, problem)
  assert(not ok and problem.code == "timeout", problem)
end

local unresolved = {}

function unresolved.cancel(client, server)
  local task = unresolved_call(client, server)
  local laps = { seconds_of(end_task, client, task) }
  assert(task.status == "cancelled", task.status)
  return laps
end

function unresolved.close(client, server)
  unresolved_call(client, server)
  return { seconds_of(client.close, client) }
end

function unresolved.timeout(client)
  local task = client:spawn(client.get, client, worker.id, IMPATIENT)
  local laps = step_through(client)
  check_timeout(pcall(task.result, task))
  return laps
end

--- What the call takes beyond its timeout.
function unresolved.lateness(client)
  return {
    seconds_of(function()
      check_timeout(pcall(client.get, client, worker.id, IMPATIENT))
    end) - IMPATIENT.timeout_ms / 1000,
  }
end

--- What does a turn.
return function(client)
  local kind = worker.kind
  if many[kind] then
    return function(calls)
      return many[kind](client, calls)
    end
  end
  local server = listen()
  return function()
    local laps = unresolved[kind](client, server)
    answer_late(server)
    return laps
  end
end
