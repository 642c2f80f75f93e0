/* Requests of HTTP/1.1 (RFC 9112). */
#include "http_request.h"

#include <stdio.h>
#include <string.h>

#define TEXT(literal) ((clerk_text){literal, sizeof(literal) - 1})

static clerk_status append(clerk_buffer *out, const clerk_text parts[], size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!clerk_buffer_append(out, parts[i].bytes, parts[i].length)) return CLERK_NO_MEMORY;
  return CLERK_OK;
}

/* Whether there is something, and only visible characters other than that one. */
static bool is_word(clerk_text text, char excluded) {
  for (size_t i = 0; i < text.length; i++) {
    unsigned char byte = (unsigned char)text.bytes[i];
    if (byte <= ' ' || byte == 0x7F || byte == (unsigned char)excluded) return false;
  }
  return text.length > 0;
}

static bool is_line(clerk_text text) {
  return !memchr(text.bytes, '\r', text.length) && !memchr(text.bytes, '\n', text.length) &&
         !memchr(text.bytes, '\0', text.length);
}

static const char *find(clerk_text text, size_t from, char byte) {
  return from < text.length ? memchr(text.bytes + from, byte, text.length - from) : NULL;
}

clerk_status clerk_http_begin_request(clerk_buffer *out, clerk_text method, clerk_text url) {
  const char *scheme_end = find(url, 0, ':'), *end = url.bytes + url.length;
  size_t host_at = scheme_end ? (size_t)(scheme_end - url.bytes) + 3 : url.length;
  const char *path = find(url, host_at, '/');
  if (!path) return CLERK_REFUSED;
  clerk_text host = {url.bytes + host_at, (size_t)(path - (url.bytes + host_at))};
  clerk_text target = {path, (size_t)(end - path)};
  if (!is_word(method, ':') || !is_word(host, '/') || !is_word(target, ' ')) return CLERK_REFUSED;
  const clerk_text parts[] = {method, TEXT(" "),
                              target, TEXT(" HTTP/1.1\r\nhost: "),
                              host,   TEXT("\r\naccept-encoding: identity\r\n")};
  return append(out, parts, sizeof parts / sizeof *parts);
}

clerk_status clerk_http_authorize(clerk_buffer *out, clerk_text key) {
  const clerk_text parts[] = {TEXT("authorization: Bearer "), key, TEXT("\r\n")};
  return append(out, parts, sizeof parts / sizeof *parts);
}

clerk_status clerk_http_add_header(clerk_buffer *out, clerk_text name, clerk_text value) {
  if (!is_word(name, ':') || !is_line(value)) return CLERK_REFUSED;
  const clerk_text parts[] = {name, TEXT(": "), value, TEXT("\r\n")};
  return append(out, parts, sizeof parts / sizeof *parts);
}

clerk_status clerk_http_end_request(clerk_buffer *out, clerk_text body) {
  char length[24];
  if (!body.bytes) return append(out, &TEXT("\r\n"), 1);
  int digits = snprintf(length, sizeof length, "%zu", body.length);
  const clerk_text parts[] = {
      TEXT("content-length: "), {length, (size_t)digits}, TEXT("\r\n\r\n"), body};
  return append(out, parts, sizeof parts / sizeof *parts);
}
