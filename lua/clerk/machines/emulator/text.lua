--- Text as it travels: UTF-8 and percent-encoding.

local text = {}

-- The well-formed sequences of more than one byte (The Unicode Standard, table 3-7).
local SEQUENCES = {
  "^[\194-\223][\128-\191]()",
  "^\224[\160-\191][\128-\191]()",
  "^[\225-\236\238\239][\128-\191][\128-\191]()",
  "^\237[\128-\159][\128-\191]()",
  "^\240[\144-\191][\128-\191][\128-\191]()",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]()",
  "^\244[\128-\143][\128-\191][\128-\191]()",
}

local function after_sequence(bytes, at)
  for _, sequence in ipairs(SEQUENCES) do
    local after = bytes:match(sequence, at)
    if after then
      return after
    end
  end
end

---@param bytes string
---@return boolean
function text.is_utf8(bytes)
  local at = bytes:find("[\128-\255]")
  while at do
    local after = after_sequence(bytes, at)
    if not after then
      return false
    end
    at = bytes:find("[\128-\255]", after)
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
