local emulator = require "clerk.machines.emulator"
local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"

local LARGEST = 2 ^ 53

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
  local range = max and ("from %d to %d"):format(min, max) or ("of at least %d"):format(min)
  return function(written)
    local number = written:find("^%d+$") and tonumber(written)
    if number and number >= min and number <= (max or LARGEST) then
      return number
    end
    return nil, ("'%s' is not an integer %s"):format(written, range)
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

local function announce(url, ca_file)
  local lines = "listening on " .. url .. "\n"
  if ca_file then
    lines = lines .. "CA certificate: " .. ca_file .. "\n"
  end
  terminal.print(lines)
end

function emulate.run(arguments)
  failure.require("http.server", "install lua-http (Debian: lua-http)")
  local api = emulator.new {
    secret_key = arguments.secret_key,
    rate_limit = arguments.rate_limit,
  }
  local served, problem = api:serve {
    host = arguments.host,
    port = arguments.port,
    tls = arguments.tls,
    on_listening = announce,
    on_error = terminal.complain,
  }
  if not served then
    failure.raise(problem)
  end
end

return emulate
