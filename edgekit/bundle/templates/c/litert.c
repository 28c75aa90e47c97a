/* LiteRT through the C API of libLiteRt.so, as the ai-edge-litert wheel has it: `.tflite` on the CPU, with XNNPACK.
 *
 * The API is no stable one: 2.1 took other parameters. The library does not tell its version, so the wheel's metadata
 * beside it are asked, and anything but 2.2 and 2.3 is refused by name; where there are none, the functions that it has must
 * do. The types below are those of litert_model_types.h and litert_layout.h, as far as they are used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "runtime.h"

typedef struct LiteRtHandle *Handle;
typedef int Status;

enum { CPU_ACCELERATOR = 1, LOCK_READ = 0, LOCK_WRITE = 1, VERSION_BYTES = 64 };

typedef struct {
  int element_type;
  unsigned int rank : 7, has_strides : 1;
  int32_t dimensions[EDGEKIT_MAX_RANK];
  uint32_t strides[EDGEKIT_MAX_RANK];
} RankedType;
_Static_assert(sizeof(RankedType) == 72, "as litert_layout.h asserts");

/* clang-format off */
#define FUNCTIONS(F) \
  F(CreateEnvironment, Status, (int, const void *, Handle *)) \
  F(CreateModelFromBuffer, Status, (Handle, const void *, size_t, Handle *)) \
  F(CreateOptions, Status, (Handle *)) \
  F(SetOptionsHardwareAccelerators, Status, (Handle, int)) \
  F(CreateOpaqueOptions, Status, (const char *, void *, void (*)(void *), Handle *)) \
  F(AddOpaqueOptions, Status, (Handle, Handle)) \
  F(CreateCompiledModel, Status, (Handle, Handle, Handle, Handle *)) \
  F(GetNumModelSignatures, Status, (Handle, size_t *)) \
  F(GetModelSignature, Status, (Handle, size_t, Handle *)) \
  F(GetNumSignatureInputs, Status, (Handle, size_t *)) \
  F(GetNumSignatureOutputs, Status, (Handle, size_t *)) \
  F(GetSignatureInputName, Status, (Handle, size_t, const char **)) \
  F(GetSignatureOutputName, Status, (Handle, size_t, const char **)) \
  F(GetSignatureInputTensorByIndex, Status, (Handle, size_t, Handle *)) \
  F(GetSignatureOutputTensorByIndex, Status, (Handle, size_t, Handle *)) \
  F(GetRankedTensorType, Status, (Handle, RankedType *)) \
  F(GetCompiledModelInputBufferRequirements, Status, (Handle, size_t, size_t, Handle *)) \
  F(GetCompiledModelOutputBufferRequirements, Status, (Handle, size_t, size_t, Handle *)) \
  F(CreateManagedTensorBufferFromRequirements, Status, (Handle, const RankedType *, Handle, Handle *)) \
  F(GetTensorBufferPackedSize, Status, (Handle, size_t *)) \
  F(LockTensorBuffer, Status, (Handle, void **, int)) \
  F(UnlockTensorBuffer, Status, (Handle)) \
  F(RunCompiledModel, Status, (Handle, size_t, size_t, Handle *, size_t, Handle *)) \
  F(DestroyTensorBuffer, void, (Handle)) \
  F(DestroyCompiledModel, void, (Handle)) \
  F(DestroyOptions, void, (Handle)) \
  F(DestroyModel, void, (Handle)) \
  F(DestroyEnvironment, void, (Handle))
/* clang-format on */

static struct {
#define DECLARE(name, returned, parameters) returned(*name) parameters;
  FUNCTIONS(DECLARE)
#undef DECLARE
} api;

static void *library; /* opened once, and never closed: the runtime has threads of its own */
static char library_path[4096];

/* One side of a session: its buffers in the signature's order, and which of them is the model's i-th. */
typedef struct {
  size_t count;
  Handle buffer[EDGEKIT_MAX_TENSORS];
  size_t position[EDGEKIT_MAX_TENSORS], bytes[EDGEKIT_MAX_TENSORS];
} Side;

typedef struct {
  Handle environment, model, options, compiled;
  Side inputs, outputs;
} Session;

static const char *status_name(Status status) {
  switch (status) {
    case 1: return "invalid argument";
    case 2: return "out of memory";
    case 3: return "runtime failure";
    case 5: return "unsupported";
    case 8: return "wrong version";
    case 500: return "the file cannot be read";
    case 501: return "it is no whole .tflite file";
    case 504: return "compilation failed";
    case 1002: return "a graph that is not valid";
    default: return "another error";
  }
}

static bool done(Status status, const char *what, edgekit_error *error) {
  if (status == 0) return true;
  return edgekit_fail(error, "LiteRT cannot %s: %s (status %d)", what, status_name(status), status);
}

