/*
** JWTs: what is accepted keeps the promises of clerk.h, and what keeps them is accepted. The input: a
** line each for the time, the skew and the header, and the rest is the payload; also the whole as a
** token.
*/
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#include "fuzz.h"

static const char word_bytes[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";

/* ------------------------------------------------------------------ base64url */

/* Appends the text of the bytes; a NUL follows. */
static char *encode(char *out, clerk_text bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (size_t bit = 0; bit < bytes.length * 8; bit += 6) {
    unsigned value = 0;
    for (size_t i = bit; i < bit + 6; i++) {
      unsigned byte = i / 8 < bytes.length ? (unsigned char)bytes.bytes[i / 8] : 0;
      value = value << 1 | (byte >> (7 - i % 8) & 1);
    }
    *out++ = digits[value];
  }
  *out = '\0';
  return out;
}

/* ------------------------------------------------------------------ JSON objects */

typedef struct fuzz_name {
  size_t object;
  size_t length;
  char *text;
} fuzz_name;

/* Whether the object has a name already; if not, it has now. */
static bool is_new(fuzz_name *names, size_t count, fuzz_name name) {
  for (size_t i = 0; i < count; i++)
    if (names[i].object == name.object && names[i].length == name.length &&
        memcmp(names[i].text, name.text, name.length) == 0)
      return false;
  names[count] = name;
  return true;
}

static fuzz_name name_of(const clerk_reader *reader, size_t object) {
  fuzz_name name = {.object = object, .text = malloc(reader->string.length + 1)};
  assert(name.text);
  name.length = clerk_reader_unescape(reader, name.text);
  return name;
}

/* Whether the document is one object whose objects have no name twice: each compared with each. */
static bool is_strict_object(clerk_text document) {
  fuzz_name names[CLERK_JWT_MAX];
  size_t count = 0, objects = 0, open[CLERK_DEPTH_MAX + 1];
  bool is_strict = document.length > 0 && *document.bytes != '\xEF';
  clerk_reader reader;
  clerk_reader_init(&reader, document);
  clerk_json_token token = clerk_reader_next(&reader);
  is_strict = is_strict && token == CLERK_JSON_OBJECT;
  for (; token != CLERK_JSON_END && is_strict; token = clerk_reader_next(&reader)) {
    if (token == CLERK_JSON_BROKEN) is_strict = false;
    if (token == CLERK_JSON_OBJECT) open[reader.depth] = objects++;
    if (token != CLERK_JSON_KEY) continue;
    fuzz_name name = name_of(&reader, open[reader.depth]);
    is_strict = is_new(names, count, name);
    if (is_strict)
      count++;
    else
      free(name.text);
  }
  while (count > 0) free(names[--count].text);
  return is_strict;
}

/* A copy that ends with a NUL, to be freed. cJSON cuts strings at \u0000: then it is no witness. */
static cJSON *parse(clerk_text document) {
  char *copy = strndup(document.bytes, document.length);
  assert(copy);
  cJSON *object = strstr(copy, "\\u0000") ? NULL : cJSON_Parse(copy);
  free(copy);
  return object;
}

/* ------------------------------------------------------------------ the header */

static bool is_text(const cJSON *member, const char *text) {
  return cJSON_IsString(member) && strcmp(member->valuestring, text) == 0;
}

static bool is_good_header(const cJSON *header) {
  static const char *const refused[] = {"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"};
  const cJSON *typ = cJSON_GetObjectItemCaseSensitive(header, "typ");
  const cJSON *cat = cJSON_GetObjectItemCaseSensitive(header, "cat");
  const cJSON *kid = cJSON_GetObjectItemCaseSensitive(header, "kid");
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (cJSON_GetObjectItemCaseSensitive(header, refused[i])) return false;
  return is_text(cJSON_GetObjectItemCaseSensitive(header, "alg"), "RS256") &&
         (!typ || is_text(typ, "JWT")) && (!cat || is_text(cat, "cl_B7d4PD333AAA")) &&
         (!kid || cJSON_IsString(kid));
}

static void check_header(clerk_text header, const clerk_jwt *jwt, bool is_accepted) {
  cJSON *theirs = parse(header);
  if (theirs) assert(is_good_header(theirs) == is_accepted);
  const char *kid = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(theirs, "kid"));
  if (theirs && is_accepted) {
    assert((kid != NULL) == (jwt->kid.bytes != NULL));
    assert(!kid ||
           (jwt->kid.length == strlen(kid) && memcmp(jwt->kid.bytes, kid, strlen(kid)) == 0));
  }
  cJSON_Delete(theirs);
}

/* ------------------------------------------------------------------ claims */

static void check_refusal(const clerk_refusal *refusal) {
  assert(clerk_refusal_name(refusal->code) && strncmp(refusal->message, "the token", 9) == 0);
}

/* The time in ms that a member of the payload says. */
static void check_time(const cJSON *payload, const char *name, int64_t ms) {
  const cJSON *member = cJSON_GetObjectItemCaseSensitive(payload, name);
  assert(ms >= 0 && ms <= 1000000000000000);
  if (member) assert(fabs(member->valuedouble * 1000 - (double)ms) <= 1);
}

