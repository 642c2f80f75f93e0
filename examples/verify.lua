-- A service in a cqueues loop (lua-http) that only certain machines may call: it verifies the token
-- of each request while it serves others. From the checkout, built for luajit:
--
--   CLERK_SECRET_KEY=sk_… CLERK_MACHINE_SECRET_KEY=ak_… \
--   MACHINE_ID=mch_… CALLERS="mch_… mch_…" \
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" \
--     luajit examples/verify.lua 8080
--
-- MACHINE_ID and the machine's key are the service's own; CALLERS are let in. The instance's key
-- gets the keys of JWTs; it is not needed with the option publishable_key. Port 0 takes a free one.

local cqueues = require "cqueues"
local http_headers = require "http.headers"
local http_server = require "http.server"
local machines = require "clerk.machines"
local tokens = require "clerk.machines.tokens.safe"

local loop = cqueues.new()
local client = machines.new()
local attachment = require("clerk.machines.adapters.cqueues").attach(client, loop)

local callers = {}
for id in (os.getenv "CALLERS" or ""):gmatch "%S+" do
  table.insert(callers, id)
end
local verifier, problem = tokens.verifier {
  client = client,
  machine_id = os.getenv "MACHINE_ID",
  callers = callers,
}
if not verifier then
  error(problem, 0)
end

--- Of a request's Authorization header: the token, or nil, a status and a challenge (RFC 6750).
local function authenticate(authorization)
  local text = authorization and authorization:match "^[Bb]earer +(%S+)$"
  if not text then
    return nil, "401", "Bearer"
  end
  local token, err = attachment:await(client:spawn(verifier.verify, verifier, text))
  if token then
    return token
  end
  io.stderr:write(tostring(err), "\n")
  if err.type ~= "TokenError" then
    return nil, "503" -- the verifier could not tell, so the caller is not let in
  elseif err.code == "token_not_granted" then
    return nil, "403", 'Bearer error="insufficient_scope"'
  end
  return nil, "401", 'Bearer error="invalid_token"'
end

local function answer(stream, status, challenge, text)
  local headers = http_headers.new()
  headers:append(":status", status)
  headers:append("content-type", "text/plain")
  if challenge then
    headers:append("www-authenticate", challenge)
  end
  stream:write_headers(headers, false)
  stream:write_body_from_string(text .. "\n")
end

local server = assert(http_server.listen {
  host = "127.0.0.1",
  port = tonumber((...)) or 8080,
  cq = loop,
  tls = false,
  onstream = function(_, stream)
    local headers = assert(stream:get_headers())
    local token, status, challenge = authenticate(headers:get "authorization")
    answer(stream, token and "200" or status, challenge,
      token and "hello, " .. token.subject or "no entry")
  end,
  onerror = function(_, _, operation, why)
    io.stderr:write(operation, ": ", tostring(why), "\n")
  end,
})
assert(server:listen())
print(("serving on http://127.0.0.1:%d/"):format((select(3, server:localname()))))
io.stdout:flush()
assert(server:loop())
