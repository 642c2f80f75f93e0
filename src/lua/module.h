#ifndef CLERK_LUA_MODULE_H
#define CLERK_LUA_MODULE_H

#include <lua.h>

/* Opens the module clerk.machines.core. */
__attribute__((visibility("default"))) int luaopen_clerk_machines_core(lua_State *L);

#endif
