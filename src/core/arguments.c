/* Checks of what a caller gives, before anything is built from it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "problem.h"
#include "utf8.h"

static bool has_control(clerk_text text, bool may_have_tabs) {
  for (size_t i = 0; i < text.length; i++) {
    unsigned char byte = (unsigned char)text.bytes[i];
    if (byte >= 0x20 && byte != 0x7F) continue;
    if (byte != '\t' || !may_have_tabs) return true;
  }
  return false;
}

static bool text_is(clerk_text text, const char *word) {
  return strlen(word) == text.length && memcmp(text.bytes, word, text.length) == 0;
}

/* ------------------------------------------------------------------ values */

static clerk_status check_text(const char *name, clerk_text text, size_t *characters,
                               clerk_problem *problem) {
  if (memchr(text.bytes, '\0', text.length))
    return clerk_refuse(problem, "%s must not contain a NUL byte", name);
  if (!clerk_utf8_count(text, characters))
    return clerk_refuse(problem, "%s must be valid UTF-8", name);
  return CLERK_OK;
}

/* An ID may come to stand in a path. */
static clerk_status check_id(const char *name, const char *kind, clerk_text id,
                             clerk_problem *problem) {
  size_t characters;
  if (id.length == 0) return clerk_refuse(problem, "%s must not be empty", name);
  if (text_is(id, ".") || text_is(id, ".."))
    return clerk_refuse(problem, "%s must be a %s ID, not a path", name, kind);
  if (has_control(id, false))
    return clerk_refuse(problem, "%s must not contain control bytes", name);
  return check_text(name, id, &characters, problem);
}

static clerk_status check_bounds_of(const clerk_parameter *parameter, int64_t amount,
                                    const char *unit, clerk_problem *problem) {
  if (amount >= parameter->min && amount <= parameter->max) return CLERK_OK;
  if (parameter->max == INT64_MAX)
    return clerk_refuse(problem, "%s must be at least %" PRId64 "%s, got %" PRId64, parameter->name,
                        parameter->min, unit, amount);
  return clerk_refuse(problem, "%s must be from %" PRId64 " to %" PRId64 "%s, got %" PRId64,
                      parameter->name, parameter->min, parameter->max, unit, amount);
}

static clerk_status check_allowed(const clerk_parameter *parameter, clerk_text text,
                                  clerk_problem *problem) {
  for (const char *const *allowed = parameter->values; *allowed; allowed++)
    if (text_is(text, *allowed)) return CLERK_OK;
  clerk_refuse(problem, "%s must be one of", parameter->name);
  for (const char *const *allowed = parameter->values; *allowed; allowed++) {
    size_t used = strlen(problem->message);
    snprintf(problem->message + used, sizeof problem->message - used, "%s %s",
             allowed == parameter->values ? "" : ",", *allowed);
  }
  return CLERK_REFUSED;
}

static clerk_status check_string(const clerk_parameter *parameter, clerk_text text, bool bounds,
                                 clerk_problem *problem) {
  size_t characters = 0;
  clerk_status status = check_text(parameter->name, text, &characters, problem);
  if (status != CLERK_OK) return status;
  if (parameter->values) return check_allowed(parameter, text, problem);
  if (!bounds) return CLERK_OK;
  return check_bounds_of(parameter, (int64_t)characters, " characters", problem);
}

static clerk_status check_machine_ids(const clerk_parameter *parameter, const clerk_value *value,
                                      bool bounds, clerk_problem *problem) {
  for (size_t i = 0; i < value->item_count; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s[%zu]", parameter->name, i + 1);
    clerk_status status = check_id(name, "machine", value->items[i], problem);
    if (status != CLERK_OK) return status;
  }
  if (!bounds) return CLERK_OK;
  return check_bounds_of(parameter, (int64_t)value->item_count, " elements", problem);
}

static clerk_status check_secret(const char *name, clerk_text secret, clerk_problem *problem) {
  size_t characters;
  if (secret.length == 0) return clerk_refuse(problem, "%s must not be empty", name);
  return check_text(name, secret, &characters, problem);
}

