/* RSA keys and SHA-256 for Lua. */
#include "crypto.h"

#include "parts.h"
#include "support.h"

static const char rsa_key_type[] = "clerk.machines.rsa_key";
static const char sha256_type[] = "clerk.machines.sha256";

clerk_rsa_key *clerk_lua_check_rsa_key(lua_State *L, int index) {
  return clerk_lua_check(L, index, rsa_key_type);
}

/* core.rsa_key(n, e) -> key | nil, problem: of a JWK; see clerk_rsa_key_init */
static int core_rsa_key(lua_State *L) {
  clerk_problem problem;
  clerk_text n = clerk_lua_text(L, 1), e = clerk_lua_text(L, 2);
  clerk_rsa_key *key = clerk_lua_new(L, sizeof *key, rsa_key_type);
  clerk_status status = clerk_rsa_key_init(key, n, e, &problem);
  return status == CLERK_OK ? 1 : clerk_lua_refuse(L, status, &problem);
}

/* core.rsa_key_pem(pem) -> key | nil, problem */
static int core_rsa_key_pem(lua_State *L) {
  clerk_problem problem;
  clerk_text pem = clerk_lua_text(L, 1);
  clerk_rsa_key *key = clerk_lua_new(L, sizeof *key, rsa_key_type);
  clerk_status status = clerk_rsa_key_init_pem(key, pem, &problem);
  return status == CLERK_OK ? 1 : clerk_lua_refuse(L, status, &problem);
}

static int rsa_key_gc(lua_State *L) {
  clerk_rsa_key_free(clerk_lua_check_rsa_key(L, 1));
  return 0;
}

/* ------------------------------------------------------------------ SHA-256 */

static int sha256_gc(lua_State *L) {
  clerk_sha256_free(clerk_lua_check(L, 1, sha256_type));
  return 0;
}

/* core.sha256(bytes, ...) -> the 32 bytes of the digest of all these bytes, one after the other */
static int core_sha256(lua_State *L) {
  unsigned char digest[CLERK_SHA256_LENGTH];
  clerk_sha256 *sha256 = lua_touserdata(L, lua_upvalueindex(1));
  int i = 1, count = lua_gettop(L);
  clerk_status status = clerk_sha256_begin(sha256);
  do {
    clerk_text bytes = clerk_lua_text(L, i);
    if (status == CLERK_OK) status = clerk_sha256_add(sha256, bytes);
  } while (++i <= count);
  if (status == CLERK_OK) status = clerk_sha256_end(sha256, digest);
  if (status != CLERK_OK) return clerk_lua_refuse(L, status, NULL);
  lua_pushlstring(L, (const char *)digest, sizeof digest);
  return 1;
}

static const luaL_Reg functions[] = {
    {"rsa_key", core_rsa_key}, {"rsa_key_pem", core_rsa_key_pem}, {NULL, NULL}};

static const luaL_Reg key_methods[] = {{"__gc", rsa_key_gc}, {NULL, NULL}};
static const luaL_Reg sha256_methods[] = {{"__gc", sha256_gc}, {NULL, NULL}};

void clerk_lua_add_crypto(lua_State *L) {
  clerk_lua_register(L, rsa_key_type, key_methods);
  clerk_lua_register(L, sha256_type, sha256_methods);
  luaL_setfuncs(L, functions, 0);
  clerk_lua_new(L, sizeof(clerk_sha256), sha256_type);
  lua_pushcclosure(L, core_sha256, 1);
  lua_setfield(L, -2, "sha256");
}
