--- What 20 clients of a worker get done, and what /ping takes before and beside them, in Markdown:
--- luajit bench/nginx_load.lua SOCKET CALLS, where each client makes so many calls.

local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local path, calls = arg[1], tonumber(arg[2])

local CLIENTS = 20
local BLOCKING_CALLS = 1 -- the worker serves one after the other
local IDLE_PINGS = 300
local PAUSE_S = 0.01

local function ask(connection, target)
  connection:xwrite(("GET %s HTTP/1.1\r\nHost: bench\r\n\r\n"):format(target), "n")
  local head = ""
  repeat
    local line = assert(connection:xread "*L", "the worker closed the connection")
    head = head .. line
  until line == "\r\n"
  assert(head:find "^HTTP/1.1 200 ", head)
  local length = head:match "[Ll]ength: (%d+)"
  if length then
    return connection:xread(tonumber(length))
  end
  repeat
    local size = tonumber(connection:xread "*l", 16)
    connection:xread(size + 2)
  until size == 0
end

local function connect()
  local connection = assert(socket.connect { path = path })
  connection:setmode("b", "bf")
  return connection
end

local function ping(connection, samples)
  local begun = cqueues.monotime()
  ask(connection, "/ping")
  table.insert(samples, cqueues.monotime() - begun)
  cqueues.sleep(PAUSE_S)
end

local function median(samples)
  table.sort(samples)
  return samples[math.ceil(#samples / 2)]
end

local function in_loop(work)
  local loop = cqueues.new()
  loop:wrap(work, loop)
  assert(loop:loop())
end

local function idle_pings()
  local samples = {}
  in_loop(function()
    local connection = connect()
    for _ = 1, IDLE_PINGS do
      ping(connection, samples)
    end
  end)
  return median(samples)
end

--- The clients' seconds, and the median of the pings beside them.
local function load(target, calls_each)
  local samples, unfinished, took = {}, CLIENTS, nil
  local begun = cqueues.monotime()
  in_loop(function(loop)
    for _ = 1, CLIENTS do
      loop:wrap(function()
        local connection = connect()
        for _ = 1, calls_each do
          ask(connection, target)
        end
        unfinished = unfinished - 1
        took = cqueues.monotime() - begun
      end)
    end
    local connection = connect()
    while unfinished > 0 do
      ping(connection, samples)
    end
  end)
  return took, median(samples)
end

local function print_row(name, target, calls_each)
  local idle = idle_pings()
  local took, beside = load(target, calls_each)
  print(("| %s | %.1f | %.3g ms | %.3g ms | %.2f |"):format(name, CLIENTS * calls_each / took,
    idle * 1000, beside * 1000, beside / idle))
end

print "\nOne worker of nginx, 20 clients, an API that takes 200 ms:\n"
print "| | requests/s (goal: ≥ 95) | `/ping`, idle | beside | × idle (goal: ≤ 2) |"
print "| --- | --: | --: | --: | --: |"
print_row("clerk.machines", "/cosockets", calls)
print_row("the same over libcurl, which blocks", "/blocking", BLOCKING_CALLS)
