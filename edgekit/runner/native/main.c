/* The native runner: carries out one request, `runner '{"schema": 1, "do": "bench", ...}'`, without Python.
 *
 * It speaks the protocol of docs/formats/runner-protocol.md like its twin, edgekit/runner/__main__.py.
 * Exit status: 0 done; 1 an `error` event says what went wrong; 3 the golden check failed; 2 wrong usage. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "clock.h"
#include "energy.h"
#include "events.h"
#include "facts.h"
#include "failure.h"
#include "golden.h"
#include "measure.h"
#include "memory.h"
#include "profile.h"
#include "request.h"
#include "session.h"
#include "supervise.h"
#include "sustain.h"

enum { WRONG_ANSWER = 3 };

void fail(const char *kind, const char *format, ...) {
  char message[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  event_begin("error");
  event_string("kind", kind);
  event_string("message", message);
  supervisor_last_event();
  event_end();
  _exit(1);
}

void *allocate(size_t count, size_t size) {
  void *memory = calloc(count > 0 ? count : 1, size);
  if (memory == NULL) fail("failed", "there is no memory for %zu × %zu bytes", count, size);
  return memory;
}

static void emit_runtime(const Runtime *runtime, const char *version, int threads) {
  event_begin("runtime");
  event_string("name", runtime->name);
  threads > 0 ? event_integer("threads", threads) : event_null("threads");
  event_string("package", runtime->package);
  event_string("version", version[0] != '\0' ? version : NULL);
  event_end();
}

static const Runtime *open_runtime(const Request *request) {
  char version[VERSION_BYTES] = "";
  const Runtime *runtime = runtime_named(request->runtime);
  if (runtime == NULL) fail("unknown-runtime", "the native runner has no runtime '%s'", request->runtime);
  supervisor_stage("opening the runtime's library");
  const char *problem = runtime->open(request->libraries, version);
  if (problem != NULL) fail("runtime-missing", "%s", problem);
  emit_runtime(runtime, version, request->threads);
  return runtime;
}

static void load_session(const Request *request, const Runtime *runtime, Session *session) {
  char path[PATH_BYTES];
  supervisor_stage("loading the model");
  path_in(request->artifact, request->payload, path);
  if (access(path, R_OK) != 0) fail("failed", "%s cannot be read: %s", path, strerror(errno));
  runtime->load(session, path, request->threads, &request->bindings);
}

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

static int bench(const Request *request, Session *session, Golden *golden) {
  emit_facts("before");
  const Runtime *runtime = open_runtime(request);
  load_inputs(request, golden);
  energy_open();
  supervisor_stage("measuring what the device takes when idle");
  energy_idle();
  bool was_reset = memory_reset_peak();
  int64_t before_load = memory_peak_rss_bytes();
  first_time(request, runtime, session, golden);
  emit_delegation();
  if (!check_golden(request, runtime, session, golden)) return WRONG_ANSWER;

  const Measured measured = {runtime->invoke, session, heartbeat};
  Samples samples = {0};
  supervisor_stage("warming up");
  set_sample(runtime, session, golden->inputs, 0);
  bool steady = warm_up(&measured, request->max_warmup_ns, &samples);
  event_begin("warmup");
  event_integers("samples_ns", samples.ns, samples.count);
  event_bool("steady", steady);
  event_end();

  double half_width = INFINITY;
  samples_free(&samples);
  supervisor_stage("sampling");
  const Measured metered = {runtime->invoke, session, between};
  energy_start();
  const char *stop = take_samples(&metered, (size_t)request->min_samples, request->min_ns, request->max_ns, &samples,
                                  &half_width);
  energy_stop(samples.count);
  int64_t peak = memory_peak_rss_bytes();
  event_begin("samples");
  event_integers("samples_ns", samples.ns, samples.count);
  event_string("stop", stop);
  event_real("median_half_width", half_width);
  event_end();
  emit_energy();
  event_begin("memory");
  emit_bytes("peak_rss_bytes", peak);
  emit_bytes("before_load_bytes", before_load);
  event_bool("peak_was_reset", was_reset);
  event_end();
  emit_facts("after");
  return 0;
}

static int check(const Request *request, Session *session, Golden *golden) {
  const Runtime *runtime = open_runtime(request);
  load_inputs(request, golden);
  load_session(request, runtime, session);
  check_arrays(session->inputs, session->inputs_count, golden->inputs, request->golden.inputs_count,
               "golden input");
  return check_golden(request, runtime, session, golden) ? 0 : WRONG_ANSWER;
}

static int answer(const Request *request, Session *session) {
  const Runtime *runtime = open_runtime(request);
  load_session(request, runtime, session);
  answer_samples(&request->samples, runtime, session);
  return 0;
}

/* The golden check, then invoke after invoke, told second by second. */
static int run_sustained(const Request *request, Session *session, Golden *golden) {
  emit_facts("before");
  const Runtime *runtime = open_runtime(request);
  load_inputs(request, golden);
  load_session(request, runtime, session);
  check_arrays(session->inputs, session->inputs_count, golden->inputs, request->golden.inputs_count, "input");
  if (!check_golden(request, runtime, session, golden)) return WRONG_ANSWER;
  const Measured measured = {runtime->invoke, session, heartbeat};
  supervisor_stage("running the model for long");
  set_sample(runtime, session, golden->inputs, 0);
  sustain(&measured, request->duration_ns, request->chunk_ns);
  emit_facts("after");
  return 0;
}

