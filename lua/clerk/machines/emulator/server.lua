--- Serves an emulator over HTTP/1.1 and, with TLS, over HTTP/2.

local cqueues = require "cqueues"
local cqueues_signal = require "cqueues.signal"
local http_headers = require "http.headers"
local http_server = require "http.server"
local http_tls = require "http.tls"
local pkey = require "openssl.pkey"
local x509 = require "openssl.x509"

local assumed = require "clerk.machines.emulator.assumed"
local certificates = require "clerk.machines.emulator.certificates"
local fields = require "clerk.machines.emulator.fields"
require "clerk.machines.emulator.http2"

local DEFAULT_HOST = "127.0.0.1"
local LOOPBACK = { "localhost", "127.0.0.1", "::1" }
local REQUEST_SECONDS = 10
local ANSWER_SECONDS = 10
local IDLE_SECONDS = 120
local MAX_READ_BYTES = 16 * assumed.max_body_bytes

local BODILESS = { [204] = true, [304] = true }

local OPTIONS = {
  emulator = fields.table,
  host = fields.name,
  port = fields.integer(0, 65535),
  tls = fields.boolean,
  log = fields.func,
}

---@class clerk.machines.emulator.Server
---@field url string the base URL of the API
---@field ca_file string? the CA's certificate, with TLS
local Server = {}
Server.__index = Server

local server = {}

-- ---------------------------------------------------------------- requests

local function header_map(headers)
  local map = {}
  for name, value in headers:each() do
    map[name] = map[name] and map[name] .. ", " .. value or value
  end
  return map
end

local function drop(stream)
  stream.connection.socket:shutdown("rw")
end

-- Told that the request is over, since lua-http 0.4 tries forever to read what will not come.
local function give_up(stream)
  if stream.state == "open" then
    stream:set_state("half closed (remote)")
  end
  drop(stream)
end

local function chunks(stream)
  local deadline = cqueues.monotime() + REQUEST_SECONDS
  return function()
    local left = math.max(0, deadline - cqueues.monotime())
    return (stream:get_next_chunk(left))
  end
end

