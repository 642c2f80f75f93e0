/* JSON numbers (RFC 8259, 6). Internal to src/. */
#ifndef CLERK_JSON_NUMBER_H
#define CLERK_JSON_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* A number literal, taken apart. */
typedef struct clerk_number {
  const char *start;   /* the minus sign or the first digit */
  const char *end;     /* after the literal, or, when it is malformed, where */
  const char *problem; /* what is malformed; NULL: nothing */
  bool is_integer;     /* no fraction, no exponent, fits 64 bits */
  int64_t integer;     /* when it is */
} clerk_number;

/* Takes apart the literal at `start`, which does not reach past `end`. */
clerk_number clerk_number_scan(const char *start, const char *end);

/* The nearest double, whatever the locale; infinite when it is too large. */
double clerk_number_to_double(const clerk_number *number);

enum { CLERK_NUMBER_SIZE = 40 };

/* Writes a finite number as a literal that is read as the same number, whatever the locale. */
void clerk_number_write(double number, char literal[CLERK_NUMBER_SIZE]);

#endif
