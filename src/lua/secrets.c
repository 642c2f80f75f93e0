/* Text without the secrets in it: a server may repeat a key. */
#include "secrets.h"

#include <string.h>

#include "parts.h"
#include "support.h"

/* Shorter secrets are found by chance too often; real ones are much longer. */
enum { SHORTEST_TO_HIDE = 8 };

static const char *find(clerk_text text, clerk_text secret) {
  if (secret.length < SHORTEST_TO_HIDE) return NULL;
  return memmem(text.bytes, text.length, secret.bytes, secret.length);
}

void clerk_lua_push_without(lua_State *L, clerk_text text, clerk_text secret) {
  const char *found, *end = text.bytes + text.length;
  luaL_Buffer out;
  if (!find(text, secret)) {
    lua_pushlstring(L, text.bytes, text.length);
    return;
  }
  luaL_buffinit(L, &out);
  while ((found = find(text, secret)) != NULL) {
    luaL_addlstring(&out, text.bytes, (size_t)(found - text.bytes));
    luaL_addstring(&out, "(secret)");
    text.bytes = found + secret.length;
    text.length = (size_t)(end - text.bytes);
  }
  luaL_addlstring(&out, text.bytes, text.length);
  luaL_pushresult(&out);
}

/* core.without(text, secrets) -> the text with "(secret)" wherever it holds one of them */
static int core_without(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  for (int i = 1; i <= (int)lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    clerk_text text = clerk_lua_text(L, 1), secret = clerk_lua_text(L, 3);
    if (find(text, secret)) {
      clerk_lua_push_without(L, text, secret);
      lua_replace(L, 1);
    }
    lua_settop(L, 2);
  }
  lua_settop(L, 1);
  return 1;
}

void clerk_lua_add_secrets(lua_State *L) {
  lua_pushcfunction(L, core_without);
  lua_setfield(L, -2, "without");
}
