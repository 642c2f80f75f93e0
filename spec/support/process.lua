-- Runs commands for specs, in the background (start) or to their end (run).
--
--   local server = process.start("env PORT=0 some-server --flag", { errors = "/a/file" })
--   server:read_line()           --> the next line it printed, nil at its end
--   server:signal("TERM")
--   server:wait()                --> exit status, the rest of its output
--   server:stop()                --> sends SIGTERM, then waits
--   after_each(process.none_left)
--
-- Each process leads its own group, so that the processes it starts are found and ended too.

local files = require "support.files"

local PATIENCE_SECONDS = 30
local POLL_SECONDS = 0.01

local process = {}

---@class Process
---@field pid integer
---@field command string
---@field status integer? once it has ended: its exit status, or 128 plus the signal that ended it
local Process = {}
Process.__index = Process

local unfinished = {}

---Quotes an argument for the shell.
---@param text string
---@return string
function process.quote(text)
  return "'" .. text:gsub("'", [['\'']]) .. "'"
end

local function is_running(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if file then
    file:close()
  end
  return file ~= nil
end

-- Not with signal 0, which also reaches zombies: their new parent may never wait for them.
local function is_group_running(group)
  local found = false
  local listing = io.popen("cat /proc/[0-9]*/stat 2>/dev/null")
  for line in listing:lines() do
    local state, its_group = line:match("^.*%) (%a) %d+ (%d+)")
    found = found or tonumber(its_group) == group and state ~= "Z"
  end
  listing:close()
  return found
end

local function signal_group(group, name)
  os.execute(("kill -s %s -- -%d 2>/dev/null"):format(name, group))
end

-- The inner shell prints its pid and becomes the command. The outer one stays to write the status
-- (LuaJIT's `close` does not return it), and must not print how its child ended. A sanitizer that
-- was loaded into this process is not for its children; where busted has found modules is.
local WRAPPER = "exec 3>&2 2>/dev/null; unset LD_PRELOAD; LUA_PATH=${LUA_PATH-%s}; "
  .. "LUA_CPATH=${LUA_CPATH-%s}; export LUA_PATH LUA_CPATH; setsid sh -c %s; echo $? >%s"

---Starts a simple command (no `;`, no pipe, variables by `env`) in the background.
---@param command string
---@param options { errors: string }? errors: a file for its standard error
---@return Process
function process.start(command, options)
  local errors = options and options.errors
  local target = errors and process.quote(errors) or "&3"
  local inner = ("echo $$; exec 2>%s 3>&-; exec %s"):format(target, command)
  local status_file = os.tmpname()
  local pipe = assert(io.popen(WRAPPER:format(process.quote(package.path),
    process.quote(package.cpath), process.quote(inner), status_file), "r"))
  local pid = assert(tonumber(pipe:read("*l")), "the shell did not start")
  local self = { pid = pid, command = command, pipe = pipe, status_file = status_file }
  unfinished[self] = true
  return setmetatable(self, Process)
end

---The next line of its standard output; waits for it.
---@return string? line nil at the end
function Process:read_line()
  return self.pipe:read("*l")
end

---Sends a signal to it and to the processes it started.
---@param name string "TERM", "INT", …
function Process:signal(name)
  signal_group(self.pid, name)
end

local function ends_in_time(predicate, pid)
  local deadline = os.time() + PATIENCE_SECONDS
  while predicate(pid) do
    if os.time() > deadline then
      return false
    end
    os.execute("sleep " .. POLL_SECONDS)
  end
  return true
end

-- Ends what is left of its group; returns what was wrong.
local function end_group(self)
  local problem = not ends_in_time(is_running, self.pid) and "did not end: "
    or not ends_in_time(is_group_running, self.pid) and "left a process behind: "
  if problem then
    signal_group(self.pid, "KILL")
    return problem .. self.command
  end
end

---Waits for its end; raises if that takes half a minute or a process is left behind.
---@return integer status
---@return string output the rest of its standard output
function Process:wait()
  if self.status then
    return self.status, ""
  end
  local problem = end_group(self)
  local output = self.pipe:read("*a")
  self.pipe:close()
  self.status = tonumber(files.read(self.status_file))
  os.remove(self.status_file)
  unfinished[self] = nil
  if problem then
    error(problem, 2)
  end
  return self.status, output
end

---Sends SIGTERM and waits; does nothing if it has ended.
---@return integer status
function Process:stop()
  if not self.status then
    self:signal("TERM")
  end
  return (self:wait())
end

---Runs a command (any shell syntax) to its end.
---@param command string
---@return integer status
---@return string output
---@return string errors
function process.run(command)
  local errors_file = os.tmpname()
  local quoted = process.quote(command)
  local shell = process.start("sh -c " .. quoted, { errors = errors_file })
  local output = shell.pipe:read("*a")
  local status = shell:wait()
  local errors = files.read(errors_file)
  os.remove(errors_file)
  return status, output, errors
end

---The same for a command that must succeed; raises with its whole output if it does not.
---@param command string
---@return string output
function process.output_of(command)
  local status, output, errors = process.run(command)
  assert(status == 0, command .. "\n" .. output .. errors)
  return output
end

---For teardowns: kills started processes that are still running, and raises if there were any.
function process.none_left()
  local left = {}
  for each in pairs(unfinished) do
    if is_running(each.pid) then
      left[#left + 1] = each.command
      each:signal("KILL")
    end
    each:wait()
  end
  if left[1] then
    error("still running: " .. table.concat(left, "; "), 2)
  end
end

return process
