/*
** The libcurl transport: it moves bytes and does not interpret them. No Lua. C programs link it as
** clerk::curl (CMake) or clerk-curl (pkg-config).
**
** A clerk_curl has the connections of one client. A clerk_transfer is one request in progress. A
** clerk_loop waits for all of them: they advance only within clerk_loop_step. One thread at a time
** may use a loop and what belongs to it; clients and transfers must not move in memory from their
** first use to their end. After a fork the child starts without connections and does not touch the
** parent's.
*/
#ifndef CLERK_CURL_H
#define CLERK_CURL_H

#include <curl/curl.h>
#include <sys/types.h>

#include "certificates.h"
#include "clerk.h"
#include "clerk_memory.h"
#include "http_framing.h"
#include "poller.h"
#include "site.h"

typedef struct clerk_curl clerk_curl;
typedef struct clerk_transfer clerk_transfer;
typedef struct clerk_easy clerk_easy;

typedef struct clerk_transfers {
  clerk_transfer *first, *last;
} clerk_transfers;

/* ------------------------------------------------------------------ the loop */

/* All members are private. */
typedef struct clerk_loop {
  int references;
  pid_t pid; /* the process that the handles belong to */
  clerk_poller poller;
  clerk_curl *members;
  clerk_transfers finished; /* and not fetched by clerk_loop_next_finished */
} clerk_loop;

/* A new loop, for clerk_loop_release; NULL when out of memory. Each clerk_curl has a reference too. */
clerk_loop *clerk_loop_new(void);

/* Drops a reference; the last one frees the loop. NULL is allowed. */
void clerk_loop_release(clerk_loop *loop);

/*
** Waits until some transfer can advance, at most `wait_ms` (-1: without limit) and perhaps less,
** then advances transfers for about `work_us` microseconds, at least one of them once: so a host that
** draws or serves is not held up. With -1 and nothing in progress it waits until a signal arrives.
*/
void clerk_loop_step(clerk_loop *loop, int wait_ms, int64_t work_us);

/* The next transfer that has finished and was not returned yet, in order; NULL if there is none. */
clerk_transfer *clerk_loop_next_finished(clerk_loop *loop);

/* Microseconds of a clock that only goes forward, from any start. */
int64_t clerk_now_us(void);

/*
** For a host's own event loop: a descriptor that becomes readable when a step is due; -1 where the
** system has no epoll or no descriptor left. After `wait_ms` a step is due in any case; -1: never.
** Both may change with each step or start.
*/
int clerk_loop_descriptor(clerk_loop *loop, int *wait_ms);

/* ------------------------------------------------------------------ one client's connections */

/* Zero it before clerk_curl_init; clerk_curl_close ends it. All members are private. */
struct clerk_curl {
  clerk_loop *loop;
  clerk_curl *previous, *next; /* in the loop */
  CURLM *multi;                /* made when first needed */
  CURLSH *share;               /* of TLS sessions; created together with `multi` */
  int64_t timer_ms;            /* when libcurl wants to be asked again; -1: never */
  int64_t overdue_ms;          /* no transfer in progress is overdue before */
  bool lost_a_watch;           /* a socket that libcurl waits on is not watched */
  clerk_easy *idle;            /* to use again */
  long idle_count;
  long max_connections;
  clerk_certificates certificates;
  char *proxy;
  clerk_site *site;                /* of the latest request, or NULL */
  clerk_transfers waiting, moving; /* transfers that are not begun, and those that are */
};

typedef struct clerk_curl_options {
  const char *ca_file;  /* PEM file of further certificate authorities, or NULL */
  const char *proxy;    /* proxy URL, or NULL: the environment's, as libcurl reads it */
  long max_connections; /* idle ones to keep, at least 1; not a limit of transfers */
} clerk_curl_options;

/*
** Copies the options. CLERK_OK, CLERK_REFUSED when ca_file or proxy cannot be used, or
** CLERK_NO_MEMORY; unless it is CLERK_OK, the struct is zero again. Runs curl_global_init, once in
** a process.
*/
clerk_status clerk_curl_init(clerk_curl *curl, clerk_loop *loop, const clerk_curl_options *options,
                             clerk_problem *problem);

/*
** Finishes every transfer in progress as cancelled (its owner still calls clerk_transfer_end),
** closes the connections and zeroes the struct; a zeroed one is allowed.
*/
void clerk_curl_close(clerk_curl *curl);

