/* Memory that is wiped before it is freed. Internal to src/. */
#ifndef CLERK_MEMORY_H
#define CLERK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Overwrites memory in a way that no compiler leaves out. */
void clerk_wipe(void *memory, size_t size);

/* Wipes and frees a string; NULL is fine. */
void clerk_wipe_string(char *string);

/* A growing array of bytes; once it has any, a NUL follows them. Zero it before the first use. */
typedef struct clerk_buffer {
  char *bytes;
  size_t length;
  size_t capacity;
} clerk_buffer;

/* Makes room for `length` more bytes, which are undefined until they are written. False when out of
** memory; the buffer is unchanged. */
bool clerk_buffer_reserve(clerk_buffer *buffer, size_t length);

/* Appends. False when out of memory; the buffer is unchanged. */
bool clerk_buffer_append(clerk_buffer *buffer, const char *bytes, size_t length);

/* Wipes the bytes and keeps the capacity. */
void clerk_buffer_clear(clerk_buffer *buffer);

/* Wipes and frees the bytes and zeroes the buffer. */
void clerk_buffer_free(clerk_buffer *buffer);

#endif
