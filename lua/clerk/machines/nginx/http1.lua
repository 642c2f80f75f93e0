--- HTTP/1.1 without a socket (RFC 9112): reads a response from pieces of any size. Requests, which
--- the core writes, ask for bodies that are not compressed, and others are refused.

local core = require "clerk.machines.core"

local HEAD_BYTES = 256 * 1024
local HEAD_LINE_BYTES = 100 * 1024 - 1 -- as libcurl
local CHUNK_LINE_BYTES = 4096
local CHUNK_SIZE_DIGITS = 16
local EXACT_DIGITS = 12
local SMALL_BYTES = 4096

local BAD, LARGE, LOST = "bad_response", "response_too_large", "connection_lost"
local START = "HTTP/1."

--- Kinds of lines: the longest, the problem of a longer one, and the function that reads it.
local lines = {}

local function check(ok, code, message)
  if not ok then
    error({ code = code, message = message }, 0)
  end
end

--- Joins small pieces as they come: kept one by one they would take many times their bytes.
local function append(pieces, piece)
  while pieces[1] and #piece < SMALL_BYTES and #pieces[#pieces] <= #piece do
    piece = table.remove(pieces) .. piece
  end
  pieces[#pieces + 1] = piece
end

-- ---------------------------------------------------------------- the body

local function complete(self)
  self.body, self.pieces = table.concat(self.pieces), nil
  self.is_complete, self.is_reusable = true, self.is_persistent
end

--- Takes what is left of the body or of a chunk; returns where it stopped.
local function take_body(self, bytes, at)
  local piece = bytes:sub(at, at + math.min(self.left, #bytes) - 1)
  self.room, self.left = self.room - #piece, self.left - #piece
  check(self.room >= 0, LARGE, "the response is larger than max_response_bytes")
  append(self.pieces, piece)
  if self.left == 0 and self.is_chunked then
    self.awaits = lines.chunk_end
  elseif self.left == 0 then
    complete(self)
  end
  return at + #piece
end

--- A size beyond any limit need not be exact.
local function to_size(digits)
  digits = digits:match "^0*(.*)$"
  return #digits <= EXACT_DIGITS and tonumber("0" .. digits, 16) or math.huge
end

local function read_chunk_size(self, line)
  local digits, rest = line:match "^(%x+)[ \t]*(.?)"
  local is_size = digits and #digits <= CHUNK_SIZE_DIGITS and (rest == "" or rest == ";")
  check(is_size, BAD, lines.chunk_size.problem)
  self.left = to_size(digits)
  self.awaits = self.left == 0 and lines.trailer or nil
end

local function read_chunk_end(self, line)
  check(line == "", BAD, lines.chunk_end.problem)
  self.awaits = lines.chunk_size
end

local function begin_body(self, length)
  check(not length or length <= self.room, LARGE, "the response is larger than max_response_bytes")
  self.is_open = not self.is_chunked and not length
  self.is_persistent = self.is_persistent and not self.is_open
  self.left = length or math.huge
  self.awaits = self.is_chunked and lines.chunk_size or nil
  if length == 0 then
    complete(self)
  end
end

-- ---------------------------------------------------------------- the head

--- Takes what core.http_head returns. After a head with a 1XX another head follows.
local function take_facts(self, status, fields, length, is_chunked, is_persistent)
  check(status or not fields, fields, length) -- or else these two are a code and a message
  check(status ~= 101, BAD, "the server changed the protocol without being asked to")
  if status and status >= 200 then
    self.status, self.fields = status, fields
    self.is_chunked, self.is_persistent = is_chunked, is_persistent
    begin_body(self, length)
  end
end

--- Reads what has come of a head.
local function read_head(self)
  local bytes, room = table.concat(self.pieces), self.head_room
  self.head_room = room - self.head_bytes
  self.pieces, self.head_bytes, self.head_end, self.line_bytes = {}, 0, "", 0
  take_facts(self, core.http_head(bytes, HEAD_LINE_BYTES, room))
end

--- The first bytes show garbage, which may have no end.
local function check_start(self, piece)
  local expected = START:sub(self.head_bytes + 1, self.head_bytes + #piece)
  check(piece:sub(1, #expected) == expected, BAD, "the response is not HTTP/1.1")
end

--- Where the head ends, if it does; a part of the empty line there may have come before.
local function find_end(self, bytes, at)
  local _, stop = (self.head_end .. bytes:sub(at, at + 1)):find "\n\r?\n"
  if stop then
    return at + stop - #self.head_end - 1
  end
  return (select(2, bytes:find("\n\r?\n", at)))
end

--- Takes the rest of a head, as far as it has come; returns where it stopped.
local function take_head(self, bytes, at)
  local stop = find_end(self, bytes, at)
  local piece = bytes:sub(at, stop or #bytes)
  local last_line = piece:match "^.*\n()"
  check_start(self, piece)
  append(self.pieces, piece)
  self.head_bytes = self.head_bytes + #piece
  self.line_bytes = last_line and #piece + 1 - last_line or self.line_bytes + #piece
  self.head_end = #piece > 1 and piece:sub(-2) or (self.head_end .. piece):sub(-2)
  if stop or self.line_bytes > HEAD_LINE_BYTES or self.head_bytes > self.head_room then
    read_head(self)
  end
  return at + #piece
end

--- A trailer ends the response; it is dropped.
local function read_trailer(self, line)
  if line == "" then
    return complete(self)
  end
  local is_field = line:find "^[^%s:]*:" or (self.has_trailer and line:find "^[ \t]")
  check(is_field, BAD, "a line in the trailer of the response is not a header")
  self.has_trailer = true
end

-- ---------------------------------------------------------------- lines

local function kind(limit, code, problem, read)
  return { limit = limit, code = code, problem = problem, read = read }
end

lines.trailer = kind(HEAD_LINE_BYTES, LARGE, "the trailer of the response is too large",
  read_trailer)
lines.chunk_size = kind(CHUNK_LINE_BYTES, BAD, "a chunk without a valid size", read_chunk_size)
lines.chunk_end = kind(#"\r\n", BAD, "a chunk that is longer than its size", read_chunk_end)

local function check_size(self, piece)
  local awaits = self.awaits
  self.head_room = self.head_room - (awaits == lines.trailer and #piece or 0)
  self.line_bytes = self.line_bytes + #piece
  check(self.line_bytes <= awaits.limit and self.head_room >= 0, awaits.code, awaits.problem)
end

--- A CR within a line could be taken for its end (RFC 9112, 2.2).
local function end_line(self, last_piece)
  local line = (table.concat(self.line_pieces) .. last_piece):match "^(.-)\r?\n$"
  self.line_pieces, self.line_bytes = {}, 0
  check(not line:find "[%z\r]", BAD, "a line of the response has a NUL or a bare CR")
  self.awaits.read(self, line)
end

--- Takes the rest of a line, as far as it has come; returns where it stopped.
local function take_line(self, bytes, at)
  local stop = bytes:find("\n", at, true)
  local piece = bytes:sub(at, stop or #bytes)
  check_size(self, piece)
  if stop then
    end_line(self, piece)
  else
    append(self.line_pieces, piece)
  end
  return at + #piece
end

-- ---------------------------------------------------------------- the interface

---@class clerk.machines.nginx.http1.Response
---@field has_begun boolean whether any byte of it has come
---@field is_complete boolean then there are status, fields and body
---@field status integer
---@field fields string the header lines, for core.http_headers
---@field body string
---@field is_reusable boolean whether the connection can carry another request
local Response = {}
Response.__index = Response

local function take(self, bytes)
  local at = 1
  while at <= #bytes and not self.is_complete do
    local step = not self.fields and take_head or self.awaits and take_line or take_body
    at = step(self, bytes, at)
  end
  self.is_reusable = self.is_reusable and at > #bytes
end

local function take_end(self)
  if self.is_open and not self.is_complete then
    complete(self)
  elseif not self.fields then
    read_head(self)
  end
  local place = self.fields and "within the body of the response" or self.has_begun
    and "within the head of the response" or "without a response"
  check(self.is_complete, LOST, "the connection was closed " .. place)
end

--- A failed response stays failed. Only running out of memory raises.
local function advance(self, f, bytes)
  if not self.failure then
    local ok, problem = pcall(f, self, bytes)
    if not ok and type(problem) ~= "table" then
      error(problem, 0)
    end
    self.failure = not ok and problem or nil
  end
  if self.failure then
    return nil, self.failure
  end
  return not self.is_complete
end

--- Takes bytes that have come. Bytes after the end of the response make the connection unusable.
---@param bytes string
---@return boolean|nil wants_more nil: the response has failed
---@return { code: clerk.machines.FailureCode, message: string }|nil failure
function Response:feed(bytes)
  self.has_begun = self.has_begun or bytes ~= ""
  return advance(self, take, bytes)
end

--- The server has closed the connection, which is the end of some responses, and else a failure.
---@return true|nil
---@return { code: clerk.machines.FailureCode, message: string }|nil failure
function Response:finish()
  local _, failure = advance(self, take_end)
  return not failure or nil, failure
end

local http1 = {}

---@param limits { max_response_bytes: number, max_head_bytes: integer? } bytes of body and of heads
---@return clerk.machines.nginx.http1.Response
function http1.new_response(limits)
  return setmetatable({
    has_begun = false,
    is_complete = false,
    is_reusable = false,
    room = limits.max_response_bytes,
    head_room = limits.max_head_bytes or HEAD_BYTES,
    head_bytes = 0,
    head_end = "",
    line_pieces = {},
    line_bytes = 0,
    pieces = {},
  }, Response)
end

--- Takes what core.http_head returns.
local function take_whole(bytes, room, status, fields, length, _, is_persistent, body_at)
  local has_length = status and status >= 200 and length
  if has_length and length <= room and body_at + length == #bytes then
    return {
      status = status,
      fields = fields,
      body = bytes:sub(body_at + 1),
      is_reusable = is_persistent,
    }
  end
end

--- Reads bytes that are just one response, as most are; nil when they are not or must be refused.
---@param bytes string
---@param max_response_bytes number
---@return { status: integer, fields: string, body: string, is_reusable: boolean }|nil
function http1.read_whole(bytes, max_response_bytes)
  return take_whole(bytes, max_response_bytes, core.http_head(bytes, HEAD_LINE_BYTES, HEAD_BYTES))
end

return http1
