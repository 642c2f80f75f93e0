/*
** The core of clerk.machines: Clerk's operations on machines and their tokens, as requests and
** verdicts, and the rules by which a machine's JWT is accepted.
**
** A caller checks and builds a request, moves the bytes by whatever means it has, and asks what
** the response means and whether to try again. Nothing here performs I/O, reads a clock, draws a
** random number or keeps state outside of the structs that the caller owns, so all of it may be
** used from any thread as long as one struct is used by one thread at a time.
**
** Text is passed as bytes and length; the byte after the last must exist and be NUL, as it does
** in C literals and Lua strings, except after a JSON document or a JWT. Times are milliseconds on
** one monotonic clock of the caller's choice; those of a JWT are Unix time. Pointers must not be
** NULL unless the comment says so, and what they point to is not kept after the call.
**
** examples/get_machine.c and examples/verify_token.c are whole programs.
*/
#ifndef CLERK_H
#define CLERK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this library, "MAJOR.MINOR.PATCH". Static. */
const char *clerk_version(void);

/* Borrowed bytes; absent when `bytes` is NULL. */
typedef struct clerk_text {
  const char *bytes;
  size_t length;
} clerk_text;

typedef enum clerk_status {
  CLERK_OK,
  CLERK_REFUSED,  /* the caller's fault; the clerk_problem names the argument and the reason */
  CLERK_NO_MEMORY /* nothing is kept and nothing leaks */
} clerk_status;

/*
** What is wrong with an argument: one sentence that names it and holds no secret. Written with
** CLERK_REFUSED and only then.
*/
typedef struct clerk_problem {
  char message[256];
} clerk_problem;

/* ------------------------------------------------------------------ operations */

typedef enum clerk_place { CLERK_PATH, CLERK_QUERY, CLERK_BODY } clerk_place;

typedef enum clerk_type {
  CLERK_STRING,
  CLERK_SECRET, /* a string that must not be shown */
  CLERK_INTEGER,
  CLERK_NUMBER, /* finite, perhaps with a fraction */
  CLERK_BOOLEAN,
  CLERK_ANY_JSON, /* any value, as a JSON document */
  CLERK_TOKEN_ID,
  CLERK_MACHINE_ID,
  CLERK_MACHINE_IDS /* an array; may be empty */
} clerk_type;

typedef enum clerk_presence {
  CLERK_OPTIONAL,
  CLERK_NULLABLE, /* optional, and may be null; a query leaves null out */
  CLERK_REQUIRED
} clerk_presence;

typedef struct clerk_parameter {
  const char *name; /* the API's own */
  clerk_place place;
  clerk_type type;
  clerk_presence presence;
  int64_t min, max; /* an integer's value, a string's characters, an array's elements; a number must
                       be greater than its min */
  const char *const *values; /* the only ones allowed, NULL after the last; or NULL */
  const char *summary;       /* for documentation, like every summary: one sentence or two */
} clerk_parameter;

/* What a member of a response must be. */
typedef enum clerk_member_kind {
  CLERK_MEMBER_STRING, /* and not empty */
  CLERK_MEMBER_ARRAY,
  CLERK_MEMBER_BOOLEAN,
  CLERK_MEMBER_TRUE
} clerk_member_kind;

typedef struct clerk_member {
  const char *name;
  clerk_member_kind kind;
} clerk_member;

enum { CLERK_PARAMETERS_MAX = 5, CLERK_MEMBERS_MAX = 3 };

/* What a request does at the server, and so what it means to send it twice. */
typedef enum clerk_effect {
  CLERK_READS,
  CLERK_CHANGES,       /* idempotent */
  CLERK_ADDS,          /* twice adds two */
  CLERK_ADDS_OR_REUSES /* ... unless the server may return what it has: min_remaining_ttl_seconds */
} clerk_effect;

/* Whose secret key a request is sent with. */
typedef enum clerk_key {
  CLERK_INSTANCE_KEY,
  CLERK_MACHINE_KEY,
  CLERK_MACHINE_OR_INSTANCE_KEY /* a machine's, if the caller has one */
} clerk_key;

