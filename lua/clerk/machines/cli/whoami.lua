--- The command whoami: which instance, which key, which API, and whether it can be reached.

local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local output = require "clerk.machines.cli.output"
local record = require "clerk.machines.cli.record"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local whoami = {
  name = "whoami",
  summary = "Show the instance, the key and the API, and whether it responds.",
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

local KINDS = {
  sk = "an instance's secret key",
  ak = "a machine's secret key: an instance's is needed",
  pk = "a publishable key: a secret key is needed",
}

local function kind_of(key)
  return KINDS[key:match("^(%l%l)_")] or "of an unknown kind"
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

--- Asks the API for one machine.
local function ask(client)
  local sent_at = os.time()
  local ok, result, info = pcall(client.list, client, { limit = 1 }, { retries = false })
  if not ok and not machines.is_error(result) then
    error(result, 0)
  end
  local answer = ok and info or result
  local machine = ok and result.data[1] or {}
  return {
    instance_id = machine.instance_id,
    is_reachable = answer.status ~= nil,
    status = answer.status,
    elapsed_ms = answer.elapsed_ms,
    clock_skew_seconds = clock_skew(answer.headers, sent_at),
    problem = not ok and failure.line_of(result) or nil,
  }
end

local function find_out(parsed)
  local client = connection.open(parsed)
  local key, source = connection.key(parsed)
  local found = ask(client)
  found.version = core.version
  found.base_url = client.settings.base_url
  found.api_version = client.settings.api_version
  found.key_source, found.key_kind = source, kind_of(key)
  found.environment = parsed.environment
  return found
end

-- ---------------------------------------------------------------- showing

--- With "(live)" in red.
local function instance_text(found)
  local instance = type(found.instance_id) == "string" and text.of(found.instance_id)
    or found.problem and "unknown" or "unknown, since it has no machines"
  local mark = found.environment and ("(%s)"):format(found.environment) or ""
  return instance .. " " .. (found.environment == "live" and terminal.red(mark) or mark)
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
  return record.lines {
    { "Instance", instance_text(found) },
    { "Key", ("%s (%s)"):format(found.key_kind, text.clean(found.key_source)) },
    { "API", text.clean(found.base_url) },
    { "API version", found.api_version },
    { "Reachable", reachable_text(found) },
    { "Clock", clock_text(found.clock_skew_seconds) },
    { "Version", terminal.PROGRAM .. " " .. found.version },
  }
end

function whoami.run(parsed)
  local found = find_out(parsed)
  output.print(parsed, found, lines_of)
  if found.problem then
    failure.raise(nil)
  end
end

return { whoami }
