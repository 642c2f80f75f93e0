--- The clients that are compared, each a command that starts a worker.

local function lua(interpreter, script)
  return ('env LUA_CPATH="build/bench/%s/?.so;;" %s bench/workers/%s.lua')
    :format(interpreter, interpreter, script)
end

local function exists(path)
  return os.execute(("test -e %s"):format(path))
end

local ALL = "get list decode flight collect steps cancel close timeout lateness"

--- Debian's lua-http is there for Lua up to 5.3, but 5.4 reads it as well.
local function lua_http_for_5_4()
  local path = "$LUA_PATH;/usr/share/lua/5.3/?.lua;/usr/share/lua/5.1/?.lua"
  return ('env LUA_PATH_5_4="%s" %s'):format(path, lua("lua5.4", "lua_http"))
end

--- `kinds`: of the workloads that it has a part in, `only_new`: if they begin with a new TLS
--- connection. `peer_of`: whose row a Lua peer stands beside, which is the one on the same Lua.
local clients = {
  { name = "clerk.machines, Lua 5.4", command = lua("lua5.4", "clerk"), kinds = ALL },
  { name = "clerk.machines, LuaJIT", command = lua("luajit", "clerk"), kinds = ALL },
  { name = "libcurl", command = "build/bench/libcurl", kinds = "get list flight steps" },
  {
    name = "libcurl, Debian's CA",
    command = "build/bench/libcurl default",
    kinds = "get steps",
    only_new = true,
  },
  {
    name = "lua-cjson, LuaSocket, Lua 5.4",
    command = lua("lua5.4", "luasocket"),
    peer_of = "clerk.machines, Lua 5.4",
    kinds = "get list decode",
  },
  {
    name = "lua-cjson, LuaSocket, LuaJIT",
    command = lua("luajit", "luasocket"),
    peer_of = "clerk.machines, LuaJIT",
    kinds = "get list decode",
  },
  {
    name = "lua-cjson, lua-http, Lua 5.4",
    command = lua_http_for_5_4(),
    peer_of = "clerk.machines, Lua 5.4",
    kinds = "get list",
  },
  {
    name = "lua-cjson, lua-http, LuaJIT",
    command = lua("luajit", "lua_http"),
    peer_of = "clerk.machines, LuaJIT",
    kinds = "get list",
  },
}

if exists "build/bench/node/node_modules/@clerk/backend" then
  table.insert(clients, {
    name = "@clerk/backend, Node",
    command = ("env NODE_EXTRA_CA_CERTS=%s/ca.pem node bench/workers/clerk_backend.mjs")
      :format(arg[1]),
    kinds = "get list",
  })
end

return clients
