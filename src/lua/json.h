/* JSON into Lua values. Internal to src/lua. */
#ifndef CLERK_LUA_JSON_H
#define CLERK_LUA_JSON_H

#include <lua.h>

#include "clerk.h"

/* The type of the tables that the API's objects become. */
extern const char clerk_lua_result_type[];

/* How clerk_lua_decode makes Lua values. */
typedef struct clerk_lua_decoding {
  int object_metatable; /* stack index, or 0 */
  bool keep_null;       /* whether null members become null rather than absent */
} clerk_lua_decoding;

/*
** Reads a document and pushes its value; notes its shape, when there is one to fill. Returns false,
** with nothing pushed and the problem in the reader, when the document is malformed.
*/
bool clerk_lua_decode(lua_State *L, clerk_reader *reader, const clerk_lua_decoding *decoding,
                      clerk_shape *shape);

#endif
