/* The libcurl transport: the loop, the clients' connections, and the transfers on them. */
#include "curl.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"
#include "easy.h"
#include "outcome.h"
#include "problem.h"

/* libcurl lets a request wait for a connection that another one is making, also beyond its timeout.
** This much later the request ends all the same. */
enum { GRACE_MS = 50 };

int64_t clerk_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t earlier_of(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* ------------------------------------------------------------------ lists of transfers */

static void leave_list(clerk_transfer *transfer) {
  clerk_transfers *list = transfer->list;
  if (!list) return;
  if (transfer->previous)
    transfer->previous->next = transfer->next;
  else
    list->first = transfer->next;
  if (transfer->next)
    transfer->next->previous = transfer->previous;
  else
    list->last = transfer->previous;
  transfer->list = NULL;
}

static void move_to(clerk_transfers *list, clerk_transfer *transfer) {
  leave_list(transfer);
  transfer->list = list;
  transfer->next = NULL;
  transfer->previous = list->last;
  if (list->last)
    list->last->next = transfer;
  else
    list->first = transfer;
  list->last = transfer;
}

/* ------------------------------------------------------------------ transfers come and go */

/* A handle is reused only after a complete transfer, and never reset: curl_easy_reset does not
** report that it had no memory to restore the defaults, and then the next response is lost. */
static void put_back(clerk_curl *curl, clerk_easy *easy, bool is_reusable) {
  clerk_easy_forget(easy);
  if (is_reusable && curl->idle_count < curl->max_connections) {
    easy->next = curl->idle;
    curl->idle = easy;
    curl->idle_count++;
  } else {
    clerk_easy_free(easy);
  }
}

static clerk_easy *take_easy(clerk_curl *curl) {
  clerk_easy *easy = curl->idle;
  if (!easy) return clerk_easy_new(curl);
  curl->idle = easy->next;
  curl->idle_count--;
  return easy;
}

/* Takes a transfer back from libcurl. */
static void release(clerk_curl *curl, clerk_transfer *transfer) {
  if (transfer->list == &curl->moving)
    curl_multi_remove_handle(curl->multi, transfer->easy->handle);
  leave_list(transfer);
  if (!curl->waiting.first && !curl->moving.first) curl->overdue_ms = INT64_MAX;
  put_back(curl, transfer->easy, transfer->has_response);
  transfer->easy = NULL;
  transfer->owner = NULL;
}

static void finish(clerk_curl *curl, clerk_transfer *transfer) {
  release(curl, transfer);
  transfer->is_finished = true;
  move_to(&curl->loop->finished, transfer);
}

static void fail(clerk_curl *curl, clerk_transfer *transfer, clerk_failure failure,
                 const char *message) {
  transfer->sent = clerk_transfer_has_sent(transfer);
  transfer->failure = failure;
  transfer->message = message;
  finish(curl, transfer);
}

/* ------------------------------------------------------------------ forks */

static void abandon_transfers(clerk_loop *loop, clerk_transfers *transfers) {
  while (transfers->first) {
    clerk_transfer *transfer = transfers->first;
    transfer->is_finished = true;
    transfer->sent = true;
    transfer->failure = CLERK_CANCELLED;
    transfer->message = "the process was forked";
    transfer->easy = NULL;
    transfer->owner = NULL;
    move_to(&loop->finished, transfer);
  }
}

/* In a forked child: the handles are the parent's, and even cleaning them up would affect its
** connections. */
static void leave_to_parent(clerk_loop *loop) {
  pid_t pid = getpid();
  if (loop->pid == pid) return;
  loop->pid = pid;
  clerk_poller_close(&loop->poller);
  for (clerk_curl *curl = loop->members; curl; curl = curl->next) {
    abandon_transfers(loop, &curl->waiting);
    abandon_transfers(loop, &curl->moving);
    curl->multi = NULL;
    curl->share = NULL;
    curl->idle = NULL;
    curl->idle_count = 0;
    curl->timer_ms = -1;
    curl->overdue_ms = INT64_MAX;
  }
}

/* ------------------------------------------------------------------ one client's connections */

static bool libcurl_is_ready;

static void init_libcurl(void) {
  libcurl_is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == 0;
}

static bool is_proxy_scheme(const char *scheme) {
  static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
    if (strcmp(scheme, schemes[i]) == 0) return true;
  return false;
}

/* Checked here because libcurl's message may quote a bad one, with its password. */
static clerk_status check_proxy(const char *proxy, clerk_problem *problem) {
  const unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME;
  char *scheme = NULL;
  CURLU *url = curl_url();
  CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, proxy, flags) : CURLUE_OUT_OF_MEMORY;
  if (code == CURLUE_OK) code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
  bool is_good = code == CURLUE_OK && is_proxy_scheme(scheme);
  curl_free(scheme);
  curl_url_cleanup(url);
  if (is_good) return CLERK_OK;
  if (code == CURLUE_OUT_OF_MEMORY) return CLERK_NO_MEMORY;
  return clerk_refuse(
      problem, "proxy must be a URL with http, https or socks, such as http://127.0.0.1:3128");
}

