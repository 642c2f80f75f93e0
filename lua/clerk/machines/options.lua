--- The options: one table of all, some of which may also be given with a call. Of several problems,
--- the first in the order of the table is reported.
---
--- Checks return the value to use, or nil and the problem: a sentence that names the option. They
--- read the caller's tables raw, so that what was checked is what is used.

local core = require "clerk.machines.core"
local runtime = require "clerk.machines.runtime"

local options = {}

local LARGEST = 2 ^ 31 - 1
local LARGEST_EXACT = 2 ^ 53

local function unexpected(name, expected, value)
  local got = type(value) == "number" and tostring(value) or type(value)
  return nil, ("%s must be %s, got %s"):format(name, expected, got)
end

--- The same for options that hold no secret: quotes a short string, unless it has an underscore,
--- like a secret key that was given by mistake.
local function unexpected_word(name, expected, value)
  if type(value) ~= "string" or #value > 20 or not value:find "^[%w .+-]*$" then
    return unexpected(name, expected, value)
  end
  return nil, ('%s must be %s, got "%s"'):format(name, expected, value)
end

--- A key of a caller's table, without its metamethods.
local function shown(key)
  local is_plain = type(key) == "string" or type(key) == "number"
  return is_plain and tostring(key) or type(key)
end

--- The keys of a caller's table, in an order that is always the same.
local function sorted_keys(given)
  local keys = {}
  for key in next, given do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return shown(a) < shown(b)
  end)
  return keys
end

-- ---------------------------------------------------------------- kinds of values
-- Each takes the option's row, the value, its full name, and what it depends on: whether these are
-- the options of machines.new (`is_new`), whether http is allowed (`allow_http`) and whether the
-- transport is the caller's (`has_transport`).

local kinds = {}

function kinds.integer(row, value, name)
  if type(value) ~= "number" or value % 1 ~= 0 or value < row.min or value > row.max then
    return unexpected_word(name, ("an integer from %.0f to %.0f"):format(row.min, row.max), value)
  end
  return math.floor(value)
end

function kinds.number(row, value, name)
  if type(value) ~= "number" or not (value >= row.min and value <= row.max) then
    return unexpected_word(name, ("a number from %.0f to %.0f"):format(row.min, row.max), value)
  end
  return value
end

function kinds.boolean(_, value, name)
  if type(value) ~= "boolean" then
    return unexpected_word(name, "a boolean", value)
  end
  return value
end

kinds["function"] = function(_, value, name)
  if type(value) ~= "function" then
    return unexpected(name, "a function", value)
  end
  return value
end

function kinds.string(_, value, name)
  if type(value) ~= "string" or value == "" or value:find("%c") then
    return unexpected(name, "a string that is not empty and has no control bytes", value)
  end
  return value
end

function kinds.one_of(row, value, name)
  for _, allowed in ipairs(row.values) do
    if value == allowed then
      return value
    end
  end
  return unexpected_word(name, '"' .. table.concat(row.values, '" or "') .. '"', value)
end

function kinds.url(_, value, name, context)
  if type(value) ~= "string" then
    return unexpected(name, "a string", value)
  end
  local ok, problem = core.check_base_url(value, context.allow_http)
  return ok and value, problem
end

function kinds.secret_key(_, value, name)
  if type(value) == "function" then
    return value
  end
  if type(value) ~= "string" then
    return unexpected(name, "a string or a function", value)
  end
  local ok, problem = core.check_secret_key(value)
  return ok and function()
    return value
  end, problem
end

--- Any other value raises when it is indexed.
local function has_members(value)
  local metatable = getmetatable(value)
  return type(value) == "table" or (type(value) == "userdata" and metatable and metatable.__index)
end

function kinds.transport(_, value, name)
  if not has_members(value) or type(value.send) ~= "function" then
    return unexpected(name, "an object with a function `send`", value)
  end
  return value
end

function kinds.headers(_, value, name)
  if type(value) ~= "table" then
    return unexpected(name, "a table", value)
  end
  local headers = {}
  for _, header in ipairs(sorted_keys(value)) do
    local text = rawget(value, header)
    if type(header) ~= "string" then
      return unexpected("a name in " .. name, "a string", header)
    elseif type(text) ~= "string" then
      return unexpected(("%s[%q]"):format(name, header), "a string", text)
    end
    local ok, problem = core.check_header(header, text)
    local lower = header:lower()
    if not ok or headers[lower] then
      return nil, problem or ("%s has %s twice"):format(name, lower)
    end
    headers[lower] = text
  end
  return headers
