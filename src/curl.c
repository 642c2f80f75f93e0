/* The libcurl transport. */
#include "curl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utf8.h"

#if LIBCURL_VERSION_NUM < 0x075000
#error "clerk.machines needs libcurl 7.80 or newer"
#endif

#define SET(easy, option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

enum { HEAD_LIMIT = 256 * 1024, RESERVE_LIMIT = 16 * 1024 * 1024 };

/* ------------------------------------------------------------------ failures */

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
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
    if (failures[i].code == code) return failures[i].failure;
  return was_begun ? CLERK_CONNECTION_LOST : CLERK_CONNECT_FAILED;
}

/* ------------------------------------------------------------------ libcurl's callbacks */

static curl_socket_t open_socket(void *unused, curlsocktype purpose,
                                 struct curl_sockaddr *address) {
  (void)unused, (void)purpose;
#ifdef SOCK_CLOEXEC
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
#else
  curl_socket_t fd = socket(address->family, address->socktype, address->protocol);
  if (fd != CURL_SOCKET_BAD) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#endif
}

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
  const char *space = memchr(status_line, ' ', length - 1);
  transfer->is_final_head = !space || space[1] != '1';
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

/* ------------------------------------------------------------------ certificates */

/* OpenSSL finds a certificate in a directory by a link named after its hash: "1a2b3c4d.0". */
static bool has_hash_links(const char *directory) {
  DIR *entries = directory ? opendir(directory) : NULL;
  bool found = false;
  if (!entries) return false;
  struct dirent *entry;
  /* cppcheck-suppress readdirCalled ; a stream of our own, which no other thread reads */
  while (!found && (entry = readdir(entries)) != NULL) { /* NOLINT(concurrency-mt-unsafe): same */
    const char *name = entry->d_name;
    found = strspn(name, "0123456789abcdef") == 8 && name[8] == '.' &&
            strspn(name + 9, "0123456789") > 0;
  }
  closedir(entries);
  return found;
}

/* Appends a file; false when it cannot be read (errno tells why) or there is no memory (0). */
static bool append_file(clerk_buffer *buffer, const char *path) {
  char bytes[4096];
  size_t length;
  bool ok = true;
  FILE *file = fopen(path, "rbe");
  if (!file) return false;
  while (ok && (length = fread(bytes, 1, sizeof bytes, file)) > 0)
    ok = clerk_buffer_append(buffer, bytes, length);
  int error = ferror(file) ? errno : 0;
  fclose(file);
  errno = error;
  return ok && error == 0;
}

static clerk_status load_ca_file(clerk_curl *curl, const char *ca_file, const char *system_bundle,
                                 clerk_problem *problem) {
  clerk_buffer own = {0};
  clerk_status status = CLERK_OK;
  if (!append_file(&own, ca_file)) {
    snprintf(problem->message, sizeof problem->message, "ca_file cannot be read: %s",
             strerror(errno)); /* NOLINT(concurrency-mt-unsafe): not for the errors of files */
    status = errno ? CLERK_REFUSED : CLERK_NO_MEMORY;
  } else if (curl->ca_dir) {
    curl->ca_file = strdup(ca_file);
    if (!curl->ca_file) status = CLERK_NO_MEMORY;
  } else {
    bool has_memory = !system_bundle || append_file(&curl->ca_bundle, system_bundle) || errno;
    if (!has_memory || !clerk_buffer_append(&curl->ca_bundle, "\n", 1) ||
        !clerk_buffer_append(&curl->ca_bundle, own.bytes, own.length))
      status = CLERK_NO_MEMORY;
  }
  clerk_buffer_free(&own);
  return status;
}

/* The hashed directory is read a certificate at a time; Debian's default of bundle and directory
** costs 30 ms for every new connection. */
static clerk_status choose_certificates(clerk_curl *curl, const char *ca_file,
                                        clerk_problem *problem) {
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  if (has_hash_links(info->capath)) curl->ca_dir = info->capath;
  return ca_file ? load_ca_file(curl, ca_file, info->cainfo, problem) : CLERK_OK;
}