static clerk_status keep_proxy(clerk_curl *curl, const char *proxy, clerk_problem *problem) {
  if (!proxy) return CLERK_OK;
  clerk_status status = check_proxy(proxy, problem);
  if (status != CLERK_OK) return status;
  curl->proxy = strdup(proxy);
  return curl->proxy ? CLERK_OK : CLERK_NO_MEMORY;
}

static void join_loop(clerk_curl *curl, clerk_loop *loop) {
  loop->references++;
  curl->loop = loop;
  curl->previous = NULL;
  curl->next = loop->members;
  if (loop->members) loop->members->previous = curl;
  loop->members = curl;
}

static void leave_loop(clerk_curl *curl) {
  if (curl->previous)
    curl->previous->next = curl->next;
  else
    curl->loop->members = curl->next;
  if (curl->next) curl->next->previous = curl->previous;
  if (!curl->loop->members) clerk_poller_trim(&curl->loop->poller);
  clerk_loop_release(curl->loop);
}

clerk_status clerk_curl_init(clerk_curl *curl, clerk_loop *loop, const clerk_curl_options *options,
                             clerk_problem *problem) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_libcurl);
  if (!libcurl_is_ready) return CLERK_NO_MEMORY;
  leave_to_parent(loop);
  join_loop(curl, loop);
  curl->timer_ms = -1;
  curl->overdue_ms = INT64_MAX;
  curl->max_connections = options->max_connections;
  clerk_status status = clerk_certificates_choose(&curl->certificates, options->ca_file, problem);
  if (status == CLERK_OK) status = keep_proxy(curl, options->proxy, problem);
  if (status != CLERK_OK) clerk_curl_close(curl);
  return status;
}

static void close_multi(clerk_curl *curl) {
  curl_multi_cleanup(curl->multi);
  curl->multi = NULL;
  curl->timer_ms = -1;
  curl->lost_a_watch = false;
}

static void close_share(clerk_curl *curl) {
  curl_share_cleanup(curl->share);
  curl->share = NULL;
}

static void cancel_all(clerk_curl *curl, const clerk_transfers *transfers) {
  for (clerk_transfer *transfer = transfers->first, *next; transfer; transfer = next) {
    next = transfer->next;
    fail(curl, transfer, CLERK_CANCELLED, "the client was closed");
  }
}

void clerk_curl_close(clerk_curl *curl) {
  if (!curl->loop) return;
  leave_to_parent(curl->loop);
  cancel_all(curl, &curl->waiting);
  cancel_all(curl, &curl->moving);
  while (curl->idle) clerk_easy_free(take_easy(curl));
  close_multi(curl);
  close_share(curl);
  clerk_wipe_string(curl->proxy);
  clerk_site_release(curl->site);
  clerk_certificates_free(&curl->certificates);
  leave_loop(curl);
  *curl = (clerk_curl){0};
}

/* libcurl's callback: which events of a socket it waits for. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user) {
  clerk_curl *curl = user;
  int events = 0;
  (void)easy, (void)socket_user;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= CLERK_READABLE;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= CLERK_WRITABLE;
  if (!clerk_poller_watch(&curl->loop->poller, fd, events, curl)) curl->lost_a_watch = true;
  return 0;
}

/* libcurl's callback: when it wants to be called even if no socket is ready. */
static int on_timer(CURLM *multi, long wait_ms, void *user) {
  clerk_curl *curl = user;
  (void)multi;
  curl->timer_ms = wait_ms < 0 ? -1 : clerk_now_us() / 1000 + wait_ms;
  return 0;
}

static bool set_multi(clerk_curl *curl) {
  CURLM *multi = curl->multi;
  return curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, curl->max_connections) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, curl) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERDATA, curl) == CURLM_OK;
}

static bool open_multi(clerk_curl *curl) {
  if (curl->multi) return true;
  clerk_guard_standard_descriptors();
  if (!clerk_poller_open(&curl->loop->poller)) return false;
  curl->multi = curl_multi_init();
  if (curl->multi && set_multi(curl)) return true;
  close_multi(curl);
  return false;
}

