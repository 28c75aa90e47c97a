/* ONNX Runtime through the C API of libonnxruntime.so, out of the onnxruntime wheel: `.onnx` on the CPU.
 *
 * The API is one table of functions that only ever grows, so a function is named here by its place in it (OrtApi in
 * onnxruntime_c_api.h); version 12 of the table is asked for, which ONNX Runtime 1.12 and everything newer have.
 * As in edgekit/runner/runtimes/onnxruntime.py, operators run one after the other on `threads` threads that do not spin
 * while they wait, and inputs and outputs have memory of their own, so that `invoke` copies nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "library.h"
#include "runtime.h"

enum { API_VERSION = 12, LOG_ERRORS = 3, SEQUENTIAL = 0, ALL_OPTIMISATIONS = 99, ARENA = 1, DEFAULT = 0 };

typedef struct OrtHandle *Handle;
typedef Handle Status; /* NULL is success */

/* clang-format off */
#define FUNCTIONS(F) \
  F(3, CreateEnv, (int, const char *, Handle *)) \
  F(7, CreateSession, (Handle, const char *, Handle, Handle *)) \
  F(9, Run, (Handle, Handle, const char *const *, const Handle *, size_t, const char *const *, size_t, Handle *)) \
  F(10, CreateSessionOptions, (Handle *)) \
  F(13, SetSessionExecutionMode, (Handle, int)) \
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
  F(78, GetAllocatorWithDefaultOptions, (Handle *)) \
  F(130, AddSessionConfigEntry, (Handle, const char *, const char *))
/* clang-format on */
enum { GET_ERROR_MESSAGE = 2 };

static struct {
#define DECLARE(place, name, parameters) Status(*name) parameters;
  FUNCTIONS(DECLARE)
#undef DECLARE
  const char *(*GetErrorMessage)(Status);
} api;

typedef struct {
  const void *(*get_api)(uint32_t version);
  const char *(*version)(void);
} ApiBase;

/* One side of a model: what the runtime calls its tensors, their memory, and the values over it. */
typedef struct {
  size_t count;
  const char *names[MAX_TENSORS];
  Handle values[MAX_TENSORS];
  void *memory[MAX_TENSORS];
} Side;

typedef struct {
  Handle session;
  Side inputs, outputs;
} State;

static void check(Status status, const char *what) {
  if (status != NULL) fail("failed", "ONNX Runtime cannot %s: %s", what, api.GetErrorMessage(status));
}

static const char *onnx_open(const JsonValue *libraries, char version[VERSION_BYTES]) {
  static Library library;
  static char problem[LIBRARY_PATH_BYTES + 100];
  const ApiBase *(*get_base)(void);
  const JsonValue *candidates = libraries != NULL ? json_member(libraries, "onnxruntime") : NULL;
  const char *why = library_open(&library, candidates, "libonnxruntime.so", false);
  if (why != NULL) return why;
  if (!library_symbol(&library, "OrtGetApiBase", &get_base)) {
    snprintf(problem, sizeof problem, "%s is not ONNX Runtime: it has no function OrtGetApiBase", library.path);
    return problem;
  }
  const ApiBase *base = get_base();
  const char *table = base->get_api(API_VERSION);
  snprintf(version, VERSION_BYTES, "%s", base->version());
  if (table == NULL) {
    snprintf(problem, sizeof problem, "%s is ONNX Runtime %s; 1.12 is the oldest that the native runner drives",
             library.path, version);
    return problem;
  }
#define FIND(place, name, parameters) memcpy(&api.name, table + (place) * sizeof(void *), sizeof(void *));
  FUNCTIONS(FIND)
#undef FIND
  memcpy(&api.GetErrorMessage, table + GET_ERROR_MESSAGE * sizeof(void *), sizeof(void *));
  return NULL;
}

static const struct {
  int code; /* ONNXTensorElementDataType */
  DType dtype;
} element_types[] = {{1, DTYPE_FLOAT32}, {2, DTYPE_UINT8},    {3, DTYPE_INT8},     {4, DTYPE_UINT16},
                     {5, DTYPE_INT16},   {6, DTYPE_INT32},    {7, DTYPE_INT64},    {9, DTYPE_BOOL},
                     {10, DTYPE_FLOAT16}, {11, DTYPE_FLOAT64}, {12, DTYPE_UINT32}, {13, DTYPE_UINT64}};

static DType element_type(int code, const char *name) {
  for (size_t i = 0; i < sizeof element_types / sizeof element_types[0]; i++)
    if (element_types[i].code == code) return element_types[i].dtype;
  fail("failed", "the tensor %s has ONNX's element type %d, which this runner cannot fill", name, code);
}

