/* The native runner: carries out one request, `runner '{"schema": 3, "do": "bench", ...}'`, without Python.
 *
 * It speaks the protocol of docs/formats/runner-protocol.md like its twin, edgekit/runner/__main__.py.
 * Exit status: 0 done; 1 an `error` event says what went wrong; 3 the golden check failed; 2 wrong usage. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "bench.h"
#include "events.h"
#include "facts.h"
#include "failure.h"
#include "golden.h"
#include "loading.h"
#include "measure.h"
#include "pair.h"
#include "processors.h"
#include "profile.h"
#include "request.h"
#include "session.h"
#include "supervise.h"
#include "sustain.h"
#include "turns.h"

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

typedef struct {
  const char *program, *request, *role; /* `role` is NULL of a process that takes no turns */
} Arguments;

/* The place of this process in a pair, or NULL where it is alone; fails the run where it says both. */
static const Turn *place_in_pair(const Request *request, const char *role) {
  static Turn turn;
  if (request->turn_ns > 0 && role == NULL)
    fail("protocol", "the request has the field 'turn_ns', but there is no second argument ROLE,TAKE,GIVE");
  if (role == NULL) return NULL;
  turn = read_turn(role);
  if (request->turn_ns == 0)
    fail("protocol", "there is a second argument '%.64s', but the request is no bench with 'turn_ns'", role);
  return &turn;
}

static int work(void *argument) {
  static Session session;
  static Golden golden;
  static Request request;
  JsonDocument document;
  const Arguments *arguments = argument;
  supervisor_stage("reading the request");
  const char *problem = json_parse(arguments->request, strlen(arguments->request), &document);
  if (problem != NULL) fail("protocol", "the request is no JSON that this runner takes: %s", problem);
  read_request(document.root, &request);
  const Turn *turn = place_in_pair(&request, arguments->role);
  if (request.cores > 0) use_processors(request.cores);
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
               : request.action == DO_TURNS   ? run_pair(&request, arguments->program)
                                              : bench(&request, &session, &golden, turn);
  event_begin("done");
  event_integer("status", status);
  supervisor_last_event();
  event_end();
  return status;
}

int main(int count, char **arguments) {
  if (count != 2 && count != 3) {
    fputs("usage: edgekit-runner REQUEST [ROLE,TAKE,GIVE]\n"
          "REQUEST is one JSON object: docs/formats/runner-protocol.md\n",
          stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN); /* writing says EPIPE instead */
  Arguments given = {arguments[0], arguments[1], arguments[2]}; /* argv ends with NULL */
  supervise(events_take_stdout(), work, &given);
}
