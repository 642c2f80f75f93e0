/* What a few specs need of the system and Lua does not offer; see posix.lua. */
#include <lauxlib.h>
#include <lua.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int posix_fork(lua_State *L) {
  lua_pushinteger(L, fork());
  return 1;
}

static int posix_exit(lua_State *L) {
  _exit((int)luaL_checkinteger(L, 1));
}

static int posix_wait(lua_State *L) {
  int status = 0;
  waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  return 1;
}

static int posix_close(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

static int posix_setenv(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *value = luaL_optstring(L, 2, NULL);
  if (value == NULL)
    unsetenv(name);
  else
    setenv(name, value, 1);
  return 0;
}

static int posix_is_readable(lua_State *L) {
  struct pollfd polled = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
  lua_pushboolean(L, poll(&polled, 1, (int)luaL_checkinteger(L, 2)) > 0);
  return 1;
}

static int posix_restore_sigpipe(lua_State *L) {
  (void)L;
  signal(SIGPIPE, SIG_DFL);
  return 0;
}

static int posix_allocated(lua_State *L) {
  struct mallinfo2 info = mallinfo2();
  lua_pushinteger(L, (lua_Integer)info.uordblks + (lua_Integer)info.hblkhd);
  return 1;
}

static int posix_trim(lua_State *L) {
  (void)L;
  malloc_trim(0);
  return 0;
}

static int posix_limit_descriptors(lua_State *L) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  lua_pushinteger(L, (lua_Integer)limit.rlim_cur);
  limit.rlim_cur = (rlim_t)luaL_checkinteger(L, 1);
  setrlimit(RLIMIT_NOFILE, &limit);
  return 1;
}

static const luaL_Reg functions[] = {
    {"allocated", posix_allocated},
    {"close", posix_close},
    {"fork", posix_fork},
    {"exit", posix_exit},
    {"wait", posix_wait},
    {"setenv", posix_setenv},
    {"is_readable", posix_is_readable},
    {"limit_descriptors", posix_limit_descriptors},
    {"restore_sigpipe", posix_restore_sigpipe},
    {"trim", posix_trim},
    {NULL, NULL},
};

int luaopen_posix(lua_State *L) {
  lua_newtable(L);
  for (const luaL_Reg *row = functions; row->name != NULL; row++) {
    lua_pushcfunction(L, row->func);
    lua_setfield(L, -2, row->name);
  }
  return 1;
}