/* ONNX keeps scales in the graph, not with its inputs and outputs: no tensor here is quantized. */
static Handle bind(Handle information, Handle memory_information, const char *name, Tensor *tensor, void **memory) {
  Handle shape = NULL, value;
  size_t rank = 0;
  int code = 0;
  check(api.CastTypeInfoToTensorInfo(information, &shape), "describe a tensor");
  if (shape == NULL) fail("failed", "%s is no tensor", name);
  check(api.GetTensorElementType(shape, &code), "describe a tensor");
  check(api.GetDimensionsCount(shape, &rank), "describe a tensor");
  if (rank > MAX_RANK) fail("failed", "the tensor %s has %zu dimensions", name, rank);
  tensor->name = name;
  tensor->dtype = element_type(code, name);
  tensor->rank = (int)rank;
  check(api.GetDimensions(shape, tensor->shape, rank), "describe a tensor");
  tensor_finish(tensor);
  *memory = allocate(tensor->count, dtype_bytes(tensor->dtype));
  check(api.CreateTensorWithDataAsOrtValue(memory_information, *memory, tensor->bytes, tensor->shape, rank, code, &value),
        "make a tensor");
  return value;
}

static void bind_side(Handle session, bool input, Side *side, Tensor *tensors, const char *const *names, size_t wanted) {
  Handle allocator, memory_information, information;
  const char *known[MAX_TENSORS];
  char *name;
  size_t count = 0;
  const char *what = input ? "inputs" : "outputs";
  check(api.GetAllocatorWithDefaultOptions(&allocator), "allocate");
  check(api.CreateCpuMemoryInfo(ARENA, DEFAULT, &memory_information), "describe memory");
  check(input ? api.SessionGetInputCount(session, &count) : api.SessionGetOutputCount(session, &count), "count tensors");
  if (count > MAX_TENSORS) fail("failed", "the model has %zu %s; %d are the most", count, what, MAX_TENSORS);
  for (size_t i = 0; i < count; i++) {
    check(input ? api.SessionGetInputName(session, i, allocator, &name)
                : api.SessionGetOutputName(session, i, allocator, &name),
          "name a tensor");
    known[i] = name;
  }
  for (size_t i = 0; i < wanted; i++) {
    int position = name_position(known, count, names[i]);
    if (position < 0) fail("failed", "the model's %s have none of the name %s", what, names[i]);
    check(input ? api.SessionGetInputTypeInfo(session, (size_t)position, &information)
                : api.SessionGetOutputTypeInfo(session, (size_t)position, &information),
          "describe a tensor");
    side->names[i] = known[position];
    side->values[i] = bind(information, memory_information, known[position], &tensors[i], &side->memory[i]);
  }
  side->count = wanted;
}

static void onnx_load(Session *session, const char *path, int threads, const Bindings *bindings) {
  static State state;
  Handle environment, options;
  check(api.CreateEnv(LOG_ERRORS, "edgekit", &environment), "start");
  check(api.CreateSessionOptions(&options), "make options");
  check(api.SetIntraOpNumThreads(options, threads), "set the number of threads");
  check(api.SetInterOpNumThreads(options, 1), "set the number of threads");
  check(api.SetSessionExecutionMode(options, SEQUENTIAL), "set the order of operators");
  check(api.SetSessionGraphOptimizationLevel(options, ALL_OPTIMISATIONS), "set the optimisations");
  check(api.AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"), "forbid spinning");
  check(api.SetSessionLogSeverityLevel(options, LOG_ERRORS), "set the log level");
  check(api.CreateSession(environment, path, options, &state.session), "load the model");
  bind_side(state.session, true, &state.inputs, session->inputs, bindings->inputs, bindings->inputs_count);
  bind_side(state.session, false, &state.outputs, session->outputs, bindings->outputs, bindings->outputs_count);
  session->inputs_count = state.inputs.count;
  session->outputs_count = state.outputs.count;
  session->state = &state;
}

static void onnx_set_input(Session *session, size_t i, const void *data) {
  memcpy(((State *)session->state)->inputs.memory[i], data, session->inputs[i].bytes);
}

static void onnx_invoke(void *session) {
  State *state = ((Session *)session)->state;
  Side *in = &state->inputs, *out = &state->outputs;
  check(api.Run(state->session, NULL, in->names, in->values, in->count, out->names, out->count, out->values),
        "run the model");
}

static void onnx_get_output(Session *session, size_t i, void *data) {
  memcpy(data, ((State *)session->state)->outputs.memory[i], session->outputs[i].bytes);
}

const Runtime onnx_runtime = {"onnxruntime", "onnxruntime", onnx_open, onnx_load,
                              onnx_set_input, onnx_invoke, onnx_get_output,
                              .no_profile = "ONNX Runtime writes its profile to a file, which the Python runner reads: "
                                            "--runner python"};
