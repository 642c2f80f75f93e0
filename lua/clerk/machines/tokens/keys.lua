--- The public keys that JWTs are verified with: a PEM, or a key set (JWKS) at a URL.
---
--- A key set is known by its URL and the API key that it takes, and never by `kid` alone: that is
--- the same for all keys that an instance ever has. All verifiers of a process share it.

local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local single_flight = require "clerk.machines.tokens.single_flight"

local keys = {}

local FRESH_MS = 5 * 60 * 1000
local STALE_MS = 60 * 60 * 1000 -- while the source is down
local REFETCH_MS = 10 * 1000    -- between two attempts to fetch, when there are keys
local RETRY_MS = 1000           -- the same, when there are none
local LARGEST_BYTES = 256 * 1024
local MOST_KEYS = 32
local MOST_SOURCES = 100

-- ---------------------------------------------------------------- reading a key set

--- The key of a JWK; nil when it is not for these signatures, or too weak.
local function key_of(jwk)
  local is_fit = type(jwk) == "table" and jwk.kty == "RSA"
    and (jwk.alg == nil or jwk.alg == "RS256") and (jwk.use == nil or jwk.use == "sig")
    and type(jwk.n) == "string" and type(jwk.e) == "string"
  return is_fit and core.rsa_key(jwk.n, jwk.e) or nil
end

--- Whether a decoded value is an array: an empty object looks the same without its metatable.
local function is_array(value)
  return type(value) == "table" and getmetatable(value) ~= core.result
end

--- Lists of keys by `kid`: an old and a new key may share one.
---@return table<string, userdata[]>? set
---@return string? problem
local function read(body)
  local document = core.decode(body, core.result)
  local list = type(document) == "table" and document.keys
  if not is_array(list) then
    return nil, "is not a JSON object with an array `keys`"
  elseif #list > MOST_KEYS then
    return nil, ("has more than %d keys"):format(MOST_KEYS)
  end
  local set = {}
  for _, jwk in ipairs(list) do
    local key = key_of(jwk)
    if key and type(jwk.kid) == "string" then
      set[jwk.kid] = set[jwk.kid] or {}
      table.insert(set[jwk.kid], key)
    end
  end
  return set
end

--- Why no key of a list has signed a JWT, as the code of a TokenError; nil when one has.
local function refusal_by(list, jwt)
  if not list then
    return "token_key_unknown"
  end
  for _, key in ipairs(list) do
    if jwt:verify(key) then
      return nil
    end
  end
  return "token_signature_invalid"
end

-- ---------------------------------------------------------------- a key set

--- A key set that is fetched when it is needed: url, clock; set, and when it was asked for
--- (fetched_at); when the last attempt ended (attempted_at), and why, if it failed (problem).
---@class clerk.machines.tokens.Keys
local Keys = {}
Keys.__index = Keys

--- Why the keys at hand do not verify a JWT, as the code of a TokenError; nil when one does.
function Keys:refusal(jwt)
  return refusal_by(self.set and self.set[jwt:kid()], jwt)
end

--- Until when what these keys verify is known without asking their source again.
function Keys:fresh_until()
  return self.fetched_at and self.fetched_at + FRESH_MS or 0
end

function Keys:is_fresh()
  return self.clock() < self:fresh_until()
end

--- A source that gives no answer, or a 5XX, is down. Other answers say something about the keys.
local function is_outage(problem)
  return errors.is_error(problem) and ((problem.status or 0) >= 500
    or problem.type == "TransportError" and problem.code ~= "response_too_large")
end

local function is_usable(self)
  local is_down = self.problem and is_outage(self.problem)
  return self.set and (self:is_fresh() or is_down and self.clock() < self.fetched_at + STALE_MS)
end

local function unusable(self, flaw)
  return errors.of("SDKError", "unexpected_shape",
    ("the JWKS at %s %s"):format(self.url, flaw))
end

--- Asks the source, once.
local function fetch(self, asker, headers, ends_at)
  local start = self.clock()
  local ok, result = pcall(asker.get, asker, ends_at, self.url, headers, LARGEST_BYTES)
  local set, flaw
  if ok then
    set, flaw = read(result)
  end
  if set then
    self.set, self.fetched_at = set, start
  end
  self.problem = not set and (flaw and unusable(self, flaw) or result) or nil
  self.attempted_at = self.clock()
end

local function may_fetch(self)
  local interval = is_usable(self) and REFETCH_MS or RETRY_MS
  return not self.attempted_at or self.clock() - self.attempted_at >= interval
end

--- While the source is down, old keys are used meanwhile, except for what they do not verify.
local function must_wait(self, is_doubtful)
  return is_doubtful or not is_usable(self)
end

--- Makes the keys as new as they must be: fresh or, for a JWT that they do not verify, fetched
--- within the last ten seconds. Raises when they cannot be: whether the JWT is good cannot be told.
---@param asker clerk.machines.tokens.Lookups
---@param headers table<string, string> for the source
---@param is_doubtful boolean whether they do not verify the JWT
---@param ends_at number core.now's
function Keys:renew(asker, headers, is_doubtful, ends_at)
  local problem
  local is_running = self.flights:find "fetch"
  if is_running and must_wait(self, is_doubtful) or not is_running and may_fetch(self) then
    local ok, why = self.flights:run(asker, "fetch", ends_at, fetch, self, asker, headers, ends_at)
    problem = not ok and why
  end
  local is_old = self.problem or self.clock() - (self.attempted_at or 0) >= REFETCH_MS
  if not is_usable(self) or is_doubtful and is_old then
    error(problem or core.copy(self.problem), 0)
  end
end

-- ---------------------------------------------------------------- a PEM

---@class clerk.machines.tokens.Pem
local Pem = {}
Pem.__index = Pem

function Pem:refusal(jwt)
  return not jwt:verify(self.key) and "token_signature_invalid" or nil
end

function Pem.fresh_until()
  return math.huge
end

function Pem.is_fresh()
  return true
end

---@param pem string
---@return clerk.machines.tokens.Pem?
---@return string? problem
function keys.of_pem(pem)
  local key, problem = core.rsa_key_pem(pem)
  return key and setmetatable({ key = key, digest = core.sha256(pem) }, Pem), problem
end

-- ---------------------------------------------------------------- all key sets

--- Of each clock, and of each transport that is not ours: what one of these says is not for others.
local by_clock = setmetatable({}, { __mode = "k" })

local function member(map, key, make)
  map[key] = map[key] or make()
  return map[key]
end

local function new_map()
  return setmetatable({}, { __mode = "k" })
end

local function new_register()
  return { sets = {}, count = 0 }
end

--- Old sets stay with the verifiers that have them: an API key that is replaced leaves one behind.
local function add(register, name, set)
  if register.count == MOST_SOURCES then
    register.sets, register.count = {}, 0
  end
  register.sets[name], register.count = set, register.count + 1
  return set
end

--- The key set at a URL, which `renew` fetches.
---@param url string
---@param api_key_digest string "" when the source takes no key
---@param clock fun(): number ms
---@param transport any nil: the runtime's own
---@return clerk.machines.tokens.Keys
function keys.at(url, api_key_digest, clock, transport)
  local by_transport = member(by_clock, clock, new_map)
  local register = member(by_transport, transport or keys, new_register)
  local name = ("%d:%s%s"):format(#url, url, api_key_digest)
  return register.sets[name] or add(register, name, setmetatable({
    url = url,
    clock = clock,
    flights = single_flight.new(),
  }, Keys))
end

return keys
