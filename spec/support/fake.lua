--- A transport for specs: it answers from a list and remembers every request and every sleep.

local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local success = require "support.success"

local fake = { secret_key = "sk_test_9f8e7d6c5b4a" }
fake.__index = fake

--- A response, as a transport returns it.
function fake.answer(status, body, headers)
  return { status = status, headers = headers or {}, body = body or "" }
end

--- In place of a response: the transport fails.
function fake.failure(code, sent, message)
  return { failure = { code = code, sent = sent, message = message or "it failed" } }
end

--- An answer that suits every operation.
fake.ok = fake.answer(200, success())

--- Gives the answers in turn, the last one ever after.
function fake.new(answers)
  return setmetatable({ answers = answers, requests = {}, sleeps = {}, slept_ms = 0 }, fake)
end

function fake:send(request)
  table.insert(self.requests, request)
  local answer = self.answers[math.min(#self.requests, #self.answers)]
  if answer.failure then return nil, answer.failure end
  return answer
end

function fake:sleep(ms)
  table.insert(self.sleeps, ms)
  self.slept_ms = self.slept_ms + ms
end

-- Its sleeps take no time, and move its clock.
function fake:now()
  return core.now() + self.slept_ms
end

--- A client over a new fake, and that fake.
function fake.client(answers, options)
  local settings = { secret_key = fake.secret_key, transport = fake.new(answers) }
  for name, value in pairs(options or {}) do settings[name] = value end
  return machines.new(settings), settings.transport
end

return fake
