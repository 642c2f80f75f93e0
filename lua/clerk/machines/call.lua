--- One call through its attempts. It may yield wherever the transport does.
---
--- A call counts towards the client's connection limit only while the transport sends: not while it
--- waits, and not while a function of the user's runs.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local runtime = require "clerk.machines.runtime"
local schema = require "clerk.machines.schema"
local tasks = require "clerk.machines.task"

local call = {}

--- What calls need of their client.
---@class clerk.machines.CallingClient
---@field transport clerk.machines.Transport
---@field secret_key fun(): string
---@field connection_limit table? of the runtime; a transport of the caller's has none
---@field paused_until integer after a 429: a time of call.now; 0: not paused
---@field is_closed boolean

--- Calls that paused after a 429 start again within this time, and not all at once.
local SPREAD_MS = 1000

-- ---------------------------------------------------------------- time

local function check_ms(ms)
  if type(ms) ~= "number" or not (ms >= 0 and ms <= 1e15) then
    errors.refuse("transport:now must return milliseconds, from 0 to 10^15")
  end
  return math.floor(ms)
end

--- The client's time in ms, by the transport's clock if it has one.
function call.now(client)
  local transport = client.transport
  return transport.now and check_ms(transport:now()) or core.now()
end

--- The time of a call. A wait has taken its time, also where a transport's clock says otherwise.
local function now(run)
  return math.max(call.now(run.client), run.earliest)
end

--- Returns whether the whole time has passed: the task may be cancelled before.
local function sleep(run, ms)
  local wakes_at = now(run) + ms
  local transport = run.client.transport
  if transport.sleep then
    transport:sleep(ms)
  elseif not runtime.sleep(ms) then
    return false
  end
  run.earliest = wakes_at
  return true
end

-- ---------------------------------------------------------------- events

--- The number of the client's next call, or of its next pagination.
---@param client table
---@return integer
function call.next_number(client)
  client.call_count = client.call_count + 1
  return client.call_count
end

