/* What is wrong with an argument, in words. Internal to src/. */
#ifndef CLERK_PROBLEM_H
#define CLERK_PROBLEM_H

#include "clerk.h"

/* Writes the problem's message as printf does, cut to its room. Returns CLERK_REFUSED. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
clerk_status
clerk_refuse(clerk_problem *problem, const char *format, ...);

#endif
