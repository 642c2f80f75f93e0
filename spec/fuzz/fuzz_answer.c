/*
** What an answer means: Retry-After, and the judge. The input: a line each for the operation, the
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

static bool has_array(const cJSON *object, const char *name) {
  bool found = false;
  for (const cJSON *member = cJSON_IsObject(object) ? object->child : NULL; member;
       member = member->next)
    if (strcmp(member->string, name) == 0) found = cJSON_IsArray(member);
  return found;
}

/* cJSON cuts names at \u0000 and long numbers (see fuzz_reader.c): then it is no witness. */
static void check_shape(const clerk_shape *shape, clerk_text body) {
  if (!shape->is_complete || strstr(body.bytes, "\\u0000")) return;
  cJSON *theirs = cJSON_ParseWithLengthOpts(body.bytes, body.length + 1, NULL, true);
  if (!theirs) return;
  assert(shape->is_object == cJSON_IsObject(theirs));
  assert(shape->has_data == has_array(theirs, "data"));
  assert(shape->has_errors == has_array(theirs, "errors"));
  cJSON_Delete(theirs);
}

static void check_judgement(const clerk_operation *operation, int status,
                            const clerk_shape *shape) {
  clerk_judgement judgement = clerk_judge(operation, status, shape);
  bool is_2xx = status >= 200 && status < 300;
  bool is_3xx = status >= 300 && status < 400;
  bool is_fit = shape->is_object && (!operation->answers_list || shape->has_data);
  assert((judgement == CLERK_SUCCESS) == (is_2xx && shape->is_complete && is_fit));
  assert((judgement == CLERK_REDIRECT_REFUSED) == is_3xx);
  assert((judgement == CLERK_INVALID_JSON) == (is_2xx && !shape->is_complete));
  assert((judgement == CLERK_UNEXPECTED_SHAPE) == (is_2xx && shape->is_complete && !is_fit));
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
  clerk_shape shape = clerk_shape_of(body);
  check_retry_after(retry_after, date);
  check_shape(&shape, body);
  check_judgement(operation, status, &shape);
  fuzz_close(&input);
  return 0;
}
