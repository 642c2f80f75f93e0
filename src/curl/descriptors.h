/* File descriptors. Internal to src/. */
#ifndef CLERK_DESCRIPTORS_H
#define CLERK_DESCRIPTORS_H

#include <stdbool.h>

#define CLERK_NO_DESCRIPTOR \
  "the process has no file descriptor left: close some, or raise ulimit -n"

/*
** Occupies those of the descriptors 0, 1 and 2 that are closed. Otherwise the next connection would
** take the number, and what the program prints would go to a server. They stay as unusable as they
** were: reading from 0 and writing to 1 or 2 still fails with EBADF.
*/
void clerk_guard_standard_descriptors(void);

/* As socket(2), and closed in programs that this one executes. */
int clerk_open_socket(int family, int type, int protocol);

/* Whether this errno means that there are no descriptors left. */
bool clerk_lacks_descriptors(int error);

/* Whether so few descriptors are left that libcurl cannot look up a name or start. */
bool clerk_descriptors_are_scarce(void);

#endif
