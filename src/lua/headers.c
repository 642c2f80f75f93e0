/* HTTP headers as a table. */
#include "headers.h"

#include <string.h>

#include "http_head.h"
#include "parts.h"
#include "secrets.h"
#include "support.h"

/* How many headers a table has room for at first. */
enum { USUAL_HEADERS = 16 };

/* Adds a header to the table on top of the stack. Repeated headers are collected in a table and
** joined at the end: joining each would copy the first ones again and again. Returns whether it is
** a repeated one. */
static bool add_header(lua_State *L, clerk_text name, clerk_text value, clerk_text secret) {
  clerk_lua_push_without(L, name, secret);
  lua_pushvalue(L, -1);
  lua_rawget(L, -3);
  bool is_again = !lua_isnil(L, -1);
  if (lua_type(L, -1) == LUA_TSTRING) {
    lua_createtable(L, 2, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  }
  clerk_lua_push_without(L, value, secret);
  if (is_again)
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  else
    lua_replace(L, -2);
  lua_rawset(L, -3);
  return is_again;
}

/* Pushes the values in the table on top of the stack, joined (RFC 9110, 5.3). */
static void push_joined(lua_State *L) {
  luaL_Buffer joined;
  int values = lua_gettop(L), count = (int)lua_rawlen(L, values);
  luaL_buffinit(L, &joined);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addlstring(&joined, ", ", 2);
    lua_rawgeti(L, values, i);
    luaL_addvalue(&joined);
  }
  luaL_pushresult(&joined);
}

static void join_headers(lua_State *L) {
  int headers = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, headers); lua_settop(L, headers + 1)) {
    if (!lua_istable(L, -1)) continue;
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    push_joined(L);
    lua_replace(L, -2);
    lua_rawset(L, headers);
  }
}

void clerk_lua_push_headers(lua_State *L, char *fields, size_t length, clerk_text secret) {
  clerk_text name, value;
  size_t position = 0;
  bool is_any_again = false;
  lua_createtable(L, 0, USUAL_HEADERS);
  while (clerk_http_next_field(fields, length, &position, &name, &value))
    is_any_again |= add_header(L, name, value, secret);
  if (is_any_again) join_headers(L);
}

/* core.http_head(bytes, line_max, head_max) -> status, minor version, headers; or nil, code, message;
** or nothing while it is not complete: see clerk_http_head_read */
static int core_http_head(lua_State *L) {
  clerk_http_head head;
  clerk_failure failure;
  clerk_text text = clerk_lua_text(L, 1);
  char *bytes = memcpy(lua_newuserdata(L, text.length + 1), text.bytes, text.length + 1);
  const char *problem =
      clerk_http_head_read(&head, bytes, text.length, (size_t)luaL_checkinteger(L, 2),
                           (size_t)luaL_checkinteger(L, 3), &failure);
  if (problem) {
    lua_pushnil(L);
    lua_pushstring(L, clerk_failure_name(failure));
    lua_pushstring(L, problem);
    return 3;
  }
  if (!head.is_complete) return 0;
  lua_pushinteger(L, head.status);
  lua_pushinteger(L, head.minor);
  clerk_lua_push_headers(L, head.fields, head.fields_length, (clerk_text){0});
  return 3;
}

void clerk_lua_add_headers(lua_State *L) {
  lua_pushcfunction(L, core_http_head);
  lua_setfield(L, -2, "http_head");
}
