--- Workers as processes that take turns: see workers/worker.lua for what is said to them.

local monotime = require("cqueues").monotime

local TURN_SECONDS = tonumber(os.getenv "BENCH_TURN_SECONDS")

local turns = {
  directory = nil, -- where the pipes go
}

local Worker = {}
Worker.__index = Worker

local started = 0

--- Starts a worker. It is executed once both pipes are open, which is when time begins.
function turns.start(name, command)
  started = started + 1
  local pipe = ("%s/pipe%d"):format(turns.directory, started)
  assert(os.execute(("mkfifo %s.in %s.out"):format(pipe, pipe)))
  assert(os.execute(("%s <%s.in >%s.out &"):format(command, pipe, pipe)))
  local worker = setmetatable({ name = name, cpu = 0 }, Worker)
  worker.input = assert(io.open(pipe .. ".in", "w"))
  worker.since = monotime()
  worker.output = assert(io.open(pipe .. ".out", "r"))
  assert(os.remove(pipe .. ".in") and os.remove(pipe .. ".out"))
  return worker
end

local function numbers_of(line)
  local numbers = {}
  for number in (line or ""):gmatch("%S+") do
    table.insert(numbers, tonumber(number))
  end
  return numbers
end

--- Lets it do so many calls; returns what each took, and the single laps that were timed.
---@return { wall: number, cpu: number, peak: integer, laps: number[] } seconds, KB so far
function Worker:turn(calls)
  local since = self.since or monotime()
  self.since = nil
  self.input:write(calls, "\n")
  self.input:flush()
  local laps = numbers_of(self.output:read("l"))
  local peak, cpu = table.remove(laps), table.remove(laps)
  if not cpu then
    io.stderr:write(self.name, " failed\n")
    os.exit(1)
  end
  local wall, cpu_before = monotime() - since, self.cpu
  self.cpu = cpu
  return { wall = wall / calls, cpu = (cpu - cpu_before) / calls, peak = peak, laps = laps }
end

--- How many calls fill a turn of so many usual ones, a multiple of so many. To find out takes three
--- turns, which also warm up.
function Worker:calls_of_a_turn(length, multiple)
  local seconds = TURN_SECONDS * length
  local calls, start = multiple, monotime()
  repeat
    local took = self:turn(calls).wall * calls
    local fitting = calls * math.min(8, seconds / took)
    calls = math.max(1, math.floor(fitting / multiple + 0.5)) * multiple
  until monotime() - start > 3 * seconds
  return calls
end

function Worker:stop()
  self.input:close()
  self.output:read("a")
  self.output:close()
end

return turns