static bool open_share(clerk_curl *curl) {
  if (curl->share) return true;
  curl->share = curl_share_init();
  if (curl->share &&
      curl_share_setopt(curl->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK)
    return true;
  close_share(curl);
  return false;
}

static void fail_without_descriptor(clerk_loop *loop, clerk_transfer *transfer) {
  transfer->failure = CLERK_NO_RESOURCES;
  transfer->message = CLERK_NO_DESCRIPTOR;
  transfer->is_finished = true;
  move_to(&loop->finished, transfer);
}

clerk_status clerk_curl_start(clerk_curl *curl, clerk_transfer *transfer,
                              const clerk_curl_request *request) {
  if (!curl->loop) return CLERK_REFUSED;
  leave_to_parent(curl->loop);
  if (!open_multi(curl) && clerk_descriptors_are_scarce()) {
    fail_without_descriptor(curl->loop, transfer);
    return CLERK_OK;
  }
  if (!open_multi(curl) || !open_share(curl)) return CLERK_NO_MEMORY;
  clerk_easy *easy = take_easy(curl);
  if (!easy) return CLERK_NO_MEMORY;
  if (!clerk_easy_set(easy, curl, transfer, request)) {
    clerk_easy_free(easy);
    return CLERK_NO_MEMORY;
  }
  transfer->easy = easy;
  transfer->owner = curl;
  transfer->overdue_ms = clerk_now_us() / 1000 + request->timeout_ms + GRACE_MS;
  curl->overdue_ms = earlier_of(curl->overdue_ms, transfer->overdue_ms);
  move_to(&curl->waiting, transfer);
  return CLERK_OK;
}

void clerk_transfer_trim(clerk_transfer *transfer) {
  leave_list(transfer);
  clerk_site_release(transfer->site);
  transfer->site = NULL;
  clerk_easy_free_header_lines(transfer);
  clerk_buffer_free(&transfer->upload);
  clerk_buffer_free(&transfer->body);
}

void clerk_transfer_end(clerk_transfer *transfer) {
  if (transfer->owner) leave_to_parent(transfer->owner->loop);
  if (transfer->owner) release(transfer->owner, transfer);
  clerk_transfer_trim(transfer);
  clerk_buffer_free(&transfer->head);
  free(transfer->error);
  *transfer = (clerk_transfer){0};
}

/* ------------------------------------------------------------------ steps */

static void finish_transfers(clerk_curl *curl) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(curl->multi, &left)) != NULL) {
    clerk_easy *easy;
    CURLcode code = message->data.result; /* gone once the handle is removed */
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&easy);
    clerk_transfer *transfer = easy->transfer;
    if (clerk_easy_renew(transfer)) {
      curl_multi_remove_handle(curl->multi, transfer->easy->handle);
      move_to(&curl->waiting, transfer);
    } else {
      clerk_transfer_conclude(transfer, code);
      finish(curl, transfer);
    }
  }
}

/* Out of memory, libcurl can lose a socket or its timer, and crash when it continues. */
static void start_over(clerk_curl *curl) {
  while (curl->moving.first)
    fail(curl, curl->moving.first, CLERK_NO_RESOURCES, "not enough memory");
  close_multi(curl);
}

static void run_multi(clerk_curl *curl, curl_socket_t fd, int events) {
  int running;
  if (!curl->multi) return;
  CURLMcode code = curl_multi_socket_action(curl->multi, fd, events, &running);
  finish_transfers(curl);
  if (code != CURLM_OK || curl->lost_a_watch) start_over(curl);
}

static void act_on_timer(clerk_curl *curl) {
  curl->timer_ms = -1;
  run_multi(curl, CURL_SOCKET_TIMEOUT, 0);
}

static void act_on_socket(const clerk_ready *ready) {
  int events = 0;
  if (ready->events & CLERK_READABLE) events |= CURL_CSELECT_IN;
  if (ready->events & CLERK_WRITABLE) events |= CURL_CSELECT_OUT;
  if (ready->events & CLERK_BROKEN) events |= CURL_CSELECT_ERR;
  clerk_curl *curl = ready->owner;
  run_multi(curl, ready->descriptor, events);
  /* Over HTTP/2 a body goes out in a turn of its own. When the server answers before the body came,
  ** libcurl loses the response: so the body does not wait until other sockets had their turns. */
  if (clerk_poller_wants_to_write(&curl->loop->poller, ready->descriptor))
    run_multi(curl, ready->descriptor, CURL_CSELECT_OUT);
}

static void begin(clerk_curl *curl, clerk_transfer *transfer) {
  if (!open_multi(curl) || curl_multi_add_handle(curl->multi, transfer->easy->handle) != CURLM_OK) {
    fail(curl, transfer, CLERK_NO_RESOURCES, "not enough memory");
    return;
  }
  move_to(&curl->moving, transfer);
  act_on_timer(curl);
}

