/* A call straight into a transfer, and a transfer that has succeeded straight into a result. What
** comes of it otherwise goes the general way, by tables: see lua/clerk/machines/call.lua. */
#include <string.h>

#include "call.h"
#include "parts.h"
#include "support.h"
#include "transfers.h"

static void add_header(lua_State *L, clerk_transfer *transfer, const char *name,
                       const char *value) {
  clerk_lua_check_status(L, clerk_transfer_add_header(transfer, name, value));
}

static bool is_empty(lua_State *L, int table) {
  lua_pushnil(L);
  if (!lua_next(L, table)) return true;
  lua_pop(L, 2);
  return false;
}

/* The caller's headers override ours. */
static void add_headers(lua_State *L, int index, const clerk_request *request,
                        clerk_transfer *transfer) {
  lua_getuservalue(L, index);
  lua_getfield(L, -1, "headers");
  int own = lua_gettop(L);
  bool is_ours = is_empty(L, own);
  for (size_t i = 0; i < request->header_count; i++)
    if (is_ours || !clerk_lua_field(L, own, request->headers[i].name))
      add_header(L, transfer, request->headers[i].name, request->headers[i].value);
  for (lua_pushnil(L); lua_next(L, own); lua_pop(L, 1))
    add_header(L, transfer, lua_tostring(L, -2), lua_tostring(L, -1));
  lua_pop(L, 2);
}

/* core.carry(curl, call, key, timeout_ms, connect_timeout_ms, max_response_bytes) -> transfer, which
** is started; the key was checked */
static int core_carry(lua_State *L) {
  clerk_curl *curl = clerk_lua_check_curl(L, 1);
  clerk_lua_call *call = clerk_lua_check_call(L, 2);
  clerk_lua_check_status(L, clerk_request_authorize(&call->request, clerk_lua_text(L, 3)));
  long timeout_ms = (long)luaL_checkinteger(L, 4), connect_ms = (long)luaL_checkinteger(L, 5);
  clerk_curl_request request = {
      .method = call->request.method,
      .url = call->request.url,
      .timeout_ms = timeout_ms,
      .connect_timeout_ms = connect_ms < timeout_ms ? connect_ms : timeout_ms,
      .max_response_bytes = (size_t)luaL_checkinteger(L, 6)};
  clerk_transfer *transfer = clerk_lua_new_transfer(L);
  const char *body = call->request.body;
  add_headers(L, 2, &call->request, transfer);
  if (body)
    clerk_lua_check_status(L, clerk_transfer_set_body(transfer, (clerk_text){body, strlen(body)}));
  clerk_lua_check_status(L, clerk_curl_start(curl, transfer, &request));
  return 1;
}

/* What `meta` does while it has no headers: they become a field when they are first read, which most
** callers never do. Its upvalues are the transfer and the key. */
static int index_meta(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "headers") != 0) return 0;
  clerk_transfer *transfer = lua_touserdata(L, lua_upvalueindex(1));
  clerk_lua_push_headers(L, transfer, clerk_lua_text(L, lua_upvalueindex(2)));
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  lua_pushnil(L);
  lua_setmetatable(L, 1);
  return 1;
}

static void push_meta(lua_State *L, int transfer, int key, int status, int64_t elapsed_ms) {
  lua_createtable(L, 0, 4);
  clerk_lua_set_integer(L, "status", status);
  clerk_lua_set_integer(L, "attempts", 1);
  clerk_lua_set_integer(L, "elapsed_ms", elapsed_ms);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, transfer);
  lua_pushvalue(L, key);
  lua_pushcclosure(L, index_meta, 2);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

/* core.accept(transfer, call, key) -> result, meta; or nothing, unless the response is a success:
** transfer:take() has it then */
static int core_accept(lua_State *L) {
  clerk_transfer *transfer = clerk_lua_check_transfer(L, 1);
  const clerk_lua_call *call = clerk_lua_check_call(L, 2);
  clerk_reader reader;
  clerk_shape shape = {.operation = call->operation};
  clerk_text body = {transfer->body.bytes, transfer->body.length};
  if (!transfer->has_response || transfer->status >= 300) return 0;
  if (clerk_lua_judge(L, transfer->status, body, &reader, &shape) != CLERK_SUCCESS) return 0;
  push_meta(L, 1, 3, transfer->status, clerk_lua_now_us() / 1000 - call->retry.start_ms);
  clerk_transfer_trim(transfer);
  return 2;
}

static const luaL_Reg functions[] = {{"carry", core_carry}, {"accept", core_accept}, {NULL, NULL}};

void clerk_lua_add_direct(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
