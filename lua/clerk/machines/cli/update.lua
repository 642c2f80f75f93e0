local connection = require "clerk.machines.cli.connection"
local failure = require "clerk.machines.cli.failure"
local output = require "clerk.machines.cli.output"
local parameters = require "clerk.machines.cli.parameters"
local record = require "clerk.machines.cli.record"
local text = require "clerk.machines.cli.text"

local update = {
  usage = "<machine-id>",
  summary = "Change a machine's name or the lifetime of its tokens.",
  epilog = [[
Examples:
   clerk-machines update mch_123 --name "billing worker 2"
   clerk-machines update mch_123 --default-token-ttl 1h]],
}

function update.declare(parser)
  parameters.declare_machine_id(parser)
  parser:option("--name", "What to call it from now on.")
  parameters.declare_token_ttl(parser, "update")
  output.declare(parser)
  connection.declare(parser)
end

function update.run(arguments)
  if not (arguments.name or arguments.default_token_ttl) then
    failure.raise("nothing to change: give --name or --default-token-ttl", failure.MISUSED)
  end
  local machine = connection.open(arguments):update(arguments.machine_id, {
    name = arguments.name,
    default_token_ttl = arguments.default_token_ttl,
  })
  output.print(arguments, machine, function(updated)
    return updated.id and record.text(updated) -- a 204 says no more than that it is done
      or "Updated " .. text.of(arguments.machine_id) .. ".\n"
  end)
end

return update
