--- The parser of the command line, made from the commands' tables. Each has a `name`, a `summary`,
--- an `epilog` (examples) and either `commands` of its own, or `declare` (its arguments) and `run`.

local connection = require "clerk.machines.cli.connection"
local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"

local GROUPS = { "whoami", "machines", "secret_keys", "scope", "token", "graph", "plan", "emulate" }

local EPILOG = [[
Examples:
   clerk-machines whoami
   clerk-machines create "billing worker"
   clerk-machines list --query billing
   clerk-machines plan machines.lua

Environment:
   CLERK_SECRET_KEY      The instance's secret key.
   CLERK_MACHINE_SECRET_KEY
                         A machine's secret key, for its tokens.
   CLERK_API_URL         URL of the API (default: https://api.clerk.com).
   COLUMNS               Columns to use instead of the terminal's width.
   NO_COLOR              Turns off colours.

Exit status:
   0                     Done.
   1                     Failed (refused by the API, no connection, no output).
   2                     Used wrongly (an argument or a setting is invalid).
   3                     `plan --exit-code`: there is something to change.

Run `clerk-machines <command> --help` for a command's options and examples.]]

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local WIDTH = 80 -- of help where there is room
local NARROW = 60 -- below it, descriptions get lines of their own

local parser = {}

local GLOBAL = "Options of all commands that use the API: clerk-machines --help"

--- What each parser's command is called: "clerk-machines scope add".
local paths = {}

-- ---------------------------------------------------------------- values

--- The options of all commands that take a value.
local takes_value = {}

local function note_options(subparser)
  local declare = subparser.option
  function subparser.option(self, name, ...)
    if name then -- a flag has none at first
      takes_value[name] = true
    end
    return declare(self, name, ...)
  end
end

--- Whatever follows an option that takes a value is that value, also when it begins with "-".
local function with_values_joined(arguments)
  local joined, i = {}, 1
  while arguments[i] and arguments[i] ~= "--" do
    local has_value = takes_value[arguments[i]] and arguments[i + 1]
    joined[#joined + 1] = has_value and arguments[i] .. "=" .. arguments[i + 1] or arguments[i]
    i = i + (has_value and 2 or 1)
  end
  for rest = i, #arguments do
    joined[#joined + 1] = arguments[rest]
  end
  return joined
end

-- ---------------------------------------------------------------- help

--- A flag that prints something and ends the command: argparse would not notice a failure to print.
local function printing(show)
  return function()
    terminal.print(show() .. "\n")
    failure.raise(nil, failure.SUCCEEDED)
  end
end

local function add_help(of)
  of:add_help(false)
  return of:flag("-h --help", "Show this help."):action(printing(function()
    terminal.name = paths[of]
    return of:get_help()
  end))
end

local function fit_help(of, margin)
  local width = math.min(WIDTH, terminal.width())
  of:help_max_width(width):help_description_margin(width < NARROW and 6 or margin)
end

local show_version = printing(function()
  return ("%s %s"):format(terminal.PROGRAM, core.version)
end)

--- Without a command there is only the help to show, and that is not what was asked for.
local function add_commands(of, commands, add_command)
  of:require_command(false):usage(("Usage: %s <command> [options]"):format(paths[of]))
  of:action(function(parsed)
    parsed.run = parsed.run or function()
      terminal.show_help(of:get_help())
      failure.raise(nil, failure.MISUSED)
    end
  end)
  for _, row in ipairs(commands) do
    add_command(of, row)
  end
end

local function add_global_options(root)
  note_options(root)
  local version = root:flag("--version", "Show the version."):action(show_version)
  root:group("Options", add_help(root), version)
  root:group("Global options", unpack(connection.declare(root)))
end

-- ---------------------------------------------------------------- commands

--- Global options may also come after the command, but not every command uses the API.
local function refuse_global_options(parsed)
  for _, row in ipairs(connection.OPTIONS) do
    if parsed[row.name:sub(3):gsub("-", "_")] then
      failure.raise(row.name .. " has no effect: this command does not use the API",
        failure.MISUSED)
    end
  end
end

local function declare_arguments(of, row)
  local usage = row.usage and " " .. row.usage or ""
  of:usage(("Usage: %s%s [options]"):format(paths[of], usage))
  of:action(function(parsed)
    parsed.run = row.run
    terminal.name = paths[of]
    if row.is_offline then
      refuse_global_options(parsed)
    end
  end)
  fit_help(of, 32)
  note_options(of)
  row.declare(of)
end

local function add_command(of, row)
  local subparser = of:command(row.name):summary(row.summary):description(row.summary)
  paths[subparser] = paths[of] .. " " .. row.name
  subparser:epilog(row.is_offline and row.epilog or row.epilog .. "\n\n" .. GLOBAL)
  add_help(subparser)
  if row.commands then
    add_commands(subparser, row.commands, add_command)
  else
    declare_arguments(subparser, row)
  end
end

local function all_commands()
  local commands = {}
  for _, group in ipairs(GROUPS) do
    for _, row in ipairs(require("clerk.machines.cli." .. group)) do
      commands[#commands + 1] = row
    end
  end
  return commands
end

---@return table parser argparse's
function parser.new()
  local argparse = failure.require("argparse",
    "install argparse (Debian: lua-argparse, LuaRocks: argparse)")
  local root = argparse(terminal.PROGRAM, "Manage Clerk machines, their secret keys, scopes and "
    .. "tokens.")
  paths[root] = terminal.PROGRAM
  root:epilog(EPILOG)
  fit_help(root, 25)
  add_global_options(root)
  add_commands(root, all_commands(), add_command)
  function root.error(at, problem)
    terminal.name = paths[at]
    failure.raise(problem:gsub("\n", ". "), failure.MISUSED)
  end
  return root
end

---@param arguments string[]
---@return table parsed its `run` is the command
function parser.parse(arguments)
  if arguments[1] == "--version" then
    show_version() -- without argparse
  end
  local root = parser.new() -- which notes the options that take a value
  return root:parse(with_values_joined(arguments))
end

return parser
