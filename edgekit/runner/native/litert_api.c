#include "litert_api.h"

#include <stdio.h>
#include <string.h>

#include "failure.h"
#include "library.h"

LitertApi litert;

static Library library;

/* The names of LiteRtStatus in litert_common.h; the library does not export its own. */
static const char *status_name(Status status) {
  switch (status) {
    case 1: return "invalid argument";
    case 2: return "out of memory";
    case 3: return "runtime failure";
    case 4: return "missing input tensor";
    case 5: return "unsupported";
    case 6: return "not found";
    case 8: return "wrong version";
    case 500: return "the file cannot be read";
    case 501: return "it is no whole .tflite file";
    case 504: return "compilation failed";
    case 1000: return "an index out of bounds";
    case 1001: return "a type that is not known";
    case 1002: return "a graph that is not valid";
    default: return "another error";
  }
}

void litert_check(Status status, const char *what) {
  if (status != 0) fail("failed", "LiteRT cannot %s: %s (status %d)", what, status_name(status), status);
}

static const char *check_version(char version[VERSION_BYTES]) {
  static char problem[LIBRARY_PATH_BYTES + 100];
  int major = 0, minor = 0;
  version[0] = '\0';
  if (!library_package_version(&library, 1, "ai_edge_litert", version, VERSION_BYTES)) return NULL;
  if (sscanf(version, "%d.%d", &major, &minor) == 2 && major == 2 && (minor == 2 || minor == 3)) return NULL;
  snprintf(problem, sizeof problem, "%s is of LiteRT %s; the native runner drives 2.2 and 2.3", library.path, version);
  return problem;
}

const char *litert_open(const JsonValue *libraries, char version[VERSION_BYTES]) {
  static char problem[LIBRARY_PATH_BYTES + 100];
  const char *missing = NULL;
  void *unused;
  const char *why = library_open(&library, libraries ? json_member(libraries, "litert") : NULL, "libLiteRt.so", false);
  if (why != NULL) return why;
#define FIND(name, parameters) \
  if (!library_symbol(&library, "LiteRt" #name, &litert.name)) missing = "LiteRt" #name;
  FUNCTIONS(FIND)
#undef FIND
  if (!library_symbol(&library, "LiteRtCreateModelFromFd", &unused)) missing = "LiteRtCreateModelFromFd"; /* in 2.1 */
  if (missing == NULL) return check_version(version);
  snprintf(problem, sizeof problem, "%s is not LiteRT 2.2 or 2.3: it has no function %s", library.path, missing);
  return problem;
}
