/* Copies of Lua values. */
#include "parts.h"
#include "support.h"

/* The members of the table at `index`. */
static int count_members(lua_State *L, int index) {
  int count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) count++;
  return count;
}

/* Pushes a table with room for as much as the one at `index` has. */
static void push_room(lua_State *L, int index) {
  int count = count_members(L, index);
  size_t border = lua_rawlen(L, index); /* beyond `count` where there are holes */
  int elements = border < (size_t)count ? (int)border : count;
  lua_createtable(L, elements, count - elements);
}

/* Each level of tables takes four places of the stack. What is copied is no deeper than JSON may be,
** and a few fields around it. */
enum { DEEPEST = 4 * (CLERK_DEPTH_MAX + 8) };

static void replace_by_copy(lua_State *L);

/* NOLINTNEXTLINE(misc-no-recursion): no deeper than DEEPEST */
static void copy_members(lua_State *L, int from, int to) {
  for (lua_pushnil(L); lua_next(L, from);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    replace_by_copy(L);
    lua_rawset(L, to);
  }
}

/* Replaces the value on top of the stack. */
/* NOLINTNEXTLINE(misc-no-recursion): no deeper than DEEPEST */
static void replace_by_copy(lua_State *L) {
  if (!lua_istable(L, -1)) return;
  int index = lua_gettop(L);
  if (index > DEEPEST) luaL_error(L, "nested too deep");
  luaL_checkstack(L, 6, "a copy");
  push_room(L, index);
  copy_members(L, index, index + 1);
  if (lua_getmetatable(L, index)) lua_setmetatable(L, index + 1);
  lua_replace(L, index);
}

/* core.copy(value) -> the same with copies of all the tables that it holds, which must be a tree.
** Metatables are shared. */
static int core_copy(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  replace_by_copy(L);
  return 1;
}

void clerk_lua_add_copy(lua_State *L) {
  lua_pushcfunction(L, core_copy);
  lua_setfield(L, -2, "copy");
}
