/* ONNX Runtime through the C API of libonnxruntime.so: `.onnx` on the CPU.
 *
 * The API is one table of functions that only ever grows, so a function is named here by its place in it (OrtApi in
 * onnxruntime_c_api.h); version 12 of the table is asked for, which ONNX Runtime 1.12 and everything newer have. Inputs and
 * outputs have memory of their own, so that a run copies nothing in the runtime. */
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "runtime.h"

enum { API_VERSION = 12, LOG_ERRORS = 3, ALL_OPTIMISATIONS = 99, ARENA = 1, DEFAULT = 0, GET_ERROR_MESSAGE = 2 };
enum { RELEASE_ENV = 92, RELEASE_STATUS = 93, RELEASE_MEMORY_INFO = 94, RELEASE_SESSION = 95, RELEASE_VALUE = 96 };
enum { RELEASE_TYPE_INFO = 98, RELEASE_SESSION_OPTIONS = 100, RELEASES = 9, FIRST_RELEASE = 92 };

typedef struct OrtHandle *Handle;
typedef Handle Status; /* NULL is success */

/* clang-format off */
#define FUNCTIONS(F) \
  F(3, CreateEnv, (int, const char *, Handle *)) \
  F(8, CreateSessionFromArray, (Handle, const void *, size_t, Handle, Handle *)) \
  F(9, Run, (Handle, Handle, const char *const *, const Handle *, size_t, const char *const *, size_t, Handle *)) \
  F(10, CreateSessionOptions, (Handle *)) \
  F(22, SetSessionLogSeverityLevel, (Handle, int)) \
  F(23, SetSessionGraphOptimizationLevel, (Handle, int)) \
  F(24, SetIntraOpNumThreads, (Handle, int)) \
  F(25, SetInterOpNumThreads, (Handle, int)) \
  F(30, SessionGetInputCount, (Handle, size_t *)) \
  F(31, SessionGetOutputCount, (Handle, size_t *)) \
  F(33, SessionGetInputTypeInfo, (Handle, size_t, Handle *)) \
  F(34, SessionGetOutputTypeInfo, (Handle, size_t, Handle *)) \
  F(36, SessionGetInputName, (Handle, size_t, Handle, char **)) \
  F(37, SessionGetOutputName, (Handle, size_t, Handle, char **)) \
  F(49, CreateTensorWithDataAsOrtValue, (Handle, void *, size_t, const int64_t *, size_t, int, Handle *)) \
  F(55, CastTypeInfoToTensorInfo, (Handle, Handle *)) \
  F(60, GetTensorElementType, (Handle, int *)) \
  F(61, GetDimensionsCount, (Handle, size_t *)) \
  F(62, GetDimensions, (Handle, int64_t *, size_t)) \
  F(69, CreateCpuMemoryInfo, (int, int, Handle *)) \
  F(76, AllocatorFree, (Handle, void *)) \
  F(78, GetAllocatorWithDefaultOptions, (Handle *)) \
  F(130, AddSessionConfigEntry, (Handle, const char *, const char *))
/* clang-format on */

static struct {
#define DECLARE(place, name, parameters) Status(*name) parameters;
  FUNCTIONS(DECLARE)
#undef DECLARE
  const char *(*GetErrorMessage)(Status);
  void (*release[RELEASES])(Handle); /* by place, from FIRST_RELEASE on */
} api;

static bool opened_once;

typedef struct {
  const void *(*get_api)(uint32_t version);
  const char *(*version)(void);
} ApiBase;

typedef struct {
  size_t count;
  const char *name[EDGEKIT_MAX_TENSORS];
  Handle value[EDGEKIT_MAX_TENSORS];
  void *memory[EDGEKIT_MAX_TENSORS];
  size_t bytes[EDGEKIT_MAX_TENSORS];
} Side;

typedef struct {
  Handle environment, options, session, memory_information;
  Side inputs, outputs;
} Session;

static void release(int place, Handle handle) {
  if (handle != NULL) api.release[place - FIRST_RELEASE](handle);
}

static bool done(Status status, const char *what, edgekit_error *error) {
  if (status == NULL) return true;
  edgekit_fail(error, "ONNX Runtime cannot %s: %s", what, api.GetErrorMessage(status));
  release(RELEASE_STATUS, status);
  return false;
}

