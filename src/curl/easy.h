/* libcurl's easy handles: how one is set up for a transfer, and what it tells. Internal to src/. */
#ifndef CLERK_EASY_H
#define CLERK_EASY_H

#include "curl.h"

#define CLERK_NO_DESCRIPTOR \
  "the process has no file descriptor left: close some, or raise ulimit -n"

/* Whether so few descriptors are left that libcurl cannot look up a name or start. */
bool clerk_easy_descriptors_are_scarce(void);

/* A handle with all that is the same in every transfer of `curl`; NULL when there is no memory. */
CURL *clerk_easy_new(clerk_curl *curl);

/* Sets what a transfer has of its own. False when there is no memory: then it must not be used. */
bool clerk_easy_set(CURL *easy, const clerk_curl *curl, clerk_transfer *transfer,
                    const clerk_curl_request *request);

/* Whether the transfer has met a kept connection that is not fit for use, and may start again: it
** then gets a new one. */
bool clerk_easy_renew(clerk_transfer *transfer);

/* Has the handle know nothing of its transfer any more. */
void clerk_easy_forget(CURL *easy);

/* Wipes and frees the header lines of a transfer. */
void clerk_easy_free_lines(clerk_transfer *transfer);

/* Writes the public members of a transfer that libcurl has ended with this code. */
void clerk_easy_conclude(clerk_transfer *transfer, CURLcode code);

#endif
