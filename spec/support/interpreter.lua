-- The Lua of this run: its command, which is also the name of its build directory, and the version
-- in the places where it looks for modules.

local version = _VERSION:match "%d+%.%d+"
local is_luajit = rawget(_G, "jit") ~= nil

return {
  name = is_luajit and "luajit" or "lua" .. version,
  version = version,
  is_luajit = is_luajit,
}
