/* libcurl's easy handles. */
#include "easy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utf8.h"

#if LIBCURL_VERSION_NUM < 0x075800
#error "clerk.machines needs libcurl 7.88 or newer"
#endif

#define SET(easy, option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

enum { HEAD_LIMIT = 256 * 1024, RESERVE_LIMIT = 16 * 1024 * 1024 };

/* ------------------------------------------------------------------ sockets */

static int open_socket(const struct curl_sockaddr *address) {
#ifdef SOCK_CLOEXEC
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
#else
  int fd = socket(address->family, address->socktype, address->protocol);
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#endif
}

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  clerk_loop *loop = user;
  (void)purpose;
  int fd = open_socket(address);
  if (fd < 0) return CURL_SOCKET_BAD;
  if (clerk_poller_keep(&loop->poller, fd)) return fd;
  close(fd);
  return CURL_SOCKET_BAD;
}

static int on_close(void *user, curl_socket_t fd) {
  clerk_loop *loop = user;
  clerk_poller_drop(&loop->poller, fd);
  return close(fd);
}

/* ------------------------------------------------------------------ the answer */

/* libcurl sends any request again when a kept connection dies: only the caller may decide that. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is libcurl's */
static int before_send(void *user, char *ip, char *local_ip, int port, int local_port) {
  clerk_transfer *transfer = user;
  (void)ip, (void)local_ip, (void)port, (void)local_port;
  return transfer->sends++ == 0 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/* A head of 1XX is followed by another one, which takes its place. */
static void begin_head(clerk_transfer *transfer, const char *status_line, size_t length) {
  const char *code = memchr(status_line, ' ', length - 1);
  while (code && *code == ' ') code++;
  transfer->is_final_head = !code || *code != '1';
  transfer->phase = CLERK_IN_HEAD;
  clerk_buffer_clear(&transfer->head);
}

/* A line that begins with a blank continues the one before (RFC 9112, 5.2). */
static void unfold(clerk_buffer *head) {
  while (head->length > 0 &&
         (head->bytes[head->length - 1] == '\n' || head->bytes[head->length - 1] == '\r'))
    head->length--;
}

static bool add_head_line(clerk_transfer *transfer, const char *line, size_t length) {
  if (*line == '\r' || *line == '\n')
    transfer->phase = transfer->is_final_head ? CLERK_PAST_HEAD : CLERK_AWAITS_HEAD;
  else if (is_blank(*line))
    unfold(&transfer->head);
  return clerk_buffer_append(&transfer->head, line, length);
}

/* What comes after the final head is a trailer, and dropped. */
static size_t receive_head(char *line, size_t one, size_t length, void *user) {
  clerk_transfer *transfer = user;
  bool is_kept = true;
  (void)one;
  transfer->head_bytes += length;
  transfer->is_too_large = transfer->head_bytes > HEAD_LIMIT;
  if (transfer->is_too_large) return 0;
  if (transfer->phase == CLERK_AWAITS_HEAD)
    begin_head(transfer, line, length);
  else if (transfer->phase == CLERK_IN_HEAD)
    is_kept = add_head_line(transfer, line, length);
  return is_kept ? length : 0;
}

/* What the server announces is reserved at once, within reason: to grow is to copy and to wipe. */
static bool reserve_body(clerk_transfer *transfer) {
  curl_off_t announced = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
  if (announced <= 0 || announced > RESERVE_LIMIT) return true;
  return clerk_buffer_reserve(&transfer->body, (size_t)announced);
}

static size_t receive_body(char *bytes, size_t one, size_t length, void *user) {
  clerk_transfer *transfer = user;
  (void)one;
  transfer->is_too_large = length > transfer->body_limit - transfer->body.length;
  if (transfer->is_too_large) return 0;
  if (!transfer->body.bytes && !reserve_body(transfer)) return 0;
  return clerk_buffer_append(&transfer->body, bytes, length) ? length : 0;
}

static clerk_text trim(const char *start, const char *end) {
  while (start < end && is_blank(*start)) start++;
  while (end > start && is_blank(end[-1])) end--;
  return (clerk_text){start, (size_t)(end - start)};
}

bool clerk_transfer_next_header(clerk_transfer *transfer, size_t *position, clerk_text *name,
                                clerk_text *value) {
  while (*position < transfer->head.length) {
    char *line = transfer->head.bytes + *position;
    char *end = memchr(line, '\n', transfer->head.length - *position);
    if (!end) end = transfer->head.bytes + transfer->head.length;
    *position = (size_t)(end - transfer->head.bytes) + 1;
    char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon || colon == line) continue;
    for (char *c = line; c < colon; c++) *c = clerk_ascii_lower(*c);
    *name = (clerk_text){line, (size_t)(colon - line)};
    *value = trim(colon + 1, end);
    return true;
  }
  return false;
}

/* ------------------------------------------------------------------ the request */

