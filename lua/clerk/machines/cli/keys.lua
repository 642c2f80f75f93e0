--- The commands secret and rotate.

local arguments = require "clerk.machines.cli.arguments"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local output = require "clerk.machines.cli.output"
local record = require "clerk.machines.cli.record"
local text = require "clerk.machines.cli.text"
local units = require "clerk.machines.cli.units"

-- ---------------------------------------------------------------- secret

local secret = {
  name = "secret",
  usage = "<machine-id>",
  summary = "Show a machine's secret key.",
  epilog = [[
Examples:
   clerk-machines secret mch_123
   (umask 077; clerk-machines secret mch_123 >machine.key)]],
}

function secret.declare(parser)
  arguments.declare_machine_id(parser)
  output.declare(parser)
  connection.declare(parser)
end

function secret.run(parsed)
  local key = connection.open(parsed):get_secret_key(parsed.machine_id)
  parsed.reveal = true
  output.print(parsed, key, function(result)
    return text.of(result.secret) .. "\n"
  end)
end

-- ---------------------------------------------------------------- rotate

local rotate = {
  name = "rotate",
  usage = "<machine-id> --previous-token-ttl <time>",
  summary = "Replace a machine's secret key.",
  epilog = [[
Examples:
   clerk-machines rotate mch_123 --previous-token-ttl 1h
   clerk-machines rotate mch_123 --previous-token-ttl 0 --yes --reveal]],
}

function rotate.declare(parser)
  arguments.declare_machine_id(parser)
  parser:option("--previous-token-ttl", "How long the old key keeps working: 0 to 8h.")
    :argname("<time>"):count("1")
    :convert(arguments.duration("--previous-token-ttl", "rotate_secret_key", "previous_token_ttl"))
  confirmation.declare(parser)
  output.declare_reveal(parser)
  output.declare(parser)
  connection.declare(parser)
end

local function consequence(ttl)
  return ttl == 0 and "The current key will stop working at once."
    or ("The current key will keep working for %s."):format(units.duration(ttl))
end

local function state_of_old_key(ttl)
  return ttl == 0 and "no longer valid" or "valid for another " .. units.duration(ttl)
end

function rotate.run(parsed)
  local client = connection.open(parsed)
  local ttl = parsed.previous_token_ttl
  confirmation.require(parsed, client, "Rotate the key of %s?", consequence(ttl))
  local key = client:rotate_secret_key(parsed.machine_id, { previous_token_ttl = ttl })
  output.print(parsed, key, function(result, reveal)
    return record.lines {
      { "Secret key", record.secret(result.secret, parsed.machine_id, reveal) },
      { "Old key", state_of_old_key(ttl) },
    }
  end)
end

return { secret, rotate }
