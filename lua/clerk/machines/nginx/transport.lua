--- The default transport inside nginx. The phase decides: cosockets where nginx serves other
--- requests meanwhile, libcurl before it serves any.

local cosocket = require "clerk.machines.nginx.cosocket"
local libcurl = require "clerk.machines.loop.transport"
local phases = require "clerk.machines.nginx.phases"
local threads = require "clerk.machines.nginx.threads"

local Nginx = {}
Nginx.__index = Nginx

--- Keeps no connection: init runs in the process from which the workers are forked.
local function send_blocking(self, request)
  local transport, problem = libcurl.new(self)
  if not transport then
    error(problem, 0)
  end
  local response, failure = transport:send(request)
  transport:close()
  return response, failure
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

---@param request clerk.machines.Request
---@return clerk.machines.Response|nil
---@return clerk.machines.Failure|nil
function Nginx:send(request)
  if phases.may_block() then
    return send_blocking(self, request)
  end
  local exchange = cosocket.new(request, self.max_connections)
  if not threads.current() then
    return exchange:run()
  end
  return run_in_task(exchange, request.timeout_ms)
end

local nginx = {}

---@param options { max_connections: integer }
---@return clerk.machines.Transport
function nginx.new(options)
  return setmetatable({ max_connections = options.max_connections }, Nginx)
end

return nginx
