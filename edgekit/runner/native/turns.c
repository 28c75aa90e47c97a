#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "failure.h"

/* What is handed over with the turn. */
enum { MORE = 'm', ENOUGH = 'e', NO_MORE = 'x' };

/* Whether a descriptor is open for reading, or for writing. */
static bool is_open_for(int descriptor, int mode) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && ((flags & O_ACCMODE) == mode || (flags & O_ACCMODE) == O_RDWR);
}

/* Reads a descriptor's number and moves on; -1 where there is none. */
static int take_number(const char **at) {
  char *end;
  if (**at < '0' || **at > '9') return -1;
  errno = 0;
  long number = strtol(*at, &end, 10);
  *at = end;
  return errno == 0 && number <= INT32_MAX ? (int)number : -1;
}

Turn read_turn(const char *text) {
  const char *comma = strchr(text, ','), *at = comma;
  size_t length = comma != NULL ? (size_t)(comma - text) : 0;
  Turn turn = {.is_first = length == 5 && memcmp(text, "first", 5) == 0, .take = -1, .give = -1};
  if (turn.is_first || (length == 6 && memcmp(text, "second", 6) == 0)) {
    at++;
    turn.take = take_number(&at);
    if (turn.take >= 0 && *at++ == ',') turn.give = take_number(&at);
  }
  if (turn.give < 0 || *at != '\0') fail("protocol", "the second argument '%.64s' is not ROLE,TAKE,GIVE", text);
  if (!is_open_for(turn.take, O_RDONLY)) fail("protocol", "TAKE, descriptor %d, is not open for reading", turn.take);
  if (!is_open_for(turn.give, O_WRONLY)) fail("protocol", "GIVE, descriptor %d, is not open for writing", turn.give);
  return turn;
}

static char take(const Turn *turn, const char *expected) {
  char byte;
  ssize_t got;
  do {
    got = read(turn->take, &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got < 0) fail("failed", "the turn cannot be read: %s", strerror(errno));
  if (got == 0) fail("failed", "the other process is gone: nobody gives the turn any more");
  if (byte == '\0' || strchr(expected, byte) == NULL)
    fail("failed", "the other process gave the turn with the byte %d, which is none of '%s'", byte, expected);
  return byte;
}

static void give(const Turn *turn, char byte) {
  ssize_t written;
  do {
    written = write(turn->give, &byte, 1);
  } while (written < 0 && errno == EINTR);
  if (written != 1) fail("failed", "the other process is gone: nobody takes the turn (%s)", strerror(errno));
}

void await_start(const Turn *turn) { take(turn, "m"); }

void give_start(const Turn *turn) { give(turn, MORE); }

static void append(TurnSizes *sizes, size_t value) {
  if (sizes->count == sizes->room) {
    size_t room = sizes->room > 0 ? sizes->room * 2 : 256;
    int64_t *grown = realloc(sizes->values, room * sizeof *grown);
    if (grown == NULL) fail("failed", "no memory for %zu turns", room);
    sizes->values = grown;
    sizes->room = room;
  }
  sizes->values[sizes->count++] = (int64_t)value;
}

/* One turn. Returns how long it took, from where its first sample began. */
static int64_t sample_once(const Measured *measured, int64_t turn_ns, Samples *samples) {
  int64_t elapsed;
  measured->invoke(measured->argument); /* the other process has had the caches */
  int64_t began = clock_ns();
  do {
    samples_add(samples, timed(measured));
    elapsed = clock_ns() - began;
    measured->between();
  } while (elapsed < turn_ns);
  return elapsed;
}

void sample_in_turns(const Turn *turn, const Measured *measured, const TurnLimits *limits, Samples *samples,
                     TurnSizes *sizes) {
  const char *expected = turn->is_first ? "mx" : "me";
  int64_t spent = 0;
  char given = take(turn, turn->is_first ? "m" : expected); /* the second one's first turn is after one of the first */
  while (given != NO_MORE) {
    size_t before = samples->count;
    spent += sample_once(measured, limits->turn_ns, samples);
    append(sizes, samples->count - before);
    bool enough = (samples->count >= limits->min_samples && spent >= limits->min_ns) || spent >= limits->max_ns;
    if (!turn->is_first && enough && given == ENOUGH) {
      give(turn, NO_MORE);
      return;
    }
    give(turn, turn->is_first && enough ? ENOUGH : MORE);
    given = take(turn, expected);
  }
}
