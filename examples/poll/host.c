/*
** Calls in a C host with a loop of its own: one poll(2) waits for the host's descriptor, here a
** timer, and for the calls of a Lua script. From the checkout, built for lua5.4, with the key of an
** instance in CLERK_SECRET_KEY:
**
**   cc -o poll_host examples/poll/host.c $(pkg-config --cflags --libs lua5.4)
**   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/lua5.4/?.so;;" \
**     ./poll_host examples/poll/calls.lua
**
** The script deletes the machines that it makes. Exit status: 0 done, 1 failed, 2 wrong usage.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { DONE, FAILED, MISUSED };

/* The descriptors that poll waits for. */
enum { TICKER, CALLS, POLLED };

typedef struct host {
  const char *script;
  int ticker;
  int ticks;
} host;

/* ------------------------------------------------------------------ the host's own work */

/* A descriptor that is readable every 10 ms. */
static int open_ticker(void) {
  const struct timespec period = {.tv_nsec = 10000000};
  const struct itimerspec times = {.it_interval = period, .it_value = period};
  int ticker = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (ticker >= 0) timerfd_settime(ticker, 0, &times, NULL);
  return ticker;
}

static void tick(host *self) {
  uint64_t expirations;
  if (read(self->ticker, &expirations, sizeof expirations) > 0) self->ticks++;
}

/* ------------------------------------------------------------------ the script's calls */

/*
** Calls the function that the script returned, on top of the stack: it moves the calls without
** waiting. Returns whether any is left, and then what to wait for and how long, until the next
** step.
*/
static bool step_calls(lua_State *L, const host *self, int *descriptor, int *wait_ms) {
  lua_pushvalue(L, -1);
  lua_pushinteger(L, self->ticks);
  lua_call(L, 1, 3);
  bool are_left = lua_tointeger(L, -3) > 0;
  *descriptor = (int)lua_tointeger(L, -2);
  *wait_ms = lua_isnil(L, -1) ? -1 : (int)lua_tointeger(L, -1);
  lua_pop(L, 3);
  return are_left;
}

static int run_loop(lua_State *L) {
  host *self = lua_touserdata(L, 1);
  struct pollfd polled[POLLED] = {{.fd = self->ticker, .events = POLLIN}, {.events = POLLIN}};
  int wait_ms;
  luaL_openlibs(L);
  if (luaL_loadfile(L, self->script) != 0) return lua_error(L);
  lua_call(L, 0, 1);
  while (step_calls(L, self, &polled[CALLS].fd, &wait_ms)) {
    poll(polled, POLLED, wait_ms);
    tick(self);
  }
  return 0;
}

/* ------------------------------------------------------------------ the program */

/* Errors of the library are tables that become text by __tostring. */
static int describe(lua_State *L) {
  if (!luaL_callmeta(L, 1, "__tostring")) lua_pushvalue(L, 1);
  return 1;
}

static int fail(const char *message) {
  fprintf(stderr, "poll_host: %s\n", message);
  return FAILED;
}

/* Every Lua error ends here: run_loop runs protected. */
static int run(lua_State *L, host *self) {
  lua_pushcfunction(L, describe);
  lua_pushcfunction(L, run_loop);
  lua_pushlightuserdata(L, self);
  return lua_pcall(L, 1, 0, 1) == 0 ? DONE : fail(lua_tostring(L, -1));
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fputs("usage: poll_host SCRIPT\n", stderr);
    return MISUSED;
  }
  host self = {.script = argv[1], .ticker = open_ticker()};
  if (self.ticker < 0) return fail("cannot make a timer");
  lua_State *L = luaL_newstate();
  int status = L ? run(L, &self) : fail("out of memory");
  if (L) lua_close(L); /* closes the client too */
  close(self.ticker);
  return status;
}
