--- The command scope: add, remove and list.

local arguments = require "clerk.machines.cli.arguments"
local columns = require "clerk.machines.cli.columns"
local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local output = require "clerk.machines.cli.output"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local function declare_pair(parser)
  arguments.declare_machine_id(parser, "ID of the machine that calls.")
  parser:argument("other-machine-id", "ID of the machine that is called.")
    :target("other_machine_id")
  output.declare(parser)
  connection.declare(parser)
end

local function sentence(parsed, verb)
  return function()
    local from, to = text.of(parsed.machine_id), text.of(parsed.other_machine_id)
    return ("%s %s %s.\n"):format(from, verb, to)
  end
end

-- ---------------------------------------------------------------- add, remove

local add = {
  name = "add",
  usage = "<machine-id> <other-machine-id>",
  summary = "Allow a machine to call another one.",
  epilog = [[
Example:
   clerk-machines scope add mch_123 mch_456

A scope has one direction. Add two for calls in both directions.]],
  declare = declare_pair,
}

function add.run(parsed)
  local scope = connection.open(parsed):create_scope(parsed.machine_id, {
    to_machine_id = parsed.other_machine_id,
  })
  output.print(parsed, scope, sentence(parsed, "may call"))
end

local remove = {
  name = "remove",
  usage = "<machine-id> <other-machine-id>",
  summary = "Stop a machine from calling another one.",
  epilog = [[
Example:
   clerk-machines scope remove mch_123 mch_456]],
  declare = declare_pair,
}

function remove.run(parsed)
  local scope = connection.open(parsed):delete_scope(parsed.machine_id, parsed.other_machine_id)
  output.print(parsed, scope, sentence(parsed, "may no longer call"))
end

-- ---------------------------------------------------------------- list

local list = {
  name = "list",
  usage = "<machine-id>",
  summary = "List the machines that a machine may call.",
  epilog = [[
Examples:
   clerk-machines scope list mch_123
   clerk-machines scope list mch_123 --json | jq -r '.data[].id'

On a terminal the table fits the width. Piped to another program, ]]
    .. "each machine is one line: ID, creation time, token lifetime in seconds and name, "
    .. "separated by tabs.",
}

function list.declare(parser)
  arguments.declare_machine_id(parser)
  output.declare(parser)
  connection.declare(parser)
end

function list.run(parsed)
  local machine = connection.open(parsed):get(parsed.machine_id)
  local scoped = type(machine.scoped_machines) == "table" and machine.scoped_machines or {}
  if parsed.json then
    local page = setmetatable({ data = scoped, total_count = #scoped }, core.result)
    terminal.print(output.json(page) .. "\n")
  elseif #scoped > 0 then
    columns.new(columns.OF_SCOPED_MACHINES):add(scoped)
  else
    terminal.remark(text.of(machine.id) .. " may not call any machine.")
  end
end

return { {
  name = "scope",
  summary = "Show and change which machines a machine may call.",
  epilog = [[
Examples:
   clerk-machines scope add mch_123 mch_456
   clerk-machines scope list mch_123]],
  commands = { add, remove, list },
} }
