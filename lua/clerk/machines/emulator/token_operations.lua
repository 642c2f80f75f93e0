--- What the operations on tokens do: see operations.lua. `caller` is the machine that asks, or nil
--- when the request has the instance's key.

local assumed = require "clerk.machines.emulator.assumed"
local core = require "clerk.machines.core"
local problems = require "clerk.machines.emulator.problems"
local tokens = require "clerk.machines.emulator.tokens"

local DEFAULT_LIMIT = 10
local MACHINE_ID = "^mch_" .. ("[%w_]"):rep(27) .. "$"
local TOKEN_ID = "^mt_" .. ("%x"):rep(32) .. "$"

--- The claims of a JWT that are not the caller's.
local RESERVED = { "iss", "sub", "exp", "nbf", "iat", "jti" }

local operations = {}

local function or_null(value)
  if value == nil then
    return core.null
  end
  return value
end

--- A parameter that is absent or null.
local function given(value)
  return value ~= core.null and value or nil
end

local function show(token, now)
  return {
    object = "machine_to_machine_token",
    id = token.id,
    subject = token.subject.id,
    scopes = token.scopes,
    claims = token.claims,
    revoked = token.revoked,
    revocation_reason = or_null(token.revocation_reason),
    expired = tokens.is_expired(token, now),
    expiration = or_null(token.expires_at),
    last_used_at = or_null(token.last_used_at),
    created_at = token.created_at,
    updated_at = token.updated_at,
  }
end

-- ---------------------------------------------------------------- create_token

local function is_object(value)
  return getmetatable(value) == core.result
end

local function check_claims(claims, is_jwt)
  if is_jwt and claims ~= core.null and not is_object(claims) then
    return problems.new("bad_request", "The claims of a JWT must be an object.")
  end
  for _, name in ipairs(is_object(claims) and RESERVED or {}) do
    if claims[name] ~= nil then
      local what = ("The claim `%s` is reserved."):format(name)
      return problems.new("machine_token_reserved_claim", what, name)
    end
  end
end

--- Seconds that a token lives; nil: it does not expire.
local function lifetime_of(machine, values)
  local seconds = values.seconds_until_expiration
  if seconds == core.null then
    return assumed.lifetime_of_null(machine, values.token_format)
  end
  return seconds or machine.default_token_ttl
end

local function check_lifetime(seconds, values)
  local least = values.min_remaining_ttl_seconds
  if seconds and seconds > assumed.max_token_lifetime then
    return problems.new("bad_request", ("`seconds_until_expiration` must be at most %d.")
      :format(assumed.max_token_lifetime))
  elseif least and seconds and least >= seconds then
    return problems.new("bad_request",
      "`min_remaining_ttl_seconds` must be less than the lifetime of the token.")
  end
end

local function sign_jwt(store, machine, claims, seconds, now)
  local issued_at = math.floor(now / 1000)
  local payload = assumed.scope_claims(tokens.scopes_of(machine))
  for name, value in pairs(claims ~= core.null and claims or {}) do
    payload[name] = value
  end
  payload.iss = assumed.issuer
  payload.sub = machine.id
  payload.jti = tokens.new_id()
  payload.iat, payload.nbf = issued_at, issued_at
  payload.exp = math.floor(issued_at + seconds)
  return store.signer:sign(payload), payload
end

--- A JWT is not kept: this is only for the answer.
local function mint_jwt(store, machine, claims, seconds, now)
  local text, payload = sign_jwt(store, machine, claims, seconds, now)
  return {
    id = payload.jti,
    text = text,
    subject = machine,
    scopes = tokens.scopes_of(machine),
    claims = claims,
    created_at = payload.iat * 1000,
    updated_at = payload.iat * 1000,
    expires_at = payload.exp * 1000,
    revoked = false,
  }
end