static bool onnx_open(const char *path, const char *proven, bool any_version, edgekit_error *error) {
  const char *shown = path != NULL ? path : "libonnxruntime.so";
  const ApiBase *(*get_base)(void);
  void *library = edgekit_library_open(path, "libonnxruntime.so", error);
  if (library == NULL) return false;
  if (!edgekit_library_symbol(library, "OrtGetApiBase", &get_base))
    return edgekit_fail(error, "%s is not ONNX Runtime: it has no function OrtGetApiBase", shown);
  const ApiBase *base = get_base();
  if (!any_version && edgekit_older(base->version(), proven))
    return edgekit_fail(error, "%s is ONNX Runtime %s, and the model was proven with %s: take that, or set any_version",
                        shown, base->version(), proven);
  const char *table = base->get_api(API_VERSION);
  if (table == NULL)
    return edgekit_fail(error, "%s is ONNX Runtime %s; 1.12 is the oldest that this code drives", shown, base->version());
  if (opened_once) return true;
#define FIND(place, name, parameters) memcpy(&api.name, table + (place) * sizeof(void *), sizeof(void *));
  FUNCTIONS(FIND)
#undef FIND
  memcpy(&api.GetErrorMessage, table + GET_ERROR_MESSAGE * sizeof(void *), sizeof(void *));
  memcpy(api.release, table + FIRST_RELEASE * sizeof(void *), sizeof api.release);
  opened_once = true;
  return true;
}

static int element_type(edgekit_dtype dtype) { /* ONNXTensorElementDataType */
  switch (dtype) {
    case EDGEKIT_FLOAT32: return 1;
    case EDGEKIT_UINT8: return 2;
    case EDGEKIT_INT8: return 3;
    case EDGEKIT_INT16: return 5;
    case EDGEKIT_INT32: return 6;
    case EDGEKIT_INT64: return 7;
    case EDGEKIT_BOOL: return 9;
    case EDGEKIT_FLOAT64: return 11;
  }
  return 0;
}

static bool same(Handle information, const edgekit_tensor *wanted, bool *same, edgekit_error *error) {
  Handle shape = NULL;
  int64_t sizes[EDGEKIT_MAX_RANK] = {0};
  size_t rank = 0;
  int type = 0;
  *same = false;
  if (!done(api.CastTypeInfoToTensorInfo(information, &shape), "describe a tensor", error)) return false;
  if (shape == NULL) return true; /* no tensor */
  if (!done(api.GetTensorElementType(shape, &type), "describe a tensor", error) ||
      !done(api.GetDimensionsCount(shape, &rank), "describe a tensor", error))
    return false;
  if (type != element_type(wanted->dtype) || (int)rank != wanted->rank) return true;
  if (!done(api.GetDimensions(shape, sizes, rank), "describe a tensor", error)) return false;
  *same = true;
  for (int i = 0; i < wanted->rank; i++)
    if (sizes[i] >= 0 && sizes[i] != wanted->shape[i]) *same = false; /* -1: the model leaves it open */
  return true;
}

static bool bind(Session *session, const edgekit_tensor *tensor, Side *side, size_t i, edgekit_error *error) {
  int64_t sizes[EDGEKIT_MAX_RANK] = {0};
  for (int k = 0; k < tensor->rank; k++) sizes[k] = tensor->shape[k];
  side->name[i] = tensor->binding;
  side->bytes[i] = tensor->count * edgekit_element_bytes(tensor->dtype);
  side->memory[i] = calloc(tensor->count, edgekit_element_bytes(tensor->dtype));
  if (side->memory[i] == NULL) return edgekit_fail(error, "there is no memory for %s", tensor->name);
  return done(api.CreateTensorWithDataAsOrtValue(session->memory_information, side->memory[i], side->bytes[i], sizes,
                                                 (size_t)tensor->rank, element_type(tensor->dtype), &side->value[i]),
              "make a tensor", error);
}

