/* Memory that is wiped before it is freed. */
#include "clerk_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void clerk_wipe(void *memory, size_t size) {
  static void *(*const volatile fill)(void *, int, size_t) = memset;
  if (memory) fill(memory, 0, size);
}

void clerk_wipe_string(char *string) {
  if (string) clerk_wipe(string, strlen(string));
  free(string);
}

/* Not realloc, which may leave a copy of the bytes behind. */
static bool grow(clerk_buffer *buffer, size_t needed) {
  size_t capacity = buffer->capacity ? buffer->capacity : 256;
  while (capacity < needed) {
    if (capacity > SIZE_MAX / 2) return false;
    capacity *= 2;
  }
  char *bytes = malloc(capacity);
  if (!bytes) return false;
  if (buffer->length) memcpy(bytes, buffer->bytes, buffer->length);
  clerk_wipe(buffer->bytes, buffer->length);
  free(buffer->bytes);
  buffer->bytes = bytes;
  buffer->capacity = capacity;
  return true;
}

bool clerk_buffer_reserve(clerk_buffer *buffer, size_t length) {
  if (length >= SIZE_MAX - buffer->length) return false;
  size_t needed = buffer->length + length + 1;
  return needed <= buffer->capacity || grow(buffer, needed);
}

bool clerk_buffer_append(clerk_buffer *buffer, const char *bytes, size_t length) {
  if (!clerk_buffer_reserve(buffer, length)) return false;
  if (length) memcpy(buffer->bytes + buffer->length, bytes, length);
  buffer->length += length;
  buffer->bytes[buffer->length] = '\0';
  return true;
}

void clerk_buffer_clear(clerk_buffer *buffer) {
  clerk_wipe(buffer->bytes, buffer->length);
  buffer->length = 0;
}

void clerk_buffer_free(clerk_buffer *buffer) {
  clerk_buffer_clear(buffer);
  free(buffer->bytes);
  *buffer = (clerk_buffer){0};
}
