--- The opaque tokens of an emulated instance.

local json_writer = require "clerk.machines.json_writer"
local random = require "clerk.machines.emulator.random"

---@class clerk.machines.emulator.Token
---@field id string
---@field text string the token itself
---@field subject clerk.machines.emulator.Machine
---@field scopes string[] IDs, as they were when it was minted
---@field claims any core.null when it has none
---@field created_at integer ms
---@field updated_at integer ms
---@field expires_at integer? ms; never when nil
---@field last_used_at integer? ms
---@field revoked boolean
---@field revocation_reason string?

---@class clerk.machines.emulator.Tokens
---@field by_id table<string, clerk.machines.emulator.Token>
---@field by_text table<string, clerk.machines.emulator.Token>
---@field in_order clerk.machines.emulator.Token[] oldest first
local Tokens = {}
Tokens.__index = Tokens

local tokens = {}

---@return clerk.machines.emulator.Tokens
function tokens.new()
  return setmetatable({ by_id = {}, by_text = {}, in_order = {} }, Tokens)
end

---@return string
function tokens.new_id()
  return "mt_" .. random.trace()
end

---@param machine clerk.machines.emulator.Machine
---@return string[] ids of the machines that it may call now
function tokens.scopes_of(machine)
  local ids = {}
  for i, callee in ipairs(machine.scopes) do
    ids[i] = callee.id
  end
  return ids
end

---@param token clerk.machines.emulator.Token
---@param now integer ms
---@return boolean
function tokens.is_expired(token, now)
  return token.expires_at ~= nil and token.expires_at <= now
end

---@param machine clerk.machines.emulator.Machine
---@param claims any
---@param expires_at integer? ms
---@param now integer ms
---@return clerk.machines.emulator.Token
function Tokens:mint(machine, claims, expires_at, now)
  local token = {
    id = tokens.new_id(),
    text = "mt_" .. random.word(43),
    subject = machine,
    scopes = tokens.scopes_of(machine),
    claims = claims,
    created_at = now,
    updated_at = now,
    expires_at = expires_at,
    revoked = false,
  }
  self.by_id[token.id], self.by_text[token.text] = token, token
  table.insert(self.in_order, token)
  return token
end

local function as_set(ids)
  local sorted = {}
  for i, id in ipairs(ids) do
    sorted[i] = id
  end
  table.sort(sorted)
  return table.concat(sorted, " ")
end

--- The newest token of a machine that can be used instead of a new one.
---@param machine clerk.machines.emulator.Machine
---@param claims any
---@param lives_until integer ms it must live at least until then
---@return clerk.machines.emulator.Token?
function Tokens:find_alike(machine, claims, lives_until)
  local wanted = json_writer.write(claims)
  local scopes = as_set(tokens.scopes_of(machine))
  for i = #self.in_order, 1, -1 do
    local token = self.in_order[i]
    local lives = token.expires_at == nil or token.expires_at >= lives_until
    if token.subject == machine and not token.revoked and lives
      and json_writer.write(token.claims) == wanted and as_set(token.scopes) == scopes then
      return token
    end
  end
end

---@param machine clerk.machines.emulator.Machine
---@param with { revoked: boolean, expired: boolean } which others to return too
---@param now integer ms
---@return clerk.machines.emulator.Token[] newest first
function Tokens:of_machine(machine, with, now)
  local found = {}
  for i = #self.in_order, 1, -1 do
    local token = self.in_order[i]
    if token.subject == machine and (with.revoked or not token.revoked)
      and (with.expired or not tokens.is_expired(token, now)) then
      found[#found + 1] = token
    end
  end
  return found
end

return tokens
