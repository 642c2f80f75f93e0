-- Runs Lua inside a real nginx for specs, in its own directory, on its own socket.
--
--   local web = nginx.start { server = "location /x { … }", workers = 2 }
--   web:run [[ return ngx.get_phase() ]]            --> "content"
--   web:run([[ return (...).name ]], { name = "a" }, "/log")
--   web:get "/x"                                    --> the body, the status
--   web:log()                                       --> nginx's error log so far
--   after_each(nginx.stop_all)
--
-- The code runs in the phase where nginx.conf calls run(). It is passed in a file, and its results
-- come back in one. nginx's Lua is LuaJIT, so this is for specs that run on LuaJIT.

local files = require "support.files"
local literal = require "support.literal"
local process = require "support.process"

local read, write = files.read, files.write

local PATIENCE_POLLS = 6000

-- Debian's nginx, either installed or unpacked by examples/setup, so that no service starts.
local UNPACKED = "build/nginx"

local running = {}

---@class Nginx
---@field directory string
---@field count integer the number of workers
local Nginx = {}
Nginx.__index = Nginx

local nginx = {}

local function output_of(command)
  return (process.output_of(command):gsub("%s+$", ""))
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- The paths of this process made absolute.
local function absolute(paths, directory)
  return (paths:gsub("[^;]+", function(path)
    return path:sub(1, 1) == "/" and path or directory .. "/" .. path
  end))
end

-- The function run(), which nginx calls in the phase that a spec is about.
local RUNNER = [[
local literal = require "support.literal"
local directory = ...

local function keep(text)
  local file = assert(io.open(directory .. "/result.new", "w"))
  file:write("return ", text)
  file:close()
  os.rename(directory .. "/result.new", directory .. "/result")
end

function run()
  local code, problem = loadfile(directory .. "/code")
  local values = loadfile(directory .. "/values")
  if code then
    keep(literal { pcall(code, values()) })
  elseif not problem:find "No such file" then
    keep(literal { false, problem })
  end
  os.remove(directory .. "/code")
end
]]

local CONFIGURATION = [[
daemon off;
user @USER@;
worker_processes @WORKERS@;
pid @DIRECTORY@/pid;
error_log @DIRECTORY@/error.log info;
load_module @ROOT@/usr/lib/nginx/modules/ndk_http_module.so;
load_module @ROOT@/usr/lib/nginx/modules/ngx_http_lua_module.so;
@MAIN@
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path @DIRECTORY@/body;
  proxy_temp_path @DIRECTORY@/proxy;
  fastcgi_temp_path @DIRECTORY@/fastcgi;
  uwsgi_temp_path @DIRECTORY@/uwsgi;
  scgi_temp_path @DIRECTORY@/scgi;
  keepalive_requests 1000000;
  default_type text/plain;
  lua_package_path "@DIRECTORY@/?.lua;@PATH@;@ROOT@/usr/share/lua/5.1/?.lua";
  lua_package_cpath "@CPATH@";
  init_by_lua_block { assert(loadfile "@DIRECTORY@/runner.lua")("@DIRECTORY@") @INIT@ }
  @HTTP@
  server {
    listen unix:@DIRECTORY@/socket;
    location = /run { content_by_lua_block { run() } }
    @SERVER@
  }
}
]]

local function configuration_of(options, directory)
  local here = output_of "pwd"
  local values = {
    DIRECTORY = directory,
    ROOT = exists(UNPACKED .. "/usr/sbin/nginx") and here .. "/" .. UNPACKED or "",
    USER = output_of "echo $(id -un) $(id -gn)",
    WORKERS = options.workers or 1,
    MAIN = options.main or "",
    HTTP = options.http or "",
    INIT = options.init or "",
    SERVER = options.server or "",
    PATH = absolute(package.path, here),
    CPATH = absolute(package.cpath, here),
  }
  return (CONFIGURATION:gsub("@(%u+)@", values):gsub("@DIRECTORY@", directory)), values.ROOT
end

