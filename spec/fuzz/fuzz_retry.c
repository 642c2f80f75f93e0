/*
** What is tried again: a call through many attempts. The input: a line for the operation; one with
** initial interval, maximal interval, exponent, maximal elapsed time and deadline; one with the
** policy's statuses and flags ("5XX 429 unsafe connection none repeatable"); then one for each attempt:
** milliseconds that it took, random (in thousandths), and how it ended: a status and perhaps a
** Retry-After, or "unsent" or "sent" and a failure.
*/
#include <math.h>
#include <stdio.h>

#include "fuzz.h"

/* ------------------------------------------------------------------ the input */

static char *next_line(fuzz_input *input) {
  char *line = input->at;
  fuzz_line(input);
  return line;
}

/* The next word of a line, "" at its end. */
static const char *word(char **line) {
  const char *found = strsep(line, " ");
  return found ? found : "";
}

static int64_t number(char **line, int64_t max) {
  int64_t value = strtoll(word(line), NULL, 10);
  return value < 0 ? 0 : value > max ? max : value;
}

static const int64_t longest_ms = INT64_C(1000000000000000); /* what clerk.h promises */

static clerk_retry_policy read_numbers(char *line, int64_t *deadline_ms) {
  clerk_retry_policy policy = {.backoff = true};
  policy.initial_interval_ms = (double)number(&line, longest_ms);
  policy.max_interval_ms = (double)number(&line, longest_ms);
  policy.exponent = strtod(word(&line), NULL);
  if (!(policy.exponent >= 1)) policy.exponent = 1;
  policy.max_elapsed_ms = number(&line, longest_ms);
  *deadline_ms = number(&line, longest_ms);
  return policy;
}

static void read_flags(char *line, clerk_retry_policy *policy, bool statuses[],
                       bool *is_repeatable) {
  while (line) {
    const char *flag = word(&line);
    if (strcmp(flag, "repeatable") == 0) *is_repeatable = true;
    if (strcmp(flag, "unsafe") == 0) policy->repeat_unsafe = true;
    if (strcmp(flag, "connection") == 0) policy->retry_connection_errors = true;
    if (strcmp(flag, "none") == 0) policy->backoff = false;
    if (!clerk_retry_on(policy, flag)) continue;
    int first = (flag[0] - '0') * 100;
    for (int status = first; status < first + 100; status++)
      if (flag[1] == 'X' || status == strtol(flag, NULL, 10)) statuses[status] = true;
  }
}

/* Of the 2XX, the even ones are good here. */
static clerk_judgement judgement_of(int status) {
  if (status < 200 || status >= 400) return CLERK_API_ERRORS;
  if (status >= 300) return CLERK_REDIRECT_REFUSED;
  return status % 2 == 0 ? CLERK_SUCCESS : CLERK_INVALID_JSON;
}

/* 100 to 599 stand for themselves, and others for one of those. */
static int status_of(long number) {
  return (int)(100 + (number % 500 + 400) % 500);
}

static clerk_attempt read_attempt(char *line) {
  clerk_attempt attempt = {.has_response = false};
  const char *end = word(&line);
  attempt.sent = strcmp(end, "unsent") != 0;
  if (strspn(end, "0123456789") == 0) {
    if (!clerk_find_failure(word(&line), &attempt.failure)) attempt.failure = CLERK_TIMEOUT;
    return attempt;
  }
  attempt.has_response = true;
  attempt.status = status_of(strtol(end, NULL, 10));
  attempt.judgement = judgement_of(attempt.status);
  attempt.has_retry_after = clerk_parse_retry_after(line, NULL, &attempt.retry_after_s);
  return attempt;
}

/* ------------------------------------------------------------------ the claims */

static bool may_be_repeated(clerk_failure failure) {
  return failure == CLERK_DNS_FAILED || failure == CLERK_CONNECT_FAILED ||
         failure == CLERK_CONNECTION_LOST || failure == CLERK_TIMEOUT;
}

