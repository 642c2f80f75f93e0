/*
** Base URLs, read more strictly than RFC 3986 allows, so that no other reader of the same URL
** (libcurl, a proxy) can take it for another host.
*/
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "problem.h"

typedef struct url_parts {
  bool is_https;
  clerk_text host; /* without brackets */
  clerk_text port; /* may be empty */
  bool is_bracketed;
  const char *path;
} url_parts;

static const char digits[] = "0123456789";
static const char hex_digits[] = "0123456789abcdefABCDEF";
static const char host_bytes[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._";
static const char address_bytes[] = "0123456789abcdefABCDEF:.";
static const char path_bytes[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+,;=:/%";

static clerk_text span(const char *at, const char *allowed) {
  return (clerk_text){at, strspn(at, allowed)};
}

static bool starts_with(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Takes the URL apart; what does not belong into a base URL is left at `path`. */
static bool split(const char *url, url_parts *parts) {
  parts->is_https = starts_with(url, "https://");
  if (!parts->is_https && !starts_with(url, "http://")) return false;
  const char *at = url + strcspn(url, "/") + strlen("//");
  parts->is_bracketed = *at == '[';
  at += parts->is_bracketed;
  parts->host = span(at, parts->is_bracketed ? address_bytes : host_bytes);
  at += parts->host.length;
  if (parts->is_bracketed && *at++ != ']') return false;
  parts->port = (clerk_text){at, 0};
  if (*at == ':') {
    parts->port = span(at + 1, digits);
    at += 1 + parts->port.length;
    if (parts->port.length == 0) return false;
  }
  parts->path = at;
  return parts->host.length > 0;
}

static bool is_port(clerk_text port) {
  if (port.length == 0) return true;
  if (port.length > 5) return false;
  long number = strtol(port.bytes, NULL, 10);
  return number >= 1 && number <= 65535;
}

/* Four decimal numbers of at most 255 without leading zeros, of which `first` is the first. */
static bool is_ipv4(clerk_text host, long *first) {
  const char *at = host.bytes, *end = at + host.length;
  for (int part = 0; part < 4; part++) {
    size_t length = strspn(at, digits);
    if (length == 0 || length > 3 || (length > 1 && *at == '0')) return false;
    long number = strtol(at, NULL, 10);
    if (number > 255) return false;
    if (part == 0) *first = number;
    at += length;
    if (part < 3 && *at++ != '.') return false;
  }
  return at == end;
}

static bool is_ipv6(clerk_text host) {
  char address[INET6_ADDRSTRLEN];
  struct in6_addr parsed;
  if (host.length >= sizeof address) return false;
  memcpy(address, host.bytes, host.length);
  address[host.length] = '\0';
  return inet_pton(AF_INET6, address, &parsed) == 1;
}

/* Whether the last label is a number: then many readers take the host for an IPv4 address, however
** it is written (0x7f.1 is 127.0.0.1 to libcurl). */
static bool ends_in_number(clerk_text host) {
  size_t end = host.length - (host.bytes[host.length - 1] == '.'), start = end;
  while (start > 0 && host.bytes[start - 1] != '.') start--;
  const char *label = host.bytes + start;
  size_t length = end - start;
  if (length > 1 && label[0] == '0' && (label[1] | 0x20) == 'x')
    return strspn(label + 2, hex_digits) >= length - 2;
  return strspn(label, digits) >= length;
}

static bool is_host(const url_parts *parts) {
  long first;
  if (parts->is_bracketed) return is_ipv6(parts->host);
  return is_ipv4(parts->host, &first) || !ends_in_number(parts->host);
}

static bool is_localhost(clerk_text host) {
  static const char name[] = "localhost";
  if (host.length != strlen(name)) return false;
  for (size_t i = 0; i < host.length; i++)
    if ((host.bytes[i] | 0x20) != name[i]) return false;
  return true;
}

static bool is_loopback(const url_parts *parts) {
  long first;
  if (parts->is_bracketed) return parts->host.length == 3 && starts_with(parts->host.bytes, "::1");
  return is_localhost(parts->host) || (is_ipv4(parts->host, &first) && first == 127);
}

bool clerk_is_loopback(const char *url) {
  url_parts parts;
  return split(url, &parts) && is_loopback(&parts);
}

static bool has_dot_segment(const char *path) {
  for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    size_t dots = strspn(slash + 1, ".");
    bool is_whole = slash[1 + dots] == '/' || slash[1 + dots] == '\0';
    if (is_whole && (dots == 1 || dots == 2)) return true;
  }
  return false;
}

/* Other readers may take "%2e" for a dot. */
static bool is_path(const char *path) {
  if (*path != '\0' && *path != '/') return false;
  for (const char *at = strchr(path, '%'); at; at = strchr(at + 1, '%'))
    if (strspn(at + 1, hex_digits) < 2 || strncasecmp(at, "%2e", 3) == 0) return false;
  return path[strspn(path, path_bytes)] == '\0' && !has_dot_segment(path);
}

clerk_status clerk_check_base_url(clerk_text url, bool allow_http, clerk_problem *problem) {
  url_parts parts;
  if (strlen(url.bytes) != url.length)
    return clerk_refuse(problem, "base_url must not contain a NUL byte");
  if (strchr(url.bytes, '@')) return clerk_refuse(problem, "base_url must not contain credentials");
  if (!split(url.bytes, &parts))
    return clerk_refuse(
        problem, "base_url must be an absolute URL with https (or http to loopback) and a host");
  if (strpbrk(parts.path, "?#"))
    return clerk_refuse(problem, "base_url must not contain a query or fragment");
  if (!is_host(&parts))
    return clerk_refuse(problem,
                        "base_url must have a name, an IPv4 address or [IPv6] as its host");
  if (!is_port(parts.port))
    return clerk_refuse(problem, "base_url must have a port from 1 to 65535");
  if (!is_path(parts.path))
    return clerk_refuse(
        problem,
        "base_url must have a path without \".\" or \"..\" segments, bad escapes and other "
        "special characters");
  if (!parts.is_https && !allow_http && !is_loopback(&parts))
    return clerk_refuse(problem,
                        "base_url must be https, except to 127.0.0.0/8, [::1] or localhost");
  return CLERK_OK;
}
