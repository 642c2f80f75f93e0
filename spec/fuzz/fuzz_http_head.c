/*
** Heads of responses in HTTP/1.1: what a beginning of one is refused for, the whole is refused for, and
** what is read is a part of it. The input: a head.
*/
#include "fuzz.h"
#include "http_head.h"

/* Small, so that inputs reach them. */
enum { LINE_MAX_BYTES = 60, HEAD_MAX_BYTES = 300 };

/* Reads the first bytes of a text, as a copy of their exact size. */
static const char *read_beginning(clerk_http_head *head, char **copy, const char *text,
                                  size_t length, clerk_failure *failure) {
  *copy = malloc(length + 1);
  assert(*copy);
  memcpy(*copy, text, length);
  (*copy)[length] = '\0';
  return clerk_http_head_read(head, *copy, length, LINE_MAX_BYTES, HEAD_MAX_BYTES, failure);
}

static void check_fields(clerk_http_head *head, const char *end) {
  clerk_text name, value;
  size_t position = 0;
  assert(head->status >= 100 && head->status <= 999 && (head->minor == 0 || head->minor == 1));
  assert(head->fields + head->fields_length <= end);
  assert(!head->framing.has_length || !head->framing.has_coding);
  assert(!head->framing.has_coding || head->framing.is_chunked ||
         !clerk_http_has_body(head->status));
  while (clerk_http_next_field(head->fields, head->fields_length, &position, &name, &value)) {
    assert(name.length > 0 && !memchr(name.bytes, ':', name.length));
    assert(!memchr(name.bytes, '\n', name.length) && !memchr(name.bytes, ' ', name.length));
    assert(!memchr(value.bytes, '\n', value.length) && !memchr(value.bytes, '\r', value.length));
    assert(value.bytes >= name.bytes && value.bytes + value.length <= end);
  }
}

/* As libcurl's header lines come: with NUL or CR anywhere, and of any heads. */
static void check_lines(fuzz_input *input) {
  clerk_http_framing framing = {0};
  while (input->left > 0) {
    clerk_text line = fuzz_line(input);
    char *copy = malloc(line.length + 2);
    assert(copy);
    memcpy(copy, line.bytes, line.length);
    memcpy(copy + line.length, "\n", 2);
    if (clerk_http_frame(&framing, copy, line.length + 1)) {
      free(copy);
      return;
    }
    assert(!framing.has_length || !framing.has_coding);
    assert(!framing.is_chunked || framing.has_coding);
    free(copy);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = fuzz_open(data, size);
  clerk_http_head whole, part;
  clerk_failure failure, failure_of_part;
  char *bytes, *beginning;
  const char *problem = read_beginning(&whole, &bytes, input.bytes, size, &failure);
  if (!problem && whole.is_complete) check_fields(&whole, bytes + size);
  size_t cut = size > 0 ? size - 1 - data[0] % size : 0;
  const char *earlier = read_beginning(&part, &beginning, input.bytes, cut, &failure_of_part);
  assert(!earlier || (problem && strcmp(earlier, problem) == 0 && failure == failure_of_part));
  assert(!part.is_complete || (whole.is_complete && part.status == whole.status));
  free(beginning);
  free(bytes);
  check_lines(&input);
  fuzz_close(&input);
  return 0;
}
