local connection = require "clerk.machines.cli.connection"
local output = require "clerk.machines.cli.output"
local parameters = require "clerk.machines.cli.parameters"
local record = require "clerk.machines.cli.record"

local get = {
  usage = "<machine-id>",
  summary = "Show a machine.",
  epilog = [[
Examples:
   clerk-machines get mch_123
   clerk-machines get mch_123 --json | jq .default_token_ttl]],
}

function get.declare(parser)
  parameters.declare_machine_id(parser)
  output.declare(parser)
  connection.declare(parser)
end

function get.run(arguments)
  local machine = connection.open(arguments):get(arguments.machine_id)
  output.print(arguments, machine, record.text)
end

return get
