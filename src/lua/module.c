/* The module clerk.machines.core. It is internal: its interface follows lua/clerk/machines. */
#include "module.h"

#include "parts.h"
#include "support.h"

int luaopen_clerk_machines_core(lua_State *L) {
  lua_newtable(L);
  clerk_lua_set_string(L, "version", clerk_version());
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  clerk_lua_add_tables(L);
  clerk_lua_add_checks(L);
  clerk_lua_add_call(L);
  clerk_lua_add_json(L);
  clerk_lua_add_text(L);
  clerk_lua_add_system(L);
  clerk_lua_add_curl(L);
  return 1;
}
