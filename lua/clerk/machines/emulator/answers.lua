--- Answers, with what each of them carries: a date, a content type and a trace.

local http_date = require "clerk.machines.emulator.http_date"
local json = require "clerk.machines.emulator.json"
local problems = require "clerk.machines.emulator.problems"
local tokens = require "clerk.machines.emulator.tokens"

local SCRIPTED_STATUS = 503

local answers = {}

---@class clerk.machines.emulator.Answer
---@field status integer?
---@field headers table<string, string>? names in lower case
---@field body string?
---@field drop boolean? the connection is to be dropped without an answer
---@field truncate integer? bytes of the body to send before the connection is dropped

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

---@param now integer ms
---@param result table made by a shape of json.lua
---@return clerk.machines.emulator.Answer
function answers.accept(now, result)
  return new(now, tokens.trace(), 200, json.encode(result))
end

---@param now integer ms
---@param problem clerk.machines.emulator.Problem
---@return clerk.machines.emulator.Answer
function answers.refuse(now, problem)
  local trace = tokens.trace()
  return new(now, trace, problem.status, problems.body(problem, trace), problem.headers)
end

local function header_text(value)
  return type(value) == "number" and ("%d"):format(value) or value
end

local function scripted_body(fault, status, trace)
  if fault.body or status < 400 then
    return fault.body or ""
  end
  return problems.body(problems.scripted(status), trace)
end

---@param now integer ms
---@param fault clerk.machines.emulator.Fault
---@return clerk.machines.emulator.Answer
function answers.script(now, fault)
  local status, trace = fault.status or SCRIPTED_STATUS, tokens.trace()
  return new(now, trace, status, scripted_body(fault, status, trace), {
    ["content-type"] = fault.content_type,
    ["retry-after"] = header_text(fault.retry_after),
  })
end

return answers
