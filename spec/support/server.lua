-- Starts scripted servers for specs and reports what reached them. The server is a separate process
-- (raw_server.lua, which documents what a script can do), since the client under test may block.
--
--   local web = server.start [[
--     for request in connection:requests() do connection:answer(200, success()) end
--   ]]
--   … web:url "/v1" … web:requests()[1].line …
--   after_each(server.stop_all)

local files = require "support.files"
local literal = require "support.literal"
local process = require "support.process"

local DIRECTORY = debug.getinfo(1, "S").source:match "^@(.*/)"
local COMMAND = "env -u LD_PRELOAD luajit " .. process.quote(DIRECTORY .. "raw_server.lua")
local PATIENCE_POLLS = 3000

local running = {}

---@class ScriptedServer
---@field port integer
---@field scheme "http"|"https"
local Server = {}
Server.__index = Server

local server = {}

local function own_pid()
  local file = assert(io.open "/proc/self/stat")
  local pid = file:read "*n"
  file:close()
  return pid
end

---@class ScriptedServerTls
---@field certificate string PEM
---@field key string PEM
---@field alpn string[]?
---@field version "TLSv1"|"TLSv1.1"|"TLSv1.2"|nil the only one it speaks; any by default

---@class ScriptedServerOptions
---@field tls ScriptedServerTls? plain TCP by default
---@field values table<string, string>? for the script
---@field deaf boolean? never answers the SYN of a client
---@field first string? a script for the first connection, before any TLS
---@field host string? in `url`, 127.0.0.1 by default
---@field address string? to listen at, 127.0.0.1 by default

---Starts a server that runs `script` for every connection, on a free port of the loopback.
---@param script string body of a function(connection, shared, values, success); see success.lua
---@param options ScriptedServerOptions?
---@return ScriptedServer
function server.start(script, options)
  options = options or {}
  local config, record = os.tmpname(), os.tmpname()
  files.write(config, "return " .. literal {
    script = script,
    values = options.values or {},
    tls = options.tls,
    deaf = options.deaf,
    first = options.first,
    address = options.address,
    record = record,
    parent = own_pid(),
  })
  local handle = process.start(COMMAND .. " " .. config)
  local line = handle:read_line()
  local self = setmetatable({
    handle = handle,
    config = config,
    record = record,
    scheme = options.tls and "https" or "http",
    host = options.host or "127.0.0.1",
  }, Server)
  running[self] = true
  self.port = assert(tonumber(line:match "^listening on port (%d+)$"), line)
  return self
end

---@param path string?
---@return string
function Server:url(path)
  return ("%s://%s:%d%s"):format(self.scheme, self.host, self.port, path or "")
end

-- All events so far; an unfinished last line does not count yet.
function Server:events()
  local events = {}
  for line in files.read(self.record):gmatch "event([^\n]*)\n" do
    events[#events + 1] = assert((loadstring or load)("return " .. line))()
  end
  return events
end

local function of_kind(self, kind)
  local found = {}
  for _, event in ipairs(self:events()) do
    if event.kind == kind then found[#found + 1] = event end
  end
  return found
end

---The requests in the order of their arrival; see RawRequest in raw_server.lua.
---@return RawRequest[]
function Server:requests()
  return of_kind(self, "request")
end

---The number of accepted connections.
---@return integer
function Server:connections()
  return #of_kind(self, "connection")
end

---Everything that was recorded, as one string to search.
---@return string
function Server:everything()
  local parts = {}
  for _, event in ipairs(self:events()) do
    parts[#parts + 1] = event.bytes or event.line
  end
  return table.concat(parts, "\n")
end

---Waits until the server has recorded `count` events of a kind: see Connection:note.
---@param kind string
---@param count integer
function Server:wait_for(kind, count)
  for _ = 1, PATIENCE_POLLS do
    if #of_kind(self, kind) >= count then return end
    os.execute "sleep 0.01"
  end
  error(("the server has not recorded %d events of kind %s"):format(count, kind), 2)
end

---Waits until the server has received `count` requests.
---@param count integer
function Server:wait_until_received(count)
  self:wait_for("request", count)
end

---Waits until the server has ended `count` connections.
---@param count integer
function Server:wait_until_closed(count)
  self:wait_for("closed", count)
end

local function check_script(self)
  for _, event in ipairs(of_kind(self, "error")) do
    error("the server's script failed: " .. event.message, 0)
  end
end

---Stops the server; raises when its script has failed.
function Server:stop()
  if not running[self] then return end
  running[self] = nil
  self.handle:stop()
  local ok, problem = pcall(check_script, self)
  os.remove(self.config)
  os.remove(self.record)
  if not ok then error(problem, 0) end
end

---Stops every server; raises when a script has failed or a process is left.
function server.stop_all()
  local problem
  for each in pairs(running) do
    local ok, why = pcall(each.stop, each)
    problem = problem or not ok and why
  end
  process.none_left()
  if problem then error(problem, 0) end
end

return server
