local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local output = require "clerk.machines.cli.output"
local parameters = require "clerk.machines.cli.parameters"
local text = require "clerk.machines.cli.text"

local delete = {
  usage = "<machine-id>",
  summary = "Delete a machine, and every scope that names it.",
  epilog = [[
Examples:
   clerk-machines delete mch_123
   clerk-machines delete mch_123 --yes]],
}

function delete.declare(parser)
  parameters.declare_machine_id(parser)
  confirmation.declare(parser)
  output.declare(parser)
  connection.declare(parser)
end

function delete.run(arguments)
  local client = connection.open(arguments)
  confirmation.require(arguments, client, "Delete machine %s?")
  output.print(arguments, client:delete(arguments.machine_id), function()
    return "Deleted " .. text.of(arguments.machine_id) .. ".\n"
  end)
end

return delete
