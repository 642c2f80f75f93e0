-- System functions that some specs need and Lua lacks: posix.c, compiled when it is required
-- (Debian's luaposix is not for Lua 5.4).
--
--   fork()                 --> pid of the child, 0 in the child
--   exit(status)           exits at once: nothing is collected or flushed
--   exit_after(work)       the same after work(), with 1 if it raised an error
--   in_child(work)         --> pid of a child that exits after work()
--   wait(pid)              --> the child's exit status, or minus the signal that ended it
--   close(fd)
--   setenv(name, value)    nil unsets
--   is_readable(fd, ms)    --> whether a descriptor is readable, or becomes so within ms
--   limit_descriptors(n)   --> the limit of this process before (RLIMIT_NOFILE)
--   allocated()            --> bytes that are allocated with malloc (glibc)
--   trim()                 returns the pages of the heap that nothing uses (glibc)
--   restore_sigpipe()      lets SIGPIPE end this process again, as it does by default

local lua = require("support.interpreter").name

local function compile(library)
  local source = debug.getinfo(1, "S").source:match "^@(.*)lua$" .. "c"
  local command = "env -u LD_PRELOAD cc -shared -fPIC $(pkg-config --cflags %s) -o %s %s"
  local status = os.execute(command:format(lua, library, source))
  assert(status == true or status == 0, "posix.c does not compile")
end

local library = os.tmpname()
compile(library)
local open = assert(package.loadlib(library, "luaopen_posix"))
os.remove(library)
local posix = open()

function posix.exit_after(work)
  local ok, problem = pcall(work)
  if not ok then io.stderr:write(tostring(problem), "\n") end
  posix.exit(ok and 0 or 1)
end

function posix.in_child(work)
  local pid = posix.fork()
  if pid == 0 then posix.exit_after(work) end
  return pid
end

return posix