static clerk_status check_number(const clerk_parameter *parameter, double number, bool bounds,
                                 clerk_problem *problem) {
  if (!isfinite(number)) return clerk_refuse(problem, "%s must be finite", parameter->name);
  if (!bounds || number > (double)parameter->min) return CLERK_OK;
  return clerk_refuse(problem, "%s must be greater than %" PRId64 ", got %g", parameter->name,
                      parameter->min, number);
}

/* It becomes a part of the body as it is. */
static clerk_status check_json(const char *name, clerk_text json, clerk_problem *problem) {
  clerk_reader reader;
  clerk_json_token token;
  size_t offset;
  if (json.length > 0 && *json.bytes == '\xEF')
    return clerk_refuse(problem, "%s must be JSON without a byte order mark", name);
  clerk_reader_init(&reader, json);
  do token = clerk_reader_next(&reader);
  while (token != CLERK_JSON_BROKEN && token != CLERK_JSON_END);
  if (token == CLERK_JSON_END) return CLERK_OK;
  const char *why = clerk_reader_problem(&reader, &offset);
  return clerk_refuse(problem, "%s must be JSON: %s at byte %zu", name, why, offset);
}

static clerk_status check_value(const clerk_parameter *parameter, const clerk_value *value,
                                bool bounds, clerk_problem *problem) {
  const char *name = parameter->name;
  switch (parameter->type) {
    case CLERK_INTEGER:
      return bounds ? check_bounds_of(parameter, value->integer, "", problem) : CLERK_OK;
    case CLERK_NUMBER: return check_number(parameter, value->number, bounds, problem);
    case CLERK_BOOLEAN: return CLERK_OK;
    case CLERK_STRING: return check_string(parameter, value->text, bounds, problem);
    case CLERK_SECRET: return check_secret(name, value->text, problem);
    case CLERK_ANY_JSON: return check_json(name, value->text, problem);
    case CLERK_TOKEN_ID: return check_id(name, "token", value->text, problem);
    case CLERK_MACHINE_ID: return check_id(name, "machine", value->text, problem);
    case CLERK_MACHINE_IDS: return check_machine_ids(parameter, value, bounds, problem);
  }
  return CLERK_OK;
}

clerk_status clerk_check_arguments(const clerk_operation *operation, const clerk_value values[],
                                   bool check_bounds, clerk_problem *problem) {
  for (int i = 0; operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    clerk_status status = CLERK_OK;
    if (!values[i].given && parameter->presence == CLERK_REQUIRED)
      status = clerk_refuse(problem, "%s is required", parameter->name);
    else if (values[i].given && !values[i].is_null)
      status = check_value(parameter, &values[i], check_bounds, problem);
    if (status != CLERK_OK) return status;
  }
  return CLERK_OK;
}

/* ------------------------------------------------------------------ headers */

static bool is_token(clerk_text name) {
  static const char token[] =
      "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return name.length > 0 && strspn(name.bytes, token) == name.length;
}

static bool is_same_name(clerk_text name, const char *other) {
  for (size_t i = 0; i < name.length; i++)
    if (clerk_ascii_lower(name.bytes[i]) != other[i]) return false;
  return other[name.length] == '\0';
}

clerk_status clerk_check_header(clerk_text name, clerk_text value, clerk_problem *problem) {
  static const char *const reserved[] = {
      "accept-encoding",     "authorization",     "connection", "content-length", "expect", "host",
      "proxy-authorization", "transfer-encoding", NULL};
  if (!is_token(name)) return clerk_refuse(problem, "headers: a name must be an HTTP token");
  for (const char *const *other = reserved; *other; other++)
    if (is_same_name(name, *other))
      return clerk_refuse(problem, "headers: %s cannot be set", *other);
  if (has_control(value, true))
    return clerk_refuse(problem, "headers: the value of %.64s must not contain control bytes",
                        name.bytes);
  return CLERK_OK;
}

clerk_status clerk_check_secret_key(const char *name, clerk_text key, clerk_problem *problem) {
  if (key.length == 0) return clerk_refuse(problem, "%s must not be empty", name);
  if (has_control(key, false))
    return clerk_refuse(problem, "%s must not contain control bytes", name);
  return CLERK_OK;
}
