#include "request.h"

#include <string.h>

#include "failure.h"

static const JsonValue *need(const JsonValue *table, const char *key, JsonKind kind) {
  static const char *const kinds[] = {"null", "a bool", "an integer", "a number", "a string", "a list", "a table"};
  const JsonValue *value = json_member(table, key);
  if (value == NULL) fail("protocol", "the request lacks the field '%s'", key);
  if (value->kind != kind && !(kind == JSON_REAL && value->kind == JSON_INTEGER))
    fail("protocol", "the request's field '%s' is not %s", key, kinds[kind]);
  return value;
}

static void know_only(const JsonValue *table, const char *const *keys, const char *where) {
  for (const JsonValue *member = table->first; member != NULL; member = member->next) {
    size_t i = 0;
    while (keys[i] != NULL && strcmp(keys[i], member->key) != 0) i++;
    if (keys[i] == NULL) fail("protocol", "the native runner does not know the field '%s' of %s", member->key, where);
  }
}

static int64_t need_integer(const JsonValue *table, const char *key, int64_t least, int64_t most) {
  int64_t value = need(table, key, JSON_INTEGER)->integer;
  if (value < least || value > most) fail("protocol", "the request's field '%s' is out of range", key);
  return value;
}

static size_t need_names(const JsonValue *table, const char *key, const char **names, size_t most) {
  const JsonValue *list = need(table, key, JSON_ARRAY);
  size_t count = 0;
  if (list->count > most) fail("protocol", "the request's list '%s' has more than %zu members", key, most);
  for (const JsonValue *member = list->first; member != NULL; member = member->next) {
    if (member->kind != JSON_STRING) fail("protocol", "the request's list '%s' has a member that is no string", key);
    names[count++] = member->string;
  }
  return count;
}

static void read_names(const JsonValue *table, Bindings *names) {
  names->inputs_count = need_names(table, "inputs", names->inputs, MAX_TENSORS);
  names->outputs_count = need_names(table, "outputs", names->outputs, MAX_TENSORS);
}

static void read_libraries(const JsonValue *root, Request *request) {
  const char *paths[MAX_RUNTIMES];
  request->libraries = json_member(root, "libraries");
  if (request->libraries == NULL) return;
  need(root, "libraries", JSON_OBJECT);
  for (const JsonValue *list = request->libraries->first; list != NULL; list = list->next)
    need_names(request->libraries, list->key, paths, MAX_RUNTIMES);
}

static void read_artifact(const JsonValue *root, Request *request) {
  static const char *const bindings_keys[] = {"inputs", "outputs", NULL};
  const JsonValue *bindings = need(root, "bindings", JSON_OBJECT);
  know_only(bindings, bindings_keys, "bindings");
  request->artifact = need(root, "artifact", JSON_STRING)->string;
  request->payload = need(root, "payload", JSON_STRING)->string;
  request->runtime = need(root, "runtime", JSON_STRING)->string;
  read_names(bindings, &request->bindings);
}

static void read_golden(const JsonValue *root, Request *request) {
  static const char *const golden_keys[] = {"inputs", "outputs", "min_snr_db", NULL};
  const JsonValue *golden = need(root, "golden", JSON_OBJECT);
  know_only(golden, golden_keys, "golden");
  read_names(golden, &request->golden);
  request->min_snr_db = need(golden, "min_snr_db", JSON_REAL)->real;
}

/* How long to measure, how, and on how much of the device. */
static void read_bench(const JsonValue *root, Request *request) {
  request->threads = (int)need_integer(root, "threads", 1, MAX_THREADS);
  request->max_warmup_ns = need_integer(root, "max_warmup_ns", 0, INT64_MAX);
  request->min_samples = need_integer(root, "min_samples", 1, INT32_MAX);
  request->min_ns = need_integer(root, "min_ns", 0, INT64_MAX);
  request->max_ns = need_integer(root, "max_ns", 0, INT64_MAX);
  if (json_member(root, "turn_ns") != NULL) request->turn_ns = need_integer(root, "turn_ns", 1, INT64_MAX);
  if (json_member(root, "cores") != NULL) request->cores = (int)need_integer(root, "cores", 1, INT32_MAX);
}

static void read_samples(const JsonValue *root, SamplesAsked *asked) {
  static const char *const keys[] = {"folder", "inputs", "first", "count", "batch", NULL};
  const JsonValue *samples = need(root, "samples", JSON_OBJECT);
  know_only(samples, keys, "samples");
  asked->folder = need(samples, "folder", JSON_STRING)->string;
  asked->inputs_count = need_names(samples, "inputs", asked->inputs, MAX_TENSORS);
  asked->first = need_integer(samples, "first", 0, INT32_MAX);
  asked->count = need_integer(samples, "count", 1, INT32_MAX);
  asked->batch = need_integer(samples, "batch", 1, INT32_MAX);
}

void read_request(const JsonValue *root, Request *request) {
  static const char *const known[] = {"schema", "do", "runtimes", "libraries", "artifact", "payload", "runtime",
                                      "bindings", "golden", "samples", "threads", "max_warmup_ns", "min_samples",
                                      "min_ns", "max_ns", "duration_ns", "chunk_ns", "turn_ns", "cores", "requests",
                                      NULL};
  *request = (Request){.threads = 1};
  if (root->kind != JSON_OBJECT) fail("protocol", "the request is no table");
  int64_t schema = need_integer(root, "schema", INT64_MIN, INT64_MAX);
  if (schema < OLDEST_SCHEMA || schema > RUNNER_SCHEMA)
    fail("protocol", "this runner speaks schema %d", RUNNER_SCHEMA);
  know_only(root, known, "the request");
  read_libraries(root, request);
  const char *action = need(root, "do", JSON_STRING)->string;
  if (strcmp(action, "info") == 0) {
    request->action = DO_INFO;
    request->runtimes_count = need_names(root, "runtimes", request->runtimes, MAX_RUNTIMES);
  } else if (strcmp(action, "check") == 0) {
    request->action = DO_CHECK;
    read_artifact(root, request);
    read_golden(root, request);
  } else if (strcmp(action, "answer") == 0) {
    request->action = DO_ANSWER;
    read_artifact(root, request);
    read_samples(root, &request->samples);
    request->threads = (int)need_integer(root, "threads", 1, MAX_THREADS);
  } else if (strcmp(action, "bench") == 0) {
    request->action = DO_BENCH;
    read_artifact(root, request);
    read_golden(root, request);
    read_bench(root, request);
  } else if (strcmp(action, "turns") == 0) {
    request->action = DO_TURNS;
    if (need_names(root, "requests", request->sides, PAIR) != PAIR)
      fail("protocol", "the request's list 'requests' has not %d members", PAIR);
  } else if (strcmp(action, "profile") == 0) {
    request->action = DO_PROFILE;
    read_artifact(root, request);
    read_golden(root, request);
    request->threads = (int)need_integer(root, "threads", 1, MAX_THREADS);
    request->max_ns = need_integer(root, "max_ns", 0, INT64_MAX);
  } else if (strcmp(action, "sustain") == 0) {
    request->action = DO_SUSTAIN;
    read_artifact(root, request);
    read_golden(root, request);
    request->threads = (int)need_integer(root, "threads", 1, MAX_THREADS);
    request->duration_ns = need_integer(root, "duration_ns", 1, INT64_MAX);
    request->chunk_ns = need_integer(root, "chunk_ns", 1, INT64_MAX);
  } else {
    fail("protocol", "the native runner cannot do '%s'", action);
  }
}
