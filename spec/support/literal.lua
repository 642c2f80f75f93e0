---The value as Lua source on one line.
---@param value string|number|boolean|table|nil
---@return string
local function literal(value)
  if type(value) == "string" then return (("%q"):format(value):gsub("\\\n", "\\n")) end
  if type(value) ~= "table" then return tostring(value) end
  local members = {}
  for key, member in pairs(value) do
    members[#members + 1] = ("[%s]=%s"):format(literal(key), literal(member))
  end
  return "{" .. table.concat(members, ",") .. "}"
end

return literal
