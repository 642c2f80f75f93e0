--- Finds the operation that a request asks for, and the parameters in its URL.

local assumed = require "clerk.machines.emulator.assumed"
local core = require "clerk.machines.core"
local problems = require "clerk.machines.emulator.problems"

local API_PREFIX = "/v1"
local FAULTS_PATH = "/emulator/faults"

--- A service of its own answers these requests.
local TOKENS_PATH = "/m2m_tokens"

local routes = {}

---@class clerk.machines.emulator.Call
---@field operation table? a row of core.operations
---@field control "add_fault"|"clear_faults"|"jwks"|nil for what is not an operation
---@field is_public boolean? whether no key is needed
---@field is_of_tokens boolean? whether the service of tokens answers
---@field path table<string, string>
---@field query table<string, string>
---@field caller clerk.machines.emulator.Machine? that has authenticated itself; see admission.lua
---@field repeated string[] names of query parameters that occur more than once

local function split(path)
  local segments = {}
  for segment in path:gmatch("/([^/]*)") do
    segments[#segments + 1] = segment
  end
  return segments
end

local table_of_routes = {
  { method = "POST", segments = split(FAULTS_PATH), control = "add_fault" },
  { method = "DELETE", segments = split(FAULTS_PATH), control = "clear_faults" },
  { method = "GET", segments = split(API_PREFIX .. "/jwks"), control = "jwks" },
  {
    method = "GET",
    segments = split "/.well-known/jwks.json",
    control = "jwks",
    is_public = true,
  },
}

local function add_route(operation, path, is_of_tokens)
  table_of_routes[#table_of_routes + 1] = {
    method = operation.method,
    segments = split(path),
    operation = operation,
    is_of_tokens = is_of_tokens,
  }
end

for _, operation in ipairs(core.operations) do
  local is_of_tokens = operation.path:sub(1, #TOKENS_PATH) == TOKENS_PATH
  add_route(operation, API_PREFIX .. operation.path, is_of_tokens)
  if is_of_tokens then -- Clerk's SDK for JavaScript leaves out the prefix
    add_route(operation, operation.path, is_of_tokens)
  end
end

local function malformed(what)
  return problems.new("malformed_request_parameters", what)
end

local function byte_of(hex)
  return string.char(tonumber(hex, 16))
end

-- Nil when a `%` is not followed by two hex digits, or the result is not UTF-8.
local function percent_decode(encoded)
  if encoded:gsub("%%%x%x", ""):find("%", 1, true) then
    return nil
  end
  local decoded = encoded:gsub("%%(%x%x)", byte_of)
  return core.characters(decoded) and decoded
end

local function decode_segments(path)
  local segments = split(path)
  for i, segment in ipairs(segments) do
    segments[i] = percent_decode(segment)
    if not segments[i] then
      return nil, malformed("The path is not percent-encoded UTF-8.")
    end
  end
  return segments
end

local function decode_pair(piece)
  local name, value = piece:gsub("%+", " "):match("^([^=]+)=?(.*)$")
  if name then
    return percent_decode(name), percent_decode(value)
  end
end

local function decode_query(encoded)
  local query, repeated = {}, {}
  if encoded == "" then
    return query, repeated
  end
  for piece in (encoded .. "&"):gmatch("([^&]*)&") do
    local name, value = decode_pair(piece)
    if not (name and value) then
      return nil, malformed("The query is malformed.")
    end
    if query[name] then
      repeated[#repeated + 1] = name
    end
    query[name] = value
  end
  return query, repeated
end

local function path_values(expected, segments)
  if #expected ~= #segments then
    return nil
  end
  local values = {}
  for i, segment in ipairs(segments) do
    local name = expected[i]:match("^{(.*)}$")
    if segment == "" or not name and segment ~= expected[i] then
      return nil
    end
    if name then
      values[name] = segment
    end
  end
  return values
end

local function wrong_method(allowed)
  local what = "This path does not support this method."
  local problem = problems.new(assumed.code.wrong_method, what)
  problem.headers = { allow = table.concat(allowed, ", ") }
  return problem
end

--- The route, and the values of its path; or nil and a problem.
local function match(method, path)
  local segments, problem = decode_segments(path)
  if not segments then
    return nil, problem
  end
  local allowed = {}
  for _, route in ipairs(table_of_routes) do
    local values = path_values(route.segments, segments)
    if values and route.method == method then
      return route, values
    end
    if values then
      allowed[#allowed + 1] = route.method
    end
  end
  if allowed[1] then
    return nil, wrong_method(allowed)
  end
  return nil, problems.new("resource_not_found", "There is nothing at this path.")
end

--- The path and the query of a URL, or nil.
local function split_url(url)
  local target = url:match("^%a[%w+.-]*://[^/?#]*(.*)$") or url
  if not target:find("[^\33-\126]") and not target:find("#", 1, true) then
    return target:match("^([^?]*)%??(.*)$")
  end
end

---@param method string
---@param url string absolute, or from the path on
---@return clerk.machines.emulator.Call?
---@return clerk.machines.emulator.Problem?
function routes.find(method, url)
  local path, encoded_query = split_url(url)
  if not path then
    return nil, malformed("The URL holds bytes that must be percent-encoded.")
  end
  local route, values = match(method, path)
  if not route then
    return nil, values
  end
  local query, repeated = decode_query(encoded_query)
  if not query then
    return nil, repeated
  end
  return {
    operation = route.operation,
    control = route.control,
    is_public = route.is_public,
    is_of_tokens = route.is_of_tokens,
    path = values,
    query = query,
    repeated = repeated,
  }
end

return routes
