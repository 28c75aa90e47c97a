/* LiteRT through the C API of libLiteRt.so, out of the ai-edge-litert wheel: `.tflite` on the CPU, with XNNPACK.
 *
 * Supported: 2.2 and 2.3. The API is no stable one: 2.1 took options as C structures and had other parameters. The
 * library does not tell its version, so the wheel's metadata beside it are asked, and any other version is refused by
 * name; where there are none, the functions that it has must do.
 *
 * The number of threads is an opaque option: the identifier "xnnpack" and a line of TOML, `num_threads = N`. The types
 * below are those of litert_model_types.h and litert_layout.h, as far as they are used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "library.h"
#include "runtime.h"

typedef struct LiteRtHandle *Handle;
typedef int Status;

enum { CPU_ACCELERATOR = 1, LOCK_READ = 0, LOCK_WRITE = 1, PER_TENSOR = 1, PER_CHANNEL = 2, LITERT_MAX_RANK = 8 };

typedef struct {
  int element_type;
  unsigned int rank : 7, has_strides : 1;
  int32_t dimensions[LITERT_MAX_RANK];
  uint32_t strides[LITERT_MAX_RANK];
} RankedType;
_Static_assert(sizeof(RankedType) == 72, "as litert_layout.h asserts");

typedef struct {
  float scale;
  int64_t zero_point;
} PerTensor;

typedef struct {
  int32_t dimension;
  uint64_t channels;
  float *scales;
  int64_t *zero_points;
} PerChannel;

/* clang-format off */
#define FUNCTIONS(F) \
  F(CreateEnvironment, (int, const void *, Handle *)) \
  F(CreateModelFromFile, (Handle, const char *, Handle *)) \
  F(CreateOptions, (Handle *)) \
  F(SetOptionsHardwareAccelerators, (Handle, int)) \
  F(CreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *)) \
  F(AddOpaqueOptions, (Handle, Handle)) \
  F(CreateCompiledModel, (Handle, Handle, Handle, Handle *)) \
  F(GetNumModelSignatures, (Handle, size_t *)) \
  F(GetModelSignature, (Handle, size_t, Handle *)) \
  F(GetSignatureSubgraph, (Handle, Handle *)) \
  F(GetNumSignatureInputs, (Handle, size_t *)) \
  F(GetNumSignatureOutputs, (Handle, size_t *)) \
  F(GetSignatureInputName, (Handle, size_t, const char **)) \
  F(GetSignatureOutputName, (Handle, size_t, const char **)) \
  F(GetSignatureInputTensorByIndex, (Handle, size_t, Handle *)) \
  F(GetSignatureOutputTensorByIndex, (Handle, size_t, Handle *)) \
  F(GetNumSubgraphInputs, (Handle, size_t *)) \
  F(GetNumSubgraphOutputs, (Handle, size_t *)) \
  F(GetSubgraphInput, (Handle, size_t, Handle *)) \
  F(GetSubgraphOutput, (Handle, size_t, Handle *)) \
  F(GetTensorName, (Handle, const char **)) \
  F(GetRankedTensorType, (Handle, RankedType *)) \
  F(GetQuantizationTypeId, (Handle, int *)) \
  F(GetPerTensorQuantization, (Handle, PerTensor *)) \
  F(GetPerChannelQuantization, (Handle, PerChannel *)) \
  F(GetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *)) \
  F(GetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *)) \
  F(CreateManagedTensorBufferFromRequirements, (Handle, const RankedType *, Handle, Handle *)) \
  F(GetTensorBufferPackedSize, (Handle, size_t *)) \
  F(LockTensorBuffer, (Handle, void **, int)) \
  F(UnlockTensorBuffer, (Handle)) \
  F(RunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *))
/* clang-format on */

static struct {
#define DECLARE(name, parameters) Status(*name) parameters;
  FUNCTIONS(DECLARE)
#undef DECLARE
} api;

static Library library;

typedef struct {
  Handle compiled;
  size_t inputs_count, outputs_count;
  Handle inputs[MAX_TENSORS], outputs[MAX_TENSORS];           /* buffers, in the signature's order */
  size_t input_position[MAX_TENSORS], output_position[MAX_TENSORS]; /* of the model's order in the signature's */
} State;

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

