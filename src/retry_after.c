/* Retry-After (RFC 9110, 10.2.3): seconds, or a date in one of HTTP's three forms (5.6.7). */
#include <stdio.h>
#include <string.h>

#include "clerk.h"

typedef struct http_date {
  int year, month, day, hour, minute, second;
} http_date;

/* Days from 1970-01-01 in the Gregorian calendar, counted in years that begin with March. */
static int64_t days_since_epoch(const http_date *date) {
  int64_t year = date->year - (date->month <= 2);
  int64_t month = (date->month + 9) % 12;
  return 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date->day - 1 -
         719468;
}

static int month_number(const char *name) {
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const char *found = strstr(names, name);
  return strlen(name) == 3 && found && (found - names) % 3 == 0 ? (int)(found - names) / 3 + 1 : 0;
}

static bool is_plausible(const http_date *date) {
  return date->month > 0 && date->year >= 1970 && date->day >= 1 && date->day <= 31 &&
         date->hour >= 0 && date->hour <= 23 && date->minute >= 0 && date->minute <= 59 &&
         date->second >= 0 && date->second <= 60;
}

/* IMF-fixdate, the old RFC 850 form, and the form of C's asctime. */
static bool scan_date(const char *text, http_date *date) {
  char month[4] = "";
  int end = 0;
  if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &date->day, month,
             &date->year, &date->hour, &date->minute, &date->second, &end) == 6 &&
      end > 0)
    return date->month = month_number(month), text[end] == '\0';
  if (sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &date->day, month,
             &date->year, &date->hour, &date->minute, &date->second, &end) == 6 &&
      end > 0) {
    date->year += date->year < 70 ? 2000 : 1900;
    return date->month = month_number(month), text[end] == '\0';
  }
  if (sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &date->day, &date->hour,
             &date->minute, &date->second, &date->year, &end) == 6 &&
      end > 0)
    return date->month = month_number(month), text[end] == '\0';
  return false;
}

static bool parse_date(const char *text, int64_t *seconds) {
  http_date date = {0};
  if (!scan_date(text, &date) || !is_plausible(&date)) return false;
  *seconds = days_since_epoch(&date) * 86400 + date.hour * 3600 + date.minute * 60 + date.second;
  return true;
}

/* More seconds than anybody waits need no more digits. */
static bool parse_seconds(const char *text, int64_t *seconds) {
  const int64_t enough = INT64_C(1000000000);
  if (*text == '\0' || text[strspn(text, "0123456789")] != '\0') return false;
  for (*seconds = 0; *text; text++)
    *seconds = *seconds < enough ? *seconds * 10 + (*text - '0') : *seconds;
  return true;
}

bool clerk_parse_retry_after(const char *retry_after, const char *date, int64_t *seconds) {
  int64_t until, now;
  if (!retry_after) return false;
  if (parse_seconds(retry_after, seconds)) return true;
  if (!date || !parse_date(retry_after, &until) || !parse_date(date, &now)) return false;
  *seconds = until > now ? until - now : 0;
  return true;
}
