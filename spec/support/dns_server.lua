-- A name server on a free port of the loopback, for nginx's resolver: luajit dns_server.lua
--
-- It answers 127.0.0.1 for every name in .test, except nowhere.test, which does not exist, and
-- silent.test, which it does not answer. Names have no IPv6 addresses. It ends with its parent.

local bit = require "bit"
local uv = require "luv"

local HEADER_BYTES = 12
local TYPE_A = 1
local RESPONSE, NO_ERROR, NO_SUCH_NAME = 0x8180, 0, 3
local LOOPBACK = "\192\12\0\1\0\1\0\0\0\1\0\4\127\0\0\1" -- the question's name, valid for a second
local CHECK_MS = 1000

local function number(value)
  return string.char(bit.rshift(value, 8), bit.band(value, 255))
end

-- The name and type in the question, and the question's bytes.
local function parse(query)
  local labels, at = {}, HEADER_BYTES + 1
  local length = query:byte(at)
  while length > 0 do
    labels[#labels + 1] = query:sub(at + 1, at + length):lower()
    at = at + 1 + length
    length = query:byte(at)
  end
  local question = query:sub(HEADER_BYTES + 1, at + 4)
  return table.concat(labels, "."), query:byte(at + 2), question
end

local function answer(query)
  local name, kind, question = parse(query)
  if name == "silent.test" then return nil end
  local is_known = name:find "%.test$" and name ~= "nowhere.test"
  local record = is_known and kind == TYPE_A and LOOPBACK or ""
  local flags = number(RESPONSE + (is_known and NO_ERROR or NO_SUCH_NAME))
  local counts = number(1) .. number(record == "" and 0 or 1) .. number(0) .. number(0)
  return query:sub(1, 2) .. flags .. counts .. question .. record
end

local parent = uv.os_getppid()
local socket = uv.new_udp()
assert(socket:bind("127.0.0.1", 0))
assert(socket:recv_start(function(_, query, peer)
  local bytes = query and answer(query)
  if bytes then socket:try_send(bytes, peer.ip, peer.port) end
end))
uv.new_timer():start(CHECK_MS, CHECK_MS, function()
  if uv.os_getppid() ~= parent then os.exit(1) end
end)

print(("listening on 127.0.0.1:%d"):format(socket:getsockname().port))
io.stdout:flush()
uv.run()
