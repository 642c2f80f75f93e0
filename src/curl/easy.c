/* libcurl's easy handles. */
#include "easy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utf8.h"

#if LIBCURL_VERSION_NUM < 0x075800
#error "clerk.machines needs libcurl 7.88 or newer"
#endif

#define SET(easy, option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

enum { USUAL_HEAD = 1000, HEAD_LIMIT = 256 * 1024, RESERVE_LIMIT = 16 * 1024 * 1024 };

/* ------------------------------------------------------------------ sockets */

static int open_socket(int family, int type, int protocol) {
#ifdef SOCK_CLOEXEC
  return socket(family, type | SOCK_CLOEXEC, protocol);
#else
  int fd = socket(family, type, protocol);
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#endif
}

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  clerk_transfer *transfer = user;
  (void)purpose;
  int fd = open_socket(address->family, address->socktype, address->protocol);
  transfer->lacks_fd = fd < 0 && clerk_lacks_descriptors(errno);
  if (fd < 0) return CURL_SOCKET_BAD;
  if (clerk_poller_keep(&transfer->owner->loop->poller, fd)) return fd;
  close(fd);
  return CURL_SOCKET_BAD;
}

static int on_close(void *user, curl_socket_t fd) {
  clerk_loop *loop = user;
  clerk_poller_drop(&loop->poller, fd);
  return close(fd);
}

/* OpenSSL's, if that is what libcurl has loaded: nothing is linked for it. */
#if defined(__GNUC__)
__attribute__((weak))
#endif
int SSL_has_pending(const void *ssl);

/* Newer libcurls read ahead: what came with the last response is in OpenSSL's buffer already. */
static bool has_buffered_input(const clerk_transfer *transfer) {
  const struct curl_tlssessioninfo *session = NULL;
  if (!SSL_has_pending) return false;
  curl_easy_getinfo(transfer->easy, CURLINFO_TLS_SSL_PTR, &session);
  return session && session->backend == CURLSSLBACKEND_OPENSSL && session->internals &&
         SSL_has_pending(session->internals);
}

static bool has_received(const clerk_transfer *transfer, int fd) {
  char byte;
  if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) return true;
  return transfer->is_tls && has_buffered_input(transfer);
}

/* On a kept connection of HTTP/1 nothing has been asked for. What is there to read, its end
** included, is not the response to the next request. HTTP/2 has frames of its own there. libcurl
** identifies the connection by its local port only. */
static bool has_input(const clerk_transfer *transfer) {
  clerk_poller *poller = &transfer->owner->loop->poller;
  const clerk_watch *watch;
  bool is_known = false;
  for (int next = 0; (watch = clerk_poller_find(poller, transfer->local_port, &next)) != NULL;) {
    is_known = true;
    if (transfer->is_tls && !watch->is_http1) continue;
    if (has_received(transfer, next - 1)) return true;
  }
  return !is_known;
}

/* libcurl sends a request again, a POST too, when a kept connection dies or the server refuses its
** stream: only the caller may decide that. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is libcurl's */
static int before_send(void *user, char *ip, char *local_ip, int port, int local_port) {
  clerk_transfer *transfer = user;
  long connects = 0;
  (void)ip, (void)local_ip, (void)port;
  if (transfer->sends++ > 0) return CURL_PREREQFUNC_ABORT;
  transfer->local_port = local_port;
  curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
  transfer->is_first = connects > 0;
  transfer->is_stale = !transfer->is_first && has_input(transfer);
  return transfer->is_stale ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

bool clerk_easy_renew(clerk_transfer *transfer) {
  if (!transfer->is_stale) return false;
  transfer->is_stale = false;
  transfer->sends = 0;
  *transfer->error = '\0';
  return SET(transfer->easy, CURLOPT_FRESH_CONNECT, 1L);
}

/* ------------------------------------------------------------------ the response */

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

static bool is_named(const char *line, size_t length, const char *name) {
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
static size_t receive_head(char *line, size_t one, size_t length, void *user) {
  clerk_transfer *transfer = user;
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
  curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
  if (announced <= 0 || announced > RESERVE_LIMIT) return true;
  return clerk_buffer_reserve(&transfer->body, (size_t)announced);
}

static size_t receive_body(char *bytes, size_t one, size_t length, void *user) {
  clerk_transfer *transfer = user;
  (void)one;
  if (length > transfer->body_limit - transfer->body.length)
    return refuse(transfer, CLERK_RESPONSE_TOO_LARGE, "the response is larger than allowed");
  if ((transfer->body.bytes || reserve_body(transfer)) &&
      clerk_buffer_append(&transfer->body, bytes, length))
    return length;
  return refuse(transfer, CLERK_NO_RESOURCES, "not enough memory");
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
    const char *end = memchr(line, '\n', transfer->head.length - *position);
    if (!end) end = transfer->head.bytes + transfer->head.length;
    *position = (size_t)(end - transfer->head.bytes) + 1;
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon || colon == line) continue;
    for (char *c = line; c < colon; c++) *c = clerk_ascii_lower(*c);
    *name = (clerk_text){line, (size_t)(colon - line)};
    *value = trim(colon + 1, end);
    return true;
  }
  return false;
}

