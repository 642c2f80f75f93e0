--- The commands list, get, create, update and delete.

local arguments = require "clerk.machines.cli.arguments"
local columns = require "clerk.machines.cli.columns"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local failure = require "clerk.machines.cli.failure"
local output = require "clerk.machines.cli.output"
local record = require "clerk.machines.cli.record"
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
   clerk-machines list --json | jq -r '.data[].name'
   clerk-machines list | cut -f 1

On a terminal the table fits the width. Piped to another program, ]]
    .. "each machine is one line: ID, creation time, token lifetime in seconds, number of scopes "
    .. "and name, separated by tabs.",
}

function list.declare(parser)
  parser:option("--query", "Only machines with this ID, or with this in their name.")
    :argname("<text>")
  parser:option("--order-by", "created_at or name; - before it reverses the order (default: "
    .. "-created_at, newest first)."):argname("<field>")
  output.declare(parser)
  connection.declare(parser)
end

--- Prints page by page what the API would send as one page.
local function print_json(pages)
  local opening, count, total_count = '{\n  "data": [', 0, nil
  for page in pages do
    local machines = {}
    for i, machine in ipairs(page.data) do
      machines[i] = "\n    " .. output.json(machine):gsub("\n", "\n    ")
    end
    terminal.print(opening .. table.concat(machines, ","))
    opening = ","
    count, total_count = count + #page.data, page.total_count
  end
  local closing = count > 0 and "\n  ]" or opening .. "]"
  local total = output.json(total_count or count)
  terminal.print(('%s,\n  "total_count": %s\n}\n'):format(closing, total))
end

local function print_table(pages, query)
  local printed = columns.new(columns.OF_MACHINES)
  local is_empty = true
  for page in pages do
    is_empty = false
    printed:add(page.data)
  end
  if is_empty then
    terminal.remark(query and ("No machine matches '%s'."):format(query)
      or "There are no machines.")
  end
end

function list.run(parsed)
  local pages = connection.open(parsed):pages {
    query = parsed.query,
    order_by = parsed.order_by,
  }
  if parsed.json then
    print_json(pages)
  else
    print_table(pages, parsed.query)
  end
  terminal.show_status(nil)
end

-- ---------------------------------------------------------------- get

local get = {
  name = "get",
  usage = "<machine-id>",
  summary = "Show a machine.",
  epilog = [[
Examples:
   clerk-machines get mch_123
   clerk-machines get mch_123 --json | jq .default_token_ttl]],
}

function get.declare(parser)
  arguments.declare_machine_id(parser)
  output.declare(parser)
  connection.declare(parser)
end

function get.run(parsed)
  output.print(parsed, connection.open(parsed):get(parsed.machine_id), record.text)
end

-- ---------------------------------------------------------------- create

local create = {
  name = "create",
  usage = "<name>",
  summary = "Create a machine.",
  epilog = [[
Examples:
   clerk-machines create "billing worker"
   clerk-machines create gateway --scope mch_123 --default-token-ttl 15m
   clerk-machines create worker --json --reveal | jq -r .secret_key]],
}

function create.declare(parser)
  parser:argument("name", "Name of the machine.")
  parser:option("--scope", "A machine that it may call (repeatable).")
    :argname("<machine-id>"):count("*")
  arguments.declare_token_ttl(parser, "create")
  output.declare_reveal(parser)
  output.declare(parser)
  connection.declare(parser)
end

function create.run(parsed)
  local machine = connection.open(parsed):create {
    name = parsed.name,
    scoped_machines = parsed.scope[1] and parsed.scope or nil,
    default_token_ttl = parsed.default_token_ttl,
  }
  output.print(parsed, machine, record.text)
end

-- ---------------------------------------------------------------- update

local update = {
  name = "update",
  usage = "<machine-id>",
  summary = "Change a machine's name or token lifetime.",
  epilog = [[
Examples:
   clerk-machines update mch_123 --name "billing worker 2"
   clerk-machines update mch_123 --default-token-ttl 1h]],
}

function update.declare(parser)
  arguments.declare_machine_id(parser)
  parser:option("--name", "New name."):argname("<name>")
  arguments.declare_token_ttl(parser, "update")
  output.declare(parser)
  connection.declare(parser)
end

function update.run(parsed)
  if not (parsed.name or parsed.default_token_ttl) then
    failure.raise("nothing to change: give --name or --default-token-ttl", failure.MISUSED)
  end
  local machine = connection.open(parsed):update(parsed.machine_id, {
    name = parsed.name,
    default_token_ttl = parsed.default_token_ttl,
  })
  output.print(parsed, machine, function(updated)
    return updated.id and record.text(updated) -- a 204 has no content
      or "Updated " .. text.of(parsed.machine_id) .. ".\n"
  end)
end

-- ---------------------------------------------------------------- delete

local delete = {
  name = "delete",
  usage = "<machine-id>",
  summary = "Delete a machine and every scope that names it.",
  epilog = [[
Examples:
   clerk-machines delete mch_123
   clerk-machines delete mch_123 --yes]],
}

function delete.declare(parser)
  arguments.declare_machine_id(parser)
  confirmation.declare(parser)
  output.declare(parser)
  connection.declare(parser)
end

function delete.run(parsed)
  local client = connection.open(parsed)
  confirmation.require(parsed, client, "Delete machine %s?")
  output.print(parsed, client:delete(parsed.machine_id), function()
    return "Deleted " .. text.of(parsed.machine_id) .. ".\n"
  end)
end

return { list, get, create, update, delete }
