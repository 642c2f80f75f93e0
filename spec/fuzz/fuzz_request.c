/*
** What is sent: values that pass the checks must arrive as they were given. The input: a line for
** the operation, then one for each parameter, empty when it is absent, "null" if it may be that, else
** "=" and its value (machine IDs with commas between them). The last one may hold newlines.
*/
#include <cjson/cJSON.h>
#include <curl/curl.h>

#include "fuzz.h"
#include "http_request.h"

enum { ITEMS_MAX = 200 };

/* ------------------------------------------------------------------ the input */

static size_t read_items(char *list, clerk_text items[]) {
  size_t count = 0;
  for (char *item; count < ITEMS_MAX && (item = strsep(&list, ",")) != NULL;)
    items[count++] = (clerk_text){item, strlen(item)};
  return count;
}

static clerk_value read_value(fuzz_input *input, const clerk_parameter *parameter, bool is_last,
                              clerk_text items[]) {
  char *bytes = input->at;
  clerk_text text = is_last ? fuzz_rest(input) : fuzz_line(input);
  bool is_null = parameter->presence == CLERK_NULLABLE && strcmp(bytes, "null") == 0;
  clerk_value value = {.given = *bytes == '=' || is_null, .is_null = is_null};
  if (!value.given || is_null) return value;
  value.text = (clerk_text){text.bytes + 1, text.length - 1};
  value.integer = strtoll(value.text.bytes, NULL, 10);
  value.number = strtod(value.text.bytes, NULL);
  value.boolean = text.length > 1;
  if (parameter->type != CLERK_MACHINE_IDS || text.length == 1) return value;
  value.items = items;
  value.item_count = read_items(bytes + 1, items);
  return value;
}

static void read_values(fuzz_input *input, const clerk_operation *operation, clerk_value values[],
                        clerk_text items[]) {
  for (int i = 0; operation->parameters[i].name; i++) {
    bool is_last = !operation->parameters[i + 1].name;
    values[i] = read_value(input, &operation->parameters[i], is_last, items);
  }
}

/* ------------------------------------------------------------------ the claims */

static bool is_number(const char *digits, size_t length, int64_t integer) {
  char *end;
  return strtoll(digits, &end, 10) == integer && end == digits + length;
}

static void compare_encoded(const char *encoded, size_t length, const clerk_value *value,
                            clerk_type type) {
  int decoded_length;
  if (type == CLERK_INTEGER) {
    assert(is_number(encoded, length, value->integer));
    return;
  }
  if (type == CLERK_BOOLEAN) {
    assert(strncmp(encoded, value->boolean ? "true" : "false", length) == 0);
    return;
  }
  if (length == 0) {
    assert(value->text.length == 0);
    return;
  }
  char *decoded = curl_easy_unescape(NULL, encoded, (int)length, &decoded_length);
  assert(decoded && value->text.bytes && (size_t)decoded_length == value->text.length &&
         memcmp(decoded, value->text.bytes, value->text.length) == 0);
  assert(!memchr(encoded, '+', length)); /* which some would take for a space */
  curl_free(decoded);
}

/* The operation's path, with the values as segments of their own. */
static void check_path(const char *path, const clerk_operation *operation,
                       const clerk_value values[]) {
  assert(strncmp(path, "/v1", 3) == 0);
  path += 3;
  for (const char *form = operation->path; *form; values++) {
    size_t fixed = strcspn(form, "{");
    assert(strncmp(path, form, fixed) == 0);
    path += fixed;
    form += fixed;
    if (*form == '\0') break;
    size_t length = strcspn(path, "/");
    assert(length > 2 || strspn(path, ".") < length); /* not empty, and no step */
    compare_encoded(path, length, values, CLERK_MACHINE_ID);
    path += length;
    form = strchr(form, '}') + 1;
  }
  assert(*path == '\0');
}

static void check_query(const char *query, const clerk_operation *operation,
                        const clerk_value values[]) {
  for (int i = 0; operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    if (parameter->place != CLERK_QUERY || !values[i].given || values[i].is_null) continue;
    size_t name = strlen(parameter->name);
    assert(query && strncmp(query, parameter->name, name) == 0 && query[name] == '=');
    query += name + 1;
    size_t length = strcspn(query, "&");
    compare_encoded(query, length, &values[i], parameter->type);
    query = query[length] == '&' ? query + length + 1 : NULL;
  }
  assert(!query);
}

static void check_url(const char *text, const clerk_operation *operation,
                      const clerk_value values[]) {
  char *path = NULL;
  char *query = NULL;
  CURLU *url = curl_url();
  assert(url && curl_url_set(url, CURLUPART_URL, text, CURLU_PATH_AS_IS) == CURLUE_OK);
  assert(curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK);
  curl_url_get(url, CURLUPART_QUERY, &query, 0);
  check_path(path, operation, values);
  check_query(query, operation, values);
  curl_free(path);
  curl_free(query);
  curl_url_cleanup(url);
}

