-- A program that forks; see session_spec.lua.
--
--   lua5.4 forking.lua MOMENT URL CA_FILE
--
-- MOMENT is when it forks: "required", after require alone; "made", after a client was created but
-- not used; "under_way", while a task is running on a used connection. The child ends as programs
-- do: it closes its Lua state and exits.

local machines = require "clerk.machines"
local posix = require "support.posix"

local MOMENT, URL, CA_FILE = arg[1], arg[2], arg[3]

local function new_client()
  return machines.new { secret_key = "sk_test_key", base_url = URL, ca_file = CA_FILE }
end

local function get(client, id)
  assert(client:get(id).id == id)
end

-- Blocking and in tasks, while the other process does the same.
local function call(client, side)
  get(client, "mch_" .. side .. "1")
  local task = client:spawn(get, client, "mch_" .. side .. "2")
  client:run()
  task:result()
end

local function fork_and_call(client)
  local pid = posix.fork()
  client = client or new_client()
  call(client, pid == 0 and "child" or "parent")
  if pid > 0 then
    assert(posix.wait(pid) == 0)
    get(client, "mch_ends")
  end
end

local moments = {}

function moments.required()
  fork_and_call(nil)
end

function moments.made()
  fork_and_call(new_client())
end

function moments.under_way()
  local client = new_client()
  get(client, "mch_first")
  local task = client:spawn(get, client, "mch_waits")
  client:step(0)
  local pid = posix.fork()
  if pid > 0 then
    assert(posix.wait(pid) == 0)
    get(client, "mch_ends")
    client:run()
    task:result()
  end
end

moments[MOMENT]()