local function mint_opaque(store, machine, claims, seconds, values, now)
  local least = values.min_remaining_ttl_seconds
  local alike = least and store.tokens:find_alike(machine, claims, now + least * 1000)
  local expires_at = seconds and now + math.floor(seconds * 1000)
  return alike or store.tokens:mint(machine, claims, expires_at, now)
end

function operations.create_token(store, values, now, caller)
  local claims, is_jwt = or_null(values.claims), values.token_format == "jwt"
  local seconds = lifetime_of(caller, values)
  local problem = check_claims(claims, is_jwt) or check_lifetime(seconds, values)
  if problem then
    return nil, problem
  end
  local token = is_jwt and mint_jwt(store, caller, claims, seconds, now)
    or mint_opaque(store, caller, claims, seconds, values, now)
  local shown = show(token, now)
  shown.token = token.text
  return shown
end

-- ---------------------------------------------------------------- list_tokens

local function find_subject(store, id, caller)
  if not id:find(MACHINE_ID) then
    return nil, problems.new("bad_request", "Invalid 'query.subject': Failed regex check")
  elseif caller and caller.id ~= id then
    return nil, problems.new("authorization_invalid", "A machine can list only its own tokens.")
  end
  local machine = store:find(id)
  if not machine then
    return nil, problems.machine_not_found(id)
  end
  return machine
end

function operations.list_tokens(store, values, now, caller)
  local machine, problem = find_subject(store, values.subject, caller)
  if not machine then
    return nil, problem
  end
  local with = { revoked = given(values.revoked), expired = given(values.expired) }
  local found = store.tokens:of_machine(machine, with, now)
  local offset, limit = values.offset or 0, values.limit or DEFAULT_LIMIT
  local page = {}
  for i = offset + 1, math.min(offset + limit, #found) do
    page[#page + 1] = show(found[i], now)
  end
  return { m2m_tokens = page, total_count = #found }
end

-- ---------------------------------------------------------------- revoke_token

local function token_not_found()
  return problems.new(assumed.code.token_absent, "No token was found, or it is not yours to see.")
end

function operations.revoke_token(store, values, now, caller)
  if not values.token_id:find(TOKEN_ID) then
    return nil, problems.new("bad_request", "Invalid 'path.m2m_token_id': Failed regex check")
  end
  local token = store.tokens.by_id[values.token_id]
  if not token or token.subject.deleted or caller and caller ~= token.subject then
    return nil, token_not_found()
  end
  if not token.revoked then
    token.revoked, token.updated_at = true, now
    token.revocation_reason = given(values.revocation_reason)
  end
  return show(token, now)
end

-- ---------------------------------------------------------------- verify_token

local function has(list, wanted)
  for _, element in ipairs(list) do
    if element == wanted then
      return true
    end
  end
  return false
end

--- The claims that are the caller's, or null.
local function custom_claims(payload)
  local claims = setmetatable({}, core.result)
  for name, value in pairs(payload) do
    claims[name] = not has(RESERVED, name) and value or nil
  end
  return next(claims) and claims or core.null
end

--- A JWT as a token, when this instance has signed it.
local function read_jwt(store, text)
  local payload = store.signer:read(text)
  local machine = payload and store:find(payload.sub)
  return machine and { -- its scopes are those of now: the token may have none
    id = payload.jti,
    subject = machine,
    scopes = tokens.scopes_of(machine),
    claims = custom_claims(payload),
    created_at = payload.iat * 1000,
    updated_at = payload.iat * 1000,
    expires_at = payload.exp * 1000,
    revoked = false,
  }
end

function operations.verify_token(store, values, now, caller)
  local opaque = store.tokens.by_text[values.token]
  local token = opaque or values.token:find(".", 1, true) and read_jwt(store, values.token)
  if not token or token.subject.deleted or caller and not has(token.scopes, caller.id) then
    return nil, token_not_found()
  end
  if opaque then
    token.last_used_at = now
  end
  return show(token, now)
end

return operations