typedef struct clerk_operation {
  const char *name;
  const char *summary;
  const char *method;
  const char *path;   /* a {name} stands for each path parameter, in their order */
  const char *result; /* the class of a success, for documentation: "Machine" */
  clerk_effect effect;
  clerk_key key;
  bool returns_secret; /* a success may hold a machine's secret key, or a token */
  bool may_return_204; /* a 204, which has no body, is a success too */
  clerk_member members[CLERK_MEMBERS_MAX + 1]; /* of other successes; name NULL after the last */
  const char *alias; /* another name that the first member may have; or NULL */
  clerk_parameter parameters[CLERK_PARAMETERS_MAX + 1]; /* path first; name NULL after the last */
} clerk_operation;

/* The operations of the API on machines and tokens; name NULL after the last. */
extern const clerk_operation clerk_operations[];

/* The operation of that name, which is static, or NULL. */
const clerk_operation *clerk_find_operation(const char *name);

/* The index of the parameter of that name in operation->parameters, or -1. */
int clerk_find_parameter(const clerk_operation *operation, const char *name);

/* Whether the operation sends a JSON body, which it does even when no parameter in it is given. */
bool clerk_takes_body(const clerk_operation *operation);

/* Whether the operation needs parameters other than those in its path: it requires one, or it is a
** PATCH, which changes nothing without any. */
bool clerk_needs_params(const clerk_operation *operation);

/* Whether the operation changes something at the server. */
bool clerk_is_change(const clerk_operation *operation);

/* ------------------------------------------------------------------ arguments */

/* The value of one parameter. The parameter's type determines which member is used. */
typedef struct clerk_value {
  bool given;              /* false: absent, and nothing else counts */
  bool is_null;            /* of a parameter that is CLERK_NULLABLE; then nothing else counts */
  bool boolean;            /* CLERK_BOOLEAN */
  int64_t integer;         /* CLERK_INTEGER */
  double number;           /* CLERK_NUMBER */
  clerk_text text;         /* CLERK_STRING, CLERK_SECRET, CLERK_ANY_JSON, IDs */
  const clerk_text *items; /* CLERK_MACHINE_IDS */
  size_t item_count;
} clerk_value;

/*
** Checks values[i] against operation->parameters[i], one for each: presence, UTF-8, IDs, JSON, allowed
** values and, when `check_bounds`, the bounds of numbers and lengths. CLERK_OK or CLERK_REFUSED.
*/
clerk_status clerk_check_arguments(const clerk_operation *operation, const clerk_value values[],
                                   bool check_bounds, clerk_problem *problem);

/* Whether a request with these values may be sent again although the server may have acted on it. */
bool clerk_is_repeatable(const clerk_operation *operation, const clerk_value values[]);

/*
** Checks a base URL: absolute, https (or http to loopback, or `allow_http`), a plain host, perhaps
** a port and a path; no credentials, query or fragment. CLERK_OK or CLERK_REFUSED.
*/
clerk_status clerk_check_base_url(clerk_text url, bool allow_http, clerk_problem *problem);

/* Whether a URL that passed clerk_check_base_url names a loopback host (127/8, ::1, localhost). */
bool clerk_is_loopback(const char *url);

/*
** Checks a header that a caller wants to add: a token as name, no control bytes in the value, and
** none that this library or HTTP's framing owns. CLERK_OK or CLERK_REFUSED.
*/
clerk_status clerk_check_header(clerk_text name, clerk_text value, clerk_problem *problem);

/* Checks a secret key: not empty, no byte that would break or fold the header. CLERK_OK or
** CLERK_REFUSED; the message calls the key by `name` and does not quote it. */
clerk_status clerk_check_secret_key(const char *name, clerk_text key, clerk_problem *problem);

/* ------------------------------------------------------------------ request */