static bool bind_side(Session *session, bool input, const edgekit_tensor *tensors, Side *side, edgekit_error *error) {
  Handle allocator, information;
  size_t count = 0;
  if (!done(api.GetAllocatorWithDefaultOptions(&allocator), "allocate", error) ||
      !done((input ? api.SessionGetInputCount : api.SessionGetOutputCount)(session->session, &count), "count tensors", error))
    return false;
  for (size_t i = 0; i < side->count; i++) {
    bool fits = false, found = false;
    for (size_t at = 0; at < count && !found; at++) {
      char *name;
      if (!done((input ? api.SessionGetInputName : api.SessionGetOutputName)(session->session, at, allocator, &name),
                "name a tensor", error))
        return false;
      found = strcmp(name, tensors[i].binding) == 0;
      if (!done(api.AllocatorFree(allocator, name), "free a name", error)) return false;
      if (!found) continue;
      if (!done((input ? api.SessionGetInputTypeInfo : api.SessionGetOutputTypeInfo)(session->session, at, &information),
                "describe a tensor", error))
        return false;
      bool known = same(information, &tensors[i], &fits, error);
      release(RELEASE_TYPE_INFO, information);
      if (!known) return false;
    }
    if (!found || count != side->count)
      return edgekit_fail(error, "the model is another one: it has no %s %s", input ? "input" : "output", tensors[i].binding);
    if (!fits) return edgekit_fail(error, "the model is another one: %s has another shape or type", tensors[i].name);
    if (!bind(session, &tensors[i], side, i, error)) return false;
  }
  return true;
}

static void onnx_close(void *closed) {
  Session *session = closed;
  if (session == NULL) return;
  for (size_t i = 0; i < EDGEKIT_MAX_TENSORS; i++) {
    release(RELEASE_VALUE, session->inputs.value[i]);
    release(RELEASE_VALUE, session->outputs.value[i]);
    free(session->inputs.memory[i]);
    free(session->outputs.memory[i]);
  }
  release(RELEASE_SESSION, session->session);
  release(RELEASE_MEMORY_INFO, session->memory_information);
  release(RELEASE_SESSION_OPTIONS, session->options);
  release(RELEASE_ENV, session->environment);
  free(session);
}

static void *onnx_load(const edgekit_variant *variant, const void *model, size_t bytes, int threads, edgekit_error *error) {
  Session *session = calloc(1, sizeof *session);
  if (session == NULL) {
    edgekit_fail(error, "there is no memory for the session");
    return NULL;
  }
  session->inputs.count = variant->inputs_count;
  session->outputs.count = variant->outputs_count;
  if (done(api.CreateEnv(LOG_ERRORS, "edgekit", &session->environment), "start", error) &&
      done(api.CreateSessionOptions(&session->options), "make options", error) &&
      done(api.SetIntraOpNumThreads(session->options, threads), "set the number of threads", error) &&
      done(api.SetInterOpNumThreads(session->options, 1), "set the number of threads", error) &&
      done(api.SetSessionGraphOptimizationLevel(session->options, ALL_OPTIMISATIONS), "set the optimisations", error) &&
      done(api.AddSessionConfigEntry(session->options, "session.intra_op.allow_spinning", "0"), "forbid spinning", error) &&
      done(api.SetSessionLogSeverityLevel(session->options, LOG_ERRORS), "set the log level", error) &&
      done(api.CreateSessionFromArray(session->environment, model, bytes, session->options, &session->session),
           "load the model", error) &&
      done(api.CreateCpuMemoryInfo(ARENA, DEFAULT, &session->memory_information), "describe memory", error) &&
      bind_side(session, true, variant->inputs, &session->inputs, error) &&
      bind_side(session, false, variant->outputs, &session->outputs, error))
    return session;
  onnx_close(session);
  return NULL;
}

static bool onnx_set_input(void *opened, size_t i, const void *stored, edgekit_error *error) {
  Side *side = &((Session *)opened)->inputs;
  (void)error;
  memcpy(side->memory[i], stored, side->bytes[i]);
  return true;
}

static bool onnx_invoke(void *opened, edgekit_error *error) {
  Session *session = opened;
  Side *in = &session->inputs, *out = &session->outputs;
  return done(api.Run(session->session, NULL, in->name, in->value, in->count, out->name, out->count, out->value),
              "run the model", error);
}

static bool onnx_get_output(void *opened, size_t i, void *stored, edgekit_error *error) {
  Side *side = &((Session *)opened)->outputs;
  (void)error;
  memcpy(stored, side->memory[i], side->bytes[i]);
  return true;
}

const edgekit_runtime edgekit_onnxruntime = {"onnxruntime", onnx_open,       onnx_load, onnx_set_input,
                                             onnx_invoke,   onnx_get_output, onnx_close};
