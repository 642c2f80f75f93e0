--- Copies a value with all that it holds. Metatables are shared.
---@generic T
---@param value T
---@return T
local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local made = {}
  for key, member in next, value do
    made[key] = type(member) == "table" and copy(member) or member
  end
  return setmetatable(made, getmetatable(value))
end

return copy
