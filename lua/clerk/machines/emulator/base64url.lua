--- Base64url without padding (RFC 4648, section 5).

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local base64url = {}

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

return base64url
