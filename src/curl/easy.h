/* libcurl's easy handles: set up for a transfer. Internal to src/. */
#ifndef CLERK_EASY_H
#define CLERK_EASY_H

#include "curl.h"

/* A handle with the options that all transfers of `curl` share; NULL when out of memory. */
CURL *clerk_easy_new(clerk_curl *curl);

/* Sets the options of one transfer. False when out of memory: the handle must not be used then. */
bool clerk_easy_set(CURL *easy, clerk_curl *curl, clerk_transfer *transfer,
                    const clerk_curl_request *request);

/* Whether the transfer has met a kept connection that is not fit for use, and may start again: it
** then gets a new one. */
bool clerk_easy_renew(clerk_transfer *transfer);

/* Clears what libcurl may still read of the transfer; clerk_easy_set replaces the rest. */
void clerk_easy_forget(CURL *easy);

/* Wipes and frees the header lines of a transfer. */
void clerk_easy_free_header_lines(clerk_transfer *transfer);

#endif
