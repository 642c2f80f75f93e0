--- Secrets are shown to those who ask for them by name.

local secrets = {}

--- What stands for a secret: what kind it is, not how long.
---@param secret string
---@return string
function secrets.mask(secret)
  return (secret:match("^%a+_") or "") .. "********"
end

--- A member of a result, masked when its name says that it is a secret.
---@param name string
---@param value any
---@return any
function secrets.masked(name, value)
  if type(value) == "string" and name:lower():find("secret", 1, true) then
    return secrets.mask(value)
  end
  return value
end

return secrets
