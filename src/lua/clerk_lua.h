/*
** The Lua module clerk.machines for hosts that embed it: libclerk_machines.a holds all of it, the
** Lua sources too, so that nothing is looked for in files. It is built for one Lua, the host's own,
** which the host links itself. Open Lua's standard libraries first.
*/
#ifndef CLERK_LUA_H
#define CLERK_LUA_H

#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
** Returns the module and makes clerk.machines.safe, with all that both are made of, known to
** `require` (through package.preload). Raises when Lua has no memory or no standard libraries.
**
** On Lua 5.4:
**
**   luaL_requiref(L, "clerk.machines", luaopen_clerk_machines, 0);
**   lua_pop(L, 1);
**
** On any Lua, LuaJIT too:
**
**   lua_pushcfunction(L, luaopen_clerk_machines);
**   lua_call(L, 0, 0);
**
** You can also put it into package.preload as "clerk.machines"; the rest is known once a script has
** required it.
**
** Link a plugin, which is loaded and unloaded, with -Wl,-z,nodelete: libcurl's resolver may outlive
** its Lua state.
*/
int luaopen_clerk_machines(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