-- An answer to a body that is too large arrives only when the body was read, but it is not kept.
local function read_body(stream)
  local parts, length = {}, 0
  for chunk in chunks(stream) do
    if length <= assumed.max_body_bytes then
      parts[#parts + 1] = chunk
    end
    length = length + #chunk
    if length > MAX_READ_BYTES then
      break
    end
  end
  if stream.state == "half closed (remote)" then
    return table.concat(parts)
  end
  give_up(stream)
end

local function read_request(stream)
  local headers = stream:get_headers(REQUEST_SECONDS)
  if not headers then
    return nil
  end
  if headers:get("expect") == "100-continue" then
    stream:write_continue(ANSWER_SECONDS)
  end
  local body = read_body(stream)
  if not body then
    return nil
  end
  return {
    method = headers:get(":method"),
    url = headers:get(":path") or "",
    headers = header_map(headers),
    body = body,
  }
end

-- ---------------------------------------------------------------- answers

-- Headers are never indexed: lua-http 0.4 writes the HPACK index 63 wrongly (two bytes are due).
local NEVER_INDEX = true

local function write_head(stream, answer, content_length)
  local headers = http_headers.new()
  headers:append(":status", ("%d"):format(answer.status), NEVER_INDEX)
  for name, value in pairs(answer.headers) do
    headers:append(name, value, NEVER_INDEX)
  end
  if content_length then
    headers:append("content-length", ("%d"):format(content_length), NEVER_INDEX)
  end
  return stream:write_headers(headers, not content_length, ANSWER_SECONDS)
end

-- Announces more than it sends, whatever the number of bytes.
local function write_truncated(stream, answer)
  local length = math.max(#answer.body, answer.truncate + 1)
  write_head(stream, answer, length)
  stream:write_chunk(answer.body:sub(1, answer.truncate), false, ANSWER_SECONDS)
  stream.connection:flush(ANSWER_SECONDS)
  drop(stream)
end

local function write_answer(stream, answer, method)
  if answer.drop then
    return drop(stream)
  end
  if answer.truncate then
    return write_truncated(stream, answer)
  end
  if method == "HEAD" or BODILESS[answer.status] then
    return write_head(stream, answer)
  end
  if write_head(stream, answer, #answer.body) then
    stream:write_chunk(answer.body, true, ANSWER_SECONDS)
  end
end

local function is_gone(stream)
  return stream.state == "closed" or stream.connection.socket:eof("r")
end

local function serve(emulator, stream)
  local request = read_request(stream)
  if not request then
    return
  end
  local delay_ms, finish = emulator:receive(request)
  if delay_ms > 0 then
    cqueues.sleep(delay_ms / 1000)
    if is_gone(stream) then
      return
    end
  end
  write_answer(stream, finish(), request.method)
end

-- ---------------------------------------------------------------- server

local function choose_protocol(_, offered)
  for _, protocol in ipairs(offered) do
    if protocol == "h2" or protocol == "http/1.1" then
      return protocol
    end
  end
end

local function tls_context(pem)
  local context = http_tls.new_server_context()
  context:setCertificate(x509.new(pem.certificate))
  context:setPrivateKey(pkey.new(pem.key))
  context:setAlpnSelect(choose_protocol)
  return context
end

local function certified_hosts(host)
  local hosts = { host }
  for _, each in ipairs(LOOPBACK) do
    if each ~= host then
      hosts[#hosts + 1] = each
    end
  end
  return hosts
end

local function write_temporary(bytes)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  assert(file:write(bytes))
  file:close()
  return name
end

local function listen(options, context, log)
  local listener, problem = http_server.listen {
    host = options.host or DEFAULT_HOST,
    port = options.port or 0,
    tls = context ~= nil,
    ctx = context,
    intra_stream_timeout = IDLE_SECONDS,
    onstream = function(_, stream)
      serve(options.emulator, stream)
    end,
    onerror = function(_, _, operation, why)
      if operation == "onstream" then
        log(tostring(why))
      end
    end,
  }
  if not listener then
    return nil, problem
  end
  local bound, why = listener:listen()
  if not bound then
    return nil, why
  end
  return listener
end

local function log_to_stderr(message)
  io.stderr:write(message, "\n")
end

local function base_url(listener, options)
  local scheme, host = options.tls and "https" or "http", options.host or DEFAULT_HOST
  if host:find(":", 1, true) then
    host = "[" .. host .. "]"
  end
  local _, _, port = listener:localname()
  return ("%s://%s:%d/v1"):format(scheme, host, port)
end

---@class clerk.machines.emulator.ServerOptions
---@field emulator clerk.machines.Emulator
---@field host string? 127.0.0.1 by default
---@field port integer? 0, the default, takes a free one
---@field tls boolean? with a CA made for it, whose certificate is in `ca_file` until `close`
---@field log fun(message: string)? is told of failures of the emulator itself; on stderr by default

---Listens; the requests are served by `run`.
---@param options clerk.machines.emulator.ServerOptions
---@return clerk.machines.emulator.Server?
---@return string? problem why it cannot listen
function server.new(options)
  local problem = fields.problem(options, OPTIONS)
  if problem then
    error("server.new: " .. problem, 2)
  end
  local pem = options.tls and certificates.new { hosts = certified_hosts(options.host) }
  local log = options.log or log_to_stderr
  local listener, why = listen(options, pem and tls_context(pem), log)
  if not listener then
    local host, port = options.host or DEFAULT_HOST, options.port or 0
    return nil, ("cannot listen on %s, port %d: %s"):format(host, port, why)
  end
  return setmetatable({
    listener = listener,
    log = log,
    url = base_url(listener, options),
    ca_file = pem and write_temporary(pem.ca),
  }, Server)
end

---Serves until one of the signals arrives, which the caller has blocked.
---@param ... integer numbers of signals, from cqueues.signal
function Server:run(...)
  local listener, stopped = self.listener, false
  local signals = cqueues_signal.listen(...)
  listener.cq:wrap(function()
    signals:wait()
    stopped = true
  end)
  while not stopped do
    local ok, problem = listener:step()
    if not ok then
      self.log(tostring(problem))
    end
  end
end

---Stops listening and removes `ca_file`; may be called twice.
function Server:close()
  self.listener:close()
  if self.ca_file then
    os.remove(self.ca_file)
  end
  self.ca_file = nil
end

return server
