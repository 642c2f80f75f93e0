--- Calls nginx in turns through each of its gates, and prints what they let through:
--- lua5.4 bench/nginx_gate.lua DIRECTORY PORT PID ROUNDS

local statistics = require "statistics"

local directory, port, pid, rounds = arg[1], arg[2], arg[3], tonumber(arg[4])

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function cpu_seconds()
  return read("/proc/" .. pid .. "/schedstat"):match "^%d+" / 1e9
end

local JWT, OPAQUE = read(directory .. "/jwt1"), "mt_" .. ("opaque"):rep(6)

local COMMAND = "wrk -t1 -c16 -d%ds -H 'Authorization: Bearer %s' http://127.0.0.1:%s/%s"

--- Calls for that long; returns the requests per second, and the worker's CPU seconds of one.
local function call(location, token, seconds)
  local before = cpu_seconds()
  local pipe = assert(io.popen(COMMAND:format(seconds, token, port, location)))
  local output = pipe:read "a"
  pipe:close()
  assert(not output:find "Non%-2xx", output)
  local count, rate = output:match "(%d+) requests in", output:match "Requests/sec:%s*([%d.]+)"
  return { wall = 1 / rate, cpu = (cpu_seconds() - before) / count, laps = {}, peak = 0 }
end

--- `of`: the row that a row is compared with, which stands before it.
local rows = {
  { "no gate", "open", JWT },
  { "a known JWT, `shared_dict`", "shared", JWT, of = 1, least = 0.75 },
  { "a known JWT, without `shared_dict`", "own", JWT, of = 1, least = 0.75 },
  { "a known JWT, and the route's own `callers`", "route", JWT, of = 1, least = 0.75 },
  { "a known opaque token, `shared_dict`", "shared", OPAQUE, of = 1, least = 0.75 },
  { "a JWT every time, `cache_ms = 0`", "cold", JWT, of = 1 },
  { "kept connections to the service, no gate", "kept/open", JWT },
  { "the same, a known JWT, `shared_dict`", "kept/shared", JWT, of = 7 },
}

local function is_there(location)
  return os.execute(("curl -sf -o /dev/null http://127.0.0.1:%s/has_%s"):format(port, location))
end

if is_there "lua_resty_jwt" then
  table.insert(rows, { "lua-resty-jwt, which has no cache", "lua_resty_jwt", JWT, of = 1 })
end

local runs = {}
for i, row in ipairs(rows) do
  runs[i] = { client = { name = row[1] }, samples = {} }
  call(row[2], row[3], 1)
end
for round = 1, rounds do
  for i, row in ipairs(rows) do
    runs[i].samples[round] = call(row[2], row[3], 1)
  end
end

statistics.of_workload({}, runs)
print "\nOne worker of nginx, which proxies requests to a service:\n"
print "| | requests/s | of those without a gate | CPU of a request | the same by CPU |"
print "| --- | --: | --: | --: | --: |"
for i, run in ipairs(runs) do
  local base, least = runs[rows[i].of or i], rows[i].least
  local by_rate = statistics.ratio(base, run, "wall")
  local by_cpu = statistics.ratio(base, run, "cpu")
  local mark = least and (by_cpu >= least and " ✓" or " ✗") or ""
  print(("| %s | %.0f | %.2f | %.1f µs | %.2f%s |"):format(run.client.name, 1 / run.wall, by_rate,
    run.cpu * 1e6, by_cpu, mark))
end
print "\nGoal: with known tokens, 0.75 of what goes through without a gate, by the worker's CPU."
