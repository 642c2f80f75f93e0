--- What every request must pass before its parameters are read: size, key, API version, path and
--- rate limit.

local assumed = require "clerk.machines.emulator.assumed"
local problems = require "clerk.machines.emulator.problems"
local routes = require "clerk.machines.emulator.routes"

local WINDOW_MS = 10000

---@class clerk.machines.emulator.Admission
---@field secret_key string the instance's
---@field store clerk.machines.emulator.Store
---@field rate_limit integer requests in ten seconds
---@field count integer requests in the current ten seconds
---@field window_ends number ms
local Admission = {}
Admission.__index = Admission

local admission = {}

---@param secret_key string
---@param store clerk.machines.emulator.Store
---@param rate_limit integer? requests in ten seconds; unlimited by default
---@return clerk.machines.emulator.Admission
function admission.new(secret_key, store, rate_limit)
  return setmetatable({
    secret_key = secret_key,
    store = store,
    rate_limit = rate_limit or math.huge,
    count = 0,
    window_ends = -math.huge,
  }, Admission)
end

local function check_size(request)
  if #(request.body or "") > assumed.max_body_bytes then
    local what = ("The body may have at most %d bytes."):format(assumed.max_body_bytes)
    return problems.new("request_body_too_large", what)
  end
end

local function refuse_format(call)
  local code = call and call.is_of_tokens and "unauthorized"
    or "authorization_header_format_invalid"
  return problems.new(code, "The Authorization header must be `Bearer` and a secret key.")
end

local function takes(call, kind)
  for _, each in ipairs(call and call.operation and call.operation.keys or { "secret_key" }) do
    if each == kind then
      return true
    end
  end
  return false
end

local function refuse_key(call)
  if not takes(call, "secret_key") then
    return problems.new("machine_secret_key_invalid", "The provided Machine Secret Key is invalid.")
  end
  return problems.new("clerk_key_invalid", "The secret key is not the key of this instance.")
end

--- Notes in a call which machine makes it. The instance's key makes none.
local function check_key(self, request, call, now)
  if call and call.is_public then
    return nil
  end
  local scheme, key = (request.headers.authorization or ""):match("^(%a+) +(.+)$")
  if not scheme or scheme:lower() ~= "bearer" then
    return refuse_format(call)
  end
  local is_instance, caller = key == self.secret_key, self.store:machine_of(key, now)
  if not (is_instance and takes(call, "secret_key"))
    and not (caller and takes(call, "machine_secret_key")) then
    return refuse_key(call)
  end
  if call then
    call.caller = caller
  end
end

local function check_version(request)
  local version = request.headers["clerk-api-version"]
  if version and not version:find("^%d%d%d%d%-%d%d%-%d%d$") then
    return problems.new("api_version_invalid", "Clerk-API-Version must be a date: YYYY-MM-DD.")
  end
end

local function check_rate(self, now)
  if now >= self.window_ends then
    self.window_ends, self.count = now + WINDOW_MS, 0
  end
  self.count = self.count + 1
  if self.count > self.rate_limit then
    local problem = problems.new("too_many_requests", "Wait before you send another request.")
    local seconds = math.ceil((self.window_ends - now) / 1000)
    problem.headers = { ["retry-after"] = ("%d"):format(seconds) }
    return problem
  end
end

---The rate limit counts only requests that ask for an operation.
---@param request clerk.machines.emulator.Request
---@param now integer ms
---@return clerk.machines.emulator.Call? call also with most problems
---@return clerk.machines.emulator.Problem?
function Admission:check(request, now)
  local call, no_route = routes.find(request.method, request.url)
  return call, check_size(request)
    or check_key(self, request, call, now)
    or check_version(request)
    or no_route
    or call.operation and check_rate(self, now)
    or nil
end

return admission
