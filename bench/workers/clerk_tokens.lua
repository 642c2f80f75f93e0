--- This client's verifier, with what it has verified forgotten or remembered.

local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local tokens = require "clerk.machines.tokens"
local worker = require "workers.worker"

local directory = os.getenv "BENCH_DIRECTORY"

local function read(name)
  local file = assert(io.open(directory .. "/" .. name, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

--- The API, without a network.
local function answer()
  return { status = 200, headers = {}, body = read "opaque.json" }
end

local function client()
  return machines.new { secret_key = worker.secret_key, transport = { send = answer } }
end

local JWTS = { read "jwt1", read "jwt2" }
local OPAQUE = { "mt_" .. ("opaque"):rep(6) }

--- A cache with room for one forgets each of two tokens before it comes again.
local kinds = {
  cold = { texts = JWTS, cache_entries = 1 },
  known = { texts = JWTS },
  opaque = { texts = OPAQUE, client = client() },
}

--- Without the verifier: read, verified by the key, judged.
function kinds.core()
  local key = assert(core.rsa_key_pem(read "jwt.pem"))
  return function()
    local jwt = assert(core.jwt(JWTS[1]))
    assert(jwt:verify(key), "a bad signature")
    return assert(jwt:token(core.unix_ms(), 5000))
  end
end

local function verify_each(kind)
  local verifier = tokens.verifier {
    client = kind.client,
    machine_id = os.getenv "BENCH_RECEIVER",
    callers = { worker.id },
    jwt_key = read "jwt.pem",
    cache_entries = kind.cache_entries,
  }
  local turn = 0
  return function()
    turn = turn % #kind.texts + 1
    return verifier:verify(kind.texts[turn])
  end
end

local kind = kinds[worker.kind]
local verify = type(kind) == "function" and kind() or verify_each(kind)

worker.serve_turns(function(calls)
  for _ = 1, calls do
    assert(verify().subject == worker.id, "another token came")
  end
end)
