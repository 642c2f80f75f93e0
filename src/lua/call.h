/* A call, for the parts of the binding that send it. Internal to src/lua. */
#ifndef CLERK_LUA_CALL_H
#define CLERK_LUA_CALL_H

#include <lua.h>

#include "clerk.h"

typedef struct clerk_lua_limits {
  long timeout_ms;
  long connect_timeout_ms;
  size_t max_response_bytes;
} clerk_lua_limits;

/* A userdata of call.c; its user value is the table of settings, which keeps their texts alive. */
typedef struct clerk_lua_call {
  const clerk_operation *operation;
  clerk_request request;
  clerk_retry retry;
  clerk_lua_limits limits;
  bool has_headers; /* the caller's own, in the table of settings */
} clerk_lua_call;

/* Raises unless a call is at `index`. */
clerk_lua_call *clerk_lua_check_call(lua_State *L, int index);

/* Takes a header of a request; may raise. */
typedef void clerk_lua_add_header(lua_State *L, void *target, const char *name, const char *value);

/* Adds the headers of the call, which is at `index`, all but its Authorization; the caller's override
** ours. */
void clerk_lua_add_headers_of(lua_State *L, int index, const clerk_lua_call *call,
                              clerk_lua_add_header *add, void *target);

/*
** Reads the body of a response and judges it. Pushes the body's value; nil when it is not JSON. The
** operation of the shape is set, the rest of it and the reader are filled.
*/
clerk_judgement clerk_lua_judge(lua_State *L, int status, clerk_text body, clerk_reader *reader,
                                clerk_shape *shape);

#endif