/* A line and its place in the list are one block of ours, which libcurl only reads. */
static clerk_status add_line(clerk_transfer *transfer, const char *name, const char *separator,
                             const char *value) {
  struct curl_slist *line =
      malloc(sizeof *line + strlen(name) + strlen(separator) + strlen(value) + 1);
  if (!line) return CLERK_NO_MEMORY;
  *line = (struct curl_slist){.data = (char *)(line + 1), .next = transfer->header_lines};
  stpcpy(stpcpy(stpcpy(line->data, name), separator), value);
  transfer->header_lines = line;
  return CLERK_OK;
}

void clerk_easy_free_lines(clerk_transfer *transfer) {
  while (transfer->header_lines) {
    struct curl_slist *line = transfer->header_lines;
    transfer->header_lines = line->next;
    clerk_wipe(line->data, strlen(line->data));
    free(line);
  }
}

/* To libcurl, "name:" means to leave a header out and "name;" to send it empty. */
clerk_status clerk_transfer_add_header(clerk_transfer *transfer, const char *name,
                                       const char *value) {
  return add_line(transfer, name, *value ? ": " : ";", value);
}

clerk_status clerk_transfer_set_body(clerk_transfer *transfer, clerk_text body) {
  if (!clerk_buffer_append(&transfer->upload, body.bytes, body.length)) return CLERK_NO_MEMORY;
  return add_line(transfer, "expect", ":", "");
}

/* A libcurl without HTTP/2 refuses that option; all the others must be set. */
static bool set_protocols(CURL *easy) {
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  return SET(easy, CURLOPT_PROTOCOLS_STR, "http,https") && SET(easy, CURLOPT_QUICK_EXIT, 1L) &&
         SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
         SET(easy, CURLOPT_NOSIGNAL, 1L) && SET(easy, CURLOPT_PATH_AS_IS, 1L) &&
         SET(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate") &&
         SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

static bool set_callbacks(CURL *easy, clerk_loop *loop) {
  return SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open) &&
         SET(easy, CURLOPT_OPENSOCKETDATA, loop) &&
         SET(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
         SET(easy, CURLOPT_CLOSESOCKETDATA, loop) &&
         SET(easy, CURLOPT_PREREQFUNCTION, before_send) &&
         SET(easy, CURLOPT_HEADERFUNCTION, receive_head) &&
         SET(easy, CURLOPT_WRITEFUNCTION, receive_body);
}

/* An option that is not set, for want of memory, must not let a request go: it could be the proxy.
 */
CURL *clerk_easy_new(clerk_curl *curl) {
  CURL *easy = curl_easy_init();
  if (easy && SET(easy, CURLOPT_SHARE, curl->share) && set_protocols(easy) &&
      set_callbacks(easy, curl->loop) && SET(easy, CURLOPT_PROXY, curl->proxy) &&
      clerk_certificates_set(&curl->certificates, easy))
    return easy;
  curl_easy_cleanup(easy);
  return NULL;
}

static bool set_user(CURL *easy, clerk_transfer *transfer) {
  return SET(easy, CURLOPT_PRIVATE, transfer) && SET(easy, CURLOPT_ERRORBUFFER, transfer->error) &&
         SET(easy, CURLOPT_PREREQDATA, transfer) && SET(easy, CURLOPT_HEADERDATA, transfer) &&
         SET(easy, CURLOPT_WRITEDATA, transfer);
}

static bool set_limits(CURL *easy, const clerk_curl_request *request) {
  return SET(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms) &&
         SET(easy, CURLOPT_CONNECTTIMEOUT_MS, request->connect_timeout_ms) &&
         SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->max_response_bytes);
}

static bool set_body(CURL *easy, const clerk_buffer *body) {
  if (!body->bytes) return SET(easy, CURLOPT_HTTPGET, 1L);
  return SET(easy, CURLOPT_POSTFIELDS, body->bytes) &&
         SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->length);
}

/* The request target is sent as it was built: for want of memory libcurl can lose the query of an URL,
** and does not tell. But a proxy of plain HTTP is sent the whole URL. */
static bool set_target(CURL *easy, const char *url, bool is_proxied) {
  const char *authority = strstr(url, "://");
  return SET(easy, CURLOPT_REQUEST_TARGET,
             authority && !is_proxied ? strchr(authority + 3, '/') : NULL);
}

/* A key for loopback must not travel to a proxy that somebody set for the outside. To wait for a
** connection to share pays with HTTP/2; on plain HTTP it only costs time. */
static bool set_route(CURL *easy, const clerk_curl *curl, const char *url) {
  bool is_direct = !curl->proxy && clerk_is_loopback(url);
  bool is_tls = strncmp(url, "https:", 6) == 0;
  return SET(easy, CURLOPT_NOPROXY, is_direct ? "*" : NULL) &&
         SET(easy, CURLOPT_PIPEWAIT, (long)is_tls) && set_target(easy, url, !is_direct && !is_tls);
}

/* Read here and handed over: of a string, libcurl 7.88 makes a normal one again, which takes longer
** than all the rest of its work on an URL. (Its CURLINFO_EFFECTIVE_URL is the handle's first URL
** then.) What is no URL stays a string, for libcurl to tell what is wrong with it. */
static bool set_url(CURL *easy, clerk_transfer *transfer, const char *url) {
  transfer->url = curl_url();
  if (!transfer->url) return false;
  CURLUcode code = curl_url_set(transfer->url, CURLUPART_URL, url, CURLU_PATH_AS_IS);
  if (code == CURLUE_OK) return SET(easy, CURLOPT_CURLU, transfer->url);
  return code != CURLUE_OUT_OF_MEMORY && SET(easy, CURLOPT_URL, url);
}

