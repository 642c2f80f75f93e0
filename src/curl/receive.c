/* What comes back of a transfer: its head, its body, and how both are checked. */
#include "receive.h"

#include <string.h>

#include "easy.h"
#include "http_head.h"

enum { USUAL_HEAD = 1000, HEAD_LIMIT = 256 * 1024, RESERVE_LIMIT = 16 * 1024 * 1024 };

/* Makes libcurl end the transfer, and says why. */
static size_t refuse(clerk_transfer *transfer, clerk_failure failure, const char *flaw) {
  transfer->failure = failure;
  transfer->flaw = flaw;
  return 0;
}

/* A 1XX head is followed by another head, which replaces it. */
static void begin_head(clerk_transfer *transfer, const char *status_line, size_t length) {
  const char *code = memchr(status_line, ' ', length - 1);
  while (code && *code == ' ') code++;
  transfer->is_final_head = !code || *code != '1';
  transfer->phase = CLERK_IN_HEAD;
  transfer->framing = (clerk_http_framing){0};
  clerk_buffer_clear(&transfer->head);
  clerk_buffer_reserve(&transfer->head, USUAL_HEAD); /* out of memory: it is made later */
}

/* A line that begins with a blank continues the one before (RFC 9112, 5.2). */
static void unfold(clerk_buffer *head) {
  while (head->length > 0 &&
         (head->bytes[head->length - 1] == '\n' || head->bytes[head->length - 1] == '\r'))
    head->length--;
}

static size_t add_head_line(clerk_transfer *transfer, const char *line, size_t length) {
  bool is_end = *line == '\r' || *line == '\n';
  const char *problem = NULL;
  if (is_end) transfer->phase = transfer->is_final_head ? CLERK_PAST_HEAD : CLERK_AWAITS_HEAD;
  if (!is_end && clerk_http_is_blank(*line)) unfold(&transfer->head);
  size_t start = transfer->head.length;
  if (!clerk_buffer_append(&transfer->head, line, length))
    return refuse(transfer, CLERK_NO_RESOURCES, "not enough memory");
  if (!is_end && transfer->is_final_head)
    problem = clerk_http_frame(&transfer->framing, transfer->head.bytes + start, length);
  return problem ? refuse(transfer, CLERK_BAD_RESPONSE, problem) : length;
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
  const clerk_http_framing *framing = &transfer->framing;
  if (!framing->has_length || framing->length > RESERVE_LIMIT) return true;
  return clerk_buffer_reserve(&transfer->body, (size_t)framing->length);
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
