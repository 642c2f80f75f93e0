/*
** Calls in a C host that has Lua and the library linked into it. It has a loop as games have: sixty
** frames a second, and no frame waits for a call. From the checkout:
**
**   cmake -S . -B build/embed -DLUA=lua5.4 -DCLERK_EMBED=ON && cmake --build build/embed
**   cmake --install build/embed --prefix build/prefix
**   cmake -S examples/embed -B build/host -DCMAKE_PREFIX_PATH=$PWD/build/prefix
**   cmake --build build/host
**   CLERK_SECRET_KEY=sk_test_… build/host/host examples/embed/script.lua
**
** or, instead of the third and fourth commands, with PKG_CONFIG_PATH=build/prefix/lib/pkgconfig:
**
**   cc -o host examples/embed/host.c $(pkg-config --cflags --libs clerk-machines) \
**     $(pkg-config --cflags lua5.4) -l:liblua5.4.a -lm -ldl
**
** CLERK_API_URL may name another API, such as the URL that `bin/clerk-machines emulate` prints.
** Exit status: 0 done, 1 failed, 2 wrong usage.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "clerk_lua.h"

enum { DONE, FAILED, MISUSED };

/* What the script returns, on the stack of `play`. */
enum { CLIENT = 1, REPORT };

/* Stands for the host's own work. */
static void draw_frame(void) {
  const struct timespec frame = {.tv_nsec = 1000000000 / 60};
  nanosleep(&frame, NULL);
}

/* Moves the calls without waiting. Returns whether any is left. */
static bool step_calls(lua_State *L) {
  lua_getfield(L, CLIENT, "step");
  lua_pushvalue(L, CLIENT);
  lua_pushinteger(L, 0);
  lua_call(L, 2, 1);
  bool are_left = lua_tointeger(L, -1) > 0;
  lua_pop(L, 1);
  return are_left;
}

static void run_script(lua_State *L, const char *path) {
  if (luaL_loadfile(L, path) != LUA_OK) lua_error(L);
  lua_call(L, 0, 2);
}

static int play(lua_State *L) {
  const char *path = lua_touserdata(L, 1);
  int frames = 0;
  luaL_openlibs(L);
  luaL_requiref(L, "clerk.machines", luaopen_clerk_machines, 0);
  lua_settop(L, 0);
  run_script(L, path);
  for (; step_calls(L); frames++) draw_frame();
  printf("%d frames\n", frames);
  lua_pushvalue(L, REPORT);
  lua_call(L, 0, 0);
  return 0;
}

/* Errors of the library are tables that become text by __tostring. */
static int describe(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

static int fail(const char *message) {
  fprintf(stderr, "host: %s\n", message);
  return FAILED;
}

/* Every Lua error ends here: `play` and what it calls run protected. */
static int run(lua_State *L, char *path) {
  lua_pushcfunction(L, describe);
  lua_pushcfunction(L, play);
  lua_pushlightuserdata(L, path);
  return lua_pcall(L, 1, 0, 1) == LUA_OK ? DONE : fail(lua_tostring(L, -1));
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fputs("usage: host SCRIPT\n", stderr);
    return MISUSED;
  }
  lua_State *L = luaL_newstate();
  if (!L) return fail("out of memory");
  int status = run(L, argv[1]);
  lua_close(L); /* closes the client too */
  return status;
}
