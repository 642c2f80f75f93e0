/* Retry-After (RFC 9110, 10.2.3): seconds, or a date in one of HTTP's three forms (5.6.7). */
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

/* The number of the month whose name is at `text`, or 0. */
static int month_number(const char *text) {
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const char *name = names;
  for (int month = 1; month <= 12; month++, name += 3)
    if (strncmp(text, name, 3) == 0) return month;
  return 0;
}

static bool is_plausible(const http_date *date) {
  return date->year >= 1970 && date->day >= 1 && date->day <= 31 && date->hour <= 23 &&
         date->minute <= 59 && date->second <= 60;
}

static int *number_of(http_date *date, char letter) {
  switch (letter) {
    case 'y': return &date->year;
    case 'd': return &date->day;
    case 'h': return &date->hour;
    case 'm': return &date->minute;
    case 's': return &date->second;
    default: return NULL;
  }
}

/* Reads what one letter of a form stands for; returns its length, 0 when it is not there. */
static size_t read_part(const char *text, char letter, http_date *date) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  int *number = number_of(date, letter);
  if (letter == 'w') return strspn(text, letters);
  if (letter == 'b') return (date->month = month_number(text)) > 0 ? 3 : 0;
  if (!number) return *text == letter;
  bool is_padding = *text == ' ' && *number == 0;
  if (!is_padding && (*text < '0' || *text > '9')) return 0;
  *number = *number * 10 + (is_padding ? 0 : *text - '0');
  return 1;
}

/* In a form, each y d h m s stands for a digit of its number, w for a weekday, b for a month. */
static bool matches(const char *text, const char *form, http_date *date) {
  *date = (http_date){0};
  for (; *form; form++) {
    size_t length = read_part(text, *form, date);
    if (length == 0) return false;
    text += length;
  }
  return *text == '\0';
}

/* IMF-fixdate, the form of C's asctime, and the old RFC 850 form. */
static bool scan_date(const char *text, http_date *date) {
  if (matches(text, "w, dd b yyyy hh:mm:ss GMT", date)) return true;
  if (matches(text, "w b dd hh:mm:ss yyyy", date)) return true;
  if (!matches(text, "w, dd-b-yy hh:mm:ss GMT", date)) return false;
  date->year += date->year < 70 ? 2000 : 1900;
  return true;
}

bool clerk_parse_date(const char *text, int64_t *seconds) {
  http_date date = {0};
  if (!scan_date(text, &date) || !is_plausible(&date)) return false;
  *seconds = ((days_since_epoch(&date) * 24 + date.hour) * 60 + date.minute) * 60 + date.second;
  return true;
}

/* Stops growing at ten digits, so that it cannot overflow. */
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
  if (!date || !clerk_parse_date(retry_after, &until) || !clerk_parse_date(date, &now))
    return false;
  *seconds = until > now ? until - now : 0;
  return true;
}
