/*
** Gets a machine in C, without Lua: the core builds the request, reads the response and says
** whether to try again; the libcurl transport moves the bytes; cJSON reads the body. With an
** installed library:
**
**   cc -o get_machine get_machine.c $(pkg-config --cflags --libs clerk-curl libcjson)
**
** From the checkout:
**
**   cc -Isrc/core -Isrc/curl -o get_machine examples/get_machine.c \
**     src/core/[!v]*.c src/curl/[a-z]*.c \
**     $(pkg-config --cflags --libs libcurl libcjson) -lm -pthread
**   CLERK_SECRET_KEY=sk_test_… ./get_machine mch_…
**
** (All sources except those for Lua and the version.) CLERK_API_URL may name another API, such as
** the URL that `bin/clerk-machines emulate` prints. Exit status: 0 done, 1 failed, 2 wrong usage.
*/
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clerk.h"
#include "curl.h"

enum { DONE, FAILED, MISUSED };

static int refuse(const char *message) {
  fprintf(stderr, "get_machine: %s\n", message);
  return MISUSED;
}

static int fail_for_memory(void) {
  fputs("get_machine: out of memory\n", stderr);
  return FAILED;
}

/* ------------------------------------------------------------------ what the core does not do */

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(int64_t ms) {
  struct timespec wait = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
  nanosleep(&wait, NULL);
}

/* In [0, 1): clients that failed together do not retry together. */
static double random_fraction(void) {
  uint32_t bits;
  return getentropy(&bits, sizeof bits) == 0 ? bits / 4294967296.0 : 0.5;
}

static clerk_text text_of(const char *string) {
  return (clerk_text){string, strlen(string)};
}

/* ------------------------------------------------------------------ the request */

/* Checks everything before anything is sent. The caller frees the request, also after a failure. */
static clerk_status build_request(clerk_request *request, const clerk_operation *operation,
                                  const char *machine_id, const char *base_url, const char *key,
                                  clerk_problem *problem) {
  const clerk_settings settings = {
      .base_url = base_url, .api_version = "2026-05-12", .user_agent = "get_machine/1.0"};
  clerk_value values[CLERK_PARAMETERS_MAX] = {{.given = true, .text = text_of(machine_id)}};
  clerk_status status = clerk_check_base_url(text_of(base_url), false, problem);
  if (status == CLERK_OK)
    status = clerk_check_secret_key("CLERK_SECRET_KEY", text_of(key), problem);
  if (status == CLERK_OK) status = clerk_check_arguments(operation, values, true, problem);
  if (status == CLERK_OK) status = clerk_request_build(request, operation, values, &settings);
  if (status == CLERK_OK) status = clerk_request_authorize(request, text_of(key));
  return status;
}

typedef struct connections {
  clerk_loop *loop;
  clerk_curl curl;
} connections;

/* Sends the request and waits for its end. The caller ends the transfer, also after a failure. */
static clerk_status send_request(connections *kept, clerk_transfer *transfer,
                                 const clerk_request *request) {
  const clerk_curl_request how = {.method = request->method,
                                  .url = request->url,
                                  .timeout_ms = 10000,
                                  .connect_timeout_ms = 5000,
                                  .max_response_bytes = 1 << 20};
  clerk_status status = CLERK_OK;
  for (size_t i = 0; status == CLERK_OK && i < request->header_count; i++)
    status =
        clerk_transfer_add_header(transfer, request->headers[i].name, request->headers[i].value);
  if (status == CLERK_OK && request->body)
    status = clerk_transfer_set_body(transfer, text_of(request->body));
  if (status == CLERK_OK) status = clerk_curl_start(&kept->curl, transfer, &how);
  while (status == CLERK_OK && !transfer->is_finished) clerk_loop_step(kept->loop, 1000, 1000);
  return status;
}

/* ------------------------------------------------------------------ the response */

/* Copies a header's value, cut to fit; empty when the response has no such header. */
static void copy_header(clerk_transfer *transfer, const char *wanted, char *out, size_t size) {
  clerk_text name;
  clerk_text value;
  size_t position = 0;
  *out = '\0';
  while (clerk_transfer_next_header(transfer, &position, &name, &value))
    if (name.length == strlen(wanted) && memcmp(name.bytes, wanted, name.length) == 0)
      snprintf(out, size, "%.*s", (int)value.length, value.bytes);
}

static clerk_text body_of(const clerk_transfer *transfer) {
  return (clerk_text){transfer->body.bytes, transfer->body.length};
}

static clerk_attempt judge_response(const clerk_operation *operation, clerk_transfer *transfer) {
  char retry_after[64];
  char date[64];
  clerk_attempt attempt = {.has_response = transfer->has_response,
                           .failure = transfer->failure,
                           .sent = transfer->sent,
                           .is_final = transfer->is_final,
                           .status = transfer->status};
  if (!attempt.has_response) return attempt;
  clerk_shape shape = clerk_shape_of(operation, body_of(transfer));
  attempt.judgement = clerk_judge(&shape, attempt.status);
  copy_header(transfer, "retry-after", retry_after, sizeof retry_after);
  copy_header(transfer, "date", date, sizeof date);
  attempt.has_retry_after = clerk_parse_retry_after(retry_after, date, &attempt.retry_after_s);
  return attempt;
}

static const char *string_of(const cJSON *object, const char *name) {
  const char *string = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
  return string ? string : "?";
}

