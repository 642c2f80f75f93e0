--- The command line, `clerk-machines COMMAND …`: finds the command, runs it, and reports what went
--- wrong in one line. Each command is a module below command/ with `summary`, `epilog` (examples),
--- `declare` (its arguments) and `run`, or with `commands` of its own.

local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"

local COMMANDS = {
  "list", "get", "create", "update", "delete", "secret", "rotate", "scope", "emulate",
}

local EPILOG = [[
`clerk-machines <command> --help` tells more, with examples.

Environment:
   CLERK_SECRET_KEY      Secret key of the instance that the machines belong to.
   CLERK_API_URL         Where the API is, if not https://api.clerk.com.
   NO_COLOR              No colours.

Exit status: 0 when it is done, 1 when it failed (the API refused or could not
be reached, or the output could not be written), 2 when it was called wrongly.]]

local command = {}

-- ---------------------------------------------------------------- arguments

--- The options of all commands that take a value.
local takes_value = {}

local function note_options(parser)
  local declare = parser.option
  function parser.option(self, name, ...)
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

--- A flag that prints something and ends the command: argparse would not notice that it cannot.
local function printing(show)
  return function()
    terminal.print(show() .. "\n")
    failure.raise(nil, failure.SUCCEEDED)
  end
end

--- What each parser's command is called: "clerk-machines scope add".
local paths = {}

local function add_help(parser)
  parser:add_help { action = printing(function()
    terminal.name = paths[parser]
    return parser:get_help()
  end) }
end

local function add_command(parser, name, row)
  local path = paths[parser] .. " " .. name
  local subparser = parser:command(name):summary(row.summary):description(row.summary)
  paths[subparser] = path
  add_help(subparser)
  if row.commands then
    for _, each in ipairs(row.commands) do
      add_command(subparser, each.name, each)
    end
    return
  end
  local usage = row.usage and " " .. row.usage or ""
  subparser:usage(("Usage: %s%s [options]"):format(path, usage)):epilog(row.epilog)
  subparser:action(function(parsed)
    parsed.run = row.run
    terminal.name = path
  end)
  note_options(subparser)
  row.declare(subparser)
end

local function add_version(parser)
  parser:flag("--version", "Show the version and exit."):action(printing(function()
    return ("%s %s"):format(terminal.PROGRAM, core.version)
  end))
end

local function new_parser()
  local argparse = failure.require("argparse",
    "install argparse (Debian: lua-argparse, LuaRocks: argparse)")
  local parser = argparse(terminal.PROGRAM, "Work with Clerk machines."):epilog(EPILOG)
  paths[parser] = terminal.PROGRAM
  add_help(parser)
  add_version(parser)
  for _, name in ipairs(COMMANDS) do
    add_command(parser, name, require("clerk.machines.cli." .. name))
  end
  function parser.error(at, problem)
    terminal.name = paths[at]
    failure.raise(problem:gsub("\n", ". "), failure.MISUSED)
  end
  return parser
end

-- ---------------------------------------------------------------- problems

local function misused(problem)
  terminal.complain(("%s (see %s --help)"):format(problem, terminal.name))
  return failure.MISUSED
end

--- What may help, by an error's code.
local HINTS = {
  authentication_invalid = "Is it the secret key of the right instance?",
  machine_not_found = "`clerk-machines list` shows the machines that exist.",
}
HINTS.clerk_key_invalid = HINTS.authentication_invalid

--- An error of the API or of the transport in one line. It begins with its type and operation, for
--- which the command's name stands.
local function line_of(err)
  local line = tostring(err):gsub("^%a+: ", ""):gsub("^" .. (err.operation or "") .. ":? ", "")
  return line .. (err.maybe_applied and " (it may have taken effect)" or "")
end

local function refused(err)
  if err.type == "ArgumentError" then
    return misused(err.message)
  end
  terminal.complain(line_of(err))
  local hint = HINTS[err.code] or err.retry_after and ("Try again in %d s."):format(err.retry_after)
  if hint then
    terminal.hint(hint)
  end
  return failure.FAILED
end

--- Ends as ^C ends programs, so that a shell's script ends as well. The interpreter has turned the
--- signal into an error, and lets a second one kill.
local function interrupted()
  io.popen("kill -s INT $PPID"):close()
  return 130
end

local function settle(problem)
  terminal.show_status(nil)
  local machines = package.loaded["clerk.machines"]
  if failure.is_failure(problem) then
    if problem.message and problem.status == failure.MISUSED then
      return misused(problem.message)
    elseif problem.message then
      terminal.complain(problem.message)
    end
    return problem.status
  elseif type(machines) == "table" and machines.is_error(problem) then
    return refused(problem)
  elseif type(problem) == "string" and problem:find("interrupted!$") then
    return interrupted()
  end
  error(problem, 0)
end

-- ---------------------------------------------------------------- main

local function run(arguments)
  local parser = new_parser() -- which notes the options that take a value
  local parsed = parser:parse(with_values_joined(arguments))
  parsed.run(parsed)
end

---Runs a command line.
---@param arguments string[]
---@return integer status to exit with: 0, 1 when it failed, 2 when it was called wrongly
function command.main(arguments)
  core.guard_descriptors()
  os.setlocale("C.UTF-8", "ctype") -- for the widths of characters
  local ok, problem = pcall(run, arguments)
  if ok then
    return failure.SUCCEEDED
  end
  return settle(problem)
end

return command
