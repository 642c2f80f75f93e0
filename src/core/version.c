/* The version, which the build takes from CMakeLists.txt. */
#include "clerk.h"

const char *clerk_version(void) {
  return CLERK_VERSION;
}
