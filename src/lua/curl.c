/* The libcurl transport for Lua: see lua/clerk/machines/loop/transport.lua. */
#include "headers.h"
#include "parts.h"
#include "support.h"
#include "transfers.h"

static const char loop_type[] = "clerk.machines.loop";
static const char curl_type[] = "clerk.machines.curl";
static const char transfer_type[] = "clerk.machines.transfer";

typedef struct shared_loop {
  clerk_loop *loop;
} shared_loop;

/* The host's finalizers may still call this after the loop's own finalizer has run. */
static clerk_loop *loop_of(lua_State *L, const shared_loop *shared) {
  if (!shared->loop) luaL_error(L, "the Lua state is being closed");
  return shared->loop;
}

static clerk_loop *check_loop(lua_State *L) {
  return loop_of(L, clerk_lua_check(L, 1, loop_type));
}

clerk_curl *clerk_lua_check_curl(lua_State *L, int index) {
  return clerk_lua_check(L, index, curl_type);
}

clerk_transfer *clerk_lua_check_transfer(lua_State *L, int index) {
  return clerk_lua_check(L, index, transfer_type);
}

clerk_transfer *clerk_lua_new_transfer(lua_State *L) {
  return clerk_lua_new(L, sizeof(clerk_transfer), transfer_type);
}

void clerk_lua_check_status(lua_State *L, clerk_status status) {
  if (status == CLERK_NO_MEMORY) luaL_error(L, "not enough memory");
  if (status == CLERK_REFUSED) luaL_error(L, "the transport is closed");
}

static lua_Integer integer_field(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  lua_Integer integer = luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return integer;
}

/* ------------------------------------------------------------------ the loop */

static int push_finished(lua_State *L, clerk_loop *loop) {
  clerk_transfer *transfer = clerk_loop_next_finished(loop);
  if (!transfer) return 0;
  lua_pushlightuserdata(L, transfer);
  return 1;
}

/* loop:step(ms, work_us) -> as loop:next_finished: see clerk_loop_step; waits at most for a second */
static int loop_step(lua_State *L) {
  clerk_loop *loop = check_loop(L);
  lua_Number ms = luaL_checknumber(L, 2);
  bool is_long = !(ms < (lua_Number)CLERK_LUA_LONGEST_STEP_MS);
  clerk_loop_step(loop, is_long ? CLERK_LUA_LONGEST_STEP_MS : (int)ms,
                  (int64_t)luaL_checknumber(L, 3));
  return push_finished(L, loop);
}

/* loop:next_finished() -> the key of a transfer, or nil */
static int loop_next_finished(lua_State *L) {
  return push_finished(L, check_loop(L));
}

static void push_or_nil(lua_State *L, int number) {
  if (number >= 0)
    lua_pushinteger(L, number);
  else
    lua_pushnil(L);
}

/* loop:descriptor() -> fd or nil, ms until a step is due or nil */
static int loop_descriptor(lua_State *L) {
  int wait_ms;
  push_or_nil(L, clerk_loop_descriptor(check_loop(L), &wait_ms));
  push_or_nil(L, wait_ms);
  return 2;
}

static int loop_gc(lua_State *L) {
  shared_loop *shared = clerk_lua_check(L, 1, loop_type);
  clerk_loop_release(shared->loop);
  shared->loop = NULL;
  return 0;
}

/* ------------------------------------------------------------------ a client's connections */

/* core.curl { ca_file, proxy, max_connections } -> curl | nil, problem */
static int core_curl(lua_State *L) {
  clerk_problem problem;
  clerk_loop *loop = loop_of(L, lua_touserdata(L, lua_upvalueindex(1)));
  luaL_checktype(L, 1, LUA_TTABLE);
  clerk_curl_options options = {.ca_file = clerk_lua_field(L, 1, "ca_file"),
                                .proxy = clerk_lua_field(L, 1, "proxy"),
                                .max_connections = (long)integer_field(L, 1, "max_connections")};
  clerk_curl *curl = clerk_lua_new(L, sizeof *curl, curl_type);
  clerk_status status = clerk_curl_init(curl, loop, &options, &problem);
  return status == CLERK_OK ? 1 : clerk_lua_refuse(L, status, &problem);
}

/* Copies the headers of the request at `index` into the transfer. */
static void add_headers(lua_State *L, int index, clerk_transfer *transfer) {
  lua_getfield(L, index, "headers");
  int headers = lua_gettop(L);
  luaL_checktype(L, headers, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, headers); lua_pop(L, 1)) {
    const char *name = clerk_lua_text(L, -2).bytes;
    clerk_lua_check_status(L,
                           clerk_transfer_add_header(transfer, name, clerk_lua_text(L, -1).bytes));
  }
  lua_pop(L, 1);
}

static void add_body(lua_State *L, int index, clerk_transfer *transfer) {
  lua_getfield(L, index, "body");
  if (!lua_isnil(L, -1))
    clerk_lua_check_status(L, clerk_transfer_set_body(transfer, clerk_lua_text(L, -1)));
  lua_pop(L, 1);
}

