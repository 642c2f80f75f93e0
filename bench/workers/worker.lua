--- What the workers in Lua share: the line protocol and the check of every answer.
---
--- A worker reads a line with a number, does so many calls, and answers with the CPU seconds that
--- its process has used and the most memory (KB) that it has had; before these, with the seconds of
--- single laps where they count. What to do is told by variables of the environment, BENCH_….

local worker = {}

local function setting(name)
  return os.getenv("BENCH_" .. name)
end

--- "get", "list", "collect", "decode", or of workers/clerk_tasks.lua
worker.kind = setting "KIND"
worker.base_url = setting "BASE_URL"
worker.id = setting "ID"
worker.count = tonumber(setting "COUNT")
worker.concurrency = tonumber(setting "CONCURRENCY")
worker.ca_file = setting "CA_FILE" -- the fixture's authority
worker.ca_bundle = setting "CA_BUNDLE" -- the system's authorities and the fixture's
worker.secret_key = "sk_test_bench"

local name, scopes = setting "NAME", tonumber(setting "SCOPES")

local function check_machine(machine)
  assert(machine.id == worker.id and machine.name == name, "another machine came")
  assert(#machine.scoped_machines == scopes, "scopes are missing")
end

function worker.check(value)
  if worker.id ~= "" and not value.data then
    return check_machine(value)
  end
  assert(value.total_count == worker.count and #value.data == worker.count, "rows are missing")
  check_machine(value.data[worker.count])
end

--- The path and query below the base URL.
function worker.target()
  if worker.kind == "list" then
    return "/machines?limit=" .. worker.count
  end
  return "/machines/" .. worker.id
end

local function most_memory()
  local file = assert(io.open("/proc/self/status"))
  local kilobytes = file:read("*a"):match("VmHWM:%s*(%d+)")
  file:close()
  return kilobytes
end

local function read_body()
  local file = assert(io.open(setting "BODY", "rb"))
  local body = file:read("*a")
  file:close()
  return body
end

--- A call that decodes the body of the workload, which is read once.
function worker.decoding(decode)
  local body = read_body()
  return function()
    return decode(body)
  end
end

--- Serves the lines of standard input with `turn`, which does so many calls and may return laps.
function worker.serve_turns(turn)
  for line in io.lines() do
    for _, lap in ipairs(turn(tonumber(line)) or {}) do
      io.write(("%.7f "):format(lap))
    end
    io.write(os.clock(), " ", most_memory(), "\n")
    io.flush()
  end
end

--- Serves them with `call`, which returns a decoded answer.
function worker.serve(call)
  worker.serve_turns(function(calls)
    for _ = 1, calls do
      worker.check(call())
    end
  end)
end

return worker
