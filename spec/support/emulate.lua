local process = require "support.process"

local LUA = require("support.interpreter").name

--- Starts the emulator's server, under the Lua of this run.
---@param arguments string? such as "--tls"
---@return Process
---@return string url
---@return string? ca_file with --tls
return function(arguments)
  local server = process.start(("%s bin/clerk-machines emulate %s"):format(LUA, arguments or ""))
  local url = assert(server:read_line()):match "^listening on (%S+)$"
  local ca_file = url:find "^https" and server:read_line():match "^CA certificate: (.+)$" or nil
  return server, url, ca_file
end
