-- A server that does with each connection what a spec's script says, byte by byte; see server.lua.
-- Runs under luajit: luajit raw_server.lua CONFIG, where CONFIG is a Lua file that returns
--
--   script   source of the body of a function(connection, shared, values, success)
--   values   table of strings for the script
--   record   file to which events are appended, one Lua call a line
--   parent   process after whose end the server ends too, within a second
--   tls      { certificate, key (PEM), alpn (array of names)?, version? }, or nil for plain TCP
--   deaf     true: let connections time out, as a host behind a silent firewall does
--   first    source of a script for the first connection, which then has no TLS; or nil
--   address  to listen at, 127.0.0.1 by default

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local ffi = require "ffi"

package.path = arg[0]:match "^(.*/)" .. "?.lua;" .. package.path
local literal = require "literal"
local success = require "success"

ffi.cdef [[
  struct linger { int onoff, seconds; };
  int setsockopt(int fd, int level, int name, const void *value, unsigned length);
  int listen(int fd, int backlog);
]]

local LIFETIME_SECONDS = 120
local LINE_MAX = 2 ^ 24
local SOL_SOCKET, SO_LINGER = 1, 13
local BODILESS = { [204] = true, [304] = true }

local config = assert(loadfile((...)))()
local loop = cqueues.new()

---------------------------------------------------------------------------------------- record

-- A line is complete before the peer can notice the event.
local function record(event)
  local file = assert(io.open(config.record, "a"))
  file:write("event", literal(event), "\n")
  file:close()
end

-- The spec gets a script's error when it stops the server.
local function guard(work)
  local ok, problem = xpcall(work, debug.traceback)
  if not ok then record { kind = "error", message = tostring(problem) } end
end

------------------------------------------------------------------------------------ connection

---@class RawRequest
---@field connection integer which connection it came on, from 1
---@field number integer which request on that connection, from 1
---@field line string the request line
---@field method string
---@field target string
---@field headers table<string, string> names in lower case, repeated ones joined by ", "
---@field body string
---@field bytes string? all of it as received (HTTP/1.1 only)

---@class RawConnection
---@field number integer which connection of this server, from 1
---@field socket userdata
---@field request_count integer
local Connection = {}
Connection.__index = Connection

local function new_connection(accepted, number)
  accepted:onerror(function(_, _, why) return why end)
  accepted:setmode("b", "bn")
  accepted:setmaxline(LINE_MAX, LINE_MAX)
  return setmetatable({ socket = accepted, number = number, request_count = 0 }, Connection)
end

