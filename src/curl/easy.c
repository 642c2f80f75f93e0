/* libcurl's easy handles: their options, and the callbacks around a transfer's socket. */
#include "easy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"
#include "receive.h"

#if LIBCURL_VERSION_NUM < 0x075800
#error "clerk.machines needs libcurl 7.88 or newer"
#endif

#define SET(easy, option, value) (curl_easy_setopt((easy)->handle, option, value) == CURLE_OK)

/* ------------------------------------------------------------------ sockets */

/* Before a name is looked up, for which descriptors are needed: the host may have closed its own. */
static int on_resolve(void *resolver, void *reserved, void *user) {
  (void)resolver, (void)reserved, (void)user;
  clerk_guard_standard_descriptors();
  return 0;
}

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  clerk_transfer *transfer = ((clerk_easy *)user)->transfer;
  (void)purpose;
  clerk_guard_standard_descriptors();
  int fd = clerk_open_socket(address->family, address->socktype, address->protocol);
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
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_TLS_SSL_PTR, &session);
  return session && session->backend == CURLSSLBACKEND_OPENSSL && session->internals &&
         SSL_has_pending(session->internals);
}

static bool has_received(const clerk_transfer *transfer, int fd) {
  char byte;
  if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) return true;
  return transfer->is_tls && has_buffered_input(transfer);
}

/* On a kept connection of HTTP/1 nothing has been asked for. What is there to read, its end
** included, is not the response to the next request. HTTP/2 has frames of its own there. */
static bool has_input(const clerk_transfer *transfer) {
  int fd = transfer->descriptor;
  if (fd < 0) return true; /* it is not known */
  if (transfer->is_tls && !transfer->owner->loop->poller.watches[fd].is_http1) return false;
  return has_received(transfer, fd);
}

/* libcurl sends a request again, a POST too, when a kept connection dies or the server refuses its
** stream: only the caller may decide that. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is libcurl's */
static int before_send(void *user, char *ip, char *local_ip, int port, int local_port) {
  clerk_transfer *transfer = ((clerk_easy *)user)->transfer;
  long connects = 0;
  (void)local_ip;
  if (transfer->sends++ > 0) return CURL_PREREQFUNC_ABORT;
  transfer->descriptor = clerk_poller_find(&transfer->owner->loop->poller, local_port, ip, port);
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_NUM_CONNECTS, &connects);
  transfer->is_first = connects > 0;
  transfer->is_stale = !transfer->is_first && has_input(transfer);
  return transfer->is_stale ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

