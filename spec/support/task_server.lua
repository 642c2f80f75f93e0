-- Helpers for specs of tasks: a server that acts by the ID in a request's path, or else by the name
-- in its body, and functions that step until something is true.
--
--   mch_hang…    is never answered
--   mch_gate…    is answered after a request for mch_open on any connection
--   mch_slow…    is answered after a second
--   mch_flaky…   is answered 503 the first time
--   mch_busy…    is answered 429 the first time, with a Retry-After of one second
--   …closed…     is answered 429 with a Retry-After of 40 seconds
--   mch_none…    is answered 404
--   others       are a success with that ID

local certificates = require "clerk.machines.emulator.certificates"
local files = require "support.files"
local machines = require "clerk.machines"
local server = require "support.server"

local RESPOND = [[
  local function status_of(name)
    local is_first = not shared[name]
    shared[name] = true
    if name:find "^mch_flaky" and is_first then return 503 end
    if name:find "^mch_busy" and is_first then return 429, "Retry-After: 1" end
    if name:find "closed" then return 429, "Retry-After: 40" end
    return name:find "^mch_none" and 404 or 200
  end

  local function respond(request)
    local name = (request.target .. request.body):match "mch_%w+" or "mch_other"
    if name:find "^mch_hang" then return end
    if name:find "^mch_slow" then connection:sleep(1000) end
    while name:find "^mch_gate" and not shared.is_open do connection:sleep(5) end
    shared.is_open = shared.is_open or name == "mch_open"
    local status, header = status_of(name)
    if status == 200 then return status, success(name) end
    return status, ('{"errors":[{"code":"%s","message":"no"}]}'):format(name), header
  end
]]

local HTTP_1 = RESPOND .. [[
  for request in connection:requests() do
    local status, body, header = respond(request)
    if not status then return connection:hang() end
    connection:answer(status, body, header)
  end
]]

local HTTP_2 = RESPOND .. "connection:http2(respond)"

local KEY = "sk_test_marked_key"
local PATIENCE_STEPS = 1000

local task_server = { key = KEY }

--- Retries for specs that need one and not its wait.
task_server.quick = { backoff = { initial_interval = 1 } }

--- Starts a server for plain HTTP/1.1.
function task_server.start()
  return server.start(HTTP_1)
end

--- Starts a server for HTTP/2 over TLS.
function task_server.start_http2()
  local made = certificates.new { hosts = { "127.0.0.1" } }
  local web = server.start(HTTP_2, {
    tls = { certificate = made.certificate, key = made.key, alpn = { "h2" } },
  })
  web.ca_file = files.write_temporary(made.ca)
  return web
end

function task_server.stop_all()
  files.remove_temporary()
  server.stop_all()
end

--- The settings for a client of the server.
function task_server.settings(web, options)
  local settings = { secret_key = KEY, base_url = web:url "/v1", ca_file = web.ca_file }
  for name, value in pairs(options or {}) do settings[name] = value end
  return settings
end

function task_server.client(web, options)
  return machines.new(task_server.settings(web, options))
end

--- Steps until `holds` returns true.
function task_server.step_until(client, holds)
  for _ = 1, PATIENCE_STEPS do
    if holds() then return end
    client:step(10)
  end
  error("the condition did not become true", 2)
end

--- Steps until `count` requests have reached the server.
function task_server.step_until_received(client, web, count)
  task_server.step_until(client, function() return #web:requests() >= count end)
end

--- Spawns f(client, ...) and returns the task after its request has reached the server.
function task_server.spawn_and_await(web, client, f, ...)
  local count = #web:requests()
  local task = client:spawn(f, client, ...)
  task_server.step_until_received(client, web, count + 1)
  return task
end

--- The error of a task that has failed.
function task_server.failure_of(task)
  local ok, problem = pcall(task.result, task)
  assert(not ok, "the task has not failed")
  return problem
end

--- The requested IDs, in the order of their arrival.
function task_server.asked(web)
  local ids = {}
  for i, request in ipairs(web:requests()) do
    ids[i] = (request.target .. request.body):match "mch_%w+"
  end
  return ids
end

--- Roughly how many instructions of Lua this coroutine executes while f runs: few when it waits for
--- something, many when it spins.
function task_server.instructions_of(f)
  local count, unit = 0, 100
  if jit then
    jit.off() -- compiled code calls no hooks
    jit.flush()
  end
  debug.sethook(function() count = count + unit end, "", unit)
  local ok, problem = pcall(f)
  debug.sethook()
  if jit then jit.on() end
  assert(ok, problem)
  return count
end

--- How often this process gives the processor away while f runs, because it waits.
function task_server.blocked_count(f)
  local function read_count()
    return tonumber(files.read "/proc/self/status":match "\nvoluntary_ctxt_switches:%s*(%d+)")
  end
  local before = read_count()
  f()
  return read_count() - before
end

return task_server