typedef struct clerk_header {
  const char *name; /* lower case */
  const char *value;
} clerk_header;

enum { CLERK_REQUEST_HEADERS_MAX = 5 };

/* A request to send as it is. Zero it before the first use; clerk_request_free ends it. */
typedef struct clerk_request {
  const char *method;                              /* static */
  char *url;                                       /* owned */
  char *body;                                      /* owned; NULL: none */
  clerk_header headers[CLERK_REQUEST_HEADERS_MAX]; /* authorization first */
  size_t header_count;
  char *authorization; /* owned, the value of that header; NULL before clerk_request_authorize */
} clerk_request;

/* What all requests of a client have in common; the texts must outlive the requests. */
typedef struct clerk_settings {
  const char *base_url;    /* checked by clerk_check_base_url; a final slash does not matter */
  const char *api_version; /* of Clerk-API-Version; checked by clerk_check_header */
  const char *user_agent;  /* of User-Agent; checked by clerk_check_header */
} clerk_settings;

/*
** Builds the request, which must be zero, for values that passed clerk_check_arguments. It has
** no key yet: see clerk_request_authorize. CLERK_OK, and the caller owns what is in it, or
** CLERK_NO_MEMORY, and it is zero again.
*/
clerk_status clerk_request_build(clerk_request *request, const clerk_operation *operation,
                                 const clerk_value values[], const clerk_settings *settings);

/*
** Sets, or replaces and wipes, the secret key (RFC 6750 bearer), which clerk_check_secret_key let
** pass. CLERK_OK or CLERK_NO_MEMORY, and the key is what it was.
*/
clerk_status clerk_request_authorize(clerk_request *request, clerk_text key);

/* Wipes and frees what the request owns and zeroes it; a zeroed request is allowed. */
void clerk_request_free(clerk_request *request);

/* ------------------------------------------------------------------ JSON reader */

enum { CLERK_DEPTH_MAX = 512 };

typedef enum clerk_json_token {
  CLERK_JSON_BROKEN, /* see clerk_reader_problem; final */
  CLERK_JSON_END,    /* the document is complete and nothing follows it; final */
  CLERK_JSON_NULL,
  CLERK_JSON_FALSE,
  CLERK_JSON_TRUE,
  CLERK_JSON_INTEGER,
  CLERK_JSON_FLOAT,
  CLERK_JSON_STRING,
  CLERK_JSON_KEY,
  CLERK_JSON_ARRAY,
  CLERK_JSON_ARRAY_END,
  CLERK_JSON_OBJECT,
  CLERK_JSON_OBJECT_END
} clerk_json_token;

/*
** Reads one JSON document (RFC 8259, UTF-8) token by token: no allocation, no recursion, containers
** nested at most CLERK_DEPTH_MAX deep. A literal without fraction and exponent that fits 64 bits is
** an integer, every other number a float (infinite when it is too large for a double). It is
** strict, with two exceptions: a byte order mark at the start is skipped, and an escaped surrogate
** without its other half stands for U+FFFD.
*/
typedef struct clerk_reader {
  /* of the latest token: */
  clerk_text string; /* of STRING and KEY: the bytes between the quotes, within the input */
  bool escaped;      /* ... and whether they hold escapes: then see clerk_reader_unescape */
  int64_t integer;   /* of INTEGER */
  double number;     /* of FLOAT */
  unsigned depth;    /* containers that are open after the token */
  /* private from here */
  const char *start, *at, *end;
  const char *problem;
  unsigned char expects;
  bool is_object[CLERK_DEPTH_MAX + 1]; /* the latest container of each depth */
} clerk_reader;

/* Begins to read `input`, which must outlive the reader; an absent one is like an empty one. */
void clerk_reader_init(clerk_reader *reader, clerk_text input);

/* The next token. After END or BROKEN, every further call returns the same. */
clerk_json_token clerk_reader_next(clerk_reader *reader);

/* Writes the latest STRING or KEY to `out` (at least string.length bytes), without a NUL after it;
** returns the length. */
size_t clerk_reader_unescape(const clerk_reader *reader, char *out);

