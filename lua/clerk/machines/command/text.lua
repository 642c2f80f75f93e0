--- Text of others on a terminal: harmless, and as wide as it will be.

local unicode = require "clerk.machines.unicode"

local text = {}

-- The first and last code points of what takes no column of its own (marks that combine, joiners,
-- selectors), and of what takes two (East Asian scripts, emoji). Roughly Unicode's, by blocks, and
-- never too narrow.
local NARROW = {
  { 0x0300, 0x036F }, { 0x0483, 0x0489 }, { 0x0591, 0x05BD }, { 0x0610, 0x061A },
  { 0x064B, 0x065F }, { 0x0E34, 0x0E3A }, { 0x0E47, 0x0E4E }, { 0x1AB0, 0x1AFF },
  { 0x1DC0, 0x1DFF }, { 0x200B, 0x200F }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F },
  { 0xFE20, 0xFE2F }, { 0xE0100, 0xE01EF },
}
local WIDE = {
  { 0x1100, 0x115F }, { 0x231A, 0x232A }, { 0x23E9, 0x23F3 }, { 0x25FD, 0x27BF },
  { 0x2B1B, 0x2B55 }, { 0x2E80, 0xA4CF }, { 0xA960, 0xA97F }, { 0xAC00, 0xD7A3 },
  { 0xF900, 0xFAFF }, { 0xFE10, 0xFE19 }, { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 },
  { 0xFFE0, 0xFFE6 }, { 0x16FE0, 0x1B2FF }, { 0x1F000, 0x1FAFF }, { 0x20000, 0x3FFFD },
}

local function columns_of(character)
  local code_point = unicode.code_point(character)
  if unicode.is_within(NARROW, code_point) then
    return 0
  end
  return unicode.is_within(WIDE, code_point) and 2 or 1
end

local CHARACTER = "[^\128-\191][\128-\191]*"

text.clean = unicode.clean

--- A string of the API's, harmless, or "-" for what is none.
---@param value any
---@return string
function text.of(value)
  return type(value) == "string" and text.clean(value) or "-"
end

--- How many columns clean UTF-8 takes.
---@param value string
---@return integer
function text.width(value)
  local width = 0
  for character in value:gmatch(CHARACTER) do
    width = width + columns_of(character)
  end
  return width
end

--- Shortens clean UTF-8 to so many columns, with an ellipsis for the rest.
---@param value string
---@param room integer at least 1
---@return string
function text.fit(value, room)
  if text.width(value) <= room then
    return value
  end
  local kept, width = {}, 0
  for character in value:gmatch(CHARACTER) do
    width = width + columns_of(character)
    if width > room - 1 then
      break
    end
    kept[#kept + 1] = character
  end
  return table.concat(kept) .. "…"
end

--- Fills up with spaces.
---@param value string
---@param width integer
---@return string
function text.pad(value, width)
  return value .. (" "):rep(width - text.width(value))
end

return text
