/* Arguments of an operation. Internal to src/lua. */
#ifndef CLERK_LUA_ARGUMENTS_H
#define CLERK_LUA_ARGUMENTS_H

#include <lua.h>

#include "clerk.h"

/*
** Reads the arguments of an operation: `params` is the index of the table, and the path parameters
** come after it. The stack keeps alive what `values` point to.
*/
clerk_status clerk_lua_read_arguments(lua_State *L, const clerk_operation *operation, int params,
                                      clerk_value values[], clerk_problem *problem);

#endif
