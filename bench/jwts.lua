--- Machines' JWTs, as Clerk makes them, good from now on for a day.

local machines = require "machines"
local mime = require "mime"
local pkey = require "openssl.pkey"
local digest = require "openssl.digest"

local jwts = {}

local HEADER = ('{"alg":"RS256","cat":"cl_B7d4PD333AAA","kid":"ins_%s","typ":"JWT"}')
  :format(machines.id(0):sub(5))

local CLAIMS = '{"iss":"https://clerk.example.com","sub":"%s","jti":"mt_%032d","iat":%d,"nbf":%d,'
  .. '"exp":%d,"scopes":"%s %s"}'

local function base64url(bytes)
  return (mime.b64(bytes):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
end

function jwts.new_key()
  return pkey.new { type = "RSA", bits = 2048 }
end

--- A JWT of machine 1, granted to the machines 2 and 3.
---@return string text
---@return string signed what its signature is over
---@return string signature
function jwts.sign(key, number)
  local now = os.time()
  local claims = CLAIMS:format(machines.id(1), number, now, now - 10, now + 86400, machines.id(2),
    machines.id(3))
  local signed = base64url(HEADER) .. "." .. base64url(claims)
  local signature = key:sign(digest.new("sha256"):update(signed))
  return signed .. "." .. base64url(signature), signed, signature
end

return jwts
