/* HTTP headers as a table. */
#include "headers.h"

#include <string.h>

#include "http_head.h"
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

void clerk_lua_push_headers(lua_State *L, clerk_text fields, clerk_text secret) {
  char *copy = lua_newuserdata(L, fields.length + 1); /* the iterator writes into it */
  clerk_text name, value;
  size_t position = 0;
  bool is_any_again = false;
  if (fields.length > 0) memcpy(copy, fields.bytes, fields.length);
  lua_createtable(L, 0, USUAL_HEADERS);
  while (clerk_http_next_field(copy, fields.length, &position, &name, &value))
    is_any_again |= add_header(L, name, value, secret);
  if (is_any_again) join_headers(L);
  lua_remove(L, -2);
}
