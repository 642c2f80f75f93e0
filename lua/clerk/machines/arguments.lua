--- Arguments in the form that the core takes.

local json_writer = require "clerk.machines.json_writer"

local arguments = {}

--- A copy of the parameters in which the one of that name is a JSON document, as the core takes it.
---@param params table
---@param name string
---@return table? params
---@return string? problem
function arguments.with_json(params, name)
  local problem = json_writer.problem(rawget(params, name), name)
  if problem then
    return nil, problem
  end
  local copy = {}
  for key, value in next, params do
    copy[key] = value
  end
  local is_empty = type(copy[name]) == "table" and next(copy[name]) == nil
  copy[name] = is_empty and "{}" or json_writer.write(copy[name]) -- an empty table means no claims
  return copy
end

return arguments
