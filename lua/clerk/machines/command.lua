--- The command line, `clerk-machines COMMAND …`; each command is a row of `commands`.

local fields = require "clerk.machines.emulator.fields"

local PROGRAM = "clerk-machines"
local SUCCEEDED, FAILED, MISUSED = 0, 1, 2

local command = {}

-- What ends a command with one line on standard error instead of a traceback.
local Failure = {}

local function fail(message)
  error(setmetatable({ message = message }, Failure), 0)
end

local function say(message)
  io.stderr:write(PROGRAM, ": ", message, "\n")
end

local function need(module, remedy)
  local ok, loaded = pcall(require, module)
  if ok then
    return loaded
  end
  local problem = tostring(loaded)
  fail(("%s; %s"):format(problem:match("module '.-' not found") or problem:match("[^\n]*"), remedy))
end

local function need_core()
  local lua = jit and "luajit" or "lua5.4"
  local remedy = "build it: cmake -S . -B build/%s -DLUA=%s && cmake --build build/%s"
  return need("clerk.machines.core", remedy:format(lua, lua, lua))
end

local function integer(min, max)
  local rule = fields.integer(min, max)
  return function(text)
    local number = text:find("^%d+$") and tonumber(text)
    if number and rule.accepts(number) then
      return number
    end
    return nil, ("'%s' is not %s"):format(text, rule.expected)
  end
end

local function not_empty(text)
  if text ~= "" then
    return text
  end
  return nil, "a value must not be empty"
end

-- ---------------------------------------------------------------- emulate

local emulate = {
  summary = "Serve an emulator of the Machines API.",
  epilog = [[
Example:
   clerk-machines emulate --port 8080 &
   curl -H 'Authorization: Bearer sk_test_emulator' http://127.0.0.1:8080/v1/machines

Faults are scripted by POST /emulator/faults, for example
   {"operation": "create", "times": 2, "status": 503, "retry_after": 1}
and cleared by DELETE. Ends on SIGINT or SIGTERM.]],
}

function emulate.declare(parser)
  parser:option("--port", "Port to listen on; 0, the default, takes a free one.")
    :convert(integer(0, 65535))
  parser:option("--host", "Address to listen on (default: 127.0.0.1)."):convert(not_empty)
  parser:flag("--tls", "Serve HTTPS, with a CA made for it; its file is printed.")
  parser:option("--secret-key", "Key that requests must bear (default: sk_test_emulator).")
    :convert(not_empty)
  parser:option("--rate-limit", "Requests in ten seconds (default: unlimited).")
    :convert(integer(1))
end

local function announce(server)
  local lines = "listening on " .. server.url .. "\n"
  if server.ca_file then
    lines = lines .. "CA certificate: " .. server.ca_file .. "\n"
  end
  io.stdout:write(lines)
  io.stdout:flush()
end

function emulate.run(arguments)
  need_core()
  local servers = need("clerk.machines.emulator.server", "install lua-http (Debian: lua-http)")
  local emulator = require "clerk.machines.emulator"
  local signal = require "cqueues.signal"
  signal.block(signal.SIGINT, signal.SIGTERM)
  local server, problem = servers.new {
    emulator = emulator.new {
      secret_key = arguments.secret_key,
      rate_limit = arguments.rate_limit,
    },
    host = arguments.host,
    port = arguments.port,
    tls = arguments.tls,
    log = say,
  }
  if not server then
    fail(problem)
  end
  announce(server)
  server:run(signal.SIGINT, signal.SIGTERM)
  server:close()
  return SUCCEEDED
end

-- ---------------------------------------------------------------- main

local commands = { emulate = emulate }

local function show_version()
  io.stdout:write(PROGRAM, " ", need_core().version, "\n")
  return SUCCEEDED
end

local function new_parser()
  local argparse = need("argparse", "install argparse (Debian: lua-argparse)")
  local parser = argparse(PROGRAM, "Work with Clerk machines."):command_target("command")
  parser:require_command(false)
  parser:flag("--version", "Show the version and exit.")
  for name, row in pairs(commands) do
    local subparser = parser:command(name, row.summary):epilog(row.epilog)
    row.declare(subparser)
  end
  return parser
end

local function complain(problem)
  say(("%s (see %s --help)"):format(problem:gsub("\n", ". "), PROGRAM))
  return MISUSED
end

local function run(arguments)
  local ok, parsed = new_parser():pparse(arguments)
  if not ok then
    return complain(parsed)
  elseif parsed.version then
    return show_version()
  elseif not parsed.command then
    return complain("a command is required")
  end
  return commands[parsed.command].run(parsed)
end

---Runs a command line.
---@param arguments string[]
---@return integer status to exit with: 0, 1 when it failed, 2 when it was called wrongly
function command.main(arguments)
  local ok, status = pcall(run, arguments)
  if ok then
    return status
  end
  if getmetatable(status) ~= Failure then
    error(status, 0)
  end
  say(status.message)
  return FAILED
end

return command
