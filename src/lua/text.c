/* UTF-8 for Lua: made safe to show, counted, measured. */
#include <stdio.h>
#include <wchar.h>

#include "parts.h"
#include "support.h"
#include "utf8.h"

/* Writes a UTF-16 code unit as JSON does. */
static void add_code_unit(luaL_Buffer *out, unsigned unit) {
  char escape[8];
  snprintf(escape, sizeof escape, "\\u%04x", unit & 0xFFFF);
  luaL_addstring(out, escape);
}

static void add_escape(luaL_Buffer *out, unsigned code_point) {
  if (code_point < 0x10000) {
    add_code_unit(out, code_point);
    return;
  }
  add_code_unit(out, 0xD800 + ((code_point - 0x10000) >> 10));
  add_code_unit(out, 0xDC00 + (code_point & 0x3FF));
}

static int replace_unsafe(lua_State *L, bool as_escape) {
  clerk_text text = clerk_lua_text(L, 1);
  const char *end = text.bytes + text.length;
  clerk_character character;
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  for (const char *at = text.bytes; at < end;) {
    size_t length = clerk_utf8_read(at, end, &character);
    if (character.is_safe)
      luaL_addlstring(&out, at, length);
    else if (as_escape)
      add_escape(&out, character.code_point);
    else
      luaL_addlstring(&out, "?", 1);
    at += length;
  }
  luaL_pushresult(&out);
  return 1;
}

/* core.clean(text) -> the text with "?" for each character that is not safe to show, and for each
** byte that is not UTF-8 */
static int core_clean(lua_State *L) {
  return replace_unsafe(L, false);
}

/* core.escape(json) -> the same, with JSON's escapes instead of "?" */
static int core_escape(lua_State *L) {
  return replace_unsafe(L, true);
}

/* core.characters(text) -> how many it has, or nil when it is not UTF-8 */
static int core_characters(lua_State *L) {
  size_t characters;
  if (!clerk_utf8_count(clerk_lua_text(L, 1), &characters)) return 0;
  clerk_lua_push_integer(L, (int64_t)characters);
  return 1;
}

/* core.columns(character) -> how many a terminal gives it, by the C library's table for LC_CTYPE; 1
** when that does not know */
static int core_columns(lua_State *L) {
  clerk_text text = clerk_lua_text(L, 1);
  clerk_character character;
  luaL_argcheck(L, text.length > 0, 1, "a character expected");
  clerk_utf8_read(text.bytes, text.bytes + text.length, &character);
  int columns = wcwidth((wchar_t)character.code_point);
  lua_pushinteger(L, columns < 0 ? 1 : columns);
  return 1;
}

static const luaL_Reg functions[] = {{"clean", core_clean},
                                     {"escape", core_escape},
                                     {"characters", core_characters},
                                     {"columns", core_columns},
                                     {NULL, NULL}};

void clerk_lua_add_text(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
