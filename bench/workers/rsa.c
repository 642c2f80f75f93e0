/*
** Plain RSA, the limit: libcrypto verifies one signature over one digest again and again, as
** `openssl speed rsa2048` does.
*/
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "usage.h"

static void check(int condition, const char *message) {
  if (condition) return;
  fprintf(stderr, "rsa: %s\n", message);
  exit(1);
}

static FILE *open_file(const char *suffix) {
  char path[512];
  const char *body = getenv("BENCH_BODY");
  snprintf(path, sizeof path, "%s.%s", body ? body : "", suffix);
  FILE *file = fopen(path, "rbe");
  check(file != NULL, "no file");
  return file;
}

static void read_bytes(const char *suffix, unsigned char *bytes, size_t length) {
  FILE *file = open_file(suffix);
  check(fread(bytes, 1, length, file) == length, "a short file");
  fclose(file);
}

static EVP_PKEY_CTX *new_verifying(void) {
  FILE *file = open_file("pem");
  EVP_PKEY *key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
  EVP_PKEY_CTX *verifying = EVP_PKEY_CTX_new(key, NULL);
  check(verifying && EVP_PKEY_verify_init(verifying) > 0 &&
            EVP_PKEY_CTX_set_rsa_padding(verifying, RSA_PKCS1_PADDING) > 0 &&
            EVP_PKEY_CTX_set_signature_md(verifying, EVP_sha256()) > 0,
        "no key");
  fclose(file);
  return verifying;
}

int main(void) {
  char line[64];
  unsigned char digest[32], signature[256];
  EVP_PKEY_CTX *verifying = new_verifying();
  read_bytes("digest", digest, sizeof digest);
  read_bytes("signature", signature, sizeof signature);
  while (fgets(line, sizeof line, stdin)) {
    for (long calls = strtol(line, NULL, 10); calls > 0; calls--)
      check(EVP_PKEY_verify(verifying, signature, sizeof signature, digest, sizeof digest) == 1,
            "a bad signature");
    print_usage();
  }
  return 0;
}
