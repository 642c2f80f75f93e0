--- Makes tokens, and the key of the JWTs, in a directory: lua5.4 bench/tokens_fixture.lua DIRECTORY

local digest = require "openssl.digest"
local jwts = require "jwts"
local machines = require "machines"

local function write(name, text)
  local file = assert(io.open(arg[1] .. "/" .. name, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local key = jwts.new_key()
write("jwt.pem", key:toPEM "public")
write("jwt2", (jwts.sign(key, 2)))

--- The first one is also there in parts, for what verifies RSA alone.
local text, signed, signature = jwts.sign(key, 1)
write("jwt1", text)
write("jwt.signature", signature)
write("jwt.digest", digest.new("sha256"):final(signed))

--- What the API says of an opaque token.
write("opaque.json", ('{"object":"machine_to_machine_token","id":"mt_%032d","subject":"%s",'
  .. '"scopes":["%s","%s"],"claims":null,"revoked":false,"revocation_reason":null,"expired":false,'
  .. '"expiration":%d,"last_used_at":null,"created_at":%d,"updated_at":%d}'):format(3,
  machines.id(1), machines.id(2), machines.id(3), (os.time() + 86400) * 1000, os.time() * 1000,
  os.time() * 1000))
