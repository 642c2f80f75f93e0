/* The table of failures: why there is no complete response. */
#include <string.h>

#include "clerk.h"

static const struct {
  const char *name;
  bool is_repeatable;
  const char *summary;
} failures[] = {
    [CLERK_DNS_FAILED] = {"dns_failed", true, "The name of the host could not be resolved."},
    [CLERK_CONNECT_FAILED] = {"connect_failed", true, "No connection to the host could be made."},
    [CLERK_CONNECTION_LOST] = {"connection_lost", true,
                               "The connection ended before the response was complete."},
    [CLERK_TIMEOUT] = {"timeout", true,
                       "The attempt took longer than `timeout_ms` or `connect_timeout_ms`, or the "
                       "call longer than `deadline_ms`."},
    [CLERK_RATE_LIMITED] =
        {"rate_limited", false,
         "Not sent: the client pauses after a 429, and the call cannot wait that long."},
    [CLERK_TLS_FAILED] =
        {"tls_failed", false,
         "The TLS handshake failed, or the certificate of the server is not trusted."},
    [CLERK_RESPONSE_TOO_LARGE] = {"response_too_large", false,
                                  "The response is larger than `max_response_bytes`."},
    [CLERK_BAD_RESPONSE] = {"bad_response", false,
                            "The response is not valid HTTP, or was damaged on the way."},
    [CLERK_CANCELLED] = {"cancelled", false, "The task was cancelled."},
    [CLERK_NO_RESOURCES] = {"no_resources", false,
                            "The process has run out of file descriptors or memory."},
};

static const size_t failure_count = sizeof failures / sizeof *failures;

const char *clerk_failure_name(clerk_failure failure) {
  return failure < failure_count ? failures[failure].name : NULL;
}

const char *clerk_failure_summary(clerk_failure failure) {
  return failure < failure_count ? failures[failure].summary : NULL;
}

bool clerk_failure_is_repeatable(clerk_failure failure) {
  return failures[failure].is_repeatable;
}

bool clerk_find_failure(const char *name, clerk_failure *failure) {
  for (size_t i = 0; i < failure_count; i++) {
    if (strcmp(failures[i].name, name) != 0) continue;
    *failure = (clerk_failure)i;
    return true;
  }
  return false;
}
