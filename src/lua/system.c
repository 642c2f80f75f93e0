/* What Lua's own libraries do not offer: a monotonic clock, processes, coroutines, output,
** terminals. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "curl.h"
#include "descriptors.h"
#include "parts.h"
#include "support.h"

/* ------------------------------------------------------------------ coroutines */

/* core.is_yieldable() -> whether the caller can yield: not below a C function such as string.gsub.
** nginx's Lua may lack coroutine.isyieldable. Lua 5.2 knows only of the main thread; see
** lua/clerk/machines/loop/runtime.lua. */
static int core_is_yieldable(lua_State *L) {
#if LUA_VERSION_NUM == 502
  bool is_main = lua_pushthread(L);
  lua_pushboolean(L, !is_main);
#else
  lua_pushboolean(L, lua_isyieldable(L));
#endif
  return 1;
}

/* ------------------------------------------------------------------ time and random numbers */

/* core.now() -> ms of a clock that only goes forward */
static int core_now(lua_State *L) {
  clerk_lua_push_integer(L, clerk_now_us() / 1000);
  return 1;
}

/* core.unix_ms() -> Unix time in ms, by the system's clock, which may be set */
static int core_unix_ms(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  clerk_lua_push_integer(L, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  return 1;
}

/* core.http_date(text) -> Unix seconds, or nil when it is malformed: see clerk_parse_date */
static int core_http_date(lua_State *L) {
  int64_t seconds;
  if (!clerk_parse_date(luaL_checkstring(L, 1), &seconds)) return 0;
  clerk_lua_push_integer(L, seconds);
  return 1;
}

/* core.process_id() -> the process ID, which differs in a forked child */
static int core_process_id(lua_State *L) {
  clerk_lua_push_integer(L, getpid());
  return 1;
}

/* core.now_us() -> the same clock in microseconds */
static int core_now_us(lua_State *L) {
  clerk_lua_push_integer(L, clerk_now_us());
  return 1;
}

/* core.sleep(ms): may return early, so that a signal gets its turn */
static int core_sleep(lua_State *L) {
  double ms = (double)luaL_checknumber(L, 1);
  struct timespec wait = {(time_t)(ms / 1000), (long)fmod(ms, 1000) * 1000000};
  if (ms > 0) nanosleep(&wait, NULL);
  return 0;
}

/* core.random() -> a number in [0, 1) */
static int core_random(lua_State *L) {
  lua_pushnumber(L, clerk_lua_random());
  return 1;
}

/* ------------------------------------------------------------------ output */

/* core.guard_descriptors(): see clerk_guard_standard_descriptors */
static int core_guard_descriptors(lua_State *L) {
  (void)L;
  clerk_guard_standard_descriptors();
  return 0;
}

/* core.write(fd, text, from) -> the position after what was written | nil, problem, errno. Waits
** while the descriptor takes nothing, but may return early, so that a signal gets its turn. */
static int core_write(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  clerk_text text = clerk_lua_text(L, 2);
  size_t start = (size_t)luaL_checkinteger(L, 3) - 1;
  luaL_argcheck(L, start <= text.length, 3, "a position in the text expected");
  ssize_t written = write(fd, text.bytes + start, text.length - start);
  bool is_full = written < 0 && errno == EAGAIN;
  bool is_interrupted = written < 0 && errno == EINTR;
  if (is_full) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
  if (is_full || is_interrupted) written = 0;
  if (written < 0) return luaL_fileresult(L, 0, NULL);
  clerk_lua_push_integer(L, (int64_t)start + written + 1);
  return 1;
}

/* core.terminal(fd) -> how many columns the terminal has, 0 when it does not know; nil when the
** descriptor is not a terminal */
static int core_terminal(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  struct winsize size;
  if (!isatty(fd)) return 0;
  lua_pushinteger(L, ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0);
  return 1;
}

static const luaL_Reg functions[] = {{"is_yieldable", core_is_yieldable},
                                     {"now", core_now},
                                     {"now_us", core_now_us},
                                     {"unix_ms", core_unix_ms},
                                     {"http_date", core_http_date},
                                     {"process_id", core_process_id},
                                     {"sleep", core_sleep},
                                     {"random", core_random},
                                     {"guard_descriptors", core_guard_descriptors},
                                     {"write", core_write},
                                     {"terminal", core_terminal},
                                     {NULL, NULL}};

void clerk_lua_add_system(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