/* Not every TLS library knows directories; then there is none to leave out either. */
static bool set_certificates(const clerk_curl *curl, CURL *easy) {
  struct curl_blob blob = {curl->ca_bundle.bytes, curl->ca_bundle.length, CURL_BLOB_NOCOPY};
  return (SET(easy, CURLOPT_CAPATH, curl->ca_dir) || !curl->ca_dir) &&
         (!curl->ca_dir || SET(easy, CURLOPT_CAINFO, curl->ca_file)) &&
         (blob.len == 0 || SET(easy, CURLOPT_CAINFO_BLOB, &blob));
}

/* ------------------------------------------------------------------ one client's connections */

static bool libcurl_is_ready;

static void init_libcurl(void) {
  libcurl_is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == 0;
}

static bool is_proxy_scheme(const char *scheme) {
  static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
    if (strcmp(scheme, schemes[i]) == 0) return true;
  return false;
}

/* Checked here because libcurl's own words for a bad one may quote it, its password included. */
static clerk_status check_proxy(const char *proxy, clerk_problem *problem) {
  const unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME;
  char *scheme = NULL;
  CURLU *url = curl_url();
  CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, proxy, flags) : CURLUE_OUT_OF_MEMORY;
  if (code == CURLUE_OK) code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
  bool is_good = code == CURLUE_OK && is_proxy_scheme(scheme);
  curl_free(scheme);
  curl_url_cleanup(url);
  if (is_good) return CLERK_OK;
  if (code == CURLUE_OUT_OF_MEMORY) return CLERK_NO_MEMORY;
  snprintf(problem->message, sizeof problem->message,
           "proxy must be an URL of http, https or socks, such as http://127.0.0.1:3128");
  return CLERK_REFUSED;
}

static clerk_status keep_proxy(clerk_curl *curl, const char *proxy, clerk_problem *problem) {
  if (!proxy) return CLERK_OK;
  clerk_status status = check_proxy(proxy, problem);
  if (status != CLERK_OK) return status;
  curl->proxy = strdup(proxy);
  return curl->proxy ? CLERK_OK : CLERK_NO_MEMORY;
}

clerk_status clerk_curl_init(clerk_curl *curl, const clerk_curl_options *options,
                             clerk_problem *problem) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_libcurl);
  if (!libcurl_is_ready) return CLERK_NO_MEMORY;
  curl->pid = getpid();
  curl->max_connections = options->max_connections;
  clerk_status status = choose_certificates(curl, options->ca_file, problem);
  if (status == CLERK_OK) status = keep_proxy(curl, options->proxy, problem);
  if (status != CLERK_OK) clerk_curl_close(curl);
  return status;
}

static void unlink_transfer(clerk_curl *curl, clerk_transfer *transfer) {
  if (transfer->previous)
    transfer->previous->next = transfer->next;
  else
    curl->transfers = transfer->next;
  if (transfer->next) transfer->next->previous = transfer->previous;
  transfer->owner = NULL;
}

static void link_transfer(clerk_curl *curl, clerk_transfer *transfer) {
  transfer->owner = curl;
  transfer->previous = NULL;
  transfer->next = curl->transfers;
  if (curl->transfers) curl->transfers->previous = transfer;
  curl->transfers = transfer;
}

static void fail(clerk_transfer *transfer, clerk_failure failure, const char *message) {
  transfer->is_finished = true;
  transfer->failure = failure;
  transfer->message = message;
}

/* Whether a byte of the request may have left. What a proxy was told to connect does not count, but
** is in the size. */
static bool has_sent(const clerk_transfer *transfer) {
  long request_size = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_size);
  return transfer->sends > 0 && request_size > 0;
}

/* Takes a transfer off libcurl's hands. Its handle is not used again: curl_easy_reset does not tell
** when it lacked the memory to restore the defaults, and then the next answer is lost. */
static void release(clerk_curl *curl, clerk_transfer *transfer) {
  curl_multi_remove_handle(curl->multi, transfer->easy);
  curl_easy_cleanup(transfer->easy);
  unlink_transfer(curl, transfer);
  transfer->easy = NULL;
}

/* In a forked child: the handles are the parent's, and even to clean them up would reach its
** connections. */
static void leave_to_parent(clerk_curl *curl) {
  if (curl->pid == getpid()) return;
  while (curl->transfers) {
    clerk_transfer *transfer = curl->transfers;
    transfer->sent = true;
    fail(transfer, CLERK_CANCELLED, "the process was forked");
    transfer->easy = NULL;
    unlink_transfer(curl, transfer);
  }
  curl->multi = NULL;
  curl->share = NULL;
  curl->pid = getpid();
}

