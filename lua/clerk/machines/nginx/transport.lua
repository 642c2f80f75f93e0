--- The default transport inside nginx. The phase decides: cosockets where nginx serves other
--- requests meanwhile, libcurl before it serves any.

local core = require "clerk.machines.core"
local cosocket = require "clerk.machines.nginx.cosocket"
local libcurl = require "clerk.machines.loop.transport"
local phases = require "clerk.machines.nginx.phases"
local threads = require "clerk.machines.nginx.threads"

local Nginx = {}
Nginx.__index = Nginx

local function close(transport, ...)
  transport:close()
  return ...
end

--- Keeps no connection: init runs in the process from which the workers are forked.
local function over_libcurl(self, method, ...)
  local transport, problem = libcurl.new(self)
  if not transport then
    error(problem, 0)
  end
  return close(transport, transport[method](transport, ...))
end

--- Does the I/O in a thread of its own, so that a cancelled task need not wait for it.
local function run_in_task(exchange, limit_ms)
  local outcome, response, failure = threads.within(limit_ms, exchange.run, exchange)
  if outcome == "done" then
    return response, failure
  end
  exchange:close()
  local message = outcome == "cancelled" and "the task was cancelled"
    or "no response within the time allowed"
  return nil, { code = outcome, message = message, sent = exchange.sent }
end

--- Its destination is remembered; the keys of a verifier may be at another one.
local function exchange(self, bytes, url, timeout_ms, connect_timeout_ms, max_response_bytes)
  local destination = self.destination
  if not destination or url:sub(1, #destination.origin) ~= destination.origin then
    destination = cosocket.destination(url, self.max_connections)
    self.destination = destination
  end
  local one = cosocket.new(destination, bytes, timeout_ms, connect_timeout_ms, max_response_bytes)
  if not threads.current() then
    return one:run()
  end
  return run_in_task(one, timeout_ms)
end

--- What the general path takes of a response.
local function general(response, failure)
  if not response then
    return nil, failure
  end
  return {
    status = response.status,
    headers = core.http_headers(response.fields),
    body = response.body,
  }
end

---@param request clerk.machines.Request
---@return clerk.machines.Response|nil
---@return clerk.machines.Failure|nil
function Nginx:send(request)
  if phases.may_block() then
    return over_libcurl(self, "send", request)
  end
  return general(exchange(self, core.http_request(request), request.url, request.timeout_ms,
    request.connect_timeout_ms, request.max_response_bytes))
end

--- The fast path: see clerk.machines.loop.transport.
function Nginx:attempt(call, key)
  if phases.may_block() then
    return over_libcurl(self, "attempt", call, key, false)
  end
  local response, failure = exchange(self, core.http_call(call, key))
  if response then
    local result, meta = core.success(call, key, response.status, response.fields, response.body)
    if result then
      return result, meta
    end
  end
  return nil, general(response, failure)
end

local nginx = {}

---@param options { max_connections: integer }
---@return clerk.machines.Transport
function nginx.new(options)
  return setmetatable({ max_connections = options.max_connections }, Nginx)
end

return nginx
