/* Which certificate authorities are trusted: the system's, and those that a caller adds. Internal
** to src/. */
#ifndef CLERK_CERTIFICATES_H
#define CLERK_CERTIFICATES_H

#include <curl/curl.h>

#include "clerk.h"
#include "clerk_memory.h"

/* Zero it before clerk_certificates_choose; clerk_certificates_free ends it. */
typedef struct clerk_certificates {
  const char *directory; /* static */
  char *file;
  clerk_buffer bundle; /* the system's and the caller's, when there is no directory */
} clerk_certificates;

/*
** Finds the system's and adds those of the PEM file `ca_file`, unless it is NULL. CLERK_OK,
** CLERK_REFUSED when the file cannot be read, or CLERK_NO_MEMORY; then there is nothing to free.
*/
clerk_status clerk_certificates_choose(clerk_certificates *certificates, const char *ca_file,
                                       clerk_problem *problem);

/* Makes a handle trust them, as long as they live. False when out of memory. */
bool clerk_certificates_set(const clerk_certificates *certificates, CURL *easy);

void clerk_certificates_free(clerk_certificates *certificates);

#endif
