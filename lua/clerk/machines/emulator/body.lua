--- Reads a request's JSON body.

local assumed = require "clerk.machines.emulator.assumed"
local core = require "clerk.machines.core"
local problems = require "clerk.machines.emulator.problems"

local Object = {}

local body = {}

local function invalid(why)
  return nil, problems.new("request_body_invalid", why)
end

local function is_json(content_type)
  local media_type = (content_type or ""):match("^%s*([^;]-)%s*;") or content_type or ""
  return media_type:lower() == "application/json"
end

---@param headers table<string, string>
---@param bytes string
---@return table? object null members are core.null
---@return clerk.machines.emulator.Problem?
function body.read(headers, bytes)
  if not is_json(headers["content-type"]) then
    local what = "The body must come as application/json."
    return nil, problems.new("unsupported_content_type", what)
  end
  local object, why = core.decode(bytes, Object, true)
  if object == nil then
    return invalid("The body is not JSON: " .. why .. ".")
  end
  if not body.is_object(object) then
    return invalid("The body is not a JSON object.")
  end
  return object
end

---Accepts the body of a request that takes none.
---@param bytes string
---@return table? object an empty one
---@return clerk.machines.emulator.Problem?
function body.read_none(bytes)
  if bytes == "" then
    return {}
  end
  return nil, problems.new(assumed.code.body_not_expected, "This operation takes no body.")
end

---Tells an object that `read` returned from an array.
---@param value any
---@return boolean
function body.is_object(value)
  return getmetatable(value) == Object
end

return body
