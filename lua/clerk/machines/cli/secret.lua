local connection = require "clerk.machines.cli.connection"
local output = require "clerk.machines.cli.output"
local parameters = require "clerk.machines.cli.parameters"
local text = require "clerk.machines.cli.text"

local secret = {
  usage = "<machine-id>",
  summary = "Show a machine's secret key.",
  epilog = [[
Examples:
   clerk-machines secret mch_123
   clerk-machines secret mch_123 >machine.key]],
}

function secret.declare(parser)
  parameters.declare_machine_id(parser)
  output.declare(parser)
  connection.declare(parser)
end

function secret.run(arguments)
  local key = connection.open(arguments):get_secret_key(arguments.machine_id)
  arguments.reveal = true
  output.print(arguments, key, function(result)
    return text.of(result.secret) .. "\n"
  end)
end

return secret
