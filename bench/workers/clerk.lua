--- This client.

local worker = require "workers.worker"

if worker.kind == "decode" then
  worker.serve(worker.decoding(require("clerk.machines.core").decode))
  return
end

local client = require("clerk.machines").new {
  secret_key = worker.secret_key,
  base_url = worker.base_url,
  ca_file = worker.ca_file,
}

local calls = {}

function calls.get()
  return client:get(worker.id)
end

function calls.list()
  return client:list { limit = worker.count }
end

function calls.collect()
  local machines = client:collect({ limit = 100 }, { concurrency = worker.concurrency })
  return { data = machines, total_count = #machines }
end

if calls[worker.kind] then
  worker.serve(calls[worker.kind])
else
  worker.serve_turns(require("workers.clerk_tasks")(client))
end
