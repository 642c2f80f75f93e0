local failure = require "clerk.machines.cli.failure"
local fields = require "clerk.machines.emulator.fields"
local terminal = require "clerk.machines.cli.terminal"

local emulate = {
  summary = "Serve an emulator of the Machines API.",
  epilog = [[
Example:
   clerk-machines emulate --port 8080 &
   curl -H 'Authorization: Bearer sk_test_emulator' \
      http://127.0.0.1:8080/v1/machines

Faults are scripted by POST /emulator/faults, for example
   {"operation": "create", "times": 2, "status": 503, "retry_after": 1}
and cleared by DELETE. Ends on SIGINT or SIGTERM.]],
}

local function integer(min, max)
  local rule = fields.integer(min, max)
  return function(written)
    local number = written:find("^%d+$") and tonumber(written)
    if number and rule.accepts(number) then
      return number
    end
    return nil, ("'%s' is not %s"):format(written, rule.expected)
  end
end

local function not_empty(written)
  if written ~= "" then
    return written
  end
  return nil, "a value must not be empty"
end

function emulate.declare(parser)
  parser:option("--port", "Port to listen on; 0, the default, takes a free one.")
    :convert(integer(0, 65535))
  parser:option("--host", "Address to listen on (default: 127.0.0.1)."):convert(not_empty)
  parser:flag("--tls", "Serve HTTPS, with a CA whose file is printed.")
  parser:option("--secret-key", "Key of requests (default: sk_test_emulator).")
    :convert(not_empty)
  parser:option("--rate-limit", "Requests in ten seconds (default: unlimited).")
    :convert(integer(1))
end

local function announce(server)
  local lines = "listening on " .. server.url .. "\n"
  if server.ca_file then
    lines = lines .. "CA certificate: " .. server.ca_file .. "\n"
  end
  terminal.print(lines)
end

function emulate.run(arguments)
  local servers = failure.require("clerk.machines.emulator.server",
    "install lua-http (Debian: lua-http)")
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
    log = terminal.complain,
  }
  if not server then
    failure.raise(problem)
  end
  local ok, unwritten = pcall(announce, server)
  if ok then
    server:run(signal.SIGINT, signal.SIGTERM)
  end
  server:close()
  if not ok then
    error(unwritten, 0)
  end
end

return emulate
