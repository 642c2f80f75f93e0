--- The options of verifiers and sources: see schema.lua.

local clients = require "clerk.machines.client"
local core = require "clerk.machines.core"
local json_writer = require "clerk.machines.json_writer"
local keys = require "clerk.machines.tokens.keys"
local runtime = require "clerk.machines.runtime"
local schema = require "clerk.machines.schema"

local options = {}

--- Whether a value has the form of a machine's ID.
---@param value any
---@return boolean
function options.is_machine_id(value)
  return type(value) == "string" and #value <= 68 and value:find "^mch_[0-9A-Za-z_]+$" ~= nil
end

-- ---------------------------------------------------------------- kinds

--- Of a client of clerk.machines.safe, the one that it wraps.
local function client_of(value)
  local found = clients.unwrap(value)
  return getmetatable(found) == clients.Client and found or nil
end

local function client(_, value, name)
  local found = client_of(value)
  return found, not found and ("%s must be a client, got %s"):format(name, type(value)) or nil
end

local function machine_id(_, value, name)
  if not options.is_machine_id(value) then
    return nil, name .. " must be the ID of a machine (mch_…)"
  end
  return value
end

--- A copy. An array with a hole may have lost what an environment variable should have held.
local function machine_ids(_, value, name)
  local ids, count = {}, 0
  for _ in next, type(value) == "table" and value or {} do
    count = count + 1
    ids[count] = rawget(value, count)
    if not options.is_machine_id(ids[count]) then
      return nil, ("%s[%d] must be the ID of a machine (mch_…)"):format(name, count)
    end
  end
  if count == 0 then
    return nil, name .. " must be an array with the ID of at least one machine"
  end
  return ids
end

local function jwks_url(row, value, name, context)
  local url, problem = schema.kinds.url(row, value, name, context)
  if url and not url:find "^%a+://[^/]+/" then
    return nil, name .. " must have a path, such as /.well-known/jwks.json"
  end
  return url, problem and problem:gsub("base_url", name)
end

local function pem(_, value, name)
  if type(value) ~= "string" then
    return nil, ("%s must be a string, got %s"):format(name, type(value))
  end
  local key, problem = keys.of_pem(value)
  return key, problem and ("%s must be the PEM of an RSA public key: %s"):format(name, problem)
end

-- ---------------------------------------------------------------- publishable keys

--- Names of at least two labels, the last of which does not make it an address.
local function is_host_name(text)
  local labels = 0
  for label in (text .. "."):gmatch "([^.]*)%." do
    if #label > 63 or not label:find "^%w[%w-]*$" or label:find "-$" then
      return false
    end
    labels = labels + 1
  end
  return #text <= 253 and labels >= 2 and text:find "%.[^.]*%a[^.]*$" ~= nil
end

--- Where the key's instance publishes its key set, and whether it is a "live" or a "test" one.
local function publishable_key(_, value, name)
  local environment, encoded = tostring(value):match "^pk_(%l+)_(.+)$"
  local is_key = type(value) == "string" and (environment == "live" or environment == "test")
  local decoded = is_key and core.base64url((encoded:gsub("=*$", "")))
  local host = decoded and decoded:match "^(.*)%$$"
  if not host or not is_host_name(host) then
    return nil, name .. " must be pk_live_… or pk_test_…, and decode to the name of a host"
  end
  return { url = ("https://%s/.well-known/jwks.json"):format(host), environment = environment }
end

-- ---------------------------------------------------------------- what depends on several options

local function refuse_machine_id(value, _, checked)
  if value == nil and checked.scope_check ~= "none" then
    return "machine_id is missing: give the ID of the machine that this service is (if it comes "
      .. "from an environment variable, that may not be set, or not be passed on to this process), "
      .. 'or set scope_check to "none"'
  end
end

local CHOICE = "JWTs would be accepted from every machine of the instance. Choose which machines "
  .. 'to let in: callers, an array of machine IDs (recommended); or scope_check: "machine" (the '
  .. 'API says which machines a machine may call now), "claims" (the JWT says it itself, which is '
  .. 'weak) or "none" (every machine). Or accept only opaque tokens: jwt = false'

local function refuse_jwt(value, _, checked)
  if value == false then
    return not checked.client and "client is missing: opaque tokens are verified by the API" or nil
  elseif not checked.callers and not checked.scope_check then
    return CHOICE
  end
end

local function has_instance_key(checked)
  return checked.client and checked.client.settings.secret_key ~= nil
end

local function refuse_scope_check(value, _, checked)
  if value == "machine" and not has_instance_key(checked) then
    return 'scope_check "machine" needs a client with secret_key, the key of the instance'
  end
end

local KEY_SOURCES = { "publishable_key", "jwks_url", "jwt_key" }

--- The last of the sources has been checked.
local function refuse_key_sources(last, _, checked)
  local count = 0
  for _, name in ipairs(KEY_SOURCES) do
    count = count + (checked[name] ~= nil and 1 or 0)
  end
  count = count + (last ~= nil and 1 or 0)
  if count > 1 then
    return "give only one of publishable_key, jwks_url and jwt_key"
  elseif count == 0 and checked.jwt ~= false and not has_instance_key(checked) then
    return "the keys of JWTs are missing: give publishable_key, jwks_url or jwt_key, or a client "
      .. "with secret_key, the key of the instance; or accept only opaque tokens: jwt = false"
  end
end

local function refuse_shared_dict(value)
  return value and select(2, runtime.shared_dict(value))
end

-- ---------------------------------------------------------------- the tables

local CLIENT = {
  name = "client",
  kind = client,
  type = "clerk.machines.Client",
}