--- A run is a call in progress: client, number, operation, settings, call (core's), start,
--- attempts, the name of the option that has its key, the secrets that it must not show, and the
--- last attempt's key, verdict and response.

--- Reports an event; `add(event, run, ...)` completes it.
local function emit(run, event_type, add, ...)
  local on_event = run.settings.on_event
  if not on_event then
    return
  end
  local event = {
    type = event_type,
    call = run.number,
    operation = run.operation.name,
    method = run.operation.method,
    url = run.call:url(),
    attempt = run.attempts,
    elapsed_ms = now(run) - run.start,
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

--- An attempt counts once the transport has sent it.
local function add_number(event, run)
  event.attempt = run.attempts + 1
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

-- ---------------------------------------------------------------- ends

local function raise_error(run, err)
  emit(run, "end", add_end, err.status, err.code)
  tasks.note_error(err)
  error(err, 0)
end

local function raise(run)
  raise_error(run, errors.of_attempt(run.verdict, run.response, {
    operation = run.operation,
    attempts = run.attempts,
    elapsed_ms = now(run) - run.start,
    secrets = run.secrets,
    key = run.key,
    key_name = run.key_name,
  }))
end

--- Ends the call without another attempt.
local function give_up(run, code, message)
  local failure = { code = code, message = message, sent = false }
  run.verdict = run.call:receive(nil, failure, now(run))
  run.response = nil
  raise(run)
end

--- Ends the call with an ArgumentError, before the next attempt is sent.
local function refuse(run, problem)
  local last = run.verdict
  raise_error(run, errors.of_argument(problem, run.operation.name, last and run.attempts,
    last and last.maybe_applied))
end

--- The members of results that are secrets.
local SECRETS = { "secret_key", "secret", "token" }

--- The result. A token that the caller gave is hidden in it, and what it holds instead is hidden
--- elsewhere.
local function result_of(run)
  local value = run.verdict.value
  if run.token then
    return errors.without(value, run.secrets)
  end
  for _, name in ipairs(run.operation.returns_secret and SECRETS or {}) do
    table.insert(run.secrets, type(value[name]) == "string" and value[name] or nil)
  end
  return value
end

local function finish(run)
  emit(run, "end", add_end, run.response.status)
  return result_of(run), {
    status = run.response.status,
    headers = errors.without(run.response.headers or {}, run.secrets),
    attempts = run.attempts,
    elapsed_ms = now(run) - run.start,
  }
end

-- ---------------------------------------------------------------- waits

local function wait(run, ms)
  emit(run, "wait", add_wait, ms)
  if not sleep(run, ms) then
    give_up(run, "cancelled", "the task was cancelled")
  end
end

--- Until the deadline, or nil when there is none.
local function time_left(run)
  return run.settings.deadline_ms and run.call:time_left(now(run))
end

--- After a 429 the client's other calls pause, except those that do not retry.
local function pause_left(run)
  return run.settings.retries.strategy == "none" and 0 or run.client.paused_until - now(run)
end

local function await_pause(run)
  local left = pause_left(run)
  while left > 0 do
    local wait_ms = left + math.floor(core.random() * SPREAD_MS)
    if run.call:may_wait(wait_ms, now(run)) then
      wait(run, wait_ms)
    elseif run.verdict then
      raise(run)
    else
      raise_error(run, errors.of_pause(run.operation, left, now(run) - run.start))
    end
    left = pause_left(run)
  end
end

--- A call outside a task holds up its host, so it waits for a connection no longer than for a
--- response.
local function take_connection(run)
  local limit_ms = time_left(run)
  if not runtime.current() then
    limit_ms = math.min(limit_ms or math.huge, run.settings.timeout_ms)
  end
  local wakes_at = limit_ms and core.now() + limit_ms
  local connection = run.client.connection_limit:take(wakes_at, run.settings.timeout_ms)
  if connection then
    return connection
  elseif runtime.is_cancelled() then
    give_up(run, "cancelled", "the task was cancelled")
  end
  give_up(run, "timeout", ("not sent: %s while all connections of the client were busy"):format(
    time_left(run) == 0 and "the deadline has passed" or "timeout_ms has passed"))
end

-- ---------------------------------------------------------------- one attempt

local function make_request(run)
  local key = run.client.settings[run.key_name]()
  if type(key) ~= "string" then
    refuse(run, run.key_name .. " must return a string")
  end
  if run.key ~= key then -- a function may return a different one each time
    table.insert(run.secrets, key)
    run.key = key
  end
  local request, problem = run.call:request(run.key_name, key)
  if not request then
    refuse(run, problem)
  end
  return request
end

local function limit(run, request)
  local settings = run.settings
  local timeout_ms, left = settings.timeout_ms, time_left(run)
  if left then
    timeout_ms = math.max(1, math.min(timeout_ms, left))
  end
  request.timeout_ms = timeout_ms
  request.connect_timeout_ms = math.min(settings.connect_timeout_ms, timeout_ms)
  request.max_response_bytes = settings.max_response_bytes
end

--- Why the call must end instead of being sent, as a code and a message: while it waited, or in a
--- function of the user's, the client may have been closed, the task cancelled, or the deadline may
--- have passed.
local function reason_to_end(run)
  if run.client.is_closed then
    return "cancelled", "the client was closed"
  elseif runtime.is_cancelled() then
    return "cancelled", "the task was cancelled"
  elseif time_left(run) == 0 then
    return "timeout", "not sent: the deadline has passed"
  end
end

--- Returns whether it has sent. If so, what came of it; otherwise why the call must end, or nothing
--- when a pause has begun, which it may while the call waits for a connection.
local function send_if_possible(run, request)
  local code, message = reason_to_end(run)
  if code or pause_left(run) > 0 then
    return false, code, message
  end
  limit(run, request)
  return true, run.client.transport:send(request)
end

local function give_connection(client, connection, ok, ...)
  client.connection_limit:give(connection)
  if not ok then
    error((...), 0)
  end
  return ...
end

--- Between take and give everything is protected: it may run out of memory.
local function send_on_connection(run, request)
  if not run.client.connection_limit then -- the transport is the user's
    return send_if_possible(run, request)
  end
  local connection = take_connection(run)
  return give_connection(run.client, connection, pcall(send_if_possible, run, request))
end

local function send(run, request)
  local has_sent, first, second = send_on_connection(run, request)
  if has_sent then
    return first, second -- response, failure
  elseif first then
    give_up(run, first, second)
  end
  await_pause(run)
  return send(run, request)
end

--- Only our own transports refuse a request.
local function check_refusal(run, failure)
  local is_ours = not run.client.settings.transport
  if is_ours and failure and failure.code == "invalid_argument" then
    refuse(run, failure.message)
  end
end

local function pause_others(run, ms)
  run.client.paused_until = math.max(run.client.paused_until, now(run) + ms)
end

--- Takes what came of an attempt.
local function judge(run, response, failure)
  check_refusal(run, failure)
  run.attempts = run.attempts + 1
  run.verdict = run.call:receive(response, failure, now(run))
  if run.verdict.pause_ms then
    pause_others(run, run.verdict.pause_ms)
  end
  run.response = run.verdict.type ~= "TransportError" and response or nil
  emit(run, "answer", add_outcome)
end

local function attempt(run)
  await_pause(run)
  local request = make_request(run)
  emit(run, "attempt", add_number)
  judge(run, send(run, request))
end

-- ---------------------------------------------------------------- the fast path
-- Most calls are sent at once, succeed, and report nothing but their result. These need no run, no
-- request and no response as tables.

--- The key of a call that can be sent at once, by a transport of our own, with none of the caller's
--- code running, and without more secrets than that key. Otherwise nil.
local function key_of_fast(client, operation, start, settings, key_name, token)
  local can_be_fast = settings.is_fast and client.transport.attempt
    and not (token or operation.returns_secret)
    and client.paused_until <= start
  return can_be_fast and schema.fixed_key(client.settings[key_name]) or nil
end

--- Returns the result and meta; or nil, and the response or failure that the general path goes on
--- from; or nothing if it would have to wait for a connection.
local function attempt_fast(client, prepared, key, timeout_ms)
  local transport, connections = client.transport, client.connection_limit
  if runtime.is_alone() then -- no other call needs a connection
    return transport:attempt(prepared, key, true)
  elseif connections.free > 0 and not runtime.is_cancelled() then
    return give_connection(client, connections:take(nil, timeout_ms),
      pcall(transport.attempt, transport, prepared, key, false))
  end
end

-- ---------------------------------------------------------------- all attempts

--- Goes on after the first attempt.
local function repeat_until_end(run)
  while run.verdict.outcome ~= "done" do
    if run.verdict.outcome == "failed" then
      raise(run)
    end
    wait(run, run.verdict.wait_ms)
    attempt(run)
  end
  return finish(run)
end

local function new_run(client, operation, start, settings, prepared, key_name, token)
  return {
    client = client,
    number = call.next_number(client),
    operation = operation,
    settings = settings,
    call = prepared,
    key_name = key_name,
    token = token,
    attempts = 0,
    start = start,
    earliest = start,
    secrets = { token },
    key = nil, -- these three, so that the table need not grow
    verdict = nil,
    response = nil,
  }
end

--- Runs a call to its end.
---@param client clerk.machines.CallingClient
---@param operation table of core.operations
---@param start integer ms, when the call began
---@param settings table of the call
---@param prepared userdata core's call: checked, and its request built
---@param key_name string the option of the client that has the key
---@param token string? that the caller gave
---@return table result
---@return table meta
function call.run(client, operation, start, settings, prepared, key_name, token)
  local key = key_of_fast(client, operation, start, settings, key_name, token)
  local value, response, failure
  if key then
    value, response, failure = attempt_fast(client, prepared, key, settings.timeout_ms)
    if value then
      return value, response -- meta
    end
  end
  local run = new_run(client, operation, start, settings, prepared, key_name, token)
  if response or failure then
    run.key, run.secrets[1] = key, key
    judge(run, response, failure)
  else
    attempt(run)
  end
  return repeat_until_end(run)
end

return call
