/* base64url (RFC 4648, 5) in its one canonical form. Internal to src/. */
#ifndef CLERK_BASE64URL_H
#define CLERK_BASE64URL_H

#include "clerk.h"

/*
** Writes what `text` stands for to `out`, which has room for three bytes of every four, and sets
** `decoded` to it. False when the text is not base64url without padding, line breaks or other
** spare bits: no two texts stand for the same bytes.
*/
bool clerk_base64url_decode(clerk_text text, char *out, clerk_text *decoded);

#endif
