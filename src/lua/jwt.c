/* JWTs for Lua. */
#include <string.h>

#include "base64url.h"
#include "clerk_memory.h"
#include "crypto.h"
#include "json.h"
#include "parts.h"
#include "support.h"

static const char jwt_type[] = "clerk.machines.jwt";

typedef struct jwt {
  clerk_jwt jwt;
  bool is_verified;
  size_t size; /* of `memory`, which is the text and twice as many bytes for the jwt */
  char memory[];
} jwt;

static jwt *check_jwt(lua_State *L) {
  return clerk_lua_check(L, 1, jwt_type);
}

static int jwt_gc(lua_State *L) {
  jwt *j = check_jwt(L);
  clerk_wipe(j->memory, j->size);
  j->is_verified = false;
  return 0;
}

/* Pushes nil, the refusal's code and its message. */
static int push_refusal(lua_State *L, const clerk_refusal *refusal) {
  lua_pushnil(L);
  lua_pushstring(L, clerk_refusal_name(refusal->code));
  lua_pushstring(L, refusal->message);
  return 3;
}

/* core.jwt(text) -> jwt | nil, code, message: see clerk_jwt_read */
static int core_jwt(lua_State *L) {
  clerk_refusal refusal;
  clerk_text text = clerk_lua_text(L, 1);
  size_t copied = text.length <= CLERK_JWT_MAX ? text.length : 0;
  jwt *j = clerk_lua_new(L, sizeof *j + 3 * copied, jwt_type);
  j->size = 3 * copied;
  memcpy(j->memory, text.bytes, copied);
  text.bytes = j->memory;
  if (!clerk_jwt_read(&j->jwt, text, j->memory + copied, &refusal))
    return push_refusal(L, &refusal);
  return 1;
}

/* jwt:kid() -> the ID of the key that it names, or nil */
static int jwt_kid(lua_State *L) {
  clerk_text kid = check_jwt(L)->jwt.kid;
  if (!kid.bytes) return 0;
  lua_pushlstring(L, kid.bytes, kid.length);
  return 1;
}

/* jwt:verify(key) -> whether its signature is the key's. Raises when out of memory. */
static int jwt_verify(lua_State *L) {
  jwt *j = check_jwt(L);
  clerk_rsa_key *key = clerk_lua_check_rsa_key(L, 2);
  clerk_status status =
      clerk_rsa_key_verify(key, j->jwt.signed_text, j->jwt.signature, &j->is_verified);
  if (status != CLERK_OK) return clerk_lua_refuse(L, status, NULL);
  lua_pushboolean(L, j->is_verified);
  return 1;
}

/* ------------------------------------------------------------------ times */

static void push_times(lua_State *L, const clerk_token_times *times) {
  lua_createtable(L, 0, 3);
  clerk_lua_set_integer(L, "expiration", times->expiration_ms);
  if (times->not_before_ms) clerk_lua_set_integer(L, "not_before", times->not_before_ms);
  if (times->issued_at_ms) clerk_lua_set_integer(L, "issued_at", times->issued_at_ms);
}

static int64_t time_field(lua_State *L, const char *name, int64_t otherwise) {
  lua_getfield(L, 1, name);
  int64_t ms = lua_isnil(L, -1) ? otherwise : clerk_lua_check_ms(L, -1);
  lua_pop(L, 1);
  return ms;
}

/* core.judge_times(times, now_ms, skew_ms) -> true | nil, code, message: `times` as from jwt:token;
** without `expiration`, a token does not expire */
static int core_judge_times(lua_State *L) {
  clerk_refusal refusal;
  luaL_checktype(L, 1, LUA_TTABLE);
  clerk_token_times times = {.expiration_ms = time_field(L, "expiration", INT64_MAX),
                             .not_before_ms = time_field(L, "not_before", 0),
                             .issued_at_ms = time_field(L, "issued_at", 0)};
  if (!clerk_judge_times(&times, clerk_lua_check_ms(L, 2), clerk_lua_check_ms(L, 3), &refusal))
    return push_refusal(L, &refusal);
  lua_pushboolean(L, 1);
  return 1;
}

/* ------------------------------------------------------------------ the token */

