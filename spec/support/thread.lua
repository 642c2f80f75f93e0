-- What each Lua state does in threads.c, at the same time: calls over HTTP, blocking and in tasks,
-- calls over a fake transport, and reading JSON.

local url, key, rounds = ...

local core = require "clerk.machines.core"
local machines = require "clerk.machines"

local PAGE = ('{"data":[%s{}],"total_count":100}'):format(('{"id":"mch_1","s":"\\u00e4"},'):rep(99))

local fake = {}

function fake.send()
  return { status = 200, headers = {}, body = PAGE }
end

local client = machines.new { secret_key = key, base_url = url }
local faked = machines.new { secret_key = key, transport = fake }

local function use()
  local machine = client:create { name = "worker" }
  assert(client:get(machine.id).name == "worker")
  assert(not pcall(client.get, client, "mch_nobody"))
  assert(client:delete(machine.id).deleted)
end

local function use_at_once()
  local one, other, cancelled = client:spawn(use), client:spawn(use), client:spawn(use)
  client:step(1)
  cancelled:cancel()
  client:run()
  one:result()
  other:result()
end

for _ = 1, tonumber(rounds) do
  use()
  use_at_once()
  assert(#faked:list().data == 100)
  assert(#core.decode(PAGE).data == 100)
end
client:spawn(use)
client:close()
local left = machines.new { secret_key = key, base_url = url, max_connections = 2 }
for _ = 1, 3 do left:spawn(left.list, left) end -- left to the collector
