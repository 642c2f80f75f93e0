/* Which sockets are ready. */
#include "poller.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if CLERK_HAS_EPOLL
#include <sys/epoll.h>
#endif

#include "descriptors.h"

/* The watch of a descriptor; NULL when out of memory. */
static clerk_watch *reserve_watch(clerk_poller *poller, int descriptor) {
  size_t index = (size_t)descriptor;
  if (index < poller->capacity && index >= poller->end) poller->end = index + 1;
  if (index < poller->capacity) return &poller->watches[index];
  size_t capacity = poller->capacity ? poller->capacity : 64;
  while (capacity <= index) capacity *= 2;
  clerk_watch *watches = realloc(poller->watches, capacity * sizeof *watches);
  if (!watches) return NULL;
  memset(watches + poller->capacity, 0, (capacity - poller->capacity) * sizeof *watches);
  poller->watches = watches;
  poller->capacity = capacity;
  poller->end = index + 1;
  return &watches[index];
}

bool clerk_poller_keep(clerk_poller *poller, int descriptor) {
  clerk_watch *watch = reserve_watch(poller, descriptor);
  poller->changes++;
  if (watch) *watch = (clerk_watch){.is_kept = true};
  return watch != NULL;
}

typedef union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} address;

static int port_of(const address *a) {
  return ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port);
}

static int local_port_of(int descriptor) {
  address local = {0};
  socklen_t size = sizeof local;
  return getsockname(descriptor, &local.any, &size) == 0 ? port_of(&local) : 0;
}

static void look_up_peer(int descriptor, clerk_watch *watch) {
  address peer = {0};
  socklen_t size = sizeof peer;
  if (getpeername(descriptor, &peer.any, &size) != 0) return;
  bool is_v4 = peer.any.sa_family == AF_INET;
  const void *ip = is_v4 ? (const void *)&peer.v4.sin_addr : (const void *)&peer.v6.sin6_addr;
  if (inet_ntop(peer.any.sa_family, ip, watch->peer, sizeof watch->peer))
    watch->peer_port = port_of(&peer);
}

/* Connections to different peers may have the same local port. */
int clerk_poller_find(clerk_poller *poller, int local_port, const char *peer, int peer_port) {
  for (size_t i = 0; i < poller->end; i++) {
    clerk_watch *watch = &poller->watches[i];
    if (!watch->is_kept) continue;
    if (watch->local_port == 0) watch->local_port = local_port_of((int)i);
    if (watch->local_port != local_port) continue;
    if (watch->peer_port == 0) look_up_peer((int)i, watch);
    if (watch->peer_port == peer_port && strcmp(watch->peer, peer) == 0) return (int)i;
  }
  return -1;
}

bool clerk_poller_wants_to_write(const clerk_poller *poller, int descriptor) {
  return (size_t)descriptor < poller->capacity &&
         (poller->watches[descriptor].wanted & CLERK_WRITABLE) != 0;
}

void clerk_poller_trim(clerk_poller *poller) {
  free(poller->watches);
  poller->watches = NULL;
  poller->capacity = poller->end = 0;
}

#if CLERK_HAS_EPOLL

bool clerk_poller_open(clerk_poller *poller) {
  if (poller->is_open) return true;
  clerk_guard_standard_descriptors();
  poller->epoll = epoll_create1(EPOLL_CLOEXEC);
  poller->is_open = poller->epoll >= 0;
  return poller->is_open;
}

void clerk_poller_close(clerk_poller *poller) {
  if (poller->is_open) close(poller->epoll);
  clerk_poller_trim(poller);
  *poller = (clerk_poller){0};
}

/* A descriptor that was closed without our knowing is gone from epoll, or is another one there. */
static bool update_epoll(const clerk_poller *poller, int descriptor, clerk_watch *watch) {
  struct epoll_event event = {.data.fd = descriptor};
  int what = watch->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (watch->wanted & CLERK_READABLE) event.events |= EPOLLIN;
  if (watch->wanted & CLERK_WRITABLE) event.events |= EPOLLOUT;
  watch->registered = watch->wanted;
  if (!watch->wanted) {
    epoll_ctl(poller->epoll, EPOLL_CTL_DEL, descriptor, &event);
    return true;
  }
  if (epoll_ctl(poller->epoll, what, descriptor, &event) == 0) return true;
  if (errno == ENOENT) return epoll_ctl(poller->epoll, EPOLL_CTL_ADD, descriptor, &event) == 0;
  return errno == EEXIST && epoll_ctl(poller->epoll, EPOLL_CTL_MOD, descriptor, &event) == 0;
}

