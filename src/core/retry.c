/* Retries: what may be sent again, after how long, and what may have had effect. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"

/* ------------------------------------------------------------------ policy */

static void add_status(clerk_retry_policy *policy, long status) {
  policy->statuses[status / 8] = (uint8_t)(policy->statuses[status / 8] | 1U << status % 8);
}

static bool has_status(const clerk_retry_policy *policy, int status) {
  return status >= 0 && status <= CLERK_STATUS_MAX &&
         (policy->statuses[status / 8] >> status % 8 & 1) != 0;
}

bool clerk_retry_on(clerk_retry_policy *policy, const char *status) {
  if (strlen(status) != 3 || status[0] < '1' || status[0] > '5') return false;
  long first = (status[0] - '0') * 100L, last = first + 99;
  if (strcmp(status + 1, "XX") != 0) {
    if (strspn(status, "0123456789") != 3) return false;
    first = last = strtol(status, NULL, 10);
  }
  for (long i = first; i <= last; i++) add_status(policy, i);
  return true;
}

/* ------------------------------------------------------------------ one call */

void clerk_retry_start(clerk_retry *retry, const clerk_operation *operation, bool is_repeatable,
                       const clerk_retry_policy *policy, int64_t deadline_ms, int64_t now_ms) {
  *retry = (clerk_retry){.operation = operation,
                         .is_repeatable = is_repeatable,
                         .policy = *policy,
                         .start_ms = now_ms,
                         .deadline_ms = deadline_ms};
}

int64_t clerk_retry_time_left(const clerk_retry *retry, int64_t now_ms) {
  if (retry->deadline_ms == 0) return INT64_MAX;
  int64_t left = retry->start_ms + retry->deadline_ms - now_ms;
  return left > 0 ? left : 0;
}

bool clerk_retry_may_wait(const clerk_retry *retry, int64_t wait_ms, int64_t now_ms) {
  return now_ms - retry->start_ms + wait_ms <= retry->policy.max_elapsed_ms &&
         wait_ms < clerk_retry_time_left(retry, now_ms);
}

static bool is_4xx(const clerk_attempt *attempt) {
  return attempt->has_response && attempt->status >= 400 && attempt->status < 500;
}

static bool is_unsent(const clerk_attempt *attempt) {
  return !attempt->has_response && !attempt->sent;
}

static bool is_worth_repeating(const clerk_retry_policy *policy, const clerk_attempt *attempt) {
  if (attempt->has_response) return has_status(policy, attempt->status);
  return policy->retry_connection_errors && clerk_failure_is_repeatable(attempt->failure) &&
         !attempt->is_final;
}

/* A lost response may hide a new machine (RFC 9110, 9.2.2). */
static bool is_safe_to_repeat(const clerk_retry *retry, const clerk_attempt *attempt) {
  if (retry->is_repeatable || retry->policy.repeat_unsafe) return true;
  return is_unsent(attempt) || (attempt->has_response && attempt->status == 429);
}

/* Never less than the backoff: a Retry-After of 0, or a date in the past, must not flood the
** server. */
static int64_t wait_of(const clerk_retry *retry, const clerk_attempt *attempt, double random) {
  const clerk_retry_policy *policy = &retry->policy;
  double growth = fmin(pow(policy->exponent, retry->attempts - 1), DBL_MAX);
  double delay = fmin(policy->initial_interval_ms * growth, policy->max_interval_ms);
  int64_t backoff_ms = (int64_t)(delay / 2 + random * delay / 2);
  bool has_retry_after = attempt->has_response && attempt->has_retry_after;
  int64_t retry_after_ms = has_retry_after ? attempt->retry_after_s * 1000 : 0;
  return retry_after_ms > backoff_ms ? retry_after_ms : backoff_ms;
}

/* Other calls try again after this long at most, whatever Retry-After says. */
enum { PAUSE_LIMIT_MS = 60 * 1000 };

clerk_verdict clerk_retry_judge(clerk_retry *retry, const clerk_attempt *attempt, int64_t now_ms,
                                double random) {
  clerk_verdict verdict = {.outcome = CLERK_FAILED};
  retry->attempts++;
  if (attempt->has_response && attempt->judgement == CLERK_SUCCESS)
    return (clerk_verdict){.outcome = CLERK_DONE};
  if (clerk_is_change(retry->operation) && !is_unsent(attempt) && !is_4xx(attempt))
    retry->maybe_applied = true;
  int64_t wait_ms = wait_of(retry, attempt, random);
  if (attempt->has_response && attempt->status == 429)
    verdict.pause_ms = wait_ms < PAUSE_LIMIT_MS ? wait_ms : PAUSE_LIMIT_MS;
  if (!retry->policy.backoff || !is_worth_repeating(&retry->policy, attempt) ||
      !is_safe_to_repeat(retry, attempt) || !clerk_retry_may_wait(retry, wait_ms, now_ms))
    return verdict;
  verdict.outcome = CLERK_AGAIN;
  verdict.wait_ms = wait_ms;
  return verdict;
}
