--- The command line, `clerk-machines COMMAND …`: runs it, and reports what went wrong in one line.

local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local parser = require "clerk.machines.cli.parser"
local terminal = require "clerk.machines.cli.terminal"

local cli = {}

local function misused(problem)
  terminal.complain(("%s (see %s --help)"):format(problem, terminal.name))
  return failure.MISUSED
end

--- What may help, by an error's code.
local HINTS = {
  authentication_invalid = "Is it the secret key of the right instance?",
  machine_secret_key_invalid = "Is it the secret key of a machine of the right instance?",
  machine_not_found = "`clerk-machines list` shows the machines that exist.",
}
HINTS.clerk_key_invalid = HINTS.authentication_invalid

local function hint_of(err)
  return HINTS[err.code]
    or err.maybe_applied and "Check whether the change was made before you try again."
    or err.retry_after and ("Try again in %d s."):format(err.retry_after)
end

local function refused(err)
  if err.type == "ArgumentError" then
    return misused(err.message)
  end
  terminal.complain(failure.line_of(err))
  local hint = hint_of(err)
  if hint then
    terminal.note(hint)
  end
  return failure.FAILED
end

local function failed(problem)
  if problem.message and problem.status == failure.MISUSED then
    return misused(problem.message)
  elseif problem.message then
    terminal.complain(problem.message)
  end
  return problem.status
end

--- Ends as ^C ends programs, so that a shell's script ends as well. The interpreter has turned the
--- signal into an error, and lets a second one kill.
local function interrupted()
  io.popen("kill -s INT $PPID"):close()
  return failure.INTERRUPTED
end

local function settle(problem)
  if failure.is_failure(problem) then
    return failed(problem)
  elseif machines.is_error(problem) then
    return refused(problem)
  elseif type(problem) == "string" and problem:find("interrupted!$") then
    return interrupted()
  end
  error(problem, 0)
end

local function run(arguments)
  local parsed = parser.parse(arguments)
  parsed.run(parsed)
end

--- Runs a command line.
---@param arguments string[]
---@return integer status to exit with: see failure.lua
function cli.main(arguments)
  core.guard_descriptors()
  os.setlocale("C.UTF-8", "ctype") -- for the widths of characters
  local ok, problem = pcall(run, arguments)
  terminal.show_status(nil)
  if ok then
    return failure.SUCCEEDED
  end
  return settle(problem)
end

return cli
