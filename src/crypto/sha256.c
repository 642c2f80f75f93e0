/* SHA-256, by OpenSSL's EVP interface. */
#include "sha256.h"

#include <openssl/err.h>
#include <openssl/evp.h>

/* Ends what ERR_set_mark began. */
static clerk_status status_of(bool is_done) {
  ERR_pop_to_mark();
  return is_done ? CLERK_OK : CLERK_NO_MEMORY;
}

/* The algorithm is looked up once, since this costs more than a short digest. */
static bool is_ready(clerk_sha256 *sha256) {
  if (sha256->context) return EVP_DigestInit_ex2(sha256->context, NULL, NULL) == 1;
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  if (context && EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1)
    sha256->context = context;
  else
    EVP_MD_CTX_free(context);
  return sha256->context != NULL;
}

clerk_status clerk_sha256_begin(clerk_sha256 *sha256) {
  ERR_set_mark();
  return status_of(is_ready(sha256));
}

clerk_status clerk_sha256_add(clerk_sha256 *sha256, clerk_text bytes) {
  ERR_set_mark();
  return status_of(EVP_DigestUpdate(sha256->context, bytes.bytes, bytes.length) == 1);
}

clerk_status clerk_sha256_end(clerk_sha256 *sha256, unsigned char digest[CLERK_SHA256_LENGTH]) {
  ERR_set_mark();
  return status_of(EVP_DigestFinal_ex(sha256->context, digest, NULL) == 1);
}

void clerk_sha256_free(clerk_sha256 *sha256) {
  EVP_MD_CTX_free(sha256->context);
  *sha256 = (clerk_sha256){0};
}
