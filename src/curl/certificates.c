/* The certificate authorities that TLS trusts. */
#include "certificates.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

/* OpenSSL finds a certificate in a directory by a link named after its hash: "1a2b3c4d.0". */
static bool has_hash_links(const char *directory) {
  DIR *entries = directory ? opendir(directory) : NULL;
  bool found = false;
  if (!entries) return false;
  const struct dirent *entry;
  /* cppcheck-suppress readdirCalled ; a stream of our own, which no other thread reads */
  while (!found && (entry = readdir(entries)) != NULL) { /* NOLINT(concurrency-mt-unsafe): same */
    const char *name = entry->d_name;
    found = strspn(name, "0123456789abcdef") == 8 && name[8] == '.' &&
            strspn(name + 9, "0123456789") > 0;
  }
  closedir(entries);
  return found;
}

/* Appends a file. False when it cannot be read (errno says why) or when out of memory (errno is 0). */
static bool append_file(clerk_buffer *buffer, const char *path) {
  char bytes[4096];
  size_t length;
  bool ok;
  FILE *file = fopen(path, "rbe");
  if (!file) return false;
  do {
    length = fread(bytes, 1, sizeof bytes, file);
    ok = clerk_buffer_append(buffer, bytes, length);
  } while (ok && length == sizeof bytes);
  int error = ferror(file) ? errno : 0;
  fclose(file);
  errno = error;
  return ok && error == 0;
}

static clerk_status refuse_unreadable(clerk_problem *problem, const char *ca_file, int error) {
  /* NOLINTNEXTLINE(concurrency-mt-unsafe): not for the errors of files */
  return clerk_refuse(problem, "ca_file \"%.160s\" cannot be read: %s", ca_file, strerror(error));
}

/* "BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE" and "BEGIN X509 CERTIFICATE" are what OpenSSL
** reads; a "CERTIFICATE REQUEST" is not one. */
static bool holds_certificate(const clerk_buffer *pem) {
  static const char end[] = " CERTIFICATE-----";
  static const char begin[] = "-----BEGIN";
  const char *at = pem->length ? memmem(pem->bytes, pem->length, begin, strlen(begin)) : NULL;
  return at && memmem(at, pem->length - (size_t)(at - pem->bytes), end, strlen(end));
}

static clerk_status add_file(clerk_certificates *certificates, const char *ca_file,
                             const char *system_bundle, clerk_problem *problem) {
  clerk_buffer own = {0};
  clerk_status status = CLERK_OK;
  if (!append_file(&own, ca_file)) {
    status = errno ? refuse_unreadable(problem, ca_file, errno) : CLERK_NO_MEMORY;
  } else if (!holds_certificate(&own)) {
    status =
        clerk_refuse(problem, "ca_file \"%.160s\" holds no certificate in PEM format", ca_file);
  } else if (certificates->directory) {
    certificates->file = strdup(ca_file);
    if (!certificates->file) status = CLERK_NO_MEMORY;
  } else {
    clerk_buffer *bundle = &certificates->bundle;
    /* Without a system bundle that can be read, the caller's file counts alone. */
    bool has_memory = !system_bundle || append_file(bundle, system_bundle) || errno != 0;
    if (!has_memory || !clerk_buffer_append(bundle, "\n", 1) ||
        !clerk_buffer_append(bundle, own.bytes, own.length))
      status = CLERK_NO_MEMORY;
  }
  clerk_buffer_free(&own);
  return status;
}

/* The hashed directory is read a certificate at a time; Debian's default of bundle and directory
** costs 30 ms for every new connection. */
clerk_status clerk_certificates_choose(clerk_certificates *certificates, const char *ca_file,
                                       clerk_problem *problem) {
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  clerk_status status = CLERK_OK;
  if (has_hash_links(info->capath)) certificates->directory = info->capath;
  if (ca_file) status = add_file(certificates, ca_file, info->cainfo, problem);
  if (status != CLERK_OK) clerk_certificates_free(certificates);
  return status;
}

/* Not every TLS library supports directories; then there is no default one to turn off either. */
bool clerk_certificates_set(const clerk_certificates *certificates, CURL *easy) {
  const clerk_buffer *bundle = &certificates->bundle;
  const char *directory = certificates->directory;
  struct curl_blob blob = {bundle->bytes, bundle->length, CURL_BLOB_NOCOPY};
  CURLcode code = curl_easy_setopt(easy, CURLOPT_CAPATH, directory);
  if (!directory) code = CURLE_OK;
  if (code == CURLE_OK && directory)
    code = curl_easy_setopt(easy, CURLOPT_CAINFO, certificates->file);
  if (code == CURLE_OK && blob.len > 0) code = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
  return code == CURLE_OK;
}

void clerk_certificates_free(clerk_certificates *certificates) {
  free(certificates->file);
  clerk_buffer_free(&certificates->bundle);
  *certificates = (clerk_certificates){0};
}
