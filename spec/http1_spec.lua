-- The HTTP/1.1 of transports that have only a socket: writing requests, and reading responses from
-- pieces of any size, hostile ones included. The same bytes are given to libcurl.

local core = require "clerk.machines.core"
local http1 = require "clerk.machines.nginx.http1"
local instructions = require "support.instructions"
local libcurl = require "clerk.machines.loop.transport"
local server = require "support.server"

local MAX_BODY = 1000
local OK = "HTTP/1.1 200 OK\r\n"
local CHUNKED = OK .. "Transfer-Encoding: chunked\r\n\r\n"
local CODES = { bad_response = true, response_too_large = true, connection_lost = true }

-- Joins lines; the last one gets no line end.
local function join(...)
  return table.concat({ ... }, "\r\n")
end

local function head(...)
  return OK .. join(...)
end

local function chunks(...)
  return CHUNKED .. join(...)
end

local function new_response(max_head_bytes)
  return http1.new_response { max_response_bytes = MAX_BODY, max_head_bytes = max_head_bytes }
end

-- Splits a text into pieces of `size` bytes.
local function pieces_of(bytes, size)
  local pieces = {}
  for at = 1, #bytes, size do pieces[#pieces + 1] = bytes:sub(at, at + size - 1) end
  return pieces
end

local function outcome_of(response, failure)
  if failure then return { fails = failure.code } end
  return {
    status = response.status,
    headers = core.http_headers(response.fields),
    body = response.body,
    is_reusable = response.is_reusable,
  }
end

