--- Lets requests with a valid machine token through and answers the rest (RFC 6750).
---
---     local gate = require("clerk.machines.gate").new { verifier = verifier }
---     access_by_lua_block { gate:check() }
---
--- It is closed when in doubt: a request gets through only where a function of the gate returns.

local clients = require "clerk.machines.client"
local errors = require "clerk.machines.errors"
local json_writer = require "clerk.machines.json_writer"
local options = require "clerk.machines.tokens.options"
local runtime = require "clerk.machines.runtime"
local schema = require "clerk.machines.schema"
local verifiers = require "clerk.machines.tokens.verifier"

local HEADER, VARIABLE = "X-Clerk-Machine-Id", "clerk_machine_id"

--- Raises a string: nginx logs no other errors.
local function refuse(problem, operation)
  local _, err = pcall(errors.refuse, problem, operation)
  error(tostring(err), 0)
end

-- ---------------------------------------------------------------- options

local function verifier(_, value, name)
  local inner = clients.unwrap(value)
  if getmetatable(inner) ~= verifiers.Verifier then
    return nil, ("%s must be made by tokens.verifier, got %s"):format(name, type(value))
  end
  return inner
end

local function header(_, value, name)
  if type(value) ~= "string" or not value:find "^[xX]%-[%w-]+$" then
    return nil, ('%s must be "X-" followed by letters, digits and "-", such as %s'):format(name,
      HEADER)
  end
  return value
end

local function realm(_, value, name)
  if type(value) ~= "string" or not value:find "^[ -~]+$" or value:find '["\\]' then
    return nil, ('%s must be a string of printable ASCII characters, without " and \\'):format(name)
  end
  return value
end

local NEW = schema.new {
  {
    name = "verifier",
    kind = verifier, type = "clerk.machines.tokens.Verifier",
    refuse = function(value)
      return value == nil and "verifier is missing: make one with tokens.verifier" or nil
    end,
    summary = "Decides about tokens.",
  },
  {
    name = "header",
    kind = header, type = "string",
    default = HEADER,
    summary = "The header in which the upstream gets the caller's machine ID.",
  },
  {
    name = "realm",
    kind = realm, type = "string",
    default = "machines",
    summary = "What is protected, for `WWW-Authenticate`.",
  },
  {
    name = "forward_token",
    kind = "boolean",
    default = false,
    summary = "Whether the upstream gets the `Authorization` header too.",
  },
}

local ROUTE = schema.new {
  options.verification.callers,
  {
    name = "optional",
    kind = "boolean",
    summary = "Whether requests without any credentials are let through.",
  },
  {
    name = "authorize",
    kind = "function", type = "fun(token: clerk.machines.Token): boolean",
    summary = "Lets through only requests for whose token it returns true. Called last.",
  },
}

-- ---------------------------------------------------------------- what is refused

--- A refusal is how a request is answered that is not let through: RFC 6750, 3.1. Without
--- credentials there is no error to report.
local function missing()
  return { status = 401, problem = errors.of_token("token_malformed",
    "the request has no bearer token") }
end

local function repeated()
  return { status = 400, code = "invalid_request", problem = errors.of_token("token_malformed",
    "the request has more than one Authorization header") }
end

local function refusal_of(problem)
  if problem.type ~= "TokenError" then
    return { status = 503, code = "temporarily_unavailable", problem = problem }
  elseif problem.code == "token_not_granted" then
    return { status = 403, code = "insufficient_scope", problem = problem }
  end
  return { status = 401, code = "invalid_token", problem = problem }
end

-- ---------------------------------------------------------------- the request

--- Programs behind nginx take X_Clerk_Machine_Id for the same header.
local function folded(name)
  return (name:lower():gsub("%W", "-"))
end

local AUTHORIZATION = "authorization"

