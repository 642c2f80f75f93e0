--- What is asked of the API, and of sources of keys: within limits of its own, and independent of
--- the client's other calls.

local clients = require "clerk.machines.client"
local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local runtime = require "clerk.machines.runtime"
local settings = require "clerk.machines.settings"

local lookups = {}

---@class clerk.machines.tokens.Lookups: clerk.machines.tokens.Host
local Lookups = {}
Lookups.__index = Lookups

local SECOND_MS = 1000

--- A kept connection may turn out to be closed: that is tried once more. A status is an answer.
--- Nothing is left out, so that the client's own retries add nothing.
local RETRIES = {
  strategy = "backoff",
  retry_connection_errors = true,
  repeat_unsafe = false,
  status_codes = {},
  backoff = { initial_interval = 50, max_interval = 50, exponent = 1, max_elapsed_time = 150 },
}

--- With a transport of the caller's own, outside tasks, what waits for its turn would hold up the
--- very loop that moves the others: there is no limit then.
local function views_of(client, max_in_flight)
  return { limited = clients.aside(client, max_in_flight),
    unlimited = clients.aside(client) }
end

---@param client clerk.machines.Client? without it, only `get` works, over the default transport
---@param limits { max_in_flight: integer, max_per_second: integer }
---@param clock fun(): number ms
---@return clerk.machines.tokens.Lookups
function lookups.new(client, limits, clock)
  local self = setmetatable({
    operation = "verify",
    client = client,
    views = client and views_of(client, limits.max_in_flight),
    clock = clock,
    is_ours = not (client and client.settings.transport),
    transport = client and client.transport,
    user_agent = client and client.settings.user_agent or settings.user_agent(),
    max_per_second = limits.max_per_second,
    times = {}, -- of the last `max_per_second` lookups, each in its place
    count = 0,
  }, Lookups)
  self.transport = self.transport or assert(runtime.new_transport { max_connections = 1 })
  self.group = client and client.group or runtime.new_group(self)
  return self
end

local function time_left(ends_at)
  return math.max(1, math.floor(ends_at - core.now()))
end

-- ---------------------------------------------------------------- the API

--- Takes one of the places that there are in any second.
local function check_rate(self, operation)
  local now, place = self.clock(), self.count % self.max_per_second + 1
  local earlier = self.times[place]
  if earlier and now - earlier < SECOND_MS then
    local err = errors.of("TransportError", "rate_limited", ("not asked: max_per_second (%d) "
      .. "lookups have begun within a second"):format(self.max_per_second), operation)
    err.retry_after = 1
    error(err, 0)
  end
  self.times[place], self.count = now, self.count + 1
end

--- Only a 200 says that a token is good: a 202, or a proxy's 203, is not the API's whole answer.
local function check_status(status, who, operation)
  if status ~= 200 then
    local err = errors.of("SDKError", "unexpected_status", ("%s answered %d"):format(who, status),
      operation)
    err.status = status
    error(err, 0)
  end
end

--- Calls an operation of the client. The call ends in time, and takes no part in the pause of the
--- client's other calls after a 429.
---@param ends_at number core.now's
---@param operation string
---@param argument string|table
---@return table result
function Lookups:ask(ends_at, operation, argument)
  check_rate(self, operation)
  local view = runtime.can_detach(self.is_ours) and self.views.limited or self.views.unlimited
  local result, info = clients.call(view, operation, argument, {
    deadline_ms = time_left(ends_at),
    retries = RETRIES,
  })
  check_status(info.status, "the API", operation)
  return result
end

-- ---------------------------------------------------------------- key sets

--- What a transport says may hold the key that it was given.
local function raise_failure(url, code, message, headers)
  local key = (headers.authorization or ""):match "^Bearer (.*)$"
  message = ("no answer from the JWKS at %s: %s"):format(url, message)
  error(errors.of("TransportError", code, errors.without(message, { key })), 0)
end

local function request_of(self, url, headers, max_bytes, left_ms)
  local request = {
    method = "GET",
    url = url,
    headers = { accept = "application/json", ["user-agent"] = self.user_agent },
    timeout_ms = left_ms,
    connect_timeout_ms = left_ms,
    max_response_bytes = max_bytes,
  }
  for name, value in pairs(headers) do
    request.headers[name] = value
  end
  return request
end

--- The status and the body. Only our own transports refuse a request.
local function send(self, request, headers)
  local response, failure = self.transport:send(request)
  if self.is_ours and failure and failure.code == "invalid_argument" then
    errors.refuse(failure.message, self.operation)
  end
  local status, body, message = core.read_answer(response, failure)
  if not status then
    raise_failure(request.url, body, message, headers)
  end
  return status, body
end

--- Gets what a URL has.
---@param ends_at number core.now's
---@param url string
---@param headers table<string, string> in addition
---@param max_bytes integer
---@return string body
function Lookups:get(ends_at, url, headers, max_bytes)
  if self.client and self.client.is_closed then
    error(errors.of("TransportError", "cancelled", "the client was closed"), 0)
  end
  local status, body = send(self, request_of(self, url, headers, max_bytes, time_left(ends_at)),
    headers)
  check_status(status, "the JWKS at " .. url)
  return body
end

return lookups
