--- What a command prints of a result: text for people, or with --json what the API sent.

local json_writer = require "clerk.machines.json_writer"
local terminal = require "clerk.machines.cli.terminal"

local output = {}

---@param parser table of argparse
function output.declare(parser)
  return parser:flag("--json", "Print the API's response as JSON.")
end

--- For several machines or tokens, in a table.
---@param parser table of argparse
function output.declare_table(parser)
  local tsv = parser:flag("--tsv", "Print one line each, fields separated by tabs; this is the "
    .. "default when standard output is not a terminal.")
  local as_table = parser:flag("--table", "Print a table, also when standard output is not a "
    .. "terminal.")
  parser:mutex(output.declare(parser), tsv, as_table)
end

--- Whether to print a table for people.
---@param parsed table the command's arguments
---@return boolean
function output.is_table(parsed)
  return parsed.table or not parsed.tsv and terminal.is(terminal.STDOUT)
end

--- For responses with a secret.
---@param parser table of argparse
---@param what string "secret key"
function output.declare_reveal(parser, what)
  parser:flag("--reveal", ("Show the %s instead of ********."):format(what))
end

--- What is shown instead of a secret: its kind, and not its length.
---@param secret string
---@return string
function output.mask(secret)
  return (secret:match("^%a+_") or "") .. "********"
end

local function is_name_of_secret(name)
  local lower = type(name) == "string" and name:lower() or ""
  return lower:find("secret", 1, true) ~= nil or lower:find("token$") ~= nil
end

--- A copy without the strings of members that are secrets by their name.
local function masked(value, is_secret)
  if type(value) == "string" then
    return is_secret and output.mask(value) or value
  elseif type(value) ~= "table" then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for name, member in pairs(value) do
    copy[name] = masked(member, is_secret or is_name_of_secret(name))
  end
  return copy
end

--- Indented JSON, with names in order.
---@param result any
---@param reveal? boolean secrets are masked otherwise
---@return string
function output.json(result, reveal)
  return json_writer.write(reveal and result or masked(result, false), "")
end

--- Prints results: as a list, or the only one as it is.
---@param results table[]
---@param is_list boolean
---@param reveal? boolean secrets are masked otherwise
function output.print_json(results, is_list, reveal)
  local result = is_list and { data = results, total_count = #results } or results[1]
  terminal.print(output.json(result, reveal) .. "\n")
end

--- With --json, prints the results of those that succeeded, if any did.
---@param parsed table the command's arguments
---@param results table[]
---@param is_list boolean
function output.print_done(parsed, results, is_list)
  if parsed.json and results[1] then
    output.print_json(results, is_list, parsed.reveal)
  end
end

--- Prints page after page what the API would send as one.
---@param pages fun(): table[]|nil, number|nil iterates over pages, with the latest total_count
---@param name string of the array in the API's response
function output.print_pages(pages, name)
  local opening, count, total_count = ('{\n  "%s": ['):format(name), 0, nil
  for page, total in pages do
    local elements = {}
    for i, element in ipairs(page) do
      elements[i] = "\n    " .. output.json(element):gsub("\n", "\n    ")
    end
    terminal.print(opening .. table.concat(elements, ","))
    opening = ","
    count, total_count = count + #page, total
  end
  local closing = count > 0 and "\n  ]" or opening .. "]"
  local total = output.json(total_count or count)
  terminal.print(('%s,\n  "total_count": %s\n}\n'):format(closing, total))
end

---@param parsed table the command's arguments
---@param result table
---@param show fun(result: table, reveal: boolean|nil): string lines for people
function output.print(parsed, result, show)
  terminal.print(parsed.json and output.json(result, parsed.reveal) .. "\n"
    or show(result, parsed.reveal))
end

return output