static void check(Status status, const char *what) {
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

static const char *litert_open(const JsonValue *libraries, char version[VERSION_BYTES]) {
  static char problem[LIBRARY_PATH_BYTES + 100];
  const char *missing = NULL;
  void *unused;
  const char *why = library_open(&library, libraries ? json_member(libraries, "litert") : NULL, "libLiteRt.so", false);
  if (why != NULL) return why;
#define FIND(name, parameters) \
  if (!library_symbol(&library, "LiteRt" #name, &api.name)) missing = "LiteRt" #name;
  FUNCTIONS(FIND)
#undef FIND
  if (!library_symbol(&library, "LiteRtCreateModelFromFd", &unused)) missing = "LiteRtCreateModelFromFd"; /* in 2.1 */
  if (missing == NULL) return check_version(version);
  snprintf(problem, sizeof problem, "%s is not LiteRT 2.2 or 2.3: it has no function %s", library.path, missing);
  return problem;
}

static DType element_type(int type, const char *name) {
  switch (type) {
    case 1: return DTYPE_FLOAT32;
    case 2: return DTYPE_INT32;
    case 3: return DTYPE_UINT8;
    case 4: return DTYPE_INT64;
    case 6: return DTYPE_BOOL;
    case 7: return DTYPE_INT16;
    case 9: return DTYPE_INT8;
    case 10: return DTYPE_FLOAT16;
    case 11: return DTYPE_FLOAT64;
    case 13: return DTYPE_UINT64;
    case 16: return DTYPE_UINT32;
    case 17: return DTYPE_UINT16;
    default: fail("failed", "the tensor %s has LiteRT's element type %d, which this runner cannot fill", name, type);
  }
}

static RankedType describe(Handle handle, Tensor *tensor) {
  RankedType type = {0};
  int quantization = 0;
  PerTensor per_tensor;
  PerChannel per_channel;
  check(api.GetTensorName(handle, &tensor->name), "name a tensor");
  check(api.GetRankedTensorType(handle, &type), "describe a tensor");
  if (type.rank > MAX_RANK) fail("failed", "the tensor %s has %u dimensions", tensor->name, type.rank);
  tensor->dtype = element_type(type.element_type, tensor->name);
  tensor->rank = (int)type.rank;
  for (unsigned i = 0; i < type.rank; i++) tensor->shape[i] = type.dimensions[i];
  tensor_finish(tensor);
  check(api.GetQuantizationTypeId(handle, &quantization), "describe a tensor");
  if (quantization == PER_TENSOR) {
    check(api.GetPerTensorQuantization(handle, &per_tensor), "describe a tensor");
    tensor->quantized = true;
    tensor->scale = per_tensor.scale;
    tensor->zero_point = per_tensor.zero_point;
  } else if (quantization == PER_CHANNEL) {
    check(api.GetPerChannelQuantization(handle, &per_channel), "describe a tensor");
    if (per_channel.channels != 1) return type;
    tensor->quantized = true;
    tensor->scale = per_channel.scales[0];
    tensor->zero_point = per_channel.zero_points[0];
  }
  return type;
}

/* One side of a signature: how many tensors, how they are called, which they are. */
typedef struct {
  Status (*signature_count)(Handle, size_t *);
  Status (*signature_name)(Handle, size_t, const char **);
  Status (*signature_tensor)(Handle, size_t, Handle *);
  Status (*subgraph_count)(Handle, size_t *);
  Status (*subgraph_tensor)(Handle, size_t, Handle *);
  Status (*requirements)(Handle, size_t, size_t, Handle *);
} Side;

/* Which tensor of the signature is the model's i-th: by the bindings' names, or else by the order in the file. */
static void order(const Side *side, Handle signature, size_t count, const char *const *names, size_t names_count,
                  size_t *positions) {
  const char *known[MAX_TENSORS];
  Handle tensors[MAX_TENSORS], subgraph, tensor;
  size_t in_file = 0, named = 0;
  for (size_t i = 0; i < count; i++) {
    check(side->signature_name(signature, i, &known[i]), "name a tensor");
    check(side->signature_tensor(signature, i, &tensors[i]), "find a tensor");
  }
  for (size_t i = 0; i < names_count && names_count == count; i++) {
    int position = name_position(known, count, names[i]);
    if (position >= 0) positions[named++] = (size_t)position;
  }
  if (named == count) return;
  check(api.GetSignatureSubgraph(signature, &subgraph), "find its main graph");
  check(side->subgraph_count(subgraph, &in_file), "count its tensors");
  if (in_file != count) fail("failed", "its signature has %zu tensors and its graph has %zu", count, in_file);
  for (size_t i = 0; i < count; i++) {
    check(side->subgraph_tensor(subgraph, i, &tensor), "find a tensor");
    size_t k = 0;
    while (k < count && tensors[k] != tensor) k++;
    if (k == count) fail("failed", "its signature does not name all tensors of its graph");
    positions[i] = k;
  }
}

static size_t prepare(const Side *side, Handle environment, Handle compiled, Handle signature, Tensor *tensors,
                      const char *const *names, size_t names_count, Handle *buffers, size_t *positions) {
  size_t count = 0, bytes = 0;
  Handle handle, requirements;
  check(side->signature_count(signature, &count), "count its tensors");
  if (count > MAX_TENSORS) fail("failed", "the model has %zu inputs or outputs; %d are the most", count, MAX_TENSORS);
  if (names_count != 0 && names_count != count)
    fail("failed", "the model has %zu inputs or outputs where its manifest has %zu", count, names_count);
  order(side, signature, count, names, names_count, positions);
  for (size_t i = 0; i < count; i++) {
    size_t position = positions[i];
    check(side->signature_tensor(signature, position, &handle), "find a tensor");
    RankedType type = describe(handle, &tensors[i]);
    check(side->requirements(compiled, 0, position, &requirements), "tell a buffer's requirements");
    check(api.CreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffers[position]),
          "make a buffer");
    check(api.GetTensorBufferPackedSize(buffers[position], &bytes), "tell a buffer's size");
    if (bytes != tensors[i].bytes)
      fail("failed", "the tensor %s takes %zu bytes where its shape says %zu", tensors[i].name, bytes,
           tensors[i].bytes);
  }
  return count;
}

static void litert_load(Session *session, const char *path, int threads, const Bindings *bindings) {
  static State state;
  Handle environment, model, options, opaque, signature, compiled;
  size_t signatures = 0;
  char *toml = allocate(1, 40);
  snprintf(toml, 40, "num_threads = %d\n", threads);
  check(api.CreateEnvironment(0, NULL, &environment), "start");
  check(api.CreateModelFromFile(environment, path, &model), "read the model");
  check(api.CreateOptions(&options), "make options");
  check(api.SetOptionsHardwareAccelerators(options, CPU_ACCELERATOR), "choose the CPU");
  check(api.CreateOpaqueOptions("xnnpack", toml, free, &opaque), "set the number of threads");
  check(api.AddOpaqueOptions(options, opaque), "set the number of threads");
  check(api.CreateCompiledModel(environment, model, options, &compiled), "prepare the model");
  check(api.GetNumModelSignatures(model, &signatures), "count its signatures");
  if (signatures == 0) fail("failed", "the model has no signature");
  check(api.GetModelSignature(model, 0, &signature), "find its signature");
  const Side in = {api.GetNumSignatureInputs, api.GetSignatureInputName, api.GetSignatureInputTensorByIndex,
                   api.GetNumSubgraphInputs, api.GetSubgraphInput, api.GetCompiledModelInputBufferRequirements};
  const Side out = {api.GetNumSignatureOutputs, api.GetSignatureOutputName, api.GetSignatureOutputTensorByIndex,
                    api.GetNumSubgraphOutputs, api.GetSubgraphOutput, api.GetCompiledModelOutputBufferRequirements};
  state.inputs_count = session->inputs_count =
      prepare(&in, environment, compiled, signature, session->inputs, bindings->inputs, bindings->inputs_count,
              state.inputs, state.input_position);
  state.outputs_count = session->outputs_count =
      prepare(&out, environment, compiled, signature, session->outputs, bindings->outputs, bindings->outputs_count,
              state.outputs, state.output_position);
  state.compiled = compiled;
  session->state = &state;
}

static void litert_set_input(Session *session, size_t i, const void *data) {
  State *state = session->state;
  Handle buffer = state->inputs[state->input_position[i]];
  void *memory;
  check(api.LockTensorBuffer(buffer, &memory, LOCK_WRITE), "open an input");
  memcpy(memory, data, session->inputs[i].bytes);
  check(api.UnlockTensorBuffer(buffer), "close an input");
}

static void litert_invoke(void *session) {
  State *state = ((Session *)session)->state;
  check(api.RunCompiledModel(state->compiled, 0, state->inputs_count, state->inputs, state->outputs_count, state->outputs),
        "run the model");
}

static void litert_get_output(Session *session, size_t i, void *data) {
  State *state = session->state;
  Handle buffer = state->outputs[state->output_position[i]];
  void *memory;
  check(api.LockTensorBuffer(buffer, &memory, LOCK_READ), "open an output");
  memcpy(data, memory, session->outputs[i].bytes);
  check(api.UnlockTensorBuffer(buffer), "close an output");
}

const Runtime litert_runtime = {"litert", "ai_edge_litert", litert_open, litert_load,
                                litert_set_input, litert_invoke, litert_get_output};
