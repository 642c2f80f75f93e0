--- The commands plan, apply and export.

local arguments = require "clerk.machines.cli.arguments"
local confirmation = require "clerk.machines.cli.confirmation"
local connection = require "clerk.machines.cli.connection"
local failure = require "clerk.machines.cli.failure"
local machines = require "clerk.machines"
local output = require "clerk.machines.cli.output"
local plans = require "clerk.machines.plan"
local progress = require "clerk.machines.cli.progress"
local terminal = require "clerk.machines.cli.terminal"
local text = require "clerk.machines.cli.text"

local ABOUT_FILES = [[

A plan file is Lua or, if its name ends in .json, JSON:
   return {
     machines = {
       { name = "gateway", scoped_machines = { "billing" } },
       { name = "billing", default_token_ttl = 900 },
     },
   }]]

local function declare_file(parser)
  parser:argument("file", "The plan file.")
  parser:option("--prune", "Delete machines that are not in the file and whose names begin with "
    .. "this."):argname("<prefix>")
end

-- ---------------------------------------------------------------- comparing

--- Returns what f(...) returns. A mistake in the file is reported without help about the command.
local function checked(f, ...)
  local ok, result = pcall(f, ...)
  if ok then
    return result
  elseif machines.is_error(result) and result.type == "ArgumentError" then
    terminal.complain(result.message)
    failure.raise(nil, failure.MISUSED)
  end
  error(result, 0)
end

-- ---------------------------------------------------------------- showing

local COLOURS = { ["+"] = terminal.green, ["-"] = terminal.red, ["~"] = terminal.yellow }

--- The diff; on a terminal with colours, and broken only between words.
local function diff_of(changes)
  local room = terminal.is(terminal.STDOUT) and terminal.width() or math.huge
  return (tostring(changes):gsub("[^\n]+", function(line)
    local colour = COLOURS[line:match("^ *(%p)")]
    line = text.wrap(line, room)
    return colour and colour(line) or line
  end)) .. "\n"
end

local function print_json(changes)
  local list = {}
  for i, change in ipairs(changes) do
    list[i] = change
  end
  output.print_json(list, true)
end

-- ---------------------------------------------------------------- plan

local plan = {
  name = "plan",
  usage = "<file>",
  summary = "Show what must change for the instance to agree with a plan file.",
  epilog = [[
Examples:
   clerk-machines plan machines.lua
   clerk-machines plan machines.lua --prune "shop " --exit-code
]] .. ABOUT_FILES,
}

function plan.declare(parser)
  declare_file(parser)
  parser:flag("--exit-code", "Exit with 3 when there is something to change.")
  output.declare(parser):description("Print the changes as JSON.")
end

function plan.run(parsed)
  local wanted = checked(plans.read, parsed.file)
  local changes = checked(plans.compare, connection.open(parsed), wanted, { prune = parsed.prune })
  if parsed.json then
    print_json(changes)
  else
    terminal.print(diff_of(changes))
  end
  if parsed.exit_code and changes[1] then
    failure.raise(nil, failure.CHANGES_FOUND)
  end
end

-- ---------------------------------------------------------------- apply

local apply = {
  name = "apply",
  usage = "<file>",
  summary = "Change the instance until it agrees with a plan file.",
  epilog = [[
Examples:
   clerk-machines apply machines.lua
   clerk-machines apply machines.lua --secrets-dir /run/keys --yes

It shows the plan and asks. When it fails or is interrupted, run it again: it does nothing twice, ]]
    .. [[and fetches every key that is missing in the directory. Two must not run at once.
]] .. ABOUT_FILES,
}

function apply.declare(parser)
  declare_file(parser)
  arguments.declare_secrets_dir(parser)
  confirmation.declare(parser)
end

--- Why it is not sure that the instance is the one that the file is for; nil when it is.
local function doubt_about_instance(parsed, wanted, changes)
  if not wanted.instance then
    return parsed.file .. " does not say for which instance it is."
  elseif not changes.instance_id then
    return ("%s is for instance %s; without machines, this one cannot be told from others."):format(
      parsed.file, wanted.instance)
  end
end

--- With --yes, a file that names its instance is not applied unchecked.
local function confirm(parsed, wanted, changes)
  local doubt = doubt_about_instance(parsed, wanted, changes)
  if confirmation.is_needed(parsed) then
    confirmation.ask(parsed, changes.instance_id, { doubt }, "Make these changes?")
  elseif doubt and wanted.instance then
    failure.raise(doubt .. " Apply it without --yes, or create a machine first.")
  end
end

--- Remembers how far it is, for a message if it fails.
local function make(changes, state)
  return changes:apply(function(change, made, count)
    state.made = made
    progress.show(("%d of %d changes: %s"):format(made, count, text.of(change.name)))
  end)
end

local function report_failure(problem, changes, state)
  if #changes > 0 then
    terminal.note(("%d of %d changes were made. Run it again for the rest.")
      :format(state.made, #changes))
  end
  if machines.is_error(problem) and problem.type == "ArgumentError" then
    failure.raise(problem.message) -- it was not used wrongly
  end
  error(problem, 0)
end

--- In the order of the plan; requests overlap, and so end in any order.
local function created_lines(changes)
  local lines = {}
  for _, change in ipairs(changes) do
    if change.action == "create" then
      lines[#lines + 1] = ("created %s  %s\n"):format(text.of(change.id), text.of(change.name))
    end
  end
  return lines
end

local function report(changes, written, directory)
  local lines = created_lines(changes)
  local has_new_keys = lines[1] ~= nil
  lines[#lines + 1] = #changes > 0 and ("changes made: %d\n"):format(#changes) or ""
  if directory then
    lines[#lines + 1] = ("secret keys written to %s: %d\n"):format(text.of(directory), written)
  end
  terminal.print(table.concat(lines))
  if has_new_keys and not directory then
    terminal.remark("`clerk-machines secret` shows the secret key of a machine.")
  end
end

function apply.run(parsed)
  local wanted = checked(plans.read, parsed.file)
  arguments.check_secrets_dir(parsed)
  parsed.patience_ms = 60000 -- it may have to wait for a rate limit more than once
  local changes = checked(plans.compare, connection.open(parsed), wanted, {
    prune = parsed.prune,
    secrets_dir = parsed.secrets_dir,
  })
  terminal.print(diff_of(changes))
  if changes[1] then
    confirm(parsed, wanted, changes)
  end
  local state = { made = 0 }
  local ok, result = pcall(make, changes, state)
  if not ok then
    report_failure(result, changes, state)
  end
  report(changes, result, parsed.secrets_dir)
end

-- ---------------------------------------------------------------- export

local export = {
  name = "export",
  summary = "Print the instance as a plan file.",
  epilog = [[
Examples:
   clerk-machines export >machines.lua
   clerk-machines export --json >machines.json]],
}

function export.declare(parser)
  output.declare(parser):description("Print JSON instead of Lua.")
end

function export.run(parsed)
  local exported = plans.export(connection.open(parsed))
  if parsed.json then
    local members = { instance = exported.instance, machines = exported.machines }
    terminal.print(output.json(members) .. "\n")
  else
    terminal.print(tostring(exported))
  end
end

return { plan, apply, export }
