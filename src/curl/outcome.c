/* How a transfer has ended: with a response, or with which failure. */
#include "outcome.h"

#include <string.h>

#include "descriptors.h"
#include "easy.h"

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
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_HTTP_CONNECTCODE, &status);
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_PROXY_ERROR, &reason);
  return status == 403 || status == 407 || reason == CURLPX_USER_REJECTED ||
         reason == CURLPX_NO_AUTH || reason == CURLPX_REPLY_NOT_ALLOWED;
}

static bool lacks_descriptors(const clerk_transfer *transfer) {
  bool is_lookup = transfer->failure == CLERK_DNS_FAILED || transfer->failure == CLERK_TLS_FAILED;
  return transfer->lacks_fd || (is_lookup && clerk_descriptors_are_scarce());
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

/* The handle's error buffer does not live as long as the transfer. */
static void keep_message(clerk_transfer *transfer, CURLcode code) {
  if (transfer->message != transfer->easy->error) return;
  transfer->error = strdup(transfer->message);
  transfer->message = transfer->error ? transfer->error : curl_easy_strerror(code);
}

static void conclude_failure(clerk_transfer *transfer, CURLcode code) {
  const char *error = transfer->easy->error;
  transfer->sent = clerk_transfer_has_sent(transfer);
  transfer->message = *error ? error : curl_easy_strerror(code);
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
  keep_message(transfer, code);
}

static void note_protocol(const clerk_transfer *transfer) {
  const clerk_poller *poller = &transfer->owner->loop->poller;
  long version = 0;
  if (transfer->descriptor < 0 || (size_t)transfer->descriptor >= poller->capacity) return;
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_HTTP_VERSION, &version);
  poller->watches[transfer->descriptor].is_http1 = version <= CURL_HTTP_VERSION_1_1;
}

void clerk_transfer_conclude(clerk_transfer *transfer, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(transfer->easy->handle, CURLINFO_RESPONSE_CODE, &status);
  transfer->has_response = code == CURLE_OK && transfer->phase == CLERK_PAST_HEAD;
  transfer->status = (int)status;
  if (!transfer->has_response)
    conclude_failure(transfer, code);
  else if (transfer->is_tls && transfer->is_first)
    note_protocol(transfer);
}