static void compare_items(const cJSON *array, const clerk_value *value) {
  assert(cJSON_IsArray(array) && (size_t)cJSON_GetArraySize(array) == value->item_count);
  const cJSON *item = array->child;
  for (size_t i = 0; i < value->item_count; i++, item = item->next)
    assert(strcmp(cJSON_GetStringValue(item), value->items[i].bytes) == 0);
}

/* Where cJSON does not find a text equal to itself, it is no witness: infinity, members twice. */
static void compare_json(const cJSON *member, const char *text) {
  cJSON *one = cJSON_Parse(text);
  cJSON *other = cJSON_Parse(text);
  assert(cJSON_Compare(member, one, true) || !cJSON_Compare(one, other, true));
  cJSON_Delete(one);
  cJSON_Delete(other);
}

static void compare_member(const cJSON *member, const clerk_value *value, clerk_type type) {
  if (value->is_null)
    assert(cJSON_IsNull(member));
  else if (type == CLERK_ANY_JSON)
    compare_json(member, value->text.bytes);
  else if (type == CLERK_INTEGER)
    assert(cJSON_IsNumber(member) && member->valuedouble == (double)value->integer);
  else if (type == CLERK_NUMBER)
    assert(cJSON_IsNumber(member) && member->valuedouble == value->number);
  else if (type == CLERK_MACHINE_IDS)
    compare_items(member, value);
  else
    assert(strcmp(cJSON_GetStringValue(member), value->text.bytes) == 0);
}

static void check_body(const char *body, const clerk_operation *operation,
                       const clerk_value values[]) {
  cJSON *object = body ? cJSON_Parse(body) : NULL;
  int count = 0;
  if (body && !object) return; /* by claims that cJSON does not know */
  for (int i = 0; operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    if (parameter->place != CLERK_BODY) continue;
    assert(cJSON_IsObject(object));
    if (!values[i].given) continue;
    compare_member(cJSON_GetObjectItem(object, parameter->name), &values[i], parameter->type);
    count++;
  }
  assert(cJSON_GetArraySize(object) == count && (object != NULL) == (body != NULL));
  cJSON_Delete(object);
}

static clerk_text text_of(const char *string) {
  return (clerk_text){string, string ? strlen(string) : 0};
}

/* Written for a socket, it has a line for each header, and ends with the body. */
static void check_bytes(const clerk_request *request) {
  clerk_buffer out = {0};
  size_t lines = 0;
  assert(clerk_http_begin_request(&out, text_of(request->method), text_of(request->url)) ==
         CLERK_OK);
  for (size_t i = 1; i < request->header_count; i++)
    assert(clerk_http_add_header(&out, text_of(request->headers[i].name),
                                 text_of(request->headers[i].value)) == CLERK_OK);
  assert(clerk_http_end_request(&out, text_of(request->body)) == CLERK_OK);
  const char *end = strstr(out.bytes, "\r\n\r\n");
  assert(end && strcmp(end + 4, request->body ? request->body : "") == 0);
  for (const char *at = out.bytes; at < end; at++) {
    assert((unsigned char)*at >= ' ' || *at == '\r' || *at == '\n');
    lines += *at == '\n';
  }
  assert(lines == 1 + request->header_count + (request->body ? 1 : 0));
  clerk_buffer_free(&out);
}

static void check_request(const clerk_operation *operation, const clerk_value values[]) {
  const clerk_settings settings = {"https://api.test/v1/", "2026-05-12", "fuzz"};
  clerk_request request = {0};
  assert(clerk_request_build(&request, operation, values, &settings) == CLERK_OK);
  assert(strcmp(request.method, operation->method) == 0);
  assert(request.header_count == (request.body ? 5 : 4));
  check_url(request.url, operation, values);
  check_body(request.body, operation, values);
  check_bytes(&request);
  clerk_request_free(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  clerk_value values[CLERK_PARAMETERS_MAX] = {{0}};
  clerk_text items[ITEMS_MAX];
  clerk_problem problem = {""};
  fuzz_input input = fuzz_open(data, size);
  const clerk_operation *operation = fuzz_operation(fuzz_line(&input).bytes);
  read_values(&input, operation, values, items);
  bool passes = clerk_check_arguments(operation, values, true, &problem) == CLERK_OK;
  bool passes_unbound = clerk_check_arguments(operation, values, false, &problem) == CLERK_OK;
  assert(passes_unbound || !passes);
  assert(passes || *problem.message);
  if (passes_unbound) check_request(operation, values);
  fuzz_close(&input);
  return 0;
}
