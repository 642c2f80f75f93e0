local connection = require "clerk.machines.cli.connection"
local output = require "clerk.machines.cli.output"
local parameters = require "clerk.machines.cli.parameters"
local record = require "clerk.machines.cli.record"

local create = {
  usage = "<name>",
  summary = "Create a machine.",
  epilog = [[
Examples:
   clerk-machines create "billing worker"
   clerk-machines create gateway --scope mch_123 --default-token-ttl 15m
   clerk-machines create worker --json --reveal | jq -r .secret_key]],
}

function create.declare(parser)
  parser:argument("name", "What to call it.")
  parser:option("--scope", "A machine that it may call; may be given several times.")
    :argname("<machine-id>"):count("*")
  parameters.declare_token_ttl(parser, "create")
  output.declare_reveal(parser)
  output.declare(parser)
  connection.declare(parser)
end

function create.run(arguments)
  local machine = connection.open(arguments):create {
    name = arguments.name,
    scoped_machines = arguments.scope[1] and arguments.scope or nil,
    default_token_ttl = arguments.default_token_ttl,
  }
  output.print(arguments, machine, record.text)
end

return create