---@class NginxOptions
---@field server string? directives of the server, such as its locations; @DIRECTORY@ is replaced
---@field http string? directives around it
---@field main string? directives around that
---@field init string? Lua for init_by_lua
---@field files table<string, string>? further files of the directory, Lua modules among them
---@field workers integer? 1 by default
---@field environment string? of the process, as for env(1)

---Starts an nginx and waits until it serves.
---@param options NginxOptions?
---@return Nginx
function nginx.start(options)
  options = options or {}
  local directory = output_of "mktemp -d"
  local configuration, root = configuration_of(options, directory)
  write(directory .. "/nginx.conf", configuration)
  write(directory .. "/error.log", "")
  write(directory .. "/runner.lua", RUNNER)
  for name, text in pairs(options.files or {}) do write(directory .. "/" .. name, text) end
  local self = setmetatable({ directory = directory, count = options.workers or 1 }, Nginx)
  running[self] = true
  assert(exists(root .. "/usr/sbin/nginx"), "nginx is missing: examples/setup test installs it")
  self.handle = process.start(("env %s %s/usr/sbin/nginx -p %s -c nginx.conf -e error.log")
    :format(options.environment or "", root, directory))
  self:wait_until("serving", function() return #self:workers() == self.count end)
  return self
end

---Waits until a function returns true; fails with the error log when it never does.
function Nginx:wait_until(what, is_so)
  for _ = 1, PATIENCE_POLLS do
    if is_so() then return end
    os.execute "sleep 0.01"
  end
  error(("nginx: timed out waiting for %s\n%s"):format(what, self:log()), 2)
end

---nginx's error log so far.
---@return string
function Nginx:log()
  return read(self.directory .. "/error.log")
end

---Sends a request with curl.
---@param path string
---@param socket string? a different socket, which speaks TLS
---@return string body
---@return integer status
function Nginx:get(path, socket)
  local _, output = process.run(self:curl(path, socket))
  local body, status = output:match "^(.*)\n(%d+)$"
  return body, tonumber(status)
end

---The command for that, with further arguments for curl.
function Nginx:curl(path, socket, arguments)
  return ("curl -sk -w '\\n%%{http_code}' --unix-socket %s/%s %s %s"):format(
    self.directory, socket or "socket", arguments or "-m 60",
    process.quote((socket and "https" or "http") .. "://nginx" .. path))
end

---Runs code with run() in the location of a path, and returns or raises what the code did.
---@param code string
---@param values any the code's argument
---@param path string?
---@param socket string?
function Nginx:run(code, values, path, socket)
  self:prepare(code, values)
  local curl = process.start(self:curl(path or "/run", socket))
  local results = { pcall(self.result, self) }
  curl:stop() -- the request may go on in remaining threads
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2)
end

---Sets the code of the next run().
function Nginx:prepare(code, values)
  write(self.directory .. "/values", "return " .. literal(values))
  write(self.directory .. "/code", code)
end

---Waits for the end of run(), and returns or raises what it did.
function Nginx:result()
  local path = self.directory .. "/result"
  self:wait_until("a result", function() return exists(path) end)
  local result = assert(loadfile(path))()
  os.remove(path)
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2)
end

---The processes that serve.
---@return integer[]
function Nginx:workers()
  local pids = {}
  local _, output = process.run("pgrep -P " .. self.handle.pid)
  for pid in output:gmatch "%d+" do
    pids[#pids + 1] = tonumber(pid)
  end
  return pids
end

---Makes the master read its configuration again, and waits until its workers are replaced.
function Nginx:reload()
  local old = {}
  for _, pid in ipairs(self:workers()) do old[pid] = true end
  os.execute("kill -s HUP " .. self.handle.pid)
  self:wait_until("new workers", function()
    local workers = self:workers()
    for _, pid in ipairs(workers) do
      if old[pid] then return false end
    end
    return #workers == self.count
  end)
end

---Stops it and removes its files.
function Nginx:stop()
  if not running[self] then return end
  running[self] = nil
  local ok, problem = pcall(self.handle.stop, self.handle)
  os.execute("rm -r " .. self.directory)
  if not ok then error(problem, 0) end
end

---Stops every nginx.
function nginx.stop_all()
  for each in pairs(running) do each:stop() end
end

return nginx
