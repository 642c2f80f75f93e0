/* JSON numbers: exact 64-bit integers, correctly rounded doubles, in every locale. */
#include "json_number.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The digit's value; more than 9 where there is none. */
static inline unsigned digit_at(const char *at, const char *end) {
  return at < end ? (unsigned)(unsigned char)*at - '0' : UINT_MAX;
}

static inline bool is_digit(const char *at, const char *end) {
  return digit_at(at, end) <= 9;
}

static const char *skip_digits(const char *at, const char *end) {
  while (is_digit(at, end)) at++;
  return at;
}

#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

/* Reads eight digits at once, if so many come: first all pairs of them, then all fours. */
static bool read_eight(const char **at, const char *end, uint64_t *value) {
  uint64_t bytes;
  if (end - *at < 8) return false;
  memcpy(&bytes, *at, sizeof bytes);
  uint64_t digits = bytes - 0x3030303030303030;
  if (((bytes + 0x4646464646464646) | digits) & 0x8080808080808080) return false;
  digits = (digits * 10 + (digits >> 8)) & 0x00FF00FF00FF00FF;
  digits = (digits * 100 + (digits >> 16)) & 0x0000FFFF0000FFFF;
  *value = *value * 100000000 + (uint32_t)(digits * 10000 + (digits >> 32));
  *at += 8;
  return true;
}

#else

static bool read_eight(const char **at, const char *end, uint64_t *value) {
  (void)at, (void)end, (void)value;
  return false;
}

#endif

static uint64_t read_digits(const char **at, const char *end) {
  uint64_t value = 0;
  while (read_eight(at, end, &value)) {
  }
  for (unsigned digit; (digit = digit_at(*at, end)) <= 9; ++*at) value = value * 10 + digit;
  return value;
}

/* The integer of so many digits with the given sign; false when it does not fit. Of more than 19
** digits none does, whatever `value` is then: there are no leading zeros. */
static bool to_integer(uint64_t value, ptrdiff_t digits, bool negative, int64_t *integer) {
  const uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
  if (digits > 19 || value > limit) return false;
  *integer = negative ? (int64_t)(0 - value) : (int64_t)value;
  return true;
}

static clerk_number malformed(clerk_number number, const char *at, const char *problem) {
  number.end = at;
  number.problem = problem;
  return number;
}

clerk_number clerk_number_scan(const char *start, const char *end) {
  clerk_number number = {.start = start};
  bool negative = *start == '-';
  const char *digits = start + negative, *at = digits;
  uint64_t value = read_digits(&at, end);
  if (at == digits) return malformed(number, at, "a digit is missing");
  if (*digits == '0' && at - digits > 1) return malformed(number, digits + 1, "a leading zero");
  number.is_integer = to_integer(value, at - digits, negative, &number.integer);
  if (at < end && *at == '.') {
    number.is_integer = false;
    if (!is_digit(++at, end)) return malformed(number, at, "a digit is missing");
    at = skip_digits(at, end);
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    number.is_integer = false;
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    if (!is_digit(at, end)) return malformed(number, at, "a digit is missing");
    at = skip_digits(at, end);
  }
  number.end = at;
  return number;
}

/* No double needs more significant digits to be rounded; a nonzero rest counts as one digit more.
 */
enum { SIGNIFICANT_DIGITS = 768, EXPONENT_LIMIT = 100000000 };

typedef struct decimal {
  char text[SIGNIFICANT_DIGITS + 32];
  int length;
  bool rest;
  long exponent; /* of the last digit kept */
} decimal;

static void add_digit(decimal *value, char digit, bool fraction) {
  if (value->length == 0 && digit == '0') { /* a leading zero */
    value->exponent -= fraction;
  } else if (value->length < SIGNIFICANT_DIGITS) {
    value->text[value->length++] = digit;
    value->exponent -= fraction;
  } else {
    value->rest = value->rest || digit != '0';
    value->exponent += !fraction;
  }
}

static long read_exponent(const char *at, const char *end) {
  bool negative = *at == '-';
  long exponent = 0;
  for (at += negative || *at == '+'; at < end; at++)
    if (exponent < EXPONENT_LIMIT) exponent = exponent * 10 + (*at - '0');
  return negative ? -exponent : exponent;
}

/* strtod reads the locale's decimal point; digits with an exponent have none. */
double clerk_number_to_double(const clerk_number *number) {
  decimal value = {.length = 0};
  bool negative = *number->start == '-', fraction = false;
  for (const char *at = number->start + negative; at < number->end; at++) {
    if (*at == '.') {
      fraction = true;
    } else if (*at == 'e' || *at == 'E') {
      value.exponent += read_exponent(at + 1, number->end);
      break;
    } else {
      add_digit(&value, *at, fraction);
    }
  }
  if (value.length == 0) return negative ? -0.0 : 0.0;
  if (value.rest) {
    value.text[value.length++] = '1';
    value.exponent--;
  }
  snprintf(value.text + value.length, sizeof value.text - (size_t)value.length, "e%ld",
           value.exponent);
  double magnitude = strtod(value.text, NULL);
  return negative ? -magnitude : magnitude;
}

/* Everything but the locale's decimal point, which may be several bytes. */
static bool is_literal(char byte) {
  return strchr("0123456789+-e", byte) != NULL;
}

static void replace_point(char *literal) {
  char *to = literal;
  for (const char *from = literal; *from; from++) {
    if (is_literal(*from))
      *to++ = *from;
    else if (is_literal(from[1]))
      *to++ = '.';
  }
  *to = '\0';
}

void clerk_number_write(double number, char literal[CLERK_NUMBER_SIZE]) {
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(literal, CLERK_NUMBER_SIZE, "%.*g", digits, number);
    if (strtod(literal, NULL) == number) break;
  }
  replace_point(literal);
}