static void end_overdue_in(clerk_curl *curl, const clerk_transfers *transfers, int64_t now_ms) {
  for (clerk_transfer *transfer = transfers->first, *next; transfer; transfer = next) {
    next = transfer->next;
    if (transfer->overdue_ms <= now_ms)
      fail(curl, transfer, CLERK_TIMEOUT, "no response within the time allowed");
    else
      curl->overdue_ms = earlier_of(curl->overdue_ms, transfer->overdue_ms);
  }
}

static void end_overdue(clerk_loop *loop) {
  int64_t now_ms = clerk_now_us() / 1000;
  for (clerk_curl *curl = loop->members; curl; curl = curl->next) {
    if (curl->overdue_ms > now_ms) continue;
    curl->overdue_ms = INT64_MAX;
    end_overdue_in(curl, &curl->waiting, now_ms);
    end_overdue_in(curl, &curl->moving, now_ms);
  }
}

static void begin_waiting_and_run_timer(clerk_curl *curl, int64_t end_us) {
  while (curl->waiting.first) {
    begin(curl, curl->waiting.first); /* at least one, however busy other clients are */
    if (clerk_now_us() >= end_us) break;
  }
  if (curl->timer_ms >= 0 && curl->timer_ms <= clerk_now_us() / 1000) act_on_timer(curl);
}

/* How long until something is due, at most `wait_ms`; -1 in both means without limit. */
static int time_to_wait(const clerk_loop *loop, int wait_ms) {
  int64_t wait = wait_ms < 0 ? INT32_MAX : wait_ms;
  bool is_due = loop->finished.first != NULL;
  bool is_bounded = wait_ms >= 0;
  for (const clerk_curl *curl = loop->members; curl; curl = curl->next) {
    if (curl->waiting.first) is_due = true;
    int64_t due_ms = curl->overdue_ms;
    if (curl->timer_ms >= 0) due_ms = earlier_of(due_ms, curl->timer_ms);
    if (due_ms == INT64_MAX) continue;
    wait = earlier_of(wait, due_ms - clerk_now_us() / 1000);
    is_bounded = true;
  }
  if (is_due || wait < 0) return 0;
  return is_bounded ? (int)wait : -1;
}

/* Whether epoll must be asked. After a call that has ended at once it need not: the next step asks. */
static bool needs_poller(const clerk_loop *loop, int wait_ms) {
  if (wait_ms != 0 || !loop->finished.first) return true;
  for (const clerk_curl *curl = loop->members; curl; curl = curl->next)
    if (curl->moving.first) return true;
  return false;
}

void clerk_loop_step(clerk_loop *loop, int wait_ms, int64_t work_us) {
  clerk_ready ready[16];
  leave_to_parent(loop);
  if (!clerk_poller_open(&loop->poller)) {
    poll(NULL, 0, time_to_wait(loop, wait_ms));
    end_overdue(loop);
    return;
  }
  int64_t end_us = clerk_now_us() + work_us;
  for (clerk_curl *curl = loop->members; curl; curl = curl->next)
    begin_waiting_and_run_timer(curl, end_us);
  int wait = time_to_wait(loop, wait_ms);
  size_t count = 0;
  if (needs_poller(loop, wait)) count = clerk_poller_wait(&loop->poller, wait, ready, 16);
  if (wait != 0) end_us = clerk_now_us() + work_us;
  unsigned changes = loop->poller.changes; /* after a change, a number may be another socket's */
  for (size_t i = 0; i < count && (i == 0 || clerk_now_us() < end_us); i++)
    /* cppcheck-suppress knownConditionTrueFalse ; libcurl's callbacks change it */
    if (loop->poller.changes == changes) act_on_socket(&ready[i]);
  end_overdue(loop);
}

clerk_transfer *clerk_loop_next_finished(clerk_loop *loop) {
  clerk_transfer *transfer = loop->finished.first;
  if (transfer) leave_list(transfer);
  return transfer;
}

int clerk_loop_descriptor(clerk_loop *loop, int *wait_ms) {
  leave_to_parent(loop);
  *wait_ms = time_to_wait(loop, -1);
  return CLERK_HAS_EPOLL && clerk_poller_open(&loop->poller) ? loop->poller.epoll : -1;
}

clerk_loop *clerk_loop_new(void) {
  clerk_loop *loop = calloc(1, sizeof *loop);
  if (!loop) return NULL;
  loop->references = 1;
  loop->pid = getpid();
  return loop;
}

void clerk_loop_release(clerk_loop *loop) {
  if (!loop || --loop->references > 0) return;
  while (loop->finished.first) leave_list(loop->finished.first);
  clerk_poller_close(&loop->poller);
  free(loop);
}
