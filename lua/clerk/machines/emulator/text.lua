--- Text as it travels: UTF-8 and percent-encoding.

local unicode = require "clerk.machines.unicode"

local text = {}

---@param bytes string
---@return boolean
function text.is_utf8(bytes)
  for character in bytes:gmatch "[\128-\255][\128-\191]*" do
    if not unicode.code_point(character) then
      return false
    end
  end
  return true
end

---Counts the characters (code points) of well-formed UTF-8.
---@param utf8_text string
---@return integer
function text.length(utf8_text)
  local _, continuations = utf8_text:gsub("[\128-\191]", "")
  return #utf8_text - continuations
end

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
  return text.is_utf8(decoded) and decoded or nil
end

return text
