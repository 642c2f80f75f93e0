/* One call: its request, and what its responses mean. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "call.h"
#include "json.h"
#include "parts.h"
#include "support.h"

static const char settings_type[] = "clerk.machines.settings";
static const char call_type[] = "clerk.machines.call";
const char clerk_lua_result_type[] = "clerk.machines.result";

/* What a call needs of its settings; the strings are anchored by the table of the same, which is
** the userdata's own. */
typedef struct settings {
  clerk_settings request;
  clerk_retry_policy policy;
  clerk_lua_limits limits;
  int64_t deadline_ms;
  bool check_bounds;
  bool has_headers;
} settings;

/* ------------------------------------------------------------------ settings */

static double number_field(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  double number = (double)luaL_checknumber(L, -1);
  lua_pop(L, 1);
  return number;
}

static bool boolean_field(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static bool retry_on(lua_State *L, int index, clerk_retry_policy *policy) {
  char status[24];
  int64_t number;
  if (!clerk_lua_integer(L, index, &number))
    return lua_type(L, index) == LUA_TSTRING && clerk_retry_on(policy, lua_tostring(L, index));
  snprintf(status, sizeof status, "%" PRId64, number);
  return clerk_retry_on(policy, status);
}

static void read_statuses(lua_State *L, int index, clerk_retry_policy *policy) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) retry_on(L, -1, policy);
}

/* Reads settings.retries, which schema.lua has checked. */
static void read_policy(lua_State *L, int index, clerk_retry_policy *policy) {
  lua_getfield(L, index, "retries");
  int retries = lua_gettop(L);
  policy->backoff = strcmp(clerk_lua_field(L, retries, "strategy"), "backoff") == 0;
  policy->retry_connection_errors = boolean_field(L, retries, "retry_connection_errors");
  policy->repeat_unsafe = boolean_field(L, retries, "repeat_unsafe");
  lua_getfield(L, retries, "backoff");
  policy->initial_interval_ms = number_field(L, retries + 1, "initial_interval");
  policy->max_interval_ms = number_field(L, retries + 1, "max_interval");
  policy->exponent = number_field(L, retries + 1, "exponent");
  policy->max_elapsed_ms = (int64_t)number_field(L, retries + 1, "max_elapsed_time");
  lua_getfield(L, retries, "status_codes");
  read_statuses(L, retries + 2, policy);
  lua_settop(L, retries - 1);
}

static void read_limits(lua_State *L, int index, clerk_lua_limits *limits) {
  limits->timeout_ms = (long)number_field(L, index, "timeout_ms");
  limits->connect_timeout_ms = (long)number_field(L, index, "connect_timeout_ms");
  if (limits->connect_timeout_ms > limits->timeout_ms)
    limits->connect_timeout_ms = limits->timeout_ms;
  limits->max_response_bytes = (size_t)number_field(L, index, "max_response_bytes");
}

static bool has_members(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  lua_pushnil(L);
  bool has_any = lua_next(L, -2);
  lua_pop(L, has_any ? 3 : 1);
  return has_any;
}

static int64_t read_deadline(lua_State *L, int index) {
  int64_t deadline_ms;
  lua_getfield(L, index, "deadline_ms");
  if (!clerk_lua_integer(L, -1, &deadline_ms)) deadline_ms = 0;
  lua_pop(L, 1);
  return deadline_ms;
}

/* core.settings(settings) -> what core.call takes; the table must not be changed any more */
static int core_settings(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  settings *s = clerk_lua_new(L, sizeof *s, settings_type);
  s->request = (clerk_settings){.base_url = clerk_lua_field(L, 1, "base_url"),
                                .api_version = clerk_lua_field(L, 1, "api_version"),
                                .user_agent = clerk_lua_field(L, 1, "user_agent")};
  read_policy(L, 1, &s->policy);
  read_limits(L, 1, &s->limits);
  s->deadline_ms = read_deadline(L, 1);
  s->check_bounds = boolean_field(L, 1, "check_bounds");
  s->has_headers = has_members(L, 1, "headers");
  lua_pushvalue(L, 1);
  lua_setuservalue(L, -2);
  return 1;
}

