--- Text from elsewhere on a terminal: made safe, measured and fitted.

local core = require "clerk.machines.core"

local text = {}

local CHARACTER = "[^\128-\191][\128-\191]*"

text.clean = core.clean

--- A string from the API or the command line, made safe; "-" for a value of another type.
---@param value any
---@return string
function text.of(value)
  return type(value) == "string" and text.clean(value) or "-"
end

--- How many columns safe UTF-8 takes.
---@param value string
---@return integer
function text.width(value)
  local width = 0
  for character in value:gmatch(CHARACTER) do
    width = width + core.columns(character)
  end
  return width
end

--- Shortens safe UTF-8 to so many columns, with an ellipsis for the rest.
---@param value string
---@param room integer at least 1
---@return string
function text.fit(value, room)
  if text.width(value) <= room then
    return value
  end
  local kept, width = {}, 0
  for character in value:gmatch(CHARACTER) do
    width = width + core.columns(character)
    if width > room - 1 then
      break
    end
    kept[#kept + 1] = character
  end
  return table.concat(kept) .. "…"
end

--- Breaks a line between words, so that each part fits; a longer word gets a line of its own. An ID
--- has no spaces, and so is not broken.
---@param value string safe UTF-8
---@param room integer columns
---@param indent? string before every line but the first; by default the spaces before that one
---@return string
function text.wrap(value, room, indent)
  if text.width(value) <= room then
    return value
  end
  local margin = value:match("^ *")
  local lines, line = {}, nil
  for word in value:gmatch("%S+") do
    if line and text.width(line) + 1 + text.width(word) <= room - #margin then
      line = line .. " " .. word
    else
      lines[#lines + 1] = line
      line = word
    end
  end
  lines[#lines + 1] = line
  return margin .. table.concat(lines, "\n" .. (indent or margin))
end

--- "a", "a and b", "a, b and c".
---@param words string[] at least one
---@return string
function text.enumerate(words)
  if #words == 1 then
    return words[1]
  end
  return table.concat(words, ", ", 1, #words - 1) .. " and " .. words[#words]
end

--- Fills up with spaces.
---@param value string
---@param width integer
---@return string
function text.pad(value, width)
  return value .. (" "):rep(width - text.width(value))
end

return text
