--- Replaces the key of one machine after another, so that none is lost and none is replaced twice.

local machines = require "clerk.machines"
local secrets = require "clerk.machines.plan.secrets"

local rotation = {}

--- The new key. When the response is lost, a key that differs from the one before is the new one.
local function new_secret(client, id, ttl)
  local before = client:get_secret_key(id).secret
  local ok, result = pcall(client.rotate_secret_key, client, id, { previous_token_ttl = ttl })
  if ok then
    return result.secret
  end
  if machines.is_error(result) and result.maybe_applied then
    local can_tell, now = pcall(client.get_secret_key, client, id)
    if can_tell and now.secret ~= before then
      return now.secret
    end
  end
  error(result, 0)
end

--- When it is known that the key is the old one, its file is as good as before.
local function settle_failure(kept, id, problem)
  if machines.is_error(problem) and not problem.maybe_applied then
    kept:unmark(id)
  end
  error(problem, 0)
end

--- While a key is replaced, its file is marked, so that the next `apply` or rotation fetches the
--- key that is valid then.
local function keep_new_secret(kept, client, id, ttl)
  kept:mark(id)
  local ok, result = pcall(new_secret, client, id, ttl)
  if not ok then
    settle_failure(kept, id, result)
  end
  kept:write(id, result)
  return result
end

--- Returns a function that rotates a machine's key.
---@param client clerk.machines.Client
---@param ttl integer seconds that the old key keeps working
---@param secrets_dir string|nil where to keep the keys
---@return fun(machine: clerk.machines.Machine): table key with the machine's `id` and `name`
function rotation.new(client, ttl, secrets_dir)
  local kept = secrets_dir and secrets.open(secrets_dir)
  return function(machine)
    local secret = kept and keep_new_secret(kept, client, machine.id, ttl)
      or new_secret(client, machine.id, ttl)
    return { object = "machine_secret_key", id = machine.id, name = machine.name, secret = secret }
  end
end

return rotation
