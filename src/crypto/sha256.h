/* SHA-256, by OpenSSL's libcrypto. */
#ifndef CLERK_SHA256_H
#define CLERK_SHA256_H

#include "clerk.h"

enum { CLERK_SHA256_LENGTH = 32 };

/* The SHA-256 of the bytes. CLERK_OK or CLERK_NO_MEMORY. */
clerk_status clerk_sha256(clerk_text bytes, unsigned char digest[CLERK_SHA256_LENGTH]);

#endif
