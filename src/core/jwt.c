/* Machines' JWTs: their form, their header and, once the signature is verified, their claims. */
#include <math.h>
#include <string.h>

#include "base64url.h"
#include "clerk.h"
#include "json_object.h"

static bool refuse(clerk_refusal *refusal, clerk_refusal_code code, const char *message) {
  *refusal = (clerk_refusal){code, message};
  return false;
}

static bool malformed(clerk_refusal *refusal, const char *message) {
  return refuse(refusal, CLERK_REFUSAL_MALFORMED, message);
}

/* ------------------------------------------------------------------ values */

/* The first token of the field's value, which the reader has then. */
static clerk_json_token read_value(const clerk_field *field, clerk_reader *reader) {
  clerk_reader_init(reader, field->rest);
  return clerk_reader_next(reader);
}

static bool is_present(const clerk_field *field) {
  return field->rest.bytes != NULL;
}

static bool is_string(const clerk_field *field, const char *expected) {
  clerk_reader reader;
  return read_value(field, &reader) == CLERK_JSON_STRING && clerk_reader_equals(&reader, expected);
}

/* Writes the reader's string and a NUL to `*out`, and moves that past them. The quotes in the
** document leave room for the NUL. */
static clerk_text take_string(const clerk_reader *reader, char **out) {
  clerk_text string = {*out, clerk_reader_unescape(reader, *out)};
  *out += string.length;
  *(*out)++ = '\0';
  return string;
}

/* False when the field is present and not a string. */
static bool take_text(const clerk_field *field, char **out, clerk_text *text) {
  clerk_reader reader;
  if (!is_present(field)) return true;
  if (read_value(field, &reader) != CLERK_JSON_STRING) return false;
  *text = take_string(&reader, out);
  return true;
}

/* ------------------------------------------------------------------ the form */

/* Cuts `text` at the first dot; false when there is none. */
static bool cut_part(clerk_text *text, clerk_text *part) {
  const char *dot = text->length ? memchr(text->bytes, '.', text->length) : NULL;
  if (!dot) return false;
  *part = (clerk_text){text->bytes, (size_t)(dot - text->bytes)};
  *text = (clerk_text){dot + 1, text->length - part->length - 1};
  return true;
}

/* Decodes a part to the jwt's spare memory, of which it takes what it needs. */
static bool decode_part(clerk_jwt *jwt, clerk_text part, clerk_text *decoded) {
  if (!clerk_base64url_decode(part, jwt->spare, decoded) || decoded->length == 0) return false;
  jwt->spare += decoded->length;
  return true;
}

static bool read_parts(clerk_jwt *jwt, clerk_text text, clerk_text *header) {
  clerk_text rest = text, head, body;
  if (!cut_part(&rest, &head) || !cut_part(&rest, &body)) return false;
  jwt->signed_text = (clerk_text){text.bytes, head.length + 1 + body.length};
  return decode_part(jwt, head, header) && decode_part(jwt, body, &jwt->payload) &&
         decode_part(jwt, rest, &jwt->signature);
}

/* ------------------------------------------------------------------ the header */

/* The classes of Clerk's tokens that one key signs have a category each; this is the machines'. */
#define MACHINE_CATEGORY "cl_B7d4PD333AAA"

enum { ALG, CAT, TYP, KID, FIRST_UNSUPPORTED };

/* Refused: members that would change what is verified, or by which key (RFC 7515, RFC 7797). */
static const clerk_field header_fields[] = {
    [ALG] = {"alg", {0}}, [CAT] = {"cat", {0}}, [TYP] = {"typ", {0}}, [KID] = {"kid", {0}},
    {"crit", {0}},        {"jku", {0}},         {"jwk", {0}},         {"x5u", {0}},
    {"x5c", {0}},         {"b64", {0}},         {"zip", {0}}};

enum { HEADER_FIELDS = sizeof header_fields / sizeof *header_fields };