/* Whether the latest STRING or KEY, unescaped, is this text. */
bool clerk_reader_equals(const clerk_reader *reader, const char *text);

/* After CLERK_JSON_BROKEN: what is wrong (static), and the offset in bytes where. */
const char *clerk_reader_problem(const clerk_reader *reader, size_t *offset);

/* ------------------------------------------------------------------ responses */

/* What clerk_judge must know of a body. Set the operation, zero the rest before the first token. */
typedef struct clerk_shape {
  const clerk_operation *operation;
  bool is_complete;                   /* well-formed JSON to the end */
  bool has_errors;                    /* an array `errors` */
  bool has_member[CLERK_MEMBERS_MAX]; /* which of operation->members are as they must be */
  const clerk_member *pending;        /* private */
} clerk_shape;

/* Notes the token that `reader` has just returned. A caller that reads the body itself notes each. */
void clerk_shape_note(clerk_shape *shape, const clerk_reader *reader, clerk_json_token token);

/* Reads a whole body for its shape alone; an absent one is like an empty one. */
clerk_shape clerk_shape_of(const clerk_operation *operation, clerk_text body);

/* The first member that a success must have and this body does not; NULL: it has them all. */
const clerk_member *clerk_shape_lacks(const clerk_shape *shape);

typedef enum clerk_judgement {
  CLERK_SUCCESS,
  CLERK_API_ERRORS,        /* the API's own errors, in the body's array `errors` */
  CLERK_INVALID_JSON,      /* a success by its status, but not JSON */
  CLERK_UNEXPECTED_SHAPE,  /* a success by its status, but without what it must hold */
  CLERK_UNEXPECTED_STATUS, /* not a success, and without API errors: a proxy's page, for example */
  CLERK_REDIRECT_REFUSED   /* 3XX: never followed */
} clerk_judgement;

/* Judges a response by its status and the shape of its body. The body of a 204 does not matter. */
clerk_judgement clerk_judge(const clerk_shape *shape, int status);

/* The stable name of a judgement, such as "invalid_json". Static; NULL after the last. */
const char *clerk_judgement_name(clerk_judgement judgement);

/* What the judgement means, in one sentence. Static; NULL after the last. */
const char *clerk_judgement_summary(clerk_judgement judgement);

/* ------------------------------------------------------------------ failures */

/* Why there is no complete response. The first four are temporary: the request can be tried again. */
typedef enum clerk_failure {
  CLERK_DNS_FAILED,
  CLERK_CONNECT_FAILED,
  CLERK_CONNECTION_LOST,
  CLERK_TIMEOUT,
  CLERK_RATE_LIMITED, /* not sent: the caller's own, while it pauses after a 429 */
  CLERK_TLS_FAILED,
  CLERK_RESPONSE_TOO_LARGE,
  CLERK_BAD_RESPONSE, /* not HTTP, or broken on its way */
  CLERK_CANCELLED,    /* by the caller */
  CLERK_NO_RESOURCES  /* the process has no file descriptor or memory left */
} clerk_failure;

/* The name of a failure, such as "dns_failed". Static; NULL after the last. */
const char *clerk_failure_name(clerk_failure failure);

/* What the failure means, in one sentence. Static; NULL after the last. */
const char *clerk_failure_summary(clerk_failure failure);

/* Whether another attempt may succeed: true of the first four. */
bool clerk_failure_is_repeatable(clerk_failure failure);

/* Finds a failure by its name; false, with *failure as it was, when there is none. */
bool clerk_find_failure(const char *name, clerk_failure *failure);

/* ------------------------------------------------------------------ retries */

/* Unix seconds of a date in one of HTTP's three forms (RFC 9110, 5.6.7); false if it is malformed. */
bool clerk_parse_date(const char *text, int64_t *seconds);

