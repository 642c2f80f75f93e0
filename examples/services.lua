-- Machines for a list of services: makes the instance agree with the list, and keeps each machine's
-- secret key in a directory. It can be run again and again. From the checkout, built for lua5.4,
-- with the key of an instance in CLERK_SECRET_KEY:
--
--   mkdir -m 700 keys
--   export LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;"
--   lua5.4 examples/services.lua keys
--
-- It deletes other machines whose names begin with "shop ".

local machines = require "clerk.machines"
local plan = require "clerk.machines.plan"

local PREFIX = "shop " -- of our machines' names; all others in the instance are left alone

--- The services, each with those that it may call.
local SERVICES = {
  { "gateway", calls = { "orders", "search" } },
  { "orders", calls = { "billing" } },
  { "billing", calls = {} },
  { "search", calls = {} },
}

local function desired_machines()
  local list = {}
  for i, service in ipairs(SERVICES) do
    local scopes = {}
    for at, callee in ipairs(service.calls) do scopes[at] = PREFIX .. callee end
    list[i] = { name = PREFIX .. service[1], scoped_machines = scopes }
  end
  return { machines = list }
end

local client = machines.new()
local changes = plan.compare(client, desired_machines(), {
  prune = PREFIX, -- a service that has gone
  secrets_dir = arg[1],
})
print(changes)
changes:apply(function(change, made, count)
  print(("%d of %d: %s %s"):format(made, count, change.action, change.name))
end)
client:close()
