--- A source of tokens for calls to other services: it mints one, returns it as long as it is good,
--- and replaces it early.

local cache = require "clerk.machines.tokens.cache"
local call = require "clerk.machines.call"
local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local single_flight = require "clerk.machines.tokens.single_flight"
local options = require "clerk.machines.tokens.options"

--- How long a refresh is not tried again while the token lives.
local RETRY_MS = 1000

--- How often a token that a receiver has refused is replaced.
local REPLACE_MS = 10000

local MOST_REFUSED = 100

--- A source: `current` is a token with its text, when it expires and when it is refreshed;
--- `must_replace`: the last one was refused; `replaced_at`: when one that was refused was replaced.
---@class clerk.machines.tokens.Source
local Source = { __name = "clerk.machines.tokens.Source" }
Source.__index = Source

function Source:__tostring()
  return ("%s (%s)"):format(Source.__name, self.params.token_format)
end

local function check_source(source, method)
  if getmetatable(source) ~= Source then
    errors.refuse(("call it with a colon: source:%s(…)"):format(method), method)
  end
end

-- ---------------------------------------------------------------- minting

--- Another token would most likely be refused as well, and each costs.
local function check_replacement(self)
  local left = self.replaced_at and self.replaced_at + REPLACE_MS - self.clock() or 0
  if left > 0 then
    local err = errors.of("TransportError", "rate_limited", "not minted: a token that was refused "
      .. "is replaced every 10 s at most; does the receiver let this machine in?", "get")
    err.retry_after = math.ceil(left / 1000)
    error(err, 0)
  end
end

--- A token with the same claims and scopes may come back: not instead of one that was refused.
local function create_token(self, ends_at)
  local params = self.params
  if self.must_replace then
    check_replacement(self)
    params = core.copy(params)
    params.min_remaining_ttl_seconds = nil
  end
  local start, is_replacement = self.clock(), self.must_replace
  local ok, token, info = pcall(self.client.create_token, self.client, params,
    { deadline_ms = math.max(1, math.floor(ends_at - core.now())) })
  if is_replacement and (ok or errors.is_error(token) and token.maybe_applied) then
    self.replaced_at = start
  end
  return ok and token or error(token, 0), info, start
end

--- By the server's clock, if it says the time, since ours may be wrong.
local function life_left(token, info)
  if token.expiration == nil then
    return math.huge
  end
  local date = core.http_date(info.headers.date or "")
  local left = type(token.expiration) == "number"
    and token.expiration - (date and date * 1000 or core.unix_ms()) or 0
  if left <= 0 then
    error(errors.of("SDKError", "unexpected_shape", "the new token has expired already, or does "
      .. "not say when it does", "create_token"), 0)
  end
  return left
end

--- Runs once for all that need a token.
local function mint(self, ends_at)
  local token, info, start = create_token(self, ends_at)
  if self.refused:get(core.sha256(token.token)) then
    self.must_replace = true
    return mint(self, ends_at)
  end
  local expires_at = start + life_left(token, info)
  self.must_replace = false
  self.current = {
    text = token.token,
    token = token,
    expires_at = expires_at,
    refresh_at = math.max(expires_at - self.refresh_before_ms, start + RETRY_MS),
  }
end

-- ---------------------------------------------------------------- the interface

local function is_alive(self, current)
  return current and self.clock() < current.expires_at
end

--- Whether it is returned without minting: also while another caller is minting the next one.
local function is_good(self, current)
  return is_alive(self, current)
    and (self.clock() < current.refresh_at or self.flights:find "mint" ~= nil)
end

--- A refresh must fail while the old token can still be returned.
local function time_to_mint(self)
  local settings, current = self.client.settings, self.current
  local limit_ms = settings.deadline_ms or settings.timeout_ms
  if is_alive(self, current) then
    limit_ms = math.min(limit_ms, current.expires_at - self.clock())
  end
  return limit_ms
end

--- Makes the current token a good one.
local function renew(self, ends_at)
  local ok, problem = self.flights:run(self.host, "mint", ends_at, mint, self, ends_at)
  if not ok and not is_alive(self, self.current) then
    error(problem, 0)
  elseif not self.current then -- it was refused meanwhile
    renew(self, ends_at)
  elseif not ok then
    self.current.refresh_at = self.clock() + RETRY_MS
  end
end

--- Returns a token that is good, and mints one when there is none.
---@return string text for `Authorization: Bearer …`
---@return clerk.machines.CreatedToken token
function Source:get()
  check_source(self, "get")
  if not is_good(self, self.current) then
    renew(self, core.now() + time_to_mint(self))
  end
  return self.current.text, core.copy(self.current.token)
end

--- The receiver has refused this token: it is not returned any more, and the next `get` mints
--- another one, at most every ten seconds. No effect when it is not the current one.
---@param text string
function Source:invalidate(text)
  check_source(self, "invalidate")
  local current = self.current
  if current and current.text == text then
    self.refused:set(core.sha256(text), true, current.expires_at)
    self.current, self.must_replace = nil, true
  end
end

local source = { Source = Source }

--- Opaque tokens with the same claims are shared by all processes of the machine.
local function params_of(checked)
  local is_opaque = checked.token_format == "opaque"
  return {
    seconds_until_expiration = checked.seconds_until_expiration,
    claims = checked.claims,
    token_format = checked.token_format,
    min_remaining_ttl_seconds = is_opaque and math.floor(checked.refresh_before_ms / 1000) or nil,
  }
end

--- Makes a source; raises an ArgumentError.
---@param given clerk.machines.tokens.SourceOptions
---@return clerk.machines.tokens.Source
function source.new(given)
  local checked, problem = options.check(options.source, given)
  local client = (checked or errors.refuse(problem)).client
  local function clock()
    return call.now(client)
  end
  return setmetatable({
    client = client,
    params = params_of(checked),
    refresh_before_ms = checked.refresh_before_ms,
    clock = clock,
    host = {
      operation = "get",
      group = client.group,
      transport = client.transport,
      is_ours = not client.settings.transport,
    },
    flights = single_flight.new(),
    refused = cache.new(MOST_REFUSED, clock),
    must_replace = false,
  }, Source)
end

return source
