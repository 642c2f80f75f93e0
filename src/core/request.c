/* Requests: the path and query of an operation, its JSON body and its headers. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"
#include "clerk_memory.h"
#include "json_number.h"

/* ------------------------------------------------------------------ URL */

static bool is_unreserved(unsigned char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

static bool append_string(clerk_buffer *url, const char *string) {
  return clerk_buffer_append(url, string, strlen(string));
}

/* Appends text percent-encoded (RFC 3986, 2.1) as one segment or value. */
static bool append_encoded(clerk_buffer *url, clerk_text text) {
  static const char digits[] = "0123456789ABCDEF";
  const char *at = text.bytes, *end = at + text.length;
  for (;;) {
    const char *plain = at;
    while (at < end && is_unreserved((unsigned char)*at)) at++;
    if (!clerk_buffer_append(url, plain, (size_t)(at - plain))) return false;
    if (at == end) return true;
    unsigned char byte = (unsigned char)*at++;
    const char escape[] = {'%', digits[byte >> 4], digits[byte & 15]};
    if (!clerk_buffer_append(url, escape, sizeof escape)) return false;
  }
}

static bool append_base(clerk_buffer *url, const char *base_url) {
  size_t length = strlen(base_url);
  while (length > 0 && base_url[length - 1] == '/') length--;
  return clerk_buffer_append(url, base_url, length);
}

/* Path parameters come first in the table, in the order of their places in the path. */
static bool append_path(clerk_buffer *url, const char *path, const clerk_value *value) {
  const char *brace;
  while ((brace = strchr(path, '{')) != NULL) {
    if (!clerk_buffer_append(url, path, (size_t)(brace - path))) return false;
    if (!append_encoded(url, (value++)->text)) return false;
    path = strchr(brace, '}') + 1;
  }
  return append_string(url, path);
}

static bool append_value(clerk_buffer *url, clerk_type type, const clerk_value *value) {
  char number[24];
  if (type == CLERK_BOOLEAN) return append_string(url, value->boolean ? "true" : "false");
  if (type != CLERK_INTEGER) return append_encoded(url, value->text);
  snprintf(number, sizeof number, "%" PRId64, value->integer);
  return append_string(url, number);
}

static bool append_query(clerk_buffer *url, const clerk_operation *operation,
                         const clerk_value values[]) {
  const char *separator = "?";
  for (int i = 0; operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    if (parameter->place != CLERK_QUERY || !values[i].given || values[i].is_null) continue;
    if (!append_string(url, separator) || !append_string(url, parameter->name) ||
        !append_string(url, "=") || !append_value(url, parameter->type, &values[i]))
      return false;
    separator = "&";
  }
  return true;
}

static char *build_url(const char *base_url, const clerk_operation *operation,
                       const clerk_value values[]) {
  clerk_buffer url = {0};
  if (append_base(&url, base_url) && append_path(&url, operation->path, values) &&
      append_query(&url, operation, values))
    return url.bytes;
  clerk_buffer_free(&url);
  return NULL;
}

/* ------------------------------------------------------------------ body */

static cJSON *new_array(const clerk_value *value) {
  cJSON *array = cJSON_CreateArray();
  for (size_t i = 0; array && i < value->item_count; i++) {
    cJSON *item = cJSON_CreateStringReference(value->items[i].bytes);
    if (!item || !cJSON_AddItemToArray(array, item)) {
      cJSON_Delete(item);
      cJSON_Delete(array);
      return NULL;
    }
  }
  return array;
}

/* A part of the document as it is; like strings, not copied into a block that is never wiped. */
static cJSON *new_raw(const char *json) {
  cJSON *item = cJSON_CreateStringReference(json);
  if (item) item->type = cJSON_Raw | cJSON_IsReference;
  return item;
}

/* Numbers go in as text: cJSON's are doubles, and it does not write all of their digits. */
static cJSON *new_member(clerk_type type, const clerk_value *value) {
  char number[CLERK_NUMBER_SIZE];
  if (value->is_null) return cJSON_CreateNull();
  switch (type) {
    case CLERK_INTEGER:
      snprintf(number, sizeof number, "%" PRId64, value->integer);
      return cJSON_CreateRaw(number);
    case CLERK_BOOLEAN: return cJSON_CreateBool(value->boolean);
    case CLERK_NUMBER: clerk_number_write(value->number, number); return cJSON_CreateRaw(number);
    case CLERK_ANY_JSON: return new_raw(value->text.bytes);
    case CLERK_MACHINE_IDS: return new_array(value);
    default: return cJSON_CreateStringReference(value->text.bytes);
  }
}

static bool add_members(cJSON *object, const clerk_operation *operation,
                        const clerk_value values[]) {
  for (int i = 0; operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    if (parameter->place != CLERK_BODY || !values[i].given) continue;
    cJSON *member = new_member(parameter->type, &values[i]);
    if (!member || !cJSON_AddItemToObject(object, parameter->name, member)) {
      cJSON_Delete(member);
      return false;
    }
  }
  return true;
}

/* More than the body can need, where every character were escaped. */
static size_t body_room(const clerk_operation *operation, const clerk_value values[]) {
  size_t room = 64;
  for (int i = 0; operation->parameters[i].name; i++) {
    room += strlen(operation->parameters[i].name) + 64 + 6 * values[i].text.length;
    for (size_t j = 0; j < values[i].item_count; j++) room += 6 * values[i].items[j].length + 8;
  }
  return room;
}

/* cJSON would grow the body in blocks of its own, which it does not wipe. */
static char *print_body(cJSON *object, size_t room) {
  char *body = room <= INT_MAX ? calloc(1, room) : NULL;
  if (body && cJSON_PrintPreallocated(object, body, (int)room, false)) return body;
  clerk_wipe_string(body);
  return NULL;
}

static char *build_body(const clerk_operation *operation, const clerk_value values[]) {
  cJSON *object = cJSON_CreateObject();
  char *body = NULL;
  if (object && add_members(object, operation, values))
    body = print_body(object, body_room(operation, values));
  cJSON_Delete(object);
  return body;
}

/* ------------------------------------------------------------------ headers */

static void add_header(clerk_request *request, const char *name, const char *value) {
  request->headers[request->header_count++] = (clerk_header){name, value};
}

static void add_headers(clerk_request *request, const clerk_settings *settings) {
  add_header(request, "authorization", "");
  add_header(request, "accept", "application/json");
  add_header(request, "clerk-api-version", settings->api_version);
  add_header(request, "user-agent", settings->user_agent);
  if (request->body) add_header(request, "content-type", "application/json");
}

/* ------------------------------------------------------------------ request */

clerk_status clerk_request_build(clerk_request *request, const clerk_operation *operation,
                                 const clerk_value values[], const clerk_settings *settings) {
  bool with_body = clerk_takes_body(operation);
  request->method = operation->method;
  request->url = build_url(settings->base_url, operation, values);
  if (with_body) request->body = build_body(operation, values);
  add_headers(request, settings);
  if (request->url && (request->body || !with_body)) return CLERK_OK;
  clerk_request_free(request);
  return CLERK_NO_MEMORY;
}

clerk_status clerk_request_authorize(clerk_request *request, clerk_text key) {
  static const char scheme[] = "Bearer ";
  char *value = malloc(sizeof scheme + key.length);
  if (!value) return CLERK_NO_MEMORY;
  memcpy(stpcpy(value, scheme), key.bytes, key.length + 1);
  clerk_wipe_string(request->authorization);
  request->authorization = value;
  request->headers[0].value = value;
  return CLERK_OK;
}

void clerk_request_free(clerk_request *request) {
  clerk_wipe_string(request->url);
  clerk_wipe_string(request->body);
  clerk_wipe_string(request->authorization);
  *request = (clerk_request){0};
}
