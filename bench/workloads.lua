--- The workloads, and what a worker is told of each. The arguments of the script that reads this:
--- DIRECTORY HTTP_PORT TLS_PORT TLS1_PORT, of bench/fixture.lua.

local machines = require "machines"

local directory = arg[1]
local ports = { http = arg[2], https = arg[3] }
local HTTP1_OVER_TLS = ("https://127.0.0.1:%s/narrow/v1"):format(arg[4])

local function url(scheme, instance)
  return ("%s://127.0.0.1:%s/%s/v1"):format(scheme, ports[scheme], instance)
end

--- The machines asked for are `count` with so many `scopes`; the last of them is checked by name.
--- With `calls`, every turn is so many in a new process.
local function workload(row)
  row.name, row.kind = row[1], row[2]
  row.scheme, row.instance = row.scheme or "https", row.instance or "narrow"
  row.count, row.scopes = row.count or 1, row.scopes or 3
  row.length, row.multiple = row.length or 1, row.multiple or 1
  row.body = ("%s/%s-%s"):format(directory, row.instance,
    row.first_page or row.count == 1 and "machine" or row.count)
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
  workload { "get, TLS, HTTP/1.1", "get", base_url = HTTP1_OVER_TLS },
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

local function size_of(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:close()
  return size
end

--- Shell words that tell a worker about a workload.
local function environment(row)
  local settings = {
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
  local words = {}
  for name, value in pairs(settings) do
    table.insert(words, ("BENCH_%s='%s'"):format(name, value))
  end
  return table.concat(words, " ")
end

for _, row in ipairs(workloads) do
  row.environment = environment(row)
end

return workloads