local function extend(row, more)
  for name, value in pairs(row) do
    more[name] = more[name] or value
  end
  return more
end

local function ms(name, default, summary)
  return {
    name = name,
    kind = "integer", min = 0, max = schema.LARGEST,
    default = default,
    summary = summary,
  }
end

local CALLERS = {
  name = "callers",
  kind = machine_ids, type = "string[]",
  summary = "The machines that are let in, by their IDs.",
}

options.verifier = schema.new {
  extend(CLIENT, {
    summary = "Asks the API about opaque tokens, with a machine's key if it has one. Without a "
      .. "client, only JWTs are accepted.",
  }),
  {
    name = "scope_check",
    kind = "one_of", values = { "machine", "claims", "none" },
    refuse = refuse_scope_check,
    summary = '`"machine"`: this service is among the `scoped_machines` that the API says the '
      .. 'caller has now. `"claims"`: it is among the `scopes` that a JWT claims, which is weak. '
      .. '`"none"`: every machine of the instance is let in.',
  },
  CALLERS,
  {
    name = "machine_id",
    kind = machine_id, type = "string",
    refuse = refuse_machine_id,
    summary = "The machine that this service is. Required, unless `scope_check` is `\"none\"`.",
  },
  {
    name = "jwt",
    kind = "boolean",
    default = true,
    refuse = refuse_jwt,
    summary = "Whether JWTs are accepted. They need `callers` or `scope_check`.",
  },
  {
    name = "publishable_key",
    kind = publishable_key, type = "string",
    summary = "The instance's publishable key (`pk_…`), which says where the keys of JWTs are.",
  },
  {
    name = "jwks_url",
    kind = jwks_url, type = "string",
    summary = "URL of the keys of JWTs.",
  },
  {
    name = "jwt_key",
    kind = pem, type = "string",
    refuse = refuse_key_sources,
    default_text = "the client's `/jwks`",
    summary = "The key of JWTs itself: the PEM of an RSA public key. At most one of "
      .. "`publishable_key`, `jwks_url` and `jwt_key` is given.",
  },
  ms("clock_skew_ms", 5000, "How far clocks may differ, in milliseconds."),
  ms("cache_ms", 60000, "How long the API's answers and verified JWTs are used again, in "
    .. "milliseconds; 0 asks every time. A revoked token is accepted for as long."),
  ms("refusal_ms", 10000, "How long the API's refusals are used again, in milliseconds."),
  {
    name = "cache_entries",
    kind = "integer", min = 1, max = 10000000,
    default = 10000,
    summary = "The most tokens that each process remembers by itself.",
  },
  {
    name = "max_in_flight",
    kind = "integer", min = 1, max = 1000,
    default = 8,
    summary = "How many lookups of this verifier in the API run at once, in each process. "
      .. "Further lookups wait.",
  },
  {
    name = "max_per_second",
    kind = "integer", min = 1, max = 10000,
    default = 50,
    summary = "How many lookups of this verifier in the API begin in any second, in each "
      .. "process. Further lookups fail at once.",
  },
  {
    name = "shared_dict",
    kind = "string",
    refuse = refuse_shared_dict,
    summary = "Name of a `lua_shared_dict` of nginx: all workers learn what one of them has asked.",
  },
  {
    name = "now",
    kind = "function", type = "fun(): number",
    default_text = "the system's clocks",
    summary = "For tests: the time, as Unix time in milliseconds.",
  },
}

local function claims(_, value, name)
  local problem = json_writer.problem(value, name)
  return not problem and core.copy(value) or nil, problem
end

local function refuse_no_machine_key(value)
  if value and not value.settings.machine_secret_key then
    return "client has no machine_secret_key: give it to machines.new or set "
      .. "CLERK_MACHINE_SECRET_KEY" .. runtime.environment_hint "CLERK_MACHINE_SECRET_KEY"
  end
  return not value and "client is missing: it mints the tokens" or nil
end

local SECONDS, MARGIN_MS = 300, 60000

local function refuse_margin(value, _, checked)
  local life_ms = (checked.seconds_until_expiration or SECONDS) * 1000
  local margin_ms = value or MARGIN_MS
  if life_ms <= margin_ms then
    return ("seconds_until_expiration (%g) must be longer than refresh_before_ms (%d)"):format(
      life_ms / 1000, margin_ms)
  end
end

options.source = schema.new {
  extend(CLIENT, {
    refuse = refuse_no_machine_key,
    summary = "Mints the tokens; it needs `machine_secret_key`.",
  }),
  {
    name = "seconds_until_expiration",
    kind = "number", min = 1, max = 315360000,
    default = SECONDS,
    summary = "How long a token lives, in seconds.",
  },
  {
    name = "claims",
    kind = claims, type = "any",
    summary = "Claims of your own that the tokens carry.",
  },
  {
    name = "token_format",
    kind = "one_of", values = { "opaque", "jwt" },
    default = "opaque",
    summary = "`\"opaque\"` tokens can be revoked, and are shared by all processes of the machine; "
      .. "`\"jwt\"` tokens are verified offline.",
  },
  {
    name = "refresh_before_ms",
    kind = "integer", min = 0, max = schema.LARGEST,
    default = MARGIN_MS,
    refuse = refuse_margin,
    summary = "How long before its end a token is replaced, in milliseconds.",
  },
}

--- What one call of `verifier:verify` can add.
options.verification = schema.new { CALLERS }

--- Checks options and adds the defaults.
---@param rows table
---@param given any
---@return table|nil checked
---@return string|nil problem
function options.check(rows, given)
  local own = type(given) == "table" and client_of(rawget(given, "client"))
  return schema.complete(rows, given, nil, { allow_http = own and own.settings.allow_http })
end

return options
