--- The transport on libcurl, which blocks: the default outside of tasks and nginx.

local core = require "clerk.machines.core"

local Libcurl = {}
Libcurl.__index = Libcurl

--- How long one step may wait, so that signals and debug hooks get their turn.
local STEP_MS = 1000

local function finish(curl, transfer)
  while not transfer:is_finished() do
    curl:step(STEP_MS)
  end
end

---@param request clerk.machines.Request
---@return clerk.machines.Response|nil
---@return clerk.machines.Failure|nil
function Libcurl:send(request)
  local transfer = self.curl:start(request)
  local ok, problem = pcall(finish, self.curl, transfer)
  if not ok then -- a signal or a hook: the next call must not carry this one out
    transfer:cancel()
    error(problem, 0)
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
