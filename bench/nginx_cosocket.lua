--- What bench/cosocket runs in nginx: turns of gets and of bare exchanges, and their medians.

local machines = require "clerk.machines"

--- Of a turn; and how many light threads share them, so that the worker is never idle.
local CALLS, THREADS = 1000, 20

local cosocket = {}

local function bare(port, id)
  local request = ("GET /narrow/v1/machines/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    .. "Authorization: Bearer sk_test_bench\r\nAccept: application/json\r\n\r\n"):format(id)
  return function()
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", port))
    assert(socket:send(request))
    local length
    repeat
      local line = assert(socket:receive "*l")
      length = length or line:match "^Content%-Length: (%d+)"
    until line == ""
    assert(#socket:receive(tonumber(length)) == tonumber(length))
    socket:setkeepalive(60000)
  end
end

local function ours(port, id)
  local client = machines.new {
    secret_key = "sk_test_bench",
    base_url = ("http://127.0.0.1:%d/narrow/v1"):format(port),
  }
  return function()
    assert(client:get(id).id == id)
  end
end

local function run(call)
  for _ = 1, CALLS / THREADS do
    call()
  end
end

--- Microseconds of CPU that one takes.
local function turn(call)
  local begun, threads = os.clock(), {}
  for i = 1, THREADS do
    threads[i] = ngx.thread.spawn(run, call)
  end
  for i = 1, THREADS do
    assert(ngx.thread.wait(threads[i]))
  end
  return (os.clock() - begun) / CALLS * 1e6
end

local function median(numbers)
  table.sort(numbers)
  return numbers[math.ceil(#numbers / 2)]
end

--- Prints the medians of so many turns of each.
local function measure(calls, rounds)
  local taken = { {}, {} }
  for _ = 1, rounds do
    for i, call in ipairs(calls) do
      table.insert(taken[i], turn(call))
    end
  end
  local first, second = median(taken[1]), median(taken[2])
  ngx.print("\nA get in nginx, of 863 bytes on a kept connection:\n\n",
    "| | CPU | × a bare cosocket |\n| --- | --: | --: |\n",
    ("| a bare cosocket, nothing decoded | %.1f µs | 1 |\n"):format(first),
    ("| clerk.machines | %.1f µs | %.2f |\n"):format(second, second / first))
end

---@param port integer of bench/fixture.lua's nginx
---@param id string of its machine
function cosocket.new(port, id)
  local calls = { bare(port, id), ours(port, id) }
  return {
    measure = function(rounds)
      measure(calls, rounds)
    end,
  }
end

return cosocket
