/*
** RSA signatures that are verified by OpenSSL's libcrypto. No file is read, no passphrase
** is asked for, and OpenSSL's queue of errors is left as it was.
*/
#ifndef CLERK_RSA_H
#define CLERK_RSA_H

#include "clerk.h"
#include "sha256.h"

/* A public RSA key, for one thread at a time. Zero it before the first use. */
typedef struct clerk_rsa_key {
  /* private */
  void *verifying;
  clerk_sha256 sha256;
} clerk_rsa_key;

/*
** Makes a key, which must be zero, of a JWK's `n` and `e` (RFC 7518, 6.3.1): canonical base64url
** without leading zeros; 2048 to 8192 bits; an odd exponent from 65537 to 2^32 - 1, so that what a
** verification costs is bounded. CLERK_OK, and clerk_rsa_key_free ends it; otherwise it stays zero.
*/
clerk_status clerk_rsa_key_init(clerk_rsa_key *key, clerk_text n, clerk_text e,
                                clerk_problem *problem);

/* The same for a PEM text, "BEGIN PUBLIC KEY" or "BEGIN RSA PUBLIC KEY". */
clerk_status clerk_rsa_key_init_pem(clerk_rsa_key *key, clerk_text pem, clerk_problem *problem);

/* Sets `is_valid` to whether `signature` is the key's over `text`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC
** 8017, 8.2). CLERK_OK; or CLERK_NO_MEMORY: the signature was not checked, and `is_valid` is false. */
clerk_status clerk_rsa_key_verify(clerk_rsa_key *key, clerk_text text, clerk_text signature,
                                  bool *is_valid);

/* Frees what the key owns and zeroes it; a zeroed key is allowed. */
void clerk_rsa_key_free(clerk_rsa_key *key);

#endif
