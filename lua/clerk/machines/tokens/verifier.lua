--- Verifies tokens: JWTs offline, opaque ones by asking the API.
---
--- What is remembered of a token is what it is, not whether it is let in: time, scopes and callers
--- are judged every time. This is a record: `token`, and its `times`, for core.judge_times.

local cache = require "clerk.machines.tokens.cache"
local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local single_flight = require "clerk.machines.tokens.single_flight"
local keys = require "clerk.machines.tokens.keys"
local options = require "clerk.machines.tokens.options"
local lookups = require "clerk.machines.tokens.lookups"
local runtime = require "clerk.machines.runtime"
local schema = require "clerk.machines.schema"

--- How long a verification takes at most, all its lookups included.
local BUDGET_MS = 2000

--- How long it is remembered of a token that nothing could be told.
local DOUBT_MS = 1000

--- How many refusals are remembered. Floods of bad tokens get no more room than this.
local MOST_REFUSALS = 1000

---@class clerk.machines.tokens.Verifier
local Verifier = { __name = "clerk.machines.tokens.Verifier" }
Verifier.__index = Verifier

function Verifier:__tostring()
  return ("%s (%s)"):format(Verifier.__name, self.machine_id or "any machine")
end

local function refuse(code, message)
  error(errors.of_token(code, message), 0)
end

-- ---------------------------------------------------------------- keys and names

local function digest_of(key)
  return key and core.sha256(key) or ""
end

--- A key of the client; nil when it has none. A function of the user's is called every time.
local function key_of(client, name)
  local get = client and client.settings[name]
  if not get then
    return nil
  end
  local key = get()
  return type(key) == "string" and key or errors.refuse(name .. " must return a string")
end

local function check_environment(self, secret_key)
  local environment = self.publishable_key and self.publishable_key.environment
  local other = secret_key and secret_key:match "^sk_(%l+)_"
  if environment and other and other ~= environment then
    errors.refuse(("publishable_key is of a %s instance, but secret_key of a %s one"):format(
      environment, other))
  end
end

