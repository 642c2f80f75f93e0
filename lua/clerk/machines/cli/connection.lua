--- The client of a command: what a person can say about it, and how it is made of that.

local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local progress = require "clerk.machines.cli.progress"
local terminal = require "clerk.machines.cli.terminal"

local connection = {}

---@param parser table of argparse
function connection.declare(parser)
  parser:option("--secret-key-file", "File with the secret key (default: $CLERK_SECRET_KEY).")
    :argname("<file>")
  parser:option("--base-url", "Where the API is (default: $CLERK_API_URL or Clerk's).")
    :argname("<url>")
  parser:option("--ca-file", "Authorities to trust beside the system's (PEM).")
    :argname("<file>")
  parser:flag("--verbose", "Tell of every attempt and wait, on standard error.")
end

local function read_key_file(path)
  local file, problem = io.open(path, "rb")
  local key
  if file then
    key, problem = file:read("*a")
    file:close()
  end
  if not key then
    failure.raise("cannot read the secret key: " .. problem, failure.MISUSED)
  end
  return key:gsub("^\239\187\191", ""):match("^%s*(.-)%s*$") -- a BOM, and what editors add
end

--- Nil when the environment has the key, which the library finds there.
local function secret_key(arguments)
  if arguments.secret_key_file then
    return read_key_file(arguments.secret_key_file)
  elseif (os.getenv("CLERK_SECRET_KEY") or "") == "" then
    failure.raise("there is no secret key: set CLERK_SECRET_KEY or give --secret-key-file",
      failure.MISUSED)
  end
end

local function listener(arguments)
  if arguments.verbose then
    return progress.verbose()
  elseif terminal.is(terminal.STDERR) then
    return progress.brief()
  end
end

--- A person waits, but not for long.
local RETRIES = { backoff = { max_elapsed_time = 20000 } }

---@param arguments table as parsed
---@return clerk.machines.Client
function connection.open(arguments)
  return machines.new {
    secret_key = secret_key(arguments),
    base_url = arguments.base_url,
    ca_file = arguments.ca_file,
    retries = RETRIES,
    on_event = listener(arguments),
  }
end

return connection
