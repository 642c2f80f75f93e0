--- The changes that a comparison found: shown as a diff, and applied.

local apply = require "clerk.machines.plan.apply"
local describe = require "clerk.machines.plan.describe"

---@alias clerk.machines.plan.OnChange
---| fun(change: clerk.machines.plan.Change, made: integer, count: integer)

--- What must change, in the order of application: an array. `tostring` shows it as a diff that ends
--- in a line of counts.
---@class clerk.machines.plan.Changes
---@field [integer] clerk.machines.plan.Change
---@field instance_id? string nil while the instance has no machines
local Changes = { __name = "clerk.machines.plan.Changes" }
Changes.__index = Changes

local changes = {}

--- What is not for users: the comparison of each, and its client.
local inner = setmetatable({}, { __mode = "k" })

---@param client clerk.machines.Client
---@param compared table of comparison.compare
---@return clerk.machines.plan.Changes
function changes.new(client, compared)
  local self = { instance_id = compared.instance.id }
  for i, step in ipairs(compared.steps) do
    self[i] = step.change
  end
  inner[self] = { client = client, compared = compared }
  return setmetatable(self, Changes)
end

function Changes:__tostring()
  return describe.text(inner[self].compared)
end

--- How many there are of each action, in words: "2 machines to create, 1 scope to add".
---@return string
function Changes:summary()
  return describe.counts(inner[self].compared)
end

--- Makes the changes, several at once. First compares again, and raises an ArgumentError when the
--- instance has changed since. After a failure, changes that are under way are finished, and no
--- further one is started; then the failure is raised. A new comparison continues from there:
--- nothing is done twice, and with `secrets_dir` every key that is missing there is fetched.
---@param on_change? clerk.machines.plan.OnChange is called after each change
---@return integer count of secret keys that were written
function Changes:apply(on_change)
  return apply.run(inner[self].client, inner[self].compared, on_change)
end

return changes
