--- The command scope: add, remove and list.

local arguments = require "clerk.machines.cli.arguments"
local columns = require "clerk.machines.cli.columns"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local names = require "clerk.machines.cli.names"
local output = require "clerk.machines.cli.output"
local plan = require "clerk.machines.plan"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local function declare_pair(parser)
  arguments.declare_machine(parser, "The machine that calls: its ID or its exact name.")
  parser:argument("other-machine", "The machine that is called."):target("other_machine")
  output.declare(parser)
end

--- The IDs of both.
local function resolve(client, parsed)
  return names.id(client, parsed.machine), names.id(client, parsed.other_machine)
end

local function sentence(from, verb, to)
  return function()
    return ("%s %s %s.\n"):format(text.of(from), verb, text.of(to))
  end
end

-- ---------------------------------------------------------------- add

local add = {
  name = "add",
  usage = "<machine> <other-machine>",
  summary = "Allow a machine to call another one.",
  epilog = [[
Examples:
   clerk-machines scope add mch_123 mch_456
   clerk-machines scope add gateway billing

A scope has one direction. Add two for calls in both directions.]],
  declare = declare_pair,
}

function add.run(parsed)
  local client = connection.open(parsed)
  local from, to = resolve(client, parsed)
  local scope = client:create_scope(from, { to_machine_id = to })
  output.print(parsed, scope, sentence(from, "may call", to))
end

-- ---------------------------------------------------------------- remove

local remove = {
  name = "remove",
  usage = "<machine> <other-machine>",
  summary = "Stop a machine from calling another one.",
  epilog = [[
Examples:
   clerk-machines scope remove mch_123 mch_456
   clerk-machines scope remove gateway billing --yes]],
}

function remove.declare(parser)
  declare_pair(parser)
  confirmation.declare(parser)
end

local function confirm_remove(client, parsed)
  local from = names.machines(client, { parsed.machine })[1]
  local to = names.machines(client, { parsed.other_machine })[1]
  local line = ("%s can no longer call %s."):format(names.label(from), names.label(to))
  confirmation.ask(parsed, from.instance_id, { line }, "Remove this scope?")
  return from.id, to.id
end

function remove.run(parsed)
  local is_needed = confirmation.is_needed(parsed)
  local client = connection.open(parsed)
  local choose = is_needed and confirm_remove or resolve
  local from, to = choose(client, parsed)
  local scope = client:delete_scope(from, to)
  output.print(parsed, scope, sentence(from, "may no longer call", to))
end

-- ---------------------------------------------------------------- list

local list = {
  name = "list",
  usage = "<machine>",
  summary = "List what a machine may call, and what may call it.",
  epilog = [[
Examples:
   clerk-machines scope list gateway
   clerk-machines scope list mch_123 --json | jq -r '.callers[].id'

On a terminal the tables fit the width. With --tsv, ]]
    .. "each machine is one line: ID, creation time, token lifetime in seconds, direction and "
    .. "name, separated by tabs.",
}

function list.declare(parser)
  arguments.declare_machine(parser)
  output.declare_table(parser)
end

--- As a machine appears in the scopes of another one.
local function without_scopes(machines)
  local copies = {}
  for i, machine in ipairs(machines) do
    copies[i] = {}
    for name, value in pairs(machine) do
      copies[i][name] = name ~= "scoped_machines" and value or nil
    end
  end
  return copies
end

local function print_lines(machines, direction)
  for _, machine in ipairs(machines) do
    machine.direction = direction
  end
  columns.new(columns.OF_SCOPES, false):add(machines)
end

local function print_table(title, machines)
  if machines[1] then
    terminal.print(title .. ":\n")
    columns.new(columns.OF_SCOPED_MACHINES, true):add(machines)
  else
    terminal.print(title .. " no machine.\n")
  end
end

local function print_tables(machine, callees, callers)
  print_table(text.of(machine.name) .. " may call", callees)
  terminal.print("\n")
  print_table(text.of(machine.name) .. " may be called by", callers)
end

function list.run(parsed)
  local client = connection.open(parsed)
  local machine = names.machines(client, { parsed.machine })[1]
  local instance = plan.instance(client)
  local callees = instance:callees(machine.id)
  local callers = without_scopes(instance:callers(machine.id))
  if parsed.json then
    local lists = { data = callees, total_count = #callees, callers = callers }
    terminal.print(output.json(lists) .. "\n")
  elseif output.is_table(parsed) then
    print_tables(machine, callees, callers)
  else
    print_lines(callees, "may call")
    print_lines(callers, "called by")
  end
end

return { {
  name = "scope",
  summary = "Show and change which machines a machine may call.",
  epilog = [[
Examples:
   clerk-machines scope add mch_123 mch_456
   clerk-machines scope list gateway]],
  commands = { add, remove, list },
} }