-- Reads the pieces, after which the connection is closed; `watch` sees the response in between.
local function read(pieces, max_head_bytes, watch)
  local response = new_response(max_head_bytes)
  for i, piece in ipairs(pieces) do
    response:feed(piece)
    if watch and (i == #pieces or i % 16 == 0) then watch(response) end
  end
  local ok, failure = response:finish()
  assert.equal(ok, not failure or nil)
  assert.equal(not failure, response.is_complete)
  local outcome = outcome_of(response, failure)
  if #pieces == 1 and not max_head_bytes then
    local whole = http1.read_whole(pieces[1], MAX_BODY)
    if whole then assert.same(outcome, outcome_of(whole)) end
  end
  return outcome, failure
end

-- Each case: a name, bytes after which the connection is closed, and the outcome, by default 200
-- with the body {}. `libcurl` is the outcome with libcurl 7.88, and `libcurl_8` that with later
-- ones, where they differ, since ours refuses what is ambiguous.
local cases = {
  ["by length"] = {
    { "a length", head("Content-Length: 2", "", "{}") },
    { "bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}" },
    { "no body", head("Content-Length: 0", "", ""), body = "" },
    { "zeros before", head("Content-Length: 0002", "", "{}") },
    { "tabs around", head("Content-Length:\t2\t", "", "{}") },
    { "bytes after it", head("Content-Length: 2", "", "{}{}") },
    { "a length twice", head("Content-Length: 2", "Content-Length: 2", "", "{}") },
    { "a list of one length", head("Content-Length: 2, 2", "", "{}") },
    { "a list of one length, with other blanks", head("Content-Length: 2,2 ,\t2", "", "{}") },
    {
      "different lengths", head("Content-Length: 2", "Content-Length: 3", "", "{}-"),
      fails = "bad_response",
    },
    {
      "a list of different lengths", head("Content-Length: 2, 22", "", "{}"),
      fails = "bad_response",
    },
    {
      "a list of different lengths without blanks", head("Content-Length: 2,22", "", "{}"),
      fails = "bad_response",
    },
    {
      "a list of one length and nothing", head("Content-Length: 2,", "", "{}"),
      fails = "bad_response",
    },
    {
      "a list of nothing and one length", head("Content-Length: , 2", "", "{}"),
      fails = "bad_response",
    },
    {
      "a length and an empty one", head("Content-Length: 2", "Content-Length:", "", "{}"),
      fails = "bad_response",
    },
    {
      "a blank in a length", head("Content-Length: 2 2", "", "{}"),
      fails = "bad_response",
    },
    {
      "a length that begins another", head("Content-Length: 22, 2", "", "{}"),
      fails = "bad_response", libcurl = { fails = "connection_lost" },
    },
    { "an empty length", head("Content-Length:", "", "{}"), fails = "bad_response" },
    { "a negative length", head("Content-Length: -2", "", "{}"), fails = "bad_response" },
    { "a length of words", head("Content-Length: many", "", "{}"), fails = "bad_response" },
    { "a positive length", head("Content-Length: +2", "", "{}"), fails = "bad_response",
      libcurl = {} },
    {
      "a hexadecimal length", head("Content-Length: 0x2", "", "{}"),
      fails = "bad_response", libcurl = { body = "" },
    },
    {
      "words after a length", head("Content-Length: 2 bytes", "", "{}"),
      fails = "bad_response",
    },
    { "a fraction", head("Content-Length: 2.0", "", "{}"), fails = "bad_response", libcurl = {} },
    {
      "the largest length allowed", head("Content-Length: 1000", "", ("x"):rep(1000)),
      body = ("x"):rep(1000),
    },
    { "a length too large", head("Content-Length: 1001", "", "{}"), fails = "response_too_large" },
    {
      "a length beyond all numbers", head("Content-Length: " .. ("9"):rep(5000), "", "{}"),
      fails = "response_too_large",
    },
    { "a body cut short", head("Content-Length: 3", "", "{}"), fails = "connection_lost" },
    { "a body missing", head("Content-Length: 3", "", ""), fails = "connection_lost" },
  },

  ["by chunks"] = {
    { "a chunk", chunks("2", "{}", "0", "", "") },
    { "two chunks", chunks("1", "{", "1", "}", "0", "", "") },
    { "none", chunks("0", "", ""), body = "" },
    { "bare line feeds", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\n{}\n0\n\n" },
    { "a coding in capitals", head("Transfer-Encoding: CHUNKED", "", "2", "{}", "0", "", "") },
    { "sizes in either case", chunks("A", "{}34567890", "a", "{}34567890", "0", "", ""),
      body = "{}34567890{}34567890" },
    { "zeros before", chunks("0000000000000002", "{}", "0000000000000000", "", "") },
    { "blanks after a size", chunks("2 \t", "{}", "0 ", "", "") },
    { "extensions", chunks('2;a=b;c="d;"', "{}", "0 ; e", "", "") },
    { "a trailer", chunks("2", "{}", "0", "A: b", "Content-Length: 1", "", "") },
    { "a folded trailer", chunks("2", "{}", "0", "A: b", " c", "", "") },
    { "bytes after it", chunks("2", "{}", "0", "", "", "HTTP/1.1 200 OK") },
    { "HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" },
    { "a length too", head("Content-Length: 1", "Transfer-Encoding: chunked", "", "2", "{}", "0",
      "", ""), fails = "bad_response", libcurl = {} },
    { "a length beyond the limit too", head("Transfer-Encoding: chunked", "Content-Length: 9999",
      "", "2", "{}", "0", "", ""), fails = "bad_response", libcurl = {} },
    { "no length too", head("Transfer-Encoding: chunked", "Content-Length: x", "", "2", "{}", "0",
      "", ""), fails = "bad_response" },
    { "just as much as allowed", chunks("3e8", ("x"):rep(1000), "0", "", ""),
      body = ("x"):rep(1000) },
    { "more than allowed", chunks("3e9", ("x"):rep(1001), "0", "", ""),
      fails = "response_too_large" },
    { "more than allowed, in two", chunks("3e8", ("x"):rep(1000), "1", "x", "0", "", ""),
      fails = "response_too_large" },
    { "a size beyond all numbers", chunks("ffffffffffffffff", "{}"), fails = "connection_lost",
      libcurl = { fails = "bad_response" } },
    { "the end in a size", chunks "2", fails = "connection_lost" },
    { "the end before a size", CHUNKED, fails = "connection_lost" },
    { "the end in a chunk", chunks("4", "{}"), fails = "connection_lost" },
    { "the end after a chunk", chunks("2", "{}", ""), fails = "connection_lost" },
    { "the end after the last chunk", chunks("2", "{}", "0", ""), fails = "connection_lost" },
    { "the end in the trailer", chunks("2", "{}", "0", "A: b", ""), fails = "connection_lost" },
    { "another coding", head("Transfer-Encoding: x-other", "", "{}"), fails = "bad_response" },
    { "the coding in two lines", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked",
      "", "2", "{}", "0", "", ""), fails = "bad_response", libcurl = {} },
    { "an empty coding", head("Transfer-Encoding:", "Content-Length: 2", "", "{}"),
      fails = "bad_response", libcurl = {} },
    { "another coding too", head("Transfer-Encoding: x-other, chunked", "", "2", "{}", "0", "", ""),
      fails = "bad_response" },
    { "a packed coding", head("Transfer-Encoding: gzip", "", "{}"), fails = "bad_response" },
    { "the coding twice", head("Transfer-Encoding: chunked, chunked", "", "2", "{}", "0", "", ""),
      fails = "bad_response", libcurl = {} },
    { "no coding", head("Transfer-Encoding: identity", "", "{}"), fails = "bad_response",
      libcurl = {} },
    { "words after a size", chunks("2 bytes", "{}", "0", "", ""), fails = "bad_response",
      libcurl = {} },
    { "an endless extension", chunks("2;" .. ("x"):rep(5000), "{}", "0", "", ""),
      fails = "bad_response", libcurl = {} },
    { "a NUL in an extension", chunks("2;\0", "{}", "0", "", ""), fails = "bad_response",
      libcurl = {} },
  },

  ["with a bare CR"] = {
    { "before a line's end", head("A: b\r", "Content-Length: 2", "", "{}") },
    { "before the end of an empty line", head("Content-Length: 2", "\r", "{}") },
    { "alone in a line that ends with LF", OK .. "Content-Length: 2\r\n\r\r\n{}" },
    { "in a value", head("A: b\rc", "Content-Length: 2", "", "{}") },
    { "that begins a value", head("A:\rb", "Content-Length: 2", "", "{}") },
    { "in a length", head("Content-Length: 2\r", "", "{}") },
    { "that would begin another header", head("A: b\rContent-Length: 1", "Content-Length: 2", "",
      "{}") },
    { "in a folded line", head("A: b", " c\rd", "Content-Length: 2", "", "{}") },
    { "in the status line", "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\n{}" },
    { "at the end of the status line", "HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\n\r\n{}" },
    { "after 1XX", "HTTP/1.1 100 Continue\r\nA: b\rc\r\n\r\n" .. head("Content-Length: 2", "",
      "{}") },
    { "after a size", chunks("2\r", "{}", "0", "", "") },
    { "in an extension", chunks("2;a\rb", "{}", "0", "", "") },
    { "after a chunk", chunks("2", "{}\r", "0", "", "") },
    { "in a trailer", chunks("2", "{}", "0", "A: b\rc", "", ""),
      libcurl = { fails = "connection_lost" } },
    { "before the trailer's end", chunks("2", "{}", "0", "A: b", "\r", ""),
      libcurl = { fails = "connection_lost" } },
  },

  -- libcurl reports these as a lost connection.
  ["by broken chunks"] = {
    { "a blank before a size", chunks(" 2", "{}", "0", "", "") },
    { "a size with +", chunks("+2", "{}", "0", "", "") },
    { "a negative size", chunks("-2", "{}", "0", "", "") },
    { "a size with 0x", chunks("0x2", "{}", "0", "", "") },
    { "no size", chunks("", "{}", "0", "", "") },
    { "only an extension", chunks(";a", "{}", "0", "", "") },
    { "words", chunks("zz", "{}", "0", "", "") },
    { "a size of too many digits", chunks("00000000000000002", "{}", "0", "", "") },
    { "no line end after a chunk", chunks("2", "{}0", "", "") },
    { "more than was said", chunks("2", "{}-", "0", "", "") },
    { "an empty line between chunks", chunks("2", "{}", "", "0", "", "") },
    { "a trailer that is none", chunks("2", "{}", "0", "HTTP/1.1 200 OK", "", "") },
    { "a NUL in the trailer", chunks("2", "{}", "0", "A: \0", "", "") },
  },

  ["to the connection's end"] = {
    { "a body", head("", "{}") },
    { "none", head("", ""), body = "" },
    { "HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{}" },
    { "just as much as allowed", head("", ("x"):rep(1000)), body = ("x"):rep(1000) },
    { "more than allowed", head("", ("x"):rep(1001)), fails = "response_too_large" },
  },

  ["without a body"] = {
    { "204", "HTTP/1.1 204 No Content\r\n\r\n", status = 204, body = "" },
    { "204 with one", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", status = 204,
      body = "" },
    { "204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      status = 204, body = "" },
    { "304 with the length of another", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9999\r\n\r\n",
      status = 304, body = "" },
    { "304 with a nonsensical length", "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
      fails = "bad_response" },
  },

  ["after others of 1XX"] = {
    { "100", "HTTP/1.1 100 Continue\r\n\r\n" .. head("Content-Length: 2", "", "{}") },
    { "103 and 100", "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n"
      .. head("Content-Length: 2", "", "{}"), headers = { ["content-length"] = "2" } },
    { "one with a length", "HTTP/1.1 199 X\r\nContent-Length: x\r\nConnection: close\r\n\r\n"
      .. head("Content-Length: 2", "", "{}"), headers = { ["content-length"] = "2" } },
    { "one with two blanks", "HTTP/1.1  103 Early\r\nA: b\r\n\r\n"
      .. head("Content-Length: 2", "", "{}"), headers = { ["content-length"] = "2" },
      libcurl = { headers = { a = "b" } }, libcurl_8 = { fails = "bad_response" } },
    { "garbage", "HTTP/1.1 100 Continue\r\n\r\nSSH-2.0-x\r\n", fails = "bad_response" },
    { "an empty line", "HTTP/1.1 100 Continue\r\n\r\n\r\n" .. OK, fails = "bad_response" },
    { "the end", "HTTP/1.1 100 Continue\r\n\r\n", fails = "connection_lost" },
    { "another protocol", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"
      .. head("Content-Length: 2", "", "{}"), fails = "bad_response",
      libcurl = { fails = "connection_lost" } },
  },

  ["by its first line"] = {
    { "no reason", "HTTP/1.1 404\r\nContent-Length: 2\r\n\r\n{}", status = 404 },
    { "two blanks", "HTTP/1.1  404 No\r\nContent-Length: 2\r\n\r\n{}", status = 404,
      libcurl_8 = { fails = "bad_response" } },
    { "a reason too near", "HTTP/1.1 404No\r\nContent-Length: 2\r\n\r\n{}", status = 404 },
    { "any status", "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n{}", status = 999 },
    { "a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n{}", fails = "bad_response",
      libcurl_8 = {} },
    { "a status of two digits", "HTTP/1.1 20 OK\r\n\r\n{}", fails = "bad_response" },
    { "a status below 100", "HTTP/1.1 099 OK\r\n\r\n{}", fails = "bad_response" },
    { "a negative status", "HTTP/1.1 -20 OK\r\n\r\n{}", fails = "bad_response" },
    { "a status of words", "HTTP/1.1 abc OK\r\n\r\n{}", fails = "bad_response" },
    { "no status", "HTTP/1.1 \r\n\r\n{}", fails = "bad_response" },
    { "HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n{}", fails = "bad_response" },
    { "HTTP/1.10", "HTTP/1.10 200 OK\r\n\r\n{}", fails = "bad_response" },
    { "HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n{}", fails = "bad_response" },
    { "HTTP/3", "HTTP/3 200 OK\r\n\r\n{}", fails = "bad_response" },
    { "HTTP/2", "HTTP/2 200 OK\r\n\r\n{}", fails = "bad_response", libcurl = {} },
    { "no version", "HTTP/ 404 No\r\n\r\n{}", fails = "bad_response", libcurl = {} },
    { "small letters", "http/1.1 404 No\r\n\r\n{}", fails = "bad_response", libcurl = {} },
    { "a blank before", " HTTP/1.1 200 OK\r\n\r\n{}", fails = "bad_response" },
    { "an empty line before", "\r\nHTTP/1.1 200 OK\r\n\r\n{}", fails = "bad_response" },
    { "a NUL", "HTTP/1.1 200 O\0K\r\n\r\n{}", fails = "bad_response" },
    { "another protocol", "SSH-2.0-OpenSSH_9.2\r\n", fails = "bad_response" },
    { "a page without a head", "<html><body>It works</body></html>", fails = "bad_response" },
    { "nothing", "", fails = "connection_lost" },
    { "half a word", "HTT", fails = "connection_lost" },
    { "half a line", "HTTP/1.1 200", fails = "connection_lost" },
    { "a line alone", OK, fails = "connection_lost" },
  },

  ["by its headers"] = {
    { "names in lower case, blanks trimmed", head("X-One: a b ", "VARY:\tc", "Content-Length: 2",
      "", "{}"), headers = { ["x-one"] = "a b", vary = "c", ["content-length"] = "2" } },
    { "repeated ones, joined", head("VARY: a", "Content-Length: 2", "Vary:", "vary:  c", "", "{}"),
      headers = { vary = "a, , c", ["content-length"] = "2" } },
    { "colons and no value", head("A:b:c", "D:", "Content-Length: 2", "", "{}"),
      headers = { a = "b:c", d = "", ["content-length"] = "2" } },
    { "a folded line", head("A: b \t ", "  c", "\td: e ", "Content-Length: 2", "", "{}"),
      headers = { a = "b \t   c\td: e", ["content-length"] = "2" } },
    { "an empty folded line", head("A: b", "  ", "Content-Length: 2", "", "{}"),
      headers = { a = "b", ["content-length"] = "2" } },
    { "no name", head(": a", ":b: c", "Content-Length: 2", "", "{}"),
      headers = { ["content-length"] = "2" } },
    { "other bytes", head("\1(\195\169): \255\1\127", "Content-Length: 2", "", "{}"),
      headers = { ["\1(\195\169)"] = "\255\1\127", ["content-length"] = "2" } },
    { "no colon", head("A: b", "garbage", "Content-Length: 2", "", "{}"), fails = "bad_response" },
    { "no colon at first", head("garbage", "Content-Length: 2", "", "{}"), fails = "bad_response" },
    { "a NUL", head("A: b\0c", "Content-Length: 2", "", "{}"), fails = "bad_response" },
    { "a first line that continues none", head(" A", "Content-Length: 2", "", "{}"),
      fails = "bad_response" },
    { "a first line that continues none, with a colon",
      head(" A: b", "Content-Length: 2", "", "{}"), fails = "bad_response",
      libcurl = { fails = "connection_lost" }, libcurl_8 = {} },
    { "a blank before the colon", head("Content-Length : 2", "", "{}-"), fails = "bad_response",
      libcurl = { body = "{}-" } },
    { "a blank in a name", head("A b: c", "Content-Length: 2", "", "{}"), fails = "bad_response",
      libcurl = {} },
    { "a folded length", head("Content-Length:", " 2", "", "{}-"), fails = "bad_response",
      libcurl_8 = {} },
    { "a length folded to two", head("Content-Length: 1", " 2", "", "{}"), fails = "bad_response" },
    { "a folded coding", head("Transfer-Encoding:", " chunked", "", "2", "{}", "0", "", ""),
      fails = "bad_response", libcurl_8 = {} },
    { "a coding folded to two", head("Transfer-Encoding: chunked", " , gzip", "", "0", "", ""),
      fails = "bad_response" },
    { "a folded content coding", head("Content-Encoding:", " gzip", "Content-Length: 2", "", "{}"),
      fails = "bad_response" },
    { "a folded connection option", head("Connection:", " close", "Content-Length: 2", "", "{}"),
      fails = "bad_response", libcurl_8 = {} },
    { "the end in a line", head("A: b", "Content-Len"), fails = "connection_lost" },
    { "the end after a line", head("A: b", "Content-Length: 2", ""), fails = "connection_lost" },
    { "a body not packed", head("Content-Encoding: Identity", "Content-Length: 2", "", "{}") },
    { "a compressed body", head("Content-Encoding: x-other", "Content-Length: 2", "", "{}"),
      fails = "bad_response" },
    { "a packed body of nothing", head("Content-Encoding: x-other", "Content-Length: 0", "", ""),
      body = "" },
  },

  ["up to a size"] = {
    { "a line that fits", head("A: " .. ("x"):rep(102399 - 5), "Content-Length: 2", "", "{}") },
    { "a line too long", head("A: " .. ("x"):rep(102400 - 5), "Content-Length: 2", "", "{}"),
      fails = "response_too_large" },
    { "an endless line", head("A: " .. ("x"):rep(150000)), fails = "response_too_large" },
    { "a reason without end", "HTTP/1.1 200 " .. ("x"):rep(150000),
      fails = "response_too_large" },
    { "a head that just fits", OK .. ("A: bcd\r\n"):rep(32765) .. "BC:\r\n\r\n", body = "",
      libcurl_8 = { fails = "response_too_large" } },
    { "a head too large", OK .. ("A: bcd\r\n"):rep(32765) .. "BC: \r\n\r\n",
      fails = "response_too_large" },
    { "too many heads of 1XX", ("HTTP/1.1 100 Continue\r\n\r\n"):rep(12000),
      fails = "response_too_large" },
    { "a trailer too large", CHUNKED .. "2\r\n{}\r\n0\r\n" .. ("A: bcd\r\n"):rep(33000),
      fails = "response_too_large" },
  },
}

for _, case in ipairs(cases["with a bare CR"]) do
  case.fails, case.libcurl = "bad_response", case.libcurl or {}
end
for _, case in ipairs(cases["by broken chunks"]) do
  case.fails, case.libcurl = "bad_response", { fails = "connection_lost" }
end

-- Whether the connection can be kept after these bytes, when it is not closed.
local kept = {
  { "HTTP/1.1", head("Content-Length: 2", "", "{}"), true },
  { "nothing in the body", head("Content-Length: 0", "", ""), true },
  { "chunks", chunks("2", "{}", "0", "", ""), true },
  { "a trailer", chunks("2", "{}", "0", "Connection: close", "", ""), true },
  { "204", "HTTP/1.1 204 No Content\r\n\r\n", true },
  { "keep-alive", head("Connection: keep-alive", "Content-Length: 2", "", "{}"), true },
  { "close in 1XX", "HTTP/1.1 100 X\r\nConnection: close\r\n\r\n"
    .. head("Content-Length: 2", "", "{}"), true, libcurl = false },
  { "another option", head("Connection: closed, not-close", "Content-Length: 2", "", "{}"), true,
    libcurl = false },
  { "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", false },
  { "close", head("Connection: close", "Content-Length: 2", "", "{}"), false },
  { "Close among others", head("Connection: x,\tClose , y", "Content-Length: 2", "", "{}"), false,
    libcurl = true },
  { "close in a second line", head("Connection: x", "Connection: close", "Content-Length: 2", "",
    "{}"), false },
  { "bytes after a length", head("Content-Length: 2", "", "{}H"), false },
  { "bytes after chunks", chunks("2", "{}", "0", "", "", "H"), false, libcurl = true },
  { "bytes after a 204", "HTTP/1.1 204 No Content\r\n\r\n{}", false, libcurl = true },
}

local function expected_of(case)
  if case.fails then return { fails = case.fails } end
  return { status = case.status or 200, body = case.body or "{}", headers = case.headers }
end

-- Compares only the fields that the case has.
local function check(case, outcome)
  for field, value in pairs(expected_of(case)) do assert.same(value, outcome[field], field) end
end

------------------------------------------------------------------------------------ what is held

-- The size of all strings that a table holds, and their number.
local function held_by(value, seen)
  if type(value) == "string" then return #value, 1 end
  if type(value) ~= "table" or seen[value] then return 0, 0 end
  seen[value] = true
  local bytes, count = 0, 0
  for _, member in pairs(value) do
    local more_bytes, more = held_by(member, seen)
    bytes, count = bytes + more_bytes, count + more
  end
  return bytes, count
end

-- Lines of chunks, and what all responses have in common.
local BESIDES = 8192

local function check_held(max_bytes)
  return function(response)
    local bytes = held_by(response, {})
    assert.is_true(bytes <= max_bytes, bytes)
  end
end

------------------------------------------------------------------------------------------ chance

local SEED = 20260512
local state

-- The same numbers on every Lua: a Lehmer generator, exact in doubles.
local function random(n)
  state = state * 48271 % 2147483647
  return math.floor(state / 2147483647 * n) + 1
end

local function one_of(list)
  return list[random(#list)]
end

local function characters(count, set)
  local parts = {}
  for i = 1, count do
    local at = random(#set)
    parts[i] = set:sub(at, at)
  end
  return table.concat(parts)
end

local function split(bytes)
  local pieces, at, longest = {}, 1, one_of { 1, 3, 20, 200 }
  while at <= #bytes do
    local length = random(longest)
    pieces[#pieces + 1] = bytes:sub(at, at + length - 1)
    at = at + length
  end
  return pieces
end

local function add(headers, name, value)
  headers[name] = headers[name] and headers[name] .. ", " .. value or value
end

-- Adds header lines to `parts`, and their meaning to `headers`.
local function add_fields(parts, headers, line_end)
  for _ = 1, random(6) - 1 do
    local name = one_of { "X-A", "x-b", "X-C", "Via" }
    local value = characters(random(12) - 1, "abc:;, 09\"\200") .. one_of { "", "z" }
    local fold = one_of { "", "", line_end .. " ", line_end .. "\t:" }
    parts[#parts + 1] = name .. one_of { ":", ": ", ":\t " } .. value .. fold .. line_end
    value = value .. fold:gsub("[\r\n]", "")
    add(headers, name:lower(), value:match "^%s*(.-)%s*$")
  end
end

local function add_head(parts, status, headers, line_end)
  parts[#parts + 1] = ("HTTP/1.1 %d%s%s"):format(status, one_of { "", " ", " A b" }, line_end)
  add_fields(parts, headers, line_end)
end

local function add_chunks(parts, body, line_end)
  local at = 1
  while at <= #body do
    local chunk = body:sub(at, at + random(60) - 1)
    local size = one_of { "%x", "%X", "000%x" }:format(#chunk)
    parts[#parts + 1] = size .. one_of { "", " ", ";a", ' ; b="c"' } .. line_end
    parts[#parts + 1] = chunk .. line_end
    at = at + #chunk
  end
  parts[#parts + 1] = "0" .. line_end
  add_fields(parts, {}, line_end)
  parts[#parts + 1] = line_end
end

local framings = {
  length = function(parts, expected, line_end)
    add(expected.headers, "content-length", tostring(#expected.body))
    parts[#parts + 1] = "Content-Length: " .. #expected.body .. line_end .. line_end
    parts[#parts + 1] = expected.body
  end,
  chunks = function(parts, expected, line_end)
    add(expected.headers, "transfer-encoding", "chunked")
    parts[#parts + 1] = "Transfer-Encoding:chunked" .. line_end .. line_end
    add_chunks(parts, expected.body, line_end)
  end,
  open = function(parts, expected, line_end)
    expected.is_reusable = false
    parts[#parts + 1] = line_end .. expected.body
  end,
  nothing = function(parts, expected, line_end)
    expected.status, expected.body = 204, ""
    parts[1] = parts[1]:gsub(" %d+", " 204", 1)
    parts[#parts + 1] = line_end
  end,
}

-- Bytes, and their expected outcome.
local function an_answer()
  local parts, early, line_end = {}, {}, one_of { "\r\n", "\r\n", "\n" }
  local expected = {
    status = one_of { 200, 201, 404, 503 },
    headers = {},
    body = characters(random(300) - 1, '{}":,ab\r\n\0\255'),
    is_reusable = true,
  }
  for _ = 1, random(3) - 1 do
    add_head(early, one_of { 100, 103 }, {}, line_end)
    early[#early + 1] = line_end
  end
  add_head(parts, expected.status, expected.headers, line_end)
  if random(4) == 1 then
    add(expected.headers, "connection", "close")
    parts[#parts + 1], expected.is_reusable = "Connection: close" .. line_end, false
  end
  framings[one_of { "length", "chunks", "open", "nothing" }](parts, expected, line_end)
  return table.concat(early) .. table.concat(parts), expected
end

local tokens = { "\r\n", "\n", "\r", "\0", ":", " ", ",", ";", "0", "1", "ffffffffffffff", "-1",
  "\r\n\r\n", "Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n", "HTTP/1.1 200\r\n",
  "Content-Encoding: gzip\r\n", "Connection: close\r\n", ("x"):rep(500), "\255" }

local function mutate(bytes)
  local at, length = random(#bytes + 1), random(one_of { 1, 4, 40 }) - 1
  local rest = bytes:sub(at + length)
  return bytes:sub(1, at - 1) .. one_of {
    rest,
    one_of(tokens) .. rest,
    bytes:sub(at, at + length) .. bytes:sub(at, at + length) .. rest,
    string.char(random(256) - 1) .. rest,
  }
end

--------------------------------------------------------------------------------------- the specs

describe("HTTP/1.1 without a socket", function()
  describe("writes a request", function()
    local function write(request)
      request.url = request.url or "https://api.clerk.com" .. request.target
      request.headers = request.headers or {}
      return core.http_request(request)
    end

    it("without a body", function()
      assert.equal("GET /v1/a?b=5 HTTP/1.1\r\nhost: api.clerk.com\r\n"
        .. "accept-encoding: identity\r\naccept: */*\r\n\r\n",
        write { method = "GET", target = "/v1/a?b=5", headers = { accept = "*/*" } })
    end)

    it("with a body", function()
      assert.equal("PATCH / HTTP/1.1\r\nhost: [::1]:80\r\naccept-encoding: identity\r\n"
        .. "content-length: 3\r\n\r\n{\0}",
        write { method = "PATCH", url = "http://[::1]:80/", body = "{\0}" })
    end)

    it("with an empty body and an empty header", function()
      assert.equal("POST / HTTP/1.1\r\nhost: a\r\naccept-encoding: identity\r\nx-empty: \r\n"
        .. "content-length: 0\r\n\r\n",
        write { method = "POST", url = "https://a/", headers = { ["x-empty"] = "" },
          body = "" })
    end)

    for name, request in pairs {
      ["a method of two lines"] = { method = "GET\r\n", target = "/" },
      ["a method of two words"] = { method = "GET /", target = "/" },
      ["a target of two words"] = { method = "GET", target = "/ HTTP/1.1" },
      ["a target of two lines"] = { method = "GET", target = "/\nx" },
      ["a target with NUL"] = { method = "GET", target = "/\0" },
      ["a target that is none"] = { method = "GET", target = "" },
      ["a host of two lines"] = { method = "GET", url = "https://a\r\nb: c/" },
      ["a host that is none"] = { method = "GET", url = "https:///" },
      ["a URL that is none"] = { method = "GET", url = "api" },
      ["an empty URL"] = { method = "GET", url = "" },
      ["an empty name"] = { method = "GET", target = "/", headers = { [""] = "" } },
      ["a name of two lines"] = { method = "GET", target = "/", headers = { ["a\nb"] = "" } },
      ["a name with a colon"] = { method = "GET", target = "/", headers = { ["a:b"] = "" } },
      ["a value with CR"] = { method = "GET", target = "/", headers = { a = "b\rc" } },
      ["a value with LF"] = { method = "GET", target = "/", headers = { a = "b\nc" } },
      ["a value with NUL"] = { method = "GET", target = "/", headers = { a = "b\0c" } },
    } do
      it("but not with " .. name, function() assert.is_false(pcall(write, request)) end)
    end
  end)

  describe("reads a response", function()
    for title, group in pairs(cases) do
      for _, case in ipairs(group) do
        it(title .. ": " .. case[1], function()
          local outcome, failure = read { case[2] }
          check(case, outcome)
          if failure then assert.matches("^%l.*%l", failure.message) end
          assert.same(outcome, read(pieces_of(case[2], #case[2] > 20000 and 97 or 1)))
        end)
      end
    end

    for _, case in ipairs(kept) do
      local effect = case[3] and "and keeps" or "and does not keep"
      it(effect .. " the connection: " .. case[1], function()
        for _, size in ipairs { #case[2], 1 } do
          local response = new_response()
          for _, piece in ipairs(pieces_of(case[2], size)) do response:feed(piece) end
          assert.is_true(response.is_complete)
          assert.equal(case[3], response.is_reusable)
        end
      end)
    end

    it("which comes at once", function()
      local whole = head("A: b", "Content-Length: 2", "", "{}")
      assert.same({ status = 200, fields = "A: b\r\nContent-Length: 2\r\n", body = "{}",
        is_reusable = true }, http1.read_whole(whole, 2))
      for name, bytes in pairs {
        ["no response"] = "garbage",
        ["nothing"] = "",
        ["a part"] = whole:sub(1, -2),
        ["a part of its head"] = whole:sub(1, 20),
        ["more"] = whole .. "-",
        ["chunks"] = chunks("2", "{}", "0", "", ""),
        ["no length"] = head("A: b", "", "{}"),
        ["a head before it"] = "HTTP/1.1 100 Continue\r\n\r\n" .. whole,
        ["a compressed body"] = head("Content-Encoding: x", "Content-Length: 2", "", "{}"),
        ["too much"] = head("Content-Length: 3", "", "{ }"),
        ["another protocol"] = "HTTP/1.1 101 A\r\nContent-Length: 2\r\n\r\n{}",
      } do
        assert.is_nil(http1.read_whole(bytes, 2), name)
      end
    end)

    it("and says when it is complete", function()
      local response = new_response()
      assert.is_true(response:feed "")
      assert.is_false(response.has_begun)
      assert.is_true(response:feed "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{")
      assert.is_true(response.has_begun)
      assert.is_false(response.is_complete)
      assert.is_false(response.is_reusable)
      assert.is_false(response:feed "}")
      assert.is_true(response.is_complete)
      assert.is_true(response:finish())
      assert.is_true(response.is_reusable)
      assert.is_false(response:feed "HTTP/1.1")
      assert.is_false(response.is_reusable)
      assert.equal("{}", response.body)
    end)

    it("and keeps failing after a failure", function()
      local response = new_response()
      local _, failure = response:feed "SSH"
      assert.equal("bad_response", failure.code)
      assert.same({ nil, failure }, { response:feed(head("Content-Length: 0", "", "")) })
      assert.same({ nil, failure }, { response:finish() })
      assert.is_false(response.is_complete)
      assert.is_false(response.is_reusable)
    end)

    it("and says where the connection was closed", function()
      for bytes, place in pairs {
        [""] = "without a response",
        ["H"] = "head",
        [CHUNKED] = "body",
        [CHUNKED .. "0\r\nA: b\r\n"] = "body",
      } do
        local _, failure = read { bytes }
        assert.matches(place, failure.message, 1, true)
      end
    end)
  end)

  describe("refuses at once", function()
    local function refused(code, bytes)
      local response = new_response()
      local ok, failure = response:feed(bytes)
      assert.is_nil(ok)
      assert.equal(code, failure.code)
    end

    it("what does not begin like HTTP", function()
      for _, bytes in ipairs { "\0", "\r", "h", "HTTQ", "HTTP/2", "<" } do
        refused("bad_response", bytes)
        refused("bad_response", "HTTP/1.1 100\r\n\r\n" .. bytes)
      end
    end)

    it("a length beyond the limit", function()
      refused("response_too_large", head("Content-Length: 1001", "", ""))
    end)

    it("an endless line", function()
      refused("response_too_large", OK .. ("x"):rep(102400))
      refused("response_too_large", "HTTP/1.1 " .. ("x"):rep(102400))
      refused("response_too_large", CHUNKED .. "0\r\n" .. ("x"):rep(102400))
      refused("bad_response", CHUNKED .. ("0"):rep(4097))
    end)

    it("bytes between chunks", function()
      refused("bad_response", CHUNKED .. "2\r\n{}...")
    end)

    it("a compressed body", function()
      refused("bad_response", head("Content-Encoding: gzip", "", "\31"))
    end)

    it("headers that are larger than the limit", function()
      local bytes = OK .. "A: b\r\n\r\n"
      assert.is_nil(read({ bytes }, #bytes).fails)
      assert.equal("response_too_large", read({ bytes }, #bytes - 1).fails)
    end)
  end)

  describe("takes byte by byte", function()
    local SIZE = 16384

    -- The memory that `work` allocates in total, in KiB.
    local function kilobytes_for(work)
      collectgarbage()
      collectgarbage "stop"
      local before = collectgarbage "count"
      work()
      local made = collectgarbage "count" - before
      collectgarbage "restart"
      return made
    end

    for name, bytes in pairs {
      ["a body"] = OK .. "\r\n" .. ("x"):rep(SIZE),
      ["a line"] = OK .. "A: " .. ("x"):rep(SIZE),
      ["chunks of a byte"] = CHUNKED .. ("1\r\nx\r\n"):rep(math.floor(SIZE / 6)),
    } do
      it(name .. ", and copies bytes in linear time", function()
        local pieces = pieces_of(bytes, 1)
        local response = http1.new_response { max_response_bytes = SIZE }
        local made = kilobytes_for(function()
          for _, piece in ipairs(pieces) do response:feed(piece) end
        end)
        local held, count = held_by(response, {})
        assert.is_nil(response.failure)
        assert.is_true(held > SIZE / 6)
        assert.is_true(count < 100, count)
        assert.is_true(made < SIZE, made) -- 8 times as much when all is copied each time
      end)
    end

    it("a body of a quarter of a megabyte", function()
      local body = ("0123456789abcdef"):rep(2 ^ 14)
      local response = http1.new_response { max_response_bytes = #body }
      for _, piece in ipairs(pieces_of(OK .. "\r\n" .. body, 1)) do response:feed(piece) end
      assert.is_true(response:finish())
      assert.is_true(response.body == body)
    end)
  end)

  describe("does twice the work, not four times, for twice as much of", function()
    local SOME = 1000
    local READ = [[
      local answer = require "clerk.machines.nginx.http1".new_response { max_response_bytes = 1000 }
      answer:feed(...)
      answer:finish()
    ]]

    -- How many are within the limits; then by turns what comes once and what comes so many times.
    local heads = {
      ["repeated headers"] = { 87000, OK, "a:\n", "\n" },
      ["folded lines"] = { 65000, OK .. "a:\n", " b\n", "\n" },
      ["empty folded lines"] = { 130000, OK .. "a:\n", " \n", "\n" },
      ["blanks"] = { 100000, OK .. "a:", " ", "\n\n" },
      ["blanks before"] = { 100000, OK .. "a:", " ", "b\n\n" },
      ["blanks between"] = { 100000, OK .. "a:b", " ", "b\n\n" },
      ["blanks in a folded line"] = { 100000, OK .. "a:b", " ", "\n", " ", "b\n\n" },
      ["blanks in the first line"] = { 100000, "HTTP/1.1 ", " ", "\n" },
      ["returns"] = { 100000, OK .. "a:", "\r", "b\n\n" },
      ["returns without end"] = { 100000, OK .. "a:", "\r" },
      ["names of colons"] = { 100000, OK, ":", "\n\n" },
      ["no name"] = { 100000, OK .. ":", "a", "\n\n" },
      ["no colon"] = { 100000, OK, "a", "\n\n" },
      ["digits"] = { 100000, OK .. "Content-Length: ", "1", "\n\n" },
      ["zeros"] = { 100000, OK .. "Content-Length: ", "0", "x\n\n" },
      ["lengths"] = { 15000, OK, "Content-Length:1\n", "\n" },
      ["blanks in a length"] = { 100000, OK .. "Content-Length: 1", " ", "1\n\n" },
      ["blanks in a list of lengths"] = { 100000, OK .. "Content-Length: 1,", " ", "x\n\n" },
      ["commas"] = { 100000, OK .. "Content-Length: 1", ",", "\n\n" },
      ["options"] = { 16000, OK .. "Connection: ", ",close", "\n\n" },
      ["heads"] = { 18000, "", "HTTP/1.1 100\n\n" },
    }

    local function make(row, count)
      local parts = {}
      for i = 2, #row do parts[i - 1] = row[i]:rep(i % 2 == 0 and 1 or count) end
      return table.concat(parts)
    end

    local counts = {} -- for each name: the instructions for some, and for twice as many

    lazy_setup(function()
      if os.getenv "LD_PRELOAD" then return end -- valgrind does not run sanitizers
      local names, inputs = {}, {}
      for name, row in pairs(heads) do
        table.insert(names, name)
        table.insert(inputs, make(row, SOME))
        table.insert(inputs, make(row, 2 * SOME))
      end
      local counted = instructions.count(READ, inputs)
      for i, name in ipairs(names) do counts[name] = { counted[2 * i - 1], counted[2 * i] } end
    end)

    for name, row in pairs(heads) do
      it(name, function()
        local counted = counts[name]
        if counted then
          assert.is_true(counted[2] < 2.5 * counted[1], counted[1] .. ", then " .. counted[2])
        end
        local bytes = make(row, row[1])
        read({ bytes }, nil, check_held(#bytes * 2 + BESIDES))
      end)
    end
  end)

  describe("with random bytes", function()
    before_each(function() state = SEED end)

    it("valid responses give the same outcome wherever they are split", function()
      for _ = 1, 500 do
        local bytes, expected = an_answer()
        for _ = 1, 3 do
          local ok, problem = pcall(assert.same, expected, read(split(bytes)))
          if not ok then error(("%q: %s"):format(bytes, tostring(problem))) end
        end
      end
    end)

    it("broken answers give a value or a failure, hold no more than allowed, and are the same "
      .. "wherever they are split", function()
      local MAX_HEAD = 600
      local watch = check_held(MAX_BODY + 2 * MAX_HEAD + BESIDES)
      local failures = 0
      for _ = 1, 1500 do
        local bytes = an_answer()
        for _ = 1, random(4) do bytes = mutate(bytes) end
        local outcome, failure = read({ bytes }, MAX_HEAD, watch)
        assert.is_true(not failure or CODES[failure.code])
        assert.is_true(failure ~= nil or #outcome.body <= MAX_BODY)
        failures = failures + (failure and 1 or 0)
        assert.same(outcome, read(split(bytes), MAX_HEAD, watch), bytes)
      end
      assert.is_true(failures > 300 and failures < 1200, failures)
    end)
  end)

  describe("gives the same outcome as libcurl", function()
    local served, web, transport = {}, nil, nil

    -- The bytes of each case under its number; then the connection is closed unless kept.
    lazy_setup(function()
      local values = {}
      for i, case in ipairs(served) do values["/" .. i] = case[2] end
      web = server.start([[
        for request in connection:requests() do
          connection:write(values[request.target])
          if not request.headers["x-keep"] then return end
        end
      ]], { values = values })
    end)

    lazy_teardown(server.stop_all)
    before_each(function() transport = assert(libcurl.new { max_connections = 1 }) end)
    after_each(function() transport:close() end)

    local function add_case(case)
      served[#served + 1] = case
      return "/" .. #served
    end

    local function ask(path, headers)
      local response, failure = transport:send {
        method = "GET",
        url = web:url(path),
        headers = headers or {},
        timeout_ms = 10000,
        connect_timeout_ms = 10000,
        max_response_bytes = MAX_BODY,
      }
      return response or { fails = failure.code }
    end

    local function read_alike(bytes)
      local outcome = read { bytes }
      outcome.is_reusable = nil
      return outcome
    end

    -- Whether some libcurl is known for this outcome.
    local function is_known(case, outcome)
      return (case.libcurl and pcall(check, case.libcurl, outcome))
        or (case.libcurl_8 and pcall(check, case.libcurl_8, outcome))
    end

    for title, group in pairs(cases) do
      for _, case in ipairs(group) do
        local path = add_case(case)
        local differs = case.libcurl or case.libcurl_8
        it(("%s: %s%s"):format(title, case[1], differs and ", but for this" or ""), function()
          local ours, theirs = read_alike(case[2]), ask(path)
          if not is_known(case, theirs) then assert.same(ours, theirs) end
        end)
      end
    end

    state = SEED
    for i = 1, 60 do
      local bytes = an_answer()
      local path = add_case { i, bytes }
      it("random bytes, " .. i, function() assert.same(read_alike(bytes), ask(path), bytes) end)
    end

    for _, case in ipairs(kept) do
      local path = add_case(case)
      it("keeping connections: " .. case[1], function()
        for _ = 1, 2 do assert.is_nil(ask(path, { ["x-keep"] = "1" }).fails) end
        local connections = {}
        for _, request in ipairs(web:requests()) do
          if request.target == path then connections[#connections + 1] = request.connection end
        end
        local is_kept = connections[1] == connections[2]
        if is_kept ~= case.libcurl then assert.equal(case[3], is_kept) end
      end)
    end

    -- The lines of a request, with names in lower case, sorted.
    local function lines_of(bytes)
      local lines = {}
      for line in bytes:match "^(.-\r\n)\r\n":gmatch "(.-)\r\n" do
        local name, value = line:match "^([%w-]+):(.*)$"
        lines[#lines + 1] = name and name:lower() .. ":" .. value or line
      end
      table.sort(lines)
      return lines
    end

    it("with a request", function()
      local request = { method = "POST", headers = { ["x-a"] = "b c" }, body = '{"name":"a"}' }
      local web_of_one = server.start "connection:read_request() connection:answer(200, '{}')"
      request.url = web_of_one:url "/v1/a?b=%20"
      for _, name in ipairs { "timeout_ms", "connect_timeout_ms" } do request[name] = 10000 end
      request.max_response_bytes = MAX_BODY
      request.headers.accept = "application/json"
      request.headers["content-type"] = "application/json"
      assert(transport:send(request))
      local theirs = web_of_one:requests()[1].bytes
      theirs = theirs:gsub("gzip, deflate", "identity") -- libcurl decompresses
      local ours = core.http_request(request)
      assert.same(lines_of(theirs), lines_of(ours))
      assert.equal(theirs:match "\r\n\r\n(.*)$", ours:match "\r\n\r\n(.*)$")
    end)
  end)
end)
