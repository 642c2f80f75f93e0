/* Answers: what a status and the shape of a body mean. */
#include <string.h>

#include "clerk.h"

static bool is_key(const clerk_reader *reader, const char *key) {
  clerk_text name = reader->string;
  char unescaped[64]; /* enough for the keys that matter, were every character escaped */
  if (reader->escaped && name.length <= sizeof unescaped)
    name = (clerk_text){unescaped, clerk_reader_unescape(reader, unescaped)};
  return name.length == strlen(key) && memcmp(name.bytes, key, name.length) == 0;
}

/* Of a key that comes twice the last one counts, as it does for whoever reads the values. */
void clerk_shape_note(clerk_shape *shape, const clerk_reader *reader, clerk_token token) {
  if (token == CLERK_TOKEN_END) shape->is_complete = true;
  if (reader->depth > 2) return;
  if (shape->pending) *shape->pending = token == CLERK_TOKEN_ARRAY;
  shape->pending = NULL;
  if (reader->depth != 1) return;
  if (token == CLERK_TOKEN_OBJECT) shape->is_object = true;
  if (token != CLERK_TOKEN_KEY) return;
  if (is_key(reader, "data")) shape->pending = &shape->has_data;
  if (is_key(reader, "errors")) shape->pending = &shape->has_errors;
}

clerk_shape clerk_shape_of(clerk_text body) {
  clerk_shape shape = {0};
  clerk_reader reader;
  clerk_token token;
  clerk_reader_init(&reader, body);
  do {
    token = clerk_reader_next(&reader);
    clerk_shape_note(&shape, &reader, token);
  } while (token != CLERK_TOKEN_END && token != CLERK_TOKEN_BROKEN);
  shape.pending = NULL;
  return shape;
}

clerk_judgement clerk_judge(const clerk_operation *operation, int status,
                            const clerk_shape *shape) {
  if (status >= 300 && status < 400) return CLERK_REDIRECT_REFUSED;
  if (status < 200 || status >= 300)
    return shape->is_complete && shape->has_errors ? CLERK_API_ERRORS : CLERK_UNEXPECTED_STATUS;
  if (!shape->is_complete) return CLERK_INVALID_JSON;
  if (!shape->is_object || (operation->answers_list && !shape->has_data))
    return CLERK_UNEXPECTED_SHAPE;
  return CLERK_SUCCESS;
}

const char *clerk_judgement_name(clerk_judgement judgement) {
  switch (judgement) {
    case CLERK_SUCCESS: return "success";
    case CLERK_API_ERRORS: return "api_errors";
    case CLERK_INVALID_JSON: return "invalid_json";
    case CLERK_UNEXPECTED_SHAPE: return "unexpected_shape";
    case CLERK_UNEXPECTED_STATUS: return "unexpected_status";
    case CLERK_REDIRECT_REFUSED: return "redirect_refused";
  }
  return NULL;
}
