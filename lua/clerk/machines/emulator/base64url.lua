--- Base64url without padding (RFC 4648, section 5).

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local base64url = {}

local values = {}
for i = 1, #ALPHABET do
  values[ALPHABET:sub(i, i)] = i - 1
end

local function encode_group(group)
  local first, second, third = group:byte(1, 3)
  local number = first * 65536 + (second or 0) * 256 + (third or 0)
  local letters = {}
  for i = 4, 1, -1 do
    local at = number % 64
    letters[i] = ALPHABET:sub(at + 1, at + 1)
    number = math.floor(number / 64)
  end
  return table.concat(letters, "", 1, #group + 1)
end

---@param bytes string
---@return string
function base64url.encode(bytes)
  return (bytes:gsub("..?.?", encode_group))
end

local function decode_group(group)
  local number = 0
  for i = 1, 4 do
    number = number * 64 + (values[group:sub(i, i)] or 0)
  end
  local first, second = math.floor(number / 65536), math.floor(number / 256) % 256
  return string.char(first, second, number % 256):sub(1, #group - 1)
end

---@param text string
---@return string? bytes nil when the text has other characters or ends in the middle of a byte
function base64url.decode(text)
  if text:find "[^%w_-]" or #text % 4 == 1 then
    return nil
  end
  return (text:gsub("..?.?.?", decode_group))
end

return base64url
