/* How a transfer has ended. Internal to src/. */
#ifndef CLERK_OUTCOME_H
#define CLERK_OUTCOME_H

#include "curl.h"

/* Sets the results of a transfer that libcurl has ended with this code. */
void clerk_transfer_conclude(clerk_transfer *transfer, CURLcode code);

#endif
