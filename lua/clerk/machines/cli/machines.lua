--- The commands list, get, create, update and delete.

local arguments = require "clerk.machines.cli.arguments"
local columns = require "clerk.machines.cli.columns"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local names = require "clerk.machines.cli.names"
local output = require "clerk.machines.cli.output"
local plan = require "clerk.machines.plan"
local record = require "clerk.machines.cli.record"
local sequence = require "clerk.machines.cli.sequence"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

-- ---------------------------------------------------------------- list

local list = {
  name = "list",
  summary = "List machines.",
  epilog = [[
Examples:
   clerk-machines list
   clerk-machines list --query billing --order-by name
   clerk-machines list --limit 5 --json | jq -r '.data[].name'
   clerk-machines list | cut -f 1
   watch clerk-machines list --table

On a terminal the table fits the width. With --tsv, ]]
    .. "each machine is one line: ID, creation time, token lifetime in seconds, number of scopes "
    .. "and name, separated by tabs.",
}

local LARGEST_PAGE = core.operations.list.parameters.limit.max

function list.declare(parser)
  parser:option("--query", "Only machines with this ID, or with this in their name.")
    :argname("<text>")
  parser:option("--order-by", "created_at or name; - before it reverses the order (default: "
    .. "-created_at, newest first)."):argname("<field>")
  parser:option("--limit", "List at most this many machines."):argname("<count>")
    :convert(arguments.integer("--limit", 1, 1000000000))
  output.declare_table(parser)
end

--- Iterates over arrays of machines, with the latest total_count.
local function limited_pages(parsed)
  local left = parsed.limit or math.huge
  local next_page = connection.open(parsed):pages {
    query = parsed.query,
    order_by = parsed.order_by,
    limit = math.min(left, LARGEST_PAGE),
  }
  return function()
    local page = left > 0 and next_page()
    if page then
      local machines = {}
      for i = 1, math.min(left, #page.data) do
        machines[i] = page.data[i]
      end
      left = left - #machines
      return machines, page.total_count
    end
  end
end

local function print_lines(pages, parsed)
  local printed = columns.new(columns.OF_MACHINES, output.is_table(parsed))
  local is_empty = true
  for page in pages do
    is_empty = false
    printed:add(page)
  end
  if is_empty then
    terminal.remark(parsed.query and ("No machine matches '%s'."):format(parsed.query)
      or "There are no machines.")
  end
end

function list.run(parsed)
  local pages = limited_pages(parsed)
  if parsed.json then
    output.print_pages(pages, "data")
  else
    print_lines(pages, parsed)
  end
end

-- ---------------------------------------------------------------- get

local get = {
  name = "get",
  usage = "<machine>...",
  summary = "Show machines, what they may call and what may call them.",
  epilog = [[
Examples:
   clerk-machines get mch_123
   clerk-machines get gateway "billing worker"
   clerk-machines get mch_123 --json | jq .default_token_ttl]],
}

function get.declare(parser)
  arguments.declare_machines(parser, "+")
  output.declare(parser)
end

local function print_records(client, machines)
  local instance = plan.instance(client)
  local records = {}
  for i, machine in ipairs(machines) do
    records[i] = record.text(machine, false, instance:callers(machine.id))
  end
  terminal.print(table.concat(records, "\n"))
end

function get.run(parsed)
  local client = connection.open(parsed)
  local machines = names.machines(client, parsed.machine)
  if parsed.json then
    output.print_json(machines, #parsed.machine > 1)
  else
    print_records(client, machines)
  end
end

-- ---------------------------------------------------------------- create

local create = {
  name = "create",
  usage = "<name>",
  summary = "Create a machine.",
  epilog = [[
Examples:
   clerk-machines create "billing worker"
   clerk-machines create gateway --scope "billing worker" --default-token-ttl 15m
   clerk-machines create worker --json --reveal | jq -r .secret_key]],
}

function create.declare(parser)
  parser:argument("name", "Name of the machine.")
  parser:option("--scope", "A machine that it may call, by its ID or exact name (repeatable).")
    :argname("<machine>"):count("*")
  arguments.declare_token_ttl(parser, "create")
  output.declare_reveal(parser, "secret key")
  output.declare(parser)
end

function create.run(parsed)
  local client, scopes = connection.open(parsed), {}
  for i, callee in ipairs(names.ids(client, parsed.scope)) do
    scopes[i] = callee.id
  end
  local machine = client:create {
    name = parsed.name,
    scoped_machines = scopes[1] and scopes or nil,
    default_token_ttl = parsed.default_token_ttl,
  }
  output.print(parsed, machine, record.text)
end

-- ---------------------------------------------------------------- update

local update = {
  name = "update",
  usage = "<machine>",
  summary = "Change a machine's name or token lifetime.",
  epilog = [[
Examples:
   clerk-machines update mch_123 --name "billing worker 2"
   clerk-machines update mch_123 --default-token-ttl 1h]],
}

function update.declare(parser)
  arguments.declare_machine(parser)
  parser:option("--name", "New name."):argname("<name>")
  arguments.declare_token_ttl(parser, "update")
  output.declare(parser)
end

function update.run(parsed)
  if not (parsed.name or parsed.default_token_ttl) then
    failure.raise("nothing to change: give --name or --default-token-ttl", failure.MISUSED)
  end
  local client = connection.open(parsed)
  local id = names.id(client, parsed.machine)
  local machine = client:update(id, {
    name = parsed.name,
    default_token_ttl = parsed.default_token_ttl,
  })
  output.print(parsed, machine, function(updated)
    return updated.id and record.text(updated) -- a 204 has no content
      or "Updated " .. text.of(id) .. ".\n"
  end)
end

-- ---------------------------------------------------------------- delete

local delete = {
  name = "delete",
  usage = "<machine>...",
  summary = "Delete machines and every scope that names them.",
  epilog = [[
Examples:
   clerk-machines delete mch_123
   clerk-machines delete "billing worker" mch_123 --yes

It says what can no longer call the machines before it asks.]],
}

function delete.declare(parser)
  arguments.declare_machines(parser, "+")
  confirmation.declare(parser)
  output.declare(parser)
end

--- "gateway and cron can no longer call billing."
local function cut_off(instance, machine)
  local callers = {}
  for i, caller in ipairs(instance:callers(machine.id)) do
    callers[i] = instance:label(caller)
  end
  if not callers[1] then
    return ("No machine may call %s."):format(instance:label(machine))
  end
  return ("%s can no longer call %s."):format(text.enumerate(callers), instance:label(machine))
end

local function confirm_delete(parsed, client, machines)
  local instance, lines = plan.instance(client), {}
  for i, machine in ipairs(machines) do
    lines[i] = cut_off(instance, machine)
  end
  local question = #machines == 1 and "Delete machine " .. names.label(machines[1]) .. "?"
    or ("Delete these %d machines?"):format(#machines)
  confirmation.ask(parsed, instance.id, lines, question)
end

local function delete_all(client, parsed, machines)
  sequence.each(machines, "machines", "deleted", function(machine)
    local result = client:delete(machine.id)
    if not parsed.json then
      terminal.print("Deleted " .. text.of(machine.id) .. ".\n")
    end
    return result
  end, function(results)
    output.print_done(parsed, results, #parsed.machine > 1)
  end)
end

function delete.run(parsed)
  local is_needed = confirmation.is_needed(parsed)
  local client = connection.open(parsed)
  local machines = (is_needed and names.machines or names.ids)(client, parsed.machine)
  if is_needed then
    confirm_delete(parsed, client, machines)
  end
  delete_all(client, parsed, machines)
end

return { list, get, create, update, delete }
