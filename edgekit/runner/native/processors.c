#define _GNU_SOURCE
#include "processors.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "failure.h"
#include "sysfs.h"

enum { FIRST_ROOM = 1024, MOST_ROOM = 1 << 20 };

typedef struct {
  size_t number;
  int64_t khz; /* at most; 0 where the system does not tell */
} Processor;

/* The set of those that the process may use, as large as this kernel's sets are; NULL where it does not tell. */
static cpu_set_t *usable(size_t *room) {
  for (*room = FIRST_ROOM; *room <= MOST_ROOM; *room *= 2) {
    cpu_set_t *set = CPU_ALLOC(*room);
    if (set == NULL) return NULL;
    if (sched_getaffinity(0, CPU_ALLOC_SIZE(*room), set) == 0) return set;
    CPU_FREE(set);
    if (errno != EINVAL) return NULL; /* EINVAL: the kernel's set is larger */
  }
  return NULL;
}

static int fastest_then_highest(const void *a, const void *b) {
  const Processor *x = a, *y = b;
  if (x->khz != y->khz) return x->khz < y->khz ? 1 : -1;
  return x->number < y->number ? 1 : -1;
}

void use_processors(int most) {
  size_t room, count = 0;
  cpu_set_t *set = usable(&room);
  if (set == NULL) return;
  size_t bytes = CPU_ALLOC_SIZE(room);
  Processor *processors = allocate(room, sizeof *processors);
  for (size_t i = 0; i < room; i++) {
    char path[SYSFS_BYTES];
    if (!CPU_ISSET_S(i, bytes, set)) continue;
    processors[count].number = i;
    snprintf(path, sizeof path, CPU_FOLDER "/cpu%zu/cpufreq/cpuinfo_max_freq", i);
    if (read_number(path, &processors[count].khz) != NULL) processors[count].khz = 0;
    count++;
  }
  qsort(processors, count, sizeof *processors, fastest_then_highest);
  CPU_ZERO_S(bytes, set);
  for (size_t i = 0; i < count && i < (size_t)most; i++) CPU_SET_S(processors[i].number, bytes, set);
  (void)sched_setaffinity(0, bytes, set); /* a refusal is no failure */
  free(processors);
  CPU_FREE(set);
}
