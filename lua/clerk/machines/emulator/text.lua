--- Text as it travels: UTF-8 and percent-encoding.

local core = require "clerk.machines.core"

local text = {}

local function byte_of(hex)
  return string.char(tonumber(hex, 16))
end

---@param encoded string
---@return string? decoded nil when a `%` is not followed by two hex digits, or it is not UTF-8
function text.percent_decode(encoded)
  local rest = encoded:gsub("%%%x%x", "")
  if rest:find("%", 1, true) then
    return nil
  end
  local decoded = encoded:gsub("%%(%x%x)", byte_of)
  return core.characters(decoded) and decoded or nil
end

return text
