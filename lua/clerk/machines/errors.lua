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

--- A copy of a value in which no string holds one of the secrets: a server may repeat them.
---@generic T
---@param value T
---@param secrets string[] keys and tokens
---@return T
function errors.without(value, secrets)
  if type(value) == "table" then
    local copy = {}
    for name, member in pairs(value) do
      copy[errors.without(name, secrets)] = errors.without(member, secrets)
    end
    return setmetatable(copy, getmetatable(value))
  end
  return type(value) == "string" and core.without(value, secrets) or value
end

--- What a URL has before its host, even a malformed URL: from what looks like its start to the very
--- last "@", since a password may hold anything.
local CREDENTIALS = "[^%s'\"]*:%S.*@"

local function hide_credentials(found)
  return (found:match "^%a[%w+.-]*://" or "") .. "(hidden)@"
end

--- A message that libcurl, nginx or a transport wrote, without secrets and passwords.
local function clean_message(message, secrets)
  if message:find("@", 1, true) then
    message = message:gsub(CREDENTIALS, hide_credentials)
  end
  return errors.without(message, secrets)
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

--- Clerk's keys, by how they begin.
errors.KEY_KINDS = {
  pk_ = "a publishable key", sk_ = "an instance's secret key", ak_ = "a machine's secret key",
}

--- How the key of an option should begin, and what it is.
local EXPECTED = {
  secret_key = { "sk_", "the instance's secret key" },
  machine_secret_key = { "ak_", "a machine's secret key" },
}

local function explain_key(err, attempt)
  local prefix, expected = attempt.key:sub(1, 3), EXPECTED[attempt.key_name]
  local kind = errors.KEY_KINDS[prefix]
  if err.status == 401 and kind and prefix ~= expected[1] then
    err.message = ("%s (%s is %s, not %s)"):format(err.message, attempt.key_name, kind, expected[2])
  end
end

--- A success that cannot be read may still hold a machine's new key, or a token.
local function add_body(err, body, returns_secret)
  if returns_secret and err.status < 300 then
    err.message = ("%s (%d bytes withheld: they may hold a secret)"):format(err.message, #body)
  else
    err.body = body
  end
end

local function add_response(err, verdict, response, attempt)
  local value = errors.without(verdict.value, attempt.secrets)
  err.status = response.status
  err.headers = errors.without(response.headers or {}, attempt.secrets)
  err.retry_after = verdict.retry_after
  err.clerk_trace_id = trace_id(value, err.headers)
  if err.type == "ClerkErrors" then
    add_api_errors(err, value)
  end
  explain_key(err, attempt)
  add_body(err, errors.without(response.body or "", attempt.secrets),
    attempt.operation.returns_secret)
end

--- Makes the error of a call from the verdict on its last attempt.
---@param verdict table of core: type, code, message, value, retry_after, maybe_applied
---@param response table|nil
---@param attempt table of call.lua: operation, attempts, elapsed_ms, secrets, key, key_name
---@return clerk.machines.Error
function errors.of_attempt(verdict, response, attempt)
  local err = {
    type = verdict.type,
    code = verdict.code,
    message = verdict.message and clean_message(verdict.message, attempt.secrets),
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
  if operation.is_change then
    err.maybe_applied = false
  end
  return setmetatable(err, Error)
end

--- Makes an error that is not about one response.
---@param type "TransportError"|"SDKError"
---@param code string
---@param message string
---@param operation string?
---@return clerk.machines.Error
function errors.of(type, code, message, operation)
  return setmetatable({
    type = type,
    code = code,
    message = clean_message(message, {}),
    operation = operation,
  }, Error)
end

--- The error of a task that was cancelled while it waited, but not in a call.
---@return clerk.machines.Error
function errors.of_cancelled()
  return errors.of("TransportError", "cancelled", "the task was cancelled")
end

-- ---------------------------------------------------------------- TokenError

--- What the codes mean, without the form of a sentence.
local meanings = {}
for _, refusal in ipairs(core.refusals) do
  meanings[refusal.name] = refusal.summary:gsub("^T", "t"):gsub("%.$", "")
end

--- Makes a TokenError: a token that must not be accepted.
---@param code string of core.refusals
---@param message string? default: what the code means
---@param problem clerk.machines.Error? by which the API has refused it
---@return clerk.machines.Error
function errors.of_token(code, message, problem)
  return setmetatable({
    type = "TokenError",
    code = code,
    message = message or meanings[code],
    status = problem and problem.status,
    clerk_trace_id = problem and problem.clerk_trace_id,
  }, Error)
end

return errors
