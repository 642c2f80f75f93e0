/*
** A host with a Lua state in each of several threads; see threads_spec.lua.
**
**   threads SCRIPT THREADS STATES [ARGUMENT …]
**
** Each thread makes so many states, one after the other, and runs the script in each. The module is
** linked in, so that ThreadSanitizer sees all of it, and with --wrap=curl_global_init. Prints how
** often that was called.
*/
#include <curl/curl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int luaopen_clerk_machines_core(lua_State *L);

static atomic_int initialisations;

CURLcode __real_curl_global_init(long flags);
CURLcode __wrap_curl_global_init(long flags);

CURLcode __wrap_curl_global_init(long flags) {
  initialisations++;
  return __real_curl_global_init(flags);
}

/* The unwinder registers LuaJIT's frames without locks, in ways that the sanitizer cannot follow. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
  return "race:libgcc_s\n";
}

static struct {
  char **arguments; /* the script first */
  int count, states;
  pthread_barrier_t start;
} plan;

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_clerk_machines_core);
  lua_setfield(L, -2, "clerk.machines.core");
  lua_settop(L, 0);
  return L;
}

static bool run(lua_State *L) {
  int status = luaL_loadfile(L, plan.arguments[0]);
  for (int i = 1; i < plan.count; i++) lua_pushstring(L, plan.arguments[i]);
  if (status == 0) status = lua_pcall(L, plan.count - 1, 0, 0);
  if (status != 0) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  return status == 0;
}

static void *work(void *failed) {
  pthread_barrier_wait(&plan.start);
  for (int i = 0; i < plan.states; i++) {
    lua_State *L = new_state();
    if (!run(L)) *(bool *)failed = true;
    lua_close(L);
  }
  return NULL;
}

static bool run_threads(int count) {
  enum { THREADS_MAX = 64 };
  pthread_t threads[THREADS_MAX];
  bool failed[THREADS_MAX] = {false}, any_failed = false;
  if (count > THREADS_MAX) return false;
  pthread_barrier_init(&plan.start, NULL, (unsigned)count);
  for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, &failed[i]);
  for (int i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    any_failed |= failed[i];
  }
  return !any_failed;
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  int thread_count = (int)strtol(arguments[2], NULL, 10);
  plan.states = (int)strtol(arguments[3], NULL, 10);
  arguments[3] = arguments[1];
  plan.arguments = arguments + 3;
  plan.count = count - 3;
  bool ok = run_threads(thread_count);
  printf("%d\n", initialisations);
  return ok ? 0 : 1;
}
