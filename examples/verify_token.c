/*
** Verifies a machine's JWT in C, without Lua and offline: the core reads and judges it; the signature
** is verified by OpenSSL, and any other RS256 would do as well. With an installed library:
**
**   cc -o verify_token verify_token.c $(pkg-config --cflags --libs clerk-crypto)
**
** From the checkout:
**
**   cc -Isrc/core -Isrc/crypto -o verify_token examples/verify_token.c \
**     src/core/[!v]*.c src/crypto/[a-z]*.c \
**     $(pkg-config --cflags --libs libcjson libcrypto) -lm
**   ./verify_token key.pem mch_… mch_… <token
**
** The key is the instance's public one, from the Dashboard's page of API keys; the machines are those
** that may call. Exit status: 0 let in, 1 refused, 2 wrong usage, 3 could not tell.
*/
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clerk.h"
#include "rsa.h"

enum { LET_IN, REFUSED, MISUSED, UNKNOWN };

enum { SKEW_MS = 5000 }; /* by which clocks may differ */

static int misuse(const char *message) {
  fprintf(stderr, "verify_token: %s\n", message);
  return MISUSED;
}

static int refuse(const clerk_refusal *refusal) {
  fprintf(stderr, "verify_token: %s: %s\n", clerk_refusal_name(refusal->code), refusal->message);
  return REFUSED;
}

/* Not a refusal: a server answers 503 instead of 401. */
static int give_up(void) {
  fprintf(stderr, "verify_token: out of memory\n");
  return UNKNOWN;
}

/* ------------------------------------------------------------------ what the core does not do */

static int64_t unix_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What a file holds, up to the size of the buffer. */
static clerk_text read_all(FILE *file, char *buffer, size_t size) {
  return (clerk_text){buffer, fread(buffer, 1, size, file)};
}

static clerk_status read_key(const char *path, clerk_rsa_key *key, clerk_problem *problem) {
  char pem[16 * 1024];
  FILE *file = fopen(path, "rb");
  if (!file) {
    snprintf(problem->message, sizeof problem->message, "the key's file cannot be read");
    return CLERK_REFUSED;
  }
  clerk_status status = clerk_rsa_key_init_pem(key, read_all(file, pem, sizeof pem), problem);
  fclose(file);
  return status;
}

static clerk_text without_newline(clerk_text line) {
  if (line.length > 0 && line.bytes[line.length - 1] == '\n') line.length--;
  return line;
}

/* ------------------------------------------------------------------ the verification */

/* In this order: no claim is looked at before the signature is verified. */
static int verify(clerk_rsa_key *key, clerk_text token, char *memory, clerk_claims *claims,
                  clerk_refusal *refusal) {
  clerk_jwt jwt;
  bool is_valid;
  if (!clerk_jwt_read(&jwt, token, memory, refusal)) return REFUSED;
  if (clerk_rsa_key_verify(key, jwt.signed_text, jwt.signature, &is_valid) != CLERK_OK)
    return UNKNOWN;
  if (!is_valid) {
    *refusal = (clerk_refusal){CLERK_REFUSAL_SIGNATURE, "the signature is not by this key"};
    return REFUSED;
  }
  bool is_good = clerk_jwt_judge(&jwt, unix_ms(), SKEW_MS, claims, refusal);
  return is_good ? LET_IN : REFUSED;
}

static bool is_caller(clerk_text subject, char **callers) {
  while (*callers && strcmp(*callers, subject.bytes) != 0) callers++;
  return *callers != NULL;
}

static int decide(clerk_rsa_key *key, char **callers) {
  char input[CLERK_JWT_MAX + 2]; /* what is longer does not fit, and is refused */
  char memory[2 * CLERK_JWT_MAX];
  clerk_claims claims;
  clerk_refusal refusal = {CLERK_REFUSAL_NOT_GRANTED, "this machine may not call"};
  clerk_text token = without_newline(read_all(stdin, input, sizeof input));
  int result = verify(key, token, memory, &claims, &refusal);
  if (result == UNKNOWN) return give_up();
  if (result == REFUSED) return refuse(&refusal);
  if (!is_caller(claims.subject, callers)) return refuse(&refusal);
  printf("%s\n", claims.subject.bytes);
  return LET_IN;
}

int main(int argc, char **argv) {
  clerk_rsa_key key = {0};
  clerk_problem problem;
  if (argc < 3) return misuse("usage: verify_token KEY_FILE MACHINE_ID... <TOKEN");
  clerk_status status = read_key(argv[1], &key, &problem);
  if (status == CLERK_NO_MEMORY) return give_up();
  if (status != CLERK_OK) return misuse(problem.message);
  int result = decide(&key, argv + 2);
  clerk_rsa_key_free(&key);
  return result;
}