/* What each operator costs; nothing that is timed here counts as a latency. */
static int profile(const Request *request, Golden *golden) {
  char path[PATH_BYTES];
  const Runtime *runtime = open_runtime(request);
  load_inputs(request, golden);
  supervisor_stage("profiling");
  profile_model(runtime, path_in(request->artifact, request->payload, path), request, golden->inputs);
  return 0;
}

static int info(const Request *request) {
  emit_facts("now");
  for (size_t i = 0; i < request->runtimes_count; i++) {
    char version[VERSION_BYTES] = "";
    const Runtime *runtime = runtime_named(request->runtimes[i]);
    supervisor_stage("opening the runtimes' libraries");
    const char *problem =
        runtime != NULL ? runtime->open(request->libraries, version) : "the native runner does not drive it";
    if (problem == NULL) {
      emit_runtime(runtime, version, 0);
      continue;
    }
    event_begin("no-runtime");
    event_string("name", request->runtimes[i]);
    event_string("reason", problem);
    event_end();
  }
  return 0;
}

static int work(void *argument) {
  static Session session;
  static Golden golden;
  static Request request;
  JsonDocument document;
  const char *text = argument;
  supervisor_stage("reading the request");
  const char *problem = json_parse(text, strlen(text), &document);
  if (problem != NULL) fail("protocol", "the request is no JSON that this runner takes: %s", problem);
  read_request(document.root, &request);
  event_begin("hello");
  event_integer("schema", RUNNER_SCHEMA);
  event_integer("pid", getpid());
  event_null("python");
  event_string("runner", "native");
  event_end();
  int status = request.action == DO_INFO      ? info(&request)
               : request.action == DO_CHECK   ? check(&request, &session, &golden)
               : request.action == DO_ANSWER  ? answer(&request, &session)
               : request.action == DO_SUSTAIN ? run_sustained(&request, &session, &golden)
               : request.action == DO_PROFILE ? profile(&request, &golden)
                                              : bench(&request, &session, &golden);
  event_begin("done");
  event_integer("status", status);
  supervisor_last_event();
  event_end();
  return status;
}

int main(int count, char **arguments) {
  if (count != 2) {
    fputs("usage: edgekit-runner REQUEST\nREQUEST is one JSON object: docs/formats/runner-protocol.md\n", stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN); /* writing says EPIPE instead */
  supervise(events_take_stdout(), work, arguments[1]);
}
