-- A long session with the emulator's server, in which faults happen now and then; see
-- session_spec.lua.
--
--   lua5.4 session.lua URL KEY CALLS MANNER [CA_FILE]
--
-- MANNER is "blocking": one call after the other; or "tasks": ten at once, some of them cancelled
-- or left to the collector with their client. Prints ten lines at equal distances: calls,
-- descriptors, and in KiB resident memory without pages of files, memory allocated with malloc, and
-- Lua's memory.

local libcurl = require "clerk.machines.loop.transport"
local machines = require "clerk.machines"
local posix = require "support.posix"

local URL, KEY, CALLS, MANNER, CA_FILE = arg[1], arg[2], tonumber(arg[3]), arg[4], arg[5]

local FAULT_EVERY = 7 -- calls, and
local CLIENT_EVERY = 50
local AT_ONCE = 10

-- Faults for the emulator, and the `options` of the call that they hit.
local FAULTS = {
  { script = '{"drop":true}' },
  { script = '{"drop":true,"applied":true}' },
  { script = '{"status":503}' },
  { script = '{"status":502,"content_type":"text/html","body":"<html></html>"}' },
  { script = '{"status":200,"truncate":3,"applied":true}' },
  { script = '{"status":429,"retry_after":0}' },
  { script = '{"status":200,"body":"{\\"id\\":"}' },
  { script = '{"status":200,"body":""}' },
  { script = '{"status":302}' },
  { script = '{"status":404,"body":"[]"}' },
  { script = '{"delay_ms":20}', options = { timeout_ms = 5 } },
  { script = '{"delay_ms":20}', options = { deadline_ms = 5, retries = false } },
}

-- ---------------------------------------------------------------- calls

local known = {} -- IDs of machines that exist

local function take_known()
  return table.remove(known, 1) or "mch_nobody"
end

local function first_known()
  return known[1] or "mch_nobody"
end

local USES = {
  function(client, options)
    local machine = client:create({ name = "worker", default_token_ttl = 600 }, options)
    known[#known + 1] = machine.id
  end,
  function(client, options) return client:list({ limit = 50 }, options) end,
  function(client, options) return client:get(first_known(), options) end,
  function(client, options) return client:update(first_known(), { name = "renamed" }, options) end,
  function(client, options) return client:get_secret_key(first_known(), options) end,
  function(client, options)
    return client:rotate_secret_key(first_known(), { previous_token_ttl = 0 }, options)
  end,
  function(client, options) return client:get(first_known() .. "x", options) end,
  function(client, options) return client:delete(take_known(), options) end,
}


local function new_client()
  return machines.new {
    secret_key = KEY,
    base_url = URL,
    ca_file = CA_FILE,
    max_connections = 4,
    retries = { backoff = { initial_interval = 1, max_interval = 2 } },
  }
end

local function new_control()
  return libcurl.new { max_connections = 1, ca_file = CA_FILE }
end

local control = new_control()

local function script_fault(fault)
  local response, failure = control:send {
    method = "POST",
    url = URL:gsub("/v1$", "/emulator/faults"),
    headers = { authorization = "Bearer " .. KEY, ["content-type"] = "application/json" },
    body = fault.script,
    timeout_ms = 60000, -- under valgrind, on a busy machine
    connect_timeout_ms = 60000,
    max_response_bytes = 1000,
  }
  assert(response and response.status < 300, response and response.body or failure.message)
end

local function fault_of(n)
  return n % FAULT_EVERY == 0 and FAULTS[n / FAULT_EVERY % #FAULTS + 1] or nil
end

local function is_expected(problem, fault)
  return machines.is_error(problem) and (fault or problem.code == "machine_not_found")
end

local function call(client, n)
  local fault = fault_of(n)
  if #known == 0 then known[1] = client:create({ name = "first" }).id end
  if fault then script_fault(fault) end
  local ok, problem = pcall(USES[n % #USES + 1], client, fault and fault.options)
  assert(ok or is_expected(problem, fault), problem)
  assert(tostring(problem))
  assert(not pcall(client.get, client, ".."))
end

-- ---------------------------------------------------------------- tasks

local function spawn(client, n)
  local fault = fault_of(n)
  if fault then script_fault(fault) end
  local options = fault and fault.options or n % 11 == 0 and { deadline_ms = 2 } or nil
  return client:spawn(USES[n % #USES + 1], client, options)
end

local function spawn_some(client, first)
  local spawned = {}
  for i = 1, AT_ONCE do spawned[i] = spawn(client, first + i - 1) end
  spawned[AT_ONCE]:cancel()
  client:step(0)
  spawned[1]:cancel()
  return spawned
end

-- Which call gets the fault depends on the server.
local function check_ended(task)
  assert(task.status ~= "running")
  local ok, problem = pcall(task.result, task)
  assert(ok or machines.is_error(problem) and problem.type ~= "ArgumentError", problem)
end

local function call_at_once(client, first)
  local spawned = spawn_some(client, first)
  client:run()
  for _, task in ipairs(spawned) do check_ended(task) end
end

-- ---------------------------------------------------------------- what it uses

local function first_match(path, pattern)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text:match(pattern)
end

local PID = first_match("/proc/self/stat", "^%d+")

-- With a file, because a pipe would be one more descriptor.
local function count_descriptors()
  local listing = os.tmpname()
  os.execute(("ls /proc/%s/fd >%s"):format(PID, listing))
  local _, count = first_match(listing, ".*"):gsub("\n", "")
  os.remove(listing)
  return count
end

local function report(calls)
  if jit then jit.flush() end -- its traces are not a leak
  collectgarbage()
  collectgarbage()
  posix.trim() -- free pages within the heap, which come and go
  local resident = first_match("/proc/self/status", "RssAnon:%s*(%d+)")
  print(("%d %d %d %.0f %.0f"):format(calls, count_descriptors(), resident,
    posix.allocated() / 1024, collectgarbage "count"))
end

-- LuaJIT keeps its pages. It gets more than the session needs before it begins, and some of the
-- tables stay so that all pages do.
local staying = {}

local function take_pages()
  for i = 1, 20000 do staying[i] = { i } end
  for i = 1, #staying do staying[i] = i % 1000 == 0 and staying[i] end
end

local MANNERS = {
  blocking = { call = call, leave = function() end, count = 1 },
  tasks = { call = call_at_once, leave = spawn_some, count = AT_ONCE },
}

if jit then take_pages() end
local manner = MANNERS[MANNER]
local client = new_client()
for n = manner.count, CALLS, manner.count do
  manner.call(client, n)
  if n % AT_ONCE == 0 then collectgarbage() end -- much garbage would scatter what lives
  if n % CLIENT_EVERY == 0 then
    manner.leave(client, n)
    client = new_client() -- the old one is left to the collector
  end
  if n % (CALLS / 10) == 0 then
    client:close()
    control:close() -- libcurl 8 keeps connections over TLS until the server has closed them as well
    report(n)
    client, control = new_client(), new_control()
  end
end
