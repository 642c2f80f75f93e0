/* Which sockets are ready: by epoll on Linux, by poll elsewhere. Internal to src/. */
#ifndef CLERK_POLLER_H
#define CLERK_POLLER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__linux__) && !defined(CLERK_USE_POLL)
#define CLERK_HAS_EPOLL 1
#else
#define CLERK_HAS_EPOLL 0
#endif

enum { CLERK_READABLE = 1, CLERK_WRITABLE = 2, CLERK_BROKEN = 4 };

enum { CLERK_ADDRESS_SIZE = 46 }; /* of an IP address as text */

/* What is known about a descriptor; its number is the index. */
typedef struct clerk_watch {
  void *owner;
  unsigned char wanted;          /* CLERK_READABLE, CLERK_WRITABLE; 0: not watched */
  unsigned char registered;      /* with epoll */
  bool is_kept;                  /* its owner calls clerk_poller_drop before it is closed */
  bool is_http1;                 /* a note of the transport: its connection speaks HTTP/1 */
  int local_port, peer_port;     /* of a kept one, once they were looked up; else 0 */
  char peer[CLERK_ADDRESS_SIZE]; /* ... its peer's IP address */
} clerk_watch;

/* Zero it before clerk_poller_open; clerk_poller_close ends it. */
typedef struct clerk_poller {
  int epoll; /* with epoll */
  bool is_open;
  clerk_watch *watches;
  size_t capacity;
  size_t end;       /* no descriptor from here on was ever watched */
  unsigned changes; /* counts descriptors that are kept or dropped */
} clerk_poller;

typedef struct clerk_ready {
  void *owner;
  int descriptor;
  int events; /* CLERK_READABLE, CLERK_WRITABLE, CLERK_BROKEN */
} clerk_ready;

/* False when the system has no descriptor left. An open one is left as it is. */
bool clerk_poller_open(clerk_poller *poller);

/* Frees everything and zeroes the struct; the descriptors watched stay open. */
void clerk_poller_close(clerk_poller *poller);

/* Frees the table of descriptors once none is watched or kept; epoll's own stays open. */
void clerk_poller_trim(clerk_poller *poller);

/*
** To be called when a descriptor was just opened, and before it is closed. Such a descriptor stays
** registered with epoll while nothing waits for it, which saves half of the system calls of a kept
** connection. False when out of memory.
*/
bool clerk_poller_keep(clerk_poller *poller, int descriptor);
void clerk_poller_drop(clerk_poller *poller, int descriptor);

/* The kept socket of that connection, whose peer has this IP address and port; -1 if there is none. */
int clerk_poller_find(clerk_poller *poller, int local_port, const char *peer, int peer_port);

/* Watches for these events from now on; 0 for none. False when out of memory. */
bool clerk_poller_watch(clerk_poller *poller, int descriptor, int events, void *owner);

/* Whether the descriptor is watched for being writable. */
bool clerk_poller_wants_to_write(const clerk_poller *poller, int descriptor);

/* Waits at most `wait_ms` (-1: without limit); writes what is ready, at most `count`. */
size_t clerk_poller_wait(clerk_poller *poller, int wait_ms, clerk_ready ready[], size_t count);

#endif
