/* SHA-256, by OpenSSL's EVP interface. */
#include "sha256.h"

#include <openssl/err.h>
#include <openssl/evp.h>

clerk_status clerk_sha256(clerk_text bytes, unsigned char digest[CLERK_SHA256_LENGTH]) {
  ERR_set_mark();
  bool is_done = EVP_Digest(bytes.bytes, bytes.length, digest, NULL, EVP_sha256(), NULL) == 1;
  ERR_pop_to_mark();
  return is_done ? CLERK_OK : CLERK_NO_MEMORY;
}
