local columns = require "clerk.machines.cli.columns"
local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local json = require "clerk.machines.cli.json"
local output = require "clerk.machines.cli.output"
local terminal = require "clerk.machines.cli.terminal"
local parameters = require "clerk.machines.cli.parameters"
local text = require "clerk.machines.cli.text"

local function declare_pair(parser)
  parser:argument("machine-id", "ID of the machine that calls."):target("machine_id")
  parser:argument("other-machine-id", "ID of the machine that is called.")
    :target("other_machine_id")
  output.declare(parser)
  connection.declare(parser)
end

local function sentence(arguments, verb)
  return function()
    local from, to = text.of(arguments.machine_id), text.of(arguments.other_machine_id)
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

A scope has a direction: for calls both ways add two.]],
  declare = declare_pair,
}

function add.run(arguments)
  local scope = connection.open(arguments):create_scope(arguments.machine_id, {
    to_machine_id = arguments.other_machine_id,
  })
  output.print(arguments, scope, sentence(arguments, "may call"))
end

local remove = {
  name = "remove",
  usage = "<machine-id> <other-machine-id>",
  summary = "No longer allow a machine to call another one.",
  epilog = [[
Example:
   clerk-machines scope remove mch_123 mch_456]],
  declare = declare_pair,
}

function remove.run(arguments)
  local scope = connection.open(arguments):delete_scope(arguments.machine_id,
    arguments.other_machine_id)
  output.print(arguments, scope, sentence(arguments, "may no longer call"))
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

Elsewhere than on a terminal each machine is a line of ID, time of creation,
token TTL in seconds and name, with tabs between them.]],
}

function list.declare(parser)
  parameters.declare_machine_id(parser)
  output.declare(parser)
  connection.declare(parser)
end

function list.run(arguments)
  local machine = connection.open(arguments):get(arguments.machine_id)
  local scoped = type(machine.scoped_machines) == "table" and machine.scoped_machines or {}
  if arguments.json then
    local shaped = setmetatable({ data = scoped, total_count = #scoped }, core.result)
    terminal.print(json.encode(shaped) .. "\n")
  elseif #scoped > 0 then
    columns.new(columns.OF_SCOPED_MACHINES):add(scoped)
  else
    terminal.remark(text.of(machine.id) .. " may call no machine.")
  end
end

return {
  summary = "Say which machines a machine may call.",
  commands = { add, remove, list },
}
