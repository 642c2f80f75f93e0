--- A stateful, strict stand-in for Clerk's API on machines and their tokens.
---
--- In a unit test it is the transport of a client:
---
---     local emulator = require "clerk.machines.emulator"
---     local api = emulator.new()
---     local client = machines.new { secret_key = "sk_test_emulator", transport = api }
---     api:fault { operation = "create", status = 503, times = 2 }
---
--- `clerk-machines emulate` serves it over HTTP. Choices that the API's documentation leaves open
--- are in emulator/assumed.lua.

local admission = require "clerk.machines.emulator.admission"
local checks = require "clerk.machines.emulator.checks"
local core = require "clerk.machines.core"
local faults = require "clerk.machines.emulator.faults"
local operations = require "clerk.machines.emulator.operations"
local schema = require "clerk.machines.schema"
local problems = require "clerk.machines.emulator.problems"
local responses = require "clerk.machines.emulator.responses"
local store = require "clerk.machines.emulator.store"

---@class clerk.machines.emulator.Request
---@field method string
---@field url string absolute, or from the path on
---@field headers table<string, string> names in lower case
---@field body string?
---@field timeout_ms number?
---@field max_response_bytes integer?

---@class clerk.machines.Emulator
local Emulator = {}
Emulator.__index = Emulator

local emulator = {}

emulator.options = schema.new {
  {
    name = "secret_key",
    kind = "string",
    default = "sk_test_emulator",
    summary = "The instance's secret key. Requests about tokens may have a machine's instead.",
  },
  {
    name = "clock",
    kind = "function", type = "fun(): number",
    default_text = "the system's clock, which `sleep` moves forward",
    summary = "Returns the time: Unix time in milliseconds.",
  },
  {
    name = "rate_limit",
    kind = "integer", min = 1, max = 1000000000,
    default_text = "unlimited",
    summary = "How many requests are allowed in ten seconds.",
  },
}

-- Unix time in milliseconds, with the resolution of the monotonic clock.
local function wall_clock()
  local origin = os.time() * 1000 - core.now()
  return function()
    return origin + core.now()
  end
end

---@param given clerk.machines.emulator.Options?
---@return clerk.machines.Emulator
function emulator.new(given)
  local checked, problem = schema.complete(emulator.options, given == nil and {} or given)
  if not checked then
    error("emulator.new: " .. problem, 2)
  end
  local own_store = store.new()
  return setmetatable({
    clock = checked.clock or wall_clock(),
    clock_is_ours = not checked.clock,
    slept_ms = 0,
    admission = admission.new(checked.secret_key, own_store,
      checked.rate_limit),
    store = own_store,
    faults = faults.new(),
  }, Emulator)
end

-- ---------------------------------------------------------------- time

---The emulator's time.
---@return integer ms Unix time
function Emulator:now()
  return math.floor(self.clock() + self.slept_ms)
end

---Lets time pass without waiting. A clock that the caller supplied is not moved.
---@param ms number
function Emulator:sleep(ms)
  if self.clock_is_ours then
    self.slept_ms = self.slept_ms + ms
  end
end

-- ---------------------------------------------------------------- faults

---Scripts a fault for the next requests. Faults apply in the order in which they were scripted.
---@param fault clerk.machines.emulator.Fault
function Emulator:fault(fault)
  local problem = self.faults:add(fault)
  if problem then
    error(problem, 2)
  end
end

---Forgets the faults that have not applied yet.
function Emulator:clear_faults()
  self.faults:clear()
end

-- Requests to /emulator/faults.
local controls = {}

function controls.add_fault(self, _, request)
  local fault, problem = checks.read_object(request)
  if not fault then
    return nil, problem
  end
  local why = self.faults:add(fault)
  if why then
    return nil, problems.new("form_param_value_invalid", why)
  end
  return { pending = self.faults:count() }
end

function controls.clear_faults(self)
  self:clear_faults()
  return { pending = 0 }
end

-- ---------------------------------------------------------------- keys

--- The keys by which JWTs can be verified: /v1/jwks and /.well-known/jwks.json.
function controls.jwks(self)
  return { keys = { self.store.signer:jwk() } }
end

---Replaces the key that signs JWTs: tokens from before can no longer be verified.
function Emulator:rotate_signing_key()
  self.store.signer:rotate()
end

-- ---------------------------------------------------------------- requests

local function execute(self, call, request)
  local values, problem = checks.read(call, request)
  if not values then
    return nil, problem
  end
  return operations[call.operation.name](self.store, values, self:now(), call.caller)
end

local function perform(self, call, request)
  local act = call.operation and execute or controls[call.control]
  local result, problem = act(self, call, request)
  if problem then
    return responses.refuse(self:now(), problem, call)
  end
  return responses.accept(self:now(), result, call)
end

local function strike(self, fault, call, request)
  local response = fault.applied and perform(self, call, request)
  return function()
    if fault.drop then
      return { drop = true }
    end
    if not faults.lets_through(fault) then
      response = responses.script(self:now(), fault)
    end
    response = response or perform(self, call, request)
    response.truncate = fault.truncate
    return response
  end
end

---Takes a request as the API would, without waiting. A server waits `delay_ms` and then calls
---`finish`, unless its client has gone.
---@param request clerk.machines.emulator.Request
---@return integer delay_ms
---@return fun(): clerk.machines.emulator.Response finish
function Emulator:receive(request)
  local call, problem = self.admission:check(request, self:now())
  if problem then
    return 0, function()
      return responses.refuse(self:now(), problem, call)
    end
  end
  local fault = call.operation and self.faults:take(call.operation.name)
  if fault then
    return fault.delay_ms or 0, strike(self, fault, call, request)
  end
  return 0, function()
    return perform(self, call, request)
  end
end

local function failure(code, message)
  return nil, { code = code, message = message, sent = true }
end

---Sends a request, as the transport of a client, without waiting.
---@param request clerk.machines.emulator.Request
---@return { status: integer, headers: table<string, string>, body: string }? response
---@return { code: string, message: string, sent: boolean }? failure
function Emulator:send(request)
  local delay_ms, finish = self:receive(request)
  if request.timeout_ms and delay_ms >= request.timeout_ms then
    self:sleep(request.timeout_ms)
    return failure("timeout", "no response within timeout_ms (scripted)")
  end
  self:sleep(delay_ms)
  local response = finish()
  if response.drop or response.truncate then
    return failure("connection_lost", "the connection was closed (scripted)")
  elseif #response.body > (request.max_response_bytes or math.huge) then
    return failure("response_too_large", "the response is larger than max_response_bytes")
  end
  return response
end

---Returns the machine that a secret key authenticates now.
---@param secret string
---@return string? machine_id nil when the key is unknown or no longer valid
function Emulator:machine_of(secret)
  local machine = self.store:machine_of(secret, self:now())
  return machine and machine.id
end

-- ---------------------------------------------------------------- server

---Serves the emulator over HTTP until SIGINT or SIGTERM arrives. Needs lua-http.
---@param server_options clerk.machines.emulator.ServerOptions?
---@return true?
---@return string? problem why it cannot listen
function Emulator:serve(server_options)
  return require("clerk.machines.emulator.server").serve(self, server_options or {})
end

return emulator
