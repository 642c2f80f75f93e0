--- What every request must pass before its parameters are read: size, key, API version, path and
--- rate limit.

local assumed = require "clerk.machines.emulator.assumed"
local problems = require "clerk.machines.emulator.problems"
local routes = require "clerk.machines.emulator.routes"

local WINDOW_MS = 10000

---@class clerk.machines.emulator.Admission
---@field secret_key string
---@field rate_limit integer requests in ten seconds
---@field count integer requests in the current ten seconds
---@field window_ends number ms
local Admission = {}
Admission.__index = Admission

local admission = {}

---@param secret_key string
---@param rate_limit integer? requests in ten seconds; unlimited by default
---@return clerk.machines.emulator.Admission
function admission.new(secret_key, rate_limit)
  return setmetatable({
    secret_key = secret_key,
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

local function check_key(request, secret_key)
  local scheme, key = (request.headers.authorization or ""):match("^(%a+) +(.+)$")
  if not scheme or scheme:lower() ~= "bearer" then
    local what = "The Authorization header must be `Bearer` and a secret key."
    return problems.new("authorization_header_format_invalid", what)
  elseif key ~= secret_key then
    return problems.new("clerk_key_invalid", "The secret key is not the key of this instance.")
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
---@return clerk.machines.emulator.Call?
---@return clerk.machines.emulator.Problem?
function Admission:check(request, now)
  local problem = check_size(request)
    or check_key(request, self.secret_key)
    or check_version(request)
  if problem then
    return nil, problem
  end
  local call, no_route = routes.find(request.method, request.url)
  problem = no_route or call.operation and check_rate(self, now)
  if problem then
    return nil, problem
  end
  return call
end

return admission