end

function kinds.status_codes(_, value, name)
  if type(value) ~= "table" then
    return unexpected(name, "an array", value)
  end
  local count, codes = 0, {}
  for _ in next, value do
    count = count + 1
  end
  for i = 1, count do
    if not core.is_retry_status(rawget(value, i)) then
      return nil, name .. ' must be an array of statuses, such as 429, or classes, such as "5XX"'
    end
    codes[i] = rawget(value, i)
  end
  return codes
end

-- ---------------------------------------------------------------- tables of options

local function is_name_of(rows, key)
  return type(key) == "string" and rows[key] ~= nil
end

local function names_of(rows)
  local names = {}
  for i, row in ipairs(rows) do
    names[i] = row.name
  end
  return names
end

local function unknown(rows, key, prefix, context)
  if context.is_call and prefix == "" and is_name_of(options.rows, key) then
    return ('option "%s" can only be given to machines.new'):format(key)
  elseif (context.is_call or context.is_new) and prefix == "" and key == "concurrency" then
    return 'option "concurrency" can only be given to collect'
  end
  local nearest = type(key) == "string" and core.nearest(key, names_of(rows))
  local hint = nearest and ('; did you mean "%s%s"?'):format(prefix, nearest) or ""
  return ('unknown option "%s%s"%s'):format(prefix, shown(key), hint)
end

--- The value of an option, and the variable that it comes from, if it does.
local function value_of(row, given, context)
  local value = rawget(given, row.name)
  local variable = value == nil and context.is_new and row.variable
  local found = variable and os.getenv(variable) or ""
  if found == "" then
    return value
  end
  return row.adapt and row.adapt(found) or found, variable
end

local function check_row(row, given, prefix, context)
  local value, variable = value_of(row, given, context)
  local problem
  if value ~= nil then
    local check_kind = kinds[row.kind] or row.kind
    value, problem = check_kind(row, value, prefix .. row.name, context)
  end
  if problem and variable then
    problem = problem:gsub(row.name, "%0 (from " .. variable .. ")", 1)
  end
  return value, problem or row.refuse and row.refuse(value, context)
end

local function check(rows, given, prefix, context)
  for _, key in ipairs(sorted_keys(given)) do
    if not is_name_of(rows, key) then
      return nil, unknown(rows, key, prefix, context)
    end
  end
  local checked = {}
  for _, row in ipairs(rows) do
    local value, problem = check_row(row, given, prefix, context)
    if problem then
      return nil, problem
    end
    checked[row.name] = value
  end
  return checked
end

--- A group of options under one name; those that are given replace single members.
function kinds.group(row, value, name, context)
  if value == false and row.off then
    return row.off
  end
  if type(value) ~= "table" then
    return unexpected(name, row.off and "a table or false" or "a table", value)
  end
  return check(row.members, value, name .. ".", context)
end

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

-- ---------------------------------------------------------------- the table

--- Makes an array of rows accessible by their names too.
local function table_of(rows)
  for _, row in ipairs(rows) do
    rows[row.name] = row
  end
  return rows
end

local function ms(name, default, summary)
  return {
    name = name,
    kind = "number", min = 0, max = LARGEST,
    default = default,
    summary = summary,
  }
end

local backoff = table_of {
  ms("initial_interval", 500, "Wait before the second attempt, in milliseconds."),
  ms("max_interval", 60000, "Longest wait between two attempts, in milliseconds."),
  {
    name = "exponent",
    kind = "number", min = 1, max = 1000,
    default = 1.5,
    summary = "Factor by which the wait grows after each attempt.",
  },
  ms("max_elapsed_time", 60000,
    "Milliseconds after the start of the call; a wait that would end later is not begun."),
}

