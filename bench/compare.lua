--- Runs the workloads on all clients, round by round, and prints what they took.
--- lua5.4 bench/compare.lua DIRECTORY HTTP_PORT TLS_PORT

local machines = require "machines"
local report = require "report"
local statistics = require "statistics"
local turns = require "turns"

local directory, http_port, tls_port = arg[1], arg[2], arg[3]
local rounds = tonumber(os.getenv "BENCH_ROUNDS")
local only = os.getenv "BENCH_ONLY"

local function url(scheme, instance)
  local port = scheme == "https" and tls_port or http_port
  return ("%s://127.0.0.1:%s/%s/v1"):format(scheme, port, instance)
end

--- `count` machines with so many `scopes`; the last of them is checked by name.
local function workload(name, kind, instance, count, scopes, more)
  local row = { name = name, kind = kind, count = count, scopes = scopes }
  row.body = ("%s/%s-%s"):format(directory, instance, count == 1 and "machine" or count)
  row.base_url = url(more == "http" and "http" or "https", instance)
  row.is_cold = more == "cold"
  return row
end

local workloads = {
  workload("get, http", "get", "narrow", 1, 3, "http"),
  workload("get, TLS", "get", "narrow", 1, 3),
  workload("cold get, TLS", "get", "narrow", 1, 3, "cold"),
  workload("page of 10", "list", "narrow", 10, 3, "http"),
  workload("page of 500", "list", "narrow", 500, 3, "http"),
  workload("page of 500 with 150 scopes each", "list", "wide", 500, 150, "http"),
  workload("decode a machine", "decode", "narrow", 1, 3),
  workload("decode a page of 500", "decode", "narrow", 500, 3),
  workload("decode 500 with 150 scopes each", "decode", "wide", 500, 150),
}

local function lua(interpreter, script)
  return ('LUA_CPATH="build/bench/%s/?.so;;" %s bench/workers/%s.lua')
    :format(interpreter, interpreter, script)
end

local function exists(path)
  return os.execute(("test -e %s"):format(path))
end

--- `peer_of`: whose row a Lua peer stands beside, which is the one on the same Lua.
local clients = {
  { name = "clerk.machines, Lua 5.4", command = lua("lua5.4", "clerk"), decodes = true },
  { name = "clerk.machines, LuaJIT", command = lua("luajit", "clerk"), decodes = true },
  { name = "libcurl", command = "build/bench/libcurl" },
  { name = "libcurl, Debian's CA", command = "build/bench/libcurl default", only_cold = true },
  {
    name = "lua-cjson, LuaSocket, Lua 5.4",
    command = lua("lua5.4", "luasocket"),
    peer_of = "clerk.machines, Lua 5.4",
    decodes = true,
  },
  {
    name = "lua-cjson, LuaSocket, LuaJIT",
    command = lua("luajit", "luasocket"),
    peer_of = "clerk.machines, LuaJIT",
    decodes = true,
  },
  {
    name = "lua-cjson, lua-http, LuaJIT",
    command = lua("luajit", "lua_http"),
    peer_of = "clerk.machines, LuaJIT",
  },
}

if exists "build/bench/node/node_modules/@clerk/backend" then
  table.insert(clients, {
    name = "@clerk/backend, Node",
    command = ("NODE_EXTRA_CA_CERTS=%s/ca.pem node bench/workers/clerk_backend.mjs")
      :format(directory),
  })
end

local function size_of(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:close()
  return size
end

local function environment(row)
  return {
    KIND = row.kind,
    BASE_URL = row.base_url,
    BODY = row.body,
    BYTES = size_of(row.body),
    COUNT = row.count,
    SCOPES = row.scopes,
    ID = machines.id(row.count),
    NAME = machines.name(row.count),
    CA_FILE = directory .. "/ca.pem",
    CA_BUNDLE = directory .. "/bundle.pem",
  }
end

local function takes_part(client, row)
  if row.kind == "decode" then
    return client.decodes
  end
  return row.is_cold or not client.only_cold
end

--- A new process for every call.
local function cold_turn(run)
  local worker = turns.start(run.client, run.environment)
  local sample = worker:turn(1)
  worker:stop()
  return sample
end

local function warm_turn(run)
  if not run.worker then
    run.worker = turns.start(run.client, run.environment)
    run.first = run.worker:turn(1)
    run.calls = run.worker:calls_of_a_turn()
  end
  return run.worker:turn(run.calls)
end

local function new_runs(row)
  local runs = {}
  for _, client in ipairs(clients) do
    if takes_part(client, row) then
      table.insert(runs, { client = client, environment = environment(row), samples = {} })
    end
  end
  return runs
end

--- The last one first: each has inherited the pipes of those before it.
local function stop_workers(runs)
  for i = #runs, 1, -1 do
    if runs[i].worker then
      runs[i].worker:stop()
    end
  end
end

local function compare(row)
  local runs = new_runs(row)
  local turn = row.is_cold and cold_turn or warm_turn
  for round = 1, rounds do
    for _, run in ipairs(runs) do
      run.samples[round] = turn(run)
    end
  end
  stop_workers(runs)
  return statistics.of_workload(row, runs)
end

turns.directory = directory
local results, names = {}, {}
for i, client in ipairs(clients) do
  names[i] = client.name
end
for _, row in ipairs(workloads) do
  if row.name:find(only, 1, true) then
    io.stderr:write(row.name, "\n")
    table.insert(results, compare(row))
  end
end
report.print(results, names)
