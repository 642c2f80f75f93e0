--- Dates as HTTP writes them: Sun, 06 Nov 1994 08:49:37 GMT. `os.date` would follow the locale.

local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTHS = {
  "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
}

---@param ms integer Unix time
---@return string
return function(ms)
  local t = os.date("!*t", math.floor(ms / 1000))
  local day, month = DAYS[t.wday], MONTHS[t.month]
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
    day, t.day, month, t.year, t.hour, t.min, t.sec)
end
