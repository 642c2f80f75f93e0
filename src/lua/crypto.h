/* RSA keys as Lua values. Internal to src/lua. */
#ifndef CLERK_LUA_CRYPTO_H
#define CLERK_LUA_CRYPTO_H

#include <lua.h>

#include "rsa.h"

/* The key at `index`, which the Lua value owns. Raises when it is not one. */
clerk_rsa_key *clerk_lua_check_rsa_key(lua_State *L, int index);

#endif
