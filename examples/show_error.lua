-- Errors as a person wants to read them: what happened, whether anything was changed, what to do.
-- From the checkout, built for lua5.4, with the key of an instance in CLERK_SECRET_KEY:
--
--   export LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;"
--   lua5.4 examples/show_error.lua

local machines = require "clerk.machines"

--- What to do, by an error's code.
local ADVICE = {
  machine_not_found = "It may have been deleted. Reload the list of machines.",
  quota_exceeded = "Delete machines that you no longer need, or ask for more.",
  rate_limited = "Too many changes at once.",
  timeout = "The API is slow at the moment.",
  connect_failed = "Check the network.",
}

--- What happened: the API's explanation is meant for people, the others are for developers.
local function explanation(err)
  local first = err.type == "ClerkErrors" and err.errors[1]
  return first and (first.long_message or first.message)
    or "The machine service could not be reached."
end

local function explain(err)
  local lines = { explanation(err), ADVICE[err.code] }
  if err.maybe_applied then
    lines[#lines + 1] = "The change may have been made: look before you try again."
  elseif err.retry_after then
    lines[#lines + 1] = ("Try again in %d seconds."):format(err.retry_after)
  end
  if err.clerk_trace_id then lines[#lines + 1] = "For support: " .. err.clerk_trace_id end
  return table.concat(lines, "\n")
end

--- Runs f(...); an error of this library is shown, and any other is a bug.
local function try(f, ...)
  local ok, result = pcall(f, ...)
  if not ok and not machines.is_error(result) then error(result, 0) end
  print(ok and result or explain(result))
  print()
end

local client = machines.new { retries = false }
try(client.get, client, "mch_missing")
try(client.create, client, { name = "example" }, { base_url = "http://127.0.0.1:1/v1" })
client:close()
