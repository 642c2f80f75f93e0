/* The descriptors of standard input, output and error. */
#include "descriptors.h"

#include <fcntl.h>
#include <unistd.h>

/* A new descriptor has the lowest free number, so opening them in order hits the closed ones. */
void clerk_guard_standard_descriptors(void) {
  static const int wrong_way[] = {O_WRONLY, O_RDONLY, O_RDONLY};
  for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++) {
    if (fcntl(standard, F_GETFD) >= 0) continue;
    int fd = open("/dev/null", wrong_way[standard] | O_CLOEXEC);
    if (fd > STDERR_FILENO) close(fd); /* another thread was faster */
  }
}