/* ------------------------------------------------------------------ one transfer */

/* Zero it before its first use. Callers may read only the members marked as results. */
struct clerk_transfer {
  bool is_finished;      /* result: the other results are valid from then on */
  bool has_response;     /* result: otherwise there is a failure */
  int status;            /* result: with a response */
  clerk_buffer body;     /* result: with a response, unpacked; its bytes are NULL when empty */
  clerk_failure failure; /* result: without a response */
  const char *message;   /* result: without a response, a sentence; gone with the transfer */
  bool sent;             /* result: without a response, whether the server may act on it */
  bool is_final;         /* result: without a response, whether to try again is pointless */

  clerk_curl *owner;     /* until it is finished */
  clerk_transfers *list; /* the one that it is in, or NULL */
  clerk_transfer *previous, *next;
  clerk_easy *easy;
  clerk_site *site;
  struct curl_slist *header_lines;
  clerk_buffer upload;
  clerk_buffer head;
  int64_t overdue_ms; /* when it ends, though libcurl has not ended it at its timeout */
  size_t body_limit;
  bool is_tls;
  bool is_first;     /* the first request on its connection */
  bool is_stale;     /* the kept connection is not fit for use; nothing was sent on it */
  bool lacks_fd;     /* a socket was needed when none could be opened */
  int descriptor;    /* of its connection, or -1 */
  int sends;         /* how often libcurl was about to send the request */
  const char *flaw;  /* why a callback of ours has ended the transfer, as `failure` says; static */
  size_t head_bytes; /* of all heads, and of the trailer */
  enum { CLERK_AWAITS_HEAD, CLERK_IN_HEAD, CLERK_PAST_HEAD } phase;
  bool is_final_head;
  clerk_http_framing framing;
  char *error; /* a copy of libcurl's words about its failure, or NULL */
};

/* Adds a copy of a header to a transfer that is not started yet. CLERK_OK or CLERK_NO_MEMORY. */
clerk_status clerk_transfer_add_header(clerk_transfer *transfer, const char *name,
                                       const char *value);

/*
** Adds the secret key as its Authorization (RFC 6750 bearer), which clerk_check_secret_key let pass,
** to a transfer that is not started yet. CLERK_OK or CLERK_NO_MEMORY.
*/
clerk_status clerk_transfer_authorize(clerk_transfer *transfer, clerk_text key);

/* Gives a transfer that is not started yet a body, copied. CLERK_OK or CLERK_NO_MEMORY. */
clerk_status clerk_transfer_set_body(clerk_transfer *transfer, clerk_text body);

typedef struct clerk_curl_request {
  const char *method;
  const char *url;
  long timeout_ms;         /* of the transfer, at least 1; it is finished within 50 ms after that */
  long connect_timeout_ms; /* of its connection, at least 1 */
  size_t max_response_bytes; /* of the unpacked body, at least 1; a larger one ends the transfer */
} clerk_curl_request;

/*
** Starts a transfer, once, with a copy of the request; the next step begins it. The caller owns it
** and must not move it until clerk_transfer_end, which is needed whatever this returns: CLERK_OK;
** CLERK_NO_MEMORY; or CLERK_REFUSED when `curl` is closed. Without a file descriptor for the loop,
** the transfer counts as started and has failed.
*/
clerk_status clerk_curl_start(clerk_curl *curl, clerk_transfer *transfer,
                              const clerk_curl_request *request);

/*
** Iterates over the response's headers: begin with *position 0. Names are in lower case and may
** come more than once. No NUL follows either text; both live as long as the transfer. False after
** the last.
*/
bool clerk_transfer_next_header(clerk_transfer *transfer, size_t *position, clerk_text *name,
                                clerk_text *value);

/*
** Whether the server may act on the request by now, of a transfer that is started. A CONNECT that a
** proxy was sent does not count, nor does a request that the server has refused unprocessed.
*/
bool clerk_transfer_has_sent(const clerk_transfer *transfer);

/* Wipes and frees what a finished transfer owns, except for its response's headers. */
void clerk_transfer_trim(clerk_transfer *transfer);

/* Stops the transfer if it is in progress, wipes and frees what it owns, and zeroes it. */
void clerk_transfer_end(clerk_transfer *transfer);

#endif
