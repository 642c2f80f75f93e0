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

local rows = {
  { "no gate", "open", JWT },
  { "a known JWT, shared cache", "shared", JWT, least = 0.75 },
  { "a known JWT, the worker's own cache", "own", JWT, least = 0.75 },
  { "a known JWT, and callers of the route", "route", JWT, least = 0.75 },
  { "a known opaque token, shared cache", "shared", OPAQUE, least = 0.75 },
  { "a JWT with cache_ms = 0", "cold", JWT },
}

local function is_there(location)
  return os.execute(("curl -sf -o /dev/null http://127.0.0.1:%s/has_%s"):format(port, location))
end

if is_there "lua_resty_jwt" then
  table.insert(rows, { "lua-resty-jwt, which has no cache", "lua_resty_jwt", JWT })
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
print "| | requests/s | of those without a gate | CPU of a request | its rate by CPU |"
print "| --- | --: | --: | --: | --: |"
for i, run in ipairs(runs) do
  local by_rate = statistics.ratio(runs[1], run, "wall")
  local by_cpu = statistics.ratio(runs[1], run, "cpu")
  local least = rows[i].least
  local mark = least and (by_rate >= least and " ✓" or " ✗") or ""
  print(("| %s | %.0f | %.2f%s | %.1f µs | %.2f |"):format(run.client.name, 1 / run.wall, by_rate,
    mark, run.cpu * 1e6, by_cpu))
end
print "\nGoal: with known tokens, 0.75 of the requests that go through without a gate."
