/* The nine operations of the Machines API: the one table that everything else reads. */
#include <string.h>

#include "clerk.h"

#define ANY INT64_MIN, INT64_MAX

static const char *const order_by_values[] = {
    "name", "+name", "-name", "created_at", "+created_at", "-created_at", NULL};

#define MACHINE_ID {"machine_id", CLERK_PATH, CLERK_MACHINE_ID, true, ANY, NULL}
#define DEFAULT_TOKEN_TTL \
  {"default_token_ttl", CLERK_BODY, CLERK_INTEGER, false, 1, 315360000, NULL}

const clerk_operation clerk_operations[] = {
    {"list", "List the machines, newest first", "GET", "/machines", true, false,
     {{"limit", CLERK_QUERY, CLERK_INTEGER, false, 1, 500, NULL},
      {"offset", CLERK_QUERY, CLERK_INTEGER, false, 0, INT64_MAX, NULL},
      {"query", CLERK_QUERY, CLERK_STRING, false, ANY, NULL},
      {"order_by", CLERK_QUERY, CLERK_STRING, false, ANY, order_by_values}}},

    {"create", "Create a machine; the answer holds its secret key", "POST", "/machines", false, true,
     {{"name", CLERK_BODY, CLERK_STRING, true, 1, 255, NULL},
      {"scoped_machines", CLERK_BODY, CLERK_MACHINE_IDS, false, 0, 150, NULL},
      DEFAULT_TOKEN_TTL}},

    {"get", "Get a machine", "GET", "/machines/{machine_id}", false, false, {MACHINE_ID}},

    {"update", "Change the given fields of a machine", "PATCH", "/machines/{machine_id}", false,
     false,
     {MACHINE_ID, {"name", CLERK_BODY, CLERK_STRING, false, 1, 255, NULL}, DEFAULT_TOKEN_TTL}},

    {"delete", "Delete a machine and every scope that names it", "DELETE",
     "/machines/{machine_id}", false, false, {MACHINE_ID}},

    {"get_secret_key", "Get a machine's secret key", "GET", "/machines/{machine_id}/secret_key",
     false, true, {MACHINE_ID}},

    {"rotate_secret_key", "Give a machine a new secret key", "POST",
     "/machines/{machine_id}/secret_key/rotate", false, true,
     {MACHINE_ID, {"previous_token_ttl", CLERK_BODY, CLERK_INTEGER, true, 0, 28800, NULL}}},

    {"create_scope", "Allow a machine to call another one", "POST",
     "/machines/{machine_id}/scopes", false, false,
     {MACHINE_ID, {"to_machine_id", CLERK_BODY, CLERK_MACHINE_ID, true, ANY, NULL}}},

    {"delete_scope", "No longer allow a machine to call another one", "DELETE",
     "/machines/{machine_id}/scopes/{other_machine_id}", false, false,
     {MACHINE_ID, {"other_machine_id", CLERK_PATH, CLERK_MACHINE_ID, true, ANY, NULL}}},

    {0}};

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

bool clerk_is_change(const clerk_operation *operation) {
  return strcmp(operation->method, "GET") != 0;
}
