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

--- The machines asked for are `count` with so many `scopes`; the last of them is checked by name.
--- With `calls`, every turn is so many in a new process.
local function workload(row)
  row.name, row.kind = row[1], row[2]
  row.scheme, row.instance = row.scheme or "https", row.instance or "narrow"
  row.count, row.scopes = row.count or 1, row.scopes or 3
  row.length, row.multiple = row.length or 1, row.multiple or 1
  row.body = ("%s/%s"):format(directory, row.file or ("%s-%s"):format(row.instance,
    row.first_page or row.count == 1 and "machine" or row.count))
  row.base_url = row.base_url or url(row.scheme, row.instance)
  return row
end

--- So many calls at once. They all begin at the same moment; in a long turn they come apart.
local function flight(name, scheme)
  return workload { name, "flight", scheme = scheme, instance = "slow", length = 4, multiple = 32 }
end

--- All of 5000 machines, so many requests at once.
local function collect(concurrency)
  return workload {
    ("collect 5000 by 100 at 20 ms, %d at once"):format(concurrency),
    "collect",
    scheme = "http",
    instance = "slow",
    count = 5000,
    first_page = "0-101",
    concurrency = concurrency,
  }
end

--- A call whose name server does not answer.
local function unresolved(name, kind)
  return workload {
    name,
    kind,
    calls = 1,
    base_url = "https://machines.test/v1",
    within = "bench/unanswered",
    needs = "root or user namespaces, and the commands unshare and ip",
  }
end

local workloads = {
  workload { "get, http", "get", scheme = "http" },
  workload { "get, TLS", "get" },
  workload { "cold get, TLS", "get", calls = 1 },
  workload { "page of 10", "list", scheme = "http", count = 10 },
  workload { "page of 500", "list", scheme = "http", count = 500 },
  workload {
    "page of 500 with 150 scopes each",
    "list",
    scheme = "http",
    instance = "wide",
    count = 500,
    scopes = 150,
  },
  workload { "decode a machine", "decode" },
  workload { "decode a page of 500", "decode", count = 500 },
  workload {
    "decode 500 with 150 scopes each",
    "decode",
    instance = "wide",
    count = 500,
    scopes = 150,
  },
  workload { "verify a JWT, cold", "verify", file = "token" },
  flight("32 gets in flight, http", "http"),
  flight("32 gets in flight, TLS", "https"),
  collect(1),
  collect(8),
  workload { "steps of 300 gets, http", "steps", scheme = "http", calls = 300 },
  workload { "steps of 300 gets, TLS", "steps", calls = 300 },
  unresolved("cancel while the name is resolved", "cancel"),
  unresolved("close while the name is resolved", "close"),
  unresolved("timeout while the name is resolved", "timeout"),
  unresolved("lateness while the name is resolved", "lateness"),
}

local function lua(interpreter, script)
  return ('env LUA_CPATH="build/bench/%s/?.so;;" %s bench/workers/%s.lua')
    :format(interpreter, interpreter, script)
end

local function exists(path)
  return os.execute(("test -e %s"):format(path))
end

local ALL = "get list decode verify flight collect steps cancel close timeout lateness"

--- Debian's lua-http is there for Lua up to 5.3, but 5.4 reads it as well.
local function lua_http_for_5_4()
  local path = "$LUA_PATH;/usr/share/lua/5.3/?.lua;/usr/share/lua/5.1/?.lua"
  return ('env LUA_PATH_5_4="%s" %s'):format(path, lua("lua5.4", "lua_http"))
end

--- `kinds`: of the workloads that it has a part in, `only_new`: if they begin with a new TLS
--- connection. `peer_of`: whose row a Lua peer stands beside, which is the one on the same Lua.
local clients = {
  { name = "clerk.machines, Lua 5.4", command = lua("lua5.4", "clerk"), kinds = ALL },
  { name = "clerk.machines, LuaJIT", command = lua("luajit", "clerk"), kinds = ALL },
  { name = "libcurl", command = "build/bench/libcurl", kinds = "get list flight steps" },
  { name = "libcrypto's RSA", command = "build/bench/rsa", kinds = "verify" },
  {
    name = "libcurl, Debian's CA",
    command = "build/bench/libcurl default",
    kinds = "get steps",
    only_new = true,
  },
  {
    name = "lua-cjson, LuaSocket, Lua 5.4",
    command = lua("lua5.4", "luasocket"),
    peer_of = "clerk.machines, Lua 5.4",
    kinds = "get list decode",
  },
  {
    name = "lua-cjson, LuaSocket, LuaJIT",
    command = lua("luajit", "luasocket"),
    peer_of = "clerk.machines, LuaJIT",
    kinds = "get list decode",
  },
  {
    name = "lua-cjson, lua-http, Lua 5.4",
    command = lua_http_for_5_4(),
    peer_of = "clerk.machines, Lua 5.4",
    kinds = "get list",
  },
  {
    name = "lua-cjson, lua-http, LuaJIT",
    command = lua("luajit", "lua_http"),
    peer_of = "clerk.machines, LuaJIT",
    kinds = "get list",
  },
}

if exists "build/bench/node/node_modules/@clerk/backend" then
  table.insert(clients, {
    name = "@clerk/backend, Node",
    command = ("env NODE_EXTRA_CA_CERTS=%s/ca.pem node bench/workers/clerk_backend.mjs")
      :format(directory),
    kinds = "get list",
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
    CONCURRENCY = row.concurrency or 1,
    ID = machines.id(row.count),
    NAME = machines.name(row.count),
    CA_FILE = directory .. "/ca.pem",
    CA_BUNDLE = directory .. "/bundle.pem",
  }
end

local function takes_part(client, row)
  local is_new = row.calls and row.scheme == "https"
  return client.kinds:find(row.kind, 1, true) and (is_new or not client.only_new)
end

local function start(run, row)
  local command = ("%s %s"):format(row.within or "", run.client.command)
  return turns.start(run.client.name, command, run.environment)
end

local function cold_turn(run, row)
  local worker = start(run, row)
  local sample = worker:turn(row.calls)
  worker:stop()
  return sample
end

local function warm_turn(run, row)
  if not run.worker then
    run.worker = start(run, row)
    run.first = run.worker:turn(1)
    run.calls = run.worker:calls_of_a_turn(row.length, row.multiple)
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

local function is_possible(row)
  return not row.within or os.execute(row.within .. " true 2>/dev/null")
end

local function compare(row)
  local runs = is_possible(row) and new_runs(row) or {}
  local turn = row.calls and cold_turn or warm_turn
  for round = 1, rounds do
    for _, run in ipairs(runs) do
      run.samples[round] = turn(run, row)
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
