--- Bounded caches: in this process, or in one of nginx's shared dictionaries. An entry lives until
--- the time of the cache's clock that it was stored with. What `get` returns is a copy.

local core = require "clerk.machines.core"
local json_writer = require "clerk.machines.json_writer"

local cache = {}

--- When it is full, the entry that came first makes room: of entries that live equally long it is
--- the one with the least time left.
---@class clerk.machines.tokens.Cache
local Cache = {}
Cache.__index = Cache

---@param limit integer the most entries
---@param clock fun(): number ms
---@return clerk.machines.tokens.Cache
function cache.new(limit, clock)
  return setmetatable({
    limit = limit,
    clock = clock,
    values = {},
    end_times = {},
    keys = {}, -- by place; the places are filled in turn
    place = 0,
  }, Cache)
end

---@param key string
---@return any value nil when there is none, or its time is over
function Cache:get(key)
  local ends_at = self.end_times[key]
  if ends_at and self.clock() < ends_at then
    return core.copy(self.values[key])
  end
end

local function take_place(self, key)
  self.place = self.place % self.limit + 1
  local oldest = self.keys[self.place]
  if oldest then
    self.values[oldest], self.end_times[oldest] = nil, nil
  end
  self.keys[self.place] = key
end

---@param key string
---@param value any
---@param ends_at number a time of the clock
function Cache:set(key, value, ends_at)
  if ends_at <= self.clock() then
    return
  elseif not self.end_times[key] then
    take_place(self, key)
  end
  self.values[key], self.end_times[key] = core.copy(value), ends_at
end

--- The same over a dictionary of nginx, for tables that JSON can hold. The dictionary's size limits
--- it. A worker keeps what it has read in a cache of its own, so that it is read only once.
---@class clerk.machines.tokens.SharedCache
local Shared = {}
Shared.__index = Shared

---@param dictionary table of ngx.shared
---@param limit integer the most entries in a worker's own cache
---@param clock fun(): number ms
---@return clerk.machines.tokens.SharedCache
function cache.shared(dictionary, limit, clock)
  local own = cache.new(limit, clock)
  return setmetatable({ dictionary = dictionary, own = own, clock = clock }, Shared)
end

local function read(self, key)
  local text = self.dictionary:get(key)
  local entry = text and core.decode(text, core.result)
  if entry and self.clock() < entry.ends_at then
    self.own:set(key, entry.value, entry.ends_at)
    return entry.value
  end
end

function Shared:get(key)
  return self.own:get(key) or read(self, key)
end

--- An entry holds the end of its time: all workers have the same monotonic clock, and what one of
--- them copies does not live longer than the original. When the dictionary has no memory left,
--- nothing is stored.
function Shared:set(key, value, ends_at)
  local left = ends_at - self.clock()
  if left > 0 then
    local text = json_writer.write { ends_at = ends_at, value = value }
    self.dictionary:set(key, text, math.ceil(left) / 1000)
  end
end

return cache
