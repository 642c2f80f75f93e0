/* What comes back of a transfer: its head, its body, and how both are checked. */
#include "receive.h"

#include <string.h>
#include <strings.h>

#include "easy.h"
#include "http_head.h"

enum { USUAL_HEAD = 1000, HEAD_LIMIT = 256 * 1024, RESERVE_LIMIT = 16 * 1024 * 1024 };

/* Makes libcurl end the transfer, and says why. */
static size_t refuse(clerk_transfer *transfer, clerk_failure failure, const char *flaw) {
  transfer->failure = failure;
  transfer->flaw = flaw;
  return 0;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

static const char *skip_blanks(const char *at) {
  return at + strspn(at, " \t\r");
}

/* A 1XX head is followed by another head, which replaces it. */
static void begin_head(clerk_transfer *transfer, const char *status_line, size_t length) {
  const char *code = memchr(status_line, ' ', length - 1);
  while (code && *code == ' ') code++;
  transfer->is_final_head = !code || *code != '1';
  transfer->phase = CLERK_IN_HEAD;
  transfer->has_length = transfer->has_coding = transfer->is_in_length = false;
  clerk_buffer_clear(&transfer->head);
  clerk_buffer_reserve(&transfer->head, USUAL_HEAD); /* out of memory: it is made later */
}

/* A line that begins with a blank continues the one before (RFC 9112, 5.2). */
static void unfold(clerk_buffer *head) {
  while (head->length > 0 &&
         (head->bytes[head->length - 1] == '\n' || head->bytes[head->length - 1] == '\r'))
    head->length--;
}

/* Reads one length; false when it is malformed or differs from one before (RFC 9112, 6.3). */
static bool read_length(clerk_transfer *transfer, const char **at) {
  uint64_t length = 0;
  if (**at < '0' || **at > '9') return false;
  for (; **at >= '0' && **at <= '9'; ++*at)
    length = length < UINT64_MAX / 20 ? length * 10 + (uint64_t)(**at - '0') : UINT64_MAX;
  if (transfer->has_length && transfer->length != length) return false;
  transfer->has_length = true;
  transfer->length = length;
  return true;
}

/* libcurl takes the last of several lengths, and digits before anything. `at` ends with "\n". */
static bool read_lengths(clerk_transfer *transfer, const char *at) {
  if (*at != ':') return false;
  do {
    at = skip_blanks(at + 1);
    if (!read_length(transfer, &at)) return false;
    at = skip_blanks(at);
  } while (*at == ',');
  return *at == '\n';
}

static inline bool is_named(const char *line, size_t length, const char *name) {
  return (*line | 0x20) == *name && length > strlen(name) &&
         strncasecmp(line, name, strlen(name)) == 0 && strchr(": \t", line[strlen(name)]) != NULL;
}

/* Whether the line at `start` of the head leaves no doubt where the body ends (RFC 9112, 6.3). */
static bool check_framing(clerk_transfer *transfer, size_t start) {
  const char *line = transfer->head.bytes + start;
  size_t length = transfer->head.length - start;
  transfer->is_in_length = is_named(line, length, "content-length");
  if (is_named(line, length, "transfer-encoding")) transfer->has_coding = true;
  if (transfer->is_in_length && !read_lengths(transfer, line + strlen("content-length")))
    return false;
  return !transfer->has_length || !transfer->has_coding;
}

static size_t add_head_line(clerk_transfer *transfer, const char *line, size_t length) {
  bool is_end = *line == '\r' || *line == '\n';
  bool is_continuation = !is_end && is_blank(*line);
  if (is_end) transfer->phase = transfer->is_final_head ? CLERK_PAST_HEAD : CLERK_AWAITS_HEAD;
  if (is_continuation) unfold(&transfer->head);
  size_t start = transfer->head.length;
  if (!clerk_buffer_append(&transfer->head, line, length))
    return refuse(transfer, CLERK_NO_RESOURCES, "not enough memory");
  bool is_clear = is_continuation ? !transfer->is_in_length : check_framing(transfer, start);
  if (transfer->is_final_head && !is_clear)
    return refuse(transfer, CLERK_BAD_RESPONSE,
                  "Content-Length is malformed, or contradicts another one or Transfer-Encoding");
  return length;
}

/* A trailer comes after the final head; it is dropped. */
/* cppcheck-suppress constParameterPointer ; the type is libcurl's */
size_t clerk_receive_head(char *line, size_t one, size_t length, void *user) {
  clerk_transfer *transfer = ((clerk_easy *)user)->transfer;
  (void)one;
  transfer->head_bytes += length;
  if (transfer->head_bytes > HEAD_LIMIT)
    return refuse(transfer, CLERK_RESPONSE_TOO_LARGE, "the response's head is larger than allowed");
  if (transfer->phase == CLERK_PAST_HEAD) return length;
  if (transfer->phase == CLERK_IN_HEAD) return add_head_line(transfer, line, length);
  begin_head(transfer, line, length);
  return length;
}

/* The announced length is reserved at once, within limits: growing means copying and wiping. */
static bool reserve_body(clerk_transfer *transfer) {
  curl_off_t announced = 0;
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
  if (announced <= 0 || announced > RESERVE_LIMIT) return true;
  return clerk_buffer_reserve(&transfer->body, (size_t)announced);
}

/* cppcheck-suppress constParameterPointer ; the type is libcurl's */
size_t clerk_receive_body(char *bytes, size_t one, size_t length, void *user) {
  clerk_transfer *transfer = ((clerk_easy *)user)->transfer;
  (void)one;
  if (length > transfer->body_limit - transfer->body.length)
    return refuse(transfer, CLERK_RESPONSE_TOO_LARGE, "the response is larger than allowed");
  if ((transfer->body.bytes || reserve_body(transfer)) &&
      clerk_buffer_append(&transfer->body, bytes, length))
    return length;
  return refuse(transfer, CLERK_NO_RESOURCES, "not enough memory");
}

bool clerk_transfer_next_header(clerk_transfer *transfer, size_t *position, clerk_text *name,
                                clerk_text *value) {
  return clerk_http_next_field(transfer->head.bytes, transfer->head.length, position, name, value);
}
