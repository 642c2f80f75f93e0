--- HTTP/1.1 over nginx's cosockets, which yield instead of blocking the worker: one exchange of a
--- request for its response.

local core = require "clerk.machines.core"
local http1 = require "clerk.machines.nginx.http1"
local threads = require "clerk.machines.nginx.threads"

local DEFAULT_PORTS = { http = 80, https = 443 }
local KEEP_IDLE_MS = 60000
local PIECE_BYTES = 64 * 1024

--- nginx's resolver does not know `localhost`.
local ADDRESSES = { localhost = { "127.0.0.1", "[::1]" } }

--- Not a name, so that connecting to it takes a kept connection from the pool or fails.
local NOWHERE = "["

--- An exchange: destination, bytes (the request), connect_ends_at and ends_at (core.now's), and
--- max_response_bytes; then socket, and sent: whether any byte of the request may have left.
local Exchange = {}
Exchange.__index = Exchange

local function is_address(host)
  return host:find "^%[" or host:find "^[%d.]+$"
end

local function failure(code, message)
  return nil, { code = code, message = message }
end

-- ---------------------------------------------------------------- connecting

local function check_name(self)
  local destination = self.destination
  if destination.scheme == "https" and is_address(destination.host) then
    return failure("tls_failed", ("nginx cannot verify the certificate of an IP address (%s): "
      .. "use a host name"):format(destination.host))
  end
  return true
end

local function connect_failure(problem, destination)
  if problem:find("no resolver", 1, true) then
    return failure("invalid_argument", ("nginx has no `resolver` to look up %s: add that directive "
      .. "to nginx.conf, such as `resolver 127.0.0.53;`"):format(destination.host))
  elseif problem:find "resol" then
    return failure("dns_failed", problem)
  elseif problem == "timeout" then
    return failure("timeout", "no connection within the time allowed")
  elseif problem:find "too many open files" then
    return failure("no_resources", ("no connection to %s: %s; nginx's limit is set by "
      .. "`worker_rlimit_nofile`"):format(destination.authority, problem))
  end
  return failure("connect_failed", "no connection to " .. destination.authority .. ": " .. problem)
end

--- Limits the socket's next operation to the time that is left; returns whether any is.
local function arm(self, ends_at)
  local left = ends_at - core.now()
  local ms = math.max(1, left)
  self.socket:settimeouts(ms, ms, ms)
  return left > 0
end

--- nginx's resolver has its own timeout, which may be longer.
local function connect_to(self, address, pool)
  local socket, port = self.socket, self.destination.port
  if is_address(address) then
    return socket:connect(address, port, pool)
  end
  local outcome, ok, problem = threads.within(self.connect_ends_at - core.now(), socket.connect,
    socket, address, port, pool)
  return ok, outcome == "done" and problem or outcome
end

--- Tries one address after the other; returns the problem of the first.
local function connect_anew(self, pool)
  local first_problem
  for i, address in ipairs(self.destination.addresses) do
    if not arm(self, self.connect_ends_at) and i > 1 then
      break
    end
    local ok, problem = connect_to(self, address, pool)
    if ok then
      return true
    end
    first_problem = first_problem or problem
  end
  return nil, first_problem
end

--- Lets nginx look at its kept connections. It drops those that the server has closed, and those
--- with unexpected bytes, which would be taken for the next response.
local function drop_unusable()
  ngx.sleep(0.001)
end

local function connect(self)
  local destination = self.destination
  self.socket = ngx.socket.tcp()
  drop_unusable()
  local ok, problem = self.socket:connect(NOWHERE, destination.port, destination.pool)
  if not ok then
    ok, problem = connect_anew(self, destination.pool)
  end
  if not ok then
    return connect_failure(problem, destination)
  end
  return true
end

--- nginx's directives against OpenSSL's problems, by OpenSSL's numbers.
local REMEDIES = {
  ["^2:"] = "lua_ssl_trusted_certificate",
  ["^18:"] = "lua_ssl_trusted_certificate",
  ["^19:"] = "lua_ssl_trusted_certificate",
  ["^20:"] = "lua_ssl_trusted_certificate",
  ["^21:"] = "lua_ssl_trusted_certificate",
  ["^22:"] = "lua_ssl_verify_depth",
}

--- nginx only says "handshake failed" when the connection was cut, and when the server does not
--- speak TLS; either may pass. A number before it may come from an earlier handshake.
local function handshake_failure(problem, destination)
  local message = ("TLS handshake with %s failed: %s"):format(destination.authority, problem)
  if problem:find "handshake failed$" or problem:find "closed$" then
    return failure("connect_failed", message .. " (the connection was cut, or the server does not "
      .. "speak TLS; nginx's error log says which)")
  end
  for pattern, directive in pairs(REMEDIES) do
    if problem:find(pattern) then
      message = ("%s (see nginx's directive `%s`)"):format(message, directive)
    end
  end
  return failure("tls_failed", message)
end

--- A certificate that is refused at once makes sslhandshake raise.
local function handshake(self)
  local destination = self.destination
  if destination.scheme == "http" or self.socket:getreusedtimes() > 0 then
    return true
  end
  arm(self, self.connect_ends_at)
  local ok, session, problem = pcall(self.socket.sslhandshake, self.socket, nil, destination.name,
    true)
  if not ok then
    return handshake_failure("its certificate was refused; nginx's error log says why, and "
      .. "`lua_ssl_trusted_certificate` sets what nginx trusts", destination)
  elseif problem == "timeout" then
    return failure("timeout", "TLS handshake timed out")
  elseif not session then
    return handshake_failure(problem, destination)
  end
  return true
end

-- ---------------------------------------------------------------- talking

local function send(self)
  local bytes = self.bytes
  self.bytes = nil -- they hold the key
  arm(self, self.ends_at)
  self.sent = true
  local _, problem = self.socket:send(bytes)
  if problem then
    return failure("connection_lost", "the request could not be sent: " .. problem)
  end
  return true
end

local function read_failure(problem)
  if problem == "timeout" then
    return failure("timeout", "no response within the time allowed")
  end
  return failure("connection_lost", "the response could not be read: " .. problem)
end

--- What comes next; no bytes at the end of the connection; nil and a failure.
local function receive_piece(self)
  if not arm(self, self.ends_at) then
    return read_failure "timeout"
  end
  local bytes, problem = self.socket:receiveany(PIECE_BYTES)
  if not bytes and problem ~= "closed" then
    return read_failure(problem)
  end
  return bytes or ""
end

--- Gives the response what has come; returns whether it wants more, or nil and a failure.
local function feed(response, bytes)
  if bytes ~= "" then
    return response:feed(bytes)
  end
  local ok, flaw = response:finish()
  return ok and false, flaw
end

local function receive(self)
  local bytes, flaw = receive_piece(self)
  local whole = bytes and http1.read_whole(bytes, self.max_response_bytes)
  if whole then
    return whole
  end
  local response, wants_more = http1.new_response(self), true
  while bytes and wants_more do
    wants_more, flaw = feed(response, bytes)
    if wants_more then
      bytes, flaw = receive_piece(self)
    end
  end
  if flaw then
    return nil, flaw
  end
  return response
end

local STEPS = { check_name, connect, handshake, send, receive }

local function exchange(self)
  local result, flaw
  for _, step in ipairs(STEPS) do
    result, flaw = step(self)
    if not result then
      return nil, flaw
    end
  end
  return result
end

-- ---------------------------------------------------------------- the interface

--- Runs it, once.
---@return clerk.machines.nginx.http1.Response|nil
---@return clerk.machines.Failure|nil
function Exchange:run()
  local response, flaw = exchange(self)
  if not response then
    self:close()
    flaw.sent = self.sent
    return nil, flaw
  end
  if not response.is_reusable or not self.socket:setkeepalive(KEEP_IDLE_MS) then
    self:close()
  end
  return response
end

--- Ends it, wherever it is.
function Exchange:close()
  if self.socket then
    self.socket:close()
  end
end

local cosocket = {}

--- Where the requests for the URLs of an origin go. The pool's name says what all its connections
--- have in common.
---@param url string
---@param max_connections integer how many idle ones are kept at most
function cosocket.destination(url, max_connections)
  local origin, scheme, authority = url:match "^((https?)://([^/]+)/)"
  local host, port = authority:match "^(.*):(%d+)$"
  host = (host or authority):lower()
  port = tonumber(port) or DEFAULT_PORTS[scheme]
  local name = host:gsub("%.$", "")
  return {
    origin = origin,
    scheme = scheme,
    authority = authority,
    host = host,
    port = port,
    name = name,
    addresses = ADDRESSES[name] or { host },
    pool = {
      pool = ("clerk.machines %s://%s:%d verified, %d"):format(scheme, host, port, max_connections),
      pool_size = max_connections,
    },
  }
end

---@param destination table of cosocket.destination
---@param bytes string the request
---@param timeout_ms integer
---@param connect_timeout_ms integer
---@param max_response_bytes integer
function cosocket.new(destination, bytes, timeout_ms, connect_timeout_ms, max_response_bytes)
  local now = core.now()
  return setmetatable({
    destination = destination,
    bytes = bytes,
    connect_ends_at = now + connect_timeout_ms,
    ends_at = now + timeout_ms,
    max_response_bytes = max_response_bytes,
    socket = false,
    sent = false,
  }, Exchange)
end

return cosocket
