--- A read-through cache of machines that nginx's workers share. Requests for the same machine share
--- one fetch; stale machines are served while they are fetched again; errors are kept briefly. It
--- keeps only the fields named in `encode`, no secret, in a lua_shared_dict, whose size limits it.

local cjson = require "cjson"
local machines = require "clerk.machines.safe"

-- Loaded here, because a worker may not be allowed to read the file later.
require "ngx.semaphore"

local MACHINE, LOCK = "machine ", "lock " -- of the dictionary's keys
local LONGEST_PAUSE_S = 0.1

local NOT_FOUND = cjson.encode { error = "machine_not_found" }
local UNAVAILABLE = cjson.encode { error = "unavailable" }

local directory = {}

local settings = {
  fresh_s = 60, -- how long a machine is served without a new fetch
  stale_s = 3600, -- how long after that it is served during a fetch, or when fetching fails
  not_found_s = 10, -- how long a 404 is kept
  failure_s = 1, -- how long a failure is kept
  deadline_ms = 3000, -- for a fetch with all its retries
}

local client, dictionary

--- For init_by_lua: nginx does not start without a key, and the workers share the loaded modules.
---@param options { dictionary: string } and any of the settings
function directory.start(options)
  for name, value in pairs(options) do
    if name ~= "dictionary" and not settings[name] then
      error(('unknown option "%s"'):format(name), 2)
    end
    settings[name] = settings[name] and value
  end
  dictionary = ngx.shared[options.dictionary]
  if not dictionary then
    error(('nginx has no dictionary "%s": add "lua_shared_dict %s 10m;" to the http block')
      :format(options.dictionary, options.dictionary), 2)
  end
  local problem
  client, problem = machines.new {
    deadline_ms = settings.deadline_ms,
    user_agent = "machines-directory",
  }
  if not client then
    error(tostring(problem)) -- nginx shows only strings
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
  ngx.log(ngx.ERR, "machine ", id, " could not be fetched: ", tostring(err))
  return 502, UNAVAILABLE, settings.failure_s
end

--- The lock lasts longer than a fetch, and expires if the worker dies.
local function lock(id)
  local is_new, problem = dictionary:add(LOCK .. id, true, settings.deadline_ms / 1000 + 1)
  return is_new or problem ~= "exists"
end

local function unlock(id)
  dictionary:delete(LOCK .. id)
end

--- What is cached, if anything: a status, a body, and "HIT" or "STALE".
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

--- For the holder of the lock. When a fetch fails but there is something stale to serve, the lock
--- stays until it expires, so that the next fetch waits that long.
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

--- Fetches, or polls until another request, of any worker, has fetched.
local function fetch_or_wait(id)
  local pause_s = 0.001
  while not lock(id) do
    ngx.sleep(pause_s)
    pause_s = math.min(2 * pause_s, LONGEST_PAUSE_S)
    local status, body, cache = look(id)
    if status then
      return status, body, cache
    end
  end
  return refresh(id)
end

--- Finds a machine. For phases that can wait.
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

--- Removes a machine from the cache, after it was changed.
function directory.forget(id)
  dictionary:delete(MACHINE .. id)
end

--- Answers the request with the size and the free space of the cache.
function directory.report()
  ngx.say(cjson.encode {
    bytes = dictionary:capacity(),
    free_bytes = dictionary:free_space(),
  })
end

return directory
