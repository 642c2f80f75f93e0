/*
** Helpers of the binding, the only part that knows Lua. No other file of the binding is included
** here.
**
** A Lua error is a longjmp. So everything that must be freed belongs to a userdata, which is zeroed
** and has its metatable before it acquires anything.
*/
#ifndef CLERK_LUA_SUPPORT_H
#define CLERK_LUA_SUPPORT_H

#include <lauxlib.h>
#include <lua.h>

#include "clerk.h"
#include "clerk_memory.h"

#if LUA_VERSION_NUM < 502 /* LuaJIT */
#define luaL_setfuncs(L, functions, upvalues) luaL_register(L, NULL, functions)
#define lua_rawlen lua_objlen
#define lua_setuservalue lua_setfenv
#define lua_getuservalue lua_getfenv
/* PUC Lua 5.1 lacks these: see module.c. */
#pragma weak lua_isyieldable
#pragma weak luaL_fileresult
#endif

/*
** A type of userdata or of tables is a static array with its name. The array's address is the key of
** its metatable in the registry: a name would be hashed at each use.
*/

/* Registers the type's metatable and pushes it; the one that it has if the module is loaded again. */
void clerk_lua_new_metatable(lua_State *L, const char *type);

/* Registers a metatable with these methods and a __gc; its __index is the table itself. */
void clerk_lua_register(lua_State *L, const char *type, const luaL_Reg *methods);

void clerk_lua_push_metatable(lua_State *L, const char *type);

/* Pushes a new zeroed userdata of that type. */
void *clerk_lua_new(lua_State *L, size_t size, const char *type);

/* Pushes an empty buffer, which is wiped and freed when it is collected. */
clerk_buffer *clerk_lua_new_buffer(lua_State *L);

/* The userdata at `index`; raises unless it is of that type. */
void *clerk_lua_check(lua_State *L, int index, const char *type);

/* Pushes nil and the problem's message, or raises when the status is CLERK_NO_MEMORY. */
int clerk_lua_refuse(lua_State *L, clerk_status status, const clerk_problem *problem);

/* The string at `index` as text. Raises when it is not a string; does not convert numbers. */
clerk_text clerk_lua_text(lua_State *L, int index);

/* A C string as text, which is absent for NULL. */
clerk_text clerk_lua_text_of(const char *string);

/* The string field of the table at `index`, which must keep it alive; NULL when absent. */
const char *clerk_lua_field(lua_State *L, int index, const char *name);

/* The integer at `index`, or a float with an integral value; false when it is neither. */
bool clerk_lua_integer(lua_State *L, int index, int64_t *integer);

/* The milliseconds at `index`; raises unless they are from 0 to 10^15. */
int64_t clerk_lua_check_ms(lua_State *L, int index);

void clerk_lua_push_integer(lua_State *L, int64_t integer);

/* A number in [0, 1), different in every process, forked ones too. */
double clerk_lua_random(void);

/* Set a field of the table on top of the stack; a NULL string leaves it absent. */
void clerk_lua_set_string(lua_State *L, const char *name, const char *value);
void clerk_lua_set_integer(lua_State *L, const char *name, int64_t value);
void clerk_lua_set_boolean(lua_State *L, const char *name, bool value);

#endif
