--- The client of a command, made from the options that all commands share.

local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local progress = require "clerk.machines.cli.progress"
local terminal = require "clerk.machines.cli.terminal"

local connection = {}

---@param parser table of argparse
function connection.declare(parser)
  parser:option("--secret-key-file", "Read the secret key from this file instead of "
    .. "$CLERK_SECRET_KEY."):argname("<file>")
  parser:option("--base-url", "URL of the API (default: $CLERK_API_URL, or "
    .. "https://api.clerk.com/v1)."):argname("<url>")
  parser:option("--ca-file", "More CA certificates to trust (PEM)."):argname("<file>")
  parser:flag("--verbose", "Report every attempt and wait on standard error.")
end

local function read_key_file(path)
  local file, problem = io.open(path, "rb")
  local key
  if file then
    key, problem = file:read("*a")
    file:close()
    problem = problem and path .. ": " .. problem -- as io.open words it
  end
  if not key then
    failure.raise("cannot read the secret key: " .. problem, failure.MISUSED)
  end
  return key:gsub("^\239\187\191", ""):match("^%s*(.-)%s*$") -- a BOM, and what editors add
end

--- Nil when the key is in the environment, where the library finds it.
local function secret_key(parsed)
  if parsed.secret_key_file then
    return read_key_file(parsed.secret_key_file)
  elseif (os.getenv("CLERK_SECRET_KEY") or "") == "" then
    failure.raise("there is no secret key: set CLERK_SECRET_KEY or give --secret-key-file",
      failure.MISUSED)
  end
end

local function listener(parsed)
  if parsed.verbose then
    return progress.verbose()
  elseif terminal.is(terminal.STDERR) then
    return progress.brief()
  end
end

--- A person waits, but not for long.
local RETRIES = { backoff = { max_elapsed_time = 20000 } }

---@param parsed table the command's arguments
---@return clerk.machines.Client
function connection.open(parsed)
  return machines.new {
    secret_key = secret_key(parsed),
    base_url = parsed.base_url,
    ca_file = parsed.ca_file,
    retries = RETRIES,
    on_event = listener(parsed),
  }
end

return connection
