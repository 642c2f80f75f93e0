/*
** Preloaded, tells on standard error of each block that clerk/machines/core.so frees while it still
** holds the text in $WIPE_WATCH, and of each that it wipes; see secrets_spec.lua.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_ours(const void *address) {
  Dl_info info;
  return dladdr(address, &info) != 0 && strstr(info.dli_fname, "clerk/machines/core.so") != NULL;
}

static void watch(const void *block, size_t size, const void *caller, const char *message) {
  const char *text = getenv("WIPE_WATCH");
  if (block == NULL || text == NULL || !is_ours(caller)) return;
  if (memmem(block, size, text, strlen(text)) != NULL)
    (void)!write(STDERR_FILENO, message, strlen(message));
}

static void watch_freed(void *block, const void *caller) {
  watch(block, malloc_usable_size(block), caller, "freed\n");
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
  return next(block, size);
}

void *memset(void *block, int byte, size_t size) {
  volatile char *bytes = block; /* or the compiler calls memset */
  watch(block, size, __builtin_return_address(0), "wiped\n");
  for (size_t i = 0; i < size; i++) bytes[i] = (char)byte;
  return block;
}