/* NULL when out of memory, or for a lone surrogate, which the core accepts and cJSON does not. */
static cJSON *read_body(const clerk_transfer *transfer) {
  return cJSON_ParseWithLength(transfer->body.bytes, transfer->body.length);
}

static int show_machine(const clerk_transfer *transfer) {
  cJSON *machine = read_body(transfer);
  if (!machine) {
    fputs("get_machine: cannot read the response\n", stderr);
    return FAILED;
  }
  printf("%s %s\n", string_of(machine, "id"), string_of(machine, "name"));
  cJSON_Delete(machine);
  return DONE;
}

static int show_api_error(const clerk_transfer *transfer) {
  cJSON *body = read_body(transfer);
  const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(body, "errors"), 0);
  fprintf(stderr, "get_machine: %d %s: %s\n", transfer->status, string_of(first, "code"),
          string_of(first, "message"));
  cJSON_Delete(body);
  return FAILED;
}

static int show_problem(const clerk_transfer *transfer, const clerk_attempt *attempt) {
  if (attempt->judgement == CLERK_API_ERRORS) return show_api_error(transfer);
  if (attempt->has_response)
    fprintf(stderr, "get_machine: %d %s\n", attempt->status,
            clerk_judgement_name(attempt->judgement));
  else
    fprintf(stderr, "get_machine: %s: %s\n", clerk_failure_name(attempt->failure),
            transfer->message);
  return FAILED;
}

/* ------------------------------------------------------------------ one call */

static clerk_retry_policy usual_policy(void) {
  clerk_retry_policy policy = {.backoff = true,
                               .initial_interval_ms = 500,
                               .max_interval_ms = 60000,
                               .exponent = 1.5,
                               .max_elapsed_ms = 60000,
                               .retry_connection_errors = true};
  clerk_retry_on(&policy, "5XX");
  clerk_retry_on(&policy, "429");
  return policy;
}

/* Makes one attempt, prints its outcome and sets the verdict. */
static int try_once(connections *kept, const clerk_request *request, clerk_retry *retry,
                    clerk_verdict *verdict) {
  clerk_transfer transfer = {0};
  int result;
  *verdict = (clerk_verdict){.outcome = CLERK_FAILED};
  if (send_request(kept, &transfer, request) == CLERK_OK) {
    clerk_attempt attempt = judge_response(retry->operation, &transfer);
    *verdict = clerk_retry_judge(retry, &attempt, now_ms(), random_fraction());
    result = verdict->outcome == CLERK_DONE ? show_machine(&transfer)
                                            : show_problem(&transfer, &attempt);
  } else {
    result = fail_for_memory();
  }
  clerk_transfer_end(&transfer);
  return result;
}

static int call(connections *kept, const clerk_request *request, const clerk_operation *operation) {
  const clerk_retry_policy policy = usual_policy();
  clerk_retry retry;
  clerk_verdict verdict;
  clerk_retry_start(&retry, operation, true, &policy, 0, now_ms()); /* a GET is repeatable */
  int result = try_once(kept, request, &retry, &verdict);
  while (verdict.outcome == CLERK_AGAIN) {
    fprintf(stderr, "get_machine: trying again in %" PRId64 " ms\n", verdict.wait_ms);
    sleep_ms(verdict.wait_ms);
    result = try_once(kept, request, &retry, &verdict);
  }
  return result;
}

/* An empty variable counts as unset. */
static const char *environment(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}

/* Adds "/v1" to a URL without a path, as Clerk's tools do. Returns false if it is too long. */
static bool choose_base_url(char *base_url, size_t size) {
  const char *api_url = environment("CLERK_API_URL", "https://api.clerk.com");
  const char *host = strstr(api_url, "://");
  size_t length = host ? (size_t)(host + 3 - api_url) + strcspn(host + 3, "/") : strlen(api_url);
  bool is_root = strspn(api_url + length, "/") == strlen(api_url + length);
  if (is_root) return snprintf(base_url, size, "%.*s/v1", (int)length, api_url) < (int)size;
  return snprintf(base_url, size, "%s", api_url) < (int)size;
}

int main(int argc, char **argv) {
  const char *key = environment("CLERK_SECRET_KEY", NULL);
  char base_url[1024];
  const clerk_operation *operation = clerk_find_operation("get");
  const clerk_curl_options options = {.max_connections = 1};
  clerk_request request = {0};
  connections kept = {0};
  clerk_problem problem;
  if (argc != 2) return refuse("usage: get_machine MACHINE_ID");
  if (!key) return refuse("CLERK_SECRET_KEY is not set");
  if (!choose_base_url(base_url, sizeof base_url)) return refuse("CLERK_API_URL is too long");
  clerk_status status = build_request(&request, operation, argv[1], base_url, key, &problem);
  kept.loop = clerk_loop_new();
  if (status == CLERK_OK && !kept.loop) status = CLERK_NO_MEMORY;
  if (status == CLERK_OK) status = clerk_curl_init(&kept.curl, kept.loop, &options, &problem);
  int result = status == CLERK_REFUSED     ? refuse(problem.message)
               : status == CLERK_NO_MEMORY ? fail_for_memory()
                                           : call(&kept, &request, operation);
  clerk_curl_close(&kept.curl);
  clerk_loop_release(kept.loop);
  clerk_request_free(&request);
  return result;
}
