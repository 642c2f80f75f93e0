--- Counts the instructions of a call, by callgrind: what a long run takes beyond a short one. That
--- does not depend on what else the machine does, so a goal that is missed is a fault:
--- lua5.4 bench/instructions.lua DIRECTORY HTTP_PORT TLS_PORT TLS1_PORT

local clients = require "clients"
local workloads = require "workloads"

local only = os.getenv "BENCH_ONLY"

--- How many calls the short run makes, and the long one. `of`: a goal's ratio is to this workload's
--- plain libcurl, or to the Lua peer. A goal is the most of Lua 5.4, then of LuaJIT.
local rows = {
  { "get, http", 500, 4500, most = { 1.45, 1.35 } },
  { "get, TLS", 200, 1700 },
  { "page of 10", 50, 550, most = { 4.4 } },
  { "page of 500", 2, 6 },
  { "32 gets in flight, http", 160, 1760, of = "get, http", most = { 1.75, 1.45 } },
  { "decode a machine", 500, 2500 },
  { "decode a page of 500", 2, 8 },
}

local by_name = {}
for _, workload in ipairs(workloads) do
  by_name[workload.name] = workload
end

local OURS = { "clerk.machines, Lua 5.4", "clerk.machines, LuaJIT" }
local COLUMNS = {
  OURS[1], OURS[2], "libcurl", "lua-cjson, LuaSocket, Lua 5.4", "lua-cjson, LuaSocket, LuaJIT",
}

local function client_named(name)
  for _, client in ipairs(clients) do
    if client.name == name then
      return client
    end
  end
end

local function count(client, workload, calls)
  local pipe = assert(io.popen(("echo %d | %s valgrind --tool=callgrind --trace-children=yes "
    .. "--trace-children-skip=/usr/bin/env --callgrind-out-file=/dev/null %s 2>&1 >/dev/null")
    :format(calls, workload.environment, client.command)))
  local output = pipe:read "a"
  local ok = pipe:close()
  return ok and tonumber(output:match ".*Collected : (%d+)")
    or error(client.name .. " failed:\n" .. output)
end

local function instructions_of(client, workload, short, long)
  if not client.kinds:find(workload.kind, 1, true) then
    return nil
  end
  return (count(client, workload, long) - count(client, workload, short)) / (long - short)
end

local function measure(row)
  local workload, result = by_name[row[1]], {}
  for _, name in ipairs(COLUMNS) do
    result[name] = instructions_of(client_named(name), workload, row[2], row[3])
  end
  return result
end

local function thousands(number)
  return number and ("%.1f"):format(number / 1000) or "–"
end

local function ratio(number, base, most)
  if not (number and base) then
    return "–", true
  end
  local is_met = number <= base * (most or math.huge)
  local mark = most and (is_met and (" ✓ (≤ %g)"):format(most) or (" ✗ (≤ %g)"):format(most)) or ""
  return ("%.2f%s"):format(number / base, mark), is_met
end

local function print_row(cells)
  print("| " .. table.concat(cells, " | ") .. " |")
end

print "\nThousand instructions of a call, and how many times plain libcurl's that is:\n"
print_row { "", "Lua 5.4", "LuaJIT", "libcurl", "LuaSocket, 5.4", "LuaSocket, LuaJIT", "5.4 ×",
  "LuaJIT ×" }
print_row { "---", "--:", "--:", "--:", "--:", "--:", "--:", "--:" }
local results, are_met = {}, true
for _, row in ipairs(rows) do
  if row[1]:find(only, 1, true) then
    local result = measure(row)
    results[row[1]] = result
    local cells, base = { row[1] }, (results[row.of] or result).libcurl
    for _, name in ipairs(COLUMNS) do
      table.insert(cells, thousands(result[name]))
    end
    for i, name in ipairs(OURS) do
      local cell, is_met = ratio(result[name], base, row.most and row.most[i])
      table.insert(cells, cell)
      are_met = are_met and is_met
    end
    print_row(cells)
  end
end
os.exit(are_met)
