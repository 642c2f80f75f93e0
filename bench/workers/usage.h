/* What a worker in C answers a turn with: see workers/worker.lua. */
#ifndef USAGE_H
#define USAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static inline double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* VmHWM of the process: getrusage's figure also counts the process before exec. */
static inline long most_memory(void) {
  static const char field[] = "VmHWM:";
  char line[256];
  long kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "re");
  while (file && kilobytes == 0 && fgets(line, sizeof line, file))
    if (strncmp(line, field, sizeof field - 1) == 0)
      kilobytes = strtol(line + sizeof field - 1, NULL, 10);
  if (file) fclose(file);
  return kilobytes;
}

/* The CPU seconds used and the most memory (KB). */
static inline void print_usage(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("%.6f %ld\n", seconds(usage.ru_utime) + seconds(usage.ru_stime), most_memory());
  fflush(stdout);
}

#endif
