--- Random words, for IDs, secrets and traces.

local core = require "clerk.machines.core"

local ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
-- A random number has 32 bits, and five letters take less than 30.
local LETTERS_PER_DRAW = 5

local tokens = {}

---@param length integer
---@return string letters and digits
function tokens.word(length)
  local parts, fraction = {}, 0
  for i = 1, length do
    if i % LETTERS_PER_DRAW == 1 then
      fraction = core.random()
    end
    fraction = fraction * #ALPHABET
    local letter = math.floor(fraction)
    fraction = fraction - letter
    parts[i] = ALPHABET:sub(letter + 1, letter + 1)
  end
  return table.concat(parts)
end

---@return string trace 32 hex digits
function tokens.trace()
  local parts = {}
  for i = 1, 4 do
    parts[i] = ("%08x"):format(core.random() * 2 ^ 32)
  end
  return table.concat(parts)
end

return tokens
