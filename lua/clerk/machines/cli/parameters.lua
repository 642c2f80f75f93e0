--- Arguments that several commands have in common.

local core = require "clerk.machines.core"
local units = require "clerk.machines.cli.units"

local parameters = {}

---@param parser table of argparse
function parameters.declare_machine_id(parser)
  parser:argument("machine-id", "ID of the machine."):target("machine_id")
end

local function bounds_of(operation_name, parameter_name)
  for _, operation in ipairs(core.operations) do
    for _, parameter in ipairs(operation.parameters) do
      if operation.name == operation_name and parameter.name == parameter_name then
        return parameter.min, parameter.max
      end
    end
  end
end

--- Reads a duration that is a parameter of an operation.
---@return fun(written: string): integer|nil, string|nil
function parameters.duration(operation_name, parameter_name)
  local min, max = bounds_of(operation_name, parameter_name)
  return function(written)
    local seconds = units.parse_duration(written)
    if seconds and seconds >= min and seconds <= max then
      return seconds
    end
    return nil, ("'%s' is no duration from %s to %s (write 90, 15m, 8h or 30d)")
      :format(written, units.duration(min), units.duration(max))
  end
end

---@param parser table of argparse
---@param operation_name string
function parameters.declare_token_ttl(parser, operation_name)
  parser:option("--default-token-ttl", "How long its tokens are valid: 600, 15m, 8h, 30d.")
    :argname("<time>"):convert(parameters.duration(operation_name, "default_token_ttl"))
end

return parameters
