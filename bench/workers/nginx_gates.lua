--- The gates of bench/nginx_gate, inside nginx.

local machines = require "clerk.machines"
local tokens = require "clerk.machines.tokens"
local gate = require "clerk.machines.gate"

local nginx_gates = {}

--- Verifies as its manual says: with what it has no cache for.
local function lua_resty_jwt(jwt, validators, key, caller)
  return function()
    local text = ngx.var.http_authorization:match "^Bearer (.*)$"
    local token = jwt:verify(key, text, {
      sub = validators.equals(caller),
      exp = validators.is_not_expired(),
      nbf = validators.is_not_before(),
    })
    if not token.verified then
      ngx.exit(401)
    end
  end
end

---@param directory string of bench/tokens_fixture.lua
---@param caller string the machine that is let in
---@param receiver string the machine that verifies
function nginx_gates.new(directory, caller, receiver)
  local function read(name)
    local file = assert(io.open(directory .. "/" .. name, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  local opaque = read "opaque.json"
  local client = machines.new {
    secret_key = "sk_test_bench",
    transport = {
      send = function()
        return { status = 200, headers = {}, body = opaque }
      end,
    },
  }

  local function new(options)
    options.client, options.machine_id, options.callers = client, receiver, { caller }
    options.jwt_key = read "jwt.pem"
    return gate.new { verifier = tokens.verifier(options) }
  end

  local shared, own = new { shared_dict = "clerk_tokens" }, new {}
  local cold = new { cache_ms = 0 }
  local has_jwt, jwt = pcall(require, "resty.jwt")
  return {
    shared = function() shared:check() end,
    own = function() own:check() end,
    route = function() shared:check { callers = { caller } } end,
    cold = function() cold:check() end,
    lua_resty_jwt = has_jwt and lua_resty_jwt(jwt, require "resty.jwt-validators", read "jwt.pem",
      caller) or nil,
  }
end

return nginx_gates
