/* The module clerk.machines for hosts that embed it: its Lua sources are compiled in. */
#include "embed.h"

#include <lauxlib.h>

#include "clerk_lua.h"
#include "module.h"

/* Runs the source whose index is its upvalue. */
static int open_source(lua_State *L) {
  const clerk_lua_source *source = &clerk_lua_sources[lua_tointeger(L, lua_upvalueindex(1))];
  if (luaL_loadbuffer(L, (const char *)source->text, source->length, source->chunk) != 0)
    return lua_error(L);
  lua_call(L, 0, 1);
  return 1;
}

static void push_preload(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
  if (!lua_istable(L, -1)) luaL_error(L, "clerk.machines needs Lua's standard libraries");
}

int luaopen_clerk_machines(lua_State *L) {
  push_preload(L);
  lua_pushcfunction(L, luaopen_clerk_machines_core);
  lua_setfield(L, -2, "clerk.machines.core");
  for (int i = 0; clerk_lua_sources[i].module; i++) {
    lua_pushinteger(L, i);
    lua_pushcclosure(L, open_source, 1);
    lua_setfield(L, -2, clerk_lua_sources[i].module);
  }
  lua_getfield(L, -1, "clerk.machines");
  lua_call(L, 0, 1);
  return 1;
}
