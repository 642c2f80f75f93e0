--- Settings: the checked options of a client, with the defaults; or of a call, with its client's.

local core = require "clerk.machines.core"
local options = require "clerk.machines.options"
local schema = require "clerk.machines.schema"

local settings = {}

--- The defaults of a schema; those of a group come from its members.
local function defaults_of(rows)
  local defaults = {}
  for _, row in ipairs(rows) do
    defaults[row.name] = row.members and defaults_of(row.members) or row.default
  end
  return defaults
end

local function per_call_options()
  local rows = {}
  for _, row in ipairs(options) do
    rows[#rows + 1] = row.per_call and row or nil
  end
  return schema.new(rows)
end

local DEFAULTS = defaults_of(options)
local PER_CALL = per_call_options()

--- A copy of a base with changes; groups and headers are merged member by member.
local function merge(base, changes, rows)
  local merged = {}
  for name, value in next, base do
    merged[name] = value
  end
  for name, value in next, changes do
    local row = rows[name] or {}
    if merged[name] and (row.kind == "group" or row.kind == "headers") then
      value = merge(merged[name], value, row.members or {})
    end
    merged[name] = value
  end
  return merged
end

local function misplaced(key)
  if key == "concurrency" then
    return 'option "concurrency" can only be given to collect'
  elseif type(key) == "string" and options[key] then
    return ('option "%s" can only be given to machines.new'):format(key)
  end
end

--- Checks the given options against the rows that are allowed, and adds them to a copy of the base.
local function resolve(allowed, given, base)
  local own = type(given) == "table" and given or {}
  local checked, problem = schema.check(allowed, given, nil, {
    use_environment = allowed == options,
    allow_http = base.allow_http or rawget(own, "allow_http") == true,
    has_transport = rawget(own, "transport") ~= nil,
    misplaced = misplaced,
  })
  return checked and merge(base, checked, options), problem
end

--- The value of User-Agent: ours, after a text of the user's.
---@param own string?
---@return string
function settings.user_agent(own)
  local version = type(jit) == "table" and jit.version or _VERSION
  local ours = ("clerk-machines/%s (%s)"):format(core.version, version)
  return own and own .. " " .. ours or ours
end

--- Adds `prepared`: the settings in the core's form; and whether calls can take the fast path.
local function prepare(resolved)
  resolved.prepared = core.settings(resolved)
  resolved.is_fast = not (resolved.transport or resolved.on_event or resolved.deadline_ms)
  return resolved
end

--- Checks the options of `machines.new` and adds the defaults.
---@param given table|nil
---@return table|nil settings
---@return string|nil problem
function settings.for_client(given)
  local resolved, problem = resolve(options, given == nil and {} or given, DEFAULTS)
  if not resolved then
    return nil, problem
  end
  resolved.user_agent = settings.user_agent(resolved.user_agent)
  return prepare(resolved)
end

local function both(first, second)
  return first and function(event)
    first(event)
    second(event)
  end or second
end

--- Checks the options of one call and adds those of its client.
---@param given table|nil
---@param of_client table its settings
---@return table|nil settings
---@return string|nil problem
function settings.for_call(given, of_client)
  if given == nil then
    return of_client
  end
  local resolved, problem = resolve(PER_CALL, given, of_client)
  if not resolved then
    return nil, problem
  end
  if resolved.on_event ~= of_client.on_event then
    resolved.on_event = both(of_client.on_event, resolved.on_event)
  end
  return prepare(resolved)
end

return settings
