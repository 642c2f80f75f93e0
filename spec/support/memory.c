/*
** Allocations that fail on request; see failing_memory.lua. Preloaded into an interpreter, this
** replaces malloc and the like; loaded as a Lua module, it also wraps the state's allocator. Of C's
** memory, only what certain libraries allocate fails and is counted.
**
**   watch(name, ...)               names these libraries by a part of their paths
**   attempt(kind, first, last, f)  --> whether f returned, and what it raised; while it runs, the
**                                  allocations from first to last, counted from 1, fail
**   asked()                        --> how many allocations the latest attempt asked for
**   live(kind)                     --> bytes not freed yet; kind is "lua" or "c"
**
** The process fails if any of this memory is left at its end.
*/
#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <link.h>
#include <lua.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct supply {
  long asked;       /* since the attempt began */
  long first, last; /* that fail */
  long live;        /* bytes */
} supply;

static supply lua_supply = {.first = LONG_MAX}, c_supply = {.first = LONG_MAX};

static bool refuses(supply *s) {
  s->asked++;
  return s->asked >= s->first && s->asked <= s->last;
}

/* ------------------------------------------------------------------ whose allocation it is */

enum { RANGES = 16 };

typedef struct range {
  uintptr_t start, end;
} range;

static range watched[RANGES];
static int watched_count;

static bool is_watched(const void *caller) {
  for (int i = 0; i < watched_count; i++)
    if ((uintptr_t)caller >= watched[i].start && (uintptr_t)caller < watched[i].end) return true;
  return false;
}

static void watch_segment(uintptr_t start, size_t size) {
  if (watched_count == RANGES) abort();
  watched[watched_count].start = start;
  watched[watched_count++].end = start + size;
}

static int watch_library(struct dl_phdr_info *library, size_t size, void *name) {
  (void)size;
  if (!strstr(library->dlpi_name, *(const char **)name)) return 0;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
    if (segment->p_type == PT_LOAD && segment->p_flags & PF_X)
      watch_segment(library->dlpi_addr + segment->p_vaddr, segment->p_memsz);
  }
  return 1;
}

/* ------------------------------------------------------------------ which of it is alive */

/* A hash table with linear probing; far larger than libcurl ever needs. */
enum { SLOT_BITS = 14, SLOTS = 1 << SLOT_BITS };

static struct {
  void *memory;
  size_t size;
} blocks[SLOTS];
static int block_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* libcurl's resolver has threads */

static size_t home_of(const void *memory) {
  return ((uintptr_t)memory >> 4) * 0x9E3779B97F4A7C15U >> (64 - SLOT_BITS);
}

static size_t find(const void *memory) {
  size_t i = home_of(memory);
  while (blocks[i].memory && blocks[i].memory != memory) i = (i + 1) % SLOTS;
  return i;
}

static void note(void *memory, size_t size) {
  if (block_count++ > SLOTS / 2) abort();
  size_t i = find(memory);
  blocks[i].memory = memory;
  blocks[i].size = size;
  c_supply.live += (long)size;
}

/* Later entries of the run may have been displaced by the removed block. */
static void close_gap(size_t gap) {
  blocks[gap].memory = NULL;
  for (size_t i = (gap + 1) % SLOTS; blocks[i].memory; i = (i + 1) % SLOTS) {
    size_t place = find(blocks[i].memory);
    if (place == i) continue;
    blocks[place] = blocks[i];
    blocks[i].memory = NULL;
  }
}

static void forget(const void *memory) {
  size_t i = find(memory);
  if (!blocks[i].memory) return;
  block_count--;
  c_supply.live -= (long)blocks[i].size;
  close_gap(i);
}

/* ------------------------------------------------------------------ C's memory */

static struct {
  void *(*malloc)(size_t);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void (*free)(void *);
} real;

static void find_real(void) {
  *(void **)&real.malloc = dlsym(RTLD_NEXT, "malloc");
  *(void **)&real.calloc = dlsym(RTLD_NEXT, "calloc");
  *(void **)&real.realloc = dlsym(RTLD_NEXT, "realloc");
  *(void **)&real.free = dlsym(RTLD_NEXT, "free");
}

static bool is_refused(bool is_ours) {
  if (!real.malloc) find_real();
  if (!is_ours) return false;
  pthread_mutex_lock(&lock);
  bool refused = refuses(&c_supply);
  pthread_mutex_unlock(&lock);
  if (refused) errno = ENOMEM;
  return refused;
}

