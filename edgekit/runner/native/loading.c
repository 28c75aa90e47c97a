#include "loading.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "failure.h"
#include "supervise.h"

void emit_runtime(const Runtime *runtime, const char *version, int threads) {
  event_begin("runtime");
  event_string("name", runtime->name);
  threads > 0 ? event_integer("threads", threads) : event_null("threads");
  event_string("package", runtime->package);
  event_string("version", version[0] != '\0' ? version : NULL);
  event_end();
}

const Runtime *open_runtime(const Request *request) {
  char version[VERSION_BYTES] = "";
  const Runtime *runtime = runtime_named(request->runtime);
  if (runtime == NULL) fail("unknown-runtime", "the native runner has no runtime '%s'", request->runtime);
  supervisor_stage("opening the runtime's library");
  const char *problem = runtime->open(request->libraries, version);
  if (problem != NULL) fail("runtime-missing", "%s", problem);
  emit_runtime(runtime, version, request->threads);
  return runtime;
}

void load_session(const Request *request, const Runtime *runtime, Session *session) {
  char path[PATH_BYTES];
  supervisor_stage("loading the model");
  path_in(request->artifact, request->payload, path);
  if (access(path, R_OK) != 0) fail("failed", "%s cannot be read: %s", path, strerror(errno));
  runtime->load(session, path, request->threads, &request->bindings);
}
