--- The terminal: whether there is one, how wide it is, colours, a status line and questions. All
--- output goes through here, so that nothing runs into the status line and no failed write goes
--- unnoticed.

local core = require "clerk.machines.core"
local failure = require "clerk.machines.cli.failure"
local text = require "clerk.machines.cli.text"

local terminal = {
  PROGRAM = "clerk-machines",
  name = "clerk-machines", -- with the command, once it is known: "clerk-machines scope add"
  STDIN = 0,
  STDOUT = 1,
  STDERR = 2,
}

local DEFAULT_WIDTH = 80
local BROKEN_PIPE = 32

--- Whether a descriptor is a terminal.
---@param descriptor integer
---@return boolean
function terminal.is(descriptor)
  return core.terminal(descriptor) ~= nil
end

local function positive(value)
  local number = tonumber(value)
  return number and number >= 1 and math.floor(number) or nil
end

--- The terminal's columns. Standard error is asked too, because its status line is shown when only
--- the output goes elsewhere.
---@return integer
function terminal.width()
  return positive(os.getenv("COLUMNS")) or positive(core.terminal(terminal.STDOUT))
    or positive(core.terminal(terminal.STDERR)) or DEFAULT_WIDTH
end

-- ---------------------------------------------------------------- colours

local function is_plain()
  return (os.getenv("NO_COLOR") or "") ~= "" or os.getenv("TERM") == "dumb"
end

local function style(code)
  return function(value, descriptor)
    if is_plain() or not terminal.is(descriptor or terminal.STDOUT) then
      return value
    end
    return ("\27[%dm%s\27[0m"):format(code, value)
  end
end

---@type fun(value: string, descriptor?: integer): string
terminal.bold = style(1)
terminal.faint = style(2)
terminal.red = style(31)
terminal.green = style(32)
terminal.yellow = style(33)

-- ---------------------------------------------------------------- writing

--- Writes everything, or returns nil, the problem and its number. Lua's own files lose what a
--- non-blocking pipe cannot take at once.
local function write(descriptor, written)
  local at, problem, code = 1, nil, nil
  while at and at <= #written do
    at, problem, code = core.write(descriptor, written, at)
  end
  return at, problem, code
end

--- When standard error fails, there is nowhere to report it.
local function write_error(...)
  write(terminal.STDERR, table.concat { ... })
end

-- ---------------------------------------------------------------- the status line

local status

local function erase()
  write_error("\r\27[K")
end

local function draw()
  local line = text.fit(status, math.max(1, terminal.width() - 1))
  write_error(terminal.faint(line, terminal.STDERR))
end

--- Shows a line below everything else until it is changed or, by nil, removed. Does nothing where
--- standard error is not a terminal that can erase it.
---@param line string|nil
function terminal.show_status(line)
  if status == line then
    return
  elseif status then
    erase()
  end
  local is_able = line and terminal.is(terminal.STDERR) and os.getenv("TERM") ~= "dumb"
  status = is_able and line or nil
  if status then
    draw()
  end
end

-- ---------------------------------------------------------------- printing

--- Runs without the status line on the screen.
local function above_status(f, ...)
  if not status then
    return f(...)
  end
  erase()
  f(...)
  draw()
end

local function write_output(written)
  local ok, problem, code = write(terminal.STDOUT, written)
  if not ok then
    failure.raise(code ~= BROKEN_PIPE and "cannot write to standard output: " .. problem or nil)
  end
end

--- Prints on standard output, at once.
---@param written string
function terminal.print(written)
  above_status(write_output, written)
end

--- What comes from elsewhere, made safe and, on a terminal, broken between words.
local function fit(line)
  line = text.clean(line)
  return terminal.is(terminal.STDERR) and text.wrap(line, terminal.width()) or line
end

--- Prints a line on standard error.
---@param line string
---@param alarming? string a part of it to show in red, unless it is broken
function terminal.note(line, alarming)
  line = fit(line)
  local first, last = line:find(alarming or "", 1, true)
  if alarming and first then
    line = line:sub(1, first - 1) .. terminal.red(alarming, terminal.STDERR) .. line:sub(last + 1)
  end
  above_status(write_error, line, "\n")
end

--- Prints a problem on standard error, in one line.
---@param problem string
function terminal.complain(problem)
  terminal.note(terminal.name .. ": " .. problem, terminal.name .. ":")
end

--- Prints the command's help on standard error.
---@param help string
function terminal.show_help(help)
  write_error(help, "\n")
end

--- Explains to a person at the terminal, if there is one, why nothing is printed.
---@param line string
function terminal.remark(line)
  if terminal.is(terminal.STDERR) then
    terminal.note(line)
  end
end

-- ---------------------------------------------------------------- questions

--- Whether a person can answer.
---@return boolean
function terminal.can_ask()
  return terminal.is(terminal.STDIN) and terminal.is(terminal.STDERR)
end

-- A child process reads, because ^C always ends a child, but not a read in LuaJIT. At the end of
-- input the cursor is still on the question's line.
local READ_LINE = [[IFS= read -r line || echo >&2; printf %s "$line"]]

--- Asks a question; only "y" and "yes" mean yes.
---@param question string
---@return boolean
function terminal.ask(question)
  write_error(fit(question .. " [y/N]"), " ")
  local pipe = io.popen(READ_LINE, "r")
  local answer = pipe:read("*a"):lower()
  pipe:close()
  return answer == "y" or answer == "yes"
end

-- Asks only when nothing is shown any more. Afterwards the terminal shows again what is typed, also
-- after ^C.
local READ_HIDDEN = [[saved=$(stty -g)
trap 'stty "$saved"; echo >&2' EXIT
trap 'exit 130' INT TERM
stty -echo; printf '%s ' >&2; IFS= read -r line; printf %%s "$line"]]

--- Reads a line from standard input; at a terminal it asks for it, and does not show it.
---@param prompt string without what a shell would interpret
---@return string|nil line
function terminal.read_secret(prompt)
  if not terminal.is(terminal.STDIN) then
    return (io.read("*l"))
  end
  local pipe = io.popen(READ_HIDDEN:format(prompt), "r")
  local ok, line = pcall(pipe.read, pipe, "*a") -- ^C is an error in some Luas
  pipe:close() -- waits until the terminal is as it was
  return ok and line or error(line, 0)
end

return terminal
