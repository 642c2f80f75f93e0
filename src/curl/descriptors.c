/* File descriptors: those that libcurl must not get, new sockets, and whether any are left. */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A new descriptor has the lowest free number, so opening them in order hits the closed ones. */
void clerk_guard_standard_descriptors(void) {
  static const int wrong_way[] = {O_WRONLY, O_RDONLY, O_RDONLY};
  struct pollfd standard[] = {
      {.fd = STDIN_FILENO}, {.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}}; /* in this order */
  if (poll(standard, 3, 0) <= 0) return;
  for (int i = 0; i < 3; i++) {
    if (!(standard[i].revents & POLLNVAL)) continue;
    int fd = open("/dev/null", wrong_way[i] | O_CLOEXEC);
    if (fd > STDERR_FILENO) close(fd); /* another thread was faster */
  }
}

int clerk_open_socket(int family, int type, int protocol) {
#ifdef SOCK_CLOEXEC
  return socket(family, type | SOCK_CLOEXEC, protocol);
#else
  int fd = socket(family, type, protocol);
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#endif
}

bool clerk_lacks_descriptors(int error) {
  return error == EMFILE || error == ENFILE;
}

/* A lookup that failed has closed its descriptors by now, so several must be free. */
bool clerk_descriptors_are_scarce(void) {
  enum { NEEDED = 5 };
  int fds[NEEDED], count = 0;
  while (count < NEEDED && (fds[count] = clerk_open_socket(AF_UNIX, SOCK_STREAM, 0)) >= 0) count++;
  bool is_scarce = count < NEEDED && clerk_lacks_descriptors(errno);
  for (int i = 0; i < count; i++) close(fds[i]);
  return is_scarce;
}