static void close_handles(clerk_curl *curl) {
  curl_multi_cleanup(curl->multi);
  curl_share_cleanup(curl->share);
  curl->multi = NULL;
  curl->share = NULL;
}

void clerk_curl_close(clerk_curl *curl) {
  leave_to_parent(curl);
  while (curl->transfers) {
    clerk_transfer *transfer = curl->transfers;
    transfer->sent = has_sent(transfer);
    fail(transfer, CLERK_CANCELLED, "the client was closed");
    release(curl, transfer);
  }
  close_handles(curl);
  clerk_wipe_string(curl->proxy);
  free(curl->ca_file);
  clerk_buffer_free(&curl->ca_bundle);
  *curl = (clerk_curl){0};
}

static bool open_handles(clerk_curl *curl) {
  if (curl->multi) return true;
  curl->multi = curl_multi_init();
  curl->share = curl_share_init();
  if (curl->multi && curl->share &&
      curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, curl->max_connections) == CURLM_OK &&
      curl_share_setopt(curl->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK)
    return true;
  close_handles(curl);
  return false;
}

/* ------------------------------------------------------------------ one transfer */

static clerk_status add_line(clerk_transfer *transfer, const char *name, const char *separator,
                             const char *value) {
  clerk_buffer line = {0};
  struct curl_slist *lines = NULL;
  if (clerk_buffer_append(&line, name, strlen(name)) &&
      clerk_buffer_append(&line, separator, strlen(separator)) &&
      clerk_buffer_append(&line, value, strlen(value)))
    lines = curl_slist_append(transfer->header_lines, line.bytes);
  clerk_buffer_free(&line);
  if (!lines) return CLERK_NO_MEMORY;
  transfer->header_lines = lines;
  return CLERK_OK;
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

static void free_header_lines(clerk_transfer *transfer) {
  for (struct curl_slist *line = transfer->header_lines; line; line = line->next)
    clerk_wipe(line->data, strlen(line->data));
  curl_slist_free_all(transfer->header_lines);
  transfer->header_lines = NULL;
}

/* HTTP/2 is a wish, which a libcurl without it refuses; all else is needed. */
static bool set_protocols(CURL *easy) {
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
#if LIBCURL_VERSION_NUM >= 0x075500
  bool is_set = SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  bool is_set = SET(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  return is_set && SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

/* A key for loopback must not travel to a proxy that somebody set for the outside. */
static bool set_proxy(const clerk_curl *curl, CURL *easy, const char *url) {
  bool is_direct = !curl->proxy && clerk_is_loopback(url);
  return SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) && SET(easy, CURLOPT_PROXY, curl->proxy) &&
         (!is_direct || SET(easy, CURLOPT_NOPROXY, "*"));
}

static bool set_limits(CURL *easy, const clerk_curl_request *request) {
#if LIBCURL_VERSION_NUM >= 0x075700
  if (!SET(easy, CURLOPT_QUICK_EXIT, 1L)) return false;
#endif
  return SET(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms) &&
         SET(easy, CURLOPT_CONNECTTIMEOUT_MS, request->connect_timeout_ms) &&
         SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->max_response_bytes) &&
         SET(easy, CURLOPT_NOSIGNAL, 1L);
}

static bool set_callbacks(CURL *easy, clerk_transfer *transfer) {
  return SET(easy, CURLOPT_PRIVATE, transfer) && SET(easy, CURLOPT_ERRORBUFFER, transfer->error) &&
         SET(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) &&
         SET(easy, CURLOPT_PREREQFUNCTION, before_send) &&
         SET(easy, CURLOPT_PREREQDATA, transfer) &&
         SET(easy, CURLOPT_HEADERFUNCTION, receive_head) &&
         SET(easy, CURLOPT_HEADERDATA, transfer) &&
         SET(easy, CURLOPT_WRITEFUNCTION, receive_body) && SET(easy, CURLOPT_WRITEDATA, transfer);
}

static bool set_body(CURL *easy, const clerk_buffer *body) {
  return !body->bytes || (SET(easy, CURLOPT_POSTFIELDS, body->bytes) &&
                          SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->length));
}