static void check_repetition(const clerk_retry *retry, const clerk_attempt *attempt,
                             const bool statuses[]) {
  const clerk_retry_policy *policy = &retry->policy;
  bool is_unsent = !attempt->has_response && !attempt->sent;
  bool is_429 = attempt->has_response && attempt->status == 429;
  assert(policy->backoff);
  assert(retry->is_repeatable || policy->repeat_unsafe || is_unsent || is_429);
  if (attempt->has_response)
    assert(statuses[attempt->status] && attempt->judgement != CLERK_SUCCESS);
  else
    assert(policy->retry_connection_errors && may_be_repeated(attempt->failure));
}

static void check_wait(const clerk_retry *retry, const clerk_attempt *attempt, int64_t wait_ms,
                       int64_t now_ms) {
  int64_t until = now_ms - retry->start_ms + wait_ms;
  assert(wait_ms >= 0);
  assert(until <= retry->policy.max_elapsed_ms);
  assert(retry->deadline_ms == 0 || until < retry->deadline_ms);
  bool is_told = attempt->has_response && attempt->has_retry_after;
  int64_t told_ms = is_told ? attempt->retry_after_s * 1000 : 0;
  double shortest_ms = fmin(retry->policy.initial_interval_ms, retry->policy.max_interval_ms) / 2;
  assert(wait_ms >= told_ms && wait_ms >= (int64_t)shortest_ms);
  assert(wait_ms == told_ms || (double)wait_ms <= retry->policy.max_interval_ms);
}

static void check_verdict(const clerk_retry *retry, const clerk_attempt *attempt,
                          clerk_verdict verdict, int64_t now_ms, const bool statuses[]) {
  bool is_success = attempt->has_response && attempt->judgement == CLERK_SUCCESS;
  bool is_429 = attempt->has_response && attempt->status == 429;
  assert((verdict.outcome == CLERK_DONE) == is_success);
  assert(verdict.pause_ms >= 0 && verdict.pause_ms <= 60000);
  assert(verdict.pause_ms == 0 || is_429);
  if (verdict.outcome != CLERK_AGAIN) return;
  check_repetition(retry, attempt, statuses);
  check_wait(retry, attempt, verdict.wait_ms, now_ms);
}

/* Whether a change may have been made: it was, or that cannot be known. */
static bool has_doubt(const clerk_retry *retry, const clerk_attempt *attempt) {
  if (retry->operation->effect == CLERK_READS) return false;
  if (!attempt->has_response) return attempt->sent;
  return attempt->judgement != CLERK_SUCCESS && attempt->status / 100 != 4;
}

static void check_call(clerk_retry *retry, fuzz_input *input, const bool statuses[]) {
  int64_t now_ms = retry->start_ms;
  clerk_verdict verdict = {.outcome = CLERK_AGAIN};
  bool doubt = false;
  for (int count = 1; input->left > 0 && verdict.outcome == CLERK_AGAIN; count++) {
    char *line = next_line(input);
    now_ms += verdict.wait_ms + number(&line, longest_ms);
    double random = (double)number(&line, 999) / 1000;
    clerk_attempt attempt = read_attempt(line);
    verdict = clerk_retry_judge(retry, &attempt, now_ms, random);
    doubt = doubt || has_doubt(retry, &attempt);
    check_verdict(retry, &attempt, verdict, now_ms, statuses);
    assert(retry->attempts == count && retry->maybe_applied == doubt);
    assert(clerk_retry_time_left(retry, now_ms) >= 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = fuzz_open(data, size);
  bool statuses[CLERK_STATUS_MAX + 1] = {false};
  bool is_repeatable = false;
  int64_t deadline_ms;
  clerk_retry retry;
  const clerk_operation *operation = fuzz_operation(fuzz_line(&input).bytes);
  clerk_retry_policy policy = read_numbers(next_line(&input), &deadline_ms);
  read_flags(next_line(&input), &policy, statuses, &is_repeatable);
  clerk_retry_start(&retry, operation, is_repeatable, &policy, deadline_ms, 1000);
  check_call(&retry, &input, statuses);
  fuzz_close(&input);
  return 0;
}