bool clerk_easy_set(CURL *easy, const clerk_curl *curl, clerk_transfer *transfer,
                    const clerk_curl_request *request) {
  transfer->body_limit = request->max_response_bytes;
  return set_user(easy, transfer) && set_limits(easy, request) &&
         set_body(easy, &transfer->upload) && set_route(easy, curl, request->url) &&
         set_url(easy, transfer, request->url) &&
         SET(easy, CURLOPT_HTTPHEADER, transfer->header_lines) &&
         SET(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

void clerk_easy_forget(CURL *easy) {
  curl_easy_setopt(easy, CURLOPT_CURLU, NULL);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
}

/* ------------------------------------------------------------------ the end */

static const struct {
  CURLcode code;
  clerk_failure failure;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, CLERK_DNS_FAILED},
    {CURLE_COULDNT_RESOLVE_PROXY, CLERK_DNS_FAILED},
    {CURLE_COULDNT_CONNECT, CLERK_CONNECT_FAILED},
    {CURLE_PROXY, CLERK_CONNECT_FAILED},
    {CURLE_INTERFACE_FAILED, CLERK_CONNECT_FAILED},
    {CURLE_OPERATION_TIMEDOUT, CLERK_TIMEOUT},
    {CURLE_SSL_CONNECT_ERROR, CLERK_TLS_FAILED},
    {CURLE_PEER_FAILED_VERIFICATION, CLERK_TLS_FAILED},
    {CURLE_SSL_CACERT_BADFILE, CLERK_TLS_FAILED},
    {CURLE_SSL_CERTPROBLEM, CLERK_TLS_FAILED},
    {CURLE_SSL_CIPHER, CLERK_TLS_FAILED},
    {CURLE_SSL_ENGINE_INITFAILED, CLERK_TLS_FAILED},
    {CURLE_SSL_ISSUER_ERROR, CLERK_TLS_FAILED},
    {CURLE_SSL_INVALIDCERTSTATUS, CLERK_TLS_FAILED},
    {CURLE_SSL_CLIENTCERT, CLERK_TLS_FAILED},
    {CURLE_FILESIZE_EXCEEDED, CLERK_RESPONSE_TOO_LARGE},
    {CURLE_OUT_OF_MEMORY, CLERK_RESPONSE_TOO_LARGE}, /* also a header line without end */
#if LIBCURL_VERSION_NUM >= 0x080600
    {CURLE_TOO_LARGE, CLERK_RESPONSE_TOO_LARGE},
#endif
    {CURLE_UNSUPPORTED_PROTOCOL, CLERK_BAD_RESPONSE}, /* an answer of HTTP/0.9: garbage */
    {CURLE_WEIRD_SERVER_REPLY, CLERK_BAD_RESPONSE},
    {CURLE_BAD_CONTENT_ENCODING, CLERK_BAD_RESPONSE},
    {CURLE_WRITE_ERROR, CLERK_RESPONSE_TOO_LARGE}, /* no memory to keep the answer */
};

/* What is in no row is a connection lost, or, before the request was begun, not made. */
static clerk_failure failure_of(CURLcode code, bool was_begun) {
  if (code == CURLE_OUT_OF_MEMORY && !was_begun) return CLERK_CONNECT_FAILED;
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
    if (failures[i].code == code) return failures[i].failure;
  return was_begun ? CLERK_CONNECTION_LOST : CLERK_CONNECT_FAILED;
}

bool clerk_transfer_has_sent(const clerk_transfer *transfer) {
  long request_size = 0;
  if (!transfer->easy) return transfer->sent;
  curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_size);
  return transfer->sends > 0 && request_size > 0;
}

static void conclude_failure(clerk_transfer *transfer, CURLcode code) {
  transfer->sent = clerk_transfer_has_sent(transfer);
  transfer->failure = failure_of(code, transfer->sends > 0);
  transfer->message = *transfer->error ? transfer->error : curl_easy_strerror(code);
  if (transfer->is_too_large) {
    transfer->failure = CLERK_RESPONSE_TOO_LARGE;
    transfer->message = "the answer is larger than allowed";
  } else if (transfer->sends > 1) {
    transfer->failure = CLERK_CONNECTION_LOST;
    transfer->message = "a kept connection died without an answer";
  } else if (code == CURLE_OK) {
    transfer->failure = CLERK_CONNECTION_LOST;
    transfer->message = "the connection was closed within the answer's head";
  } else if (strcmp(transfer->message, "No URL set") == 0) { /* said when it cannot be copied */
    transfer->message = "not enough memory";
  }
}

void clerk_easy_conclude(clerk_transfer *transfer, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
  transfer->has_response = code == CURLE_OK && transfer->phase == CLERK_PAST_HEAD;
  transfer->status = (int)status;
  if (!transfer->has_response) conclude_failure(transfer, code);
}