static void *noted(void *memory, size_t size, bool is_ours) {
  if (!memory || !is_ours) return memory;
  pthread_mutex_lock(&lock);
  note(memory, size);
  pthread_mutex_unlock(&lock);
  return memory;
}

static void forgotten(const void *memory) {
  if (!memory || watched_count == 0) return;
  pthread_mutex_lock(&lock);
  forget(memory);
  pthread_mutex_unlock(&lock);
}

#define IS_OURS is_watched(__builtin_return_address(0))

void *malloc(size_t size) {
  bool is_ours = IS_OURS;
  return is_refused(is_ours) ? NULL : noted(real.malloc(size), size, is_ours);
}

void *calloc(size_t count, size_t size) {
  bool is_ours = IS_OURS;
  return is_refused(is_ours) ? NULL : noted(real.calloc(count, size), count * size, is_ours);
}

void *realloc(void *memory, size_t size) {
  bool is_ours = IS_OURS;
  if (is_refused(is_ours)) return NULL;
  forgotten(memory);
  return noted(real.realloc(memory, size), size, is_ours);
}

char *strdup(const char *string) {
  bool is_ours = IS_OURS;
  size_t size = strlen(string) + 1;
  if (is_refused(is_ours)) return NULL;
  char *copy = noted(real.malloc(size), size, is_ours);
  return copy ? memcpy(copy, string, size) : NULL;
}

void free(void *memory) {
  forgotten(memory);
  if (!real.free) find_real();
  real.free(memory);
}

/* ------------------------------------------------------------------ Lua's memory */

static lua_Alloc lua_real;

static void *lua_allocate(void *user, void *memory, size_t old, size_t size) {
  size_t had = memory ? old : 0; /* without memory, Lua 5.4 passes something else */
  if (size > had && refuses(&lua_supply)) return NULL;
  void *result = lua_real(user, memory, old, size);
  if (result || size == 0) lua_supply.live += (long)size - (long)had;
  return result;
}

static void front_lua(lua_State *L) {
  void *user;
  lua_supply.live = lua_gc(L, LUA_GCCOUNT, 0) * 1024L + lua_gc(L, LUA_GCCOUNTB, 0);
  lua_real = lua_getallocf(L, &user);
  lua_setallocf(L, lua_allocate, user);
}

/* ------------------------------------------------------------------ the module */

static supply *check_supply(lua_State *L) {
  static const char *const kinds[] = {"lua", "c", NULL};
  return luaL_checkoption(L, 1, NULL, kinds) == 0 ? &lua_supply : &c_supply;
}

static int memory_watch(lua_State *L) {
  for (int i = 1; i <= lua_gettop(L); i++) {
    const char *name = luaL_checkstring(L, i);
    if (!dl_iterate_phdr(watch_library, (void *)&name))
      return luaL_error(L, "%s is not loaded", name);
  }
  return 0;
}

static long asked; /* in the latest attempt */

static int memory_attempt(lua_State *L) {
  supply *s = check_supply(L);
  long first = (long)luaL_checkinteger(L, 2), last = (long)luaL_checkinteger(L, 3);
  lua_settop(L, 4);
  s->asked = 0;
  s->first = first;
  s->last = last;
  int status = lua_pcall(L, 0, 1, 0);
  s->first = LONG_MAX;
  asked = s->asked;
  lua_pushboolean(L, status == 0);
  lua_insert(L, -2);
  return 2;
}

static int memory_asked(lua_State *L) {
  lua_pushinteger(L, asked);
  return 1;
}

static int memory_live(lua_State *L) {
  lua_pushinteger(L, check_supply(L)->live);
  return 1;
}

static const luaL_Reg functions[] = {{"watch", memory_watch},
                                     {"attempt", memory_attempt},
                                     {"asked", memory_asked},
                                     {"live", memory_live},
                                     {NULL, NULL}};

int luaopen_memory(lua_State *L) {
  lua_newtable(L);
  for (const luaL_Reg *row = functions; row->name; row++) {
    lua_pushcfunction(L, row->func);
    lua_setfield(L, -2, row->name);
  }
  front_lua(L);
  return 1;
}

__attribute__((destructor)) static void check_nothing_left(void) {
  bool is_left = c_supply.live != 0;
#if LUA_VERSION_NUM >= 502 /* LuaJIT loses a few bytes of its own when its memory fails */
  is_left |= lua_supply.live != 0;
#endif
  if (!is_left) return;
  fprintf(stderr, "leaked: %ld bytes of Lua's memory, %ld of C's\n", lua_supply.live,
          c_supply.live);
  fflush(stderr);
  _exit(1);
}
