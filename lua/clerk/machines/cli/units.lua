--- Durations, ages and dates as people read and write them.

local units = {}

-- The largest first.
local UNITS = { { "d", 86400 }, { "h", 3600 }, { "min", 60 }, { "s", 1 } }

local SECONDS = { [""] = 1, s = 1, m = 60, min = 60, h = 3600, d = 86400 }

local LATEST = 253402300799 -- the last second of the year 9999

--- A duration without loss: "1 h", "90 s".
---@param seconds any "-" when it is not a whole number
---@return string
function units.duration(seconds)
  if type(seconds) ~= "number" or seconds % 1 ~= 0 then
    return "-"
  end
  for _, unit in ipairs(UNITS) do
    if seconds >= unit[2] and seconds % unit[2] == 0 then
      return ("%.0f %s"):format(seconds / unit[2], unit[1])
    end
  end
  return ("%.0f s"):format(seconds)
end

local function parse_part(digits, unit)
  return #digits < 15 and SECONDS[unit] and tonumber(digits) * SECONDS[unit] or nil
end

--- Reads "90", "90s", "15m", "8h", "30d" or, with units from large to small, "1h30m".
---@param written string
---@return integer|nil seconds
function units.parse_duration(written)
  local digits, unit = written:match("^(%d+) ?(%a*)$")
  if digits then
    return parse_part(digits, unit)
  end
  local total, last, rest = 0, math.huge, written
  while rest ~= "" do
    digits, unit, rest = rest:match("^(%d+)(%a+)(.*)$")
    local size = unit and SECONDS[unit]
    if not size or size >= last or #digits >= 15 then
      return nil
    end
    total, last = total + tonumber(digits) * size, size
  end
  return total > 0 and total or nil
end

local function seconds_of(ms)
  if type(ms) == "number" and ms >= 0 and ms / 1000 <= LATEST then
    return math.floor(ms / 1000)
  end
end

local function roughly(seconds)
  for _, unit in ipairs(UNITS) do
    if seconds >= unit[2] then
      return ("%d %s"):format(math.floor(seconds / unit[2]), unit[1])
    end
  end
  return "0 s"
end

--- How long ago a Unix time in ms was, roughly: "3 d".
---@param ms any
---@return string
function units.age(ms)
  local seconds = seconds_of(ms)
  return seconds and roughly(math.max(0, os.time() - seconds)) or "-"
end

--- To the nearest minute, so that what has just got an hour has "1 h".
local function rounded(seconds)
  return seconds < 60 and seconds or math.floor(seconds / 60 + 0.5) * 60
end

--- How far from now a Unix time in ms is, roughly: "in 4 min" or "3 d ago".
---@param ms any
---@return string
function units.distance(ms)
  local seconds = seconds_of(ms)
  if not seconds then
    return "-"
  end
  local left = seconds - os.time()
  return left > 0 and "in " .. roughly(rounded(left)) or roughly(-left) .. " ago"
end

--- A Unix time in ms by ISO 8601, in UTC.
---@param ms any
---@return string
function units.date(ms)
  local seconds = seconds_of(ms)
  return seconds and os.date("!%Y-%m-%dT%H:%M:%SZ", seconds) or "-"
end

return units
