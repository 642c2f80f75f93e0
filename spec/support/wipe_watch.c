/*
** When preloaded, reports on standard error each block that clerk/machines/core.so, or cJSON for it,
** frees while the block still holds a part of a text in $WIPE_WATCH, and each such block that it
** wipes; see wiped_buffers_spec.lua. Several texts are separated by colons.
**
** New memory is cleared here: a block is larger than its owner asked for, and malloc does not clear
** what the last owner left in it. libcurl does not wipe its buffers.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* So many bytes of the text in a row are a part of it; fewer could be there by chance. */
enum { PART = 8 };

static int is_ours(const void *address) {
  Dl_info info;
  if (dladdr(address, &info) == 0) return 0;
  return strstr(info.dli_fname, "clerk/machines/core.so") || strstr(info.dli_fname, "libcjson");
}

static int holds_part(const void *block, size_t size, const char *text, size_t length) {
  for (const char *part = text; part + PART <= text + length; part++)
    if (memmem(block, size, part, PART) != NULL) return 1;
  return 0;
}

static void report(const char *event, const char *text, size_t length) {
  char line[256];
  int written = snprintf(line, sizeof line, "%s %.*s\n", event, (int)length, text);
  (void)!write(STDERR_FILENO, line, (size_t)written);
}

static void watch(const void *block, size_t size, const void *caller, const char *event) {
  const char *text = getenv("WIPE_WATCH");
  if (block == NULL || text == NULL || !is_ours(caller)) return;
  for (size_t length; (length = strcspn(text, ":")) > 0; text += length + (text[length] == ':'))
    if (holds_part(block, size, text, length)) report(event, text, length);
}

static void watch_freed(void *block, const void *caller) {
  watch(block, malloc_usable_size(block), caller, "freed");
}

static void fill(void *block, int byte, size_t size) {
  volatile char *bytes = block; /* or the compiler calls memset */
  for (size_t i = 0; i < size; i++) bytes[i] = (char)byte;
}

static void clear_from(void *block, size_t offset) {
  size_t size = malloc_usable_size(block);
  if (offset < size) fill((char *)block + offset, 0, size - offset);
}

void *malloc(size_t size) {
  static void *(*next)(size_t);
  if (next == NULL) next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
  void *block = next(size);
  clear_from(block, 0);
  return block;
}

void free(void *block) {
  static void (*next)(void *);
  if (next == NULL) next = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  watch_freed(block, __builtin_return_address(0));
  next(block);
}

void *realloc(void *block, size_t size) {
  static void *(*next)(void *, size_t);
  if (next == NULL) next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
  watch_freed(block, __builtin_return_address(0));
  size_t old_size = malloc_usable_size(block);
  void *grown = next(block, size);
  clear_from(grown, old_size);
  return grown;
}

void *memset(void *block, int byte, size_t size) {
  watch(block, size, __builtin_return_address(0), "wiped");
  fill(block, byte, size);
  return block;
}
