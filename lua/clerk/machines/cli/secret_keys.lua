--- The commands secret and rotate.

local arguments = require "clerk.machines.cli.arguments"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local failure = require "clerk.machines.cli.failure"
local names = require "clerk.machines.cli.names"
local output = require "clerk.machines.cli.output"
local progress = require "clerk.machines.cli.progress"
local record = require "clerk.machines.cli.record"
local rotation = require "clerk.machines.cli.rotation"
local sequence = require "clerk.machines.cli.sequence"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"
local units = require "clerk.machines.cli.units"

-- ---------------------------------------------------------------- secret

local secret = {
  name = "secret",
  usage = "<machine>",
  summary = "Show a machine's secret key.",
  epilog = [[
Examples:
   clerk-machines secret mch_123
   (umask 077; clerk-machines secret gateway >gateway.key)]],
}

function secret.declare(parser)
  arguments.declare_machine(parser)
  output.declare(parser)
end

function secret.run(parsed)
  local client = connection.open(parsed)
  local key = client:get_secret_key(names.id(client, parsed.machine))
  parsed.reveal = true
  output.print(parsed, key, function(result)
    return text.of(result.secret) .. "\n"
  end)
end

-- ---------------------------------------------------------------- rotate

local rotate = {
  name = "rotate",
  usage = "<machine>... --previous-token-ttl <time>",
  summary = "Replace machines' secret keys.",
  epilog = [[
Examples:
   clerk-machines rotate gateway --previous-token-ttl 1h
   clerk-machines rotate --all --previous-token-ttl 8h --secrets-dir /run/keys
   clerk-machines rotate --query "shop " --previous-token-ttl 0 --yes

Keys are replaced one at a time. If one fails, the remaining machines' IDs are listed.
The API does not report a key's age: note when you rotate.]],
}

function rotate.declare(parser)
  arguments.declare_machines(parser, "*")
  parser:flag("--all", "All machines of the instance.")
  parser:option("--query", "All machines with this in their names."):argname("<text>")
  parser:option("--previous-token-ttl", "How long the old keys keep working: 0 to 8h.")
    :argname("<time>"):count("1")
    :convert(arguments.duration("--previous-token-ttl", "rotate_secret_key", "previous_token_ttl"))
  arguments.declare_secrets_dir(parser)
  confirmation.declare(parser)
  output.declare_reveal(parser, "secret key")
  output.declare(parser)
end

local function check_choice(parsed)
  local ways = (parsed.machine[1] and 1 or 0) + (parsed.all and 1 or 0) + (parsed.query and 1 or 0)
  if ways ~= 1 then
    failure.raise(ways == 0 and "missing argument 'machine': give machines, --all or --query"
      or "give either machines, --all or --query", failure.MISUSED)
  elseif parsed.query == "" then
    failure.raise("--query must not be empty: --all means all machines", failure.MISUSED)
  end
end

local function choose(client, parsed)
  if parsed.machine[1] then
    return names.machines(client, parsed.machine)
  end
  local machines = client:collect { query = parsed.query, order_by = "created_at" }
  if not machines[1] then
    failure.raise(parsed.query and ("no machine matches '%s'"):format(parsed.query)
      or "there are no machines")
  end
  return machines
end

-- ---------------------------------------------------------------- what people read

local function consequence(ttl, count)
  local keys = count == 1 and "The current key" or "The current keys"
  return ttl == 0 and keys .. " will stop working at once."
    or ("%s will keep working for %s."):format(keys, units.duration(ttl))
end

local function state_of_old_key(ttl)
  return ttl == 0 and "no longer valid" or "valid for another " .. units.duration(ttl)
end

local function confirm_rotate(parsed, machines)
  local lines = { consequence(parsed.previous_token_ttl, #machines) }
  for i, machine in ipairs(#machines > 1 and machines or {}) do
    lines[i + 1] = "  " .. names.label(machine)
  end
  confirmation.ask(parsed, machines[1].instance_id, lines, #machines == 1
    and ("Rotate the key of %s?"):format(names.label(machines[1]))
    or ("Rotate the keys of these %d machines?"):format(#machines))
end

local function place_of(key, parsed)
  return parsed.secrets_dir and text.of(parsed.secrets_dir) .. "/" .. text.of(key.id)
    or record.secret(key.secret, key.id, parsed.reveal)
end

local function print_one(key, parsed)
  terminal.print(record.lines {
    { "Machine", text.of(key.id), text.of(key.name) },
    { "Secret key", place_of(key, parsed) },
    { "Old key", state_of_old_key(parsed.previous_token_ttl) },
  })
end

--- As each is done: what was printed is not lost when the next one fails.
local function print_line(key, parsed)
  local shown = parsed.reveal and not parsed.secrets_dir and text.of(key.secret) .. "  " or ""
  terminal.print(("%s  %s%s\n"):format(text.of(key.id), shown, text.of(key.name)))
end

-- ---------------------------------------------------------------- the command

local function print_keys(keys, parsed)
  output.print_done(parsed, keys, #parsed.machine ~= 1)
  if not parsed.json and #keys > 1 then
    terminal.remark("Old keys: " .. state_of_old_key(parsed.previous_token_ttl) .. ".")
  end
end

local function rotate_all(client, parsed, machines)
  local count, rotate_one = 0, rotation.new(client, parsed.previous_token_ttl, parsed.secrets_dir)
  local show = not parsed.json and (#machines == 1 and print_one or print_line)
  sequence.each(machines, "machines", "rotated", function(machine)
    count = count + 1
    progress.show(#machines > 1 and ("%d of %d machines"):format(count, #machines) or nil)
    local key = rotate_one(machine)
    if show then
      show(key, parsed)
    end
    return key
  end, function(keys)
    print_keys(keys, parsed)
  end)
end

function rotate.run(parsed)
  check_choice(parsed)
  arguments.check_secrets_dir(parsed)
  local is_needed = confirmation.is_needed(parsed)
  local client = connection.open(parsed)
  local machines = choose(client, parsed)
  if is_needed then
    confirm_rotate(parsed, machines)
  end
  rotate_all(client, parsed, machines)
end

return { secret, rotate }
