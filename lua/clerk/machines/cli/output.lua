--- What a command prints of an answer: as people read it, or with --json as the API sent it.

local json = require "clerk.machines.cli.json"
local terminal = require "clerk.machines.cli.terminal"

local output = {}

---@param parser table of argparse
function output.declare(parser)
  parser:flag("--json", "Print what the API answered, as JSON.")
end

--- For answers with a secret key.
---@param parser table of argparse
function output.declare_reveal(parser)
  parser:flag("--reveal", "Show the secret key, which is masked otherwise.")
end

---@param arguments table as parsed
---@param result table
---@param show fun(result: table, reveal: boolean|nil): string lines for people
function output.print(arguments, result, show)
  if arguments.json then
    terminal.print(json.encode(result, { reveal = arguments.reveal }) .. "\n")
  else
    terminal.print(show(result, arguments.reveal))
  end
end

return output
