--- The command emulate.

local arguments = require "clerk.machines.cli.arguments"
local failure = require "clerk.machines.cli.failure"
local terminal = require "clerk.machines.cli.terminal"

local emulate = {
  name = "emulate",
  is_offline = true,
  summary = "Run an emulator of Clerk's API on machines and tokens.",
  epilog = [[
Example:
   clerk-machines emulate --port 8080 &
   export CLERK_API_URL=http://127.0.0.1:8080
   export CLERK_SECRET_KEY=sk_test_emulator
   clerk-machines create "billing worker"

It keeps machines and tokens in memory, and ends on SIGINT (^C) or SIGTERM.

To test failures, POST a fault to /emulator/faults, for example
   {"operation": "create", "times": 2, "status": 503, "retry_after": 1}
DELETE /emulator/faults removes all.]],
}

local function text(option)
  return function(written)
    if written ~= "" and not written:find("%c") then
      return written
    end
    return nil, option .. " must not be empty or have control characters"
  end
end

function emulate.declare(parser)
  parser:option("--port", "Port to listen on (default: 0, a free port)."):argname("<port>")
    :convert(arguments.integer("--port", 0, 65535))
  parser:option("--host", "Address to listen on (default: 127.0.0.1)."):argname("<address>")
    :convert(text("--host"))
  parser:flag("--tls", "Serve HTTPS; print the CA certificate's file.")
  parser:option("--secret-key", "The instance's secret key (default: sk_test_emulator). Make one "
    .. "up: others on this computer can see it.")
    :argname("<key>"):convert(text("--secret-key"))
  parser:option("--rate-limit", "Requests per ten seconds (default: no limit).")
    :argname("<count>"):convert(arguments.integer("--rate-limit", 1, 1000000000))
end

local function announce(url, ca_file)
  local lines = "listening on " .. url .. "\n"
  if ca_file then
    lines = lines .. "CA certificate: " .. ca_file .. "\n"
  end
  terminal.print(lines)
end

function emulate.run(parsed)
  failure.require("http.server", "install lua-http (Debian: lua-http)")
  local emulator = require "clerk.machines.emulator" -- only this command loads it
  local api = emulator.new { secret_key = parsed.secret_key, rate_limit = parsed.rate_limit }
  local served, problem = api:serve {
    host = parsed.host,
    port = parsed.port,
    tls = parsed.tls,
    on_listening = announce,
    on_error = terminal.complain,
  }
  if not served then
    failure.raise(problem)
  end
end

return { emulate }
