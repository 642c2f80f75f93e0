local columns = require "clerk.machines.cli.columns"
local connection = require "clerk.machines.cli.connection"
local json = require "clerk.machines.cli.json"
local output = require "clerk.machines.cli.output"
local terminal = require "clerk.machines.cli.terminal"

local list = {
  summary = "List all machines.",
  epilog = [[
Examples:
   clerk-machines list
   clerk-machines list --query billing --order-by name
   clerk-machines list --json | jq -r '.data[].name'
   clerk-machines list | cut -f 1

On a terminal the table fits its width. Elsewhere each machine is a line of ID,
time of creation, token TTL in seconds, number of scopes and name, with tabs
between them.]],
}

function list.declare(parser)
  parser:option("--query", "Only the machine of this ID, or with this in the name.")
    :argname("<text>")
  parser:option("--order-by", "name or created_at, with - before it for the reverse\n"
    .. "(default: -created_at, the newest first)."):argname("<field>")
  output.declare(parser)
  connection.declare(parser)
end

-- ---------------------------------------------------------------- for programs

local function encode_page(page)
  local parts = {}
  for i, machine in ipairs(page.data) do
    parts[i] = "\n    " .. json.encode(machine, { indent = "    " })
  end
  return table.concat(parts, ",")
end

--- Page by page, in the shape of the API's.
local function print_json(pages)
  local opening, count, total_count = '{\n  "data": [', 0, nil
  for page in pages do
    terminal.print(opening .. encode_page(page))
    opening = ","
    count, total_count = count + #page.data, page.total_count
  end
  local closing = count > 0 and "\n  ]" or opening .. "]"
  local total = json.encode(total_count or count)
  terminal.print(('%s,\n  "total_count": %s\n}\n'):format(closing, total))
end

-- ---------------------------------------------------------------- for people

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

function list.run(arguments)
  local pages = connection.open(arguments):pages {
    query = arguments.query,
    order_by = arguments.order_by,
  }
  if arguments.json then
    print_json(pages)
  else
    print_table(pages, arguments.query)
  end
  terminal.show_status(nil)
end

return list
