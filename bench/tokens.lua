--- Verifies tokens in turns, and prints what one takes of a core: lua5.4 bench/tokens.lua DIRECTORY
--- of bench/tokens_fixture.lua.

local machines = require "machines"
local statistics = require "statistics"
local turns = require "turns"

local directory, rounds = arg[1], tonumber(os.getenv "BENCH_ROUNDS")

local LUA_5_4, LUAJIT = "Lua 5.4", "LuaJIT"
local BACKEND, RSA = "`@clerk/backend`, Node", "plain RSA"

local function lua(interpreter)
  return ('LUA_CPATH="build/bench/%s/?.so;;" %s bench/workers/clerk_tokens.lua')
    :format(interpreter, interpreter)
end

local clients = {
  { name = LUA_5_4, command = lua "lua5.4", kinds = "core cold known opaque" },
  { name = LUAJIT, command = lua "luajit", kinds = "core cold known opaque" },
  { name = RSA, command = "build/bench/rsa", kinds = "core cold" },
}

if os.execute "test -e build/bench/node/node_modules/@clerk/backend" then
  table.insert(clients, 3, {
    name = BACKEND,
    command = "node bench/workers/clerk_backend_tokens.mjs",
    kinds = "cold known",
  })
end

--- `of_rsa`: the least part of plain RSA's rate that is our goal.
local workloads = {
  { name = "a JWT, cold", kind = "cold", of_rsa = 0.6 },
  { name = "the same without the verifier: C alone", kind = "core" },
  { name = "a JWT, known", kind = "known" },
  { name = "an opaque token, known", kind = "opaque" },
}

local function start(client, workload)
  local environment = ("BENCH_KIND=%s BENCH_DIRECTORY=%s BENCH_BODY=%s/jwt BENCH_ID=%s "
    .. "BENCH_RECEIVER=%s"):format(workload.kind, directory, directory, machines.id(1),
    machines.id(2))
  local worker = turns.start(client.name, ("env %s %s"):format(environment, client.command), {})
  return { client = client, worker = worker, samples = {}, calls = worker:calls_of_a_turn(1, 2) }
end

local function measure(workload)
  local runs = {}
  for _, client in ipairs(clients) do
    if client.kinds:find(workload.kind, 1, true) then
      table.insert(runs, start(client, workload))
    end
  end
  for round = 1, rounds do
    for _, run in ipairs(runs) do
      run.samples[round] = run.worker:turn(run.calls)
    end
  end
  for i = #runs, 1, -1 do -- each has inherited the pipes of those before it
    runs[i].worker:stop()
  end
  return statistics.of_workload(workload, runs)
end

local function print_row(cells)
  print("| " .. table.concat(cells, " | ") .. " |")
end

local function of_rsa(result, run, least)
  local rsa = result.by_name[RSA]
  if not rsa or run == rsa then
    return ""
  end
  local ratio = statistics.ratio(rsa, run, "cpu")
  local verdict = least and run.client.name ~= BACKEND and (ratio >= least and " ✓" or " ✗") or ""
  return (", %.2f%s"):format(ratio, verdict)
end

local function cell(result, name)
  local run = result.by_name[name]
  return run and ("%.0f (%.3g µs%s)"):format(1 / run.cpu, run.cpu * 1e6,
    of_rsa(result, run, result.workload.of_rsa)) or "–"
end

turns.directory = directory
print "\nVerifications per second of a core (the CPU of one; the part of plain RSA's rate):\n"
print_row { "", LUA_5_4, LUAJIT, BACKEND, RSA }
print_row { "---", "--:", "--:", "--:", "--:" }
for _, workload in ipairs(workloads) do
  local result = measure(workload)
  local cells = { workload.name }
  for i, name in ipairs { LUA_5_4, LUAJIT, BACKEND, RSA } do
    cells[i + 1] = cell(result, name)
  end
  print_row(cells)
end
print "\nGoal: a cold JWT by the verifier at 0.6 of plain RSA's rate."
