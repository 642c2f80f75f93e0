-- Calls a service that wants a token, such as verify.lua. The token is minted once and used until
-- shortly before its end. If the service refuses it all the same (it was revoked), the call is
-- repeated once with a new one. From the checkout, built for luajit:
--
--   CLERK_MACHINE_SECRET_KEY=ak_… \
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" \
--     luajit examples/call_service.lua http://127.0.0.1:8080/ 3
--
-- calls it three times.

local http_request = require "http.request"
local machines = require "clerk.machines"
local tokens = require "clerk.machines.tokens"

local TIMEOUT_SECONDS = 10

local client = machines.new()
local source = tokens.source { client = client }

local function send(url, text)
  local request = http_request.new_from_uri(url)
  request.headers:upsert("authorization", "Bearer " .. text, true) -- true: keep it out of indexes
  local headers, stream = assert(request:go(TIMEOUT_SECONDS))
  return headers:get ":status", assert(stream:get_body_as_string(TIMEOUT_SECONDS))
end

--- A token may be refused before its time: then another one is worth a try, but only one. A 403
--- means that this machine is not let in, whatever its token.
local function call(url)
  local text = source:get()
  local status, body = send(url, text)
  if status == "401" then
    source:invalidate(text)
    status, body = send(url, (source:get()))
  end
  return status, body
end

local url, count = ...
for _ = 1, tonumber(count) or 1 do
  local status, body = call(url)
  io.write(status, " ", body)
  io.stdout:flush()
end
client:close()
