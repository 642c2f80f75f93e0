/*
** What each file of the binding adds to the module on top of the stack, which stays there. Each may
** raise. Internal to src/lua.
*/
#ifndef CLERK_LUA_PARTS_H
#define CLERK_LUA_PARTS_H

#include <lua.h>

void clerk_lua_add_tables(lua_State *L);    /* operations.c: operations and the tables of codes */
void clerk_lua_add_checks(lua_State *L);    /* arguments.c: check_…, nearest */
void clerk_lua_add_call(lua_State *L);      /* call.c: settings, call, result, is_retry_status */
void clerk_lua_add_json(lua_State *L);      /* json.c: decode */
void clerk_lua_add_copy(lua_State *L);      /* copy.c: copy */
void clerk_lua_add_curl(lua_State *L);      /* curl.c: loop, curl */
void clerk_lua_add_crypto(lua_State *L);    /* crypto.c: rsa_key, rsa_key_pem, sha256 */
void clerk_lua_add_jwt(lua_State *L);       /* jwt.c: jwt, judge_times, base64url */
void clerk_lua_add_secrets(lua_State *L);   /* secrets.c: without */
void clerk_lua_add_fast_path(lua_State *L); /* fast_path.c: start, … */
void clerk_lua_add_http1(lua_State *L);     /* http1.c: http_request, http_call, http_head, … */
void clerk_lua_add_text(lua_State *L);      /* text.c: clean, escape, characters, columns */
void clerk_lua_add_files(lua_State *L);     /* files.c: write_private, sync_directory */
void clerk_lua_add_system(lua_State *L);    /* system.c: now, sleep, random, write, terminal, … */

#endif
