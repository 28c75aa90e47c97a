/* The golden check, then a model's latencies: alone, or in turn with another process. */
#ifndef EDGEKIT_BENCH_H
#define EDGEKIT_BENCH_H

#include "golden.h"
#include "request.h"
#include "session.h"
#include "turns.h"

/* Carries a `bench` request out; `turn` is NULL where it is alone. Returns the exit status. */
int bench(const Request *request, Session *session, Golden *golden, const Turn *turn);

#endif