bool clerk_easy_renew(clerk_transfer *transfer) {
  if (!transfer->is_stale) return false;
  transfer->is_stale = false;
  transfer->sends = 0;
  *transfer->easy->error = '\0';
  return SET(transfer->easy, CURLOPT_FRESH_CONNECT, 1L);
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

clerk_status clerk_transfer_authorize(clerk_transfer *transfer, clerk_text key) {
  return add_line(transfer, "authorization", ": Bearer ", key.bytes);
}

clerk_status clerk_transfer_set_body(clerk_transfer *transfer, clerk_text body) {
  if (!clerk_buffer_append(&transfer->upload, body.bytes, body.length)) return CLERK_NO_MEMORY;
  return add_line(transfer, "expect", ":", "");
}

/* A libcurl without HTTP/2 refuses that option; all the others must be set. */
static bool set_protocols(clerk_easy *easy) {
  curl_easy_setopt(easy->handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  return SET(easy, CURLOPT_PROTOCOLS_STR, "http,https") && SET(easy, CURLOPT_QUICK_EXIT, 1L) &&
         SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
         SET(easy, CURLOPT_NOSIGNAL, 1L) && SET(easy, CURLOPT_PATH_AS_IS, 1L) &&
         SET(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate") &&
         SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

static bool set_callbacks(clerk_easy *easy, clerk_loop *loop) {
  return SET(easy, CURLOPT_PRIVATE, easy) && SET(easy, CURLOPT_ERRORBUFFER, easy->error) &&
         SET(easy, CURLOPT_OPENSOCKETDATA, easy) && SET(easy, CURLOPT_PREREQDATA, easy) &&
         SET(easy, CURLOPT_HEADERDATA, easy) && SET(easy, CURLOPT_WRITEDATA, easy) &&
         SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open) &&
         SET(easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve) &&
         SET(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
         SET(easy, CURLOPT_CLOSESOCKETDATA, loop) &&
         SET(easy, CURLOPT_PREREQFUNCTION, before_send) &&
         SET(easy, CURLOPT_HEADERFUNCTION, clerk_receive_head) &&
         SET(easy, CURLOPT_WRITEFUNCTION, clerk_receive_body);
}

/* If memory runs out and an option is not set, no request may be sent: it could be the proxy. */
clerk_easy *clerk_easy_new(clerk_curl *curl) {
  clerk_easy *easy = calloc(1, sizeof *easy);
  if (!easy) return NULL;
  easy->handle = curl_easy_init();
  if (easy->handle && SET(easy, CURLOPT_SHARE, curl->share) && set_protocols(easy) &&
      set_callbacks(easy, curl->loop) && SET(easy, CURLOPT_PROXY, curl->proxy) &&
      clerk_certificates_set(&curl->certificates, easy->handle))
    return easy;
  clerk_easy_free(easy);
  return NULL;
}

void clerk_easy_free(clerk_easy *easy) {
  if (easy) curl_easy_cleanup(easy->handle);
  free(easy);
}

/* Most calls of a client have the same ones. */
static bool set_limits(clerk_easy *easy, const clerk_curl_request *request) {
  if (easy->timeout_ms == request->timeout_ms &&
      easy->connect_timeout_ms == request->connect_timeout_ms &&
      easy->max_response_bytes == request->max_response_bytes)
    return true;
  easy->timeout_ms = request->timeout_ms;
  easy->connect_timeout_ms = request->connect_timeout_ms;
  easy->max_response_bytes = request->max_response_bytes;
  return SET(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms) &&
         SET(easy, CURLOPT_CONNECTTIMEOUT_MS, request->connect_timeout_ms) &&
         SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->max_response_bytes);
}

static bool set_body(clerk_easy *easy, const clerk_buffer *body) {
  if (!body->bytes) return SET(easy, CURLOPT_HTTPGET, 1L);
  return SET(easy, CURLOPT_POSTFIELDS, body->bytes) &&
         SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->length);
}

/* The target is sent as it was built: out of memory, libcurl can lose the query of a URL silently.
** (CURLINFO_EFFECTIVE_URL is the handle's first URL then.) A URL that does not parse stays a string,
** so that libcurl reports what is wrong with it. */
static bool set_target(clerk_easy *easy, const clerk_site *site, const char *url) {
  if (!site->url) return SET(easy, CURLOPT_URL, url);
  const char *target = url + strlen(site->origin);
  return SET(easy, CURLOPT_CURLU, site->url) &&
         SET(easy, CURLOPT_REQUEST_TARGET, *target ? target : NULL);
}

/* A plain HTTP proxy needs the whole URL as the target. */
static bool set_whole_url(clerk_easy *easy, const char *url) {
  return SET(easy, CURLOPT_URL, url) && SET(easy, CURLOPT_REQUEST_TARGET, NULL);
}

/* A key for loopback must not go to a proxy that is meant for other hosts. */
static bool set_direct(clerk_easy *easy, bool is_direct) {
  if (easy->is_direct == is_direct) return true; /* libcurl would copy it again */
  easy->is_direct = is_direct;
  return SET(easy, CURLOPT_NOPROXY, is_direct ? "*" : NULL);
}

/* Waiting for a connection
** to share pays off with HTTP/2; over plain HTTP it only costs time.
**
** libcurl does not say whether a server has refused a stream unprocessed (REFUSED_STREAM, GOAWAY),
** except on the first stream of a connection: there it has no other reason to send a request again.
** So over TLS, where HTTP/2 may be spoken, a POST gets a new connection. */
static bool set_route(clerk_easy *easy, clerk_curl *curl, clerk_transfer *transfer,
                      const clerk_curl_request *request) {
  transfer->site = clerk_site_of(&curl->site, request->url);
  if (!transfer->site) return false;
  bool is_direct = !curl->proxy && transfer->site->is_loopback;
  bool needs_proof = transfer->is_tls && strcmp(request->method, "POST") == 0;
  return set_direct(easy, is_direct) && SET(easy, CURLOPT_PIPEWAIT, (long)transfer->is_tls) &&
         SET(easy, CURLOPT_FRESH_CONNECT, (long)needs_proof) &&
         (is_direct || transfer->is_tls ? set_target(easy, transfer->site, request->url)
                                        : set_whole_url(easy, request->url));
}

/* libcurl's own method is not set, since it would be copied for each transfer. */
static bool set_method(clerk_easy *easy, const clerk_transfer *transfer, const char *method) {
  const char *usual = transfer->upload.bytes ? "POST" : "GET";
  return SET(easy, CURLOPT_CUSTOMREQUEST, strcmp(method, usual) == 0 ? NULL : method);
}

bool clerk_easy_set(clerk_easy *easy, clerk_curl *curl, clerk_transfer *transfer,
                    const clerk_curl_request *request) {
  easy->transfer = transfer;
  transfer->body_limit = request->max_response_bytes;
  transfer->is_tls = strncmp(request->url, "https:", 6) == 0;
  *easy->error = '\0';
  return set_limits(easy, request) && set_body(easy, &transfer->upload) &&
         set_route(easy, curl, transfer, request) &&
         SET(easy, CURLOPT_HTTPHEADER, transfer->header_lines) &&
         set_method(easy, transfer, request->method);
}

void clerk_easy_forget(clerk_easy *easy) {
  curl_easy_setopt(easy->handle, CURLOPT_CURLU, NULL);
  curl_easy_setopt(easy->handle, CURLOPT_HTTPHEADER, NULL);
  curl_easy_setopt(easy->handle, CURLOPT_POSTFIELDS, NULL);
}
