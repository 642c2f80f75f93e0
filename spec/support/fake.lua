--- A transport for specs: it answers from a list and records every request and every sleep.

local core = require "clerk.machines.core"
local machines = require "clerk.machines"
local success = require "support.success"

local fake = { secret_key = "sk_test_9f8e7d6c5b4a", machine_secret_key = "ak_0a1b2c3d4e5f" }
fake.__index = fake

--- A response, as a transport returns it.
function fake.answer(status, body, headers)
  return { status = status, headers = headers or {}, body = body or "" }
end

--- A transport failure, to use instead of a response.
function fake.failure(code, sent, message)
  return { failure = { code = code, sent = sent, message = message or "it failed" } }
end

--- A response that every operation accepts.
fake.ok = fake.answer(200, success())

--- Returns the answers in turn, and then repeats the last one.
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

--- A client with a new fake transport, and that transport.
function fake.client(answers, options)
  local settings = {
    secret_key = fake.secret_key,
    machine_secret_key = fake.machine_secret_key,
    transport = fake.new(answers),
  }
  for name, value in pairs(options or {}) do settings[name] = value end
  return machines.new(settings), settings.transport
end

return fake
