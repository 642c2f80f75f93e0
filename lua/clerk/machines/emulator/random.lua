--- Random words for IDs, secrets and traces.

local core = require "clerk.machines.core"

local HEX_DIGITS = "0123456789abcdef"
local LETTERS_AND_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

-- A random number has 32 bits, enough for five letters of either alphabet.
local LETTERS_PER_NUMBER = 5

local random = {}

local function word(length, alphabet)
  local letters, fraction = {}, 0
  for i = 1, length do
    fraction = (i % LETTERS_PER_NUMBER == 1 and core.random() or fraction) * #alphabet
    local at = math.floor(fraction)
    fraction = fraction - at
    letters[i] = alphabet:sub(at + 1, at + 1)
  end
  return table.concat(letters)
end

---@param length integer
---@return string letters and digits
function random.word(length)
  return word(length, LETTERS_AND_DIGITS)
end

---@return string trace 32 hex digits
function random.trace()
  return word(32, HEX_DIGITS)
end

return random
