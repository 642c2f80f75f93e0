--- Runs the workloads on all clients, round by round, and prints what they took.
--- lua5.4 bench/compare.lua DIRECTORY HTTP_PORT TLS_PORT TLS1_PORT

local clients = require "clients"
local report = require "report"
local statistics = require "statistics"
local turns = require "turns"
local workloads = require "workloads"

local rounds = tonumber(os.getenv "BENCH_ROUNDS")
local only = os.getenv "BENCH_ONLY"

local function takes_part(client, row)
  local is_new = row.calls and row.scheme == "https"
  return client.kinds:find(row.kind, 1, true) and (is_new or not client.only_new)
end

local function start(run, row)
  local command = ("%s %s %s"):format(row.environment, row.within or "", run.client.command)
  return turns.start(run.client.name, command)
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
      table.insert(runs, { client = client, samples = {} })
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

turns.directory = arg[1]
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
