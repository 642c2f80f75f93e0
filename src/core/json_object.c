/* JSON objects, of which no two members may have the same name: two readers of a signed document could
** take different ones. */
#include "json_object.h"

#include <stdlib.h>
#include <string.h>

#include "clerk_memory.h"

/* A name and what must follow it before the next one take four bytes at least: "":{ */
enum { NAMES_MAX = CLERK_OBJECT_MAX / 4 };

/* The names of the objects that are open. */
typedef struct open_names {
  clerk_text names[NAMES_MAX];
  size_t count;
  size_t first[CLERK_DEPTH_MAX + 1]; /* of each depth */
  char unescaped[CLERK_OBJECT_MAX];
  size_t used;
} open_names;

static int compare(const void *left, const void *right) {
  const clerk_text *a = left, *b = right;
  if (a->length != b->length) return a->length < b->length ? -1 : 1;
  return memcmp(a->bytes, b->bytes, a->length);
}

/* Sorted, since a search for each among the others would let a hostile document cost too much. */
static bool are_different(clerk_text *names, size_t count) {
  if (count > 1) qsort(names, count, sizeof *names, compare);
  for (size_t i = 1; i < count; i++)
    if (compare(&names[i - 1], &names[i]) == 0) return false;
  return true;
}

static void add_name(open_names *open, const clerk_reader *reader) {
  clerk_text name = reader->string;
  if (reader->escaped) {
    char *out = open->unescaped + open->used;
    name = (clerk_text){out, clerk_reader_unescape(reader, out)};
    open->used += name.length;
  }
  open->names[open->count++] = name;
}

/* Notes the token; false when it ends an object that has a member twice. */
static bool note_name(open_names *open, const clerk_reader *reader, clerk_json_token token) {
  if (token == CLERK_JSON_OBJECT) open->first[reader->depth] = open->count;
  if (token == CLERK_JSON_KEY) add_name(open, reader);
  if (token != CLERK_JSON_OBJECT_END) return true;
  size_t first = open->first[reader->depth + 1];
  bool is_good = are_different(open->names + first, open->count - first);
  open->count = first;
  return is_good;
}

static void note_field(clerk_field fields[], size_t count, const clerk_reader *reader) {
  for (size_t i = 0; i < count; i++)
    if (clerk_reader_equals(reader, fields[i].name))
      fields[i].rest = (clerk_text){reader->at, (size_t)(reader->end - reader->at)};
}

static bool read_members(clerk_reader *reader, open_names *open, clerk_field fields[],
                         size_t count) {
  clerk_json_token token = clerk_reader_next(reader);
  if (token != CLERK_JSON_OBJECT) return false;
  while (token != CLERK_JSON_END && token != CLERK_JSON_BROKEN) {
    if (!note_name(open, reader, token)) return false;
    if (token == CLERK_JSON_KEY && reader->depth == 1) note_field(fields, count, reader);
    token = clerk_reader_next(reader);
  }
  return token == CLERK_JSON_END;
}

bool clerk_object_read(clerk_text document, clerk_field fields[], size_t count) {
  clerk_reader reader;
  open_names open; /* 30 KB, of which little is touched */
  open.count = open.used = 0;
  for (size_t i = 0; i < count; i++) fields[i].rest = (clerk_text){0};
  clerk_reader_init(&reader, document);
  bool has_mark = reader.at != document.bytes;
  bool is_good = !has_mark && read_members(&reader, &open, fields, count);
  clerk_wipe(open.unescaped, open.used);
  return is_good;
}
