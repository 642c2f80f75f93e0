/* A server's URL, parsed once. */
#include "site.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"

/* How long the part before the path is. */
static size_t origin_length(const char *url) {
  const char *scheme_end = strstr(url, "://");
  size_t start = scheme_end ? (size_t)(scheme_end - url) + 3 : 0;
  return start + strcspn(url + start, "/");
}

/* False when out of memory. */
static bool parse(clerk_site *site) {
  site->url = curl_url();
  if (!site->url) return false;
  CURLUcode code = curl_url_set(site->url, CURLUPART_URL, site->origin, 0);
  if (code == CURLUE_OK) return true;
  curl_url_cleanup(site->url);
  site->url = NULL;
  return code != CURLUE_OUT_OF_MEMORY;
}

static clerk_site *new_site(const char *origin, size_t length) {
  clerk_site *site = calloc(1, sizeof *site + length + 1);
  if (!site) return NULL;
  site->references = 1;
  memcpy(site->origin, origin, length);
  site->is_loopback = clerk_is_loopback(site->origin);
  if (parse(site)) return site;
  free(site);
  return NULL;
}

static bool is_of(const clerk_site *site, const char *url, size_t length) {
  return strncmp(site->origin, url, length) == 0 && site->origin[length] == '\0';
}

clerk_site *clerk_site_of(clerk_site **latest, const char *url) {
  size_t length = origin_length(url);
  if (!*latest || !is_of(*latest, url, length)) {
    clerk_site *site = new_site(url, length);
    if (!site) return NULL;
    clerk_site_release(*latest);
    *latest = site;
  }
  (*latest)->references++;
  return *latest;
}

void clerk_site_release(clerk_site *site) {
  if (!site || --site->references > 0) return;
  curl_url_cleanup(site->url);
  free(site);
}
