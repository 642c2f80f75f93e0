/* JSON into Lua values, in the one pass of the core's reader. */
#include "json.h"

#include <string.h>

#include "json_reader.h"
#include "parts.h"
#include "support.h"

/* A new table has room for as many members as the latest one at its depth has: siblings are alike, and
** a hostile body cannot have much more memory reserved than it fills. The first one at a depth has
** room for a machine's members. */
enum { FIRST_MEMBERS = 8, FIRST_ELEMENTS = 4, ROOM_MAX = 512 };

/* The objects of an array have the same keys in the same order, and often the same strings as values.
** So the latest string of each key and of each key's value is kept on the Lua stack, in a place that
** depends on the key. Where the same bytes come again, they are not made into a Lua string again. */
enum { KEPT_MAX = 16 };

typedef struct kept_string {
  clerk_text raw; /* in the document, without escapes; or absent */
  bool is_on_stack;
} kept_string;

/* The latest container of a depth. */
typedef struct container {
  int count; /* its elements or members */
  bool is_object;
  unsigned char key; /* where its latest key is kept */
} container;

typedef struct decoder {
  lua_State *L;
  clerk_reader *reader;
  const clerk_lua_decoding *decoding;
  container *levels;                     /* by depth */
  container *level;                      /* the innermost that is open; the document, outside all */
  unsigned deepest;                      /* depth so far; what is deeper is not set yet */
  unsigned char following[KEPT_MAX + 1]; /* where the key is that came after a key, or first */
  int kept_base;                         /* stack index of the first one that is kept */
  kept_string kept[2 * KEPT_MAX];        /* keys, then values */
} decoder;

