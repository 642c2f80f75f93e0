/* RSA public keys and their signatures, by OpenSSL's EVP interface. */
#include "rsa.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base64url.h"
#include "problem.h"

enum { BITS_MIN = 2048, BITS_MAX = 8192, EXPONENT_MIN = 65537, EXPONENT_BITS_MAX = 32 };
enum { PEM_MAX = 16 * 1024 };

/* ------------------------------------------------------------------ OpenSSL's queue of errors */

/* Begins to note OpenSSL's errors. Returns whether there are none yet. */
static bool note_errors(void) {
  ERR_set_mark();
  return ERR_peek_error() == 0;
}

/* Forgets the errors since note_errors, which returned `were_none`. Returns whether memory was out. When there
** were others before, that cannot be seen: only the oldest error can be taken from the queue. */
static bool end_errors(bool were_none) {
  bool is_out_of_memory = false;
  for (unsigned long error = were_none ? ERR_get_error() : 0; error; error = ERR_get_error())
    is_out_of_memory |= ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
  ERR_pop_to_mark();
  return is_out_of_memory;
}

/* ------------------------------------------------------------------ keys */

/* A public key of these numbers; NULL when out of memory. */
static EVP_PKEY *new_public_key(const BIGNUM *n, const BIGNUM *e) {
  EVP_PKEY *public_key = NULL;
  OSSL_PARAM *params = NULL;
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
  if (builder && maker && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) &&
      OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
    params = OSSL_PARAM_BLD_to_param(builder);
  if (params && EVP_PKEY_fromdata_init(maker) > 0)
    EVP_PKEY_fromdata(maker, &public_key, EVP_PKEY_PUBLIC_KEY, params);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  EVP_PKEY_CTX_free(maker);
  return public_key;
}

/* Made ready once, since this costs more than it seems: each verification uses it again. */
static EVP_PKEY_CTX *new_verifying(EVP_PKEY *public_key) {
  EVP_PKEY_CTX *verifying = public_key ? EVP_PKEY_CTX_new_from_pkey(NULL, public_key, NULL) : NULL;
  if (verifying && EVP_PKEY_verify_init(verifying) > 0 &&
      EVP_PKEY_CTX_set_rsa_padding(verifying, RSA_PKCS1_PADDING) > 0 &&
      EVP_PKEY_CTX_set_signature_md(verifying, EVP_sha256()) > 0)
    return verifying;
  EVP_PKEY_CTX_free(verifying);
  return NULL;
}

static clerk_status check_numbers(const BIGNUM *n, const BIGNUM *e, clerk_problem *problem) {
  if (BN_num_bits(n) < BITS_MIN || BN_num_bits(n) > BITS_MAX)
    return clerk_refuse(problem, "the RSA key must have 2048 to 8192 bits");
  if (!BN_is_odd(n)) return clerk_refuse(problem, "the RSA key's modulus must be odd");
  if (!BN_is_odd(e) || BN_num_bits(e) > EXPONENT_BITS_MAX || BN_get_word(e) < EXPONENT_MIN)
    return clerk_refuse(problem, "the RSA key's exponent must be odd, and from 65537 to 2^32 - 1");
  return CLERK_OK;
}

static clerk_status make_key(clerk_rsa_key *key, const BIGNUM *n, const BIGNUM *e,
                             clerk_problem *problem) {
  clerk_status status = check_numbers(n, e, problem);
  if (status != CLERK_OK) return status;
  EVP_PKEY *public_key = new_public_key(n, e);
  key->verifying = new_verifying(public_key);
  EVP_PKEY_free(public_key);
  return key->verifying ? CLERK_OK : CLERK_NO_MEMORY;
}

void clerk_rsa_key_free(clerk_rsa_key *key) {
  EVP_PKEY_CTX_free(key->verifying);
  clerk_sha256_free(&key->sha256);
  *key = (clerk_rsa_key){0};
}

/* ------------------------------------------------------------------ JWK */

/* The text of a number that is at most as long as the longest modulus. */
enum { NUMBER_MAX = BITS_MAX / 8, NUMBER_TEXT_MAX = (NUMBER_MAX * 4 + 2) / 3 };

/* RFC 7518, 2: big-endian, in as few bytes as it takes. */
static clerk_status read_number(clerk_text text, const char *message, BIGNUM **number,
                                clerk_problem *problem) {
  char bytes[NUMBER_MAX];
  clerk_text decoded;
  if (text.length > NUMBER_TEXT_MAX || !clerk_base64url_decode(text, bytes, &decoded) ||
      decoded.length == 0 || *decoded.bytes == '\0')
    return clerk_refuse(problem, "%s", message);
  *number = BN_bin2bn((const unsigned char *)decoded.bytes, (int)decoded.length, NULL);
  return *number ? CLERK_OK : CLERK_NO_MEMORY;
}