-- All lines up to the empty one; nil when the peer leaves before.
function Connection:read_head()
  local lines = {}
  repeat
    local line = self.socket:xread "*L"
    if not line then
      if lines[1] then
        record { kind = "fragment", connection = self.number, bytes = table.concat(lines) }
      end
      return nil
    end
    lines[#lines + 1] = line
  until line == "\r\n"
  return table.concat(lines)
end

local function add_header(headers, name, value)
  headers[name] = headers[name] and headers[name] .. ", " .. value or value
end

local function parse_headers(head)
  local headers = {}
  for name, value in head:gmatch "\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    add_header(headers, name:lower(), value)
  end
  return headers
end

function Connection:note_request(request)
  self.request_count = self.request_count + 1
  request.kind, request.connection, request.number = "request", self.number, self.request_count
  request.method, request.target = request.line:match "^(%S+) (%S+)"
  record(request)
  return request
end

---Reads a request without its body, and does not record it.
---@return RawRequest? request nil when the peer leaves
function Connection:read_request_head()
  local head = self:read_head()
  if not head then return nil end
  return { line = head:match "^[^\r\n]*", headers = parse_headers(head), bytes = head }
end

---@return RawRequest? request nil when the peer leaves
function Connection:read_request()
  local request = self:read_request_head()
  if not request then return nil end
  local length = tonumber(request.headers["content-length"]) or 0
  request.body = length > 0 and self.socket:xread(length) or ""
  request.bytes = request.bytes .. request.body
  return self:note_request(request)
end

---Iterates over requests until the peer leaves.
function Connection:requests()
  return function() return self:read_request() end
end

---Reads at most `count` bytes.
---@return string? bytes nil when the peer leaves
function Connection:read(count)
  return (self.socket:xread(-count))
end

---@return boolean ok false when the peer is gone
function Connection:write(...)
  return self.socket:xwrite(table.concat { ... }, "bn") and true or false
end

---Writes byte by byte.
---@return boolean ok false when the peer is gone
function Connection:drip(bytes, interval_ms)
  for position = 1, #bytes do
    if not self:write(bytes:sub(position, position)) then return false end
    self:sleep(interval_ms)
  end
  return true
end

---Writes a whole answer.
---@param status integer
---@param body string?
---@param ... string further header lines, without their ends
---@return boolean ok false when the peer is gone
function Connection:answer(status, body, ...)
  local lines = { ("HTTP/1.1 %d Scripted"):format(status), "Content-Type: application/json", ... }
  if not BODILESS[status] then
    lines[#lines + 1] = "Content-Length: " .. #(body or "")
  end
  return self:write(table.concat(lines, "\r\n"), "\r\n\r\n", body or "")
end

---Answers every request on this connection with the same.
function Connection:answer_all(...)
  for _ in self:requests() do self:answer(...) end
end

---@param ms number
function Connection:sleep(ms) -- luacheck: no self
  cqueues.sleep(ms / 1000)
end

---Lets a spec know how far the script has come; see Server:wait_for.
---@param kind string
function Connection:note(kind)
  record { kind = kind, connection = self.number }
end

---Says and reads nothing until the peer leaves.
function Connection:hang()
  repeat until not self.socket:xread(-4096)
end

---Ends the connection in order.
function Connection:close()
  self.socket:shutdown "w"
  self.socket:close()
end

---Ends the connection without a word of TLS (the peer sees FIN, but no close_notify).
function Connection:drop()
  self.socket:close()
end

---Ends the connection with RST.
function Connection:reset()
  local linger = ffi.new("struct linger", 1, 0)
  ffi.C.setsockopt(self.socket:pollfd(), SOL_SOCKET, SO_LINGER, linger, ffi.sizeof(linger))
  self.socket:close()
end

local function pump(from, to)
  for bytes in function() return (from:xread(-4096)) end do
    to:xwrite(bytes, "bn")
  end
  to:shutdown "w"
end

---Passes bytes between the peer and a port of this machine, as a proxy does after CONNECT.
---@param port integer
function Connection:tunnel(port)
  local far = assert(socket.connect("127.0.0.1", port))
  far:onerror(function(_, _, why) return why end)
  far:setmode("b", "bn")
  loop:wrap(function() pcall(pump, far, self.socket) end)
  pump(self.socket, far)
end

-- Nothing for a stream without a head: it is made anew by frames that come after its end.
local function read_http2_request(stream, is_early)
  local head, headers = stream:get_headers(), {}
  if not head then return nil end
  for name, value in head:each() do add_header(headers, name, value) end
  local line = ("%s %s HTTP/2"):format(headers[":method"], headers[":path"])
  local body = is_early and "" or stream:get_body_as_string()
  return { line = line, headers = headers, body = body }
end

local function answer_http2(stream, status, body)
  local headers = require "http.headers".new()
  headers:append(":status", tostring(status))
  headers:append("content-type", "application/json")
  stream:write_headers(headers, false)
  stream:write_chunk(body, true)
end

-- Nothing at the end; that a script breaks the protocol, as lua-http raises, is one.
local function next_stream(http2)
  local ok, stream = pcall(http2.get_next_incoming_stream, http2)
  return ok and stream or nil
end

---Speaks HTTP/2 until the peer leaves. `handle(request, stream, http2)` returns status and body,
---or nothing when it has done something else to the stream (of lua-http). An early server does not
---wait for the body, and closes the stream when it has answered (RFC 9113, 8.1).
---@param handle fun(request: RawRequest, stream: table, http2: table): integer?, string?
---@param is_early? boolean
function Connection:http2(handle, is_early)
  local http2 = require "http.h2_connection".new(self.socket, "server")
  for stream in function() return next_stream(http2) end do
    loop:wrap(function()
      guard(function()
        local request = read_http2_request(stream, is_early)
        if not request then return end
        local status, body = handle(self:note_request(request), stream, http2)
        local is_open = stream.state ~= "closed" -- the peer may have reset it meanwhile
        if status and is_open then answer_http2(stream, status, body) end
        if is_early then stream:write_rst_stream_frame(0) end
      end)
    end)
  end
end

----------------------------------------------------------------------------------------- server

local function choose_protocol(offered, allowed)
  for _, ours in ipairs(allowed) do
    for _, theirs in ipairs(offered) do
      if ours == theirs then return ours end
    end
  end
end

local function tls_context(tls)
  local context = require "openssl.ssl.context".new(tls.version or "TLS", true)
  if tls.version then context:setCipherList "DEFAULT:@SECLEVEL=0" end -- which old ones need
  context:setCertificate(require "openssl.x509".new(tls.certificate))
  context:setPrivateKey(require "openssl.pkey".new(tls.key))
  if tls.alpn then
    context:setAlpnSelect(function(_, offered) return choose_protocol(offered, tls.alpn) end)
  end
  return context
end

local function start_tls(connection, context)
  local ok, why = connection.socket:starttls(context)
  if not ok then
    record { kind = "handshake_failed", connection = connection.number, message = tostring(why) }
  end
  return ok
end

local function serve(connection, script, context)
  local _, _, port = connection.socket:peername()
  record { kind = "connection", connection = connection.number, port = port }
  guard(function()
    if not context or start_tls(connection, context) then script(connection) end
  end)
  pcall(connection.close, connection)
  record { kind = "closed", connection = connection.number }
end

local function load_script(script)
  local source = "local connection, shared, values, success = ...; " .. script
  local run = assert(loadstring(source, "=script"))
  local shared = {}
  return function(connection) return run(connection, shared, config.values, success) end
end

local function accept_all(listener)
  local context = config.tls and tls_context(config.tls)
  local script = load_script(config.script)
  local first = config.first and load_script(config.first)
  local count = 0
  for accepted in listener:clients { nodelay = true } do
    count = count + 1
    local connection = new_connection(accepted, count)
    if count == 1 and first then
      loop:wrap(function() serve(connection, first) end)
    else
      loop:wrap(function() serve(connection, script, context) end)
    end
  end
end

-- Fills the backlog, after which the kernel drops what else wants to connect.
local function play_deaf(listener, port)
  ffi.C.listen(listener:pollfd(), 0)
  return assert(socket.connect("127.0.0.1", port)):connect()
end

local function is_running(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if file then file:close() end
  return file ~= nil
end

local function end_with_parent()
  for _ = 1, LIFETIME_SECONDS do
    if not is_running(config.parent) then break end
    cqueues.sleep(1)
  end
  os.exit(1)
end

local listener = assert(socket.listen { host = config.address or "127.0.0.1", port = 0 })
assert(listener:listen())
local _, _, port = listener:localname()

loop:wrap(function()
  local filler = config.deaf and play_deaf(listener, port)
  io.stdout:write(("listening on port %d\n"):format(port))
  io.stdout:flush()
  if filler then cqueues.sleep(LIFETIME_SECONDS) end
  accept_all(listener)
end)
loop:wrap(end_with_parent)
assert(loop:loop())
