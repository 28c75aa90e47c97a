#include "bench.h"

#include <math.h>
#include <stdlib.h>

#include "clock.h"
#include "energy.h"
#include "events.h"
#include "facts.h"
#include "failure.h"
#include "loading.h"
#include "measure.h"
#include "memory.h"
#include "supervise.h"

static int64_t since(int64_t start) { return clock_ns() - start; }

/* Loads, sets, invokes and reads once, each timed: the `first` event. */
static void first_time(const Request *request, const Runtime *runtime, Session *session, const Golden *golden) {
  int64_t start = clock_ns();
  load_session(request, runtime, session);
  int64_t init_ns = since(start);
  check_arrays(session->inputs, session->inputs_count, golden->inputs, request->golden.inputs_count,
               "golden input");
  supervisor_stage("running the model for the first time");
  start = clock_ns();
  set_sample(runtime, session, golden->inputs, 0);
  int64_t input_ns = since(start);
  start = clock_ns();
  runtime->invoke(session);
  int64_t first_ns = since(start);
  double *outputs[MAX_TENSORS];
  for (size_t i = 0; i < session->outputs_count; i++)
    outputs[i] = allocate(session->outputs[i].count, sizeof(double));
  start = clock_ns();
  get_sample(runtime, session, outputs);
  int64_t output_ns = since(start);
  for (size_t i = 0; i < session->outputs_count; i++) free(outputs[i]);
  event_begin("first");
  event_integer("init_ns", init_ns);
  event_integer("first_ns", first_ns);
  event_integer("input_ns", input_ns);
  event_integer("output_ns", output_ns);
  event_end();
}

static void emit_bytes(const char *name, int64_t bytes) {
  bytes >= 0 ? event_integer(name, bytes) : event_null(name);
}

/* What this runner knows of delegates: nothing, of none of its runtimes. */
static void emit_delegation(void) {
  event_begin("delegation");
  event_null("asked");
  event_open("backends", '[');
  event_close(']');
  event_null("operators");
  event_null("left");
  event_string("because", "the native runner does not tell");
  event_end();
}

static void between(void) {
  heartbeat();
  energy_tick();
}

/* The `samples` event; `sizes` is NULL of a process that takes no turns. */
static void emit_samples(const Samples *samples, const char *stop, double half_width, const TurnSizes *sizes) {
  event_begin("samples");
  event_integers("samples_ns", samples->ns, samples->count);
  event_string("stop", stop);
  event_real("median_half_width", half_width);
  if (sizes != NULL) event_integers("turns", sizes->values, sizes->count);
  event_end();
}

/* Samples until there are enough, and tells them. Returns the most memory used until then: telling takes some more. */
static int64_t sample(const Request *request, const Measured *measured, const Turn *turn) {
  Samples samples = {0};
  TurnSizes sizes = {0};
  double half_width = INFINITY;
  const char *stop = "turns";
  energy_start();
  if (turn == NULL) {
    stop = take_samples(measured, (size_t)request->min_samples, request->min_ns, request->max_ns, &samples,
                        &half_width);
  } else {
    const TurnLimits limits = {request->turn_ns, request->min_ns, request->max_ns, (size_t)request->min_samples};
    sample_in_turns(turn, measured, &limits, &samples, &sizes);
    half_width = median_half_width(samples.ns, samples.count);
  }
  energy_stop(samples.count);
  int64_t peak = memory_peak_rss_bytes();
  emit_samples(&samples, stop, half_width, turn != NULL ? &sizes : NULL);
  samples_free(&samples);
  free(sizes.values);
  return peak;
}

static void warm_up_and_tell(const Request *request, const Measured *measured) {
  Samples samples = {0};
  supervisor_stage("warming up");
  bool steady = warm_up(measured, request->max_warmup_ns, &samples);
  event_begin("warmup");
  event_integers("samples_ns", samples.ns, samples.count);
  event_bool("steady", steady);
  event_end();
  samples_free(&samples);
}

/* What the device takes in all is nothing that one of two could be charged with. */
static void open_meter(const Turn *turn) {
  if (turn != NULL) {
    energy_refuse("two processes took turns, and a counter would count both");
    return;
  }
  energy_open();
  supervisor_stage("measuring what the device takes when idle");
  energy_idle();
}

int bench(const Request *request, Session *session, Golden *golden, const Turn *turn) {
  supervisor_stage("waiting for its first turn");
  if (turn != NULL) await_start(turn);
  emit_facts("before");
  const Runtime *runtime = open_runtime(request);
  load_inputs(request, golden);
  open_meter(turn);
  bool was_reset = memory_reset_peak();
  int64_t before_load = memory_peak_rss_bytes();
  first_time(request, runtime, session, golden);
  emit_delegation();
  if (!check_golden(request, runtime, session, golden)) return WRONG_ANSWER;

  const Measured measured = {runtime->invoke, session, heartbeat}, metered = {runtime->invoke, session, between};
  set_sample(runtime, session, golden->inputs, 0);
  warm_up_and_tell(request, &measured);
  if (turn != NULL) give_start(turn);
  supervisor_stage("sampling");
  int64_t peak = sample(request, turn != NULL ? &measured : &metered, turn);
  emit_energy();
  event_begin("memory");
  emit_bytes("peak_rss_bytes", peak);
  emit_bytes("before_load_bytes", before_load);
  event_bool("peak_was_reset", was_reset);
  event_end();
  emit_facts("after");
  return 0;
}
