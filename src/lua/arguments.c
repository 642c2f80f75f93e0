/* Arguments of an operation: Lua values into the core's. */
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "parts.h"
#include "problem.h"
#include "suggestion.h"
#include "support.h"

static bool is_null(lua_State *L, int index) {
  return lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL;
}

static const char *type_name(lua_State *L, int index) {
  return is_null(L, index) ? "null" : luaL_typename(L, index);
}

static clerk_status refuse_type(lua_State *L, int index, const char *name, const char *expected,
                                clerk_problem *problem) {
  return clerk_refuse(problem, "%s must be %s, got %s", name, expected, type_name(L, index));
}

static clerk_status read_text(lua_State *L, int index, const char *name, clerk_text *text,
                              clerk_problem *problem) {
  if (lua_type(L, index) != LUA_TSTRING) return refuse_type(L, index, name, "a string", problem);
  *text = clerk_lua_text(L, index);
  return CLERK_OK;
}

static clerk_status read_integer(lua_State *L, int index, const char *name, int64_t *integer,
                                 clerk_problem *problem) {
  if (lua_type(L, index) != LUA_TNUMBER) return refuse_type(L, index, name, "an integer", problem);
  if (clerk_lua_integer(L, index, integer)) return CLERK_OK;
  return clerk_refuse(problem, "%s must be an integer, got %.14g", name,
                      (double)lua_tonumber(L, index));
}

/* Counts the elements of the table at `index`; false unless it is an array without holes. */
static bool count_elements(lua_State *L, int index, size_t *count) {
  int64_t largest = 0;
  *count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int64_t key;
    if (lua_type(L, -2) != LUA_TNUMBER || !clerk_lua_integer(L, -2, &key) || key < 1) {
      lua_pop(L, 2);
      return false;
    }
    if (key > largest) largest = key;
    ++*count;
  }
  return (uint64_t)largest == *count;
}

/* Pushes a userdata that holds the items; their bytes are anchored by the table. */
static clerk_status read_machine_ids(lua_State *L, int index, const char *name, clerk_value *value,
                                     clerk_problem *problem) {
  if (!lua_istable(L, index))
    return refuse_type(L, index, name, "an array of machine IDs", problem);
  if (!count_elements(L, index, &value->item_count)) {
    return clerk_refuse(problem, "%s must be an array of machine IDs without holes", name);
  }
  clerk_text *items = lua_newuserdata(L, (value->item_count + 1) * sizeof *items);
  clerk_status status = CLERK_OK;
  for (size_t i = 0; status == CLERK_OK && i < value->item_count; i++) {
    char element[64];
    snprintf(element, sizeof element, "%s[%zu]", name, i + 1);
    lua_rawgeti(L, index, (int)(i + 1));
    status = read_text(L, lua_gettop(L), element, &items[i], problem);
    lua_pop(L, 1);
  }
  value->items = items;
  return status;
}

static clerk_status read_number(lua_State *L, int index, const char *name, double *number,
                                clerk_problem *problem) {
  if (lua_type(L, index) != LUA_TNUMBER) return refuse_type(L, index, name, "a number", problem);
  *number = (double)lua_tonumber(L, index);
  return CLERK_OK;
}

static clerk_status read_boolean(lua_State *L, int index, const char *name, bool *boolean,
                                 clerk_problem *problem) {
  if (!lua_isboolean(L, index)) return refuse_type(L, index, name, "a boolean", problem);
  *boolean = lua_toboolean(L, index);
  return CLERK_OK;
}

/* Reads the value at `index`; may leave one anchor on the stack. */
static clerk_status read_value(lua_State *L, int index, const clerk_parameter *parameter,
                               clerk_value *value, clerk_problem *problem) {
  value->given = true;
  value->is_null = parameter->presence == CLERK_NULLABLE && is_null(L, index);
  if (value->is_null) return CLERK_OK;
  switch (parameter->type) {
    case CLERK_INTEGER: return read_integer(L, index, parameter->name, &value->integer, problem);
    case CLERK_NUMBER: return read_number(L, index, parameter->name, &value->number, problem);
    case CLERK_BOOLEAN: return read_boolean(L, index, parameter->name, &value->boolean, problem);
    case CLERK_MACHINE_IDS: return read_machine_ids(L, index, parameter->name, value, problem);
    default: return read_text(L, index, parameter->name, &value->text, problem);
  }
}

static clerk_status read_path(lua_State *L, const clerk_operation *operation, int index,
                              clerk_value values[], clerk_problem *problem) {
  clerk_status status = CLERK_OK;
  for (int i = 0; status == CLERK_OK && operation->parameters[i].place == CLERK_PATH; i++) {
    if (!operation->parameters[i].name) break;
    status = read_value(L, index + i, &operation->parameters[i], &values[i], problem);
  }
  return status;
}

static bool is_param(const clerk_parameter *parameter) {
  return parameter->place != CLERK_PATH;
}

