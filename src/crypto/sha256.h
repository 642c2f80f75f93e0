/* SHA-256, by OpenSSL's libcrypto. */
#ifndef CLERK_SHA256_H
#define CLERK_SHA256_H

#include "clerk.h"

enum { CLERK_SHA256_LENGTH = 32 };

/* Makes one digest after the other, for one thread at a time. Zero it before the first use. */
typedef struct clerk_sha256 {
  void *context; /* private */
} clerk_sha256;

/* Begins a digest, whatever became of the one before. CLERK_OK or CLERK_NO_MEMORY. */
clerk_status clerk_sha256_begin(clerk_sha256 *sha256);

/* Adds bytes to it. CLERK_OK or CLERK_NO_MEMORY. */
clerk_status clerk_sha256_add(clerk_sha256 *sha256, clerk_text bytes);

/* Writes it. CLERK_OK or CLERK_NO_MEMORY. */
clerk_status clerk_sha256_end(clerk_sha256 *sha256, unsigned char digest[CLERK_SHA256_LENGTH]);

/* Frees what it owns and zeroes it; a zeroed one is allowed. */
void clerk_sha256_free(clerk_sha256 *sha256);

#endif
