/* Of each operator, and of the whole, the slowest twentieth of its calls is left out of the mean: a process that was
 * interrupted once in some operator would else be the story of that operator. */
#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "failure.h"
#include "measure.h"
#include "session.h"

#define KEPT 0.95
enum { MOST = 200, LEAST = 2, WARM = 5, FIRST = 3, OPERATORS = 4000, NAME_CHARACTERS = 200, TYPE_CHARACTERS = 100 };

typedef struct {
  const OperatorCall *first; /* of its calls */
  int64_t *ns;
  size_t count;
} Operator;

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Sorts them. */
static double mean_of_fastest(int64_t *ns, size_t count) {
  size_t kept = (size_t)fmax(1, ceil((double)count * KEPT));
  double total = 0;
  qsort(ns, count, sizeof *ns, by_value);
  for (size_t i = 0; i < kept; i++) total += (double)ns[i];
  return total / (double)kept;
}

static bool same(const OperatorCall *one, const OperatorCall *other) {
  return memcmp(one->key, other->key, sizeof one->key) == 0 && strcmp(one->name, other->name) == 0;
}

/* Which operator each call is of, written to `positions`; how many operators there are, in the order of their first calls.
 * One inference after another calls the same ones in the same order: the next one is nearly always the next one. */
static size_t find_operators(const OperatorCall *calls, size_t count, Operator *operators, size_t *positions) {
  size_t found = 0, next = 0;
  for (size_t i = 0; i < count; i++) {
    size_t tried = 0;
    while (tried < found && !same(operators[(next + tried) % found].first, &calls[i])) tried++;
    size_t position = tried < found ? (next + tried) % found : found;
    if (position == found) operators[found++] = (Operator){.first = &calls[i]};
    operators[position].count++;
    positions[i] = position;
    next = position + 1;
  }
  return found;
}

/* Up to `most` bytes of a text, and no part of a character. */
static void event_text(const char *text, size_t length, size_t most) {
  char cut[NAME_CHARACTERS + 1];
  if (length > most) {
    length = most;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
  }
  memcpy(cut, text, length);
  cut[length] = '\0';
  event_string(NULL, cut);
}

static void emit_operators(const OperatorCall *calls, size_t count) {
  Operator *operators = allocate(count, sizeof *operators);
  size_t *positions = allocate(count, sizeof *positions);
  int64_t *memory = allocate(count, sizeof *memory), *free_from = memory;
  size_t found = find_operators(calls, count, operators, positions);
  for (size_t i = 0; i < found; i++) {
    operators[i].ns = free_from;
    free_from += operators[i].count;
    operators[i].count = 0;
  }
  for (size_t i = 0; i < count; i++) {
    Operator *operator= &operators[positions[i]];
    operator->ns[operator->count++] = calls[i].ns;
  }
  if (found > OPERATORS) found = OPERATORS;
  event_open("names", '[');
  for (size_t i = 0; i < found; i++) event_text(operators[i].first->name, strlen(operators[i].first->name), NAME_CHARACTERS);
  event_close(']');
  event_open("types", '[');
  for (size_t i = 0; i < found; i++) {
    const char *name = operators[i].first->name, *end = strstr(name, " (");
    event_text(name, end != NULL ? (size_t)(end - name) : strlen(name), TYPE_CHARACTERS);
  }
  event_close(']');
  event_open("calls", '[');
  for (size_t i = 0; i < found; i++) event_integer(NULL, (int64_t)operators[i].count);
  event_close(']');
  event_open("ns", '[');
  for (size_t i = 0; i < found; i++) event_real(NULL, mean_of_fastest(operators[i].ns, operators[i].count));
  event_close(']');
  free(memory);
  free(positions);
  free(operators);
}

static void take(const Runtime *runtime, Session *session, size_t count, int64_t *ns) {
  const Measured measured = {runtime->invoke, session, heartbeat};
  for (size_t i = 0; i < count; i++) {
    ns[i] = timed(&measured);
    heartbeat();
  }
}

static int64_t median_of(int64_t *ns, size_t count) {
  qsort(ns, count, sizeof *ns, by_value);
  return (int64_t)median_of_sorted(ns, count);
}

void profile_model(const Runtime *runtime, const char *path, const Request *request, const Npy *inputs) {
  static Session plain, profiled;
  int64_t plain_ns[MOST], profiled_ns[MOST], warm[WARM];
  OperatorCall *calls = NULL;
  if (runtime->no_profile != NULL) {
    event_begin("no-profile");
    event_string("reason", runtime->no_profile);
    event_end();
    return;
  }
  Session *const sessions[] = {&plain, &profiled};
  runtime->load(&plain, path, request->threads, &request->bindings);
  runtime->load_profiled(&profiled, path, request->threads, &request->bindings);
  for (size_t i = 0; i < 2; i++) {
    check_arrays(sessions[i]->inputs, sessions[i]->inputs_count, inputs, request->golden.inputs_count, "golden input");
    set_sample(runtime, sessions[i], inputs, 0);
    take(runtime, sessions[i], WARM, warm);
  }
  take(runtime, &plain, FIRST, warm);
  double fastest = fmax(1, fmin((double)warm[0], fmin((double)warm[1], (double)warm[2])));
  size_t count = (size_t)fmax(LEAST, fmin(MOST, floor((double)request->max_ns / (2 * fastest))));
  take(runtime, &plain, count / 2, plain_ns);
  runtime->profile_begin(&profiled);
  take(runtime, &profiled, count, profiled_ns);
  size_t calls_count = runtime->profile_end(&profiled, &calls);
  take(runtime, &plain, count / 2, plain_ns + count / 2);
  event_begin("profile");
  event_string("tool", runtime->profiler);
  event_integer("invokes", (int64_t)count);
  event_integer("plain_ns", median_of(plain_ns, 2 * (count / 2)));
  event_integer("profiled_ns", median_of(profiled_ns, count));
  event_real("mean_ns", mean_of_fastest(profiled_ns, count));
  emit_operators(calls, calls_count);
  event_end();
  free(calls);
}
