/*
** What a client is configured with. A base URL that passes must be the same to libcurl: the same
** host above all. A header and a key that pass must stay on their line. The input: a line each for
** the URL and the header's name; the rest is the header's value, and the key.
*/
#include <arpa/inet.h>
#include <curl/curl.h>
#include <strings.h>

#include "fuzz.h"

/* ------------------------------------------------------------------ base URL */

/* A part of the URL, to be freed by curl_free; NULL when there is none. */
static char *part_of(CURLU *url, CURLUPart part) {
  char *text = NULL;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return NULL;
  return text;
}

static void check_absent(CURLU *url) {
  static const CURLUPart parts[] = {CURLUPART_USER,   CURLUPART_PASSWORD, CURLUPART_OPTIONS,
                                    CURLUPART_ZONEID, CURLUPART_QUERY,    CURLUPART_FRAGMENT};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert(!part_of(url, parts[i]));
}

static bool is_loopback(const char *host) {
  struct in_addr address;
  if (inet_pton(AF_INET, host, &address) == 1) return ntohl(address.s_addr) >> 24 == 127;
  return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static struct in6_addr ipv6_of(const char *bracketed) {
  struct in6_addr address;
  char text[INET6_ADDRSTRLEN] = "";
  size_t length = strcspn(bracketed + 1, "]");
  assert(length < sizeof text);
  memcpy(text, bracketed + 1, length);
  assert(inet_pton(AF_INET6, text, &address) == 1);
  return address;
}

/* Whether the host at `ours`, in a URL that passed, is that of libcurl, which shortens IPv6. */
static bool is_same_host(const char *ours, const char *theirs) {
  if (*ours != '[') {
    size_t length = strcspn(ours, ":/");
    return strlen(theirs) == length && strncasecmp(ours, theirs, length) == 0;
  }
  struct in6_addr our_address = ipv6_of(ours);
  struct in6_addr their_address = ipv6_of(theirs);
  return memcmp(&our_address, &their_address, sizeof our_address) == 0;
}

static void check_host(CURLU *url, const char *text, bool allow_http) {
  char *scheme = part_of(url, CURLUPART_SCHEME);
  char *host = part_of(url, CURLUPART_HOST);
  assert(scheme && host);
  assert(is_same_host(text + strlen(scheme) + strlen("://"), host));
  assert(!clerk_is_loopback(text) || is_loopback(host));
  assert(strcmp(scheme, "https") == 0 || allow_http || is_loopback(host));
  curl_free(scheme);
  curl_free(host);
}

static void check_url(clerk_text text, bool allow_http) {
  clerk_problem problem = {""};
  CURLU *url = curl_url();
  assert(url);
  if (clerk_check_base_url(text, allow_http, &problem) == CLERK_OK) {
    assert(curl_url_set(url, CURLUPART_URL, text.bytes, CURLU_PATH_AS_IS) == CURLUE_OK);
    check_host(url, text.bytes, allow_http);
    check_absent(url);
  } else {
    assert(strncmp(problem.message, "base_url ", 9) == 0);
  }
  curl_url_cleanup(url);
}

/* ------------------------------------------------------------------ headers */

static bool breaks_line(clerk_text text) {
  return memchr(text.bytes, '\r', text.length) || memchr(text.bytes, '\n', text.length) ||
         memchr(text.bytes, '\0', text.length);
}

static void check_header(clerk_text name, clerk_text value) {
  clerk_problem problem = {""};
  if (clerk_check_header(name, value, &problem) != CLERK_OK) {
    assert(*problem.message);
    return;
  }
  assert(name.length > 0 && !breaks_line(name) && !breaks_line(value));
  assert(!strpbrk(name.bytes, ": \t"));
  assert(strcasecmp(name.bytes, "authorization") != 0);
  assert(strcasecmp(name.bytes, "content-length") != 0);
}

static void check_key(clerk_text key) {
  clerk_problem problem = {""};
  if (clerk_check_secret_key("secret_key", key, &problem) == CLERK_OK) {
    assert(key.length > 0 && !breaks_line(key));
    return;
  }
  assert(*problem.message);
  assert(key.length < 16 ||
         !memmem(problem.message, strlen(problem.message), key.bytes, key.length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = fuzz_open(data, size);
  clerk_text url = fuzz_line(&input);
  clerk_text name = fuzz_line(&input);
  clerk_text value = fuzz_rest(&input);
  check_url(url, false);
  check_url(url, true);
  check_header(name, value);
  check_key(value);
  fuzz_close(&input);
  return 0;
}
