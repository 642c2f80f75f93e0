--- The client: its methods, one for each operation, and the loop that drives a call through its
--- attempts. The loop may yield wherever the transport does.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local libcurl = require "clerk.machines.libcurl"
local options = require "clerk.machines.options"

---@class clerk.machines.Client
local Client = { __name = "clerk.machines.Client" }
Client.__index = Client

-- ---------------------------------------------------------------- time

--- Monotonic ms. A transport whose `sleep` does not really wait moves this clock all the same.
local function now(client)
  return core.now() + client.slept_ahead
end

local function block(client, ms)
  local until_ms = now(client) + ms
  repeat
    core.sleep(until_ms - now(client))
  until now(client) >= until_ms
end

local function sleep(client, ms)
  local until_ms = now(client) + ms
  if client.transport.sleep then
    client.transport:sleep(ms)
  else
    block(client, ms)
  end
  client.slept_ahead = client.slept_ahead + math.max(0, until_ms - now(client))
end

-- ---------------------------------------------------------------- one call

--- A run is a call under way: client, operation, settings, call (core's), url, start, attempts, and
--- of the last attempt key, verdict and response.

local function emit(run, event_type, details)
  local on_event = run.client.on_event
  if not on_event then
    return
  end
  local event = details or {}
  event.type = event_type
  event.operation = run.operation.name
  event.method = run.operation.method
  event.url = run.url
  event.attempt = run.attempts
  event.elapsed_ms = now(run.client) - run.start
  on_event(event)
end

--- What an event tells of the last attempt: the status, or the code of its failure.
local function outcome_of(run)
  local response = run.response
  return {
    status = response and response.status,
    code = run.verdict.code,
    bytes = response and #(response.body or ""),
  }
end

local function error_of(run)
  return errors.of_attempt(run.verdict, run.response, {
    operation = run.operation,
    attempts = run.attempts,
    elapsed_ms = now(run.client) - run.start,
    key = run.key,
  })
end

local function raise(run)
  local err = error_of(run)
  emit(run, "end", { status = err.status, code = err.code })
  error(err, 0)
end

local function wait(run, ms)
  local details = run.verdict and outcome_of(run) or {}
  details.wait_ms = ms
  emit(run, "wait", details)
  sleep(run.client, ms)
end

--- After a 429 nobody uses the client's key for a while.
local function await_pause(run)
  local client = run.client
  local left = client.paused_until - now(client)
  while left > 0 do
    if run.call:may_wait(left, now(client)) then
      wait(run, left)
    elseif run.verdict then
      raise(run)
    else
      emit(run, "end", { code = "timeout" })
      error(errors.of_pause(run.operation, left, now(client) - run.start), 0)
    end
    left = client.paused_until - now(client)
  end
end

local function refuse_key(run, problem)
  local last = run.verdict
  errors.refuse(problem, run.operation.name, last and run.attempts, last and last.maybe_applied)
end

local function make_request(run)
  run.key = run.client.secret_key()
  if type(run.key) ~= "string" then
    refuse_key(run, "secret_key must return a string")
  end
  local request, problem = run.call:request(run.key)
  if not request then
    refuse_key(run, problem)
  end
  local settings = run.settings
  local left = run.call:time_left(now(run.client)) or settings.timeout_ms
  request.timeout_ms = math.max(1, math.min(settings.timeout_ms, left))
  request.connect_timeout_ms = math.min(settings.connect_timeout_ms, request.timeout_ms)
  request.max_response_bytes = settings.max_response_bytes
  return request
end

--- A function of the user's may have closed the client or used up the deadline meanwhile.
local function send(run, request)
  local client = run.client
  if client.is_closed then
    return nil, { code = "cancelled", message = "the client was closed", sent = false }
  elseif run.call:time_left(now(client)) == 0 then
    return nil, { code = "timeout", message = "not sent: the deadline has passed", sent = false }
  end
  return client.transport:send(request)
end

local function pause(client, ms)
  client.paused_until = math.max(client.paused_until, now(client) + ms)
end

local function attempt(run)
  local request = make_request(run)
  run.attempts = run.attempts + 1
  emit(run, "attempt")
  local response, failure = send(run, request)
  run.verdict = run.call:receive(response, failure, now(run.client), core.random())
  pause(run.client, run.verdict.pause_ms or 0)
  run.response = run.verdict.type ~= "TransportError" and response or nil
  emit(run, "answer", outcome_of(run))
  return run.verdict
end

local function finish(run)
  emit(run, "end", { status = run.response.status })
  return run.verdict.value, {
    status = run.response.status,
    headers = run.response.headers or {},
    attempts = run.attempts,
    elapsed_ms = now(run.client) - run.start,
  }
end

local function drive(run)
  run.call:start(run.start)
  while true do
    await_pause(run)
    local verdict = attempt(run)
    if verdict.outcome == "done" then
      return finish(run)
    end
    if verdict.outcome == "failed" then
      raise(run)
    end
    if not verdict.pause_ms then
      wait(run, verdict.wait_ms)
    end
  end
end

-- ---------------------------------------------------------------- arguments

local function check_client(client, operation_name)
  if getmetatable(client) ~= Client then
    errors.refuse(("call it with a colon: client:%s(…)"):format(operation_name), operation_name)
  end
  if client.is_closed then
    errors.refuse("the client is closed", operation_name)
  end
end

--- How many path parameters an operation has, and whether it has others.
local function layout_of(operation)
  local layout = { path_count = 0, takes_params = false }
  for _, parameter in ipairs(operation.parameters) do
    if parameter.place == "path" then
      layout.path_count = layout.path_count + 1
    else
      layout.takes_params = true
    end
  end
  layout.count = layout.path_count + (layout.takes_params and 2 or 1)
  return layout
end

local function invoke(client, operation, layout, ...)
  check_client(client, operation.name)
  if select("#", ...) > layout.count then
    errors.refuse(("%s takes %d arguments, got %d")
      :format(operation.name, layout.count, select("#", ...)), operation.name)
  end
  local arguments = { ... }
  local settings, problem = options.for_call(arguments[layout.count], client.settings)
  if not settings then
    errors.refuse(problem, operation.name)
  end
  local params
  if layout.takes_params then
    params = arguments[layout.path_count + 1]
  end
  local call, unfit = core.call(operation.name, settings, params, ...) -- path parameters are first
  if not call then
    errors.refuse(unfit, operation.name)
  end
  return drive {
    client = client,
    operation = operation,
    settings = settings,
    call = call,
    url = call:url(),
    attempts = 0,
    start = now(client),
  }
end

for _, operation in ipairs(core.operations) do
  local layout = layout_of(operation)
  Client[operation.name] = function(self, ...)
    return invoke(self, operation, layout, ...)
  end
end

-- ---------------------------------------------------------------- life

--- Closes the connections. Any use of the client after that is an ArgumentError, but for this.
function Client:close()
  if getmetatable(self) ~= Client then
    errors.refuse("call it with a colon: client:close()")
  elseif self.is_closed then
    return
  end
  self.is_closed = true
  if self.transport.close then
    self.transport:close()
  end
end

Client.__gc = Client.close
Client.__close = Client.close

function Client:__tostring()
  return ("%s (%s)"):format(Client.__name, self.settings.base_url)
end

--- LuaJIT finalizes no tables: a userdata of the client's does it there.
local function add_finalizer(client)
  if newproxy then
    client.finalizer = newproxy(true)
    getmetatable(client.finalizer).__gc = function()
      pcall(client.close, client) -- as on 5.4, an error reaches nobody
    end
  end
end

local client = {}

client.Client = Client

local function accept(value, problem)
  return value or errors.refuse(problem)
end

--- Makes a client; raises an ArgumentError.
---@param given? clerk.machines.Options
---@return clerk.machines.Client
function client.new(given)
  local settings = accept(options.for_client(given))
  local self = {
    settings = settings,
    secret_key = settings.secret_key,
    on_event = settings.on_event,
    transport = settings.transport or accept(libcurl.new(settings)),
    is_closed = false,
    paused_until = 0,
    slept_ahead = 0,
  }
  add_finalizer(self)
  return setmetatable(self, Client)
end

return client
