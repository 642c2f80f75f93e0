-- Runs a command in its own terminal, as a person does: reads the screen and types. The terminal is
-- that of script (util-linux), and only `type` types.
--
--   local screen = pty.start("env TERM=xterm some-command", { columns = 40 })
--   screen:await "[y/N] "
--   screen:type "y\n"
--   local status, text = screen:finish()

local process = require "support.process"

local SECONDS = 20

local pty = {}

---@class Pty
---@field text string the whole output so far
local Pty = {}
Pty.__index = Pty

---Starts a simple command (no `;`, no pipe, variables by `env`).
---@param command string
---@param options { columns: integer }? 80 by default
---@return Pty
function pty.start(command, options)
  local columns = options and options.columns or 80
  local fifo = os.tmpname()
  os.remove(fifo)
  assert(process.run("mkfifo " .. fifo) == 0)
  local inner = ("stty cols %d rows 24; exec %s"):format(columns, command)
  local outer = ("exec timeout %d script -qec %s /dev/null <%s"):format(
    SECONDS, process.quote(inner), fifo)
  local keyboard = assert(io.open(fifo, "r+b")) -- "r+": does not wait for a reader
  local started = process.start("sh -c " .. process.quote(outer))
  return setmetatable({ process = started, keyboard = keyboard, fifo = fifo, text = "" }, Pty)
end

---Reads until this text appears, or to the end.
---@param expected string
---@return boolean
function Pty:await(expected)
  while not self.text:find(expected, 1, true) do
    local byte = self.process.pipe:read(1)
    if not byte then
      return false
    end
    self.text = self.text .. byte
  end
  return true
end

---@param keys string "\3" is ^C, "\4" ^D
function Pty:type(keys)
  self.keyboard:write(keys)
  self.keyboard:flush()
end

---Waits for the end.
---@return integer status 128 plus the signal's number if a signal ended it
---@return string text the whole output, with "\n" as line end
function Pty:finish()
  local rest = self.process.pipe:read("*a")
  self.keyboard:close()
  os.remove(self.fifo)
  return self.process:wait(), ((self.text .. rest):gsub("\r\n", "\n"))
end

---What a person finally sees of a text: without erased lines and colours.
---@param text string
---@return string
function pty.visible(text)
  return (text:gsub("[^\n]*\r\27%[K", ""):gsub("\27%[%d+m", ""))
end

return pty
