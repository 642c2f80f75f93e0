--- What grows with the number of machines, tasks and connections, in Markdown:
--- lua5.4 bench/scaling.lua PORT, of bench/fixture.lua.

local begun = os.clock()
local clerk = require "clerk.machines"
local required = os.clock() - begun
local machines = require "machines"

local KEY = "sk_test_bench"
local BASE_URL = ("http://127.0.0.1:%s/slow/v1"):format(arg[1])
local PAGE = 500

local function report(what, format, ...)
  print(("| %s | %s |"):format(what, format:format(...)))
end

--- KB of Lua's heap, and of all memory of the process that is no file's.
local function memory()
  collectgarbage()
  collectgarbage()
  local file = assert(io.open "/proc/self/status")
  local resident = file:read("*a"):match "RssAnon:%s*(%d+)"
  file:close()
  return collectgarbage "count", tonumber(resident)
end

-- ---------------------------------------------------------------- machines

local function pages_of(count)
  local pages = {}
  for offset = 0, count - 1, PAGE - 1 do
    pages[offset] = machines.page(offset + 1, math.min(count, offset + PAGE), count, 1)
  end
  return pages
end

--- Without a network.
local function transport_of(pages)
  return {
    send = function(_, request)
      local offset = tonumber(request.url:match "offset=(%d+)" or 0)
      return { status = 200, headers = {}, body = assert(pages[offset], request.url) }
    end,
  }
end

--- Microseconds of CPU that one machine takes.
local function collect(pages, count)
  local client = clerk.new { secret_key = KEY, transport = transport_of(pages) }
  local start = os.clock()
  assert(#client:collect() == count)
  local taken = (os.clock() - start) / count * 1e6
  client:close()
  return taken
end

--- How often Lua's collector marks what there is depends on the heap, so it is left out once.
local function many_machines(count)
  local pages = pages_of(count)
  collectgarbage()
  local taken = collect(pages, count)
  collectgarbage()
  collectgarbage "stop"
  local without_collector = collect(pages, count)
  collectgarbage "restart"
  report(("CPU of a machine in `collect` of %d; with the collector stopped"):format(count),
    "%.2f µs; %.2f µs", taken, without_collector)
end

-- ---------------------------------------------------------------- tasks and connections

local function get_at_once(client, count)
  local tasks = {}
  for i = 1, count do
    tasks[i] = client:spawn(client.get, client, machines.id(1))
  end
  return tasks
end

local function waiting_tasks(count)
  local client = clerk.new { secret_key = KEY, base_url = BASE_URL, max_connections = 1 }
  client:get(machines.id(1))
  local heap, resident = memory()
  local tasks = get_at_once(client, count)
  local heap_after, resident_after = memory()
  report(("memory of a task that waits, of %d: in Lua's heap; resident"):format(count),
    "%.1f KB; %.1f KB", (heap_after - heap) / count, (resident_after - resident) / count)
  client:close()
  return tasks
end

local function idle_connections(count)
  local client = clerk.new { secret_key = KEY, base_url = BASE_URL, max_connections = count }
  client:get(machines.id(1))
  local _, resident = memory()
  get_at_once(client, count)
  client:run()
  local _, resident_after = memory()
  report(("memory of a kept connection, of %d: resident"):format(count), "%.1f KB",
    (resident_after - resident) / count)
  client:close()
end

print(("\n| %s | |\n|---|--:|"):format(type(jit) == "table" and jit.version or _VERSION))
report("`require`, with libcurl and what it loads", "%.1f ms", required * 1e3)
idle_connections(100)
waiting_tasks(2000)
for _, count in ipairs { 1000, 10000, 100000 } do
  many_machines(count)
end
