--- Arguments that several commands share, and how their values are read.

local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local secrets = require "clerk.machines.plan.secrets"
local units = require "clerk.machines.cli.units"

local arguments = {}

---@param parser table of argparse
---@param description? string
function arguments.declare_machine(parser, description)
  parser:argument("machine", description or "The machine: its ID or its exact name.")
end

--- For several machines: an array.
---@param parser table of argparse
---@param count string "+" for at least one, "*" for any number
function arguments.declare_machines(parser, count)
  parser:argument("machine", "The machines: their IDs or exact names."):args(count)
end

--- Reads an integer.
---@param option string named in the message
---@param min integer
---@param max integer
---@return fun(written: string): integer|nil, string|nil
function arguments.integer(option, min, max)
  return function(written)
    local number = written:find("^%d+$") and tonumber(written)
    if number and number >= min and number <= max then
      return number
    end
    return nil, ("%s must be an integer from %d to %d, not '%s'"):format(option, min, max, written)
  end
end

--- Reads a duration that is a parameter of an operation.
---@param option string named in the message
---@param operation string
---@param parameter string
---@return fun(written: string): integer|nil, string|nil
function arguments.duration(option, operation, parameter)
  local row = core.operations[operation].parameters[parameter]
  local min = row.type == "number" and row.min + 1 or row.min -- the bound of a number is open
  local range = row.max and ("from %s to %s"):format(units.duration(min), units.duration(row.max))
    or ("of at least %s"):format(units.duration(min))
  return function(written)
    local seconds = units.parse_duration(written)
    if seconds and seconds >= min and seconds <= (row.max or math.huge) then
      return seconds
    end
    return nil, ("%s must be a time %s, such as 90, 15m or 1h30m, not '%s'"):format(option, range,
      written)
  end
end

---@param parser table of argparse
---@param operation string
function arguments.declare_token_ttl(parser, operation)
  parser:option("--default-token-ttl", "How long tokens are valid: 600, 15m, 1h30m, 30d.")
    :argname("<time>")
    :convert(arguments.duration("--default-token-ttl", operation, "default_token_ttl"))
end

--- For commands that get to know secret keys.
---@param parser table of argparse
function arguments.declare_secrets_dir(parser)
  parser:option("--secrets-dir", "Keep each machine's secret key in a file in this directory, "
    .. "named by the machine's ID."):argname("<dir>")
end

--- Ends the command early, before anything is asked or changed, where keys could not be written.
---@param parsed table the command's arguments
function arguments.check_secrets_dir(parsed)
  if not parsed.secrets_dir then
    return
  end
  local ok, problem = pcall(secrets.open, parsed.secrets_dir)
  if not ok then
    failure.raise(problem.message)
  end
end

return arguments