/* ------------------------------------------------------------------ the request */

/* A line and its list node are one block of ours; libcurl only reads it. */
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

void clerk_easy_free_header_lines(clerk_transfer *transfer) {
  while (transfer->header_lines) {
    struct curl_slist *line = transfer->header_lines;
    transfer->header_lines = line->next;
    clerk_wipe(line->data, strlen(line->data));
    free(line);
  }
}

/* libcurl takes "name:" as "leave this header out" and "name;" as "send it empty". */
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
         SET(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
         SET(easy, CURLOPT_CLOSESOCKETDATA, loop) &&
         SET(easy, CURLOPT_PREREQFUNCTION, before_send) &&
         SET(easy, CURLOPT_HEADERFUNCTION, receive_head) &&
         SET(easy, CURLOPT_WRITEFUNCTION, receive_body);
}

/* If memory runs out and an option is not set, no request may be sent: it could be the proxy. */
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
         SET(easy, CURLOPT_OPENSOCKETDATA, transfer) && SET(easy, CURLOPT_PREREQDATA, transfer) &&
         SET(easy, CURLOPT_HEADERDATA, transfer) && SET(easy, CURLOPT_WRITEDATA, transfer);
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

/* The target is sent as it was built: out of memory, libcurl can lose the query of a URL silently.
** (CURLINFO_EFFECTIVE_URL is the handle's first URL then.) A URL that does not parse stays a string,
** so that libcurl reports what is wrong with it. */
static bool set_target(CURL *easy, const clerk_site *site, const char *url) {
  if (!site->url) return SET(easy, CURLOPT_URL, url);
  const char *target = url + strlen(site->origin);
  return SET(easy, CURLOPT_CURLU, site->url) &&
         SET(easy, CURLOPT_REQUEST_TARGET, *target ? target : NULL);
}

/* A plain HTTP proxy needs the whole URL as the target. */
static bool set_whole_url(CURL *easy, const char *url) {
  return SET(easy, CURLOPT_URL, url) && SET(easy, CURLOPT_REQUEST_TARGET, NULL);
}

/* A key for loopback must not go to a proxy that is meant for other hosts. Waiting for a connection
** to share pays off with HTTP/2; over plain HTTP it only costs time.
**
** libcurl does not say whether a server has refused a stream unprocessed (REFUSED_STREAM, GOAWAY),
** except on the first stream of a connection: there it has no other reason to send a request again.
** So over TLS, where HTTP/2 may be spoken, a POST gets a new connection. */
static bool set_route(CURL *easy, clerk_curl *curl, clerk_transfer *transfer,
                      const clerk_curl_request *request) {
  transfer->site = clerk_site_of(&curl->site, request->url);
  if (!transfer->site) return false;
  bool is_direct = !curl->proxy && transfer->site->is_loopback;
  bool needs_proof = transfer->is_tls && strcmp(request->method, "POST") == 0;
  return SET(easy, CURLOPT_NOPROXY, is_direct ? "*" : NULL) &&
         SET(easy, CURLOPT_PIPEWAIT, (long)transfer->is_tls) &&
         SET(easy, CURLOPT_FRESH_CONNECT, (long)needs_proof) &&
         (is_direct || transfer->is_tls ? set_target(easy, transfer->site, request->url)
                                        : set_whole_url(easy, request->url));
}

/* libcurl's own method is not set, since it would be copied for each transfer. */
static bool set_method(CURL *easy, const clerk_transfer *transfer, const char *method) {
  const char *usual = transfer->upload.bytes ? "POST" : "GET";
  return SET(easy, CURLOPT_CUSTOMREQUEST, strcmp(method, usual) == 0 ? NULL : method);
}

