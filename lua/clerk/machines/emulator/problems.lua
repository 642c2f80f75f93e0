--- The errors of the API: their statuses, codes and shape.

local json_writer = require "clerk.machines.json_writer"

local problems = {}

---@class clerk.machines.emulator.Problem
---@field status integer
---@field errors table[] in the API's shape
---@field headers table<string, string>?

-- Status, code and message. A scripted fault uses the first row of its status.
local ROWS = {
  { 400, "malformed_request_parameters", "Malformed request parameters" },
  { 400, "request_body_invalid", "Invalid request body" },
  { 400, "api_version_invalid", "Invalid API version" },
  { 400, "bad_request", "Bad Request" },
  { 400, "machine_token_reserved_claim", "Reserved claim" },
  { 401, "clerk_key_invalid", "Invalid secret key" },
  { 401, "machine_secret_key_invalid", "The provided Machine Secret Key is invalid." },
  { 401, "unauthorized", "Unauthorized" },
  { 401, "authorization_header_format_invalid", "Invalid Authorization header" },
  { 403, "authorization_invalid", "Not authorized" },
  { 404, "resource_not_found", "Not found" },
  { 404, "machine_not_found", "Machine not found" },
  { 405, "method_not_allowed", "Method not allowed" },
  { 409, "conflict", "Conflict" },
  { 413, "request_body_too_large", "Request body too large" },
  { 415, "unsupported_content_type", "Unsupported content type" },
  { 422, "form_param_value_invalid", "is invalid" },
  { 422, "form_param_missing", "is missing" },
  { 422, "form_param_nil", "must not be null" },
  { 422, "form_param_unknown", "is unknown" },
  { 422, "form_param_format_invalid", "has an invalid format" },
  { 422, "form_param_type_invalid", "has the wrong type" },
  { 422, "form_param_value_too_large", "is too large" },
  { 422, "form_param_max_length_exceeded", "is too long" },
  { 422, "form_param_array_size_exceeded", "has too many elements" },
  { 422, "form_param_duplicate", "is duplicated" },
  { 429, "too_many_requests", "Too many requests" },
  { 500, "internal_clerk_error", "Internal error" },
  { 503, "service_unavailable", "Service unavailable" },
}

local by_code, by_status = {}, {}
for _, row in ipairs(ROWS) do
  local status, code = row[1], row[2]
  by_code[code] = row
  by_status[status] = by_status[status] or row
end

local function of_row(row, long_message, param_name)
  local entry = {
    message = row[3],
    long_message = long_message,
    code = row[2],
    meta = param_name and { param_name = param_name },
  }
  return { status = row[1], errors = { entry } }
end

---@param code string
---@param long_message string
---@param param_name string? the parameter that is wrong
---@return clerk.machines.emulator.Problem
function problems.new(code, long_message, param_name)
  return of_row(by_code[code], long_message, param_name)
end

---@param id string
---@return clerk.machines.emulator.Problem
function problems.machine_not_found(id)
  return problems.new("machine_not_found", ("No machine was found with the ID '%s'."):format(id))
end

---The problem of a scripted fault.
---@param status integer
---@return clerk.machines.emulator.Problem
function problems.scripted(status)
  local row = by_status[status] or { status, "scripted_fault", "Scripted fault" }
  return of_row(row, "This response was scripted.")
end

---Joins several problems; the first one gives the status.
---@param list clerk.machines.emulator.Problem[]
---@return clerk.machines.emulator.Problem
function problems.join(list)
  local errors = {}
  for i, problem in ipairs(list) do
    errors[i] = problem.errors[1]
  end
  return { status = list[1].status, errors = errors }
end

---The same, as the service of tokens reports problems of parameters.
---@param list clerk.machines.emulator.Problem[]
---@return clerk.machines.emulator.Problem
function problems.bad_request(list)
  local bad = {}
  for i, problem in ipairs(list) do
    bad[i] = problems.new("bad_request", problem.errors[1].long_message)
  end
  return problems.join(bad)
end

---@param problem clerk.machines.emulator.Problem
---@param trace string?
---@return string json
function problems.body(problem, trace)
  return json_writer.write { errors = problem.errors, clerk_trace_id = trace }
end

return problems
