--- Generates the reference (docs/reference/*.md) and the types for LuaLS from the tables of
--- operations, options and failure codes, and from annotated classes; the command's man page and
--- completions from its help and its parser; and the rockspecs:
---
---     lua5.4 docs/generate.lua [DIRECTORY]
---
--- in a checkout that is built. Writes below DIRECTORY, by default into the checkout itself. Each
--- file but the completions is a copy of its template in docs/templates, in which a line
--- {{name …}} is replaced by what generators.name returns.

package.path = "docs/?.lua;lua/?.lua;lua/?/init.lua;" .. package.path
package.cpath = ("build/%s/?.so;"):format(jit and "luajit" or "lua5.4") .. package.cpath

local annotations = require "annotations"
local core = require "clerk.machines.core"
local emulator = require "clerk.machines.emulator"
local faults = require "clerk.machines.emulator.faults"
local gate = require "clerk.machines.gate"
local parser = require "clerk.machines.cli.parser"
local options = require "clerk.machines.options"
local token_options = require "clerk.machines.tokens.options"

local PAGES = {
  "operations", "methods", "options", "results", "errors", "events", "transports", "tokens",
  "emulator",
}
local TYPES = "lua/clerk/machines/types.lua"

local generators = {}

-- ---------------------------------------------------------------- texts

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

--- The rows for which `convert` returns something, each converted.
local function map(rows, convert)
  local list = {}
  for _, row in ipairs(rows) do
    list[#list + 1] = convert(row)
  end
  return list
end

--- Joins paragraphs, without the empty ones.
local function paragraphs(list)
  return table.concat(map(list, function(text)
    return text ~= "" and text or nil
  end), "\n\n")
end

--- such_a_name -> SuchAName
local function camel_case(name)
  return (("_" .. name):gsub("_(%l)", string.upper))
end

local function markdown_table(head, rows)
  local lines = { "| " .. table.concat(head, " | ") .. " |", ("|---"):rep(#head) .. "|" }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |"
  end
  return table.concat(lines, "\n")
end

local function code(text)
  return text == "" and "" or "`" .. text .. "`"
end

local function without_prefix(kind)
  return (kind:gsub("clerk%.machines%.", ""))
end

--- A type in a cell of a table.
local function type_cell(kind)
  return code((without_prefix(kind):gsub("|", "\\|")))
end

local function name_cell(row)
  return code(row.name) .. (row.is_optional and ", optional" or "")
end

--- The arguments of a method, as manuals write them: (id [, options]).
local function signature(arguments)
  local text, closing = "", ""
  for i, argument in ipairs(arguments) do
    local separator = i > 1 and ", " or ""
    if argument.is_optional then
      separator, closing = (i > 1 and " [" or "[") .. separator, closing .. "]"
    end
    text = text .. separator .. argument.name
  end
  return "(" .. text .. closing .. ")"
end

-- ---------------------------------------------------------------- parameters and options

--- The Lua types of parameters' types and options' kinds; the others have the same name.
local LUA_TYPES = {
  secret = "string",
  json = "any",
  token_id = "string",
  machine_id = "string",
  machine_ids = "string[]",
  url = "string",
  secret_key = "string|fun(): string",
  headers = "table<string, string>",
  status_codes = "(integer|string)[]",
  transport = "clerk.machines.Transport",
}

local UNITS = { string = " characters", machine_ids = " elements" }

local function lua_type(row)
  local kind = row.type or row.kind
  if row.values then
    return '"' .. table.concat(row.values, '"|"') .. '"'
  elseif row.members then
    return "clerk.machines." .. camel_case(row.name) .. (row.off and "|false" or "")
  end
  local is_null_too = row.nullable and kind ~= "json"
  return (LUA_TYPES[kind] or kind) .. (is_null_too and "|clerk.machines.null" or "")
end

local function bounds(row)
  if not row.min then
    return ""
  elseif not row.max then
    return (row.type == "number" and "more than %.0f" or "from %.0f"):format(row.min)
  end
  return ("%.0f to %.0f%s"):format(row.min, row.max, UNITS[row.type] or "")
end

local function shown(value)
  if type(value) == "table" then
    return #value > 0 and "{ " .. table.concat(map(value, shown), ", ") .. " }" or ""
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

--- An option's default; empty when it has none. That of a group is the defaults of its members.
local function default_of(row)
  local value = row.default ~= nil and not row.members and code(shown(row.default)) or ""
  local variable = row.variable and code("$" .. row.variable) or ""
  local separator = variable ~= "" and value ~= "" and ", else " or ""
  return row.default_text or variable .. separator .. value
end

local function field(row)
  local limits, default = bounds(row), default_of(row)
  return ("---@field %s%s %s %s%s%s"):format(row.name, row.required and "" or "?", lua_type(row),
    limits == "" and "" or limits .. ". ", row.summary,
    default == "" and "" or " Default: " .. default .. ".")
end

local function class(name, rows)
  return ("---@class clerk.machines.%s\n%s"):format(name, table.concat(map(rows, field), "\n"))
end

-- ---------------------------------------------------------------- operations

local function is_in_params(row)
  return row.place ~= "path" and row or nil
end

local function class_of_params(operation)
  return camel_case(operation.name) .. "Params"
end

--- The arguments of an operation's method.
local function arguments_of(operation)
  local arguments, params = {}, nil
  for _, row in ipairs(operation.parameters) do
    if is_in_params(row) then
      params = { name = "params", type = class_of_params(operation) }
      params.is_optional = not operation.needs_params
    else
      arguments[#arguments + 1] = { name = row.name, type = "string" }
    end
  end
  arguments[#arguments + 1] = params
  arguments[#arguments + 1] = { name = "options", type = "CallOptions", is_optional = true }
  return arguments
end

function generators.parameter_classes()
  return paragraphs(map(core.operations, function(operation)
    local rows = map(operation.parameters, is_in_params)
    return #rows > 0 and class(class_of_params(operation), rows) or nil
  end))
end

function generators.parameter_field(operation_name, name)
  return field(core.operations[operation_name].parameters[name])
end

local OPERATION_METHOD = [[
--- %s: %s %s
%s---@return clerk.machines.%s
---@return clerk.machines.CallInfo
function Client:%s(%s) end]]

local function operation_method(operation)
  local lines, names = {}, {}
  for i, argument in ipairs(arguments_of(operation)) do
    local mark = argument.is_optional and "?" or ""
    local prefix = argument.type == "string" and "" or "clerk.machines."
    lines[i] = ("---@param %s%s %s%s\n"):format(argument.name, mark, prefix, argument.type)
    names[i] = argument.name
  end
  return OPERATION_METHOD:format(operation.summary, operation.method, operation.path,
    table.concat(lines), operation.result, operation.name, table.concat(names, ", "))
end

function generators.operation_methods()
  return paragraphs(map(core.operations, operation_method))
end

local function call_of(operation)
  return code("client:" .. operation.name .. signature(arguments_of(operation)))
end

function generators.operation_list()
  return markdown_table({ "method", "request" }, map(core.operations, function(operation)
    local link = ("[%s](#%s)"):format(call_of(operation), operation.name)
    return { link, code(operation.method .. " " .. operation.path) }
  end))
end

local function parameter_row(row)
  return {
    code(row.name) .. (row.required and "" or ", optional"),
    type_cell(lua_type(row)),
    bounds(row),
    row.summary,
  }
end

local KEYS = {
  secret_key = "Sent with `secret_key`.",
  machine_secret_key = "Sent with `machine_secret_key`.",
  both = "Sent with `machine_secret_key` or, if the client has none, `secret_key`.",
}

local REPETITIONS = {
  reads = "It changes nothing, and is repeated after a 429, a 5XX and failures that may pass.",
  changes = "It is repeated after a 429, a 5XX and failures that may pass: twice is like once.",
  adds = "It is repeated only after a 429, or when it was not sent.",
  adds_or_reuses = "With `min_remaining_ttl_seconds` and the opaque format it is repeated after a "
    .. "429, a 5XX and failures that may pass; otherwise only after a 429, or if it was not sent.",
}

local function operation_section(operation)
  local success = ("A success holds `%s`%s."):format(table.concat(operation.members, "` and `"),
    operation.may_return_204 and ", or is a 204, which gives an empty table" or "")
  return paragraphs {
    "## " .. operation.name,
    call_of(operation),
    ("%s: `%s %s`"):format(operation.summary, operation.method, operation.path),
    KEYS[operation.keys[2] and "both" or operation.keys[1]] .. " "
      .. REPETITIONS[operation.effect],
    markdown_table({ "parameter", "type", "bounds", "meaning" },
      map(operation.parameters, parameter_row)),
    ("Returns a [%s](results.md#%s). %s"):format(operation.result, operation.result:lower(),
      success),
  }
end

function generators.operations()
  return paragraphs(map(core.operations, operation_section))
end

-- ---------------------------------------------------------------- options

--- Calls `visit` with each group of options, inner groups first.
local function each_group(rows, visit)
  for _, row in ipairs(rows) do
    if row.members then
      each_group(row.members, visit)
      visit(row)
    end
  end
end

local CALL_OPTIONS = "--- Options that a call may have too; by default it uses its client's.\n"

function generators.option_classes()
  local classes, of_calls, others = {}, {}, {}
  each_group(options, function(row)
    table.insert(classes, class(camel_case(row.name), row.members))
  end)
  for _, row in ipairs(options) do
    table.insert(row.per_call and of_calls or others, row)
  end
  table.insert(classes, CALL_OPTIONS .. class("CallOptions", of_calls))
  table.insert(classes, class("Options: clerk.machines.CallOptions", others))
  return paragraphs(classes)
end

local OPTION_TABLES = {
  ["emulator.Options"] = emulator.options,
  ["emulator.Fault"] = faults.fields,
  ["tokens.VerifierOptions"] = token_options.verifier,
  ["tokens.SourceOptions"] = token_options.source,
  GateOptions = gate.options,
  GateRoute = gate.route_options,
}

function generators.option_class(name)
  return class(name, OPTION_TABLES[name])
end

local function option_row(row)
  return {
    code(row.name) .. (row.per_call and " †" or ""),
    type_cell(lua_type(row)),
    row.members and ("[below](#%s)"):format(row.name) or default_of(row),
    bounds(row),
    row.summary,
  }
end

local function option_table(rows)
  return markdown_table({ "option", "type", "default", "bounds", "meaning" }, map(rows, option_row))
end

function generators.option_table(name)
  return option_table(OPTION_TABLES[name])
end

function generators.options()
  local sections = {}
  each_group(options, function(row)
    table.insert(sections, 1, paragraphs {
      "## " .. row.name, row.summary, option_table(row.members),
    })
  end)
  table.insert(sections, 1, option_table(options))
  return paragraphs(sections)
end

-- ---------------------------------------------------------------- codes

function generators.code_alias(name, list)
  local lines = map(core[list], function(row)
    return ('---| "%s" # %s'):format(row.name, row.summary)
  end)
  return ("---@alias clerk.machines.%s\n%s"):format(name, table.concat(lines, "\n"))
end

function generators.codes(list, except)
  return markdown_table({ "code", "meaning" }, map(core[list], function(row)
    local mark = row.is_repeatable and " *Retryable.*" or ""
    return row.name ~= except and { code(row.name), row.summary .. mark } or nil
  end))
end

-- ---------------------------------------------------------------- annotated classes

--- Where annotations are read from: the generated types, then the sources.
local annotated

function generators.class(name)
  local found = annotations.class(annotated, name)
  return paragraphs {
    found.summary,
    markdown_table({ "field", "type", "meaning" }, map(found.fields, function(row)
      return { name_cell(row), type_cell(row.type), row.description }
    end)),
  }
end

local function bullet(row)
  return ("- %s%s%s"):format(row.name ~= "" and name_cell(row) .. ": " or "",
    code(without_prefix(row.type)), row.description ~= "" and ", " .. row.description or "")
end

local function method_section(object, method)
  local call, returns = object .. ":" .. method.name, map(method.returns, bullet)
  return paragraphs {
    "### " .. call,
    code(call .. signature(method.parameters)),
    method.summary,
    table.concat(map(method.parameters, bullet), "\n"),
    #returns > 0 and "Returns:" or "",
    table.concat(returns, "\n"),
  }
end

--- The methods of a class, except the operations, which have a page of their own.
function generators.methods(class_name, object)
  return paragraphs(map(annotations.methods(annotated, class_name), function(method)
    return not method.comment:find "CallInfo" and method_section(object, method) or nil
  end))
end

-- ---------------------------------------------------------------- the safe twin

local ERROR = "clerk.machines.Error"

--- What a method of the safe twin returns at that position: nil first, then the error.
local function safe_type(position, kind)
  if kind:find "^fun" then
    return ("(%s, %s?)?"):format(kind, ERROR)
  elseif position == 1 then
    return kind .. "?"
  end
  return kind:gsub("%?$", "|nil") .. "|" .. ERROR
end

local function safe_returns(returns)
  if #returns > 0 and returns[1].type == "any" then
    return { "---@return any ... or nil and the error" }
  end
  local lines = {}
  for i, row in ipairs(returns) do
    local text = ("---@return %s %s %s"):format(safe_type(i, row.type), row.name, row.description)
    lines[i] = text:gsub(" +$", "")
  end
  lines[1] = lines[1] or "---@return nil"
  lines[2] = lines[2] or ("---@return %s?"):format(ERROR)
  return lines
end

function generators.safe_methods(class_name, _, types)
  local text = paragraphs(map(annotations.methods(types, class_name), function(method)
    return method.comment:gsub("%-%-%-@return [^\n]+\n", "")
      .. table.concat(safe_returns(method.returns), "\n")
      .. ("\nfunction Safe%s:%s%s end"):format(class_name, method.name, method.arguments)
  end))
  return (text:gsub("%.Task%f[%W]", ".SafeTask"))
end

-- ---------------------------------------------------------------- the man page

--- What `clerk-machines … --help` prints.
local function help_of(command)
  local pipe = assert(io.popen(("COLUMNS=80 %s bin/%s --help"):format(arg[-1], command)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

--- Text as roff shows it: hyphens as they are typed, and no line that is a request.
local function roff(text)
  return (text:gsub("\\", "\\e"):gsub("-", "\\-"):gsub("^[.']", "\\&%0"))
end

--- A line of help. A row has a label and a meaning, which goes on in lines that are indented more;
--- so does an example.
local function roff_line(line, is_in_example)
  local label, meaning = line:match "^   (%S.-)  +(%S.*)$"
  label = label or line:match "^   (%-.*)$"
  if label then
    return (".TP\n.B %s%s"):format(roff(label), meaning and "\n" .. roff(meaning) or ""), false
  elseif line:find "^    +%S" and not is_in_example then
    return roff(line:match "%S.*"), false
  elseif line:find "^   +%S" then
    return (".RS\n.nf\n%s\n.fi\n.RE"):format(roff(line:match "^   (.*)$")), true
  elseif line:find "^%u[%a ]+:$" then
    return ".B " .. roff(line)
  end
  return line == "" and ".P" or roff(line)
end

local function roff_lines(text)
  local lines, is_in_example = {}, false
  for line in text:gmatch "([^\n]*)\n" do
    lines[#lines + 1], is_in_example = roff_line(line, is_in_example)
  end
  return table.concat(lines, "\n")
end

local function command_section(command)
  local help = help_of(command)
  local sections = { (".SS %s\n%s"):format(roff(help:match "Usage: ([^\n]+)"),
    roff_lines(help:match "\n\n(.*)")) }
  for name in (help:match "\nCommands:\n(.-)\n\n" or ""):gmatch "%f[^\n%z]   (%l+)" do
    sections[#sections + 1] = command_section(command .. " " .. name)
  end
  return table.concat(sections, "\n")
end

function generators.man_title()
  return ('.TH CLERK\\-MACHINES 1 "" "clerk\\-machines %s" "User Commands"'):format(core.version)
end

function generators.commands()
  return command_section "clerk-machines"
end

-- ---------------------------------------------------------------- files

local function render(template)
  local lines = {}
  for line in (read("docs/templates/" .. template .. ".in")):gmatch "([^\n]*)\n" do
    local name, first, second = line:match "^{{(%S+) ?(%S*) ?(%S*)}}$"
    lines[#lines + 1] = name and generators[name](first, second, table.concat(lines, "\n")) or line
  end
  return table.concat(lines, "\n") .. "\n"
end

--- All Lua sources, except the generated types.
local function sources()
  local paths = {}
  for path in io.popen("find lua -name '*.lua'"):lines() do
    paths[#paths + 1] = path ~= TYPES and path or nil
  end
  table.sort(paths)
  return table.concat(map(paths, read), "\n\n")
end

local NOTE = "<!-- Generated by docs/generate.lua from docs/templates/%s.in: do not edit. -->\n\n"

local root = (arg[1] or ".") .. "/"

local function generate(path, text)
  os.execute(("mkdir -p '%s'"):format((root .. path):match "^(.*)/"))
  write(root .. path, text)
end

local types = render "types.lua"
generate(TYPES, types)
annotated = types .. "\n\n" .. sources()
for _, page in ipairs(PAGES) do
  local name = page .. ".md"
  generate("docs/reference/" .. name, NOTE:format(name) .. render(name))
end

local command = parser.new()
generate("share/man/man1/clerk-machines.1", render "clerk-machines.1")
generate("share/bash-completion/completions/clerk-machines", command:get_bash_complete())
generate("share/zsh/site-functions/_clerk-machines", command:get_zsh_complete())
generate("share/fish/vendor_completions.d/clerk-machines.fish", command:get_fish_complete())

local rockspec = render "rockspec"
for version, tag in pairs { ["scm-1"] = "", [core.version .. "-1"] = "v" .. core.version } do
  local values = { version = version, tag = tag == "" and "" or (', tag = "%s"'):format(tag) }
  generate(("clerk-machines-%s.rockspec"):format(version), (rockspec:gsub("{{(%l+)}}", values)))
end
