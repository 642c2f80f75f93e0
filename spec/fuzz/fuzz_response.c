/*
** What a response means: Retry-After, and the judge. The input: a line each for the operation, the
** status, Retry-After and Date; the rest is the body.
*/
#include <cjson/cJSON.h>
#include <strings.h>
#include <time.h>

#include "fuzz.h"

/* ------------------------------------------------------------------ Retry-After */

/* Unix time of a date that is written just as RFC 9110 wants it; false for any other. */
static bool strict_date(const char *text, int64_t *seconds) {
  static const char form[] = "%a, %d %b %Y %H:%M:%S GMT";
  struct tm date = {.tm_isdst = 0};
  char again[64];
  const char *end = strptime(text, form, &date);
  if (!end || *end != '\0' || date.tm_year < 70) return false;
  *seconds = timegm(&date);
  return strftime(again, sizeof again, form, &date) > 0 && strcmp(text, again) == 0;
}

static void check_retry_after(const char *retry_after, const char *date) {
  int64_t seconds = -1;
  int64_t alone = -1;
  int64_t until;
  int64_t now;
  bool is_number = *retry_after && retry_after[strspn(retry_after, "0123456789")] == '\0';
  bool is_given = clerk_parse_retry_after(retry_after, date, &seconds);
  assert(is_given || !is_number);
  if (is_given) assert(seconds >= 0 && seconds <= INT64_MAX / 1000);
  assert(clerk_parse_retry_after(retry_after, NULL, &alone) == is_number);
  if (is_number) assert(alone == seconds);
  if (!strict_date(retry_after, &until) || !strict_date(date, &now)) return;
  assert(is_given && seconds == (until > now ? until - now : 0));
}

/* ------------------------------------------------------------------ the judge */

/* The member of that name or alias, of several the last one; NULL when there is none. */
static const cJSON *find_member(const cJSON *object, const char *name, const char *alias) {
  const cJSON *found = NULL;
  for (const cJSON *member = cJSON_IsObject(object) ? object->child : NULL; member;
       member = member->next)
    if (strcmp(member->string, name) == 0 || (alias && strcmp(member->string, alias) == 0))
      found = member;
  return found;
}

static bool has_member(const cJSON *object, const clerk_member *expected, const char *alias) {
  const cJSON *member = find_member(object, expected->name, alias);
  const char *string = cJSON_GetStringValue(member);
  switch (expected->kind) {
    case CLERK_MEMBER_STRING: return string && *string != '\0';
    case CLERK_MEMBER_ARRAY: return cJSON_IsArray(member);
    case CLERK_MEMBER_BOOLEAN: return cJSON_IsBool(member);
    case CLERK_MEMBER_TRUE: return cJSON_IsTrue(member);
  }
  return false;
}

/* cJSON cuts strings at \u0000 and long numbers (see fuzz_reader.c): then it is no witness. */
static void check_shape(const clerk_shape *shape, clerk_text body) {
  const clerk_member *members = shape->operation->members;
  if (!shape->is_complete || strstr(body.bytes, "\\u0000")) return;
  cJSON *theirs = cJSON_ParseWithLengthOpts(body.bytes, body.length + 1, NULL, true);
  if (!theirs) return;
  for (int i = 0; members[i].name; i++)
    assert(shape->has_member[i] ==
           has_member(theirs, &members[i], i == 0 ? shape->operation->alias : NULL));
  assert(shape->has_errors == cJSON_IsArray(find_member(theirs, "errors", NULL)));
  cJSON_Delete(theirs);
}

/* Whether the body holds all that a success must. */
static bool is_whole(const clerk_shape *shape) {
  bool is_whole = shape->is_complete;
  for (int i = 0; shape->operation->members[i].name; i++)
    is_whole = is_whole && shape->has_member[i];
  return is_whole;
}

static void check_judgement(const clerk_shape *shape, int status) {
  clerk_judgement judgement = clerk_judge(shape, status);
  bool is_204 = status == 204;
  bool is_2xx = status >= 200 && status < 300;
  bool is_3xx = status >= 300 && status < 400;
  bool is_fit = is_204 ? shape->operation->may_return_204 : is_whole(shape);
  bool is_read = is_204 || shape->is_complete;
  assert((judgement == CLERK_SUCCESS) == (is_2xx && is_fit));
  assert((judgement == CLERK_REDIRECT_REFUSED) == is_3xx);
  assert((judgement == CLERK_INVALID_JSON) == (is_2xx && !is_read));
  assert((judgement == CLERK_UNEXPECTED_SHAPE) == (is_2xx && is_read && !is_fit));
  assert((judgement == CLERK_API_ERRORS) ==
         (!is_2xx && !is_3xx && shape->is_complete && shape->has_errors));
  assert(*clerk_judgement_name(judgement) != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = fuzz_open(data, size);
  const clerk_operation *operation = fuzz_operation(fuzz_line(&input).bytes);
  int status = (int)strtol(fuzz_line(&input).bytes, NULL, 10);
  const char *retry_after = fuzz_line(&input).bytes;
  const char *date = fuzz_line(&input).bytes;
  clerk_text body = fuzz_rest(&input);
  clerk_shape shape = clerk_shape_of(operation, body);
  check_retry_after(retry_after, date);
  check_shape(&shape, body);
  check_judgement(&shape, status);
  fuzz_close(&input);
  return 0;
}
