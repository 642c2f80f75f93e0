--- A stateful, strict stand-in for the Machines API, in memory.
---
--- In a unit test it is the transport of a client:
---
---     local emulator = require "clerk.machines.emulator"
---     local api = emulator.new()
---     local client = machines.new { secret_key = "sk_test_emulator", transport = api }
---     api:fault { operation = "create", status = 503, times = 2 }
---
--- `clerk-machines emulate` serves the same over HTTP. What the API does not document, and had to
--- be decided, is in emulator/assumed.lua.

local admission = require "clerk.machines.emulator.admission"
local answers = require "clerk.machines.emulator.answers"
local body = require "clerk.machines.emulator.body"
local core = require "clerk.machines.core"
local faults = require "clerk.machines.emulator.faults"
local fields = require "clerk.machines.emulator.fields"
local handlers = require "clerk.machines.emulator.handlers"
local json = require "clerk.machines.emulator.json"
local parameters = require "clerk.machines.emulator.parameters"
local problems = require "clerk.machines.emulator.problems"
local rate = require "clerk.machines.emulator.rate"
local store = require "clerk.machines.emulator.store"

local DEFAULT_SECRET_KEY = "sk_test_emulator"

local OPTIONS = {
  secret_key = fields.name,
  clock = fields.func,
  rate_limit = fields.integer(1),
}

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

-- Unix time in milliseconds, as fine as the monotonic clock.
local function wall_clock()
  local origin = os.time() * 1000 - core.now()
  return function()
    return origin + core.now()
  end
end

---@class clerk.machines.emulator.Options
---@field secret_key string? the key that requests must bear, "sk_test_emulator" by default
---@field clock (fun(): number)? Unix ms; by default the wall clock, which `sleep` moves forward
---@field rate_limit integer? requests in ten seconds; unlimited by default

---@param options clerk.machines.emulator.Options?
---@return clerk.machines.Emulator
function emulator.new(options)
  options = options or {}
  local problem = fields.problem(options, OPTIONS)
  if problem then
    error("emulator.new: " .. problem, 2)
  end
  return setmetatable({
    secret_key = options.secret_key or DEFAULT_SECRET_KEY,
    clock = options.clock or wall_clock(),
    clock_is_ours = not options.clock,
    slept_ms = 0,
    store = store.new(),
    faults = faults.new(),
    rate = rate.new(options.rate_limit),
  }, Emulator)
end

-- ---------------------------------------------------------------- time

---The emulator's time.
---@return integer ms Unix time
function Emulator:now()
  return math.floor(self.clock() + self.slept_ms)
end

---Lets time pass without waiting; a clock that was handed in is its owner's to move.
---@param ms number
function Emulator:sleep(ms)
  if self.clock_is_ours then
    self.slept_ms = self.slept_ms + ms
  end
end

-- ---------------------------------------------------------------- faults

---Scripts a fault for the next requests; those scripted earlier strike first.
---@param fault clerk.machines.emulator.Fault
function Emulator:fault(fault)
  local problem = faults.problem(fault)
  if problem then
    error("fault: " .. problem, 2)
  end
  self.faults:add(fault)
end

---Forgets the faults that have not struck yet.
function Emulator:clear_faults()
  self.faults:clear()
end

local Pending = json.shape { "pending" }

-- What is asked of the emulator itself, at /emulator/faults.
local controls = {}

function controls.add_fault(self, _, request)
  local fault, problem = body.read(request.headers, request.body or "")
  if not fault then
    return nil, problem
  end
  local why = faults.problem(fault)
  if why then
    return nil, problems.new("form_param_value_invalid", why)
  end
  self.faults:add(fault)
  return Pending { pending = self.faults:count() }
end

function controls.clear_faults(self)
  self:clear_faults()
  return Pending { pending = 0 }
end

-- ---------------------------------------------------------------- requests

local function read_body(call, request)
  local bytes = request.body or ""
  if parameters.takes_body(call.operation) then
    return body.read(request.headers, bytes)
  end
  return body.read_none(bytes)
end

local function execute(self, call, request)
  local object, body_problem = read_body(call, request)
  if not object then
    return nil, body_problem
  end
  local values, problem = parameters.read(call, object)
  if not values then
    return nil, problem
  end
  return handlers[call.operation.name](self.store, values, self:now())
end

local function perform(self, call, request)
  local act = call.operation and execute or controls[call.control]
  local result, problem = act(self, call, request)
  if problem then
    return answers.refuse(self:now(), problem)
  end
  return answers.accept(self:now(), result)
end

local function strike(self, fault, call, request)
  local own_answer = fault.applied and perform(self, call, request)
  return function()
    if fault.drop then
      return { drop = true }
    end
    if not faults.lets_through(fault) then
      own_answer = answers.script(self:now(), fault)
    end
    local answer = own_answer or perform(self, call, request)
    answer.truncate = fault.truncate
    return answer
  end
end

---Takes a request as the API would. Nothing waits here: whoever moves the bytes waits `delay_ms`
---and asks for the answer then, unless the caller has gone.
---@param request clerk.machines.emulator.Request
---@return integer delay_ms
---@return fun(): clerk.machines.emulator.Answer finish
function Emulator:receive(request)
  local call, problem = admission.check(request, self.secret_key, self.rate, self:now())
  if not call then
    return 0, function()
      return answers.refuse(self:now(), problem)
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

---Answers a request of a client whose transport this is, without waiting for anything.
---@param request clerk.machines.emulator.Request
---@return { status: integer, headers: table<string, string>, body: string }? response
---@return { code: string, message: string, sent: boolean }? failure
function Emulator:send(request)
  local delay_ms, finish = self:receive(request)
  if request.timeout_ms and delay_ms >= request.timeout_ms then
    self:sleep(request.timeout_ms)
    return failure("timeout", "no answer within the time given (scripted)")
  end
  self:sleep(delay_ms)
  local response = finish()
  if response.drop or response.truncate then
    return failure("connection_lost", "the connection was dropped (scripted)")
  elseif #response.body > (request.max_response_bytes or math.huge) then
    return failure("response_too_large", "the response is larger than max_response_bytes")
  end
  return response
end

---Which machine a secret key authenticates now.
---@param secret string
---@return string? machine_id nil when it is no machine's key, or no longer
function Emulator:machine_of(secret)
  local machine = self.store:machine_of(secret, self:now())
  return machine and machine.id
end

return emulator
