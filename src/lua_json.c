/* JSON into Lua values, in the one pass of the core's reader. */
#include <string.h>

#include "lua_binding.h"

/* A table is made with room for as many members as its elder sibling had; but at most this many,
** so that a hostile body cannot have much more memory reserved than it fills. */
enum { ROOM_MAX = 8 };

/*
** Siblings have the same keys, and many the same values: a string that is the same as the one at
*its
** place in the elder sibling is not made, hashed and looked up again. A place remembers the bytes
*of
** its last string and, once they came twice, the string itself in the table of memories.
*/
enum { PLACE_DEPTHS = 8, PLACE_MEMBERS = 16, PLACES = 2 * PLACE_DEPTHS * PLACE_MEMBERS };

typedef struct place {
  clerk_text bytes; /* within the input */
  bool is_kept;
} place;

typedef struct decoder {
  lua_State *L;
  clerk_reader *reader;
  const clerk_lua_decoding *decoding;
  int count[CLERK_DEPTH_MAX + 1]; /* elements or members so far, by depth */
  unsigned char room[CLERK_DEPTH_MAX + 1];
  bool is_object[CLERK_DEPTH_MAX + 1];
  int memories;         /* stack index; nil until there is one */
  place places[PLACES]; /* of keys and values, by depth and member */
} decoder;

static void push_new_string(decoder *d) {
  const clerk_text raw = d->reader->string;
  char local[256];
  if (!d->reader->escaped) {
    lua_pushlstring(d->L, raw.bytes, raw.length);
  } else if (raw.length <= sizeof local) {
    lua_pushlstring(d->L, local, clerk_reader_unescape(d->reader, local));
  } else {
    char *owned = lua_newuserdata(d->L, raw.length);
    lua_pushlstring(d->L, owned, clerk_reader_unescape(d->reader, owned));
    lua_remove(d->L, -2);
  }
}

static bool is_same(clerk_text a, clerk_text b) {
  return a.length == b.length && a.bytes && memcmp(a.bytes, b.bytes, b.length) == 0;
}

static int place_of_string(const decoder *d, bool is_key) {
  int depth = (int)d->reader->depth % PLACE_DEPTHS;
  int member = d->count[d->reader->depth] % PLACE_MEMBERS;
  return (depth * PLACE_MEMBERS + member) * 2 + is_key;
}

/* Remembers the string on top of the stack. */
static void keep(decoder *d, int index) {
  if (lua_isnil(d->L, d->memories)) {
    lua_createtable(d->L, PLACES, 0);
    lua_replace(d->L, d->memories);
  }
  lua_pushvalue(d->L, -1);
  lua_rawseti(d->L, d->memories, index + 1);
}

static void push_string(decoder *d, bool is_key) {
  int index = place_of_string(d, is_key);
  place *last = &d->places[index];
  if (!is_same(last->bytes, d->reader->string)) {
    *last = (place){d->reader->string, false};
    push_new_string(d);
  } else if (last->is_kept) {
    lua_rawgeti(d->L, d->memories, index + 1);
  } else {
    last->is_kept = true;
    push_new_string(d);
    keep(d, index);
  }
}

static void push_container(decoder *d, bool is_object) {
  unsigned depth = d->reader->depth;
  luaL_checkstack(d->L, 4, "JSON");
  lua_createtable(d->L, 0, is_object ? d->room[depth] : 0);
  d->is_object[depth] = is_object;
  d->count[depth] = 0;
}

/* A container is complete and on top of the stack. */
static void finish_object(decoder *d) {
  int count = d->count[d->reader->depth + 1];
  d->room[d->reader->depth + 1] = (unsigned char)(count < ROOM_MAX ? count : ROOM_MAX);
  if (d->decoding->object_metatable == 0) return;
  lua_pushvalue(d->L, d->decoding->object_metatable);
  lua_setmetatable(d->L, -2);
}

static void push_null(decoder *d) {
  bool is_member = d->reader->depth > 0 && d->is_object[d->reader->depth];
  if (is_member && !d->decoding->keep_null)
    lua_pushnil(d->L);
  else
    lua_pushlightuserdata(d->L, NULL);
}

/* Pushes what the token stands for; false when no value is complete yet. */
static bool push_token(decoder *d, clerk_token token) {
  switch (token) {
    case CLERK_TOKEN_NULL: push_null(d); return true;
    case CLERK_TOKEN_FALSE: lua_pushboolean(d->L, 0); return true;
    case CLERK_TOKEN_TRUE: lua_pushboolean(d->L, 1); return true;
    case CLERK_TOKEN_INTEGER: clerk_lua_push_integer(d->L, d->reader->integer); return true;
    case CLERK_TOKEN_FLOAT: lua_pushnumber(d->L, d->reader->number); return true;
    case CLERK_TOKEN_STRING: push_string(d, false); return true;
    case CLERK_TOKEN_KEY: push_string(d, true); return false;
    case CLERK_TOKEN_ARRAY: push_container(d, false); return false;
    case CLERK_TOKEN_OBJECT: push_container(d, true); return false;
    case CLERK_TOKEN_OBJECT_END: finish_object(d); return true;
    default: return true;
  }
}

/* Moves the value on top of the stack into the container that it belongs to, if
 * any. */
static void store(decoder *d) {
  unsigned depth = d->reader->depth;
  if (depth == 0) return;
  d->count[depth]++;
  if (d->is_object[depth])
    lua_rawset(d->L, -3);
  else
    lua_rawseti(d->L, -2, d->count[depth]);
}

bool clerk_lua_decode(lua_State *L, clerk_reader *reader, const clerk_lua_decoding *decoding,
                      clerk_shape *shape) {
  decoder d = {.L = L, .reader = reader, .decoding = decoding};
  int top = lua_gettop(L);
  luaL_checkstack(L, 6, "JSON");
  lua_pushnil(L);
  d.memories = top + 1;
  for (;;) {
    clerk_token token = clerk_reader_next(reader);
    clerk_shape_note(shape, reader, token);
    if (token == CLERK_TOKEN_END) {
      lua_remove(L, d.memories);
      return true;
    }
    if (token == CLERK_TOKEN_BROKEN) {
      lua_settop(L, top);
      return false;
    }
    if (push_token(&d, token)) store(&d);
  }
}

/* core.decode(bytes [, object_metatable [, keep_null]]) -> value | nil,
 * message, offset */
int clerk_lua_json_decode(lua_State *L) {
  clerk_reader reader;
  clerk_shape shape = {0};
  size_t offset;
  lua_settop(L, 3);
  clerk_lua_decoding decoding = {.object_metatable = lua_istable(L, 2) ? 2 : 0,
                                 .keep_null = lua_toboolean(L, 3)};
  clerk_reader_init(&reader, clerk_lua_text(L, 1));
  if (clerk_lua_decode(L, &reader, &decoding, &shape)) return 1;
  const char *problem = clerk_reader_problem(&reader, &offset);
  lua_pushnil(L);
  lua_pushfstring(L, "%s at byte %d", problem, (int)offset);
  lua_pushinteger(L, (lua_Integer)offset);
  return 3;
}
