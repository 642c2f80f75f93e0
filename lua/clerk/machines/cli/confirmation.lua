--- The question before a change that cannot be undone.

local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local confirmation = {}

---@param parser table of argparse
function confirmation.declare(parser)
  parser:flag("-y --yes", "Do not ask for confirmation.")
end

--- Raises unless the person at the terminal agrees; looks the machine up to name it.
---@param parsed table the command's arguments
---@param client clerk.machines.Client
---@param question string with a `%s` for the machine
---@param consequence? string shown before the question
function confirmation.require(parsed, client, question, consequence)
  if parsed.yes then
    return
  elseif not terminal.can_ask() then
    failure.raise("cannot ask for confirmation without a terminal: give --yes", failure.MISUSED)
  end
  local machine = client:get(parsed.machine_id)
  local shown = ("%s (%s)"):format(parsed.machine_id, text.of(machine.name))
  if consequence then
    terminal.note(consequence)
  end
  if not terminal.ask(question:format(shown)) then
    failure.raise("nothing was changed")
  end
end

return confirmation
