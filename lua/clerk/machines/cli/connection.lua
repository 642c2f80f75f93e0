--- The client of a command, made from the global options.

local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local progress = require "clerk.machines.cli.progress"
local terminal = require "clerk.machines.cli.terminal"

local connection = {}

--- Declares the global options.
---@param parser table of argparse
---@return table[] options
function connection.declare(parser)
  return {
    parser:option("--secret-key-file", "Read the secret key from this file instead of "
      .. "$CLERK_SECRET_KEY."):argname("<file>"),
    parser:option("--base-url", "URL of the API (default: $CLERK_API_URL, or "
      .. "https://api.clerk.com/v1)."):argname("<url>"),
    parser:option("--ca-file", "More CA certificates to trust (PEM)."):argname("<file>"),
    parser:flag("--verbose", "Report every attempt and wait on standard error."),
  }
end

-- ---------------------------------------------------------------- the key

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

--- The key and where it comes from, or nil.
---@param parsed table the command's arguments
---@return string|nil key
---@return string|nil source
function connection.key(parsed)
  if parsed.secret_key_file then
    return read_key_file(parsed.secret_key_file), parsed.secret_key_file
  end
  local key = os.getenv("CLERK_SECRET_KEY") or ""
  if key ~= "" then
    return key, "$CLERK_SECRET_KEY"
  end
end

local ENVIRONMENTS = { sk_live_ = "live", sk_test_ = "test" }

--- Whether a key's instance is "live" or "test", by how the key begins; nil when that does not say.
---@param key string
---@return "live"|"test"|nil
function connection.environment(key)
  return ENVIRONMENTS[key:sub(1, 8)]
end

-- ---------------------------------------------------------------- the client

local function listener(parsed, patience_ms)
  if parsed.verbose then
    return progress.verbose()
  elseif terminal.is(terminal.STDERR) then
    return progress.brief
  end
  return progress.once(patience_ms)
end

--- A person waits, but not for long.
local PATIENCE_MS = 20000

--- Opens a client, and notes in the arguments whether its instance is live: `environment`. They may
--- have a `patience_ms` of the command.
---@param parsed table the command's arguments
---@return clerk.machines.Client
function connection.open(parsed)
  local key = connection.key(parsed)
  if not key then
    failure.raise("there is no secret key: set CLERK_SECRET_KEY or give --secret-key-file",
      failure.MISUSED)
  end
  parsed.environment = connection.environment(key)
  local patience_ms = parsed.patience_ms or PATIENCE_MS
  return machines.new {
    secret_key = key,
    base_url = parsed.base_url,
    ca_file = parsed.ca_file,
    retries = { backoff = { max_elapsed_time = patience_ms } },
    on_event = listener(parsed, patience_ms),
  }
end

return connection