local retries = table_of {
  {
    name = "strategy",
    kind = "one_of", values = { "backoff", "none" },
    default = "backoff",
    summary = '`"none"` never repeats a request.',
  },
  {
    name = "backoff",
    kind = "group",
    members = backoff,
    summary = "How long to wait between attempts. The actual wait is random, "
      .. "between half of the computed time and all of it, and never shorter than `Retry-After`.",
  },
  {
    name = "retry_connection_errors",
    kind = "boolean",
    default = true,
    summary = "Whether to repeat a request after a failure that may pass, such as `timeout`.",
  },
  {
    name = "status_codes",
    kind = "status_codes",
    default = { "5XX", 429 },
    summary = "Statuses after which a request is repeated: numbers, or classes such as `\"5XX\"`.",
  },
  {
    name = "repeat_unsafe",
    kind = "boolean",
    default = false,
    summary = "Whether to repeat a POST like any other request, although the change "
      .. "may then be made twice. Otherwise a POST is repeated only after a 429, or when it "
      .. "was not sent.",
  },
}

local function refuse_no_key(key)
  if key == nil then
    return "secret_key is missing: give it or set CLERK_SECRET_KEY"
      .. runtime.environment_hint
  end
end

--- Refuses what only our own transport can do, and not in every runtime.
local function own_transport_only(name)
  return function(value, context)
    if value ~= nil and context.has_transport then
      return name .. " has no effect with a transport of your own"
    end
    return value ~= nil and runtime.refuse_option(name) or nil
  end
end

--- In all of Clerk's tools this variable holds the URL of a host, without the API's path.
local function add_path(api_url)
  return (api_url:gsub("^(%a+://[^/]+)/*$", "%1/v1"))
end

--- Every option: `kind`, `min` and `max` say what is allowed, and `type` is its type for LuaLS if
--- the kind does not say it. `per_call`: a call may override it. `default` or, where that is not a
--- value, `default_text`, and `summary` are for the reference. `variable`: the environment variable
--- that `machines.new` falls back to, unless it is empty, after `adapt`. `refuse(value, context)`
--- returns a problem that depends on more than the value.
local rows = table_of {
  {
    name = "secret_key",
    kind = "secret_key",
    variable = "CLERK_SECRET_KEY",
    refuse = refuse_no_key,
    summary = "The instance's secret key (`sk_…`), or a function that returns it and is called "
      .. "for every attempt.",
  },
  {
    name = "base_url",
    kind = "url",
    variable = "CLERK_API_URL",
    adapt = add_path,
    default = "https://api.clerk.com/v1",
    per_call = true,
    summary = "URL of the API: https, or http to 127.0.0.0/8, [::1] and localhost. "
      .. "If the URL in `$CLERK_API_URL` has no path, `/v1` is added.",
  },
  {
    name = "timeout_ms",
    kind = "integer", min = 1, max = LARGEST,
    default = 10000,
    per_call = true,
    summary = "Time limit of one attempt, in milliseconds.",
  },
  {
    name = "connect_timeout_ms",
    kind = "integer", min = 1, max = LARGEST,
    default = 5000,
    summary = "Time limit for connecting, within an attempt, in milliseconds.",
  },
  {
    name = "deadline_ms",
    kind = "integer", min = 1, max = LARGEST,
    per_call = true,
    summary = "Time limit of the whole call with all attempts and waits, in milliseconds.",
  },
  {
    name = "retries",
    kind = "group",
    members = retries,
    off = { strategy = "none" },
    per_call = true,
    summary = "When and how to repeat a request: a table whose fields replace single "
      .. "defaults, or `false` to never repeat.",
  },
  {
    name = "headers",
    kind = "headers",
    default = {},
    per_call = true,
    summary = "Headers to add to each request. `Authorization`, `Accept-Encoding` and headers "
      .. "that frame the message cannot be set.",
  },
  {
    name = "api_version",
    kind = "string",
    default = "2026-05-12",
    summary = "Version of the API, sent as `Clerk-API-Version`.",
  },
  {
    name = "user_agent",
    kind = "string",
    summary = "Text to put before this library's own `User-Agent`.",
  },
  {
    name = "max_connections",
    kind = "integer", min = 1, max = 10000,
    default = 32,
    summary = "Connection limit: how many requests run at once, and how many idle "
      .. "connections are kept. In nginx it applies to each worker.",
  },
  {
    name = "max_response_bytes",
    kind = "integer", min = 1, max = LARGEST_EXACT,
    default = 64 * 1024 * 1024,
    summary = "Largest response body in bytes, after decompression. A larger one ends the "
      .. "transfer with `response_too_large`.",
  },
  {
    name = "ca_file",
    kind = "string",
    refuse = own_transport_only "ca_file",
    default_text = "the system's authorities",
    summary = "PEM file of certificate authorities to trust in addition to the system's. "
      .. "Only with libcurl.",
  },
  {
    name = "proxy",
    kind = "string",
    refuse = own_transport_only "proxy",
    default_text = "`$https_proxy` and `$no_proxy`, as libcurl reads them",
    summary = "URL of an http, https or socks proxy. Only with libcurl.",
  },
  {
    name = "transport",
    kind = "transport",
    default_text = "libcurl; in nginx, cosockets",
    summary = "An object that sends the requests instead.",
  },
  {
    name = "on_event",
    kind = "function",
    type = "fun(event: clerk.machines.Event|clerk.machines.PageEvent)",
    per_call = true,
    summary = "A function that is called with each event of each call. A call's own function is "
      .. "called in addition to the client's.",
  },
  {
    name = "allow_http",
    kind = "boolean",
    default = false,
    summary = "Whether to allow plain http to any host. Anyone on the network can then read the "
      .. "secret key.",
  },
  {
    name = "check_bounds",
    kind = "boolean",
    default = true,
    summary = "Whether to check the bounds of numbers and lengths before sending. If false, "
      .. "the API checks them. Types, names and the `limit` of pagination are always checked here.",
  },
}

