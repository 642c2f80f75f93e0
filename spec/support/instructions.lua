-- Counts the processor's instructions that a piece of Lua takes, in Lua and in C. Unlike time,
-- they are as many on a busy machine. The piece runs in a process of its own, under callgrind.
-- What costs much at times that have nothing to do with the piece is off: the collector, LuaJIT's
-- compiler, and malloc's fast bins, which are cleared when some large block is asked for.

local files = require "support.files"
local literal = require "support.literal"
local process = require "support.process"

local LUA = rawget(_G, "jit") and "luajit -joff" or "lua5.4"

-- Callgrind writes down its count and begins anew whenever libc's clock is called.
local PROGRAM = [[
local work, inputs = assert(loadfile(arg[1])), assert(loadfile(arg[2]))()
for _, input in ipairs(inputs) do
  collectgarbage()
  collectgarbage "stop"
  os.clock()
  work(input)
  os.clock()
end
]]

local COMMAND = [[
env -u LD_PRELOAD GLIBC_TUNABLES=glibc.malloc.mxfast=0 LUA_PATH=%s LUA_CPATH=%s \
  valgrind -q --tool=callgrind --dump-before=clock \
  --callgrind-out-file=%s %s %s %s %s]]

local instructions = {}

---@param work string Lua source, which gets an input as its argument
---@param inputs (string|number|table)[]
---@return integer[] counts
function instructions.count(work, inputs)
  local directory = process.output_of("mktemp -d"):match "%S+"
  local paths = {}
  local texts = { program = PROGRAM, work = work, inputs = "return " .. literal(inputs) }
  for name, text in pairs(texts) do
    paths[name] = directory .. "/" .. name
    files.write(paths[name], text)
  end
  process.output_of(COMMAND:format(process.quote(package.path), process.quote(package.cpath),
    directory .. "/counts", LUA, paths.program, paths.work, paths.inputs))
  local counts = {}
  for i = 1, #inputs do
    local dump = files.read(("%s/counts.%d"):format(directory, 2 * i))
    counts[i] = tonumber(dump:match "\ntotals: (%d+)")
  end
  os.execute("rm -r " .. directory)
  return counts
end

return instructions