/* To wait for a connection to share pays with HTTP/2; on plain HTTP it only costs time. */
static bool set_request(CURL *easy, const clerk_transfer *transfer,
                        const clerk_curl_request *request) {
  long may_share = strncmp(request->url, "https:", 6) == 0;
  return set_body(easy, &transfer->upload) && SET(easy, CURLOPT_PIPEWAIT, may_share) &&
         SET(easy, CURLOPT_HTTPHEADER, transfer->header_lines) &&
         SET(easy, CURLOPT_PATH_AS_IS, 1L) && SET(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate") &&
         SET(easy, CURLOPT_CUSTOMREQUEST, request->method) && SET(easy, CURLOPT_URL, request->url);
}

/* An option that is not set, for want of memory, must not let a request go: it could be the proxy.
 */
static bool set_all(const clerk_curl *curl, CURL *easy, clerk_transfer *transfer,
                    const clerk_curl_request *request) {
  return SET(easy, CURLOPT_SHARE, curl->share) && set_protocols(easy) &&
         set_proxy(curl, easy, request->url) && set_certificates(curl, easy) &&
         set_limits(easy, request) && set_callbacks(easy, transfer) &&
         set_request(easy, transfer, request);
}

clerk_status clerk_curl_start(clerk_curl *curl, clerk_transfer *transfer,
                              const clerk_curl_request *request) {
  if (curl->pid == 0) return CLERK_REFUSED;
  leave_to_parent(curl);
  if (!open_handles(curl)) return CLERK_NO_MEMORY;
  CURL *easy = curl_easy_init();
  if (!easy) return CLERK_NO_MEMORY;
  transfer->body_limit = request->max_response_bytes;
  if (!set_all(curl, easy, transfer, request) ||
      curl_multi_add_handle(curl->multi, easy) != CURLM_OK) {
    curl_easy_cleanup(easy);
    return CLERK_NO_MEMORY;
  }
  transfer->easy = easy;
  link_transfer(curl, transfer);
  return CLERK_OK;
}

static void conclude_failure(clerk_transfer *transfer, CURLcode code) {
  transfer->sent = has_sent(transfer);
  if (transfer->is_too_large)
    fail(transfer, CLERK_RESPONSE_TOO_LARGE, "the answer is larger than allowed");
  else if (transfer->sends > 1)
    fail(transfer, CLERK_CONNECTION_LOST, "a kept connection died without an answer");
  else if (code == CURLE_OK)
    fail(transfer, CLERK_CONNECTION_LOST, "the connection was closed within the answer's head");
  else
    fail(transfer, failure_of(code, transfer->sends > 0),
         *transfer->error ? transfer->error : curl_easy_strerror(code));
}

static void conclude(clerk_curl *curl, clerk_transfer *transfer, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
  if (code == CURLE_OK && transfer->phase == CLERK_PAST_HEAD) {
    transfer->is_finished = true;
    transfer->has_response = true;
    transfer->status = (int)status;
  } else {
    conclude_failure(transfer, code);
  }
  release(curl, transfer);
}

/* Moves what can move; whether a transfer is finished by that. */
static bool perform(clerk_curl *curl) {
  CURLMsg *message;
  bool is_one_finished = false;
  int left;
  curl_multi_perform(curl->multi, &left);
  while ((message = curl_multi_info_read(curl->multi, &left)) != NULL) {
    clerk_transfer *transfer;
    CURLcode code = message->data.result; /* gone once the handle is removed */
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
    conclude(curl, transfer, code);
    is_one_finished = true;
  }
  return is_one_finished;
}

void clerk_curl_step(clerk_curl *curl, int wait_ms) {
  leave_to_parent(curl);
  if (!curl->transfers || perform(curl) || wait_ms <= 0) return;
  curl_multi_poll(curl->multi, NULL, 0, wait_ms, NULL);
  perform(curl);
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

void clerk_transfer_end(clerk_transfer *transfer) {
  if (transfer->owner) leave_to_parent(transfer->owner);
  if (transfer->owner) release(transfer->owner, transfer);
  free_header_lines(transfer);
  clerk_buffer_free(&transfer->upload);
  clerk_buffer_free(&transfer->head);
  clerk_buffer_free(&transfer->body);
  *transfer = (clerk_transfer){0};
}