/*
** Seconds to wait, at least 0, by a Retry-After value (RFC 9110, 10.2.3): a number, or a date
** compared with the response's Date header. NULL means that a header is absent. False, with
** `seconds` unchanged, if the value is malformed, or is a date and `date` is absent or malformed.
*/
bool clerk_parse_retry_after(const char *retry_after, const char *date, int64_t *seconds);

enum { CLERK_STATUS_MAX = 599 };

/*
** When to try again, and after how long. A zeroed one never does. Times are from 0 to 10^15 ms, and
** mean what Clerk's own SDKs mean by these names: usual are 500, 60000, 1.5 and 60000, connection
** errors, "5XX" and "429".
*/
typedef struct clerk_retry_policy {
  bool backoff; /* false: never try again */
  double initial_interval_ms;
  double max_interval_ms;
  double exponent;        /* at least 1 */
  int64_t max_elapsed_ms; /* of the whole call; a wait that would pass it is not started */
  bool retry_connection_errors;
  bool repeat_unsafe;                         /* treat every request as repeatable */
  uint8_t statuses[CLERK_STATUS_MAX / 8 + 1]; /* one bit each; see clerk_retry_on */
} clerk_retry_policy;

/* Adds a status ("429") or a class of them ("5XX") to the policy; false when it is neither. */
bool clerk_retry_on(clerk_retry_policy *policy, const char *status);

/* One call through all its attempts: begun by clerk_retry_start, then to be read only. */
typedef struct clerk_retry {
  const clerk_operation *operation;
  bool is_repeatable; /* see clerk_is_repeatable */
  clerk_retry_policy policy;
  int64_t start_ms;
  int64_t deadline_ms; /* after start_ms; 0: none */
  int attempts;
  bool maybe_applied; /* some attempt of a change may have had its effect */
} clerk_retry;

/* How one attempt ended. */
typedef struct clerk_attempt {
  bool has_response;
  clerk_judgement judgement; /* with a response: how it was judged, */
  int status;                /* its status, */
  bool has_retry_after;      /* whether it asked to wait, */
  int64_t retry_after_s;     /* and for how long, from clerk_parse_retry_after */
  clerk_failure failure;     /* without: why, */
  bool sent;                 /* whether the server may act on the request, */
  bool is_final;             /* and whether to try again is pointless, whatever the failure */
} clerk_attempt;

typedef enum clerk_outcome { CLERK_DONE, CLERK_FAILED, CLERK_AGAIN } clerk_outcome;

typedef struct clerk_verdict {
  clerk_outcome outcome;
  int64_t wait_ms;  /* what the caller waits before the next attempt (CLERK_AGAIN) */
  int64_t pause_ms; /* after a 429: how long other calls should wait, 60 s at most; else 0 */
} clerk_verdict;

/*
** Begins a call at `now_ms`, by a copy of the policy; `is_repeatable` is what clerk_is_repeatable says
** of its request. `deadline_ms` bounds the whole call, from 1 to 10^15 after its start; 0: nothing
** does.
*/
void clerk_retry_start(clerk_retry *retry, const clerk_operation *operation, bool is_repeatable,
                       const clerk_retry_policy *policy, int64_t deadline_ms, int64_t now_ms);

/*
** Judges an attempt that ended at `now_ms`, each one once; `random` in [0, 1) spreads the waits.
** What is repeatable (see clerk_is_repeatable) is tried again after the policy's statuses and after
** repeatable failures; the rest only after a 429 or when nothing of it was sent, unless the policy
** says repeat_unsafe.
*/
clerk_verdict clerk_retry_judge(clerk_retry *retry, const clerk_attempt *attempt, int64_t now_ms,
                                double random);

/* Whether the budgets allow to wait `wait_ms` more at `now_ms`. */
bool clerk_retry_may_wait(const clerk_retry *retry, int64_t wait_ms, int64_t now_ms);

/* Milliseconds until the deadline, at least 0; INT64_MAX without one. */
int64_t clerk_retry_time_left(const clerk_retry *retry, int64_t now_ms);

