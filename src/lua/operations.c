/* The core's tables for Lua: operations, and the codes of errors. */
#include "parts.h"
#include "support.h"

static void set_bound(lua_State *L, const char *name, int64_t bound) {
  if (bound == INT64_MIN || bound == INT64_MAX) return;
  clerk_lua_set_integer(L, name, bound);
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

/* The names of the members that a success must hold. */
static void set_members(lua_State *L, const clerk_member *members) {
  lua_newtable(L);
  for (int i = 0; members[i].name; i++) {
    lua_pushstring(L, members[i].name);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "members");
}

/* Moves a row from the top of the stack into the array below it, where its name finds it too. */
static void add_row(lua_State *L, int index, const char *name) {
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, name);
  lua_rawseti(L, -2, index + 1);
}

static void push_parameter(lua_State *L, const clerk_parameter *parameter) {
  static const char *const places[] = {
      [CLERK_PATH] = "path", [CLERK_QUERY] = "query", [CLERK_BODY] = "body"};
  static const char *const types[] = {
      [CLERK_STRING] = "string",          [CLERK_SECRET] = "secret",
      [CLERK_INTEGER] = "integer",        [CLERK_NUMBER] = "number",
      [CLERK_BOOLEAN] = "boolean",        [CLERK_ANY_JSON] = "json",
      [CLERK_TOKEN_ID] = "token_id",      [CLERK_MACHINE_ID] = "machine_id",
      [CLERK_MACHINE_IDS] = "machine_ids"};
  lua_newtable(L);
  clerk_lua_set_string(L, "name", parameter->name);
  clerk_lua_set_string(L, "place", places[parameter->place]);
  clerk_lua_set_string(L, "type", types[parameter->type]);
  clerk_lua_set_boolean(L, "required", parameter->presence == CLERK_REQUIRED);
  clerk_lua_set_boolean(L, "nullable", parameter->presence == CLERK_NULLABLE);
  set_bound(L, "min", parameter->min);
  set_bound(L, "max", parameter->max);
  set_values(L, parameter->values);
  clerk_lua_set_string(L, "summary", parameter->summary);
}

/* The options that may have the key, the preferred one first. */
static void set_keys(lua_State *L, clerk_key key) {
  int count = 0;
  lua_newtable(L);
  if (key != CLERK_INSTANCE_KEY) {
    lua_pushliteral(L, "machine_secret_key");
    lua_rawseti(L, -2, ++count);
  }
  if (key != CLERK_MACHINE_KEY) {
    lua_pushliteral(L, "secret_key");
    lua_rawseti(L, -2, ++count);
  }
  lua_setfield(L, -2, "keys");
}

static void push_operation(lua_State *L, const clerk_operation *operation) {
  static const char *const effects[] = {[CLERK_READS] = "reads",
                                        [CLERK_CHANGES] = "changes",
                                        [CLERK_ADDS] = "adds",
                                        [CLERK_ADDS_OR_REUSES] = "adds_or_reuses"};
  lua_newtable(L);
  clerk_lua_set_string(L, "name", operation->name);
  clerk_lua_set_string(L, "summary", operation->summary);
  clerk_lua_set_string(L, "method", operation->method);
  clerk_lua_set_string(L, "path", operation->path);
  clerk_lua_set_string(L, "result", operation->result);
  clerk_lua_set_string(L, "effect", effects[operation->effect]);
  clerk_lua_set_boolean(L, "is_change", clerk_is_change(operation));
  clerk_lua_set_boolean(L, "takes_body", clerk_takes_body(operation));
  clerk_lua_set_boolean(L, "needs_params", clerk_needs_params(operation));
  set_keys(L, operation->key);
  clerk_lua_set_boolean(L, "returns_secret", operation->returns_secret);
  clerk_lua_set_boolean(L, "may_return_204", operation->may_return_204);
  set_members(L, operation->members);
  lua_newtable(L);
  for (int i = 0; operation->parameters[i].name; i++) {
    push_parameter(L, &operation->parameters[i]);
    add_row(L, i, operation->parameters[i].name);
  }
  lua_setfield(L, -2, "parameters");
}

static void push_operations(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; clerk_operations[i].name; i++) {
    push_operation(L, &clerk_operations[i]);
    add_row(L, i, clerk_operations[i].name);
  }
}

/* ------------------------------------------------------------------ the codes of errors */

static void push_code(lua_State *L, const char *name, const char *summary) {
  lua_newtable(L);
  clerk_lua_set_string(L, "name", name);
  clerk_lua_set_string(L, "summary", summary);
}

static void push_failures(lua_State *L) {
  lua_newtable(L);
  for (clerk_failure i = 0; clerk_failure_name(i); i++) {
    push_code(L, clerk_failure_name(i), clerk_failure_summary(i));
    clerk_lua_set_boolean(L, "is_repeatable", clerk_failure_is_repeatable(i));
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/* Those of responses that cannot be used. */
static void push_judgements(lua_State *L) {
  lua_newtable(L);
  for (clerk_judgement i = CLERK_INVALID_JSON; clerk_judgement_name(i); i++) {
    push_code(L, clerk_judgement_name(i), clerk_judgement_summary(i));
    lua_rawseti(L, -2, (int)(i - CLERK_INVALID_JSON) + 1);
  }
}

static void push_refusals(lua_State *L) {
  lua_newtable(L);
  for (clerk_refusal_code i = 0; clerk_refusal_name(i); i++) {
    push_code(L, clerk_refusal_name(i), clerk_refusal_summary(i));
    lua_rawseti(L, -2, (int)i + 1);
  }
}

void clerk_lua_add_tables(lua_State *L) {
  push_operations(L);
  lua_setfield(L, -2, "operations");
  push_failures(L);
  lua_setfield(L, -2, "failures");
  push_judgements(L);
  lua_setfield(L, -2, "judgements");
  push_refusals(L);
  lua_setfield(L, -2, "refusals");
}