static bool is_known(const clerk_operation *operation, clerk_text name) {
  int i = strlen(name.bytes) == name.length ? clerk_find_parameter(operation, name.bytes) : -1;
  return i >= 0 && is_param(&operation->parameters[i]);
}

static clerk_status refuse_unknown(const clerk_operation *operation, clerk_text name,
                                   clerk_problem *problem) {
  clerk_suggestion suggestion = {.given = name};
  for (const clerk_parameter *each = operation->parameters; each->name; each++)
    if (is_param(each)) clerk_suggestion_consider(&suggestion, each->name);
  return clerk_refuse(problem, "unknown parameter \"%.64s\"%s%s%s", name.bytes,
                      suggestion.name ? "; did you mean \"" : "",
                      suggestion.name ? suggestion.name : "", suggestion.name ? "\"?" : "");
}

/* Of several unknown names the first in the alphabet is refused: a table has no order. */
static clerk_status check_names(lua_State *L, const clerk_operation *operation, int params,
                                clerk_problem *problem) {
  clerk_text unknown = {0};
  for (lua_pushnil(L); lua_next(L, params); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      const char *type = luaL_typename(L, -2);
      lua_pop(L, 2);
      return clerk_refuse(problem, "params must hold parameters by name, got a key that is a %s",
                          type);
    }
    clerk_text name = clerk_lua_text(L, -2);
    bool is_first = !unknown.bytes || strcmp(name.bytes, unknown.bytes) < 0;
    if (is_first && !is_known(operation, name)) unknown = name;
  }
  return unknown.bytes ? refuse_unknown(operation, unknown, problem) : CLERK_OK;
}

/* Values stay anchored by the caller's table, which nothing changes until the request is built. */
static clerk_status read_params(lua_State *L, const clerk_operation *operation, int params,
                                clerk_value values[], clerk_problem *problem) {
  clerk_status status = check_names(L, operation, params, problem);
  for (int i = 0; status == CLERK_OK && operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    if (parameter->place == CLERK_PATH) continue;
    lua_pushstring(L, parameter->name);
    lua_rawget(L, params);
    if (!lua_isnil(L, -1)) status = read_value(L, lua_gettop(L), parameter, &values[i], problem);
  }
  return status;
}

clerk_status clerk_lua_read_arguments(lua_State *L, const clerk_operation *operation, int params,
                                      clerk_value values[], clerk_problem *problem) {
  luaL_checkstack(L, 2 * CLERK_PARAMETERS_MAX + 5, "arguments");
  clerk_status status = read_path(L, operation, params + 1, values, problem);
  if (status != CLERK_OK) return status;
  if (lua_istable(L, params)) return read_params(L, operation, params, values, problem);
  if (lua_isnil(L, params) && !clerk_needs_params(operation)) return CLERK_OK;
  return refuse_type(L, params, "params", "a table", problem);
}

/* ------------------------------------------------------------------ single checks */

static int push_check(lua_State *L, clerk_status status, const clerk_problem *problem) {
  if (status != CLERK_OK) return clerk_lua_refuse(L, status, problem);
  lua_pushboolean(L, 1);
  return 1;
}

/* core.check_base_url(url, allow_http) -> true | nil, problem */
static int core_check_base_url(lua_State *L) {
  clerk_problem problem;
  clerk_text url = clerk_lua_text(L, 1);
  return push_check(L, clerk_check_base_url(url, lua_toboolean(L, 2), &problem), &problem);
}

/* core.check_header(name, value) -> true | nil, problem */
static int core_check_header(lua_State *L) {
  clerk_problem problem;
  clerk_text name = clerk_lua_text(L, 1), value = clerk_lua_text(L, 2);
  return push_check(L, clerk_check_header(name, value, &problem), &problem);
}

/* core.check_secret_key(name, key) -> true | nil, problem */
static int core_check_secret_key(lua_State *L) {
  clerk_problem problem;
  const char *name = luaL_checkstring(L, 1);
  return push_check(L, clerk_check_secret_key(name, clerk_lua_text(L, 2), &problem), &problem);
}

/* core.nearest(name, names) -> which of the names was probably meant, or nil */
static int core_nearest(lua_State *L) {
  clerk_suggestion suggestion = {.given = clerk_lua_text(L, 1)};
  luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 1; i <= (int)lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    clerk_suggestion_consider(&suggestion,
                              clerk_lua_text(L, -1).bytes); /* kept alive by the table */
    lua_pop(L, 1);
  }
  lua_pushstring(L, suggestion.name);
  return 1;
}

static const luaL_Reg functions[] = {{"check_base_url", core_check_base_url},
                                     {"check_header", core_check_header},
                                     {"check_secret_key", core_check_secret_key},
                                     {"nearest", core_nearest},
                                     {NULL, NULL}};

void clerk_lua_add_checks(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