/* ------------------------------------------------------------------ tokens */

/* Why a token must not be accepted. */
typedef enum clerk_refusal_code {
  CLERK_REFUSAL_MALFORMED,
  CLERK_REFUSAL_TYPE,
  CLERK_REFUSAL_ALGORITHM,
  CLERK_REFUSAL_KEY_UNKNOWN,
  CLERK_REFUSAL_SIGNATURE,
  CLERK_REFUSAL_EXPIRED,
  CLERK_REFUSAL_NOT_ACTIVE,
  CLERK_REFUSAL_REVOKED,
  CLERK_REFUSAL_UNKNOWN,
  CLERK_REFUSAL_NOT_GRANTED
} clerk_refusal_code;

/* The stable name of a refusal, such as "token_expired". Static; NULL after the last. */
const char *clerk_refusal_name(clerk_refusal_code code);

/* What the refusal means, in one sentence. Static; NULL after the last. */
const char *clerk_refusal_summary(clerk_refusal_code code);

/* Written when a token is refused and only then. */
typedef struct clerk_refusal {
  clerk_refusal_code code;
  const char *message; /* what is wrong; static, so that nothing of the token is in it */
} clerk_refusal;

enum { CLERK_JWT_MAX = 8192 };

/* A machine's JWT that is well-formed. It proves nothing: its signature is not verified yet. */
typedef struct clerk_jwt {
  clerk_text kid;         /* names the key; absent when the header does not */
  clerk_text signed_text; /* what the signature is over: header and payload as they came */
  clerk_text signature;   /* to verify: RSASSA-PKCS1-v1_5 with SHA-256 (RS256) */
  /* private from here */
  clerk_text payload;
  char *spare;
} clerk_jwt;

/*
** Reads a JWT (RFC 7515, compact form): at most CLERK_JWT_MAX bytes, three parts of canonical
** base64url, JSON objects without duplicate members, and a header that asks for nothing but RS256
** for a machine's token. The jwt points into `text` and into `memory`, which has room for twice as
** many bytes as the text (none when that is too long); both must outlive it. False: it is refused.
*/
bool clerk_jwt_read(clerk_jwt *jwt, clerk_text text, char *memory, clerk_refusal *refusal);

/* When a token is good, in Unix ms. */
typedef struct clerk_token_times {
  int64_t expiration_ms; /* INT64_MAX: it does not expire */
  int64_t not_before_ms; /* 0: not given */
  int64_t issued_at_ms;  /* 0: not given */
} clerk_token_times;

/* What a JWT says, in bytes of its text and memory. */
typedef struct clerk_claims {
  clerk_text id;      /* `jti`; empty when there is none */
  clerk_text subject; /* the ID of the machine that minted it; a NUL follows */
  clerk_text scopes;  /* the machines that it may call: see clerk_next_scope */
  clerk_text payload; /* all of it, as JSON */
  clerk_token_times times;
} clerk_claims;

/*
** Judges the claims of a JWT whose signature the caller has verified over jwt->signed_text, with a
** key that it trusts: never call it before. `now_ms` is Unix time; clocks may differ by `skew_ms`;
** both are from 0 to 10^15. Scopes come from the claim `scopes`, a string split at spaces or an
** array, or, only if that is absent, from `aud`; they are claims like any other, which the machine
** that minted the token may have chosen itself. False: it is refused.
*/
bool clerk_jwt_judge(const clerk_jwt *jwt, int64_t now_ms, int64_t skew_ms, clerk_claims *claims,
                     clerk_refusal *refusal);

/* Judges a token by the clock alone, as clerk_jwt_judge does. False: it is refused. */
bool clerk_judge_times(const clerk_token_times *times, int64_t now_ms, int64_t skew_ms,
                       clerk_refusal *refusal);

/* Takes the next scope off the front of `scopes`; false when there are none left. */
bool clerk_next_scope(clerk_text *scopes, clerk_text *scope);

#ifdef __cplusplus
}
#endif

#endif
