--- What this client is meant to reach, and what it did.

local statistics = require "statistics"

local goals = {}

local OURS = { "clerk.machines, Lua 5.4", "clerk.machines, LuaJIT" }

local function find(results, name)
  for _, result in ipairs(results) do
    if result.workload.name == name then
      return result
    end
  end
end

-- Each measures one run of ours within its result.

local function socket(result, run)
  local peer = "lua-cjson, LuaSocket," .. run.client.name:match " [^,]*$"
  return statistics.ratio(result.by_name[peer], run, "wall")
end

local function lead(result, run)
  return statistics.ratio(statistics.best_peer(result, run), run, "wall")
end

local function peak(_, run)
  return run.peak_of_one
end

local function cold(result, run)
  return statistics.ratio(run, result.by_name["libcurl, Debian's CA"], "wall")
end

local function longest(_, run)
  return run.longest * 1000
end

local COLLECT = "collect 5000 by 100 at 20 ms, %d at once"

local function overlap(_, run, results)
  local alone = find(results, COLLECT:format(1))
  return alone and alone.by_name[run.client.name].wall / run.wall
end

local WIDE = "page of 500 with 150 scopes each"

--- The cores that all processes share.
local CORES = tonumber(os.getenv "BENCH_CORES")

--- A goal of two numbers is that of Lua 5.4 and that of LuaJIT; one with `cores` holds only there.
--- LuaSec's peer, LuaSocket, speaks HTTP/1.1 only, so both do.
--- That of the cold get was set as 25 ms where plain libcurl takes 44. Goals in instructions:
--- instructions.lua.
local rows = {
  { "get, http", "rate of LuaSocket's", socket, cores = 1, least = { 1.3, 1.1 } },
  { "get, http", "rate of LuaSocket's", socket, cores = 2, least = { 0.95, 0.95 } },
  { "get, TLS, HTTP/1.1", "rate of LuaSec's", socket, cores = 1, least = { 1.15, 1 } },
  { "page of 10", "rate of LuaSocket's", socket, cores = 1, least = { 1.8, 1.5 } },
  { "page of 500", "rate of LuaSocket's", socket, least = { 2.2, 2 } },
  { WIDE, "rate of the best Lua peer's", lead, least = { 1.8, 1.8 } },
  { WIDE, "peak memory, MB", peak, most = { 75, 75 } },
  { "decode a machine", "rate of lua-cjson's", lead, least = { 2.4, 2.3 } },
  { "decode a page of 500", "rate of lua-cjson's", lead, least = { 2.4, 2.3 } },
  { "cold get, TLS", "time of libcurl's with Debian's CA", cold, most = { 0.57, 0.57 } },
  { COLLECT:format(8), "rate of one at once", overlap, least = { 3, 3 } },
  { "steps of 300 gets, http", "the longest step, ms", longest, most = { 1, 1 } },
  { "steps of 300 gets, TLS", "the longest step, ms", longest, most = { 10, 10 } },
  { "cancel while the name is resolved", "ms", longest, most = { 1, 1 } },
  { "close while the name is resolved", "ms", longest, most = { 1, 1 } },
  { "timeout while the name is resolved", "the longest step, ms", longest, most = { 1, 1 } },
  { "lateness while the name is resolved", "ms", longest, most = { 1, 1 } },
}

local function bound(goal)
  local limits = goal.least or goal.most
  local sign = goal.least and "≥" or "≤"
  local first = ("%s %g"):format(sign, limits[1])
  return limits[1] == limits[2] and first or ("%s / %g"):format(first, limits[2])
end

local function verdict(goal, i, number)
  if not number then
    return "–"
  end
  local least, most = goal.least and goal.least[i] or number, goal.most and goal.most[i] or number
  return ("%.3g %s"):format(number, number >= least and number <= most and "✓" or "✗")
end

--- Lines of a table: what, goal, and what each of ours reached.
function goals.lines(results)
  local lines = {}
  for _, goal in ipairs(rows) do
    local result = find(results, goal[1])
    if result and result.runs[1] and (goal.cores or CORES) == CORES then
      local line = { goal[1] .. ": " .. goal[2], bound(goal) }
      for i, name in ipairs(OURS) do
        table.insert(line, verdict(goal, i, goal[3](result, result.by_name[name], results)))
      end
      table.insert(lines, line)
    end
  end
  return lines
end

return goals
