/* libcurl's easy handles: set up for a transfer. Internal to src/. */
#ifndef CLERK_EASY_H
#define CLERK_EASY_H

#include "curl.h"

/* An easy handle, and what its callbacks need. */
struct clerk_easy {
  CURL *handle;
  clerk_transfer *transfer; /* the one that uses it */
  bool is_direct;           /* it uses no proxy */
  long timeout_ms;          /* these three as in clerk_curl_request: the options that are set */
  long connect_timeout_ms;
  size_t max_response_bytes;
  clerk_easy *next; /* in a list of idle ones */
  char error[CURL_ERROR_SIZE];
};

/* One with the options that all transfers of `curl` share; NULL when out of memory. */
clerk_easy *clerk_easy_new(clerk_curl *curl);

/* NULL is allowed. */
void clerk_easy_free(clerk_easy *easy);

/* Sets the options of one transfer. False when out of memory: it must not be used then. */
bool clerk_easy_set(clerk_easy *easy, clerk_curl *curl, clerk_transfer *transfer,
                    const clerk_curl_request *request);

/* Whether the transfer has met a kept connection that is not fit for use, and may start again: it
** then gets a new one. */
bool clerk_easy_renew(clerk_transfer *transfer);

/* Clears what libcurl may still read of the transfer; clerk_easy_set replaces the rest. */
void clerk_easy_forget(clerk_easy *easy);

/* Wipes and frees the header lines of a transfer. */
void clerk_easy_free_header_lines(clerk_transfer *transfer);

#endif
