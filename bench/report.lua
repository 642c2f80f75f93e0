--- What the comparison says, in Markdown: all results in short, the goals, and every workload.

local goals = require "goals"
local statistics = require "statistics"

local report = {}

local function duration(seconds)
  if seconds < 0.001 then
    return ("%.3g µs"):format(seconds * 1e6)
  end
  if seconds < 1 then
    return ("%.3g ms"):format(seconds * 1e3)
  end
  return ("%.3g s"):format(seconds)
end

local function factor(number)
  return number and ("%.2f"):format(number) or "–"
end

local function row(cells)
  print("| " .. table.concat(cells, " | ") .. " |")
end

local function head(...)
  local rules = { "---" }
  for i = 2, select("#", ...) do
    rules[i] = "--:"
  end
  row { ... }
  row(rules)
end

local function print_summary(results, names)
  print "\nThe median time of a call, or of the longest of the steps and ends:\n"
  head("", table.unpack(names))
  for _, result in ipairs(results) do
    local cells = { result.workload.name }
    for i, name in ipairs(names) do
      local run = result.by_name[name]
      cells[i + 1] = run and duration(run.longest or run.wall) or "–"
    end
    row(cells)
  end
end

local function print_goals(results)
  print "\nGoals:\n"
  head("", "goal", "Lua 5.4", "LuaJIT")
  for _, line in ipairs(goals.lines(results)) do
    row(line)
  end
end

local function print_laps(result)
  head("client", "the longest (quartiles)", "99th percentile", "CPU of a call", "peak")
  for _, run in ipairs(result.runs) do
    row {
      run.client.name,
      ("%s (%s … %s)"):format(duration(run.longest), duration(run.low), duration(run.high)),
      duration(run.p99),
      duration(run.cpu),
      ("%.1f MB"):format(run.peak),
    }
  end
end

local function print_calls(result)
  head("client", "time of a call (quartiles)", "calls/s", "× libcurl", "× Lua peer",
    "CPU of a call", "CPU × libcurl", "peak of one call, of all")
  for _, run in ipairs(result.runs) do
    local libcurl, peer = result.by_name["libcurl"], statistics.best_peer(result, run)
    row {
      run.client.name,
      ("%s (%s … %s)"):format(duration(run.wall), duration(run.low), duration(run.high)),
      ("%.4g"):format(1 / run.wall),
      factor(libcurl and statistics.ratio(libcurl, run, "wall")),
      factor(peer and statistics.ratio(peer, run, "wall")),
      duration(run.cpu),
      factor(libcurl and statistics.ratio(run, libcurl, "cpu")),
      ("%.1f, %.1f MB"):format(run.peak_of_one, run.peak),
    }
  end
end

local function print_result(result)
  local run = result.runs[1]
  print(("\n%s:\n"):format(result.workload.name))
  if not run then
    print("not measured: needs " .. result.workload.needs)
  elseif run.longest then
    print_laps(result)
  else
    print_calls(result)
  end
end

---@param results table[] of statistics.of_workload
---@param names string[] of the clients, in their order
function report.print(results, names)
  print(os.getenv "BENCH_VERSIONS")
  print_summary(results, names)
  print_goals(results)
  for _, result in ipairs(results) do
    print_result(result)
  end
end

return report
