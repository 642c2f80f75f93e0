/*
** Plain libcurl, the limit: one easy handle with the options of src/curl.c that matter, set once;
** the body goes into memory and is not decoded. The argument "default" takes Debian's certificates
** as libcurl does, otherwise they are taken as src/curl.c takes them.
*/
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct body {
  char *bytes;
  size_t length, capacity;
} body;

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
  body *b = user;
  (void)one;
  if (b->length + length > b->capacity) {
    b->capacity = 2 * (b->length + length);
    b->bytes = realloc(b->bytes, b->capacity);
    check(b->bytes != NULL, "no memory");
  }
  memcpy(b->bytes + b->length, bytes, length);
  b->length += length;
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

static CURL *new_handle(body *b, int as_default) {
  CURL *easy = curl_easy_init();
  check(easy != NULL, "no handle");
  curl_easy_setopt(easy, CURLOPT_URL, url());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers());
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10000L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, b);
  set_certificates(easy, as_default);
  return easy;
}

static void call(CURL *easy, body *b) {
  long status = 0;
  b->length = 0;
  check(curl_easy_perform(easy) == CURLE_OK, "the request failed");
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  check(status == 200, "another status came");
  check(b->length == strtoul(setting("BENCH_BYTES"), NULL, 10), "bytes are missing");
}

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* VmHWM of the process: getrusage's figure also counts the process before exec. */
static long most_memory(void) {
  char line[256];
  long kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "re");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %ld", &kilobytes) == 1) break;
  if (file) fclose(file);
  return kilobytes;
}

int main(int count, char **arguments) {
  char line[64];
  body b = {0};
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL *easy = new_handle(&b, count > 1 && strcmp(arguments[1], "default") == 0);
  while (fgets(line, sizeof line, stdin)) {
    struct rusage usage;
    for (long i = strtol(line, NULL, 10); i > 0; i--) call(easy, &b);
    getrusage(RUSAGE_SELF, &usage);
    printf("%.6f %ld\n", seconds(usage.ru_utime) + seconds(usage.ru_stime), most_memory());
    fflush(stdout);
  }
  curl_easy_cleanup(easy);
  curl_global_cleanup();
  return 0;
}
