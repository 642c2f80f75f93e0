/* libcurl's callbacks for what a transfer receives. Internal to src/. */
#ifndef CLERK_RECEIVE_H
#define CLERK_RECEIVE_H

#include "curl.h"

/* CURLOPT_HEADERFUNCTION and CURLOPT_WRITEFUNCTION; `user` is the clerk_easy. */
size_t clerk_receive_head(char *line, size_t one, size_t length, void *user);
size_t clerk_receive_body(char *bytes, size_t one, size_t length, void *user);

#endif
