--- Workers as processes that take turns: see workers/worker.lua for what is said to them.

local monotime = require("cqueues").monotime

local TURN_SECONDS = tonumber(os.getenv "BENCH_TURN_SECONDS")

local turns = {
  directory = nil, -- where the pipes go
}

local Worker = {}
Worker.__index = Worker

local function assignments(environment)
  local words = {}
  for name, value in pairs(environment) do
    table.insert(words, ("BENCH_%s='%s'"):format(name, value))
  end
  return table.concat(words, " ")
end

local started = 0

--- Starts a client's worker. It is executed once both pipes are open, which is when time begins.
function turns.start(client, environment)
  started = started + 1
  local pipe = ("%s/pipe%d"):format(turns.directory, started)
  assert(os.execute(("mkfifo %s.in %s.out"):format(pipe, pipe)))
  assert(os.execute(("%s %s <%s.in >%s.out &")
    :format(assignments(environment), client.command, pipe, pipe)))
  local worker = setmetatable({ client = client, cpu = 0, peak = 0 }, Worker)
  worker.input = assert(io.open(pipe .. ".in", "w"))
  worker.since = monotime()
  worker.output = assert(io.open(pipe .. ".out", "r"))
  assert(os.remove(pipe .. ".in") and os.remove(pipe .. ".out"))
  return worker
end

--- Lets it do so many calls; returns what each took.
---@return { wall: number, cpu: number, peak: integer } seconds, seconds, KB so far
function Worker:turn(calls)
  local since = self.since or monotime()
  self.since = nil
  self.input:write(calls, "\n")
  self.input:flush()
  local cpu, peak = self.output:read("n", "n")
  if not peak then
    io.stderr:write(self.client.name, " failed\n")
    os.exit(1)
  end
  local wall, cpu_before = monotime() - since, self.cpu
  self.cpu = cpu
  return { wall = wall / calls, cpu = (cpu - cpu_before) / calls, peak = peak }
end

--- How many calls fill a turn. To find out takes three turns, which also warm up.
function Worker:calls_of_a_turn()
  local calls, start = 1, monotime()
  repeat
    local took = self:turn(calls).wall * calls
    calls = math.max(1, math.floor(calls * math.min(8, TURN_SECONDS / took)))
  until monotime() - start > 3 * TURN_SECONDS
  return calls
end

function Worker:stop()
  self.input:close()
  self.output:read("a")
  self.output:close()
end

return turns
