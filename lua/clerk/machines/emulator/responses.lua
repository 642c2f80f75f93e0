--- Makes responses, each with a date, a content type and a trace.

local json_writer = require "clerk.machines.json_writer"
local problems = require "clerk.machines.emulator.problems"
local random = require "clerk.machines.emulator.random"

local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTHS = {
  "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
}

local SCRIPTED_STATUS = 503

local responses = {}

---@class clerk.machines.emulator.Response
---@field status integer?
---@field headers table<string, string>? names in lower case
---@field body string?
---@field drop boolean? the connection must be closed without a response
---@field truncate integer? bytes of the body to send before the connection is closed

-- Such as "Sun, 06 Nov 1994 08:49:37 GMT". The names of os.date itself follow the locale.
local function http_date(ms)
  local seconds = math.floor(ms / 1000)
  local t = os.date("!*t", seconds)
  local format = ("!%s, %%d %s %%Y %%H:%%M:%%S GMT"):format(DAYS[t.wday], MONTHS[t.month])
  return os.date(format, seconds)
end

local function new(now, trace, status, body, more_headers)
  local headers = {
    ["date"] = http_date(now),
    ["content-type"] = "application/json",
    ["clerk-trace-id"] = trace,
  }
  for name, value in pairs(more_headers or {}) do
    headers[name] = value
  end
  return { status = status, headers = headers, body = body }
end

--- Clerk's service of tokens sends no trace ID of its own, only that of the network before it.
local function as_of_tokens(response)
  response.headers["cf-ray"] = response.headers["clerk-trace-id"]
  response.headers["clerk-trace-id"] = nil
  return response
end

---@param now integer ms
---@param result table
---@param call clerk.machines.emulator.Call
---@return clerk.machines.emulator.Response
function responses.accept(now, result, call)
  local status = call.operation and call.operation.name == "create_token" and 201 or 200
  local response = new(now, random.trace(), status, json_writer.write(result))
  return call.is_of_tokens and as_of_tokens(response) or response
end

---@param now integer ms
---@param problem clerk.machines.emulator.Problem
---@param call clerk.machines.emulator.Call?
---@return clerk.machines.emulator.Response
function responses.refuse(now, problem, call)
  local trace = random.trace()
  if call and call.is_of_tokens then
    return as_of_tokens(new(now, trace, problem.status, problems.body(problem), problem.headers))
  end
  return new(now, trace, problem.status, problems.body(problem, trace), problem.headers)
end

local function scripted_body(fault, status, trace)
  if fault.body or status < 400 then
    return fault.body or ""
  end
  return problems.body(problems.scripted(status), trace)
end

---@param now integer ms
---@param fault clerk.machines.emulator.Fault
---@return clerk.machines.emulator.Response
function responses.script(now, fault)
  local status, trace = fault.status or SCRIPTED_STATUS, random.trace()
  local seconds = type(fault.retry_after) == "number" and ("%d"):format(fault.retry_after)
  return new(now, trace, status, scripted_body(fault, status, trace), {
    ["content-type"] = fault.content_type,
    ["retry-after"] = seconds or fault.retry_after,
  })
end

return responses
