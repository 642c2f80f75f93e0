/* The nine operations of the Machines API: the one table that everything else reads. */
#include <string.h>

#include "clerk.h"

#define ANY INT64_MIN, INT64_MAX

static const char *const order_by_values[] = {"name",        "+name",       "-name", "created_at",
                                              "+created_at", "-created_at", NULL};

#define MACHINE_ID \
  { "machine_id", CLERK_PATH, CLERK_MACHINE_ID, true, ANY, NULL, "The machine's ID." }
#define DEFAULT_TOKEN_TTL                                                                          \
  {                                                                                                \
    "default_token_ttl", CLERK_BODY, CLERK_INTEGER, false, 1, 315360000, NULL,                     \
        "Seconds that the machine's tokens live, unless a token sets its own lifetime. The API's " \
        "default for a new machine is 3600."                                                       \
  }

const clerk_operation clerk_operations[] = {
    {.name = "list",
     .summary = "List machines, one page at a time",
     .method = "GET",
     .path = "/machines",
     .result = "MachineList",
     .members = {{"data", CLERK_MEMBER_ARRAY}},
     .parameters = {{"limit", CLERK_QUERY, CLERK_INTEGER, false, 1, 500, NULL,
                     "Largest number of machines to return. The API's default is 10."},
                    {"offset", CLERK_QUERY, CLERK_INTEGER, false, 0, INT64_MAX, NULL,
                     "Number of machines to skip. The API's default is 0."},
                    {"query", CLERK_QUERY, CLERK_STRING, false, ANY, NULL,
                     "Return only machines with exactly this ID, or with this text in their name."},
                    {"order_by", CLERK_QUERY, CLERK_STRING, false, ANY, order_by_values,
                     "Order of the machines; `-` means descending. The API's default is "
                     "`-created_at`, newest first."}}},

    {.name = "create",
     .summary = "Create a machine; the result holds its secret key",
     .method = "POST",
     .path = "/machines",
     .result = "CreatedMachine",
     .returns_secret = true,
     .members = {{"id", CLERK_MEMBER_STRING}}, /* a missing secret_key can be asked for */
     .parameters = {{"name", CLERK_BODY, CLERK_STRING, true, 1, 255, NULL, "The machine's name."},
                    {"scoped_machines", CLERK_BODY, CLERK_MACHINE_IDS, false, 0, 150, NULL,
                     "IDs of the machines that the new machine may call."},
                    DEFAULT_TOKEN_TTL}},

    {.name = "get",
     .summary = "Get a machine",
     .method = "GET",
     .path = "/machines/{machine_id}",
     .result = "Machine",
     .members = {{"id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID}},

    {.name = "update",
     .summary = "Change the name or the token lifetime of a machine",
     .method = "PATCH",
     .path = "/machines/{machine_id}",
     .result = "Machine",
     .may_return_204 = true,
     .members = {{"id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"name", CLERK_BODY, CLERK_STRING, false, 1, 255, NULL,
                     "The machine's new name."},
                    DEFAULT_TOKEN_TTL}},

    {.name = "delete",
     .summary = "Delete a machine and all scopes from it and to it",
     .method = "DELETE",
     .path = "/machines/{machine_id}",
     .result = "DeletedMachine",
     .may_return_204 = true,
     .members = {{"deleted", CLERK_MEMBER_TRUE}},
     .parameters = {MACHINE_ID}},

    {.name = "get_secret_key",
     .summary = "Get the secret key of a machine",
     .method = "GET",
     .path = "/machines/{machine_id}/secret_key",
     .result = "SecretKey",
     .returns_secret = true,
     .members = {{"secret", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID}},

    {.name = "rotate_secret_key",
     .summary = "Replace the secret key of a machine; the old key can stay valid for a while",
     .method = "POST",
     .path = "/machines/{machine_id}/secret_key/rotate",
     .result = "SecretKey",
     .returns_secret = true,
     .members = {{"secret", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"previous_token_ttl", CLERK_BODY, CLERK_INTEGER, true, 0, 28800, NULL,
                     "Seconds for which the previous key stays valid; 0 ends it at once."}}},

    {.name = "create_scope",
     .summary = "Allow a machine to call another machine",
     .method = "POST",
     .path = "/machines/{machine_id}/scopes",
     .result = "Scope",
     .may_return_204 = true,
     .members = {{"from_machine_id", CLERK_MEMBER_STRING}, {"to_machine_id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"to_machine_id", CLERK_BODY, CLERK_MACHINE_ID, true, ANY, NULL,
                     "ID of the machine to call."}}},

    {.name = "delete_scope",
     .summary = "No longer allow a machine to call another machine",
     .method = "DELETE",
     .path = "/machines/{machine_id}/scopes/{other_machine_id}",
     .result = "DeletedScope",
     .may_return_204 = true,
     .members = {{"deleted", CLERK_MEMBER_TRUE}},
     .parameters = {MACHINE_ID,
                    {"other_machine_id", CLERK_PATH, CLERK_MACHINE_ID, true, ANY, NULL,
                     "ID of the machine that it may no longer call."}}},

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

bool clerk_is_change(const clerk_operation *operation) {
  return strcmp(operation->method, "GET") != 0;
}
