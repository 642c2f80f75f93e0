/* HTTP/1.1 for transports that have only a socket: the bytes of requests, and heads of responses. */
#include "call.h"
#include "headers.h"
#include "http_head.h"
#include "http_request.h"
#include "parts.h"
#include "support.h"

/* Each function has a buffer of its own, which is its upvalue and is used again. */
enum { KEPT_BYTES = 64 * 1024 };

static void release(clerk_buffer *buffer) {
  if (buffer->capacity > KEPT_BYTES)
    clerk_buffer_free(buffer);
  else
    clerk_buffer_clear(buffer);
}

/* ------------------------------------------------------------------ requests */

static void check(lua_State *L, clerk_status status) {
  if (status == CLERK_NO_MEMORY) luaL_error(L, "not enough memory");
  if (status == CLERK_REFUSED) luaL_error(L, "a part of the request would break its line");
}

static void add_header(lua_State *L, void *out, const char *name, const char *value) {
  check(L, clerk_http_add_header(out, clerk_lua_text_of(name), clerk_lua_text_of(value)));
}

/* Pushes the request, which holds the key, and wipes the buffer. */
static void finish(lua_State *L, clerk_buffer *out, clerk_text body) {
  check(L, clerk_http_end_request(out, body));
  lua_pushlstring(L, out->bytes, out->length);
  release(out);
}

static clerk_text text_field(lua_State *L, int index, const char *name) {
  clerk_text text = {0};
  lua_getfield(L, index, name);
  if (!lua_isnil(L, -1)) text = clerk_lua_text(L, -1);
  return text;
}

/* core.http_request { method, url, headers, body } -> its bytes */
static int core_http_request(lua_State *L) {
  clerk_buffer *out = lua_touserdata(L, lua_upvalueindex(1));
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  clerk_text method = text_field(L, 1, "method"), url = text_field(L, 1, "url");
  clerk_text body = text_field(L, 1, "body");
  clerk_buffer_clear(out);
  check(L, clerk_http_begin_request(out, method, url));
  lua_getfield(L, 1, "headers");
  luaL_checktype(L, -1, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
    check(L, clerk_http_add_header(out, clerk_lua_text(L, -2), clerk_lua_text(L, -1)));
  finish(L, out, body);
  return 1;
}

/* core.http_call(call, key) -> the bytes of its request, URL, timeout_ms, connect_timeout_ms,
** max_response_bytes; the key was checked */
static int core_http_call(lua_State *L) {
  clerk_buffer *out = lua_touserdata(L, lua_upvalueindex(1));
  const clerk_lua_call *call = clerk_lua_check_call(L, 1);
  const clerk_request *request = &call->request;
  clerk_text url = clerk_lua_text_of(request->url);
  clerk_buffer_clear(out);
  check(L, clerk_http_begin_request(out, clerk_lua_text_of(request->method), url));
  check(L, clerk_http_authorize(out, clerk_lua_text(L, 2)));
  clerk_lua_add_headers_of(L, 1, call, add_header, out);
  finish(L, out, clerk_lua_text_of(request->body));
  lua_pushlstring(L, url.bytes, url.length);
  lua_pushinteger(L, call->limits.timeout_ms);
  lua_pushinteger(L, call->limits.connect_timeout_ms);
  lua_pushnumber(L, (lua_Number)call->limits.max_response_bytes);
  return 5;
}

/* ------------------------------------------------------------------ responses */

static int push_flaw(lua_State *L, clerk_failure failure, const char *problem) {
  lua_pushnil(L);
  lua_pushstring(L, clerk_failure_name(failure));
  lua_pushstring(L, problem);
  return 3;
}

static int push_head(lua_State *L, const clerk_http_head *head) {
  const clerk_http_framing *framing = &head->framing;
  bool has_body = clerk_http_has_body(head->status);
  lua_pushinteger(L, head->status);
  lua_pushlstring(L, head->fields, head->fields_length);
  if (framing->has_length || !has_body)
    lua_pushnumber(L, has_body ? (lua_Number)framing->length : 0);
  else
    lua_pushnil(L);
  lua_pushboolean(L, has_body && framing->is_chunked);
  lua_pushboolean(L, head->minor == 1 && !framing->is_closing);
  lua_pushinteger(L, (lua_Integer)head->length);
  return 6;
}

/* core.http_head(bytes, line_max, head_max) -> status, header lines, length of the body (nil: not
** announced), is_chunked, is_persistent, length of the head; or nil, code, message; or nothing while it
** is not complete: see clerk_http_head_read */
static int core_http_head(lua_State *L) {
  clerk_buffer *bytes = lua_touserdata(L, lua_upvalueindex(1));
  clerk_http_head head;
  clerk_failure failure;
  clerk_text text = clerk_lua_text(L, 1);
  size_t line_max = (size_t)luaL_checkinteger(L, 2), head_max = (size_t)luaL_checkinteger(L, 3);
  clerk_buffer_clear(bytes);
  if (!clerk_buffer_append(bytes, text.bytes, text.length))
    return luaL_error(L, "not enough memory");
  const char *problem =
      clerk_http_head_read(&head, bytes->bytes, bytes->length, line_max, head_max, &failure);
  int results = problem            ? push_flaw(L, failure, problem)
                : head.is_complete ? push_head(L, &head)
                                   : 0;
  release(bytes);
  return results;
}

/* core.http_headers(header lines) -> table: names in lower case, repeated ones joined by ", " */
static int core_http_headers(lua_State *L) {
  clerk_lua_push_headers(L, clerk_lua_text(L, 1), (clerk_text){0});
  return 1;
}

static void add(lua_State *L, const char *name, lua_CFunction function) {
  clerk_lua_new_buffer(L);
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, -2, name);
}

void clerk_lua_add_http1(lua_State *L) {
  add(L, "http_request", core_http_request);
  add(L, "http_call", core_http_call);
  add(L, "http_head", core_http_head);
  lua_pushcfunction(L, core_http_headers);
  lua_setfield(L, -2, "http_headers");
}
