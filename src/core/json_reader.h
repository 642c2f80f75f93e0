/* What the binding's decoder knows of the JSON reader beyond clerk.h. Internal to src/. */
#ifndef CLERK_JSON_READER_H
#define CLERK_JSON_READER_H

#include "clerk.h"

/*
** Reads the next token if it is the KEY, or the STRING of a member, that `seen` shows: one without
** escapes that was read earlier in the same document. The reader's `string` becomes `seen`. This is
** faster than clerk_reader_next. False, and nothing is read, when something else comes next.
*/
bool clerk_reader_repeat_key(clerk_reader *reader, clerk_text seen);
bool clerk_reader_repeat_string(clerk_reader *reader, clerk_text seen);

#endif
