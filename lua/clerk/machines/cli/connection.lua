--- The client of a command, made from the global options.

local failure = require "clerk.machines.cli.failure"
local files = require "clerk.machines.plan.files"
local machines = require "clerk.machines"
local options = require "clerk.machines.options"
local progress = require "clerk.machines.cli.progress"
local terminal = require "clerk.machines.cli.terminal"

local connection = {}

--- The global options. What takes a value has an `argname`.
connection.OPTIONS = {
  {
    name = "--secret-key-file", argname = "<file>",
    summary = "Read the secret key of the instance from this file instead of $CLERK_SECRET_KEY.",
  },
  {
    name = "--machine-secret-key-file", argname = "<file>",
    summary = "Read the secret key of a machine from this file instead of "
      .. "$CLERK_MACHINE_SECRET_KEY.",
  },
  {
    name = "--base-url", argname = "<url>",
    summary = "URL of the API (default: $CLERK_API_URL, or https://api.clerk.com/v1).",
  },
  {
    name = "--ca-file", argname = "<file>",
    summary = "More CA certificates to trust (PEM).",
  },
  {
    name = "--verbose",
    summary = "Report every attempt and wait on standard error.",
  },
}

--- Declares the global options.
---@param parser table of argparse
---@return table[] options
function connection.declare(parser)
  local declared = {}
  for i, row in ipairs(connection.OPTIONS) do
    declared[i] = row.argname and parser:option(row.name, row.summary):argname(row.argname)
      or parser:flag(row.name, row.summary)
  end
  return declared
end

-- ---------------------------------------------------------------- the keys

local function read_key_file(path)
  local key, problem = files.read(path)
  if not key then
    failure.raise("cannot read the secret key: " .. problem, failure.MISUSED)
  end
  return key:gsub("^\239\187\191", ""):match("^%s*(.-)%s*$") -- a BOM, and what editors add
end

--- A key and where it comes from, or nil.
---@param parsed table the command's arguments
---@param name string the option of machines.new that takes it
---@return string|nil key
---@return string|nil source
function connection.key(parsed, name)
  local file, variable = parsed[name .. "_file"], options[name].variable
  if file then
    return read_key_file(file), file
  end
  local key = os.getenv(variable) or ""
  if key ~= "" then
    return key, "$" .. variable
  end
end

local MACHINES_KEY = "; `clerk-machines secret <machine>` shows the key of a machine"

--- Says how to give one of these keys.
local function refuse_no_key(names, alternative)
  local ways = {}
  for i, name in ipairs(names) do
    ways[i] = ("set %s or give --%s-file"):format(options[name].variable, (name:gsub("_", "-")))
  end
  local is_machines = #names == 1 and names[1] == "machine_secret_key"
  failure.raise(("there is no %ssecret key: %s%s%s"):format(is_machines and "machine's " or "",
    table.concat(ways, ", or "), alternative or "", is_machines and MACHINES_KEY or ""),
    failure.MISUSED)
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

local INSTANCE = { "secret_key" }

--- Opens a client, and notes in the arguments which key its calls take, `key_name`, and by that
--- whether the instance is live: `environment`. They may have a `patience_ms` of the command.
---@param parsed table the command's arguments
---@param names? string[] of the keys of which one is needed, as an operation has them in `keys`;
---by default the instance's
---@param alternative? string ", or give …", when there is none
---@return clerk.machines.Client
function connection.open(parsed, names, alternative)
  local keys = {}
  parsed.key_name = nil
  for _, name in ipairs(names or INSTANCE) do
    keys[name] = connection.key(parsed, name)
    parsed.key_name = parsed.key_name or keys[name] and name
  end
  if not parsed.key_name then
    refuse_no_key(names or INSTANCE, alternative)
  end
  parsed.environment = connection.environment(keys[parsed.key_name])
  local patience_ms = parsed.patience_ms or PATIENCE_MS
  return machines.new {
    secret_key = keys.secret_key,
    machine_secret_key = keys.machine_secret_key,
    base_url = parsed.base_url and options.base_url.adapt(parsed.base_url), -- as from the variable
    ca_file = parsed.ca_file,
    retries = { backoff = { max_elapsed_time = patience_ms } },
    on_event = listener(parsed, patience_ms),
  }
end

return connection