static void check_scopes(clerk_text scopes) {
  clerk_text scope;
  while (clerk_next_scope(&scopes, &scope))
    assert(scope.length > 0 && !memchr(scope.bytes, ' ', scope.length));
  assert(scopes.length == 0);
}

static void check_claims(const clerk_claims *claims, int64_t now_ms, int64_t skew_ms) {
  const clerk_token_times *times = &claims->times;
  clerk_refusal refusal;
  assert(claims->subject.length <= 68 && strncmp(claims->subject.bytes, "mch_", 4) == 0);
  assert(strspn(claims->subject.bytes, word_bytes) == claims->subject.length);
  assert(claims->subject.length > 4);
  assert(times->expiration_ms + skew_ms > now_ms);
  assert(times->not_before_ms <= now_ms + skew_ms && times->issued_at_ms <= now_ms + skew_ms);
  assert(clerk_judge_times(times, now_ms, skew_ms, &refusal));
  check_scopes(claims->scopes);
  cJSON *theirs = parse(claims->payload);
  if (theirs) {
    assert(cJSON_GetObjectItemCaseSensitive(theirs, "exp"));
    assert(is_text(cJSON_GetObjectItemCaseSensitive(theirs, "sub"), claims->subject.bytes));
    check_time(theirs, "exp", times->expiration_ms);
    check_time(theirs, "nbf", times->not_before_ms);
    check_time(theirs, "iat", times->issued_at_ms);
  }
  cJSON_Delete(theirs);
}

static void check_judgement(const clerk_jwt *jwt, int64_t now_ms, int64_t skew_ms) {
  clerk_claims claims;
  clerk_refusal refusal;
  if (clerk_jwt_judge(jwt, now_ms, skew_ms, &claims, &refusal))
    check_claims(&claims, now_ms, skew_ms);
  else
    check_refusal(&refusal);
}

/* ------------------------------------------------------------------ tokens */

/* Reads in memory of just the promised size, from text without a NUL behind it. */
static bool read_token(clerk_jwt *jwt, clerk_text text, char **kept, clerk_refusal *refusal) {
  size_t size = text.length <= CLERK_JWT_MAX ? 2 * text.length : 0;
  *kept = malloc(size ? size : 1);
  assert(*kept);
  bool is_accepted = clerk_jwt_read(jwt, text, *kept, refusal);
  if (!is_accepted) check_refusal(refusal);
  return is_accepted;
}

/* Two objects: accepted when both are strict, and the header is as it must be. */
static void check_objects(clerk_text header, clerk_text payload, int64_t now_ms, int64_t skew_ms) {
  char *token = malloc((header.length + payload.length) * 4 / 3 + 16);
  char *memory;
  clerk_jwt jwt;
  clerk_refusal refusal;
  assert(token);
  char *end = encode(token, header);
  *end++ = '.';
  end = encode(end, payload);
  size_t signed_length = (size_t)(end - token);
  memcpy(end, ".AAAA", 5);
  bool is_accepted = read_token(&jwt, (clerk_text){token, signed_length + 5}, &memory, &refusal);
  bool is_strict = is_strict_object(header) && is_strict_object(payload);
  assert(is_strict || !is_accepted);
  if (is_strict) check_header(header, &jwt, is_accepted);
  if (is_accepted) {
    assert(jwt.signed_text.bytes == token && jwt.signed_text.length == signed_length);
    assert(jwt.signature.length == 3 && memcmp(jwt.signature.bytes, "\0\0\0", 3) == 0);
    check_judgement(&jwt, now_ms, skew_ms);
  }
  free(memory);
  free(token);
}

/* Any bytes: what is accepted is just what its parts encode. */
static void check_text(clerk_text text) {
  char *memory;
  clerk_jwt jwt;
  clerk_refusal refusal;
  if (read_token(&jwt, text, &memory, &refusal)) {
    char again[CLERK_JWT_MAX + 16] = ".";
    clerk_claims claims = {.payload = {0}};
    const char *dot = memchr(text.bytes, '.', text.length);
    clerk_jwt_judge(&jwt, 0, 0, &claims, &refusal);
    char *end = encode(again + 1, claims.payload);
    *end++ = '.';
    end = encode(end, jwt.signature);
    assert((size_t)(end - again) == text.length - (size_t)(dot - text.bytes));
    assert(memcmp(again, dot, (size_t)(end - again)) == 0);
  }
  free(memory);
}

static int64_t ms_of(clerk_text line) {
  long long ms = strtoll(line.bytes, NULL, 10);
  return ms < 0 ? 0 : ms > 1000000000000000 ? 1000000000000000 : ms;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check_text((clerk_text){(const char *)data, size});
  fuzz_input input = fuzz_open(data, size);
  int64_t now_ms = ms_of(fuzz_line(&input)), skew_ms = ms_of(fuzz_line(&input));
  clerk_text header = fuzz_line(&input), payload = fuzz_rest(&input);
  check_objects(header, payload, now_ms, skew_ms);
  fuzz_close(&input);
  return 0;
}
