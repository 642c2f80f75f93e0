/* The fast path of calls: a call becomes a transfer, and a transfer that has succeeded a result,
** without tables for request and response; in nginx, the bytes of a request (http1.c) and a result.
** Anything else takes the general path: see lua/clerk/machines/call.lua. */
#include <string.h>

#include "call.h"
#include "headers.h"
#include "parts.h"
#include "support.h"
#include "transfers.h"

static void add_header(lua_State *L, void *transfer, const char *name, const char *value) {
  clerk_lua_check_status(L, clerk_transfer_add_header(transfer, name, value));
}

/* Pushes a transfer of the call at `index`, started; the key was checked. */
static clerk_transfer *start(lua_State *L, clerk_curl *curl, int index, const clerk_lua_call *call,
                             clerk_text key) {
  const char *body = call->request.body;
  clerk_curl_request request = {.method = call->request.method,
                                .url = call->request.url,
                                .timeout_ms = call->limits.timeout_ms,
                                .connect_timeout_ms = call->limits.connect_timeout_ms,
                                .max_response_bytes = call->limits.max_response_bytes};
  clerk_transfer *transfer = clerk_lua_new_transfer(L);
  clerk_lua_check_status(L, clerk_transfer_authorize(transfer, key));
  clerk_lua_add_headers_of(L, index, call, add_header, transfer);
  if (body)
    clerk_lua_check_status(L, clerk_transfer_set_body(transfer, (clerk_text){body, strlen(body)}));
  clerk_lua_check_status(L, clerk_curl_start(curl, transfer, &request));
  return transfer;
}

/* What `meta` does while it has no headers: they become a field when they are first read, which most
** callers never do. Its upvalues are what has the header lines, a transfer or a string, and the key. */
static int index_meta(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "headers") != 0) return 0;
  const clerk_transfer *transfer = lua_touserdata(L, lua_upvalueindex(1));
  clerk_text fields =
      transfer ? clerk_lua_head_of(transfer) : clerk_lua_text(L, lua_upvalueindex(1));
  clerk_lua_push_headers(L, fields, clerk_lua_text(L, lua_upvalueindex(2)));
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  lua_pushnil(L);
  lua_setmetatable(L, 1);
  return 1;
}

static void push_meta(lua_State *L, int head, int key, int status, int64_t elapsed_ms) {
  lua_createtable(L, 0, 4);
  clerk_lua_set_integer(L, "status", status);
  clerk_lua_set_integer(L, "attempts", 1);
  clerk_lua_set_integer(L, "elapsed_ms", elapsed_ms);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, head);
  lua_pushvalue(L, key);
  lua_pushcclosure(L, index_meta, 2);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

/* Pushes the result and meta if the response is a success; otherwise returns false. `head` and `key`
** are indices. */
static bool push_success(lua_State *L, const clerk_lua_call *call, int key, int status, int head,
                         clerk_text body) {
  clerk_reader reader;
  clerk_shape shape = {.operation = call->operation};
  if (status >= 300) return false;
  if (clerk_lua_judge(L, status, body, &reader, &shape) != CLERK_SUCCESS) return false;
  push_meta(L, head, key, status, clerk_now_us() / 1000 - call->retry.start_ms);
  return true;
}

/* The same for a transfer; if it returns false, transfer:take() has the response. */
static bool take_success(lua_State *L, clerk_transfer *transfer, int index,
                         const clerk_lua_call *call, int key) {
  clerk_text body = {transfer->body.bytes, transfer->body.length};
  if (!transfer->has_response || !push_success(L, call, key, transfer->status, index, body))
    return false;
  clerk_transfer_trim(transfer);
  return true;
}

/* core.start(curl, call, key, is_alone) -> result, meta | nil, transfer. If nothing else is in
** progress, it waits for the response, though not for longer than one step may. */
static int core_start(lua_State *L) {
  clerk_curl *curl = clerk_lua_check_curl(L, 1);
  const clerk_lua_call *call = clerk_lua_check_call(L, 2);
  bool is_alone = lua_toboolean(L, 4);
  lua_settop(L, 3);
  clerk_transfer *transfer = start(L, curl, 2, call, clerk_lua_text(L, 3));
  if (is_alone && !transfer->is_finished)
    clerk_loop_step(transfer->owner->loop, CLERK_LUA_LONGEST_STEP_MS, 0);
  if (is_alone && transfer->is_finished && take_success(L, transfer, 4, call, 3)) return 2;
  lua_pushnil(L);
  lua_pushvalue(L, 4);
  return 2;
}

/* core.take_success(transfer, call, key) -> result, meta; or nothing, unless the response is a
** success: transfer:take() has it then */
static int core_take_success(lua_State *L) {
  clerk_transfer *transfer = clerk_lua_check_transfer(L, 1);
  return take_success(L, transfer, 1, clerk_lua_check_call(L, 2), 3) ? 2 : 0;
}

/* core.success(call, key, status, header lines, body) -> result, meta; or nothing, unless the response
** is a success */
static int core_success(lua_State *L) {
  const clerk_lua_call *call = clerk_lua_check_call(L, 1);
  clerk_text body = clerk_lua_text(L, 5);
  return push_success(L, call, 2, (int)luaL_checkinteger(L, 3), 4, body) ? 2 : 0;
}

static const luaL_Reg functions[] = {{"start", core_start},
                                     {"take_success", core_take_success},
                                     {"success", core_success},
                                     {NULL, NULL}};

void clerk_lua_add_fast_path(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
