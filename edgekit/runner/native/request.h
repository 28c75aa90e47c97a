/* A request (docs/formats/runner-protocol.md), checked whole before anything is done.
 *
 * What this runner does not know it refuses by name: a field that a newer host sends asks for something, and leaving it
 * out would measure something else. */
#ifndef EDGEKIT_REQUEST_H
#define EDGEKIT_REQUEST_H

#include "runtime.h"

enum { RUNNER_SCHEMA = 3, OLDEST_SCHEMA = 1, MAX_RUNTIMES = 32, MAX_THREADS = 1024, PAIR = 2 };

typedef enum { DO_INFO, DO_CHECK, DO_BENCH, DO_ANSWER, DO_SUSTAIN, DO_PROFILE, DO_TURNS } Action;

/* Samples `first` to `first + count` of the files `inputs` in a folder; at most `batch` of them in an event. */
typedef struct {
  const char *folder, *inputs[MAX_TENSORS];
  size_t inputs_count;
  int64_t first, count, batch;
} SamplesAsked;

typedef struct {
  Action action;
  const char *runtimes[MAX_RUNTIMES]; /* info */
  size_t runtimes_count;
  const JsonValue *libraries; /* runtime → list of paths, or NULL */
  const char *artifact, *payload, *runtime;
  Bindings bindings;
  Bindings golden; /* paths relative to the artifact */
  double min_snr_db;
  SamplesAsked samples; /* answer */
  int threads;
  int64_t max_warmup_ns, min_samples, min_ns, max_ns; /* bench; profile: max_ns */
  int64_t turn_ns;                                    /* bench of a pair; 0 of one alone */
  int cores;                                          /* bench: at most so many processors; 0 is all */
  int64_t duration_ns, chunk_ns;                      /* sustain */
  const char *sides[PAIR];                            /* turns: a request each */
} Request;

/* Reads a request whose document must outlive it; fails the run for one that is wrong. */
void read_request(const JsonValue *root, Request *request);

#endif