static bool judge_type(const clerk_field fields[], clerk_refusal *refusal) {
  if (is_present(&fields[CAT]) && !is_string(&fields[CAT], MACHINE_CATEGORY))
    return refuse(refusal, CLERK_REFUSAL_TYPE, "the token's category (cat) is not a machine's");
  if (is_present(&fields[TYP]) && !is_string(&fields[TYP], "JWT"))
    return refuse(refusal, CLERK_REFUSAL_TYPE, "the token's type (typ) is not JWT");
  for (int i = FIRST_UNSUPPORTED; i < HEADER_FIELDS; i++)
    if (is_present(&fields[i]))
      return refuse(refusal, CLERK_REFUSAL_TYPE,
                    "the token's header has a member that is not supported (crit, jku, jwk, x5u, "
                    "x5c, b64 or zip)");
  return true;
}

static bool read_header(clerk_jwt *jwt, clerk_text header, clerk_refusal *refusal) {
  clerk_field fields[HEADER_FIELDS];
  memcpy(fields, header_fields, sizeof fields);
  if (!clerk_object_read(header, fields, HEADER_FIELDS))
    return malformed(refusal, "the token's header is not a JSON object, or has a member twice");
  if (!is_string(&fields[ALG], "RS256"))
    return refuse(refusal, CLERK_REFUSAL_ALGORITHM, "the token's algorithm (alg) is not RS256");
  if (!judge_type(fields, refusal)) return false;
  if (!take_text(&fields[KID], &jwt->spare, &jwt->kid))
    return malformed(refusal, "the token's key ID (kid) is not a string");
  return true;
}

bool clerk_jwt_read(clerk_jwt *jwt, clerk_text text, char *memory, clerk_refusal *refusal) {
  clerk_text header;
  memset(jwt, 0, sizeof *jwt);
  jwt->spare = memory;
  if (text.length > CLERK_JWT_MAX) return malformed(refusal, "the token is longer than 8192 bytes");
  if (!read_parts(jwt, text, &header))
    return malformed(refusal,
                     "the token is not a JWT: three parts of base64url, with dots between");
  if (!read_header(jwt, header, refusal)) return false;
  if (!clerk_object_read(jwt->payload, NULL, 0))
    return malformed(refusal, "the token's payload is not a JSON object, or has a member twice");
  return true;
}

/* ------------------------------------------------------------------ times */

/* Unix seconds (RFC 7519, 2: with or without a fraction) to ms; false when it is not such a
** number, or beyond what clocks show. */
static bool read_time(const clerk_field *field, int64_t *ms) {
  static const double max = 1e12;
  clerk_reader reader;
  if (!is_present(field)) return true;
  clerk_json_token token = read_value(field, &reader);
  if (token != CLERK_JSON_INTEGER && token != CLERK_JSON_FLOAT) return false;
  double seconds = token == CLERK_JSON_INTEGER ? (double)reader.integer : reader.number;
  if (!(seconds >= 0 && seconds <= max)) return false;
  *ms = (int64_t)floor(seconds * 1000 + 0.5);
  return true;
}

bool clerk_judge_times(const clerk_token_times *times, int64_t now_ms, int64_t skew_ms,
                       clerk_refusal *refusal) {
  if (times->expiration_ms <= now_ms - skew_ms)
    return refuse(refusal, CLERK_REFUSAL_EXPIRED, "the token has expired");
  if (times->not_before_ms > now_ms + skew_ms)
    return refuse(refusal, CLERK_REFUSAL_NOT_ACTIVE, "the token is not valid yet");
  if (times->issued_at_ms > now_ms + skew_ms)
    return refuse(refusal, CLERK_REFUSAL_NOT_ACTIVE,
                  "the token was issued in the future: compare the clocks");
  return true;
}

/* ------------------------------------------------------------------ scopes */

/* An element with a space in it is left out: it is not a machine's ID, and must not become two. */
static char *add_scope(const clerk_reader *reader, char *out) {
  size_t length = clerk_reader_unescape(reader, out);
  if (memchr(out, ' ', length)) return out;
  out[length] = ' ';
  return out + length + 1;
}