/* curl:start(request) -> transfer */
static int curl_start(lua_State *L) {
  clerk_curl *curl = clerk_lua_check_curl(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  clerk_curl_request request = {
      .method = clerk_lua_field(L, 2, "method"),
      .url = clerk_lua_field(L, 2, "url"),
      .timeout_ms = (long)integer_field(L, 2, "timeout_ms"),
      .connect_timeout_ms = (long)integer_field(L, 2, "connect_timeout_ms"),
      .max_response_bytes = (size_t)integer_field(L, 2, "max_response_bytes")};
  luaL_argcheck(L, request.method && request.url, 2, "a method and a URL expected");
  clerk_transfer *transfer = clerk_lua_new_transfer(L);
  add_headers(L, 2, transfer);
  add_body(L, 2, transfer);
  clerk_lua_check_status(L, clerk_curl_start(curl, transfer, &request));
  return 1;
}

static int curl_close(lua_State *L) {
  clerk_curl_close(clerk_lua_check_curl(L, 1));
  return 0;
}

/* ------------------------------------------------------------------ a transfer */

clerk_text clerk_lua_head_of(const clerk_transfer *transfer) {
  return (clerk_text){transfer->head.bytes, transfer->head.length};
}

/* transfer:key() -> what loop:next_finished returns for it */
static int transfer_key(lua_State *L) {
  lua_pushlightuserdata(L, clerk_lua_check_transfer(L, 1));
  return 1;
}

/* transfer:is_finished() */
static int transfer_is_finished(lua_State *L) {
  lua_pushboolean(L, clerk_lua_check_transfer(L, 1)->is_finished);
  return 1;
}

/* transfer:step() -> whether it is finished now; waits for a while, or less: see clerk_loop_step */
static int transfer_step(lua_State *L) {
  clerk_transfer *transfer = clerk_lua_check_transfer(L, 1);
  luaL_argcheck(L, transfer->is_finished || transfer->owner, 1, "a transfer that is started");
  if (!transfer->is_finished) clerk_loop_step(transfer->owner->loop, CLERK_LUA_LONGEST_STEP_MS, 0);
  lua_pushboolean(L, transfer->is_finished);
  return 1;
}

static int push_response(lua_State *L, clerk_transfer *transfer) {
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, transfer->status);
  lua_setfield(L, -2, "status");
  clerk_lua_push_headers(L, clerk_lua_head_of(transfer), (clerk_text){0});
  lua_setfield(L, -2, "headers");
  lua_pushlstring(L, transfer->body.bytes, transfer->body.length);
  lua_setfield(L, -2, "body");
  return 1;
}

static int push_failure(lua_State *L, const clerk_transfer *transfer) {
  lua_pushnil(L);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, clerk_failure_name(transfer->failure));
  lua_setfield(L, -2, "code");
  lua_pushstring(L, transfer->message);
  lua_setfield(L, -2, "message");
  lua_pushboolean(L, transfer->sent);
  lua_setfield(L, -2, "sent");
  lua_pushboolean(L, transfer->is_final);
  lua_setfield(L, -2, "final");
  return 2;
}

/* transfer:take() -> response | nil, failure: once, after it is finished */
static int transfer_take(lua_State *L) {
  clerk_transfer *transfer = clerk_lua_check_transfer(L, 1);
  luaL_argcheck(L, transfer->is_finished, 1, "the transfer is under way");
  int results = transfer->has_response ? push_response(L, transfer) : push_failure(L, transfer);
  clerk_transfer_end(transfer);
  return results;
}

/* transfer:cancel() -> whether a byte of it may have left; stops it if it is under way, and nothing
** else can be done with it then */
static int transfer_cancel(lua_State *L) {
  clerk_transfer *transfer = clerk_lua_check_transfer(L, 1);
  lua_pushboolean(L, clerk_transfer_has_sent(transfer));
  clerk_transfer_end(transfer);
  return 1;
}

static const luaL_Reg loop_methods[] = {{"step", loop_step},
                                        {"next_finished", loop_next_finished},
                                        {"descriptor", loop_descriptor},
                                        {"__gc", loop_gc},
                                        {NULL, NULL}};

static const luaL_Reg curl_methods[] = {
    {"start", curl_start}, {"close", curl_close}, {"__gc", curl_close}, {NULL, NULL}};

static const luaL_Reg transfer_methods[] = {{"key", transfer_key},
                                            {"is_finished", transfer_is_finished},
                                            {"step", transfer_step},
                                            {"cancel", transfer_cancel},
                                            {"take", transfer_take},
                                            {"__gc", transfer_cancel},
                                            {NULL, NULL}};

/* Adds `loop`, the one of this Lua state, and `curl` to the module on top of the stack. */
void clerk_lua_add_curl(lua_State *L) {
  clerk_lua_register(L, loop_type, loop_methods);
  clerk_lua_register(L, curl_type, curl_methods);
  clerk_lua_register(L, transfer_type, transfer_methods);
  shared_loop *shared = clerk_lua_new(L, sizeof *shared, loop_type);
  shared->loop = clerk_loop_new();
  if (!shared->loop) luaL_error(L, "not enough memory");
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "loop");
  lua_pushcclosure(L, core_curl, 1);
  lua_setfield(L, -2, "curl");
}
