--- The question before a change that cannot be undone.

local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local confirmation = {}

---@param parser table of argparse
function confirmation.declare(parser)
  parser:flag("-y --yes", "Do not ask for confirmation.")
end

--- Whether to ask. Raises where that is needed and no person can answer.
---@param parsed table the command's arguments
---@return boolean
function confirmation.is_needed(parsed)
  if not parsed.yes and not terminal.can_ask() then
    failure.raise("cannot ask for confirmation without a terminal: give --yes", failure.MISUSED)
  end
  return not parsed.yes
end

--- Why an instance's ID is not known.
confirmation.UNKNOWN = {
  secret_key = "unknown, since it has no machines",
  machine_secret_key = "unknown, since there is only a machine's key",
}

--- "Instance ins_1 (live)", with what is live in red.
local function show_instance(parsed, instance_id)
  local environment = parsed.environment and (" (%s)"):format(parsed.environment) or ""
  local subject = instance_id and text.of(instance_id) or confirmation.UNKNOWN[parsed.key_name]
  terminal.note("Instance " .. subject .. environment,
    parsed.environment == "live" and "(live)" or nil)
end

--- Raises unless the person at the terminal agrees.
---@param parsed table the command's arguments
---@param instance_id string|nil
---@param consequences string[] shown before the question
---@param question string
function confirmation.ask(parsed, instance_id, consequences, question)
  terminal.show_status(nil)
  show_instance(parsed, instance_id)
  for _, line in ipairs(consequences) do
    terminal.note(line)
  end
  if not terminal.ask(question) then
    failure.raise("nothing was changed")
  end
end

return confirmation