/* ------------------------------------------------------------------ building */

/* core.call(operation, settings, now, params, path parameters ...) -> call | nil, problem */
static int core_call(lua_State *L) {
  clerk_value values[CLERK_PARAMETERS_MAX] = {{0}};
  clerk_problem problem;
  const clerk_operation *operation = clerk_find_operation(luaL_checkstring(L, 1));
  luaL_argcheck(L, operation, 1, "unknown operation");
  const settings *s = clerk_lua_check(L, 2, settings_type);
  int64_t now_ms = clerk_lua_check_ms(L, 3);
  lua_settop(L, 4 + CLERK_PARAMETERS_MAX);
  clerk_lua_call *c = clerk_lua_new(L, sizeof *c, call_type);
  int index = lua_gettop(L);
  c->operation = operation;
  clerk_status status = clerk_lua_read_arguments(L, operation, 4, values, &problem);
  if (status == CLERK_OK)
    status = clerk_check_arguments(operation, values, s->check_bounds, &problem);
  if (status == CLERK_OK) status = clerk_request_build(&c->request, operation, values, &s->request);
  if (status != CLERK_OK) return clerk_lua_refuse(L, status, &problem);
  clerk_retry_start(&c->retry, operation, clerk_is_repeatable(operation, values), &s->policy,
                    s->deadline_ms, now_ms);
  c->limits = s->limits;
  c->has_headers = s->has_headers;
  lua_getuservalue(L, 2);
  lua_setuservalue(L, index);
  lua_pushvalue(L, index);
  return 1;
}

clerk_lua_call *clerk_lua_check_call(lua_State *L, int index) {
  return clerk_lua_check(L, index, call_type);
}

static clerk_lua_call *check_call(lua_State *L) {
  return clerk_lua_check_call(L, 1);
}

static void add_own_headers(lua_State *L, int index, const clerk_request *request,
                            clerk_lua_add_header *add, void *target) {
  lua_getuservalue(L, index);
  lua_getfield(L, -1, "headers");
  int own = lua_gettop(L);
  for (size_t i = 1; i < request->header_count; i++)
    if (!clerk_lua_field(L, own, request->headers[i].name))
      add(L, target, request->headers[i].name, request->headers[i].value);
  for (lua_pushnil(L); lua_next(L, own); lua_pop(L, 1))
    add(L, target, lua_tostring(L, -2), lua_tostring(L, -1));
  lua_pop(L, 2);
}

void clerk_lua_add_headers_of(lua_State *L, int index, const clerk_lua_call *call,
                              clerk_lua_add_header *add, void *target) {
  const clerk_request *request = &call->request;
  if (call->has_headers) {
    add_own_headers(L, index, request, add, target);
    return;
  }
  for (size_t i = 1; i < request->header_count; i++) /* the first is Authorization */
    add(L, target, request->headers[i].name, request->headers[i].value);
}

/* The caller's headers override ours; reserved ones were refused before. */
static void push_headers(lua_State *L, const clerk_request *request) {
  lua_createtable(L, 0, (int)request->header_count);
  for (size_t i = 0; i < request->header_count; i++) {
    lua_pushstring(L, request->headers[i].value);
    lua_setfield(L, -2, request->headers[i].name);
  }
  lua_getuservalue(L, 1);
  lua_getfield(L, -1, "headers");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -7);
  }
  lua_pop(L, 2);
}

/* call:url() */
static int call_url(lua_State *L) {
  lua_pushstring(L, check_call(L)->request.url);
  return 1;
}

