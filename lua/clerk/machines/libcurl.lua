--- The transport on libcurl, which blocks: the default outside of tasks and nginx.

local core = require "clerk.machines.core"

local Libcurl = {}
Libcurl.__index = Libcurl

--- How long one step may wait, so that signals and debug hooks get their turn.
local STEP_MS = 1000

---@param request clerk.machines.Request
---@return clerk.machines.Response|nil
---@return clerk.machines.Failure|nil
function Libcurl:send(request)
  local transfer = self.curl:start(request)
  while not transfer:is_finished() do
    self.curl:step(STEP_MS)
  end
  return transfer:take()
end

function Libcurl:close()
  self.curl:close()
end

local libcurl = {}

--- Makes a transport with connections of its own.
---@param options { ca_file: string?, proxy: string?, max_connections: integer }
---@return clerk.machines.Transport|nil
---@return string|nil problem what is wrong with ca_file
function libcurl.new(options)
  local curl, problem = core.curl(options)
  if not curl then
    return nil, problem
  end
  return setmetatable({ curl = curl }, Libcurl)
end

return libcurl
