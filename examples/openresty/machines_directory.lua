--- A read-through directory of machines, which nginx's workers share: one fetch however many ask,
--- what is stale served while it is fetched anew, errors remembered briefly. It keeps the fields
--- that are named below and no secret, in a lua_shared_dict whose size bounds it.

local cjson = require "cjson"
local machines = require "clerk.machines.safe"

-- A worker may not be allowed to read the file by the time of its first call.
require "ngx.semaphore"

local MACHINE, LOCK = "machine ", "lock " -- of the dictionary's keys
local LONGEST_PAUSE_S = 0.1

local NOT_FOUND = cjson.encode { error = "machine_not_found" }
local UNAVAILABLE = cjson.encode { error = "unavailable" }

local directory = {}

local settings = {
  fresh_s = 60, -- how long a machine is served without asking again,
  stale_s = 3600, -- and how long after that while it is asked for or cannot be had
  not_found_s = 10, -- how long it is remembered that there is none,
  failure_s = 1, -- and that the API could not be asked
  deadline_ms = 3000, -- of a fetch with all its retries
}

local client, dictionary

--- For init_by_lua: a missing key is told there, and the workers share what it loads.
---@param options { dictionary: string } and any of the settings
function directory.start(options)
  for name in pairs(settings) do
    settings[name] = options[name] or settings[name]
  end
  dictionary = assert(ngx.shared[options.dictionary], "no such lua_shared_dict")
  local problem
  client, problem = machines.new {
    deadline_ms = settings.deadline_ms,
    user_agent = "machines-directory",
  }
  if not client then
    error(tostring(problem)) -- nginx shows none but strings
  end
end

--- Scopes as a set, since an empty array would become an object.
local function encode(machine)
  local may_call = {}
  for _, other in ipairs(machine.scoped_machines or {}) do
    may_call[other.id] = true
  end
  return cjson.encode {
    id = machine.id,
    name = machine.name,
    default_token_ttl = machine.default_token_ttl,
    updated_at = machine.updated_at,
    may_call = may_call,
  }
end

---@return integer status
---@return string body
---@return number seconds to keep it
local function fetch(id)
  local machine, err = client:get(id)
  if machine then
    return 200, encode(machine), settings.fresh_s + settings.stale_s
  elseif err.type == "ClerkErrors" and err.status == 404 then
    return 404, NOT_FOUND, settings.not_found_s
  end
  ngx.log(ngx.ERR, "machine ", id, " could not be had: ", tostring(err))
  return 502, UNAVAILABLE, settings.failure_s
end

--- The lock outlives a fetch, unless the worker died of it.
local function lock(id)
  local is_new, problem = dictionary:add(LOCK .. id, true, settings.deadline_ms / 1000 + 1)
  return is_new or problem ~= "exists"
end

local function unlock(id)
  dictionary:delete(LOCK .. id)
end

--- What is known, if anything: a status, a body, and "HIT" or "STALE".
local function look(id)
  local body, status = dictionary:get(MACHINE .. id)
  if body then
    local left_s = dictionary:ttl(MACHINE .. id) or 0
    return status, body, status == 200 and left_s <= settings.stale_s and "STALE" or "HIT"
  end
end

local function keep(id, status, body, seconds)
  local ok, problem = dictionary:set(MACHINE .. id, body, seconds, status)
  if not ok then
    ngx.log(ngx.WARN, "machine ", id, " could not be kept: ", problem)
  end
end

--- For who has the lock. After a failure with something stale at hand the lock is left to expire,
--- so that nobody asks before.
local function refresh(id)
  local status, body, state = look(id)
  if state == "HIT" then
    unlock(id)
    return status, body, state
  end
  local new_status, new_body, seconds = fetch(id)
  if state == "STALE" and new_status == 502 then
    dictionary:set(LOCK .. id, true, settings.failure_s)
    return status, body, state
  end
  keep(id, new_status, new_body, seconds)
  unlock(id)
  return new_status, new_body, "MISS"
end

local function refresh_later(id)
  local ok = ngx.timer.at(0, function(is_premature)
    if is_premature then
      return unlock(id)
    end
    refresh(id)
  end)
  if not ok then
    unlock(id)
  end
end

--- Fetches, or waits until another request of any worker has: a dictionary wakes nobody.
local function fetch_or_wait(id)
  local pause_s = 0.001
  while not lock(id) do
    ngx.sleep(pause_s)
    pause_s = math.min(2 * pause_s, LONGEST_PAUSE_S)
    if look(id) then
      return look(id)
    end
  end
  return refresh(id)
end

--- Finds a machine, in a phase that can wait.
---@param id string
---@return integer status 200, 404 or 502
---@return string body JSON: the machine, or an error
---@return "HIT"|"STALE"|"MISS" state
function directory.get(id)
  local status, body, state = look(id)
  if not status then
    return fetch_or_wait(id)
  elseif state == "STALE" and lock(id) then
    refresh_later(id)
  end
  return status, body, state
end

--- Answers the request with a machine.
function directory.serve(id)
  local status, body, state = directory.get(id)
  ngx.status = status
  ngx.header["X-Cache-Status"] = state
  ngx.say(body)
end

--- Forgets a machine, for who has changed it.
function directory.forget(id)
  dictionary:delete(MACHINE .. id)
end

--- Answers the request with the room that there is.
function directory.report()
  ngx.say(cjson.encode {
    bytes = dictionary:capacity(),
    free_bytes = dictionary:free_space(),
  })
end

return directory
