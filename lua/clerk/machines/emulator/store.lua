--- What the emulated instance holds: machines, their secret keys and tokens, and its own key.

local assumed = require "clerk.machines.emulator.assumed"
local random = require "clerk.machines.emulator.random"
local scopes = require "clerk.machines.emulator.scopes"
local signer = require "clerk.machines.emulator.signer"
local tokens = require "clerk.machines.emulator.tokens"

---@class clerk.machines.emulator.Machine
---@field id string
---@field instance_id string
---@field name string
---@field default_token_ttl integer
---@field created_at integer ms
---@field updated_at integer ms
---@field number integer counts up with each machine
---@field secret string the current key
---@field secrets table<string, true> all keys that may still be valid
---@field scopes clerk.machines.emulator.Machine[] the machines it may call, oldest scope first
---@field callers table<clerk.machines.emulator.Machine, true> the machines that may call it
---@field deleted boolean?

---@class clerk.machines.emulator.Store
---@field machines table<string, clerk.machines.emulator.Machine> by ID
---@field by_creation clerk.machines.emulator.Machine[] with deleted ones while `has_deleted`
---@field by_name clerk.machines.emulator.Machine[]? sorted when it is first needed
---@field tokens clerk.machines.emulator.Tokens
---@field signer clerk.machines.emulator.Signer
---@field keys table<string, { machine: clerk.machines.emulator.Machine, expires_at: integer? }>
local Store = {}
Store.__index = Store

local store = {}

---@return clerk.machines.emulator.Store
function store.new()
  local instance_id = "ins_" .. random.word(27)
  return setmetatable({
    instance_id = instance_id,
    machines = {},
    by_creation = {},
    has_deleted = false,
    by_name = nil,
    keys = {},
    tokens = tokens.new(),
    signer = signer.new(instance_id),
    created = 0,
  }, Store)
end

---@param id string
---@return clerk.machines.emulator.Machine?
function Store:find(id)
  return self.machines[id]
end

-- ---------------------------------------------------------------- machines

-- Starts at the end: only a clock that was set back puts a new machine before an older one.
local function insert_by_creation(list, machine)
  local at = #list + 1
  while at > 1 and list[at - 1].created_at > machine.created_at do
    at = at - 1
  end
  table.insert(list, at, machine)
end

---@param name string
---@param default_token_ttl integer
---@param now integer
---@return clerk.machines.emulator.Machine
function Store:create(name, default_token_ttl, now)
  self.created = self.created + 1
  local machine = {
    id = "mch_" .. random.word(27),
    instance_id = self.instance_id,
    name = name,
    default_token_ttl = default_token_ttl,
    created_at = now,
    updated_at = now,
    number = self.created,
    secrets = {},
    scopes = {},
    callers = {},
  }
  self.machines[machine.id] = machine
  insert_by_creation(self.by_creation, machine)
  self.by_name = nil
  self:rotate(machine, 0, now)
  return machine
end

---@param machine clerk.machines.emulator.Machine
---@param changes { name: string?, default_token_ttl: integer? }
---@param now integer
function Store:update(machine, changes, now)
  if changes.name then
    machine.name = changes.name
    self.by_name = nil
  end
  machine.default_token_ttl = changes.default_token_ttl or machine.default_token_ttl
  if next(changes) ~= nil then
    machine.updated_at = now
  end
end

---Deletes a machine, its keys, and every scope that names it.
---@param machine clerk.machines.emulator.Machine
function Store:delete(machine)
  scopes.delete_all(machine)
  for secret in pairs(machine.secrets) do
    self.keys[secret] = nil
  end
  self.machines[machine.id] = nil
  machine.deleted = true
  self.has_deleted = true
  self.by_name = nil
end

-- ---------------------------------------------------------------- keys

local function is_valid(key, now)
  return not key.expires_at or now < key.expires_at
end

function Store:forget_expired_keys(machine, now)
  for secret in pairs(machine.secrets) do
    if not is_valid(self.keys[secret], now) then
      self.keys[secret], machine.secrets[secret] = nil, nil
    end
  end
end

---Gives a machine a new key.
---@param machine clerk.machines.emulator.Machine
---@param previous_ttl integer seconds for which the previous key stays valid
---@param now integer
---@return string secret
function Store:rotate(machine, previous_ttl, now)
  local previous = self.keys[machine.secret]
  if previous then
    previous.expires_at = now + previous_ttl * 1000
  end
  self:forget_expired_keys(machine, now)
  machine.secret = "ak_" .. random.word(40)
  machine.secrets[machine.secret] = true
  self.keys[machine.secret] = { machine = machine }
  return machine.secret
end

---@param secret string
---@param now integer
---@return clerk.machines.emulator.Machine?
function Store:machine_of(secret, now)
  local key = self.keys[secret]
  return key and is_valid(key, now) and key.machine or nil
end

-- ---------------------------------------------------------------- list

local function filter(list, predicate)
  local kept = {}
  for _, machine in ipairs(list) do
    if predicate(machine) then
      kept[#kept + 1] = machine
    end
  end
  return kept
end

local function is_kept(machine)
  return not machine.deleted
end

function Store:in_creation_order()
  if self.has_deleted then
    self.by_creation = filter(self.by_creation, is_kept)
    self.has_deleted = false
  end
  return self.by_creation
end

local function comes_before(one, other)
  if one.name ~= other.name then
    return assumed.name_before(one.name, other.name)
  end
  if one.created_at ~= other.created_at then
    return one.created_at < other.created_at
  end
  return one.number < other.number
end

function Store:in_name_order()
  if not self.by_name then
    self.by_name = filter(self:in_creation_order(), is_kept)
    table.sort(self.by_name, comes_before)
  end
  return self.by_name
end

---@param order_by string "name" or "created_at", optionally after a "+" or "-"
---@param query string an empty one matches every machine
---@param offset integer
---@param limit integer
---@return clerk.machines.emulator.Machine[] page
---@return integer total_count of all matching machines
function Store:list(order_by, query, offset, limit)
  local sign, field = order_by:match("^([+-]?)(.*)$")
  local found = field == "name" and self:in_name_order() or self:in_creation_order()
  if query ~= "" then
    found = filter(found, function(machine)
      return assumed.matches(machine, query)
    end)
  end
  local page, count = {}, #found
  for i = offset + 1, math.min(offset + limit, count) do
    page[#page + 1] = found[sign == "-" and count + 1 - i or i]
  end
  return page, count
end

return store
