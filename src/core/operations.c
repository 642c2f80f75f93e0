/* The operations of the API: the one table that everything else reads. */
#include <string.h>

#include "clerk.h"

#define ANY INT64_MIN, INT64_MAX

static const char *const order_by_values[] = {"name",        "+name",       "-name", "created_at",
                                              "+created_at", "-created_at", NULL};

static const char *const token_formats[] = {"opaque", "jwt", NULL};

/* clang-format off */ /* whose versions 14 and 19 disagree about these braces */
#define MACHINE_ID \
  { "machine_id", CLERK_PATH, CLERK_MACHINE_ID, CLERK_REQUIRED, ANY, NULL, "The machine's ID." }
#define DEFAULT_TOKEN_TTL                                                                          \
  {                                                                                                \
    "default_token_ttl", CLERK_BODY, CLERK_INTEGER, CLERK_OPTIONAL, 1, 315360000, NULL,            \
        "Seconds that the machine's tokens live, unless a token sets its own lifetime. The API's " \
        "default for a new machine is 3600."                                                       \
  }
/* clang-format on */

const clerk_operation clerk_operations[] = {
    {.name = "list",
     .summary = "List machines, one page at a time",
     .method = "GET",
     .path = "/machines",
     .result = "MachineList",
     .effect = CLERK_READS,
     .members = {{"data", CLERK_MEMBER_ARRAY}},
     .parameters = {{"limit", CLERK_QUERY, CLERK_INTEGER, CLERK_OPTIONAL, 1, 500, NULL,
                     "Largest number of machines to return. The API's default is 10."},
                    {"offset", CLERK_QUERY, CLERK_INTEGER, CLERK_OPTIONAL, 0, INT64_MAX, NULL,
                     "Number of machines to skip. The API's default is 0."},
                    {"query", CLERK_QUERY, CLERK_STRING, CLERK_OPTIONAL, ANY, NULL,
                     "Return only machines with exactly this ID, or with this text in their name."},
                    {"order_by", CLERK_QUERY, CLERK_STRING, CLERK_OPTIONAL, ANY, order_by_values,
                     "Order of the machines; `-` means descending. The API's default is "
                     "`-created_at`, newest first."}}},

    {.name = "create",
     .summary = "Create a machine; the result holds its secret key",
     .method = "POST",
     .path = "/machines",
     .result = "CreatedMachine",
     .effect = CLERK_ADDS,
     .returns_secret = true,
     .members = {{"id", CLERK_MEMBER_STRING}}, /* a missing secret_key can be asked for */
     .parameters = {{"name", CLERK_BODY, CLERK_STRING, CLERK_REQUIRED, 1, 255, NULL,
                     "The machine's name."},
                    {"scoped_machines", CLERK_BODY, CLERK_MACHINE_IDS, CLERK_OPTIONAL, 0, 150, NULL,
                     "IDs of the machines that the new machine may call."},
                    DEFAULT_TOKEN_TTL}},

    {.name = "get",
     .summary = "Get a machine",
     .method = "GET",
     .path = "/machines/{machine_id}",
     .result = "Machine",
     .effect = CLERK_READS,
     .members = {{"id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID}},

    {.name = "update",
     .summary = "Change the name or the token lifetime of a machine",
     .method = "PATCH",
     .path = "/machines/{machine_id}",
     .result = "Machine",
     .effect = CLERK_CHANGES,
     .may_return_204 = true,
     .members = {{"id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"name", CLERK_BODY, CLERK_STRING, CLERK_OPTIONAL, 1, 255, NULL,
                     "The machine's new name."},
                    DEFAULT_TOKEN_TTL}},

    {.name = "delete",
     .summary = "Delete a machine and all scopes from it and to it",
     .method = "DELETE",
     .path = "/machines/{machine_id}",
     .result = "DeletedMachine",
     .effect = CLERK_CHANGES,
     .may_return_204 = true,
     .members = {{"deleted", CLERK_MEMBER_TRUE}},
     .parameters = {MACHINE_ID}},

    {.name = "get_secret_key",
     .summary = "Get the secret key of a machine",
     .method = "GET",
     .path = "/machines/{machine_id}/secret_key",
     .result = "SecretKey",
     .effect = CLERK_READS,
     .returns_secret = true,
     .members = {{"secret", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID}},

    {.name = "rotate_secret_key",
     .summary = "Replace the secret key of a machine; the old key can stay valid for a while",
     .method = "POST",
     .path = "/machines/{machine_id}/secret_key/rotate",
     .result = "SecretKey",
     .effect = CLERK_ADDS,
     .returns_secret = true,
     .members = {{"secret", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"previous_token_ttl", CLERK_BODY, CLERK_INTEGER, CLERK_REQUIRED, 0, 28800,
                     NULL, "Seconds for which the previous key stays valid; 0 ends it at once."}}},

    {.name = "create_scope",
     .summary = "Allow a machine to call another machine",
     .method = "POST",
     .path = "/machines/{machine_id}/scopes",
     .result = "Scope",
     .effect = CLERK_ADDS,
     .may_return_204 = true,
     .members = {{"from_machine_id", CLERK_MEMBER_STRING}, {"to_machine_id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"to_machine_id", CLERK_BODY, CLERK_MACHINE_ID, CLERK_REQUIRED, ANY, NULL,
                     "ID of the machine to call."}}},

    {.name = "delete_scope",
     .summary = "No longer allow a machine to call another machine",
     .method = "DELETE",
     .path = "/machines/{machine_id}/scopes/{other_machine_id}",
     .result = "DeletedScope",
     .effect = CLERK_CHANGES,
     .may_return_204 = true,
     .members = {{"deleted", CLERK_MEMBER_TRUE}},
     .parameters = {MACHINE_ID,
                    {"other_machine_id", CLERK_PATH, CLERK_MACHINE_ID, CLERK_REQUIRED, ANY, NULL,
                     "ID of the machine that it may no longer call."}}},

    {.name = "create_token",
     .summary = "Mint a token with which a machine authenticates itself; the result holds it",
     .method = "POST",
     .path = "/m2m_tokens",
     .result = "CreatedToken",
     .effect = CLERK_ADDS_OR_REUSES,
     .key = CLERK_MACHINE_KEY,
     .returns_secret = true,
     .members = {{"token", CLERK_MEMBER_STRING}},
     .parameters =
         {{"token_format", CLERK_BODY, CLERK_STRING, CLERK_OPTIONAL, ANY, token_formats,
           "What the token is: an opaque string, which the API verifies, or a JWT. The "
           "API's default is `opaque`."},
          {"seconds_until_expiration", CLERK_BODY, CLERK_NUMBER, CLERK_NULLABLE, 0, INT64_MAX, NULL,
           "Lifetime of the token. The API's default is the machine's "
           "`default_token_ttl`; what `null` means is up to the API: see `expiration` of "
           "the result."},
          {"claims", CLERK_BODY, CLERK_ANY_JSON, CLERK_NULLABLE, ANY, NULL,
           "What the token says about its machine: any value that JSON can represent, "
           "usually a table."},
          {"min_remaining_ttl_seconds", CLERK_BODY, CLERK_INTEGER, CLERK_OPTIONAL, 0, INT64_MAX,
           NULL,
           "Return an opaque token that the machine already has, if its claims and scopes "
           "are the same and it lives at least this long. Must be less than the "
           "lifetime."}}},

    {.name = "list_tokens",
     .summary = "List the opaque tokens of a machine, newest first, one page at a time",
     .method = "GET",
     .path = "/m2m_tokens",
     .result = "TokenList",
     .effect = CLERK_READS,
     .key = CLERK_MACHINE_OR_INSTANCE_KEY,
     .members = {{"m2m_tokens", CLERK_MEMBER_ARRAY}},
     .alias = "data", /* a change that Clerk's SDK announces */
     .parameters = {{"subject", CLERK_QUERY, CLERK_MACHINE_ID, CLERK_REQUIRED, ANY, NULL,
                     "ID of the machine whose tokens to list. With a machine's secret key: its own "
                     "ID."},
                    {"revoked", CLERK_QUERY, CLERK_BOOLEAN, CLERK_NULLABLE, ANY, NULL,
                     "Whether to list revoked tokens too. The API's default is false."},
                    {"expired", CLERK_QUERY, CLERK_BOOLEAN, CLERK_NULLABLE, ANY, NULL,
                     "Whether to list expired tokens too. The API's default is false."},
                    {"limit", CLERK_QUERY, CLERK_INTEGER, CLERK_OPTIONAL, 1, 100, NULL,
                     "Largest number of tokens to return. The API's default is 10."},
                    {"offset", CLERK_QUERY, CLERK_INTEGER, CLERK_NULLABLE, 0, INT64_MAX, NULL,
                     "Number of tokens to skip. The API's default is 0."}}},

    {.name = "revoke_token",
     .summary = "Revoke an opaque token; a JWT cannot be revoked",
     .method = "POST",
     .path = "/m2m_tokens/{token_id}/revoke",
     .result = "Token",
     .effect = CLERK_CHANGES,
     .key = CLERK_MACHINE_OR_INSTANCE_KEY,
     .members = {{"revoked", CLERK_MEMBER_TRUE}},
     .parameters = {{"token_id", CLERK_PATH, CLERK_TOKEN_ID, CLERK_REQUIRED, ANY, NULL,
                     "The token's ID, which is not the token."},
                    {"revocation_reason", CLERK_BODY, CLERK_STRING, CLERK_NULLABLE, ANY, NULL,
                     "Why the token is revoked."}}},

    {.name = "verify_token",
     .summary = "Ask the API about a token. With a machine's secret key: whether it is granted to "
                "that machine",
     .method = "POST",
     .path = "/m2m_tokens/verify",
     .result = "Token",
     .effect = CLERK_READS,
     .key = CLERK_MACHINE_OR_INSTANCE_KEY,
     .returns_secret = true, /* a server may repeat the token */
     .members = {{"subject", CLERK_MEMBER_STRING},
                 {"revoked", CLERK_MEMBER_BOOLEAN},
                 {"expired", CLERK_MEMBER_BOOLEAN}},
     .parameters = {{"token", CLERK_BODY, CLERK_SECRET, CLERK_REQUIRED, ANY, NULL,
                     "The token. No error, event or `tostring` shows it."}}},

    {.name = NULL}};

const clerk_operation *clerk_find_operation(const char *name) {
  for (const clerk_operation *op = clerk_operations; op->name; op++)
    if (strcmp(op->name, name) == 0) return op;
  return NULL;
}

int clerk_find_parameter(const clerk_operation *operation, const char *name) {
  for (int i = 0; operation->parameters[i].name; i++)
    if (strcmp(operation->parameters[i].name, name) == 0) return i;
  return -1;
}

bool clerk_takes_body(const clerk_operation *operation) {
  for (int i = 0; operation->parameters[i].name; i++)
    if (operation->parameters[i].place == CLERK_BODY) return true;
  return false;
}

bool clerk_needs_params(const clerk_operation *operation) {
  for (int i = 0; operation->parameters[i].name; i++) {
    const clerk_parameter *parameter = &operation->parameters[i];
    if (parameter->place != CLERK_PATH && parameter->presence == CLERK_REQUIRED) return true;
  }
  return strcmp(operation->method, "PATCH") == 0;
}

bool clerk_is_change(const clerk_operation *operation) {
  return operation->effect != CLERK_READS;
}

static const clerk_value *find_value(const clerk_operation *operation, const clerk_value values[],
                                     const char *name) {
  return &values[clerk_find_parameter(operation, name)];
}

/* Whether the server returns the token of the first request rather than a second one. */
static bool reuses(const clerk_operation *operation, const clerk_value values[]) {
  const clerk_value *format = find_value(operation, values, "token_format");
  bool is_opaque = !format->given || strcmp(format->text.bytes, "opaque") == 0;
  return is_opaque && find_value(operation, values, "min_remaining_ttl_seconds")->given;
}

bool clerk_is_repeatable(const clerk_operation *operation, const clerk_value values[]) {
  switch (operation->effect) {
    case CLERK_READS:
    case CLERK_CHANGES: return true;
    case CLERK_ADDS: return false;
    case CLERK_ADDS_OR_REUSES: return reuses(operation, values);
  }
  return false;
}