static char *add_elements(clerk_reader *reader, char *out) {
  for (clerk_json_token token = clerk_reader_next(reader); reader->depth > 0;
       token = clerk_reader_next(reader))
    if (token == CLERK_JSON_STRING && reader->depth == 1) out = add_scope(reader, out);
  return out;
}

/* What is neither a string nor an array grants nothing. */
static clerk_text take_scopes(const clerk_field *scopes, const clerk_field *audience, char *out) {
  clerk_reader reader;
  const clerk_field *field = is_present(scopes) ? scopes : audience;
  clerk_json_token token = is_present(field) ? read_value(field, &reader) : CLERK_JSON_NULL;
  char *end = out;
  if (token == CLERK_JSON_ARRAY) end = add_elements(&reader, out);
  if (token == CLERK_JSON_STRING)
    end = field == scopes ? out + clerk_reader_unescape(&reader, out) : add_scope(&reader, out);
  return (clerk_text){out, (size_t)(end - out)};
}

bool clerk_next_scope(clerk_text *scopes, clerk_text *scope) {
  const char *at = scopes->bytes, *end = at + scopes->length;
  while (at < end && *at == ' ') at++;
  const char *start = at;
  while (at < end && *at != ' ') at++;
  *scope = (clerk_text){start, (size_t)(at - start)};
  *scopes = (clerk_text){at, (size_t)(end - at)};
  return scope->length > 0;
}

/* ------------------------------------------------------------------ the claims */

enum { SUB, JTI, EXP, NBF, IAT, SCOPES, AUD, CLAIM_FIELDS };

static const clerk_field claim_fields[] = {
    [SUB] = {"sub", {0}}, [JTI] = {"jti", {0}},       [EXP] = {"exp", {0}}, [NBF] = {"nbf", {0}},
    [IAT] = {"iat", {0}}, [SCOPES] = {"scopes", {0}}, [AUD] = {"aud", {0}}};

/* ^mch_[0-9A-Za-z_]{1,64}$ */
static bool is_machine_id(clerk_text id) {
  static const char allowed[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
  return id.length > 4 && id.length <= 4 + 64 && memcmp(id.bytes, "mch_", 4) == 0 &&
         strspn(id.bytes, allowed) == id.length;
}

static bool take_names(const clerk_field fields[], char **out, clerk_claims *claims,
                       clerk_refusal *refusal) {
  if (!is_present(&fields[SUB]) || !take_text(&fields[SUB], out, &claims->subject))
    return malformed(refusal, "the token's subject (sub) is missing or is not a string");
  if (!is_machine_id(claims->subject))
    return refuse(refusal, CLERK_REFUSAL_TYPE, "the token's subject (sub) is not a machine's ID");
  if (!take_text(&fields[JTI], out, &claims->id))
    return malformed(refusal, "the token's ID (jti) is not a string");
  return true;
}

static bool read_times(const clerk_field fields[], clerk_token_times *times,
                       clerk_refusal *refusal) {
  if (!is_present(&fields[EXP]) || !read_time(&fields[EXP], &times->expiration_ms))
    return malformed(refusal, "the token's exp is missing or is not a number of seconds");
  if (!read_time(&fields[NBF], &times->not_before_ms))
    return malformed(refusal, "the token's nbf is not a number of seconds");
  if (!read_time(&fields[IAT], &times->issued_at_ms))
    return malformed(refusal, "the token's iat is not a number of seconds");
  return true;
}

bool clerk_jwt_judge(const clerk_jwt *jwt, int64_t now_ms, int64_t skew_ms, clerk_claims *claims,
                     clerk_refusal *refusal) {
  clerk_field fields[CLAIM_FIELDS];
  char *out = jwt->spare;
  memcpy(fields, claim_fields, sizeof fields);
  clerk_object_read(jwt->payload, fields, CLAIM_FIELDS);
  *claims = (clerk_claims){.payload = jwt->payload};
  if (!take_names(fields, &out, claims, refusal)) return false;
  if (!read_times(fields, &claims->times, refusal)) return false;
  claims->scopes = take_scopes(&fields[SCOPES], &fields[AUD], out);
  return clerk_judge_times(&claims->times, now_ms, skew_ms, refusal);
}
