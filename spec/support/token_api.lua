--- What verifiers and sources ask, as a transport for specs. Its clock stands still until a spec
--- moves it, and is the clock of its verifiers.
---
---     local api = token_api.new()
---     api.tokens[text] = api:token { subject = "mch_1" }   -- or a status, or a failure's code
---     api.machines.mch_caller = { "mch_me" }               -- or a status, …
---     api:publish(signer, …)                               -- api.key_set may be a status, …
---     api.asked.verify_token                               -- how often

local json_writer = require "clerk.machines.json_writer"
local machines = require "clerk.machines"
local signer = require "support.signer"

local ME, CALLER = "mch_me", "mch_caller"
local KID = "ins_1"
local BASE_URL = "http://127.0.0.1:1/v1"

--- In changes, stands for a member that is not there.
local ABSENT = {}

local token_api = { me = ME, caller = CALLER, base_url = BASE_URL, absent = ABSENT }
token_api.__index = token_api

local keys = {}

--- Signers are made once: that takes long.
function token_api.signer(name)
  keys[name or 1] = keys[name or 1] or signer.new()
  return keys[name or 1]
end

function token_api.new()
  local self = setmetatable({
    time = 1800000000000,
    tokens = {},
    machines = {},
    minted = {},
    key_set = 200,
    requests = {},
    asked = { verify_token = 0, get = 0, keys = 0, create_token = 0 },
  }, token_api)
  self.clock = function()
    return self.time
  end
  self:publish(token_api.signer())
  return self
end

-- ---------------------------------------------------------------- what there is

local function merged(base, changes)
  for name, value in pairs(changes or {}) do
    if value == ABSENT then
      value = nil
    end
    base[name] = value
  end
  return base
end

--- A good token, with changes.
function token_api:token(changes)
  return merged({
    object = "machine_to_machine_token",
    id = "mt_0123456789abcdef0123456789abcdef",
    subject = CALLER,
    scopes = { ME },
    revoked = false,
    expired = false,
    expiration = self.time + 300000,
    created_at = self.time,
    updated_at = self.time,
  }, changes)
end

function token_api.jwk(key, changes)
  return merged({ kty = "RSA", use = "sig", alg = "RS256", kid = KID, n = key.n, e = key.e },
    changes)
end

--- Makes these the keys of the instance.
function token_api:publish(...)
  local list = {}
  for i, key in ipairs { ... } do
    list[i] = key.kty and key or token_api.jwk(key)
  end
  self.key_set = json_writer.write { keys = list }
end

--- A JWT of the caller, with changes of its claims and of its header.
function token_api:jwt(claims, header, key)
  local seconds = self.time / 1000
  local head = { alg = "RS256", typ = "JWT", kid = KID }
  local payload = { sub = CALLER, jti = "mt_1", iat = seconds, exp = seconds + 300 }
  return (key or token_api.signer()):jwt(json_writer.write(merged(head, header)),
    json_writer.write(merged(payload, claims)))
end

-- ---------------------------------------------------------------- the transport

local function answer(status, value)
  return { status = status, headers = {}, body = type(value) == "string" and value
    or json_writer.write(value) }
end

local function refusal(status)
  return answer(status, { errors = { { code = "refused", message = "refused" } } })
end

--- A value, a status, or the code of a failure.
local function reply(value)
  if type(value) == "number" then
    return refusal(value)
  elseif type(value) == "string" then
    return nil, { code = value, message = "it failed", sent = true }
  end
  return answer(200, value)
end

local routes = {}

function routes.verify_token(self, request)
  return reply(self.tokens[request.body:match '"token":"(.-)"'] or 404)
end

function routes.get(self, request)
  local scoped = self.machines[request.url:match "[^/]*$"] or 404
  if type(scoped) ~= "table" then
    return reply(scoped)
  end
  local list = {}
  for i, id in ipairs(scoped) do
    list[i] = { object = "machine", id = id }
  end
  return reply { id = "mch_1", name = "one", scoped_machines = list }
end

function routes.keys(self)
  local set = self.key_set
  if type(set) == "string" and set:find "^[%[{]" then
    return answer(200, set)
  end
  return reply(set)
end

function routes.create_token(self)
  return table.remove(self.minted, 1)
end

local function route_of(request)
  return request.url:find "m2m_tokens/verify$" and "verify_token"
    or request.url:find "/machines/" and "get"
    or request.url:find "m2m_tokens$" and "create_token"
    or "keys"
end

function token_api:send(request)
  local name = route_of(request)
  table.insert(self.requests, request)
  self.asked[name] = self.asked[name] + 1
  return routes[name](self, request)
end

-- ---------------------------------------------------------------- its users

function token_api:client(options)
  return machines.new(merged({
    secret_key = "sk_test_instance_key",
    machine_secret_key = "ak_machine_key",
    transport = self,
    base_url = BASE_URL,
  }, options))
end

--- Options of a verifier, with changes.
function token_api:options(changes)
  return merged({
    client = self:client(),
    machine_id = ME,
    callers = { CALLER },
    now = self.clock,
  }, changes)
end

function token_api:verifier(changes)
  return require("clerk.machines.tokens").verifier(self:options(changes))
end

return token_api
