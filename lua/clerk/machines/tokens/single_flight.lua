--- One run of a function, however many ask for its result at the same time. The run is a task of
--- its own, in nginx a timer: it goes on when those that asked for it have gone.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local runtime = require "clerk.machines.runtime"
local tasks = require "clerk.machines.task"

local single_flight = {}

---@class clerk.machines.tokens.SingleFlight
local SingleFlight = {}
SingleFlight.__index = SingleFlight

--- What waits for a run does so a little longer than the run may take.
local GRACE_MS = 100

function single_flight.new()
  return setmetatable({ unfinished = {} }, SingleFlight)
end

local function finish(self, name, flight, ok, result)
  flight.is_over, flight.ok, flight.result = true, ok, result
  if self.unfinished[name] == flight then
    self.unfinished[name] = nil
  end
  for _, waiter in ipairs(flight.waiters) do
    runtime.wake(waiter)
  end
end

local function run(self, name, flight, f, ...)
  finish(self, name, flight, pcall(f, ...))
end

local function start(self, host, name, ends_at, f, ...)
  local flight = { ends_at = ends_at + GRACE_MS, waiters = {}, is_over = false }
  self.unfinished[name] = flight
  local problem = tasks.detach(host.group, run, self, name, flight, f, ...)
  if problem then
    finish(self, name, flight, false, errors.of("TransportError", "no_resources", problem))
  end
  return flight
end

local function await(flight)
  while not flight.is_over and core.now() < flight.ends_at and not runtime.is_cancelled() do
    local waiter = runtime.new_waiter()
    table.insert(flight.waiters, waiter)
    runtime.wait(waiter, flight.ends_at)
  end
end

--- Each that asked has a copy, which is its own to change.
local function outcome(flight)
  if flight.is_over then
    return flight.ok, core.copy(flight.result)
  elseif runtime.is_cancelled() then
    return false, errors.of_cancelled()
  end
  return false, errors.of("TransportError", "timeout", "no answer within the time allowed")
end

--- The run of that name, if there is one and its time is not over: nginx drops timers when it has
--- too many.
function SingleFlight:find(name)
  local flight = self.unfinished[name]
  return flight and core.now() < flight.ends_at and flight or nil
end

---@class clerk.machines.tokens.Host what a run needs to know
---@field operation string what the caller calls, for errors
---@field group table the runtime's, whose task the run is
---@field transport clerk.machines.Transport
---@field is_ours boolean whether the transport is the runtime's own

--- Runs f(...), unless it is being run, and waits for the end. Raises an ArgumentError where that
--- cannot be waited for.
---@param host clerk.machines.tokens.Host
---@param name string what is the same for all that may share a result
---@param ends_at number core.now's, when f must have ended
---@return boolean ok
---@return any result of f, or what it raised
function SingleFlight:run(host, name, ends_at, f, ...)
  if runtime.check_call and not host.transport.sleep then
    runtime.check_call(host.operation)
  end
  if not runtime.can_detach(host.is_ours) then
    return pcall(f, ...)
  end
  local flight = self:find(name) or start(self, host, name, ends_at, f, ...)
  await(flight)
  return outcome(flight)
end

return single_flight
