--- UTF-8 that others wrote: checked, and made safe to show in one line.

local unicode = {}

local REPLACEMENT = "?"

-- The well-formed characters of more than one byte (The Unicode Standard, table 3-7).
local FORMS = {
  "^[\194-\223][\128-\191]$",
  "^\224[\160-\191][\128-\191]$",
  "^[\225-\236\238\239][\128-\191][\128-\191]$",
  "^\237[\128-\159][\128-\191]$",
  "^\240[\144-\191][\128-\191][\128-\191]$",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]$",
  "^\244[\128-\143][\128-\191][\128-\191]$",
}

-- The first and last code points of what a terminal may obey, what ends a line, what turns the
-- direction of the text around it, and what cannot be seen and makes two names look the same. The
-- joiners U+200C and U+200D stay: names in several scripts, and emoji, need them.
local UNSAFE = {
  { 0x00, 0x1F }, { 0x7F, 0x9F }, { 0xAD, 0xAD }, { 0x061C, 0x061C }, { 0x180E, 0x180E },
  { 0x200B, 0x200B }, { 0x200E, 0x200F }, { 0x2028, 0x202E }, { 0x2060, 0x206F },
  { 0xFEFF, 0xFEFF }, { 0xFFF9, 0xFFFB }, { 0xE0000, 0xE007F },
}

local function is_well_formed(bytes)
  for _, form in ipairs(FORMS) do
    if bytes:find(form) then
      return true
    end
  end
  return false
end

---@param bytes string
---@return integer? code_point nil unless the bytes are exactly one character
function unicode.code_point(bytes)
  local first = bytes:byte()
  if #bytes == 1 and first < 0x80 then
    return first
  elseif not is_well_formed(bytes) then
    return nil
  end
  local value = first % (first < 0xE0 and 0x20 or first < 0xF0 and 0x10 or 0x08)
  for i = 2, #bytes do
    value = value * 0x40 + bytes:byte(i) % 0x40
  end
  return value
end

---@param ranges integer[][] each its first and last code point
---@param code_point integer
---@return boolean
function unicode.is_within(ranges, code_point)
  for _, range in ipairs(ranges) do
    if code_point >= range[1] and code_point <= range[2] then
      return true
    end
  end
  return false
end

--- Replaces what must not reach a terminal or a line of a log: unsafe characters, and bytes that
--- are not UTF-8.
---@param text string
---@param write? fun(code_point: integer): string what stands for an unsafe one; "?" by default
---@return string
function unicode.clean(text, write)
  return (text:gsub("[^\32-\126][\128-\191]*", function(bytes)
    local code_point = unicode.code_point(bytes)
    if not code_point then
      return REPLACEMENT:rep(#bytes)
    elseif unicode.is_within(UNSAFE, code_point) then
      return write and write(code_point) or REPLACEMENT
    end
  end))
end

return unicode