static bool refuse_version(const char *path, const char *proven, bool any_version, edgekit_error *error) {
  char version[VERSION_BYTES];
  int major = 0, minor = 0;
  if (!edgekit_wheel_version(path, "ai_edge_litert", version, sizeof version)) return true;
  if (sscanf(version, "%9d.%9d", &major, &minor) != 2 || major != 2 || minor < 2 || minor > 3)
    return edgekit_fail(error, "%s is of LiteRT %s, and this code drives 2.2 and 2.3: take LiteRT %s", path, version, proven);
  if (!any_version && edgekit_older(version, proven))
    return edgekit_fail(error, "%s is of LiteRT %s, and the model was proven with %s: take that, or set any_version", path,
                        version, proven);
  return true;
}

static bool litert_open(const char *path, const char *proven, bool any_version, edgekit_error *error) {
  const char *shown = path != NULL ? path : "libLiteRt.so";
  if (library != NULL) {
    if (strcmp(library_path, shown) != 0)
      return edgekit_fail(error, "LiteRT was loaded from %s, and a program has one: it cannot be %s", library_path, shown);
    return refuse_version(path, proven, any_version, error);
  }
  if (strlen(shown) >= sizeof library_path) return edgekit_fail(error, "the path of LiteRT is too long");
  if (!refuse_version(path, proven, any_version, error)) return false;
  void *opened = edgekit_library_open(path, "libLiteRt.so", error);
  const char *missing = NULL;
  void *unused;
  if (opened == NULL) return false;
#define FIND(name, returned, parameters) \
  if (!edgekit_library_symbol(opened, "LiteRt" #name, &api.name)) missing = "LiteRt" #name;
  FUNCTIONS(FIND)
#undef FIND
  if (!edgekit_library_symbol(opened, "LiteRtCreateModelFromFd", &unused)) missing = "LiteRtCreateModelFromFd"; /* in 2.1 */
  if (missing != NULL)
    return edgekit_fail(error, "%s is not LiteRT 2.2 or 2.3: it has no function %s; take LiteRT %s", shown, missing, proven);
  memcpy(library_path, shown, strlen(shown) + 1);
  library = opened;
  return true;
}

static int element_type(edgekit_dtype dtype) {
  switch (dtype) {
    case EDGEKIT_FLOAT32: return 1;
    case EDGEKIT_INT32: return 2;
    case EDGEKIT_UINT8: return 3;
    case EDGEKIT_INT64: return 4;
    case EDGEKIT_BOOL: return 6;
    case EDGEKIT_INT16: return 7;
    case EDGEKIT_INT8: return 9;
    case EDGEKIT_FLOAT64: return 11;
  }
  return 0;
}

static bool same(const RankedType *found, const edgekit_tensor *wanted) {
  bool same = found->element_type == element_type(wanted->dtype) && (int)found->rank == wanted->rank;
  for (int i = 0; same && i < wanted->rank; i++) same = found->dimensions[i] == wanted->shape[i];
  return same;
}

/* Makes the buffers of one side, each for the tensor that its binding names, and looks at what the model says of it. */
static bool prepare(Session *session, bool input, Handle signature, const edgekit_tensor *tensors, Side *side,
                    edgekit_error *error) {
  size_t count = 0, at, bytes = 0;
  Handle tensor, requirements;
  RankedType type;
  const char *name;
  if (!done((input ? api.GetNumSignatureInputs : api.GetNumSignatureOutputs)(signature, &count), "count tensors", error))
    return false;
  for (size_t i = 0; i < side->count; i++) {
    for (at = 0; at < count; at++) {
      if (!done((input ? api.GetSignatureInputName : api.GetSignatureOutputName)(signature, at, &name), "name a tensor", error))
        return false;
      if (strcmp(name, tensors[i].binding) == 0) break;
    }
    if (at == count || count != side->count || side->buffer[at] != NULL)
      return edgekit_fail(error, "the model is another one: it has no %s %s", input ? "input" : "output", tensors[i].binding);
    type = (RankedType){0};
    if (!done((input ? api.GetSignatureInputTensorByIndex : api.GetSignatureOutputTensorByIndex)(signature, at, &tensor),
              "find a tensor", error) ||
        !done(api.GetRankedTensorType(tensor, &type), "describe a tensor", error))
      return false;
    if (!same(&type, &tensors[i]))
      return edgekit_fail(error, "the model is another one: %s has another shape or type", tensors[i].name);
    if (!done((input ? api.GetCompiledModelInputBufferRequirements : api.GetCompiledModelOutputBufferRequirements)(
                  session->compiled, 0, at, &requirements),
              "tell a buffer's requirements", error) ||
        !done(api.CreateManagedTensorBufferFromRequirements(session->environment, &type, requirements, &side->buffer[at]),
              "make a buffer", error) ||
        !done(api.GetTensorBufferPackedSize(side->buffer[at], &bytes), "tell a buffer's size", error))
      return false;
    side->position[i] = at;
    side->bytes[i] = tensors[i].count * edgekit_element_bytes(tensors[i].dtype);
    if (bytes != side->bytes[i]) return edgekit_fail(error, "the model is another one: %s has another size", tensors[i].name);
  }
  return true;
}

static bool start(Session *session, const void *model, size_t bytes, int threads, edgekit_error *error) {
  Handle opaque = NULL;
  char *toml = malloc(40);
  if (toml == NULL) return edgekit_fail(error, "there is no memory for the options");
  snprintf(toml, 40, "num_threads = %d\n", threads);
  if (!done(api.CreateOpaqueOptions("xnnpack", toml, free, &opaque), "set the number of threads", error)) {
    free(toml);
    return false;
  }
  return done(api.CreateEnvironment(0, NULL, &session->environment), "start", error) &&
         done(api.CreateModelFromBuffer(session->environment, model, bytes, &session->model), "read the model", error) &&
         done(api.CreateOptions(&session->options), "make options", error) &&
         done(api.SetOptionsHardwareAccelerators(session->options, CPU_ACCELERATOR), "choose the CPU", error) &&
         done(api.AddOpaqueOptions(session->options, opaque), "set the number of threads", error) &&
         done(api.CreateCompiledModel(session->environment, session->model, session->options, &session->compiled),
              "prepare the model", error);
}

static void litert_close(void *closed) {
  Session *session = closed;
  if (session == NULL) return;
  for (size_t i = 0; i < EDGEKIT_MAX_TENSORS; i++) {
    if (session->inputs.buffer[i] != NULL) api.DestroyTensorBuffer(session->inputs.buffer[i]);
    if (session->outputs.buffer[i] != NULL) api.DestroyTensorBuffer(session->outputs.buffer[i]);
  }
  if (session->compiled != NULL) api.DestroyCompiledModel(session->compiled);
  if (session->options != NULL) api.DestroyOptions(session->options);
  if (session->model != NULL) api.DestroyModel(session->model);
  if (session->environment != NULL) api.DestroyEnvironment(session->environment);
  free(session);
}

static void *litert_load(const edgekit_variant *variant, const void *model, size_t bytes, int threads, edgekit_error *error) {
  size_t signatures = 0;
  Handle signature = NULL;
  Session *session = calloc(1, sizeof *session);
  if (session == NULL) {
    edgekit_fail(error, "there is no memory for the session");
    return NULL;
  }
  session->inputs.count = variant->inputs_count;
  session->outputs.count = variant->outputs_count;
  if (start(session, model, bytes, threads, error) &&
      done(api.GetNumModelSignatures(session->model, &signatures), "count its signatures", error) &&
      (signatures > 0 || edgekit_fail(error, "the model has no signature")) &&
      done(api.GetModelSignature(session->model, 0, &signature), "find its signature", error) &&
      prepare(session, true, signature, variant->inputs, &session->inputs, error) &&
      prepare(session, false, signature, variant->outputs, &session->outputs, error))
    return session;
  litert_close(session);
  return NULL;
}

static bool litert_set_input(void *opened, size_t i, const void *stored, edgekit_error *error) {
  Side *side = &((Session *)opened)->inputs;
  Handle buffer = side->buffer[side->position[i]];
  void *memory;
  if (!done(api.LockTensorBuffer(buffer, &memory, LOCK_WRITE), "open an input", error)) return false;
  memcpy(memory, stored, side->bytes[i]);
  return done(api.UnlockTensorBuffer(buffer), "close an input", error);
}

static bool litert_invoke(void *opened, edgekit_error *error) {
  Session *session = opened;
  return done(api.RunCompiledModel(session->compiled, 0, session->inputs.count, session->inputs.buffer,
                                   session->outputs.count, session->outputs.buffer),
              "run the model", error);
}

static bool litert_get_output(void *opened, size_t i, void *stored, edgekit_error *error) {
  Side *side = &((Session *)opened)->outputs;
  Handle buffer = side->buffer[side->position[i]];
  void *memory;
  if (!done(api.LockTensorBuffer(buffer, &memory, LOCK_READ), "open an output", error)) return false;
  memcpy(stored, memory, side->bytes[i]);
  return done(api.UnlockTensorBuffer(buffer), "close an output", error);
}

const edgekit_runtime edgekit_litert = {"litert",      litert_open,       litert_load, litert_set_input,
                                        litert_invoke, litert_get_output, litert_close};