clerk_status clerk_rsa_key_init(clerk_rsa_key *key, clerk_text n, clerk_text e,
                                clerk_problem *problem) {
  BIGNUM *modulus = NULL, *exponent = NULL;
  ERR_set_mark();
  clerk_status status =
      read_number(n, "the RSA key's n is not a number of at most 8192 bits", &modulus, problem);
  if (status == CLERK_OK)
    status = read_number(e, "the RSA key's e is not a number", &exponent, problem);
  if (status == CLERK_OK) status = make_key(key, modulus, exponent, problem);
  BN_free(modulus);
  BN_free(exponent);
  ERR_pop_to_mark();
  return status;
}

/* ------------------------------------------------------------------ PEM */

/* The key in the DER of a PEM block with this label; NULL when it is not a public RSA key's. */
static EVP_PKEY *decode_key(const char *label, const unsigned char *der, long length) {
  const unsigned char *at = der;
  EVP_PKEY *found = NULL;
  if (strcmp(label, PEM_STRING_PUBLIC) == 0) found = d2i_PUBKEY(NULL, &at, length);
  if (strcmp(label, PEM_STRING_RSA_PUBLIC) == 0)
    found = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, length);
  if (found && at == der + length && EVP_PKEY_is_a(found, "RSA")) return found;
  EVP_PKEY_free(found);
  return NULL;
}

/* Taken apart by hand: OpenSSL's own readers may ask for a pass phrase. */
static EVP_PKEY *read_pem(clerk_text pem) {
  char *label = NULL, *headers = NULL;
  unsigned char *der = NULL;
  long length = 0;
  EVP_PKEY *found = NULL;
  BIO *input = pem.length <= PEM_MAX ? BIO_new_mem_buf(pem.bytes, (int)pem.length) : NULL;
  if (input && PEM_read_bio(input, &label, &headers, &der, &length))
    found = decode_key(label, der, length);
  OPENSSL_free(label);
  OPENSSL_free(headers);
  OPENSSL_clear_free(der, (size_t)length); /* perhaps a private key, by mistake */
  BIO_free(input);
  return found;
}

/* The same key as one of its numbers, so that one set of rules holds. */
static clerk_status copy_key(clerk_rsa_key *key, const EVP_PKEY *found, clerk_problem *problem) {
  BIGNUM *n = NULL, *e = NULL;
  bool has_both = EVP_PKEY_get_bn_param(found, OSSL_PKEY_PARAM_RSA_N, &n) &&
                  EVP_PKEY_get_bn_param(found, OSSL_PKEY_PARAM_RSA_E, &e);
  clerk_status status = has_both ? make_key(key, n, e, problem) : CLERK_NO_MEMORY;
  BN_free(n);
  BN_free(e);
  return status;
}

static clerk_status init_pem(clerk_rsa_key *key, clerk_text pem, clerk_problem *problem) {
  EVP_PKEY *found = read_pem(pem);
  if (!found)
    return clerk_refuse(problem,
                        "the key must be the PEM text of a public RSA key, which begins with "
                        "-----BEGIN PUBLIC KEY-----");
  clerk_status status = copy_key(key, found, problem);
  EVP_PKEY_free(found);
  return status;
}

clerk_status clerk_rsa_key_init_pem(clerk_rsa_key *key, clerk_text pem, clerk_problem *problem) {
  bool were_none = note_errors();
  clerk_status status = init_pem(key, pem, problem);
  bool is_out_of_memory = end_errors(were_none);
  return status == CLERK_REFUSED && is_out_of_memory ? CLERK_NO_MEMORY : status;
}

/* ------------------------------------------------------------------ signatures */

static clerk_status digest_of(clerk_sha256 *sha256, clerk_text text,
                              unsigned char digest[CLERK_SHA256_LENGTH]) {
  clerk_status status = clerk_sha256_begin(sha256);
  if (status == CLERK_OK) status = clerk_sha256_add(sha256, text);
  return status == CLERK_OK ? clerk_sha256_end(sha256, digest) : status;
}

/* OpenSSL says 0 of a bad signature, and also when out of memory. */
clerk_status clerk_rsa_key_verify(clerk_rsa_key *key, clerk_text text, clerk_text signature,
                                  bool *is_valid) {
  unsigned char digest[CLERK_SHA256_LENGTH];
  *is_valid = false;
  if (digest_of(&key->sha256, text, digest) != CLERK_OK) return CLERK_NO_MEMORY;
  bool were_none = note_errors();
  int result = EVP_PKEY_verify(key->verifying, (const unsigned char *)signature.bytes,
                               signature.length, digest, sizeof digest);
  *is_valid = result == 1;
  bool is_unknown = end_errors(were_none) || result < 0;
  return is_unknown && !*is_valid ? CLERK_NO_MEMORY : CLERK_OK;
}
