/* Memory that is wiped before it is given back. Internal to src/, but for what curl.h shows. */
#ifndef CLERK_MEMORY_H
#define CLERK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Overwrites memory in a way that no compiler leaves out. */
void clerk_wipe(void *memory, size_t size);

/* Wipes and frees a string; NULL is fine. */
void clerk_wipe_string(char *string);

/* A growing run of bytes, always followed by a NUL once it has any. Zero it before the first use.
 */
typedef struct clerk_buffer {
  char *bytes;
  size_t length;
  size_t capacity;
} clerk_buffer;

/* Makes room for so many further bytes; false, with the buffer as it was, when there is no memory.
 */
bool clerk_buffer_reserve(clerk_buffer *buffer, size_t length);

/* Appends; false, with the buffer as it was, when there is no memory. */
bool clerk_buffer_append(clerk_buffer *buffer, const char *bytes, size_t length);

/* Wipes the bytes and keeps the room. */
void clerk_buffer_clear(clerk_buffer *buffer);

/* Wipes and frees the bytes and zeroes the buffer. */
void clerk_buffer_free(clerk_buffer *buffer);

#endif
