--- Signs JWTs with a new RSA key, by luaossl.
---
---     local signer = signer.new { bits = 2048, exponent = 65537 }
---     signer.n, signer.e    -- of a JWK
---     signer.pem            -- the public key
---     signer:jwt(header, payload)    -- of two JSON texts

local bignum = require "openssl.bignum"
local digest = require "openssl.digest"
local pkey = require "openssl.pkey"

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local signer = {}
signer.__index = signer

local function sextets(a, b, c)
  local bits = a * 65536 + (b or 0) * 256 + (c or 0)
  local digits = {}
  for i = 4, 1, -1 do
    local value = bits % 64
    digits[i] = ALPHABET:sub(value + 1, value + 1)
    bits = (bits - value) / 64
  end
  return table.concat(digits, "", 1, c and 4 or b and 3 or 2)
end

--- base64url without padding
---@param bytes string
function signer.encode(bytes)
  return (bytes:gsub("..?.?", function(group)
    return sextets(group:byte(1, 3))
  end))
end

function signer.new(options)
  local key = pkey.new {
    type = "RSA",
    bits = options and options.bits or 2048,
    exp = options and options.exponent or 65537,
  }
  local numbers = key:getParameters()
  return setmetatable({
    key = key,
    n = signer.encode(numbers.n:toBinary()),
    e = signer.encode(bignum.new(numbers.e):toBinary()),
    pem = key:toPEM "public",
  }, signer)
end

--- The bytes of the signature over a text.
function signer:raw_signature(text)
  local hash = digest.new "sha256"
  hash:update(text)
  return self.key:sign(hash)
end

--- The same in base64url.
function signer:signature(text)
  return signer.encode(self:raw_signature(text))
end

function signer:jwt(header, payload)
  local text = signer.encode(header) .. "." .. signer.encode(payload)
  return text .. "." .. self:signature(text)
end

return signer
