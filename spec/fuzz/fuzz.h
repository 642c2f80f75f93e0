/*
** What the fuzzers share. Each checks its claims by assert, which libFuzzer takes for a crash. Most
** inputs are text in lines, so that seeds and findings can be read and written by hand.
*/
#ifndef FUZZ_H
#define FUZZ_H

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of the input, so that its lines can be cut out; freed by fuzz_close. */
typedef struct fuzz_input {
  char *bytes;
  char *at; /* what is not read yet; a NUL follows the last byte */
  size_t left;
} fuzz_input;

static inline fuzz_input fuzz_open(const uint8_t *data, size_t size) {
  char *bytes = malloc(size + 1);
  assert(bytes);
  if (size > 0) memcpy(bytes, data, size);
  bytes[size] = '\0';
  return (fuzz_input){bytes, bytes, size};
}

static inline void fuzz_close(fuzz_input *input) {
  free(input->bytes);
}

static inline clerk_text fuzz_rest(fuzz_input *input) {
  clerk_text rest = {input->at, input->left};
  input->at += input->left;
  input->left = 0;
  return rest;
}

/* The next line, or what is left of it; ends with a NUL in the place of its newline. */
static inline clerk_text fuzz_line(fuzz_input *input) {
  char *end = memchr(input->at, '\n', input->left);
  if (!end) return fuzz_rest(input);
  clerk_text line = {input->at, (size_t)(end - input->at)};
  *end = '\0';
  input->at = end + 1;
  input->left -= line.length + 1;
  return line;
}

/* The operation of that name; any other name is one of some operation too. */
static inline const clerk_operation *fuzz_operation(const char *name) {
  const clerk_operation *operation = clerk_find_operation(name);
  size_t count = 1;
  while (clerk_operations[count].name) count++;
  return operation ? operation : &clerk_operations[strlen(name) % count];
}

#endif
