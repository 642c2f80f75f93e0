/* The userdata of curl.c, for the parts of the binding that use them. Internal to src/lua. */
#ifndef CLERK_LUA_TRANSFERS_H
#define CLERK_LUA_TRANSFERS_H

#include <lua.h>

#include "curl.h"

/* Raise unless the one or the other is at `index`. */
clerk_curl *clerk_lua_check_curl(lua_State *L, int index);
clerk_transfer *clerk_lua_check_transfer(lua_State *L, int index);

/* Pushes a transfer that is not started yet. */
clerk_transfer *clerk_lua_new_transfer(lua_State *L);

/* The header lines of its response. */
clerk_text clerk_lua_head_of(const clerk_transfer *transfer);

/* How long one step waits at most: signals and debug hooks get their turn between steps. */
enum { CLERK_LUA_LONGEST_STEP_MS = 1000 };

/* Raises unless the status of a step towards a transfer is CLERK_OK. */
void clerk_lua_check_status(lua_State *L, clerk_status status);

#endif
