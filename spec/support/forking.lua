-- A program that forks while it has a connection and, on it, a task under way; see
-- session_spec.lua.
--
--   lua5.4 forking.lua URL CA_FILE
--
-- The child ends as programs do: its state is closed, and it exits.

local machines = require "clerk.machines"
local posix = require "support.posix"

local client = machines.new { secret_key = "sk_test_key", base_url = arg[1], ca_file = arg[2] }
client:get "mch_first"
local task = client:spawn(client.get, client, "mch_waits")
client:step(0)
local pid = posix.fork()
if pid > 0 then
  assert(posix.wait(pid) == 0)
  client:get "mch_ends"
  client:run()
  assert(task:result().id == "mch_waits")
end
