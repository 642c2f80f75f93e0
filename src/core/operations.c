/* The nine operations of the Machines API: the one table that everything else reads. */
#include <string.h>

#include "clerk.h"

#define ANY INT64_MIN, INT64_MAX

static const char *const order_by_values[] = {"name",        "+name",       "-name", "created_at",
                                              "+created_at", "-created_at", NULL};

#define MACHINE_ID \
  { "machine_id", CLERK_PATH, CLERK_MACHINE_ID, true, ANY, NULL }
#define DEFAULT_TOKEN_TTL \
  { "default_token_ttl", CLERK_BODY, CLERK_INTEGER, false, 1, 315360000, NULL }

const clerk_operation clerk_operations[] = {
    {.name = "list",
     .summary = "List the machines, newest first",
     .method = "GET",
     .path = "/machines",
     .members = {{"data", CLERK_MEMBER_ARRAY}},
     .parameters = {{"limit", CLERK_QUERY, CLERK_INTEGER, false, 1, 500, NULL},
                    {"offset", CLERK_QUERY, CLERK_INTEGER, false, 0, INT64_MAX, NULL},
                    {"query", CLERK_QUERY, CLERK_STRING, false, ANY, NULL},
                    {"order_by", CLERK_QUERY, CLERK_STRING, false, ANY, order_by_values}}},

    {.name = "create",
     .summary = "Create a machine; the answer holds its secret key",
     .method = "POST",
     .path = "/machines",
     .answers_secret = true,
     .members = {{"id", CLERK_MEMBER_STRING}}, /* a missing secret_key can be asked for */
     .parameters = {{"name", CLERK_BODY, CLERK_STRING, true, 1, 255, NULL},
                    {"scoped_machines", CLERK_BODY, CLERK_MACHINE_IDS, false, 0, 150, NULL},
                    DEFAULT_TOKEN_TTL}},

    {.name = "get",
     .summary = "Get a machine",
     .method = "GET",
     .path = "/machines/{machine_id}",
     .members = {{"id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID}},

    {.name = "update",
     .summary = "Change the given fields of a machine",
     .method = "PATCH",
     .path = "/machines/{machine_id}",
     .may_answer_204 = true,
     .members = {{"id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"name", CLERK_BODY, CLERK_STRING, false, 1, 255, NULL},
                    DEFAULT_TOKEN_TTL}},

    {.name = "delete",
     .summary = "Delete a machine and every scope that names it",
     .method = "DELETE",
     .path = "/machines/{machine_id}",
     .may_answer_204 = true,
     .members = {{"deleted", CLERK_MEMBER_TRUE}},
     .parameters = {MACHINE_ID}},

    {.name = "get_secret_key",
     .summary = "Get a machine's secret key",
     .method = "GET",
     .path = "/machines/{machine_id}/secret_key",
     .answers_secret = true,
     .members = {{"secret", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID}},

    {.name = "rotate_secret_key",
     .summary = "Give a machine a new secret key; the old one may overlap",
     .method = "POST",
     .path = "/machines/{machine_id}/secret_key/rotate",
     .answers_secret = true,
     .members = {{"secret", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID,
                    {"previous_token_ttl", CLERK_BODY, CLERK_INTEGER, true, 0, 28800, NULL}}},

    {.name = "create_scope",
     .summary = "Allow a machine to call another one",
     .method = "POST",
     .path = "/machines/{machine_id}/scopes",
     .may_answer_204 = true,
     .members = {{"from_machine_id", CLERK_MEMBER_STRING}, {"to_machine_id", CLERK_MEMBER_STRING}},
     .parameters = {MACHINE_ID, {"to_machine_id", CLERK_BODY, CLERK_MACHINE_ID, true, ANY, NULL}}},

    {.name = "delete_scope",
     .summary = "No longer allow a machine to call another one",
     .method = "DELETE",
     .path = "/machines/{machine_id}/scopes/{other_machine_id}",
     .may_answer_204 = true,
     .members = {{"deleted", CLERK_MEMBER_TRUE}},
     .parameters = {MACHINE_ID,
                    {"other_machine_id", CLERK_PATH, CLERK_MACHINE_ID, true, ANY, NULL}}},

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
