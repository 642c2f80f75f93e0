--- Looks up what the table of operations says about a parameter.

local core = require "clerk.machines.core"

local parameters = {}

---@param operation_name string
---@param name string of the parameter
---@return integer? min
---@return integer? max
function parameters.bounds(operation_name, name)
  for _, operation in ipairs(core.operations) do
    for _, parameter in ipairs(operation.parameters) do
      if operation.name == operation_name and parameter.name == name then
        return parameter.min, parameter.max
      end
    end
  end
end

return parameters
