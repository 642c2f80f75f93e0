--- Error objects: tables with a metatable, raised by `error`.

local core = require "clerk.machines.core"

---@class clerk.machines.Error
local Error = { __name = "clerk.machines.Error" }

local errors = {}

local function table_or_empty(value)
  return type(value) == "table" and value or {}
end

local function text_or_nil(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- ---------------------------------------------------------------- as text

--- What identifies an error, in the order of its line.
local function facts_of(err, first)
  local facts = {}
  local function add(format, value)
    if value then
      facts[#facts + 1] = format:format(value)
    end
  end
  add("%s", text_or_nil(table_or_empty(first.meta).param_name))
  add("%s", err.status and err.status .. " " .. err.code or err.code)
  local count = #table_or_empty(err.errors)
  add("first of %d errors", count > 1 and count)
  add("trace %s", err.clerk_trace_id)
  add("at %s", err.where)
  return table.concat(facts, "; ")
end

--- The API's explanation, and what this library has added to its message.
local function explain(err, first)
  local long, short = text_or_nil(first.long_message), text_or_nil(first.message)
  local has_addition = short and err.message:sub(1, #short) == short
  return long and long .. (has_addition and err.message:sub(#short + 1) or "") or err.message
end

function Error:__tostring()
  local first = table_or_empty(table_or_empty(self.errors)[1])
  local subject = self.operation and self.operation .. ": " or ""
  return core.clean(("%s: %s%s (%s)"):format(self.type, subject, explain(self, first),
    facts_of(self, first)))
end

local function as_text(value)
  return errors.is_error(value) and tostring(value) or value
end

function Error.__concat(left, right)
  return as_text(left) .. as_text(right)
end

---@param value any
---@return boolean
function errors.is_error(value)
  return getmetatable(value) == Error
end

-- ---------------------------------------------------------------- ArgumentError

local debug = rawget(_G, "debug") -- a host may leave it out

--- Where this library's sources are; nil when they were bundled or stripped.
local own_source = debug and debug.getinfo(1, "S").source:match("^(.*)errors%.lua$")

--- The first place on the stack that is not this library's.
local function where()
  if not own_source then
    return nil
  end
  for level = 2, 250 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      return nil
    end
    if info.what ~= "C" and info.source:sub(1, #own_source) ~= own_source then
      return info.short_src .. ":" .. info.currentline
    end
  end
end

--- Makes an ArgumentError: refused by this library before it sent anything; if `attempts` is set,
--- earlier attempts of the call were sent: see `maybe_applied`.
---@param message string names the argument and what was expected; holds no secret
---@param operation string|nil
---@param attempts integer|nil
---@param maybe_applied boolean|nil
---@return clerk.machines.Error
function errors.of_argument(message, operation, attempts, maybe_applied)
  return setmetatable({
    type = "ArgumentError",
    code = "invalid_argument",
    message = core.clean(message), -- it may quote a name that the caller gave
    operation = operation,
    attempts = attempts,
    maybe_applied = maybe_applied,
    where = where(),
  }, Error)
end

--- Raises an ArgumentError.
---@param message string
---@param operation string|nil
function errors.refuse(message, operation)
  error(errors.of_argument(message, operation), 0)
end

-- ---------------------------------------------------------------- responses and failures

--- Shorter keys are found by chance too often; real ones are much longer.
local SHORTEST_KEY_TO_HIDE = 8

--- A copy of a value in which no string holds one of the keys: a server may repeat them.
local function without_keys(value, keys)
  if type(value) == "table" then
    local copy = {}
    for name, member in pairs(value) do
      copy[without_keys(name, keys)] = without_keys(member, keys)
    end
    return copy
  end
  for _, key in ipairs(type(value) == "string" and keys or {}) do
    if #key >= SHORTEST_KEY_TO_HIDE then
      value = value:gsub(key:gsub("%W", "%%%0"), "(secret key)")
    end
  end
  return value
end

--- What a URL has before its host, even a malformed URL: from what looks like its start to the very
--- last "@", since a password may hold anything.
local CREDENTIALS = "[^%s'\"]*:%S.*@"

local function hide_credentials(found)
  return (found:match "^%a[%w+.-]*://" or "") .. "(hidden)@"
end

--- A message that libcurl, nginx or a transport wrote, without keys and passwords.
local function without_secrets(message, keys)
  if message:find("@", 1, true) then
    message = message:gsub(CREDENTIALS, hide_credentials)
  end
  return without_keys(message, keys)
end

local function holds_one(value, keys)
  for i = 1, type(value) == "string" and #keys or 0 do
    if value:find(keys[i], 1, true) then
      return true
    end
  end
end

--- Headers without the keys: usually none holds one, and this returns the same table.
---@param headers table<string, string>
---@param keys string[]
function errors.hide_keys(headers, keys)
  for name, value in pairs(headers) do
    if holds_one(value, keys) or holds_one(name, keys) then
      return without_keys(headers, keys)
    end
  end
  return headers
end

local function trace_id(value, headers)
  return text_or_nil(table_or_empty(value).clerk_trace_id)
    or text_or_nil(headers["clerk-trace-id"])
    or text_or_nil(headers["cf-ray"])
end

local function add_api_errors(err, value)
  local first = table_or_empty(value.errors[1])
  err.errors = value.errors
  err.meta = value.meta
  err.message = text_or_nil(first.message) or text_or_nil(first.long_message)
    or "the API refused the request without saying why"
  err.code = text_or_nil(first.code) or "unknown"
end

--- Clerk's keys that are not an instance's secret key, by how they begin.
local OTHER_KEYS = { pk_ = "a publishable key", ak_ = "a machine's secret key" }

local function explain_key(err, key)
  local kind = err.status == 401 and OTHER_KEYS[key:sub(1, 3)]
  if kind then
    err.message = ("%s (secret_key is %s, not the instance's secret key)"):format(err.message, kind)
  end
end

--- A success that cannot be read may still hold a machine's new key.
local function add_body(err, body, returns_secret)
  if returns_secret and err.status < 300 then
    err.message = ("%s (%d bytes withheld: they may hold a secret)"):format(err.message, #body)
  else
    err.body = body
  end
end

local function add_response(err, verdict, response, attempt)
  local value = without_keys(verdict.value, attempt.keys)
  err.status = response.status
  err.headers = without_keys(response.headers or {}, attempt.keys)
  err.retry_after = verdict.retry_after
  err.clerk_trace_id = trace_id(value, err.headers)
  if err.type == "ClerkErrors" then
    add_api_errors(err, value)
  end
  explain_key(err, attempt.keys[#attempt.keys])
  add_body(err, without_keys(response.body or "", attempt.keys), attempt.operation.returns_secret)
end

--- Makes the error of a call from the verdict on its last attempt.
---@param verdict table of core: type, code, message, value, retry_after, maybe_applied
---@param response table|nil
---@param attempt { operation: table, attempts: integer, elapsed_ms: integer, keys: string[] }
---@return clerk.machines.Error
function errors.of_attempt(verdict, response, attempt)
  local err = {
    type = verdict.type,
    code = verdict.code,
    message = verdict.message and without_secrets(verdict.message, attempt.keys),
    maybe_applied = verdict.maybe_applied,
    operation = attempt.operation.name,
    attempts = attempt.attempts,
    elapsed_ms = attempt.elapsed_ms,
  }
  if verdict.type ~= "TransportError" then
    add_response(err, verdict, response, attempt)
  end
  return setmetatable(err, Error)
end

--- Makes the error of a call that was not sent at all, because the client pauses after a 429.
---@param operation table
---@param pause_ms integer what is left of the pause
---@param elapsed_ms integer
---@return clerk.machines.Error
function errors.of_pause(operation, pause_ms, elapsed_ms)
  local err = {
    type = "TransportError",
    code = "rate_limited",
    message = ("not sent: after a 429 the client pauses for another %d ms"):format(pause_ms),
    operation = operation.name,
    attempts = 0,
    elapsed_ms = elapsed_ms,
    retry_after = math.ceil(pause_ms / 1000),
  }
  if operation.method ~= "GET" then
    err.maybe_applied = false
  end
  return setmetatable(err, Error)
end

--- The error of a task that was cancelled while it waited, but not in a call.
---@return clerk.machines.Error
function errors.of_cancelled()
  return setmetatable({
    type = "TransportError",
    code = "cancelled",
    message = "the task was cancelled",
  }, Error)
end

--- The error of a pagination that cannot go on.
---@param type "TransportError"|"SDKError"
---@param code string
---@param message string
---@return clerk.machines.Error
function errors.of_pagination(type, code, message)
  return setmetatable({ type = type, code = code, message = message, operation = "list" }, Error)
end

return errors
