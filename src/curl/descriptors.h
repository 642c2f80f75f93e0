/* The descriptors of standard input, output and error. Internal to src/. */
#ifndef CLERK_DESCRIPTORS_H
#define CLERK_DESCRIPTORS_H

/*
** Occupies those of the descriptors 0, 1 and 2 that are closed. Otherwise the next connection would
** take the number, and what the program prints would go to a server. They stay as unusable as they
** were: reading from 0 and writing to 1 or 2 still fails with EBADF.
*/
void clerk_guard_standard_descriptors(void);

#endif
