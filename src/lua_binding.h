/*
** The binding: the only part that knows Lua. Each lua_*.c offers what stands here to the others and
** its Lua-callable functions to the module `clerk.machines.core`, which is internal: its interface
** follows the needs of lua/clerk/machines.
**
** A Lua error is a longjmp. So everything that must be freed belongs to a userdata, which is zeroed
** and has its metatable before it acquires anything.
*/
#ifndef CLERK_LUA_BINDING_H
#define CLERK_LUA_BINDING_H

#include <lauxlib.h>
#include <lua.h>

#include "clerk.h"

#if LUA_VERSION_NUM < 502 /* LuaJIT */
#define luaL_setfuncs(L, functions, upvalues) luaL_register(L, NULL, functions)
#define lua_rawlen lua_objlen
#define lua_setuservalue lua_setfenv
#define lua_getuservalue lua_getfenv
#endif

/* The module clerk.machines.core. */
__attribute__((visibility("default"))) int luaopen_clerk_machines_core(lua_State *L);

/* Pushes a new zeroed userdata that has the metatable of that name. */
void *clerk_lua_new(lua_State *L, size_t size, const char *metatable);

/* Registers a metatable with these methods and a __gc; its __index is the table itself. */
void clerk_lua_register(lua_State *L, const char *metatable, const luaL_Reg *methods);

/* Pushes nil and the problem's message, or raises when the status is CLERK_NO_MEMORY. */
int clerk_lua_refuse(lua_State *L, clerk_status status, const clerk_problem *problem);

/* The string at `index` as text. Raises when it is no string; does not convert numbers. */
clerk_text clerk_lua_text(lua_State *L, int index);

/* The string field of the table at `index`, which must keep it alive; NULL when absent. */
const char *clerk_lua_field(lua_State *L, int index, const char *name);

/* The integer at `index`, also when it is a float with an integral value; false when it is none. */
bool clerk_lua_integer(lua_State *L, int index, int64_t *integer);

void clerk_lua_push_integer(lua_State *L, int64_t integer);

/* A number in [0, 1), different in every process, forked ones too. */
double clerk_lua_random(void);

/* Sets a string field of the table on top of the stack; a NULL value leaves it absent. */
void clerk_lua_set_string(lua_State *L, const char *name, const char *value);

/*
** lua_arguments.c: reads the arguments of an operation, of which `params` is at that index and the
** path parameters behind it. What `values` point to is anchored by the stack.
*/
clerk_status clerk_lua_read_arguments(lua_State *L, const clerk_operation *operation, int params,
                                      clerk_value values[], clerk_problem *problem);

/* How clerk_lua_decode makes Lua values. */
typedef struct clerk_lua_decoding {
  int object_metatable; /* stack index, or 0 */
  bool keep_null;       /* whether null members become null rather than absent */
} clerk_lua_decoding;

/*
** lua_json.c: reads a document and pushes its value; notes its shape, when there is one to fill.
** False, with nothing pushed and the problem in the reader, when it is malformed.
*/
bool clerk_lua_decode(lua_State *L, clerk_reader *reader, const clerk_lua_decoding *decoding,
                      clerk_shape *shape);

/* core.decode */
int clerk_lua_json_decode(lua_State *L);

/* lua_call.c */
void clerk_lua_register_call(lua_State *L);
int clerk_lua_settings(lua_State *L);
int clerk_lua_call(lua_State *L);

/* Adds the status (429, "429") or class ("5XX") at `index` to the policy; false when it is none. */
bool clerk_lua_retry_on(lua_State *L, int index, clerk_retry_policy *policy);

/* Pushes the metatable of results, which Lua completes. */
void clerk_lua_push_result_metatable(lua_State *L);

/* lua_curl.c: adds the transport to the module on top of the stack. */
void clerk_lua_add_curl(lua_State *L);

#endif