bool clerk_poller_watch(clerk_poller *poller, int descriptor, int events, void *owner) {
  clerk_watch *watch = reserve_watch(poller, descriptor);
  if (!watch) return false;
  watch->owner = owner;
  watch->wanted = (unsigned char)events;
  bool may_stay = events == 0 && watch->is_kept;
  return may_stay || watch->registered == events || update_epoll(poller, descriptor, watch);
}

/* Closing alone does not do this while a forked child still has the descriptor. */
void clerk_poller_drop(clerk_poller *poller, int descriptor) {
  poller->changes++;
  if ((size_t)descriptor >= poller->capacity) return;
  if (poller->watches[descriptor].registered)
    epoll_ctl(poller->epoll, EPOLL_CTL_DEL, descriptor, NULL);
  poller->watches[descriptor] = (clerk_watch){0};
}

static int events_of(const struct epoll_event *event) {
  int events = 0;
  if (event->events & EPOLLIN) events |= CLERK_READABLE;
  if (event->events & EPOLLOUT) events |= CLERK_WRITABLE;
  if (event->events & (EPOLLERR | EPOLLHUP)) events |= CLERK_BROKEN;
  return events;
}

size_t clerk_poller_wait(clerk_poller *poller, int wait_ms, clerk_ready ready[], size_t count) {
  struct epoll_event events[16];
  size_t written = 0;
  int most = count < 16 ? (int)count : 16;
  int found = epoll_wait(poller->epoll, events, most, wait_ms);
  for (int i = 0; i < found; i++) {
    int descriptor = events[i].data.fd;
    bool is_known = (size_t)descriptor < poller->capacity;
    clerk_watch *watch = is_known ? &poller->watches[descriptor] : NULL;
    if (!watch) /* one that a forked child has kept open */
      epoll_ctl(poller->epoll, EPOLL_CTL_DEL, descriptor, &events[i]);
    else if (watch->wanted)
      ready[written++] = (clerk_ready){watch->owner, descriptor, events_of(&events[i])};
    else
      update_epoll(poller, descriptor, watch);
  }
  return written;
}

#else

bool clerk_poller_open(clerk_poller *poller) {
  poller->is_open = true;
  return true;
}

void clerk_poller_close(clerk_poller *poller) {
  clerk_poller_trim(poller);
  *poller = (clerk_poller){0};
}

bool clerk_poller_watch(clerk_poller *poller, int descriptor, int events, void *owner) {
  clerk_watch *watch = reserve_watch(poller, descriptor);
  if (!watch) return false;
  watch->owner = owner;
  watch->wanted = (unsigned char)events;
  return true;
}

void clerk_poller_drop(clerk_poller *poller, int descriptor) {
  poller->changes++;
  if ((size_t)descriptor < poller->capacity) poller->watches[descriptor] = (clerk_watch){0};
}

static int events_of(const struct pollfd *polled) {
  int events = 0;
  if (polled->revents & POLLIN) events |= CLERK_READABLE;
  if (polled->revents & POLLOUT) events |= CLERK_WRITABLE;
  if (polled->revents & (POLLERR | POLLHUP | POLLNVAL)) events |= CLERK_BROKEN;
  return events;
}

static nfds_t count_watched(const clerk_poller *poller) {
  nfds_t watched = 0;
  for (size_t i = 0; i < poller->capacity; i++) watched += poller->watches[i].wanted != 0;
  return watched;
}

static void gather(const clerk_poller *poller, struct pollfd *polled, nfds_t count) {
  for (size_t i = 0; count > 0; i++) {
    int wanted = poller->watches[i].wanted;
    if (!wanted) continue;
    short events =
        (short)((wanted & CLERK_READABLE ? POLLIN : 0) | (wanted & CLERK_WRITABLE ? POLLOUT : 0));
    *polled++ = (struct pollfd){.fd = (int)i, .events = events};
    count--;
  }
}

size_t clerk_poller_wait(clerk_poller *poller, int wait_ms, clerk_ready ready[], size_t count) {
  enum { FEW = 64 };
  struct pollfd few[FEW], *many = NULL;
  size_t written = 0;
  nfds_t watched = count_watched(poller);
  if (watched > FEW) many = calloc(watched, sizeof *many);
  if (watched > FEW && !many) watched = FEW; /* out of memory: some at least */
  struct pollfd *polled = many ? many : few;
  gather(poller, polled, watched);
  if (poll(polled, watched, wait_ms) > 0)
    for (nfds_t i = 0; i < watched && written < count; i++)
      if (polled[i].revents)
        ready[written++] =
            (clerk_ready){poller->watches[polled[i].fd].owner, polled[i].fd, events_of(&polled[i])};
  free(many);
  return written;
}

#endif
