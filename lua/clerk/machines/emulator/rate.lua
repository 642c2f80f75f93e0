--- The rate limit of an instance: so many requests in ten seconds.

local WINDOW_MS = 10000

---@class clerk.machines.emulator.Rate
local Rate = {}
Rate.__index = Rate

local rate = {}

---@param limit integer? requests in ten seconds; unlimited without
---@return clerk.machines.emulator.Rate
function rate.new(limit)
  return setmetatable({ limit = limit or math.huge, count = 0, window_ends = -math.huge }, Rate)
end

---Counts a request.
---@param now integer ms
---@return integer? wait seconds until the next one is admitted, when this one is not
function Rate:count_request(now)
  if now >= self.window_ends then
    self.window_ends = now + WINDOW_MS
    self.count = 0
  end
  self.count = self.count + 1
  if self.count > self.limit then
    return math.ceil((self.window_ends - now) / 1000)
  end
end

return rate
