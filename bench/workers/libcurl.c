/*
** Plain libcurl, the limit: easy handles with the options of src/curl.c that matter, set once; the
** body goes into memory and is not decoded. The argument "default" takes Debian's certificates as
** libcurl does, otherwise they are taken as src/curl.c takes them.
*/
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "usage.h"

enum { IN_FLIGHT = 32 };

typedef struct transfer {
  CURL *easy;
  char *bytes;
  size_t length, capacity;
} transfer;

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static void check(int condition, const char *message) {
  if (condition) return;
  fprintf(stderr, "libcurl: %s\n", message);
  exit(1);
}

static size_t receive(char *bytes, size_t one, size_t length, void *user) {
  transfer *t = user;
  (void)one;
  if (t->length + length > t->capacity) {
    t->capacity = 2 * (t->length + length);
    char *larger = realloc(t->bytes, t->capacity);
    check(larger != NULL, "no memory");
    t->bytes = larger;
  }
  memcpy(t->bytes + t->length, bytes, length);
  t->length += length;
  return length;
}

static const char *url(void) {
  static char text[512];
  if (strcmp(setting("BENCH_KIND"), "list") == 0)
    snprintf(text, sizeof text, "%s/machines?limit=%s", setting("BENCH_BASE_URL"),
             setting("BENCH_COUNT"));
  else
    snprintf(text, sizeof text, "%s/machines/%s", setting("BENCH_BASE_URL"), setting("BENCH_ID"));
  return text;
}

static struct curl_slist *headers(void) {
  struct curl_slist *lines = curl_slist_append(NULL, "authorization: Bearer sk_test_bench");
  curl_slist_append(lines, "accept: application/json");
  curl_slist_append(lines, "clerk-api-version: 2026-05-12");
  return curl_slist_append(lines, "user-agent: clerk-machines/0.1.0 (plain libcurl)");
}

static void set_certificates(CURL *easy, int as_default) {
  if (as_default) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, setting("BENCH_CA_BUNDLE"));
  } else {
    curl_easy_setopt(easy, CURLOPT_CAINFO, setting("BENCH_CA_FILE"));
    curl_easy_setopt(easy, CURLOPT_CAPATH, "/etc/ssl/certs");
  }
}

static void init(transfer *t, int as_default) {
  CURL *easy = curl_easy_init();
  check(easy != NULL, "no handle");
  curl_easy_setopt(easy, CURLOPT_URL, url());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers());
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, (long)(strncmp(url(), "https:", 6) == 0));
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10000L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
  set_certificates(easy, as_default);
  t->easy = easy;
}

static void finish(transfer *t, CURLcode code) {
  long status = 0;
  check(code == CURLE_OK, "the request failed");
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
  check(status == 200, "another status came");
  check(t->length == strtoul(setting("BENCH_BYTES"), NULL, 10), "bytes are missing");
  t->length = 0;
}

static void call_in_turn(transfer *t, long calls) {
  for (; calls > 0; calls--) finish(t, curl_easy_perform(t->easy));
}

/* Moves what can move, and lets who is finished begin anew. Returns how many have finished. */
static long move(CURLM *multi, long *to_begin) {
  long finished = 0;
  int left;
  CURLMsg *message;
  curl_multi_perform(multi, &left);
  for (; (message = curl_multi_info_read(multi, &left)) != NULL; finished++) {
    transfer *t = NULL;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
    finish(t, message->data.result);
    curl_multi_remove_handle(multi, t->easy);
    if (*to_begin > 0) curl_multi_add_handle(multi, t->easy);
    (*to_begin)--;
  }
  return finished;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void wait_for_any(CURLM *multi) {
  curl_multi_poll(multi, NULL, 0, 1000, NULL);
}

static void wait_for_a_ms(CURLM *multi) {
  (void)multi;
  nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void call_at_once(CURLM *multi, transfer *transfers, long calls, void (*wait)(CURLM *)) {
  long to_begin = calls - IN_FLIGHT;
  for (long i = 0; i < IN_FLIGHT && i < calls; i++) curl_multi_add_handle(multi, transfers[i].easy);
  for (;; wait(multi)) {
    double start = now();
    calls -= move(multi, &to_begin);
    if (wait == wait_for_a_ms) printf("%.7f ", now() - start);
    if (calls == 0) return;
  }
}

int main(int count, char **arguments) {
  char line[64];
  transfer transfers[IN_FLIGHT] = {0};
  bool is_flight = strcmp(setting("BENCH_KIND"), "flight") == 0;
  bool is_steps = strcmp(setting("BENCH_KIND"), "steps") == 0;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURLM *multi = curl_multi_init();
  for (int i = 0; i < (is_flight || is_steps ? IN_FLIGHT : 1); i++)
    init(&transfers[i], count > 1 && strcmp(arguments[1], "default") == 0);
  while (fgets(line, sizeof line, stdin)) {
    long calls = strtol(line, NULL, 10);
    if (is_flight)
      call_at_once(multi, transfers, calls, wait_for_any);
    else if (is_steps)
      call_at_once(multi, transfers, calls, wait_for_a_ms);
    else
      call_in_turn(transfers, calls);
    print_usage();
  }
  return 0;
}
