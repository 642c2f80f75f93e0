--- A question before what cannot be taken back.

local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local confirmation = {}

---@param parser table of argparse
function confirmation.declare(parser)
  parser:flag("-y --yes", "Do not ask.")
end

--- Raises unless the person at the terminal agrees; looks the machine up to name it.
---@param arguments table as parsed
---@param client clerk.machines.Client
---@param question string with a `%s` for the machine
---@param consequence? string told before the question
function confirmation.require(arguments, client, question, consequence)
  if arguments.yes then
    return
  elseif not terminal.can_ask() then
    failure.raise("there is no terminal to ask on: give --yes", failure.MISUSED)
  end
  local machine = client:get(arguments.machine_id)
  local shown = ("%s (%s)"):format(arguments.machine_id, text.of(machine.name))
  if consequence then
    terminal.note(consequence)
  end
  if not terminal.ask(question:format(shown)) then
    failure.raise("nothing was changed")
  end
end

return confirmation
