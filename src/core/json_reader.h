/* What the binding's decoder knows of the JSON reader beyond clerk.h. Internal to src/. */
#ifndef CLERK_JSON_READER_H
#define CLERK_JSON_READER_H

#include "clerk.h"

/*
** Reads the next token if it is a KEY, or else a member's STRING, in the very bytes that were one
** before, without escapes: then `string` is `seen`, which is the earlier place in the same document.
** This is faster than reading it anew. False, with nothing read, when something else comes next.
*/
bool clerk_reader_repeat_key(clerk_reader *reader, clerk_text seen);
bool clerk_reader_repeat_string(clerk_reader *reader, clerk_text seen);

#endif