--- The defaults of a table of options; those of a group come from its members.
local function defaults_of(rows_of_group)
  local defaults = {}
  for _, row in ipairs(rows_of_group) do
    row.default = row.members and defaults_of(row.members) or row.default
    defaults[row.name] = row.default
  end
  return defaults
end

local defaults, per_call = defaults_of(rows), {}
for _, row in ipairs(rows) do
  per_call[#per_call + 1] = row.per_call and row or nil
end
table_of(per_call)

options.rows = rows

local function full_user_agent(own)
  local version = type(jit) == "table" and jit.version or _VERSION
  local ours = ("clerk-machines/%s (%s)"):format(core.version, version)
  return own and own .. " " .. ours or ours
end

--- Checks the given options against `allowed` rows and merges them into a copy of `base`.
local function resolve(allowed, given, base)
  if type(given) ~= "table" then
    return unexpected("options", "a table", given)
  end
  local checked, problem = check(allowed, given, "", {
    is_new = allowed == rows,
    is_call = allowed == per_call,
    allow_http = base.allow_http or rawget(given, "allow_http") == true,
    has_transport = rawget(given, "transport") ~= nil,
  })
  return checked and merge(base, checked, rows), problem
end

--- For tables of options that are not a client's. Their `kind` may also be a function.
options.kinds = kinds
options.table_of = table_of

---@param allowed table made by `table_of`
---@param given any
---@param group string|nil in front of the names in messages: "fault" makes "fault.status"
---@return table|nil checked a new table
---@return string|nil problem
function options.check(allowed, given, group)
  if type(given) ~= "table" then
    return unexpected(group or "options", "a table", given)
  end
  return check(allowed, given, group and group .. "." or "", {})
end

--- Adds `prepared`: the settings in the core's form.
local function prepare(settings)
  settings.prepared = core.settings(settings)
  return settings
end

--- Checks the options of `machines.new` and adds the defaults.
---@param given table|nil
---@return table|nil settings
---@return string|nil problem
function options.for_client(given)
  if given == nil then
    given = {}
  end
  local settings, problem = resolve(rows, given, defaults)
  if not settings then
    return nil, problem
  end
  settings.user_agent = full_user_agent(settings.user_agent)
  return prepare(settings)
end

local function both(first, second)
  return first and function(event)
    first(event)
    second(event)
  end or second
end

--- Checks the options of one call and adds those of its client.
---@param given table|nil
---@param settings table of the client
---@return table|nil settings
---@return string|nil problem
function options.for_call(given, settings)
  if given == nil then
    return settings
  end
  local merged, problem = resolve(per_call, given, settings)
  if not merged then
    return nil, problem
  end
  if merged.on_event ~= settings.on_event then
    merged.on_event = both(settings.on_event, merged.on_event)
  end
  return prepare(merged)
end

return options
