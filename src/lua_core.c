/* The module clerk.machines.core: the core and its transport for lua/clerk/machines. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <sys/random.h>
#endif

#include "descriptors.h"
#include "guess.h"
#include "lua_binding.h"
#include "utf8.h"

/* ------------------------------------------------------------------ shared by the binding */

void *clerk_lua_new(lua_State *L, size_t size, const char *metatable) {
  void *memory = lua_newuserdata(L, size);
  memset(memory, 0, size);
  luaL_getmetatable(L, metatable);
  lua_setmetatable(L, -2);
  return memory;
}

void clerk_lua_register(lua_State *L, const char *metatable, const luaL_Reg *methods) {
  luaL_newmetatable(L, metatable);
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

/* ------------------------------------------------------------------ the table of operations */

static void set_bound(lua_State *L, const char *name, int64_t bound) {
  if (bound == INT64_MIN || bound == INT64_MAX) return;
  clerk_lua_push_integer(L, bound);
  lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

static void set_values(lua_State *L, const char *const *values) {
  if (!values) return;
  lua_newtable(L);
  for (int i = 0; values[i]; i++) {
    lua_pushstring(L, values[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "values");
}

static void push_parameter(lua_State *L, const clerk_parameter *parameter) {
  static const char *const places[] = {"path", "query", "body"};
  static const char *const types[] = {"string", "integer", "machine_id", "machine_ids"};
  lua_newtable(L);
  clerk_lua_set_string(L, "name", parameter->name);
  clerk_lua_set_string(L, "place", places[parameter->place]);
  clerk_lua_set_string(L, "type", types[parameter->type]);
  set_boolean(L, "required", parameter->required);
  set_bound(L, "min", parameter->min);
  set_bound(L, "max", parameter->max);
  set_values(L, parameter->values);
}

static void push_operation(lua_State *L, const clerk_operation *operation) {
  lua_newtable(L);
  clerk_lua_set_string(L, "name", operation->name);
  clerk_lua_set_string(L, "summary", operation->summary);
  clerk_lua_set_string(L, "method", operation->method);
  clerk_lua_set_string(L, "path", operation->path);
  set_boolean(L, "answers_secret", operation->answers_secret);
  lua_newtable(L);
  for (int i = 0; operation->parameters[i].name; i++) {
    push_parameter(L, &operation->parameters[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "parameters");
}

static void push_operations(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; clerk_operations[i].name; i++) {
    push_operation(L, &clerk_operations[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* ------------------------------------------------------------------ the codes of errors */

static void push_failures(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; clerk_failure_name((clerk_failure)i); i++) {
    lua_pushstring(L, clerk_failure_name((clerk_failure)i));
    lua_rawseti(L, -2, i + 1);
  }
}

/* Those of answers that cannot be used. */
static void push_judgements(lua_State *L) {
  lua_newtable(L);
  for (int i = CLERK_INVALID_JSON; clerk_judgement_name((clerk_judgement)i); i++) {
    lua_pushstring(L, clerk_judgement_name((clerk_judgement)i));
    lua_rawseti(L, -2, i - CLERK_INVALID_JSON + 1);
  }
}

/* ------------------------------------------------------------------ checks */

static int answer_check(lua_State *L, clerk_status status, const clerk_problem *problem) {
  if (status != CLERK_OK) return clerk_lua_refuse(L, status, problem);
  lua_pushboolean(L, 1);
  return 1;
}

/* core.check_base_url(url, allow_http) -> true | nil, problem */
static int core_check_base_url(lua_State *L) {
  clerk_problem problem;
  clerk_text url = clerk_lua_text(L, 1);
  return answer_check(L, clerk_check_base_url(url, lua_toboolean(L, 2), &problem), &problem);
}

/* core.check_header(name, value) -> true | nil, problem */
static int core_check_header(lua_State *L) {
  clerk_problem problem;
  clerk_text name = clerk_lua_text(L, 1), value = clerk_lua_text(L, 2);
  return answer_check(L, clerk_check_header(name, value, &problem), &problem);
}

/* core.check_secret_key(key) -> true | nil, problem */
static int core_check_secret_key(lua_State *L) {
  clerk_problem problem;
  return answer_check(L, clerk_check_secret_key(clerk_lua_text(L, 1), &problem), &problem);
}

/* core.is_retry_status(value) -> whether a retry policy can name it: 429, "5XX" */
static int core_is_retry_status(lua_State *L) {
  clerk_retry_policy policy = {0};
  luaL_checkany(L, 1);
  lua_pushboolean(L, clerk_lua_retry_on(L, 1, &policy));
  return 1;
}

/* core.nearest(name, names) -> which of the names was probably meant, or nil */
static int core_nearest(lua_State *L) {
  clerk_guess guess = {.given = clerk_lua_text(L, 1)};
  luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 1; i <= (int)lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    clerk_guess_consider(&guess, clerk_lua_text(L, -1).bytes); /* kept alive by the table */
    lua_pop(L, 1);
  }
  lua_pushstring(L, guess.name);
  return 1;
}

/* ------------------------------------------------------------------ coroutines */

/* core.is_yieldable() -> whether the caller can yield: not below a C function such as string.gsub.
** nginx's Lua may lack coroutine.isyieldable. */
static int core_is_yieldable(lua_State *L) {
  lua_pushboolean(L, lua_isyieldable(L));
  return 1;
}

/* ------------------------------------------------------------------ time and chance */

/* core.now() -> ms of a clock that only goes forward */
static int core_now(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  clerk_lua_push_integer(L, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  return 1;
}

/* core.process_id() -> another one after a fork, in the child */
static int core_process_id(lua_State *L) {
  clerk_lua_push_integer(L, getpid());
  return 1;
}

/* core.now_us() -> the same clock in microseconds */
static int core_now_us(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  clerk_lua_push_integer(L, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  return 1;
}

/* core.sleep(ms): may return early, so that a signal gets its turn */
static int core_sleep(lua_State *L) {
  double ms = (double)luaL_checknumber(L, 1);
  struct timespec wait = {(time_t)(ms / 1000), (long)fmod(ms, 1000) * 1000000};
  if (ms > 0) nanosleep(&wait, NULL);
  return 0;
}

double clerk_lua_random(void) {
  uint32_t bits = 0;
  if (getentropy(&bits, sizeof bits) != 0) bits = UINT32_MAX / 2;
  return bits / 4294967296.0;
}

/* core.random() -> a number in [0, 1) */
static int core_random(lua_State *L) {
  lua_pushnumber(L, clerk_lua_random());
  return 1;
}

/* ------------------------------------------------------------------ output */

/* core.clean(text, replacement) -> the text with a replacement for each character that is not
** harmless (see clerk_utf8_is_harmless), and for each byte that is not UTF-8 */
static int core_clean(lua_State *L) {
  clerk_text text = clerk_lua_text(L, 1), replacement = clerk_lua_text(L, 2);
  const char *end = text.bytes + text.length;
  luaL_Buffer cleaned;
  luaL_buffinit(L, &cleaned);
  for (const char *at = text.bytes; at < end;) {
    size_t length = clerk_utf8_sequence(at, end);
    bool is_harmless = clerk_utf8_is_harmless(at, end);
    clerk_text added = is_harmless ? (clerk_text){at, length} : replacement;
    luaL_addlstring(&cleaned, added.bytes, added.length);
    at += length > 0 ? length : 1;
  }
  luaL_pushresult(&cleaned);
  return 1;
}

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

/* ------------------------------------------------------------------ the module */

static const luaL_Reg functions[] = {{"settings", clerk_lua_settings},
                                     {"call", clerk_lua_call},
                                     {"decode", clerk_lua_json_decode},
                                     {"check_base_url", core_check_base_url},
                                     {"check_header", core_check_header},
                                     {"check_secret_key", core_check_secret_key},
                                     {"is_retry_status", core_is_retry_status},
                                     {"is_yieldable", core_is_yieldable},
                                     {"nearest", core_nearest},
                                     {"now", core_now},
                                     {"now_us", core_now_us},
                                     {"process_id", core_process_id},
                                     {"sleep", core_sleep},
                                     {"random", core_random},
                                     {"guard_descriptors", core_guard_descriptors},
                                     {"clean", core_clean},
                                     {"write", core_write},
                                     {NULL, NULL}};

int luaopen_clerk_machines_core(lua_State *L) {
  clerk_lua_register_call(L);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  clerk_lua_set_string(L, "version", clerk_version());
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  push_operations(L);
  lua_setfield(L, -2, "operations");
  push_failures(L);
  lua_setfield(L, -2, "failures");
  push_judgements(L);
  lua_setfield(L, -2, "judgements");
  clerk_lua_push_result_metatable(L);
  lua_setfield(L, -2, "result");
  clerk_lua_add_curl(L);
  return 1;
}
