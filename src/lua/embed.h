/* The sources of the Lua modules, as cmake/lua_sources.cmake writes them. Internal to src/. */
#ifndef CLERK_LUA_EMBED_H
#define CLERK_LUA_EMBED_H

#include <stddef.h>

typedef struct clerk_lua_source {
  const char *module; /* "clerk.machines.errors" */
  const char *chunk;  /* "@clerk/machines/errors.lua" */
  const unsigned char *text;
  size_t length;
} clerk_lua_source;

extern const clerk_lua_source clerk_lua_sources[]; /* until a module that is NULL */

#endif
