/* What is wrong with an argument, in words. */
#include "problem.h"

#include <stdarg.h>
#include <stdio.h>

clerk_status clerk_refuse(clerk_problem *problem, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(problem->message, sizeof problem->message, format, arguments);
  va_end(arguments);
  return CLERK_REFUSED;
}
