/* Helpers of the binding. */
#include "support.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <sys/random.h>
#endif

static void push_key(lua_State *L, const char *type) {
  /* NOLINTNEXTLINE(performance-no-int-to-ptr): it only drops const */
  lua_pushlightuserdata(L, (void *)(uintptr_t)type);
}

void clerk_lua_push_metatable(lua_State *L, const char *type) {
  push_key(L, type);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

void clerk_lua_new_metatable(lua_State *L, const char *type) {
  clerk_lua_push_metatable(L, type);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  clerk_lua_set_string(L, "__name", type);
  push_key(L, type);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void *clerk_lua_new(lua_State *L, size_t size, const char *type) {
  void *memory = lua_newuserdata(L, size);
  memset(memory, 0, size);
  clerk_lua_push_metatable(L, type);
  lua_setmetatable(L, -2);
  return memory;
}

void *clerk_lua_check(lua_State *L, int index, const char *type) {
  bool is_of_type = false;
  if (lua_type(L, index) == LUA_TUSERDATA && lua_getmetatable(L, index)) {
    clerk_lua_push_metatable(L, type);
    is_of_type = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  if (!is_of_type) luaL_argerror(L, index, lua_pushfstring(L, "%s expected", type));
  return lua_touserdata(L, index);
}

static const char buffer_type[] = "clerk.machines.buffer";

static int buffer_gc(lua_State *L) {
  clerk_buffer_free(clerk_lua_check(L, 1, buffer_type));
  return 0;
}

clerk_buffer *clerk_lua_new_buffer(lua_State *L) {
  static const luaL_Reg methods[] = {{"__gc", buffer_gc}, {NULL, NULL}};
  clerk_lua_register(L, buffer_type, methods);
  return clerk_lua_new(L, sizeof(clerk_buffer), buffer_type);
}

void clerk_lua_register(lua_State *L, const char *type, const luaL_Reg *methods) {
  clerk_lua_new_metatable(L, type);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

int clerk_lua_refuse(lua_State *L, clerk_status status, const clerk_problem *problem) {
  if (status == CLERK_NO_MEMORY) return luaL_error(L, "not enough memory");
  lua_pushnil(L);
  lua_pushstring(L, problem->message);
  return 2;
}

clerk_text clerk_lua_text(lua_State *L, int index) {
  clerk_text text;
  if (lua_type(L, index) != LUA_TSTRING) luaL_checktype(L, index, LUA_TSTRING);
  text.bytes = lua_tolstring(L, index, &text.length);
  return text;
}

clerk_text clerk_lua_text_of(const char *string) {
  return (clerk_text){string, string ? strlen(string) : 0};
}

const char *clerk_lua_field(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  const char *value = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return value;
}

bool clerk_lua_integer(lua_State *L, int index, int64_t *integer) {
  if (lua_type(L, index) != LUA_TNUMBER) return false;
#if LUA_VERSION_NUM >= 503
  int is_integer;
  *integer = lua_tointegerx(L, index, &is_integer);
  return is_integer;
#else
  double number = lua_tonumber(L, index);
  if (!(number >= -0x1p63 && number < 0x1p63) || floor(number) != number) return false;
  *integer = (int64_t)number;
  return true;
#endif
}

int64_t clerk_lua_check_ms(lua_State *L, int index) {
  lua_Number ms = luaL_checknumber(L, index);
  luaL_argcheck(L, ms >= 0 && ms <= 1e15, index, "milliseconds expected, from 0 to 10^15");
  return (int64_t)ms;
}

void clerk_lua_push_integer(lua_State *L, int64_t integer) {
#if LUA_VERSION_NUM >= 503
  lua_pushinteger(L, integer);
#else
  lua_pushnumber(L, (lua_Number)integer);
#endif
}

void clerk_lua_set_string(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

void clerk_lua_set_integer(lua_State *L, const char *name, int64_t value) {
  clerk_lua_push_integer(L, value);
  lua_setfield(L, -2, name);
}

void clerk_lua_set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

double clerk_lua_random(void) {
  uint32_t bits = 0;
  if (getentropy(&bits, sizeof bits) != 0) bits = UINT32_MAX / 2;
  return bits / 4294967296.0;
}
