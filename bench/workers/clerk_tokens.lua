--- This client's JWTs, cold: read, verified by the key, judged.

local core = require "clerk.machines.core"
local worker = require "workers.worker"

local NOW, SKEW = 1800000000000, 5000 -- ms; the fixture's token is good then

local text = worker.read_body()
local key = assert(core.rsa_key_pem(worker.read_body ".pem"))

return function()
  local jwt = assert(core.jwt(text))
  assert(jwt:verify(key), "a bad signature")
  return assert(jwt:token(NOW, SKEW))
end
