--- Makes a private certificate authority and a server certificate signed by it, with luaossl.

local bignum = require "openssl.bignum"
local pkey = require "openssl.pkey"
local rand = require "openssl.rand"
local x509 = require "openssl.x509"
local x509_altname = require "openssl.x509.altname"
local x509_extension = require "openssl.x509.extension"
local x509_name = require "openssl.x509.name"

local schema = require "clerk.machines.schema"

local certificates = {
  LOOPBACK = { "localhost", "127.0.0.1", "::1" },
}

local HOUR, YEAR = 3600, 365 * 86400

local function array(_, value, name)
  if type(value) ~= "table" then
    return nil, name .. " must be an array, got " .. type(value)
  end
  return value
end

local OPTIONS = schema.new {
  { name = "hosts", kind = array, default = certificates.LOOPBACK },
  { name = "not_before", kind = "integer", min = 0, max = 2 ^ 40 },
  { name = "not_after", kind = "integer", min = 0, max = 2 ^ 40 },
}

local function new_key()
  return pkey.new { type = "EC", curve = "prime256v1" }
end

local function common_name(text)
  local name = x509_name.new()
  name:add("CN", text)
  return name
end

local function alternative_names(hosts)
  local names = x509_altname.new()
  for _, host in ipairs(hosts) do
    local is_address = host:find("^[%d.]+$") or host:find(":", 1, true)
    names:add(is_address and "IP" or "DNS", host)
  end
  return names
end

local function new_certificate(subject, key, not_before, not_after)
  local certificate = x509.new()
  certificate:setVersion(3)
  certificate:setSerial(bignum.fromBinary(rand.bytes(16)))
  certificate:setSubject(subject)
  certificate:setPublicKey(key)
  certificate:setLifetime(not_before, not_after)
  return certificate
end

-- The identifiers tie the two certificates together; strict verifiers ask for them.
local function subject_key_identifier(identifier)
  return x509_extension.new("subjectKeyIdentifier", "DER", "\4\20" .. identifier)
end

local function authority_key_identifier(identifier)
  return x509_extension.new("authorityKeyIdentifier", "DER", "\48\22\128\20" .. identifier)
end

local function new_authority(not_before, not_after)
  local name, key = common_name("clerk-machines emulator CA"), new_key()
  local identifier = rand.bytes(20)
  local certificate = new_certificate(name, key, not_before, not_after)
  certificate:setIssuer(name)
  certificate:setBasicConstraints { CA = true }
  certificate:setBasicConstraintsCritical(true)
  certificate:addExtension(x509_extension.new("keyUsage", "critical,keyCertSign,cRLSign"))
  certificate:addExtension(subject_key_identifier(identifier))
  certificate:sign(key)
  return { name = name, key = key, identifier = identifier, certificate = certificate }
end

local function new_server(authority, hosts, not_before, not_after)
  local key = new_key()
  local certificate = new_certificate(common_name(hosts[1]), key, not_before, not_after)
  certificate:setIssuer(authority.name)
  certificate:setSubjectAlt(alternative_names(hosts))
  certificate:setBasicConstraints { CA = false }
  certificate:addExtension(authority_key_identifier(authority.identifier))
  certificate:sign(authority.key)
  return { certificate = certificate, key = key }
end

---@class clerk.machines.emulator.CertificateOptions
---@field hosts string[]? DNS names and IP addresses; those of the loopback interface by default
---@field not_before integer? of the server's certificate, in Unix seconds; an hour ago by default
---@field not_after integer? of the server's certificate, in Unix seconds; in a year by default

---@class clerk.machines.emulator.Certificates
---@field ca string PEM: the certificate of the CA
---@field certificate string PEM: the server's
---@field key string PEM: the server's

---Makes a CA and a server certificate. The CA's key is not kept, so it can sign nothing else.
---@param given clerk.machines.emulator.CertificateOptions?
---@return clerk.machines.emulator.Certificates
function certificates.new(given)
  local checked, problem = schema.complete(OPTIONS, given or {})
  if not checked then
    error("certificates.new: " .. problem, 2)
  end
  local start, finish = os.time() - HOUR, os.time() + YEAR
  local authority = new_authority(start, finish)
  local not_before, not_after = checked.not_before or start, checked.not_after or finish
  local server = new_server(authority, checked.hosts, not_before, not_after)
  return {
    ca = authority.certificate:toPEM(),
    certificate = server.certificate:toPEM(),
    key = server.key:toPEM("private"),
  }
end

return certificates