bool clerk_easy_set(CURL *easy, clerk_curl *curl, clerk_transfer *transfer,
                    const clerk_curl_request *request) {
  transfer->body_limit = request->max_response_bytes;
  transfer->is_tls = strncmp(request->url, "https:", 6) == 0;
  return set_user(easy, transfer) && set_limits(easy, request) &&
         set_body(easy, &transfer->upload) && set_route(easy, curl, transfer, request) &&
         SET(easy, CURLOPT_HTTPHEADER, transfer->header_lines) &&
         set_method(easy, transfer, request->method);
}

void clerk_easy_forget(CURL *easy) {
  curl_easy_setopt(easy, CURLOPT_CURLU, NULL);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
}

/* ------------------------------------------------------------------ the end */

/* What libcurl's codes mean. Several mean several things: then a part of libcurl's message decides,
** and the first row that fits counts. */
static const struct {
  const char *words;
  CURLcode code;
  clerk_failure failure;
} failures[] = {
    {"", CURLE_COULDNT_RESOLVE_HOST, CLERK_DNS_FAILED},
    {"", CURLE_COULDNT_RESOLVE_PROXY, CLERK_DNS_FAILED},
    {"", CURLE_OPERATION_TIMEDOUT, CLERK_TIMEOUT},
    {"unexpected eof", CURLE_SSL_CONNECT_ERROR, CLERK_CONNECT_FAILED},
    {"SSL_ERROR_SYSCALL", CURLE_SSL_CONNECT_ERROR, CLERK_CONNECT_FAILED},
    {"SSL_ERROR_ZERO_RETURN", CURLE_SSL_CONNECT_ERROR, CLERK_CONNECT_FAILED},
    {"Recv failure", CURLE_SSL_CONNECT_ERROR, CLERK_CONNECT_FAILED},
    {"Send failure", CURLE_SSL_CONNECT_ERROR, CLERK_CONNECT_FAILED},
    {"", CURLE_SSL_CONNECT_ERROR, CLERK_TLS_FAILED},
    {"", CURLE_PEER_FAILED_VERIFICATION, CLERK_TLS_FAILED},
    {"", CURLE_SSL_CACERT_BADFILE, CLERK_TLS_FAILED},
    {"", CURLE_SSL_CERTPROBLEM, CLERK_TLS_FAILED},
    {"", CURLE_SSL_CIPHER, CLERK_TLS_FAILED},
    {"", CURLE_SSL_ENGINE_INITFAILED, CLERK_TLS_FAILED},
    {"", CURLE_SSL_ISSUER_ERROR, CLERK_TLS_FAILED},
    {"", CURLE_SSL_INVALIDCERTSTATUS, CLERK_TLS_FAILED},
    {"", CURLE_SSL_CLIENTCERT, CLERK_TLS_FAILED},
    {"", CURLE_FILESIZE_EXCEEDED, CLERK_RESPONSE_TOO_LARGE},
#if LIBCURL_VERSION_NUM >= 0x080600
    {"", CURLE_TOO_LARGE, CLERK_RESPONSE_TOO_LARGE},
#endif
    {"", CURLE_UNSUPPORTED_PROTOCOL, CLERK_BAD_RESPONSE}, /* HTTP/0.9: garbage */
    {"", CURLE_WEIRD_SERVER_REPLY, CLERK_BAD_RESPONSE},
    {"", CURLE_BAD_CONTENT_ENCODING, CLERK_BAD_RESPONSE},
    {"", CURLE_WRITE_ERROR, CLERK_BAD_RESPONSE}, /* not by a callback of ours: garbage after gzip */
    {"chunk", CURLE_RECV_ERROR, CLERK_BAD_RESPONSE},
    {"PROTOCOL_ERROR", CURLE_HTTP2, CLERK_BAD_RESPONSE},
    {"PROTOCOL_ERROR", CURLE_HTTP2_STREAM, CLERK_BAD_RESPONSE},
};

/* A code without a row is a lost connection or, before the request was begun, one never made. Up to
** 8.5, libcurl says that it has no memory for a header line that is longer than it allows, too. */
static clerk_failure failure_of(CURLcode code, const char *message, bool was_begun, bool in_head) {
  if (code == CURLE_OUT_OF_MEMORY) return in_head ? CLERK_RESPONSE_TOO_LARGE : CLERK_NO_RESOURCES;
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
    if (failures[i].code == code && strstr(message, failures[i].words)) return failures[i].failure;
  return was_begun ? CLERK_CONNECTION_LOST : CLERK_CONNECT_FAILED;
}