/* call:request(name, secret_key) -> { method, url, headers, body } | nil, problem with that name */
static int call_request(lua_State *L) {
  clerk_lua_call *c = check_call(L);
  clerk_problem problem;
  const char *name = luaL_checkstring(L, 2);
  clerk_text key = clerk_lua_text(L, 3);
  clerk_status status = clerk_check_secret_key(name, key, &problem);
  if (status == CLERK_OK) status = clerk_request_authorize(&c->request, key);
  if (status != CLERK_OK) return clerk_lua_refuse(L, status, &problem);
  lua_createtable(L, 0, 8);
  lua_pushstring(L, c->request.method);
  lua_setfield(L, -2, "method");
  lua_pushstring(L, c->request.url);
  lua_setfield(L, -2, "url");
  lua_pushstring(L, c->request.body);
  lua_setfield(L, -2, "body");
  push_headers(L, &c->request);
  lua_setfield(L, -2, "headers");
  return 1;
}

/* ------------------------------------------------------------------ judging */

/* The string field of the table at `index`, or NULL; stays on the stack, which alone may anchor it:
** the table is a transport's and may have an __index. */
static const char *keep_field(lua_State *L, int index, const char *name) {
  if (!lua_istable(L, index)) return NULL;
  lua_getfield(L, index, name);
  return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

static const char NEITHER[] = "the transport returned neither a response nor a failure";

/* What makes the response of a transport unusable, or NULL. */
static const char *read_response(lua_State *L, int response, clerk_attempt *attempt,
                                 clerk_text *body) {
  int64_t status;
  if (!lua_istable(L, response)) return NEITHER;
  lua_getfield(L, response, "status");
  bool is_status = clerk_lua_integer(L, -1, &status) && status >= 100 && status <= 999;
  lua_getfield(L, response, "body");
  *body = (clerk_text){"", 0};
  if (lua_type(L, -1) == LUA_TSTRING) *body = clerk_lua_text(L, -1);
  bool is_body = lua_isnil(L, -1) || lua_type(L, -1) == LUA_TSTRING;
  lua_getfield(L, response, "headers");
  bool is_headers = lua_isnil(L, -1) || lua_istable(L, -1);
  int headers = lua_gettop(L);
  if (!is_status) return "the transport returned a response without a valid status";
  if (!is_body) return "the transport returned a response whose body is not a string";
  if (!is_headers) return "the transport returned a response whose headers are not a table";
  attempt->has_response = true;
  attempt->status = (int)status;
  attempt->has_retry_after =
      clerk_parse_retry_after(keep_field(L, headers, "retry-after"), keep_field(L, headers, "date"),
                              &attempt->retry_after_s);
  return NULL;
}

/* Reads the failure of a transport; returns its message, which the failure or C keeps alive. */
static const char *read_failure(lua_State *L, int failure, clerk_attempt *attempt) {
  attempt->failure = CLERK_BAD_RESPONSE;
  attempt->sent = true;
  if (!lua_istable(L, failure)) return NEITHER;
  const char *code = keep_field(L, failure, "code");
  if (!code || !clerk_find_failure(code, &attempt->failure))
    return "the transport returned a failure with an unknown code";
  lua_getfield(L, failure, "sent");
  attempt->sent = lua_isnil(L, -1) || lua_toboolean(L, -1); /* a transport that does not say: yes */
  lua_getfield(L, failure, "final");
  attempt->is_final = lua_toboolean(L, -1);
  lua_pop(L, 2);
  const char *message = keep_field(L, failure, "message");
  return message ? message : clerk_failure_name(attempt->failure);
}

/* What came of an attempt: NULL and a response, or what failed. */
static const char *read_answer(lua_State *L, int response, int failure, clerk_attempt *attempt,
                               clerk_text *body) {
  const char *wrong = NULL;
  if (lua_toboolean(L, response)) wrong = read_response(L, response, attempt, body);
  if (attempt->has_response) return NULL;
  const char *message = read_failure(L, failure, attempt);
  return wrong ? wrong : message;
}

static void push_shape_problem(lua_State *L, const clerk_attempt *attempt,
                               const clerk_shape *shape) {
  static const char *const kinds[] = {[CLERK_MEMBER_STRING] = "a string that is not empty",
                                      [CLERK_MEMBER_ARRAY] = "an array",
                                      [CLERK_MEMBER_BOOLEAN] = "a boolean",
                                      [CLERK_MEMBER_TRUE] = "true"};
  const clerk_member *member = clerk_shape_lacks(shape);
  if (attempt->status == 204)
    lua_pushliteral(L, "the response has no content");
  else
    lua_pushfstring(L, "`%s` of the response must be %s", member->name, kinds[member->kind]);
}

static void push_unusable_message(lua_State *L, const clerk_attempt *attempt,
                                  const clerk_reader *reader, const clerk_shape *shape) {
  size_t offset;
  switch (attempt->judgement) {
    case CLERK_INVALID_JSON: {
      const char *problem = clerk_reader_problem(reader, &offset);
      lua_pushfstring(L, "the response is not JSON: %s at byte %d", problem, (int)offset);
      return;
    }
    case CLERK_UNEXPECTED_SHAPE: push_shape_problem(L, attempt, shape); return;
    case CLERK_REDIRECT_REFUSED: lua_pushliteral(L, "redirects are not followed"); return;
    default: lua_pushliteral(L, "the response is neither a success nor an error of the API");
  }
}

/* Gives the first member its own name too when it came under its alias. */
static void use_name(lua_State *L, const clerk_operation *operation) {
  const char *name = operation->members[0].name;
  lua_getfield(L, -1, name);
  bool has_name = lua_istable(L, -1);
  lua_pop(L, 1);
  if (has_name) return;
  lua_getfield(L, -1, operation->alias);
  lua_setfield(L, -2, name);
}

/* A 204 has no body, whatever a transport says; its value is an empty result. */
clerk_judgement clerk_lua_judge(lua_State *L, int status, clerk_text body, clerk_reader *reader,
                                clerk_shape *shape) {
  int top = lua_gettop(L);
  clerk_lua_decoding decoding = {.object_metatable = status < 300 ? top + 1 : 0};
  clerk_lua_push_metatable(L, clerk_lua_result_type);
  clerk_reader_init(reader, status == 204 ? (clerk_text){"{}", 2} : body);
  if (!clerk_lua_decode(L, reader, &decoding, shape)) lua_pushnil(L);
  lua_remove(L, top + 1);
  clerk_judgement judgement = clerk_judge(shape, status);
  if (judgement == CLERK_SUCCESS && shape->operation->alias) use_name(L, shape->operation);
  return judgement;
}

static void judge_response(lua_State *L, const clerk_lua_call *c, clerk_attempt *attempt,
                           clerk_text body) {
  clerk_reader reader;
  clerk_shape shape = {.operation = c->operation};
  attempt->judgement = clerk_lua_judge(L, attempt->status, body, &reader, &shape);
  lua_setfield(L, -2, "value");
  if (attempt->judgement == CLERK_SUCCESS) return;
  if (attempt->judgement == CLERK_API_ERRORS) {
    clerk_lua_set_string(L, "type", "ClerkErrors");
    return;
  }
  clerk_lua_set_string(L, "type", "SDKError");
  clerk_lua_set_string(L, "code", clerk_judgement_name(attempt->judgement));
  push_unusable_message(L, attempt, &reader, &shape);
  lua_setfield(L, -2, "message");
}

static void judge_failure(lua_State *L, const clerk_attempt *attempt, const char *message) {
  clerk_lua_set_string(L, "type", "TransportError");
  clerk_lua_set_string(L, "code", clerk_failure_name(attempt->failure));
  clerk_lua_set_string(L, "message", message);
}

static void set_verdict(lua_State *L, const clerk_lua_call *c, const clerk_attempt *attempt,
                        clerk_verdict verdict) {
  static const char *const outcomes[] = {
      [CLERK_DONE] = "done", [CLERK_FAILED] = "failed", [CLERK_AGAIN] = "again"};
  clerk_lua_set_string(L, "outcome", outcomes[verdict.outcome]);
  if (verdict.outcome == CLERK_AGAIN) clerk_lua_set_integer(L, "wait_ms", verdict.wait_ms);
  if (verdict.pause_ms > 0) clerk_lua_set_integer(L, "pause_ms", verdict.pause_ms);
  if (attempt->has_retry_after) clerk_lua_set_integer(L, "retry_after", attempt->retry_after_s);
  if (verdict.outcome == CLERK_DONE || !clerk_is_change(c->operation)) return;
  lua_pushboolean(L, c->retry.maybe_applied);
  lua_setfield(L, -2, "maybe_applied");
}

/* call:receive(response, failure, now [, random]) -> verdict: see lua/clerk/machines/call.lua */
static int call_receive(lua_State *L) {
  clerk_lua_call *c = check_call(L);
  clerk_attempt attempt = {0};
  clerk_text body = {"", 0};
  int64_t now_ms = clerk_lua_check_ms(L, 4);
  lua_settop(L, 5);
  const char *wrong = read_answer(L, 2, 3, &attempt, &body);
  lua_createtable(L, 0, 6);
  if (attempt.has_response)
    judge_response(L, c, &attempt, body);
  else
    judge_failure(L, &attempt, wrong);
  bool is_success = attempt.has_response && attempt.judgement == CLERK_SUCCESS;
  double random = is_success || !lua_isnil(L, 5) ? luaL_optnumber(L, 5, 0) : clerk_lua_random();
  set_verdict(L, c, &attempt, clerk_retry_judge(&c->retry, &attempt, now_ms, random));
  return 1;
}

/* ------------------------------------------------------------------ budgets */

/* call:may_wait(ms, now) -> whether the budgets allow it */
static int call_may_wait(lua_State *L) {
  clerk_lua_call *c = check_call(L);
  lua_pushboolean(
      L, clerk_retry_may_wait(&c->retry, clerk_lua_check_ms(L, 2), clerk_lua_check_ms(L, 3)));
  return 1;
}

/* call:time_left(now) -> ms until the deadline, or nil without one */
static int call_time_left(lua_State *L) {
  clerk_lua_call *c = check_call(L);
  int64_t left = clerk_retry_time_left(&c->retry, clerk_lua_check_ms(L, 2));
  if (left == INT64_MAX) return 0;
  clerk_lua_push_integer(L, left);
  return 1;
}

static int call_gc(lua_State *L) {
  clerk_request_free(&check_call(L)->request);
  return 0;
}

static const luaL_Reg call_methods[] = {{"url", call_url},
                                        {"request", call_request},
                                        {"receive", call_receive},
                                        {"may_wait", call_may_wait},
                                        {"time_left", call_time_left},
                                        {"__gc", call_gc},
                                        {NULL, NULL}};

/* core.is_retry_status(value) -> whether a retry policy can name it: 429, "5XX" */
static int core_is_retry_status(lua_State *L) {
  clerk_retry_policy policy = {0};
  luaL_checkany(L, 1);
  lua_pushboolean(L, retry_on(L, 1, &policy));
  return 1;
}

/* core.read_answer(response, failure) of a transport -> status, body | nil, code, message */
static int core_read_answer(lua_State *L) {
  clerk_attempt attempt = {0};
  clerk_text body = {"", 0};
  lua_settop(L, 2);
  const char *wrong = read_answer(L, 1, 2, &attempt, &body);
  if (wrong) {
    lua_pushnil(L);
    lua_pushstring(L, clerk_failure_name(attempt.failure));
    lua_pushstring(L, wrong);
    return 3;
  }
  lua_pushinteger(L, attempt.status);
  lua_pushlstring(L, body.bytes, body.length);
  return 2;
}

static const luaL_Reg functions[] = {{"settings", core_settings},
                                     {"call", core_call},
                                     {"read_answer", core_read_answer},
                                     {"is_retry_status", core_is_retry_status},
                                     {NULL, NULL}};

void clerk_lua_add_call(lua_State *L) {
  clerk_lua_new_metatable(L, settings_type);
  lua_pop(L, 1);
  clerk_lua_register(L, call_type, call_methods);
  clerk_lua_new_metatable(L, clerk_lua_result_type);
  lua_setfield(L, -2, "result");
  luaL_setfuncs(L, functions, 0);
}
