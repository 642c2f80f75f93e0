/*
** A host for embed_spec.lua, of any Lua: ./embed_host PROGRAM ARGUMENT… runs a program with the
** module in package.preload.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "clerk_lua.h"

static void preload(lua_State *L) {
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_clerk_machines);
  lua_setfield(L, -2, "clerk.machines");
  lua_settop(L, 0);
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  preload(L);
  int failed = luaL_loadbuffer(L, argv[1], strlen(argv[1]), "=program");
  for (int i = 2; !failed && i < argc; i++) lua_pushstring(L, argv[i]);
  failed = failed || lua_pcall(L, argc - 2, 0, 0);
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed;
}
