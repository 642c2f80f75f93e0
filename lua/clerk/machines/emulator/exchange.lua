--- Reads one request from a stream of lua-http and writes the emulator's response.

local cqueues = require "cqueues"
local h2_connection = require "http.h2_connection"
local http_headers = require "http.headers"

local assumed = require "clerk.machines.emulator.assumed"

local TIMEOUT_SECONDS = 10
local MAX_READ_BYTES = 16 * assumed.max_body_bytes
local BODILESS = { [204] = true, [304] = true }

local exchange = {}

-- ---------------------------------------------------------------- lua-http 0.4
-- Clients prefer HTTP/2 over TLS, and lua-http's has faults.

local LOOK_AGAIN_SECONDS = 0.01

-- It encodes the HPACK index 63 in one byte instead of two. Headers that are not indexed do not
-- use it.
local NEVER_INDEX = true

-- It puts half a frame back into the socket's buffer. The socket then no longer waits for the other
-- half, so the connection has to look again.
local connection_timeout = h2_connection.methods.timeout
function h2_connection.methods:timeout()
  local waits_for_nothing = self.had_eagain and self:events() == ""
  return waits_for_nothing and LOOK_AGAIN_SECONDS or connection_timeout(self)
end

local function close_connection(stream)
  stream.connection.socket:shutdown("rw")
end

-- It would go on reading from a client that left in the middle of a body.
local function give_up(stream)
  if stream.state == "open" then
    stream:set_state("half closed (remote)")
  end
  close_connection(stream)
end

-- ---------------------------------------------------------------- requests

local function header_map(headers)
  local map = {}
  for name, value in headers:each() do
    map[name] = map[name] and map[name] .. ", " .. value or value
  end
  return map
end

local function chunks(stream)
  local deadline = cqueues.monotime() + TIMEOUT_SECONDS
  return function()
    local left = math.max(0, deadline - cqueues.monotime())
    return (stream:get_next_chunk(left))
  end
end

-- A body that is too large is read, since its client reads the response only then, but not kept.
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
  local headers = stream:get_headers(TIMEOUT_SECONDS)
  if not headers then
    return nil
  end
  if headers:get("expect") == "100-continue" then
    stream:write_continue(TIMEOUT_SECONDS)
  end
  local body = read_body(stream)
  return body and {
    method = headers:get(":method"),
    url = headers:get(":path") or "",
    headers = header_map(headers),
    body = body,
  }
end

-- ---------------------------------------------------------------- responses

local function write_head(stream, response, content_length)
  local headers = http_headers.new()
  headers:append(":status", ("%d"):format(response.status), NEVER_INDEX)
  for name, value in pairs(response.headers) do
    headers:append(name, value, NEVER_INDEX)
  end
  if content_length then
    headers:append("content-length", ("%d"):format(content_length), NEVER_INDEX)
  end
  return stream:write_headers(headers, not content_length, TIMEOUT_SECONDS)
end

-- Announces more bytes than it sends, however many that are.
local function write_truncated(stream, response)
  local length = math.max(#response.body, response.truncate + 1)
  write_head(stream, response, length)
  stream:write_chunk(response.body:sub(1, response.truncate), false, TIMEOUT_SECONDS)
  stream.connection:flush(TIMEOUT_SECONDS)
  close_connection(stream)
end

local function write_response(stream, response, method)
  if response.drop then
    close_connection(stream)
  elseif response.truncate then
    write_truncated(stream, response)
  elseif method == "HEAD" or BODILESS[response.status] then
    write_head(stream, response)
  elseif write_head(stream, response, #response.body) then
    stream:write_body_from_string(response.body, TIMEOUT_SECONDS)
  end
end

local function is_gone(stream)
  return stream.state == "closed" or stream.connection.socket:eof("r")
end

---A delayed response, and a change that waits for it, are left out when the client has gone.
---@param emulator clerk.machines.Emulator
---@param stream table of lua-http
function exchange.run(emulator, stream)
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
  write_response(stream, finish(), request.method)
end

return exchange
