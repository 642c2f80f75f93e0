/* Responses: what a status and the shape of a body mean. */
#include "clerk.h"

static const clerk_member api_errors = {"errors", CLERK_MEMBER_ARRAY};

/* The member of interest that the key names, or NULL. */
static const clerk_member *find_member(const clerk_shape *shape, const clerk_reader *reader) {
  const clerk_operation *operation = shape->operation;
  if (clerk_reader_equals(reader, api_errors.name)) return &api_errors;
  if (operation->alias && clerk_reader_equals(reader, operation->alias)) return operation->members;
  for (const clerk_member *member = operation->members; member->name; member++)
    if (clerk_reader_equals(reader, member->name)) return member;
  return NULL;
}

static bool is_of_kind(clerk_member_kind kind, const clerk_reader *reader, clerk_json_token token) {
  switch (kind) {
    case CLERK_MEMBER_STRING: return token == CLERK_JSON_STRING && reader->string.length > 0;
    case CLERK_MEMBER_ARRAY: return token == CLERK_JSON_ARRAY;
    case CLERK_MEMBER_BOOLEAN: return token == CLERK_JSON_TRUE || token == CLERK_JSON_FALSE;
    case CLERK_MEMBER_TRUE: return token == CLERK_JSON_TRUE;
  }
  return false;
}

/* If a key is repeated, the last one counts, as in the value that the caller gets. */
static void note_value(clerk_shape *shape, const clerk_reader *reader, clerk_json_token token) {
  const clerk_member *member = shape->pending;
  bool is_fit = is_of_kind(member->kind, reader, token);
  if (member == &api_errors)
    shape->has_errors = is_fit;
  else
    shape->has_member[member - shape->operation->members] = is_fit;
  shape->pending = NULL;
}

void clerk_shape_note(clerk_shape *shape, const clerk_reader *reader, clerk_json_token token) {
  if (token == CLERK_JSON_END) shape->is_complete = true;
  if (shape->pending) note_value(shape, reader, token);
  if (token == CLERK_JSON_KEY && reader->depth == 1) shape->pending = find_member(shape, reader);
}

clerk_shape clerk_shape_of(const clerk_operation *operation, clerk_text body) {
  clerk_shape shape = {.operation = operation};
  clerk_reader reader;
  clerk_json_token token;
  clerk_reader_init(&reader, body);
  do {
    token = clerk_reader_next(&reader);
    clerk_shape_note(&shape, &reader, token);
  } while (token != CLERK_JSON_END && token != CLERK_JSON_BROKEN);
  return shape;
}

const clerk_member *clerk_shape_lacks(const clerk_shape *shape) {
  for (int i = 0; shape->operation->members[i].name; i++)
    if (!shape->has_member[i]) return &shape->operation->members[i];
  return NULL;
}

/* Whether a status of 2XX came with what the operation promises. */
static clerk_judgement judge_success(const clerk_shape *shape, int status) {
  if (status == 204)
    return shape->operation->may_return_204 ? CLERK_SUCCESS : CLERK_UNEXPECTED_SHAPE;
  if (!shape->is_complete) return CLERK_INVALID_JSON;
  return clerk_shape_lacks(shape) ? CLERK_UNEXPECTED_SHAPE : CLERK_SUCCESS;
}

clerk_judgement clerk_judge(const clerk_shape *shape, int status) {
  if (status >= 200 && status < 300) return judge_success(shape, status);
  if (status >= 300 && status < 400) return CLERK_REDIRECT_REFUSED;
  return shape->is_complete && shape->has_errors ? CLERK_API_ERRORS : CLERK_UNEXPECTED_STATUS;
}

static const struct {
  const char *name, *summary;
} judgements[] = {
    [CLERK_SUCCESS] = {"success", "The operation succeeded."},
    [CLERK_API_ERRORS] = {"api_errors", "The API refused and says why."},
    [CLERK_INVALID_JSON] = {"invalid_json", "The status says success, but the body is not JSON."},
    [CLERK_UNEXPECTED_SHAPE] =
        {"unexpected_shape",
         "The status says success, but the body lacks what the operation promises."},
    [CLERK_UNEXPECTED_STATUS] =
        {"unexpected_status",
         "The status says failure, but the body is not an error of the API: a proxy's HTML page, "
         "for example."},
    [CLERK_REDIRECT_REFUSED] =
        {"redirect_refused", "The server answered with a redirect (3XX), which is never followed."},
};

static const size_t judgement_count = sizeof judgements / sizeof *judgements;

const char *clerk_judgement_name(clerk_judgement judgement) {
  return judgement < judgement_count ? judgements[judgement].name : NULL;
}

const char *clerk_judgement_summary(clerk_judgement judgement) {
  return judgement < judgement_count ? judgements[judgement].summary : NULL;
}