/* Whether a proxy has refused for good: to go on trying may get the account locked. */
static bool is_refused_by_proxy(const clerk_transfer *transfer) {
  long status = 0, reason = CURLPX_OK;
  curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
  curl_easy_getinfo(transfer->easy, CURLINFO_PROXY_ERROR, &reason);
  return status == 403 || status == 407 || reason == CURLPX_USER_REJECTED ||
         reason == CURLPX_NO_AUTH || reason == CURLPX_REPLY_NOT_ALLOWED;
}

/* A lookup that failed has closed its descriptors by now, so several must be free. */
bool clerk_easy_descriptors_are_scarce(void) {
  enum { NEEDED = 5 };
  int fds[NEEDED], count = 0;
  while (count < NEEDED && (fds[count] = open_socket(AF_UNIX, SOCK_STREAM, 0)) >= 0) count++;
  bool is_scarce = count < NEEDED && clerk_lacks_descriptors(errno);
  for (int i = 0; i < count; i++) close(fds[i]);
  return is_scarce;
}

static bool lacks_descriptors(const clerk_transfer *transfer) {
  bool is_lookup = transfer->failure == CLERK_DNS_FAILED || transfer->failure == CLERK_TLS_FAILED;
  return transfer->lacks_fd || (is_lookup && clerk_easy_descriptors_are_scarce());
}

static void conclude_unsent(clerk_transfer *transfer) {
  if (lacks_descriptors(transfer)) {
    transfer->failure = CLERK_NO_RESOURCES;
    transfer->message = CLERK_NO_DESCRIPTOR;
  } else if (strncmp(transfer->message, "Unsupported proxy", 17) ==
             0) { /* quoted with a password */
    transfer->failure = CLERK_CONNECT_FAILED;
    transfer->is_final = true;
    transfer->message =
        "the proxy in the environment (http_proxy, https_proxy or all_proxy) is not "
        "a URL of http, https or socks";
  } else if (is_refused_by_proxy(transfer)) {
    transfer->failure = CLERK_CONNECT_FAILED;
    transfer->is_final = true;
  } else if (strcmp(transfer->message, "No URL set") == 0) { /* said when it cannot be copied */
    transfer->failure = CLERK_NO_RESOURCES;
    transfer->message = "not enough memory";
  }
}

bool clerk_transfer_has_sent(const clerk_transfer *transfer) {
  bool is_refused_stream = transfer->sends > 1 && transfer->is_first;
  if (!transfer->easy) return transfer->sent;
  return transfer->sends > 0 && !transfer->is_stale && !is_refused_stream;
}

static void conclude_failure(clerk_transfer *transfer, CURLcode code) {
  transfer->sent = clerk_transfer_has_sent(transfer);
  transfer->message = *transfer->error ? transfer->error : curl_easy_strerror(code);
  if (transfer->flaw) {
    transfer->message = transfer->flaw;
  } else if (transfer->sends > 1) {
    transfer->failure = CLERK_CONNECTION_LOST;
    transfer->message = transfer->sent ? "a kept connection was closed without a response"
                                       : "the server refused the request unprocessed";
  } else if (code == CURLE_OK) {
    transfer->failure = CLERK_CONNECTION_LOST;
    transfer->message = "the connection was closed within the response's head";
  } else {
    bool was_begun = transfer->sends > 0;
    bool in_head = was_begun && transfer->phase != CLERK_PAST_HEAD;
    transfer->failure = failure_of(code, transfer->message, was_begun, in_head);
    if (transfer->sends == 0) conclude_unsent(transfer);
  }
}

static void note_protocol(const clerk_transfer *transfer) {
  clerk_poller *poller = &transfer->owner->loop->poller;
  clerk_watch *watch;
  long version = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_VERSION, &version);
  for (int next = 0; (watch = clerk_poller_find(poller, transfer->local_port, &next)) != NULL;)
    watch->is_http1 = version <= CURL_HTTP_VERSION_1_1;
}

void clerk_easy_conclude(clerk_transfer *transfer, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
  transfer->has_response = code == CURLE_OK && transfer->phase == CLERK_PAST_HEAD;
  transfer->status = (int)status;
  if (!transfer->has_response)
    conclude_failure(transfer, code);
  else if (transfer->is_tls && transfer->is_first)
    note_protocol(transfer);
}
