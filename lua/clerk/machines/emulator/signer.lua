--- The instance's key: signs JWTs (RS256) by luaossl, and is published as a JWK.

local base64url = require "clerk.machines.emulator.base64url"
local core = require "clerk.machines.core"
local json_writer = require "clerk.machines.json_writer"

--- The class of tokens of machines; the same key signs sessions too.
local CATEGORY = "cl_B7d4PD333AAA"

local function luaossl(name)
  local ok, module = pcall(require, "openssl." .. name)
  if not ok then
    error("the emulator signs JWTs by luaossl, which is not installed (Debian: lua-luaossl)", 0)
  end
  return module
end

---@class clerk.machines.emulator.Signer
---@field instance_id string
---@field key userdata?
local Signer = {}
Signer.__index = Signer

local signer = {}

---@param instance_id string
---@return clerk.machines.emulator.Signer
function signer.new(instance_id)
  return setmetatable({ instance_id = instance_id, key = nil }, Signer)
end

--- Made when it is first needed: that takes time, and luaossl.
local function key_of(self)
  self.key = self.key or luaossl("pkey").new { type = "RSA", bits = 2048 }
  return self.key
end

local function digest_of(signed)
  return luaossl("digest").new("sha256"):update(signed)
end

---Replaces the key. Its `kid`, the instance's ID, stays the same.
function Signer:rotate()
  self.key = nil
end

---@return table jwk
function Signer:jwk()
  local numbers = key_of(self):getParameters()
  return {
    kid = self.instance_id,
    kty = "RSA",
    use = "sig",
    alg = "RS256",
    n = base64url.encode(numbers.n:toBinary()),
    e = base64url.encode(numbers.e:toBinary()),
  }
end

---@param payload table
---@return string jwt
function Signer:sign(payload)
  local header = { alg = "RS256", cat = CATEGORY, kid = self.instance_id, typ = "JWT" }
  local signed = base64url.encode(json_writer.write(header)) .. "."
    .. base64url.encode(json_writer.write(payload))
  return signed .. "." .. base64url.encode(key_of(self):sign(digest_of(signed)))
end

---@param jwt string
---@return table? payload nil when this key has not signed the token
function Signer:read(jwt)
  local signed, payload, signature = jwt:match "^([%w_-]+%.([%w_-]+))%.([%w_-]+)$"
  signature = signature and core.base64url(signature)
  if not signature or not key_of(self):verify(signature, digest_of(signed)) then
    return nil
  end
  return core.decode(core.base64url(payload), core.result)
end

return signer
