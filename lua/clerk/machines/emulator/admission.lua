--- What every request must show before it is looked at: its size, key, version and path.

local assumed = require "clerk.machines.emulator.assumed"
local problems = require "clerk.machines.emulator.problems"
local routes = require "clerk.machines.emulator.routes"

local admission = {}

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
    return problems.new("clerk_key_invalid", "The secret key is not the one of this instance.")
  end
end

local function check_version(request)
  local version = request.headers["clerk-api-version"]
  if version and not version:find("^%d%d%d%d%-%d%d%-%d%d$") then
    return problems.new("api_version_invalid", "Clerk-API-Version must be a date: YYYY-MM-DD.")
  end
end

local function check_rate(call, rate, now)
  local wait = call.operation and rate:count_request(now)
  if not wait then
    return nil
  end
  local problem = problems.new("too_many_requests", "Wait before you send another request.")
  problem.headers = { ["retry-after"] = ("%d"):format(wait) }
  return problem
end

---@param request clerk.machines.emulator.Request
---@param secret_key string
---@param rate clerk.machines.emulator.Rate counts the calls of operations
---@param now integer ms
---@return clerk.machines.emulator.Call?
---@return clerk.machines.emulator.Problem?
function admission.check(request, secret_key, rate, now)
  local problem = check_size(request)
    or check_key(request, secret_key)
    or check_version(request)
  if problem then
    return nil, problem
  end
  local call, no_route = routes.find(request.method, request.url)
  if not call then
    return nil, no_route
  end
  problem = check_rate(call, rate, now)
  if problem then
    return nil, problem
  end
  return call
end

return admission
