/* A sustained run: the rules of edgekit/runner/sustain.py. Memory does not grow with its length. */
#ifndef EDGEKIT_SUSTAIN_H
#define EDGEKIT_SUSTAIN_H

#include "measure.h"

enum { KEPT = 200 };

/* Every k-th of what is added, at most KEPT of them, where k doubles; the number, the largest and the sum of all. */
typedef struct {
  int64_t kept[KEPT], n, largest, total, every;
  size_t kept_count;
} Thinned;

void thinned_start(Thinned *thinned);
void thinned_add(Thinned *thinned, int64_t value);

/* Invokes for `duration_ns`, and emits a `chunk` event each `chunk_ns`; a chunk has one invoke or more. */
void sustain(const Measured *measured, int64_t duration_ns, int64_t chunk_ns);

#endif
