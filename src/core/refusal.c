/* The table of refusals: why a token must not be accepted. */
#include "clerk.h"

static const struct {
  const char *name, *summary;
} refusals[] = {
    [CLERK_REFUSAL_MALFORMED] = {"token_malformed", "The token is not well-formed."},
    [CLERK_REFUSAL_TYPE] =
        {"token_type_refused",
         "The token is not a machine's (a session's, an OAuth token), or its header asks for what "
         "is not supported."},
    [CLERK_REFUSAL_ALGORITHM] = {"token_algorithm_refused",
                                 "The token is not signed with RS256, which is the only algorithm "
                                 "that is accepted."},
    [CLERK_REFUSAL_KEY_UNKNOWN] = {"token_key_unknown",
                                   "The token names a key that the instance does not have."},
    [CLERK_REFUSAL_SIGNATURE] = {"token_signature_invalid",
                                 "The token's signature is not by the instance's key."},
    [CLERK_REFUSAL_EXPIRED] = {"token_expired", "The token has expired."},
    [CLERK_REFUSAL_NOT_ACTIVE] = {"token_not_active", "The token is not valid yet."},
    [CLERK_REFUSAL_REVOKED] = {"token_revoked", "The token was revoked."},
    [CLERK_REFUSAL_UNKNOWN] =
        {"token_unknown",
         "The API does not know the token, or does not let the machine that asks know it."},
    [CLERK_REFUSAL_NOT_GRANTED] = {"token_not_granted",
                                   "The token is good, but not for this receiver."},
};

static const size_t refusal_count = sizeof refusals / sizeof *refusals;

const char *clerk_refusal_name(clerk_refusal_code code) {
  return code < refusal_count ? refusals[code].name : NULL;
}

const char *clerk_refusal_summary(clerk_refusal_code code) {
  return code < refusal_count ? refusals[code].summary : NULL;
}
