-- RSA keys, signatures and SHA-256.

local core = require "clerk.machines.core"
local pkey = require "openssl.pkey"
local signer = require "support.signer"
local vectors = require "support.token_vectors"

local encode = signer.encode

-- An odd number of so many bits. Nothing asks whether it has two prime factors.
local function modulus(bits)
  local first = 2 ^ ((bits - 1) % 8)
  return string.char(first) .. ("\0"):rep(math.ceil(bits / 8) - 2) .. "\1"
end

local function big_endian(number)
  local bytes = ""
  while number > 0 do
    bytes = string.char(number % 256) .. bytes
    number = math.floor(number / 256)
  end
  return bytes
end

local function refused(pattern, key, problem, ...)
  assert.is_nil(key)
  assert.matches(pattern, problem)
  assert.equal(0, select("#", ...))
end

local function verifies(key, signed, signature)
  local jwt = assert(core.jwt(signed .. "." .. signature))
  return jwt:verify(key)
end

describe("SHA-256", function()
  local function hexadecimal(bytes)
    return (bytes:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end))
  end

  -- From FIPS 180-4's examples, the empty one from NIST's test vectors.
  for text, expected in pairs {
    [""] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    [("a"):rep(1000000)] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
  } do
    it(("of %d bytes is the standard's"):format(#text), function()
      assert.equal(expected, hexadecimal(core.sha256(text)))
    end)
  end

  it("takes bytes of any value", function()
    assert.not_equal(core.sha256 "a\0b", core.sha256 "a\0c")
    assert.equal(32, #core.sha256 "\0\255")
  end)

  it("is only for strings", function()
    assert.has_error(function() core.sha256(1) end)
    assert.has_error(function() core.sha256() end)
  end)
end)

describe("A key of a JWK", function()
  local good = vectors.key

  it("verifies what another implementation signed", function()
    local key = assert(core.rsa_key(good.n, good.e))
    assert.is_true(verifies(key, vectors.signed, vectors.signature))
    local large = assert(core.rsa_key(vectors.large_key.n, vectors.large_key.e))
    assert.is_true(verifies(large, vectors.signed, vectors.large_signature))
  end)

  it("verifies the example of RFC 7515, appendix A.2", function()
    local example = vectors.rfc7515
    local key = assert(core.rsa_key(example.n, example.e))
    assert.is_true(verifies(key, example.signed, example.signature))
    assert.is_false(verifies(key, example.signed, vectors.signature))
  end)

  it("verifies again and again, whatever came in between", function()
    local key = assert(core.rsa_key(good.n, good.e))
    for _, other in pairs(vectors.others) do
      assert.is_false(verifies(key, vectors.signed, other))
      assert.is_true(verifies(key, vectors.signed, vectors.signature))
    end
  end)

  for _, bits in ipairs { 2048, 2049, 3072, 4096, 8191, 8192 } do
    it(("may have %d bits"):format(bits), function()
      local key = assert(core.rsa_key(encode(modulus(bits)), "AQAB"))
      assert.is_false(verifies(key, vectors.signed, vectors.signature))
    end)
  end

  for _, bits in ipairs { 9, 512, 1024, 2040, 2047 } do
    it(("of %d bits is refused"):format(bits), function()
      refused("2048 to 8192 bits", core.rsa_key(encode(modulus(bits)), "AQAB"))
    end)
  end

  for _, bits in ipairs { 8193, 16384, 10 ^ 6 } do
    it(("of %d bits is refused"):format(bits), function()
      refused("at most 8192 bits", core.rsa_key(encode(modulus(bits)), "AQAB"))
    end)
  end

  for _, exponent in ipairs { 65537, 65539, 2 ^ 31 + 1, 2 ^ 32 - 1 } do
    it(("may have the exponent %.0f"):format(exponent), function()
      assert.truthy(core.rsa_key(good.n, encode(big_endian(exponent))))
    end)
  end

  for _, exponent in ipairs {
    1, 2, 3, 17, 257, 65535, 65536, 65538, 2 ^ 32, 2 ^ 32 + 1, 2 ^ 48 + 1,
  } do
    it(("with the exponent %.0f is refused"):format(exponent), function()
      refused("exponent must be odd", core.rsa_key(good.n, encode(big_endian(exponent))))
    end)
  end

  it("with a modulus for an exponent is refused", function()
    refused("exponent must be odd", core.rsa_key(good.n, good.n))
  end)

  it("with an even modulus is refused", function()
    refused("modulus must be odd", core.rsa_key(encode("\128" .. ("\0"):rep(255)), "AQAB"))
  end)

  local bytes = modulus(2048)
  for name, text in pairs {
    ["nothing"] = "",
    ["zero"] = "AA",
    ["a leading zero"] = encode("\0" .. bytes),
    ["padding"] = encode(bytes) .. "==",
    ["spare bits"] = encode(bytes):gsub(".$", "R"),
    ["a digit too many"] = encode(bytes .. "\0\0") .. "A",
    ["base64's own digits"] = "+" .. good.n:sub(2),
    ["a space"] = good.n .. " ",
    ["a line break"] = good.n:sub(1, 76) .. "\n" .. good.n:sub(77),
    ["a NUL"] = good.n:sub(1, 76) .. "\0" .. good.n:sub(78),
    ["bytes beyond ASCII"] = good.n:sub(1, 76) .. "\195" .. good.n:sub(78),
  } do
    it("whose numbers have " .. name .. " is refused", function()
      refused("n is not a number", core.rsa_key(text, "AQAB"))
      refused("e is not a number", core.rsa_key(good.n, text))
    end)
  end

  it("with an exponent that begins with a zero is refused", function()
    refused("e is not a number", core.rsa_key(good.n, encode("\0" .. big_endian(65537))))
  end)

  it("is made of strings", function()
    for _, arguments in ipairs { {}, { good.n }, { good.n, 65537 }, { 1, good.e }, { {}, {} } } do
      assert.has_error(function() core.rsa_key(arguments[1], arguments[2]) end)
    end
  end)
end)

describe("A key of a PEM text", function()
  local function read(pem)
    local key = assert(core.rsa_key_pem(pem))
    assert.is_true(verifies(key, vectors.signed, vectors.signature))
  end

  it("is read from the usual form and from PKCS #1's", function()
    read(vectors.pem)
    read(vectors.rsa_pem)
  end)

  it("may have text around it, and any line ends", function()
    read("Clerk's key:\n" .. vectors.pem .. "\n\n")
    read((vectors.pem:gsub("\n", "\r\n")))
    read((vectors.pem:gsub("\n$", "")))
  end)

  local rsa = signer.new()
  for name, pem in pairs {
    ["nothing"] = "",
    ["no PEM text"] = "ins_1",
    ["one without its end"] = vectors.pem:sub(1, -20),
    ["one whose base64 is broken"] = vectors.pem:gsub("MIIB", "M*IB"),
    ["one that is cut"] = vectors.pem:gsub("\n[^\n]+\n%-%-%-%-%-END", "\n-----END"),
    ["one with bytes after the key"] = vectors.pem:gsub("AQAB\n", "AQABAAAA\n"),
    ["a PKCS #1 one with bytes after the key"] = vectors.rsa_pem:gsub("\n%-+END", "AAAA%0"),
    ["one with a NUL in it"] = vectors.pem:gsub("MIIB", "M\0IB"),
    ["one in one line, with \\n for its line ends"] = vectors.pem:gsub("\n", "\\n"),
    ["a private RSA key"] = rsa.key:toPEM "private",
    ["a private key before the public one"] = rsa.key:toPEM "private" .. vectors.pem,
    ["another kind of key"] = pkey.new({ type = "EC", curve = "prime256v1" }):toPEM "public",
    ["a certificate"] = vectors.pem:gsub("PUBLIC KEY", "CERTIFICATE"),
    ["an unknown label"] = vectors.pem:gsub("PUBLIC KEY", "SECRET KEY"),
    ["one form under the other's label"] = vectors.pem:gsub("PUBLIC KEY", "RSA PUBLIC KEY"),
    ["the other form under this label"] = vectors.rsa_pem:gsub("RSA PUBLIC", "PUBLIC"),
    ["a private key that asks for a pass phrase"] = "-----BEGIN RSA PRIVATE KEY-----\n"
      .. "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00000000000000000000000000000000\n\n"
      .. "AAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n",
    ["more than a key can be"] = ("\n"):rep(1024 * 1024) .. vectors.pem,
  } do
    it("is refused when there is " .. name, function()
      refused("PEM text of a public RSA key", core.rsa_key_pem(pem))
    end)
  end

  it("follows the same rules as one of a JWK", function()
    refused("2048 to 8192 bits", core.rsa_key_pem(signer.new({ bits = 1024 }).pem))
    refused("exponent must be odd", core.rsa_key_pem(signer.new({ exponent = 3 }).pem))
  end)

  it("is in no message", function()
    local _, problem = core.rsa_key_pem(rsa.key:toPEM "private")
    assert.falsy(problem:find("MII", 1, true))
  end)
end)

describe("A signature", function()
  local key = assert(core.rsa_key_pem(vectors.pem))

  for name, signature in pairs(vectors.others) do
    it("with " .. name .. " is not valid", function()
      assert.is_false(verifies(key, vectors.signed, signature))
    end)
  end

  it("by another key is not valid", function()
    assert.is_false(verifies(key, vectors.signed, signer.new():signature(vectors.signed)))
    assert.is_false(verifies(key, vectors.signed, vectors.large_signature))
  end)

  it("over another text is not valid", function()
    assert.is_false(verifies(key, vectors.signed:gsub("^[^.]+", encode '{"alg":"RS256"}'),
      vectors.signature))
  end)

  it("that is shorter or longer is not valid, whatever is missing or added", function()
    local own = signer.new()
    local signed, bytes = vectors.signed, own:raw_signature(vectors.signed)
    local own_key = assert(core.rsa_key(own.n, own.e))
    assert.is_true(verifies(own_key, signed, encode(bytes)))
    for _, changed in ipairs {
      bytes .. "\0", "\0" .. bytes, bytes .. bytes, bytes:sub(2), bytes:sub(1, -2), bytes:sub(1, 1),
      "\0", ("\0"):rep(256), ("\0"):rep(255) .. "\1", ("\255"):rep(256), ("\255"):rep(4000),
    } do
      assert.is_false(verifies(own_key, signed, encode(changed)))
    end
  end)

  it("is only verified by a key", function()
    local jwt = core.jwt(vectors.signed .. "." .. vectors.signature)
    for _, other in ipairs { false, "key", {}, jwt, core.loop } do
      assert.has_error(function() jwt:verify(other) end)
    end
    assert.has_error(function() jwt:verify() end)
  end)
end)

if rawget(_G, "jit") == nil then
  return -- no FFI
end

describe("OpenSSL's queue of errors", function()
  local ffi = require "ffi"
  ffi.cdef [[
    unsigned long ERR_peek_last_error(void);
    void ERR_clear_error(void);
    void *EVP_MD_fetch(void *library, const char *name, const char *properties);
  ]]
  local crypto = ffi.load "libcrypto.so.3"

  local function try_everything()
    local key = assert(core.rsa_key(vectors.key.n, vectors.key.e))
    for _, signature in pairs(vectors.others) do
      verifies(key, vectors.signed, signature)
    end
    core.rsa_key("AA", "AA")
    core.rsa_key_pem "no PEM"
    core.rsa_key_pem((vectors.pem:gsub("M", "N")))
    core.sha256 ""
  end

  local function last_error()
    return tonumber(crypto.ERR_peek_last_error())
  end

  it("stays empty", function()
    crypto.ERR_clear_error()
    try_everything()
    assert.equal(0, last_error())
  end)

  it("keeps what others left in it", function()
    crypto.ERR_clear_error()
    assert.is_true(crypto.EVP_MD_fetch(nil, "no such digest", nil) == nil)
    local left = last_error()
    assert.not_equal(0, left)
    try_everything()
    assert.equal(left, last_error())
    crypto.ERR_clear_error()
  end)
end)
