--- The client: its methods, one for each operation, and the loop that drives a call through its
--- attempts. The loop may yield wherever the transport does.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local options = require "clerk.machines.options"
local phases = require "clerk.machines.phases"
local tasks = require "clerk.machines.scheduler"
local pages = require "clerk.machines.pages"

local default = require(phases.is_nginx and "clerk.machines.nginx" or "clerk.machines.libcurl")

---@class clerk.machines.Client
local Client = { __name = "clerk.machines.Client" }
Client.__index = Client

-- ---------------------------------------------------------------- time

--- Monotonic ms. A transport whose `sleep` does not really wait moves this clock all the same.
local function now(client)
  return core.now() + client.slept_ahead
end

--- Whether the whole time was waited: a task may be cancelled meanwhile.
local function sleep(client, ms)
  local until_ms = now(client) + ms
  local is_over = true
  if client.transport.sleep then
    client.transport:sleep(ms)
  else
    is_over = tasks.sleep(ms)
  end
  client.slept_ahead = client.slept_ahead + (is_over and math.max(0, until_ms - now(client)) or 0)
  return is_over
end

-- ---------------------------------------------------------------- one call

--- A run is a call under way: client, operation, settings, call (core's), start, attempts, and
--- of the last attempt verdict and response; keys of all attempts.

--- Tells of an event; `add(event, run, ...)` completes it, when anybody listens.
local function emit(run, event_type, add, ...)
  local on_event = run.client.on_event
  if not on_event then
    return
  end
  local event = {
    type = event_type,
    operation = run.operation.name,
    method = run.operation.method,
    url = run.call:url(),
    attempt = run.attempts,
    elapsed_ms = now(run.client) - run.start,
  }
  if add then
    add(event, run, ...)
  end
  on_event(event)
end

--- Of the last attempt: the status, or the code of its failure.
local function add_outcome(event, run)
  local response = run.response
  event.status = response and response.status
  event.code = run.verdict.code
  event.bytes = response and #(response.body or "")
end

local function add_wait(event, run, wait_ms)
  if run.verdict then
    add_outcome(event, run)
  end
  event.wait_ms = wait_ms
end

local function add_end(event, _, status, code)
  event.status = status
  event.code = code
end

local function error_of(run)
  return errors.of_attempt(run.verdict, run.response, {
    operation = run.operation,
    attempts = run.attempts,
    elapsed_ms = now(run.client) - run.start,
    keys = run.keys,
  })
end

local function raise(run)
  local err = error_of(run)
  emit(run, "end", add_end, err.status, err.code)
  error(err, 0)
end

--- Ends the call without another attempt.
local function give_up(run, code, message)
  local failure = { code = code, message = message, sent = false }
  run.verdict = run.call:receive(nil, failure, now(run.client))
  run.response = nil
  raise(run)
end

local function wait(run, ms)
  emit(run, "wait", add_wait, ms)
  if not sleep(run.client, ms) then
    give_up(run, "cancelled", "the task was cancelled")
  end
end

local function pause_left(client)
  return client.paused_until and client.paused_until - now(client) or 0
end

--- After a 429 nobody uses the client's key for a while.
local function await_pause(run)
  local client = run.client
  local left = pause_left(client)
  while left > 0 do
    if run.call:may_wait(left, now(client)) then
      wait(run, left)
    elseif run.verdict then
      raise(run)
    else
      emit(run, "end", add_end, nil, "timeout")
      error(errors.of_pause(run.operation, left, now(client) - run.start), 0)
    end
    left = pause_left(client)
  end
end

local function refuse_key(run, problem)
  local last = run.verdict
  errors.refuse(problem, run.operation.name, last and run.attempts, last and last.maybe_applied)
end

--- Until the deadline, or nil when there is none.
local function time_left(run)
  return run.settings.deadline_ms and run.call:time_left(now(run.client))
end

local function make_request(run)
  local key = run.client.secret_key()
  if type(key) ~= "string" then
    refuse_key(run, "secret_key must return a string")
  end
  if run.keys[#run.keys] ~= key then
    table.insert(run.keys, key)
  end
  local request, problem = run.call:request(key)
  if not request then
    refuse_key(run, problem)
  end
  local settings = run.settings
  local timeout_ms, left = settings.timeout_ms, time_left(run)
  if left then
    timeout_ms = math.max(1, math.min(timeout_ms, left))
  end
  request.timeout_ms = timeout_ms
  request.connect_timeout_ms = math.min(settings.connect_timeout_ms, timeout_ms)
  request.max_response_bytes = settings.max_response_bytes
  return request
end

--- A function of the user's may have closed the client or used up the deadline meanwhile.
local function send(run, request)
  local client = run.client
  if client.is_closed then
    return nil, { code = "cancelled", message = "the client was closed", sent = false }
  elseif tasks.is_cancelled() then
    return nil, { code = "cancelled", message = "the task was cancelled", sent = false }
  elseif time_left(run) == 0 then
    return nil, { code = "timeout", message = "not sent: the deadline has passed", sent = false }
  end
  return client.transport:send(request)
end

local function pause(client, ms)
  client.paused_until = math.max(client.paused_until or 0, now(client) + ms)
end

local function attempt(run)
  await_pause(run)
  local request = make_request(run)
  run.attempts = run.attempts + 1
  emit(run, "attempt")
  local response, failure = send(run, request)
  run.verdict = run.call:receive(response, failure, now(run.client))
  if run.verdict.pause_ms then
    pause(run.client, run.verdict.pause_ms)
  end
  run.response = run.verdict.type ~= "TransportError" and response or nil
  emit(run, "answer", add_outcome)
end

local function await_slot(run)
  local left = time_left(run)
  local wakes_at = left and core.now() + left
  if tasks.take_slot(run.client.slots, wakes_at, run.settings.timeout_ms) then
    return
  elseif tasks.is_cancelled() then
    give_up(run, "cancelled", "the task was cancelled")
  end
  give_up(run, "timeout", "not sent: the deadline has passed while others were under way")
end

--- In a pause nobody keeps a slot: those who cannot wait so long are told at once.
local function take_slot(run)
  local client = run.client
  await_slot(run)
  while pause_left(client) > 0 do
    tasks.give_slot(client.slots)
    await_pause(run)
    await_slot(run)
  end
end

--- A client has so many transfers under way at once; whatever happens in one, its slot is given
--- back. A call that on_event or secret_key make takes no second one: it could be the last.
local function attempt_in_slot(run)
  local slots = run.client.slots
  if tasks.has_slot(slots) then
    return attempt(run)
  end
  take_slot(run)
  local ok, problem = pcall(attempt, run)
  tasks.give_slot(slots)
  if not ok then
    error(problem, 0)
  end
end

local function finish(run)
  emit(run, "end", add_end, run.response.status)
  return run.verdict.value, {
    status = run.response.status,
    headers = errors.hide_keys(run.response.headers or {}, run.keys),
    attempts = run.attempts,
    elapsed_ms = now(run.client) - run.start,
  }
end

local function drive(run)
  local try = run.client.slots and attempt_in_slot or attempt
  while true do
    try(run)
    local verdict = run.verdict
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
    errors.refuse(("call it with a colon, on a client of this Lua state: client:%s(…)")
      :format(operation_name), operation_name)
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
  if client.check_place then
    client.check_place(operation.name)
  end
  local given = select(layout.count, ...)
  local settings, problem = options.for_call(given, client.settings)
  if not settings then
    errors.refuse(problem, operation.name)
  end
  local params
  if layout.takes_params then
    params = select(layout.path_count + 1, ...)
  end
  local start = now(client)
  local call, unfit = core.call(operation.name, settings.prepared, start, params, ...)
  if not call then
    errors.refuse(unfit, operation.name)
  end
  return drive {
    client = client,
    operation = operation,
    settings = settings,
    call = call,
    attempts = 0,
    start = start,
    keys = {}, -- of the attempts, for they may be replaced in between
    verdict = nil, -- these two, so that the table need not grow
    response = nil,
  }
end

for _, operation in ipairs(core.operations) do
  local layout = layout_of(operation)
  Client[operation.name] = function(self, ...)
    return invoke(self, operation, layout, ...)
  end
end

-- ---------------------------------------------------------------- tasks

local function check_outside(client, method)
  check_client(client, method)
  if tasks.current() then
    errors.refuse(("client:%s cannot be called inside a task"):format(method))
  end
end

--- Runs f(...) as a task: until it would wait, then further with every step. What it raises is
--- raised by task:result(). A task may spawn others.
---@param f function
---@return clerk.machines.Task
function Client:spawn(f, ...)
  check_client(self, "spawn")
  if type(f) ~= "function" then
    errors.refuse(("spawn needs a function, got %s"):format(type(f)))
  end
  return tasks.spawn(self.lane, f, ...)
end

--- Moves what can move, the tasks of other clients too, for about 0.3 ms; before that, while
--- nothing can, waits at most so long.
---@param ms? number default 0
---@return integer count of this client's unfinished tasks
function Client:step(ms)
  check_outside(self, "step")
  ms = ms == nil and 0 or ms
  if type(ms) ~= "number" or ms < 0 or ms ~= ms then
    errors.refuse(("step needs a number of ms from 0, got %s"):format(tostring(ms)))
  end
  tasks.step(math.ceil(math.min(ms, 2 ^ 31 - 1)), self.lane)
  return tasks.count(self.lane)
end

--- Steps until none of this client's tasks is left.
function Client:run()
  check_outside(self, "run")
  tasks.run(self.lane)
end

--- For a host's own event loop: call step(0) when the descriptor is readable, and after so many ms.
--- Ask again after every step, spawn, cancel and close. There is one descriptor for all clients of
--- a Lua state; it stays the same and stays this library's: do not close it.
---@return integer fd of epoll, on Linux; an ArgumentError elsewhere
---@return integer|nil ms nil: no step is due before the descriptor is readable
function Client:pollable()
  check_client(self, "pollable")
  local fd, ms = tasks.pollable()
  if not fd then
    errors.refuse("pollable needs epoll, which this system does not have: call step(0) by a timer")
  end
  return fd, ms
end

-- ---------------------------------------------------------------- pagination

--- Iterates over all machines: for machine in client:each() do … end. Every machine that exists
--- from the first request to the last comes exactly once, in order; by `name`, at most once, and
--- one that is renamed meanwhile may be missed. An error says how far it got: `pages`, `machines`.
---@param params? clerk.machines.PageParams as of list, without `offset`; `limit` defaults to 500
---@param call_options? clerk.machines.CallOptions `deadline_ms` limits the whole pagination
---@return fun(): clerk.machines.Machine?
function Client:each(params, call_options)
  check_client(self, "each")
  return pages.each(self, params, call_options)
end

--- The same, page by page: each has `data`, at least one machine, and the latest `total_count`.
--- After an error the function may be called again and goes on where it was.
---@return fun(): clerk.machines.MachineList?
function Client:pages(params, call_options)
  check_client(self, "pages")
  return pages.pages(self, params, call_options)
end

--- All machines in an array.
---@param call_options? clerk.machines.CollectOptions `concurrency` 1 … 100: requests at once
---@return clerk.machines.Machine[]
function Client:collect(params, call_options)
  check_client(self, "collect")
  return pages.collect(self, params, call_options)
end

-- ---------------------------------------------------------------- life

local function close_transport(client)
  client.is_closed = true
  if client.transport.close then
    client.transport:close()
  end
end

--- Cancels the client's tasks and closes its connections. Any use of the client after that is an
--- ArgumentError, but for this.
function Client:close()
  if getmetatable(self) ~= Client then
    errors.refuse("call it with a colon, on a client of this Lua state: client:close()")
  elseif self.is_closed then
    return
  end
  self.is_closed = true
  local ok, problem = pcall(tasks.cancel_all, self.lane)
  if not ok then -- for want of memory, or by a signal: it can be called again
    self.is_closed = false
    error(problem, 0)
  end
  close_transport(self)
end

--- A collected client's tasks are collected with it, and not resumed once more.
local function finalize(client)
  if not client.is_closed then
    close_transport(client)
  end
end

Client.__gc = finalize
Client.__close = Client.close

function Client:__tostring()
  return ("%s (%s)"):format(Client.__name, self.settings.base_url)
end

--- LuaJIT finalizes no tables: a userdata of the client's does it there.
local function add_finalizer(client)
  if newproxy then
    client.finalizer = newproxy(true)
    getmetatable(client.finalizer).__gc = function()
      pcall(finalize, client) -- as on 5.4, an error reaches nobody
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
    transport = settings.transport or accept(default.new(settings)),
    check_place = not settings.transport and phases.is_nginx and phases.check_call or nil,
    slots = not settings.transport and tasks.new_slots(settings.max_connections) or nil,
    is_closed = false,
    slept_ahead = 0,
  }
  add_finalizer(self)
  self.lane = tasks.new_lane(self.finalizer or self)
  return setmetatable(self, Client)
end

return client
