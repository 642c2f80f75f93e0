--- The command whoami: which instance, which keys, which API, and whether it can be reached.

local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local errors = require "clerk.machines.errors"
local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local output = require "clerk.machines.cli.output"
local record = require "clerk.machines.cli.record"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local whoami = {
  name = "whoami",
  summary = "Show the instance, the keys and the API, and whether it responds.",
  epilog = [[
Examples:
   clerk-machines whoami
   clerk-machines whoami --json | jq -r .instance_id

The instance is known only if it has a machine. Try this first when something is odd.]],
}

function whoami.declare(parser)
  output.declare(parser):description("Print JSON.")
end

-- ---------------------------------------------------------------- finding out

local NAMES = { "secret_key", "machine_secret_key" }

local NEEDED = {
  secret_key = { prefix = "sk_", whose = "an instance's" },
  machine_secret_key = { prefix = "ak_", whose = "a machine's" },
}

--- What a key is, and what it should be.
local function kind_of(name, key)
  local prefix = key:sub(1, 3)
  local kind, needed = errors.KEY_KINDS[prefix] or "of an unknown kind", NEEDED[name]
  return prefix == needed.prefix and kind or ("%s: %s is needed"):format(kind, needed.whose)
end

--- How many seconds this computer's clock is ahead. A date has no fractions of a second, so that
--- less than two are none.
local function clock_skew(headers, sent_at)
  local date = core.http_date(headers and headers.date or "")
  if not date then
    return nil
  end
  local skew = sent_at - date
  if skew < 0 then
    skew = math.min(0, os.time() - date)
  end
  return math.abs(skew) < 2 and 0 or skew
end

local ONCE = { retries = false }

--- What the API answers only to a key that it knows.
local QUESTIONS = {}

function QUESTIONS.secret_key(client)
  return client:list({ limit = 1 }, ONCE)
end

--- About a token that does not exist.
function QUESTIONS.machine_secret_key(client)
  return client:verify_token({ token = "mt_" .. ("0"):rep(32) }, ONCE)
end

--- What is wrong; nil when the key was answered.
local function problem_of(name, err)
  local is_machine = name == "machine_secret_key"
  if is_machine and err.type == "ClerkErrors" and err.status == 404 then
    return nil
  end
  return (is_machine and "the machine's key: " or "") .. failure.line_of(err)
end

local function ask(client, name)
  local sent_at = os.time()
  local ok, result, info = pcall(QUESTIONS[name], client)
  if not ok and not machines.is_error(result) then
    error(result, 0)
  end
  local answer = ok and info or result
  local machine = ok and result.data and result.data[1] or {}
  return {
    instance_id = machine.instance_id,
    is_reachable = answer.status ~= nil,
    status = answer.status,
    elapsed_ms = answer.elapsed_ms,
    clock_skew_seconds = clock_skew(answer.headers, sent_at),
    problem = not ok and problem_of(name, result) or nil,
  }
end

--- With each key, until there is a problem; what was found first counts.
local function ask_all(client, parsed)
  local found
  for _, name in ipairs(NAMES) do
    if connection.key(parsed, name) and not (found and found.problem) then
      local answer = ask(client, name)
      found = found or answer
      found.problem = answer.problem
    end
  end
  return found
end

local function find_out(parsed)
  local client = connection.open(parsed, NAMES)
  local found = ask_all(client, parsed)
  found.version = core.version
  found.base_url = client.settings.base_url
  found.api_version = client.settings.api_version
  found.environment = parsed.environment
  found.keys = {}
  for _, name in ipairs(NAMES) do
    local key, source = connection.key(parsed, name)
    found.keys[#found.keys + 1] = key and {
      option = name, kind = kind_of(name, key), source = source,
    }
  end
  return found
end

-- ---------------------------------------------------------------- showing

--- With "(live)" in red.
local function instance_text(found)
  local instance = type(found.instance_id) == "string" and text.of(found.instance_id)
    or found.problem and "unknown" or confirmation.UNKNOWN[found.keys[1].option]
  local mark = found.environment and ("(%s)"):format(found.environment) or ""
  return (instance .. " " .. (found.environment == "live" and terminal.red(mark) or mark))
    :gsub(" $", "")
end

local function reachable_text(found)
  local time = ("%d ms"):format(found.elapsed_ms)
  if not found.problem then
    return "yes, in " .. time
  end
  return (found.is_reachable and "yes, but: " or "no: ") .. found.problem
end

local function clock_text(skew)
  if not skew then
    return "unknown: the API sent no date"
  elseif skew == 0 then
    return "agrees with the API's"
  end
  return ("%d s %s the API's"):format(math.abs(skew), skew > 0 and "ahead of" or "behind")
end

local function lines_of(found)
  local rows = { { "Instance", (instance_text(found)) } }
  for i, key in ipairs(found.keys) do
    rows[i + 1] = { "Key", ("%s (%s)"):format(key.kind, text.clean(key.source)) }
  end
  for _, row in ipairs {
    { "API", text.clean(found.base_url) },
    { "API version", found.api_version },
    { "Reachable", reachable_text(found) },
    { "Clock", clock_text(found.clock_skew_seconds) },
    { "Version", terminal.PROGRAM .. " " .. found.version },
  } do
    rows[#rows + 1] = row
  end
  return record.lines(rows)
end

function whoami.run(parsed)
  local found = find_out(parsed)
  output.print(parsed, found, lines_of)
  if found.problem then
    failure.raise(nil)
  end
end

return { whoami }
