/* The module clerk.machines.core. It is internal: its interface follows lua/clerk/machines. */
#include "module.h"

#include "parts.h"
#include "support.h"

int luaopen_clerk_machines_core(lua_State *L) {
#if LUA_VERSION_NUM < 502 /* PUC Lua 5.1 looks for modules where LuaJIT does */
  if (!lua_isyieldable) return luaL_error(L, "clerk.machines needs LuaJIT 2.1 or Lua 5.2 to 5.5");
#endif
  lua_newtable(L);
  clerk_lua_set_string(L, "version", clerk_version());
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  clerk_lua_add_tables(L);
  clerk_lua_add_checks(L);
  clerk_lua_add_call(L);
  clerk_lua_add_json(L);
  clerk_lua_add_crypto(L);
  clerk_lua_add_jwt(L);
  clerk_lua_add_http1(L);
  clerk_lua_add_text(L);
  clerk_lua_add_system(L);
  clerk_lua_add_files(L);
  clerk_lua_add_copy(L);
  clerk_lua_add_curl(L);
  clerk_lua_add_fast_path(L);
  clerk_lua_add_secrets(L);
  return 1;
}
