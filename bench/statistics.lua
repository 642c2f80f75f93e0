--- What the samples of a workload amount to.

local statistics = {}

--- The value at that part of the way through the sorted numbers.
local function quantile(numbers, part)
  local sorted = table.move(numbers, 1, #numbers, 1, {})
  table.sort(sorted)
  local at = 1 + (#sorted - 1) * part
  local low = math.floor(at)
  return sorted[low] + (at - low) * ((sorted[low + 1] or sorted[low]) - sorted[low])
end

local function column(samples, name)
  local numbers = {}
  for i, sample in ipairs(samples) do
    numbers[i] = sample[name]
  end
  return numbers
end

--- How much more a run takes than another: the median of what the single rounds say, so that what
--- slows a whole round down counts for nothing.
---@param name "wall"|"cpu"
function statistics.ratio(run, other, name)
  local ratios = {}
  for i, sample in ipairs(run.samples) do
    ratios[i] = sample[name] / other.samples[i][name]
  end
  return quantile(ratios, 0.5)
end

--- The fastest Lua peer of this client on the same Lua, if any.
function statistics.best_peer(result, run)
  local best
  for _, other in ipairs(result.runs) do
    if other.client.peer_of == run.client.name and (not best or other.wall < best.wall) then
      best = other
    end
  end
  return best
end

--- What a host is held up: the longest lap of a sample, and the 99th percentile.
local function add_laps(run)
  for _, sample in ipairs(run.samples) do
    sample.longest, sample.p99 = quantile(sample.laps, 1), quantile(sample.laps, 0.99)
  end
  local longest = column(run.samples, "longest")
  run.longest = quantile(longest, 0.5)
  run.low, run.high = quantile(longest, 0.25), quantile(longest, 0.75)
  run.p99 = quantile(column(run.samples, "p99"), 0.5)
end

--- The result of a workload: its runs with seconds of a call, or of its longest lap, and megabytes.
function statistics.of_workload(workload, runs)
  local by_name = {}
  for _, run in ipairs(runs) do
    local wall = column(run.samples, "wall")
    run.wall = quantile(wall, 0.5)
    run.low, run.high = quantile(wall, 0.25), quantile(wall, 0.75)
    run.cpu = quantile(column(run.samples, "cpu"), 0.5)
    run.peak = run.samples[#run.samples].peak / 1024
    run.peak_of_one = run.first and run.first.peak / 1024 or run.peak
    if run.samples[1].laps[1] then
      add_laps(run)
    end
    by_name[run.client.name] = run
  end
  return { workload = workload, runs = runs, by_name = by_name }
end

return statistics