local function framed(text)
  return ("%d:%s"):format(#text, text)
end

--- The beginning, of a fixed length, of all names under which this verifier remembers something.
--- It has cache_ms, since what another verifier of the same dictionary remembers may be too old.
local function prefix_of(self, machine_key_digest, secret_key_digest)
  local base_url = self.client and self.client.settings.base_url or ""
  local source = self.jwt_key and self.jwt_key.digest or self.jwks_url or ""
  return core.sha256(framed(base_url), framed(machine_key_digest), framed(secret_key_digest),
    framed(source), framed(tostring(self.cache_ms)))
end

local function keys_of(self, secret_key_digest)
  if self.jwt_key then
    return self.jwt_key
  elseif self.jwks_url then
    return keys.at(self.jwks_url, "", self.clock, self.own_transport)
  end
  return keys.at(self.client.settings.base_url .. "/jwks", secret_key_digest, self.clock,
    self.own_transport)
end

--- A function that returns the key, so that no table holds it.
local function held(key)
  return function()
    return key
  end
end

--- What keys the client has now, and what depends on them.
local function identity_of(self)
  local secret_key = key_of(self.client, "secret_key")
  local machine_key = key_of(self.client, "machine_secret_key")
  local known = self.identity
  if known and known.secret_key() == secret_key and known.machine_key() == machine_key then
    return known
  end
  check_environment(self, secret_key)
  self.identity = {
    secret_key = held(secret_key),
    machine_key = held(machine_key),
    prefix = prefix_of(self, digest_of(machine_key), digest_of(secret_key)),
    keys = keys_of(self, digest_of(secret_key)),
  }
  return self.identity
end

--- What is known of a token is stored under this name, which does not reveal the token.
---@param kind "token:"|"machine:"
local function name_of(identity, kind, text)
  return core.sha256(identity.prefix, kind, text)
end

-- ---------------------------------------------------------------- judging

local function holds(list, value)
  for _, each in ipairs(list or {}) do
    if each == value then
      return true
    end
  end
  return false
end

local function check_callers(callers, subject)
  if callers and not holds(callers, subject) then
    refuse("token_not_granted", "its machine is not among the callers that are let in")
  end
end

--- Whether the token must name this machine among its scopes.
local function needs_scope(self, is_opaque)
  return self.scope_check == "claims" or is_opaque and self.scope_check ~= "none"
end

--- Whom a token is good for, as far as that can be judged without asking.
local function judge(self, check, token)
  if needs_scope(self, check.is_opaque) and not holds(token.scopes, self.machine_id) then
    refuse("token_not_granted", "this machine is not among its scopes")
  end
  check_callers(self.callers, token.subject)
  check_callers(check.callers, token.subject)
end

--- The token of a record, if it is good now.
local function rejudge(self, check, record)
  local ok, code, message = core.judge_times(record.times, self.wall_clock(), self.clock_skew_ms)
  if not ok then
    refuse(code, message)
  end
  judge(self, check, record.token)
  return record.token
end

-- ---------------------------------------------------------------- the machine that calls

--- The IDs of the machines that a machine may call; none when it does not exist any more.
local function ask_machine(self, check, subject)
  local ok, machine = pcall(self.lookups.ask, self.lookups, check.ends_at, "get", subject)
  if not ok and errors.is_error(machine) and machine.type == "ClerkErrors"
    and machine.status == 404 then
    return {}
  elseif not ok then
    error(machine, 0)
  elseif type(machine.scoped_machines) ~= "table" then
    error(errors.of("SDKError", "unexpected_shape", "the machine has no scoped_machines", "get"), 0)
  end
  local ids = {}
  for _, scoped in ipairs(machine.scoped_machines) do
    ids[#ids + 1] = type(scoped) == "table" and scoped.id or nil
  end
  return ids
end

local function look_up_machine(self, check, name, subject)
  local ends_at = self.clock() + self.cache_ms
  local list = ask_machine(self, check, subject)
  self.cache:set(name, list, ends_at)
  return list
end

local function check_machine(self, check, subject)
  local name = name_of(check.identity, "machine:", subject)
  local list = self.cache:get(name)
  if not list then
    local ok, result = self.flights:run(self.lookups, name, check.ends_at, look_up_machine, self,
      check, name, subject)
    list = ok and result or error(result, 0)
  end
  if not holds(list, self.machine_id) then
    refuse("token_not_granted", "its machine may not call this one now")
  end
end

-- ---------------------------------------------------------------- JWTs

--- The headers that a JWKS needs: the API's own takes the instance's key.
local function headers_for_keys(self, identity)
  if self.jwks_url then
    return {}
  end
  local key = identity.secret_key()
  local ok, problem = core.check_secret_key("secret_key", key)
  local headers = {
    authorization = ok and "Bearer " .. key or errors.refuse(problem),
    ["clerk-api-version"] = self.client.settings.api_version,
  }
  for name, value in pairs(self.client.settings.headers) do
    headers[name] = value
  end
  return headers
end

--- What a JWT says whose signature is verified, if it is good now.
local function record_of(self, check, jwt)
  local token, times, message = jwt:token(self.wall_clock(), self.clock_skew_ms)
  if not token then
    refuse(times, message)
  end
  judge(self, check, token)
  return { token = setmetatable(token, core.result), times = times }
end

--- Refuses with any keys, and accepts with fresh ones only: so that no I/O is done for a JWT that
--- would be refused anyway.
local function prove(self, check, jwt)
  local set = check.identity.keys
  local code = set:refusal(jwt)
  local record = not code and record_of(self, check, jwt) or nil
  local is_old = not code and not set:is_fresh()
  if is_old or code and set.renew and jwt:kid() then
    set:renew(self.lookups, headers_for_keys(self, check.identity), code ~= nil, check.ends_at)
    code = set:refusal(jwt)
    record = not code and record_of(self, check, jwt) or nil
  end
  return record or refuse(code)
end

--- A JWT is remembered no longer than its keys are used without asking for new ones.
local function verify_jwt(self, check, text)
  local jwt, code, message = core.jwt(text)
  if not jwt then
    refuse(code, message)
  end
  local ends_at = self.clock() + self.cache_ms
  local record = prove(self, check, jwt)
  self.cache:set(check.name, record, math.min(ends_at, check.identity.keys:fresh_until()))
  return record.token
end

-- ---------------------------------------------------------------- opaque tokens

local LONGEST_OPAQUE = 512
local LATEST_MS = 1e15

local function check_opaque(self, text)
  if #text > LONGEST_OPAQUE or not text:find "^mt_[0-9A-Za-z_-]+$" then
    refuse("token_malformed", "an opaque token has letters, digits, _ and - after mt_")
  elseif not self.client then
    refuse("token_type_refused", "opaque tokens are not accepted here: the verifier has no client")
  end
end

local function is_expiration(value)
  return value == nil or type(value) == "number" and value >= 0 and value <= LATEST_MS
end

local function is_scopes(value)
  return value == nil or type(value) == "table" and getmetatable(value) ~= core.result
end

--- Whether an answer says all that must be known of a token.
local function is_token(answer)
  return answer.object == "machine_to_machine_token" and type(answer.id) == "string"
    and options.is_machine_id(answer.subject)
    and type(answer.revoked) == "boolean" and type(answer.expired) == "boolean"
    and is_expiration(answer.expiration) and is_scopes(answer.scopes)
end

--- The API's answers that say that a token is bad, by their status.
local REFUSALS = { [400] = "token_malformed", [404] = "token_unknown" }

local function refusal_of(problem)
  local is_refusal = errors.is_error(problem) and problem.type == "ClerkErrors"
  local code = is_refusal and REFUSALS[problem.status]
  return code and errors.of_token(code, nil, problem) or problem
end

--- Raises it, and remembers what the API refuses, except what it could not read.
local function raise(self, name, problem, ends_at)
  local is_refusal = errors.is_error(problem) and problem.type == "TokenError"
  if is_refusal and problem.code ~= "token_malformed" then
    self.refusals:set(name, problem, ends_at)
  end
  error(problem, 0)
end

--- Why the API's answer is not a good token; nil when it is.
local function problem_of(answer)
  if not is_token(answer) then
    return errors.of("SDKError", "unexpected_shape", "the answer is not a token", "verify_token")
  elseif answer.revoked then
    return errors.of_token "token_revoked"
  elseif answer.expired then
    return errors.of_token "token_expired"
  end
end

--- Runs once for all that ask about a token at the same time.
local function ask(self, check, text)
  local now = self.clock()
  local ok, answer = pcall(self.lookups.ask, self.lookups, check.ends_at, "verify_token",
    { token = text })
  local problem = ok and problem_of(answer)
  if not ok or problem then
    raise(self, check.name, problem or refusal_of(answer), now + self.refusal_ms)
  end
  answer.token = nil
  local record = { token = answer, times = { expiration = answer.expiration } }
  self.cache:set(check.name, record, now + self.cache_ms)
  return record
end

local function verify_opaque(self, check, text)
  check_opaque(self, text)
  local refusal = self.refusals:get(check.name)
  if refusal then
    error(refusal, 0)
  end
  local ok, record = self.flights:run(self.lookups, check.name, check.ends_at, ask, self, check,
    text)
  return ok and rejudge(self, check, record) or error(record, 0)
end

-- ---------------------------------------------------------------- the interface

--- A check is one verification: identity, name (of the token), is_opaque, callers (in addition to
--- the verifier's) and ends_at (core.now's).
local function run(self, check, text)
  if not check.is_opaque and not self.jwt then -- though another verifier may remember it
    refuse("token_type_refused", "JWTs are not accepted here")
  end
  local known = self.cache:get(check.name)
  local token = known and rejudge(self, check, known)
    or (check.is_opaque and verify_opaque or verify_jwt)(self, check, text)
  if self.scope_check == "machine" then
    check_machine(self, check, token.subject)
  end
  return token
end

--- Whether an error says that nothing could be told. Mistakes of the caller, and a task's own end,
--- say nothing about the token.
local function is_doubt(problem)
  return errors.is_error(problem) and problem.type ~= "TokenError"
    and problem.type ~= "ArgumentError" and problem.code ~= "cancelled"
end

local function callers_of(given)
  if given == nil then
    return nil
  end
  local checked, problem = schema.check(options.verification, given)
  return (checked or errors.refuse(problem, "verify")).callers
end

--- Raises when the token is not good, or that could not be told.
local function verify(self, text, callers)
  local identity = identity_of(self)
  local check = {
    identity = identity,
    name = name_of(identity, "token:", text),
    is_opaque = text:sub(1, 3) == "mt_",
    callers = callers,
    ends_at = core.now() + BUDGET_MS,
  }
  local doubt = self.doubts:get(check.name)
  if doubt then
    error(doubt, 0)
  end
  local ok, result = pcall(run, self, check, text)
  if ok then
    return result
  elseif is_doubt(result) then
    self.doubts:set(check.name, result, self.clock() + DOUBT_MS)
  end
  error(result, 0)
end

--- Verifies a token. Raises a TokenError when it must not be accepted. Any other error means that
--- it could not be told: do not accept it either.
---@param text string what came after `Bearer`
---@param narrowing? { callers: string[]? } lets in only these of the verifier's callers
---@return clerk.machines.Token
function Verifier:verify(text, narrowing)
  if getmetatable(self) ~= Verifier then
    errors.refuse("call it with a colon: verifier:verify(…)", "verify")
  end
  local callers = callers_of(narrowing)
  if type(text) ~= "string" then
    refuse("token_malformed", ("a token is a string, got %s"):format(type(text)))
  end
  return verify(self, text, callers)
end

--- Finds a mistake early where the client's key can be had now.
local function check_keys(self)
  local ok, secret_key = pcall(key_of, self.client, "secret_key")
  if ok then
    check_environment(self, secret_key)
  end
end

local function new_cache(checked, clock)
  if checked.shared_dict then
    return cache.shared(runtime.shared_dict(checked.shared_dict), checked.cache_entries, clock)
  end
  return cache.new(checked.cache_entries, clock)
end

--- `verify(verifier, text, callers)` is for what has checked its arguments.
local verifier = { Verifier = Verifier, verify = verify }

--- Makes a verifier; raises an ArgumentError.
---@param given clerk.machines.tokens.VerifierOptions
---@return clerk.machines.tokens.Verifier
function verifier.new(given)
  local checked, problem = options.check(options.verifier, given)
  local self = checked or errors.refuse(problem)
  local clock = self.now or core.now
  self.clock = clock
  self.wall_clock = self.now or core.unix_ms
  self.jwks_url = self.jwks_url or self.publishable_key and self.publishable_key.url
  self.own_transport = self.client and self.client.settings.transport
  self.cache = new_cache(self, clock)
  self.refusals = cache.new(MOST_REFUSALS, clock)
  self.doubts = cache.new(MOST_REFUSALS, clock)
  self.flights = single_flight.new()
  self.lookups = lookups.new(self.client, self, clock)
  check_keys(self)
  return setmetatable(self, Verifier)
end

return verifier
