-- All operations, an error and a retry, printed as they happen. examples/run starts it against
-- an emulator, examples/run --live against the real API. It changes only machines that it created.

local machines = require "clerk.machines"

local function say(...)
  print(string.format(...))
end

local function step(operation, what)
  say("\n%-20s %s", operation, what)
end

local function show(label, value)
  say("  %-18s %s", label, tostring(value))
end

local client = machines.new {
  deadline_ms = 30000,
  on_event = function(event)
    if event.type == "wait" then
      say("  attempt %d          %s, next one in %d ms", event.attempt, event.status or event.code,
        event.wait_ms)
    end
  end,
}

local created = {}

local function create(params)
  local machine = client:create(params)
  created[#created + 1] = machine.id
  return machine
end

--- The gateway may call the worker.
local function show_tokens(gateway, worker_key)
  local caller = machines.new { machine_secret_key = gateway.secret_key }
  local receiver = machines.new { machine_secret_key = worker_key }

  step("create_token", "with the gateway's key: what it shows when it calls the worker")
  local minted = caller:create_token { seconds_until_expiration = 60 }
  show("minted", minted)

  step("verify_token", "with the worker's key: who calls, and is that granted?")
  local verified = receiver:verify_token { token = minted.token }
  show("caller", verified.subject)
  show("is good", not verified.revoked and not verified.expired)

  step("revoke_token", "by its ID, with the gateway's key")
  show("revoked", caller:revoke_token(minted.id).revoked)

  step("list_tokens", "of the gateway, revoked ones too")
  show("total", client:list_tokens({ subject = gateway.id, revoked = true }).total_count)
  caller:close()
  receiver:close()
end

local function show_creation()
  step("create", "two machines; each result has the machine's secret key")
  local worker = create { name = "quickstart worker", default_token_ttl = 600 }
  local gateway = create { name = "quickstart gateway", scoped_machines = { worker.id } }
  show("worker", worker)
  show("gateway", gateway)
  show("may call", gateway.scoped_machines[1])
  return worker, gateway
end

local function show_machines(worker)
  step("get", "one machine by its ID, and how the call went")
  local machine, info = client:get(worker.id)
  show("token lifetime", machine.default_token_ttl .. " s")
  show("status", ("%d after %d attempt, %d ms"):format(info.status, info.attempts, info.elapsed_ms))

  step("update", "only the fields given change")
  local renamed, update = client:update(worker.id, { name = "quickstart worker, renamed" })
  show("renamed", renamed)
  show("attempts", update.attempts)

  step("list", "a page, newest first; `query` searches names")
  local page = client:list { limit = 10, query = "quickstart", order_by = "-created_at" }
  for _, each in ipairs(page.data) do
    show("", each)
  end
  show("total", page.total_count)
end

--- Returns the worker's new key.
local function show_secret_keys(worker)
  step("get_secret_key", "the key is a field of the result; `tostring` hides it")
  local key = client:get_secret_key(worker.id)
  show("result", key)
  show("as in create", key.secret == worker.secret_key)

  step("rotate_secret_key", "a new key; the old one stays valid for an hour")
  local rotated = client:rotate_secret_key(worker.id, { previous_token_ttl = 3600 })
  show("is a new key", rotated.secret ~= key.secret)
  return rotated.secret
end

local function show_scopes(worker, gateway)
  step("create_scope", "lets the worker call the gateway")
  show("scope", client:create_scope(worker.id, { to_machine_id = gateway.id }))

  step("delete_scope", "and takes that back")
  show("scope", client:delete_scope(worker.id, gateway.id))
end

local function show_errors()
  step("an error", "is a table: read its fields, or print it")
  local _, err = pcall(client.get, client, "mch_missing")
  show("type, status", err.type .. ", " .. err.status)
  show("code", err.code)
  show("printed", err)

  step("a mistake", "is found before anything is sent")
  local _, mistake = pcall(client.list, client, { limit = 1000 })
  show("printed", mistake)
end

local function show_deletion()
  step("delete", "a machine and every scope that names it")
  while created[1] do
    show("", client:delete(table.remove(created)))
  end
end

local function show_all()
  local worker, gateway = show_creation()
  show_machines(worker)
  local worker_key = show_secret_keys(worker)
  show_scopes(worker, gateway)
  show_tokens(gateway, worker_key)
  show_errors()
  show_deletion()
end

local ok, problem = pcall(show_all)
if not ok then
  for _, id in ipairs(created) do
    pcall(client.delete, client, id)
  end
  io.stderr:write("\n", tostring(problem), "\n")
end
client:close()
os.exit(ok and 0 or 1, true)
