/* Text without the secrets in it. Internal to src/lua. */
#ifndef CLERK_LUA_SECRETS_H
#define CLERK_LUA_SECRETS_H

#include <lua.h>

#include "clerk.h"

/* Pushes the text with "(secret)" wherever it holds the secret, which may be absent. */
void clerk_lua_push_without(lua_State *L, clerk_text text, clerk_text secret);

#endif
