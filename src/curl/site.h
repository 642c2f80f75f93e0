/* A server's URL, parsed once for all requests to it. Internal to src/. */
#ifndef CLERK_SITE_H
#define CLERK_SITE_H

#include <curl/curl.h>
#include <stdbool.h>

typedef struct clerk_site {
  int references;
  CURLU *url; /* without path and query; NULL when libcurl cannot parse it */
  bool is_loopback;
  char origin[]; /* "https://api.clerk.com", as it is written in the URLs */
} clerk_site;

/*
** A reference to the site of a URL: to `*latest` when that is the same one, else to a new one, which
** replaces it. NULL when out of memory; `*latest` is unchanged then.
*/
clerk_site *clerk_site_of(clerk_site **latest, const char *url);

/* Drops a reference; the last one frees the site. NULL is allowed. */
void clerk_site_release(clerk_site *site);

#endif
