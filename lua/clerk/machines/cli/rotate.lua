local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local output = require "clerk.machines.cli.output"
local parameters = require "clerk.machines.cli.parameters"
local record = require "clerk.machines.cli.record"
local units = require "clerk.machines.cli.units"

local rotate = {
  usage = "<machine-id> --previous-token-ttl <time>",
  summary = "Give a machine a new secret key.",
  epilog = [[
Examples:
   clerk-machines rotate mch_123 --previous-token-ttl 1h
   clerk-machines rotate mch_123 --previous-token-ttl 0 --yes --reveal]],
}

function rotate.declare(parser)
  parameters.declare_machine_id(parser)
  parser:option("--previous-token-ttl", "How long the previous key stays valid: 0 to 8h.")
    :argname("<time>"):count("1")
    :convert(parameters.duration("rotate_secret_key", "previous_token_ttl"))
  confirmation.declare(parser)
  output.declare_reveal(parser)
  output.declare(parser)
  connection.declare(parser)
end

local function fate_of_previous_key(ttl)
  return ttl == 0 and "no longer valid" or ("valid for %s more"):format(units.duration(ttl))
end

local function consequence(ttl)
  return ttl == 0 and "The present key will stop working at once."
    or ("The present key will work for %s more."):format(units.duration(ttl))
end

function rotate.run(arguments)
  local client = connection.open(arguments)
  local ttl = arguments.previous_token_ttl
  confirmation.require(arguments, client, "Rotate the key of %s?", consequence(ttl))
  local key = client:rotate_secret_key(arguments.machine_id, { previous_token_ttl = ttl })
  output.print(arguments, key, function(result, reveal)
    return record.lines {
      { "Secret key", record.secret(result.secret, arguments.machine_id, reveal) },
      { "Previous", fate_of_previous_key(ttl) },
    }
  end)
end

return rotate