static void push_new_string(const decoder *d) {
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

static inline bool is_same_text(clerk_text a, clerk_text b) {
  return a.bytes && a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

/* Pushes the string that the reader has read; `is_same` tells whether it is the one that is kept. Only a
** key, or a value that comes twice in a row, is worth its place on the stack. */
static void push_kept_string(decoder *d, int place, bool is_same) {
  const clerk_text raw = d->reader->string;
  kept_string *kept = &d->kept[place];
  if (is_same && kept->is_on_stack) {
    lua_pushvalue(d->L, d->kept_base + place);
    return;
  }
  push_new_string(d);
  if (d->reader->escaped) return;
  *kept = (kept_string){raw, is_same || place < KEPT_MAX};
  if (kept->is_on_stack) lua_copy(d->L, -1, d->kept_base + place);
}

static unsigned char place_of(clerk_text key) {
  size_t first = key.length > 0 ? (unsigned char)*key.bytes : 0;
  return (unsigned char)((key.length + 5 * first) % KEPT_MAX);
}

static void push_key(decoder *d) {
  unsigned char place = place_of(d->reader->string);
  d->following[d->level->key] = place;
  d->level->key = place;
  push_kept_string(d, place, is_same_text(d->kept[place].raw, d->reader->string));
}

static void push_string(decoder *d) {
  int place = KEPT_MAX + d->level->key;
  if (d->level->is_object) /* the very bytes: read_value has compared them */
    push_kept_string(d, place, d->kept[place].raw.bytes == d->reader->string.bytes);
  else
    push_new_string(d);
}

static int room_for(decoder *d, bool is_object) {
  unsigned depth = d->reader->depth;
  if (depth > d->deepest) {
    d->deepest = depth;
    return is_object ? FIRST_MEMBERS : FIRST_ELEMENTS;
  }
  const container *level = &d->levels[depth];
  if (level->is_object != is_object) return 0;
  return level->count < ROOM_MAX ? level->count : ROOM_MAX;
}

static void push_container(decoder *d, bool is_object) {
  int room = room_for(d, is_object);
  luaL_checkstack(d->L, 4, "JSON");
  lua_createtable(d->L, is_object ? 0 : room, is_object ? room : 0);
  d->level = &d->levels[d->reader->depth];
  *d->level = (container){.is_object = is_object, .key = KEPT_MAX /* before it */};
}

/* The container is complete and on top of the stack. */
static void finish_container(decoder *d, bool is_object) {
  d->level = &d->levels[d->reader->depth];
  if (!is_object || d->decoding->object_metatable == 0) return;
  lua_pushvalue(d->L, d->decoding->object_metatable);
  lua_setmetatable(d->L, -2);
}

static void push_null(decoder *d) {
  if (d->level->is_object && !d->decoding->keep_null)
    lua_pushnil(d->L);
  else
    lua_pushlightuserdata(d->L, NULL);
}

/* Pushes what the token stands for; false when no value is complete yet. */
static bool push_token(decoder *d, clerk_json_token token) {
  switch (token) {
    case CLERK_JSON_NULL: push_null(d); return true;
    case CLERK_JSON_FALSE: lua_pushboolean(d->L, 0); return true;
    case CLERK_JSON_TRUE: lua_pushboolean(d->L, 1); return true;
    case CLERK_JSON_INTEGER: clerk_lua_push_integer(d->L, d->reader->integer); return true;
    case CLERK_JSON_FLOAT: lua_pushnumber(d->L, d->reader->number); return true;
    case CLERK_JSON_STRING: push_string(d); return true;
    case CLERK_JSON_KEY: push_key(d); return false;
    case CLERK_JSON_ARRAY: push_container(d, false); return false;
    case CLERK_JSON_OBJECT: push_container(d, true); return false;
    case CLERK_JSON_ARRAY_END: finish_container(d, false); return true;
    default: finish_container(d, true); return true;
  }
}

/* Moves the value on top of the stack into the container that it belongs to, if any. */
static void store(decoder *d) {
  container *level = d->level;
  if (level == d->levels) return;
  level->count++;
  if (level->is_object)
    lua_rawset(d->L, -3);
  else
    lua_rawseti(d->L, -2, level->count);
}

/* Reads and pushes the key that came here in the latest object, if it comes again. */
static bool push_repeated_key(decoder *d) {
  container *level = d->level;
  if (!level->is_object) return false;
  unsigned char place = d->following[level->key];
  if (!clerk_reader_repeat_key(d->reader, d->kept[place].raw)) return false;
  level->key = place;
  lua_pushvalue(d->L, d->kept_base + place);
  return true;
}

/* Reads the next token, of which the value may be the same as in the latest object. */
static clerk_json_token read_value(decoder *d) {
  clerk_text latest = d->kept[KEPT_MAX + d->level->key].raw;
  return clerk_reader_repeat_string(d->reader, latest) ? CLERK_JSON_STRING
                                                       : clerk_reader_next(d->reader);
}

/* The shape is that of the outermost members, of which an array has the depth 2 when it begins. */
static void note(clerk_shape *shape, const clerk_reader *reader, clerk_json_token token) {
  if (shape && reader->depth <= 2) clerk_shape_note(shape, reader, token);
}

bool clerk_lua_decode(lua_State *L, clerk_reader *reader, const clerk_lua_decoding *decoding,
                      clerk_shape *shape) {
  int top = lua_gettop(L);
  container levels[CLERK_DEPTH_MAX + 1];
  levels[0] = (container){0};
  decoder d = {.levels = levels,
               .level = levels,
               .L = L,
               .reader = reader,
               .decoding = decoding,
               .kept_base = top + 1};
  luaL_checkstack(L, 2 * KEPT_MAX + 4, "JSON");
  lua_settop(L, top + 2 * KEPT_MAX);
  for (;;) {
    bool is_repeated = push_repeated_key(&d);
    if (is_repeated) note(shape, reader, CLERK_JSON_KEY);
    clerk_json_token token = is_repeated ? read_value(&d) : clerk_reader_next(reader);
    note(shape, reader, token);
    if (token == CLERK_JSON_END) {
      lua_replace(L, top + 1);
      lua_settop(L, top + 1);
      return true;
    }
    if (token == CLERK_JSON_BROKEN) {
      lua_settop(L, top);
      return false;
    }
    if (push_token(&d, token)) store(&d);
  }
}

/* core.decode(bytes [, object_metatable [, keep_null]]) -> value | nil, message, offset */
static int core_decode(lua_State *L) {
  clerk_reader reader;
  size_t offset;
  lua_settop(L, 3);
  clerk_lua_decoding decoding = {.object_metatable = lua_istable(L, 2) ? 2 : 0,
                                 .keep_null = lua_toboolean(L, 3)};
  clerk_reader_init(&reader, clerk_lua_text(L, 1));
  if (clerk_lua_decode(L, &reader, &decoding, NULL)) return 1;
  const char *problem = clerk_reader_problem(&reader, &offset);
  lua_pushnil(L);
  lua_pushfstring(L, "%s at byte %d", problem, (int)offset);
  lua_pushinteger(L, (lua_Integer)offset);
  return 3;
}

void clerk_lua_add_json(lua_State *L) {
  lua_pushcfunction(L, core_decode);
  lua_setfield(L, -2, "decode");
}
