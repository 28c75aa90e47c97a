/* One of two processes that measure in turn: a few milliseconds the one, a few the other.
 *
 * Whatever slows a processor down for longer than that slows down both, so that the ratio of the two, turn by turn,
 * is free of it. The turn is a byte, and each process waits for it in read(): it wakes at once, and takes no processor
 * time until then. The bytes, and who ends when, are in docs/formats/runner-protocol.md, "Two processes that take
 * turns"; who starts both is pair.h. */
#ifndef EDGEKIT_TURNS_H
#define EDGEKIT_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "measure.h"

typedef struct {
  bool is_first;
  int take, give; /* descriptors: the turn comes out of the one and goes into the other */
} Turn;

/* Reads `ROLE,TAKE,GIVE`, such as "first,5,8". Fails the run for another text, and for descriptors that are not open. */
Turn read_turn(const char *text);

/* Waits for the turn to load and to warm up. Fails the run when nobody is left to give it. */
void await_start(const Turn *turn);

/* Gives it: the other process loads, or takes its first turn of samples. */
void give_start(const Turn *turn);

/* How long a turn is, and when it is enough, of the time in all turns. */
typedef struct {
  int64_t turn_ns, min_ns, max_ns;
  size_t min_samples;
} TurnLimits;

/* How many of the samples each turn has, in order. */
typedef struct {
  int64_t *values;
  size_t count, room;
} TurnSizes;

/* Samples turn by turn until both processes have enough. The caller frees what `sizes` holds. */
void sample_in_turns(const Turn *turn, const Measured *measured, const TurnLimits *limits, Samples *samples,
                     TurnSizes *sizes);

#endif
