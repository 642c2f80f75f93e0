--- Mends the HTTP/2 connections of lua-http 0.4. When half a frame has arrived, it puts that back
--- into the socket's buffer; the socket then forgets that it waits for more, and sleeps on.

local h2_connection = require "http.h2_connection"

local LOOK_AGAIN_SECONDS = 0.01

local methods = h2_connection.methods
local original_timeout = methods.timeout

---How long to wait at most, in seconds, before the connection is to be read from again.
---@return number?
function methods:timeout()
  local waits_for_nothing = self.had_eagain and self:events() == ""
  return waits_for_nothing and LOOK_AGAIN_SECONDS or original_timeout(self)
end