/* Sets `scopes` of the table on top. */
static void set_scopes(lua_State *L, clerk_text scopes) {
  clerk_text scope;
  lua_newtable(L);
  for (int i = 1; clerk_next_scope(&scopes, &scope); i++) {
    lua_pushlstring(L, scope.bytes, scope.length);
    lua_rawseti(L, -2, i);
  }
  lua_setfield(L, -2, "scopes");
}

/* Removes the members that the token's own fields say from the table on top; nil when nothing is
** left. */
static void leave_claims(lua_State *L) {
  static const char *const said[] = {"iss", "sub", "exp", "nbf", "iat", "jti"};
  for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
    lua_pushnil(L);
    lua_setfield(L, -2, said[i]);
  }
  lua_pushnil(L);
  if (lua_next(L, -2)) {
    lua_pop(L, 2);
  } else {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
}

/* Sets `claims` of the table on top. */
static void set_claims(lua_State *L, clerk_text payload) {
  clerk_lua_push_metatable(L, clerk_lua_result_type);
  const clerk_lua_decoding decoding = {.object_metatable = lua_gettop(L)};
  clerk_reader reader;
  clerk_reader_init(&reader, payload);
  clerk_lua_decode(L, &reader, &decoding, NULL);
  lua_remove(L, -2);
  leave_claims(L);
  lua_setfield(L, -2, "claims");
}

static void set_text(lua_State *L, const char *name, clerk_text text) {
  lua_pushlstring(L, text.bytes, text.length);
  lua_setfield(L, -2, name);
}

/* Pushes what the API would say about the token; what it would say as null is absent. */
static void push_token(lua_State *L, const clerk_claims *claims) {
  const clerk_token_times *times = &claims->times;
  lua_createtable(L, 0, 10);
  clerk_lua_set_string(L, "object", "machine_to_machine_token");
  set_text(L, "id", claims->id);
  set_text(L, "subject", claims->subject);
  set_scopes(L, claims->scopes);
  set_claims(L, claims->payload);
  clerk_lua_set_boolean(L, "revoked", false);
  clerk_lua_set_boolean(L, "expired", false);
  clerk_lua_set_integer(L, "expiration", times->expiration_ms);
  if (!times->issued_at_ms) return;
  clerk_lua_set_integer(L, "created_at", times->issued_at_ms);
  clerk_lua_set_integer(L, "updated_at", times->issued_at_ms);
}

/* jwt:token(now_ms, skew_ms) -> token, times | nil, code, message: see clerk_jwt_judge. Raises
** unless jwt:verify has just returned true. */
static int jwt_token(lua_State *L) {
  jwt *j = check_jwt(L);
  clerk_claims claims;
  clerk_refusal refusal;
  luaL_argcheck(L, j->is_verified, 1, "its signature is not verified");
  if (!clerk_jwt_judge(&j->jwt, clerk_lua_check_ms(L, 2), clerk_lua_check_ms(L, 3), &claims,
                       &refusal))
    return push_refusal(L, &refusal);
  push_token(L, &claims);
  push_times(L, &claims.times);
  return 2;
}

/* ------------------------------------------------------------------ for reading */

/* core.base64url(text) -> the bytes, or nil: see clerk_base64url_decode. For what is not verified. */
static int core_base64url(lua_State *L) {
  clerk_text text = clerk_lua_text(L, 1), decoded;
  char *memory = lua_newuserdata(L, text.length + 1);
  if (!clerk_base64url_decode(text, memory, &decoded)) return 0;
  lua_pushlstring(L, decoded.bytes, decoded.length);
  return 1;
}

static const luaL_Reg functions[] = {{"jwt", core_jwt},
                                     {"judge_times", core_judge_times},
                                     {"base64url", core_base64url},
                                     {NULL, NULL}};

static const luaL_Reg jwt_methods[] = {
    {"kid", jwt_kid}, {"verify", jwt_verify}, {"token", jwt_token}, {"__gc", jwt_gc}, {NULL, NULL}};

void clerk_lua_add_jwt(lua_State *L) {
  clerk_lua_register(L, jwt_type, jwt_methods);
  luaL_setfuncs(L, functions, 0);
}