--- Removes what the client says that only the gate may say; returns its Authorization headers: an
--- array of texts or, where nginx has several under one spelling, of arrays.
local function read_headers(self)
  local spoofed, authorizations = self.header, {}
  for name, value in pairs(ngx.req.get_headers(0, true)) do
    local length = #name -- most names need no closer look
    if length == #spoofed and folded(name) == folded(spoofed) then
      ngx.req.clear_header(name)
    elseif length == #AUTHORIZATION and name:lower() == AUTHORIZATION then
      authorizations[#authorizations + 1] = value
    end
  end
  return authorizations
end

--- The token of an Authorization header, whatever it looks like; nil for other schemes.
local function token_text(authorization)
  local scheme, text = authorization:match "^(%S*)%s*(.*)$"
  return scheme:lower() == "bearer" and text or nil
end

--- Fails where the location has not declared the variable.
local function set_variable(id)
  ngx.var[VARIABLE] = id
end

local function let_through(self, token)
  ngx.req.set_header(self.header, token.subject)
  if not self.forward_token then
    ngx.req.clear_header "Authorization"
  end
  pcall(set_variable, token.subject)
  ngx.ctx.clerk_token = token
  return token
end

--- What the request brings as its token, or nil and the refusal; nil alone when it may come
--- without one.
local function read_token(self, route)
  local authorizations = read_headers(self)
  local authorization = authorizations[1]
  if not authorization then
    return nil, not route.optional and missing() or nil
  elseif #authorizations > 1 or type(authorization) == "table" then
    return nil, repeated()
  end
  local text = token_text(authorization)
  return text, not text and missing() or nil
end

--- Raises what is against letting the token through.
local function judge(self, route, text)
  local token = verifiers.verify(self.verifier, text, route.callers)
  if route.authorize and route.authorize(token) ~= true then
    error(errors.of_token("token_not_granted", "the token does not permit this request"), 0)
  end
  return token
end

--- The token of the request, or nil and the refusal; nil alone when it may come without one. Other
--- errors than this library's end in nginx's 500.
local function verify(self, route)
  local text, refusal = read_token(self, route)
  if not text then
    return nil, refusal
  end
  local ok, token = pcall(judge, self, route, text)
  if ok then
    return token
  elseif errors.is_error(token) then
    return nil, refusal_of(token)
  end
  error(tostring(token), 0) -- nginx logs nothing but strings
end

-- ---------------------------------------------------------------- the answer

local function challenge(self, refusal)
  local parts = { ('Bearer realm="%s"'):format(self.realm) }
  if refusal.code then
    parts[2] = ('error="%s"'):format(refusal.code)
    parts[3] = ('error_description="%s"'):format(refusal.problem.message:gsub('["\\]', "'"))
  end
  return table.concat(parts, ", ")
end

--- Why nothing could be told is for the operator, and not for the client.
local function describe(refusal)
  if refusal.status == 503 then
    return "the token cannot be verified now"
  end
  return refusal.problem.message
end

--- Ends the request.
local function answer(self, refusal)
  local is_unknown = refusal.status == 503
  ngx.log(is_unknown and ngx.ERR or ngx.INFO, "clerk.machines.gate: ", tostring(refusal.problem))
  ngx.status = refusal.status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Cache-Control"] = "no-store"
  if is_unknown then
    ngx.header["Retry-After"] = math.max(1, refusal.problem.retry_after or 0)
  else
    ngx.header["WWW-Authenticate"] = challenge(self, refusal)
  end
  ngx.print(json_writer.write { error = refusal.code, error_description = describe(refusal) }, "\n")
  return ngx.exit(ngx.HTTP_OK)
end

-- ---------------------------------------------------------------- the interface

---@class clerk.machines.Gate
local Gate = { __name = "clerk.machines.Gate" }
Gate.__index = Gate

--- Where each method works: in nginx's phases, as these directives.
local PLACES = {
  check = { "access_by_lua", access = true },
  verify = { "access_by_lua, rewrite_by_lua or content_by_lua",
    access = true, content = true, rewrite = true },
  answer = { "content_by_lua, in the location of an auth_request", content = true },
  strip = { "rewrite_by_lua", rewrite = true, server_rewrite = true, access = true },
}

local function check_use(self, name)
  if getmetatable(self) ~= Gate then
    refuse(("call it with a colon: gate:%s(…)"):format(name), name)
  elseif not PLACES[name][ngx.get_phase()] then
    refuse(("gate:%s works in %s, and not in nginx's phase %s"):format(name, PLACES[name][1],
      ngx.get_phase()), name)
  end
end

local ANY_ROUTE = {}

local function check_route(given, name)
  if given == nil then
    return ANY_ROUTE
  end
  local route, problem = schema.check(ROUTE, given)
  return route or refuse(problem, name)
end

--- In `access_by_lua`: lets the request through, or answers it and does not return. The caller's
--- machine ID goes to the gate's header and to `$clerk_machine_id`, where the location declares
--- that; the token to `ngx.ctx.clerk_token`. `Authorization` is removed, unless `forward_token`.
---@param route clerk.machines.GateRoute?
---@return clerk.machines.Token
function Gate:check(route)
  check_use(self, "check")
  local token, refusal = verify(self, check_route(route, "check"))
  if token then
    return let_through(self, token)
  elseif refusal then
    return answer(self, refusal)
  end
  return ngx.exit(ngx.DECLINED) -- so that `satisfy any` does not take it for a permission
end

--- The same for code that answers itself: returns nil, the error and a status where `check` would
--- answer, and nil alone for a request without credentials where the route says `optional`.
---@param route clerk.machines.GateRoute?
---@return clerk.machines.Token?
---@return clerk.machines.Error?
---@return integer? status
function Gate:verify(route)
  check_use(self, "verify")
  local token, refusal = verify(self, check_route(route, "verify"))
  if token then
    return let_through(self, token)
  elseif refusal then
    return nil, refusal.problem, refusal.status
  end
end

--- In `content_by_lua` of the location of an `auth_request`: answers 204 with the caller's machine
--- ID in the gate's header, or as `check` does. nginx makes a 500 of any answer but 2XX, 401, 403.
---@param route clerk.machines.GateRoute?
function Gate:answer(route)
  check_use(self, "answer")
  local token, refusal = verify(self, check_route(route, "answer"))
  if refusal then
    return answer(self, refusal)
  elseif token then
    ngx.header[self.header] = token.subject
  end
  ngx.exit(ngx.HTTP_NO_CONTENT)
end

--- In `rewrite_by_lua`: removes the gate's header from a request that `check` does not see, in all
--- spellings that programs behind nginx may take for it.
function Gate:strip()
  check_use(self, "strip")
  read_headers(self)
end

local gate = { options = NEW, route_options = ROUTE }

--- Makes a gate, which can serve all requests of nginx; raises an ArgumentError.
---@param given clerk.machines.GateOptions
---@return clerk.machines.Gate
function gate.new(given)
  if not runtime.is_nginx then
    refuse "gates work inside nginx only; elsewhere, use verifier:verify"
  end
  local self, problem = options.check(NEW, given)
  if not self then
    refuse(problem)
  end
  return setmetatable(self, Gate)
end

return gate
