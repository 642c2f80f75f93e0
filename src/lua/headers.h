/* HTTP headers as a table. Internal to src/lua. */
#ifndef CLERK_LUA_HEADERS_H
#define CLERK_LUA_HEADERS_H

#include <lua.h>

#include "clerk.h"

/*
** Pushes a table of the header lines: names in lower case, repeated ones joined by ", ". It does not
** show the secret, which may be absent.
*/
void clerk_lua_push_headers(lua_State *L, clerk_text fields, clerk_text secret);

#endif
