/* TVM through the C ABI of libtvm_ffi.so: libraries with a Relax executable in them, as the tvm format compiles them
 * (docs/tvm.md), run by the virtual machine of libtvm_runtime.so.
 *
 * Supported: tvm-ffi 0.1 (TVM 0.26 and 0.27), whose ABI counts objects, passes values as TVMFFIAny and tensors as DLPack's
 * DLTensor; the types below are those of tvm/ffi/c_api.h and dlpack.h, as far as they are used. Everything else is a call
 * of a function by its name. The library describes itself: its function `describe` returns JSON. The number of threads is
 * the process's, as in edgekit/runner/runtimes/tvm.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "library.h"
#include "runtime.h"

enum { KIND_INT = 1, KIND_BOOL = 2, KIND_STRING = 8, KIND_OBJECTS = 64, KIND_TENSOR = 70 };
enum { CPU = 1, POOLED = 2, ALL_CORES = 0, ALIGNMENT = 64, MAX_ARGUMENTS = MAX_TENSORS };

typedef void *Object;

typedef struct {
  uint64_t references;
  int32_t kind;
  uint32_t padding;
  union {
    void (*deleter)(void *, int);
    int64_t aligned;
  };
} Header;

typedef struct {
  int32_t kind;
  uint32_t padding;
  union {
    int64_t integer;
    const char *string;
    Object object;
  };
} Value;
_Static_assert(sizeof(Header) == 24 && sizeof(Value) == 16, "as TVMFFIObject and TVMFFIAny");

typedef struct {
  const char *data;
  size_t size;
} Bytes;

typedef struct {
  Header header;
  Bytes kind, message;
} Error;

typedef struct {
  void *data;
  int32_t device_type, device_id, rank;
  uint8_t type_code, type_bits;
  uint16_t type_lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;

typedef struct DLManagedTensor {
  DLTensor tensor;
  void *context;
  void (*deleter)(struct DLManagedTensor *);
} DLManagedTensor;

static struct {
  int (*get_global)(const Bytes *name, Object *function);
  int (*call)(Object function, Value *arguments, int32_t count, Value *result);
  void (*move_error)(Object *error);
  int (*release)(Object object);
  int (*tensor_from_dlpack)(DLManagedTensor *from, int32_t alignment, int32_t contiguous, Object *tensor);
} api;

typedef struct {
  Object main;
  size_t inputs_count;
  Value arguments[MAX_ARGUMENTS], result; /* in the library's order */
  DLManagedTensor inputs[MAX_TENSORS];
  size_t input_position[MAX_TENSORS], output_position[MAX_TENSORS]; /* of the model's order in the library's */
} State;

static Value integer(int64_t value) { return (Value){.kind = KIND_INT, .integer = value}; }
static Value string(const char *text) { return (Value){.kind = KIND_STRING, .string = text}; }

static _Noreturn void fail_with_error(const char *what) {
  Object raised = NULL;
  api.move_error(&raised);
  const Error *error = raised;
  if (error == NULL) fail("failed", "TVM cannot %s", what);
  fail("failed", "TVM cannot %s: %.*s: %.*s", what, (int)error->kind.size, error->kind.data,
       (int)(error->message.size > 1000 ? 1000 : error->message.size), error->message.data);
}

static Value call(Object function, Value *arguments, int32_t count, const char *what) {
  Value result = {0};
  if (api.call(function, arguments, count, &result) != 0) fail_with_error(what);
  return result;
}

static Value call_global(const char *name, Value *arguments, int32_t count, const char *what) {
  Object function = NULL;
  Bytes bytes = {name, strlen(name)};
  if (api.get_global(&bytes, &function) != 0 || function == NULL) fail("failed", "TVM has no function %s", name);
  return call(function, arguments, count, what);
}

static Object module_function(Value module, const char *name) {
  Value arguments[] = {module, string(name), {.kind = KIND_BOOL, .integer = 0}};
  Value found = call_global("ffi.ModuleGetFunction", arguments, 3, "look a function up");
  if (found.kind < KIND_OBJECTS) fail("failed", "the library has no function %s", name);
  return found.object;
}

static const DLTensor *tensor_of(Value value, const char *what) {
  if (value.kind != KIND_TENSOR) fail("failed", "%s is no tensor", what);
  return (const DLTensor *)((const char *)value.object + sizeof(Header));
}

static const char *tvm_open(const JsonValue *libraries, char version[VERSION_BYTES]) {
  static Library ffi, runtime;
  static char problem[LIBRARY_PATH_BYTES + 100];
  const JsonValue *candidates = libraries != NULL ? json_member(libraries, "tvm") : NULL;
  const char *why = library_open(&ffi, candidates, "libtvm_ffi.so", true);
  if (why == NULL) why = library_open(&runtime, candidates, "libtvm_runtime.so", true);
  if (why != NULL) return why;
  bool whole = library_symbol(&ffi, "TVMFFIFunctionGetGlobal", &api.get_global) &&
               library_symbol(&ffi, "TVMFFIFunctionCall", &api.call) &&
               library_symbol(&ffi, "TVMFFIErrorMoveFromRaised", &api.move_error) &&
               library_symbol(&ffi, "TVMFFIObjectDecRef", &api.release) &&
               library_symbol(&ffi, "TVMFFITensorFromDLPack", &api.tensor_from_dlpack);
  struct { uint32_t major, minor, patch; } found = {0};
  void (*get_version)(void *);
  if (whole && library_symbol(&ffi, "TVMFFIGetVersion", &get_version)) get_version(&found);
  if (!library_package_version(&runtime, 2, "apache_tvm", version, VERSION_BYTES)) version[0] = '\0';
  if (whole && found.major == 0 && found.minor == 1) return NULL;
  snprintf(problem, sizeof problem, "%s is of version %u.%u; the native runner drives tvm-ffi 0.1", ffi.path,
           found.major, found.minor);
  return problem;
}

static int64_t need_size(const JsonValue *value) {
  if (value->kind != JSON_INTEGER || value->integer < 0) fail("failed", "the library describes a wrong shape");
  return value->integer;
}

/* One side of the description: fills the tensors in the model's order, and their positions in the library's. */
static size_t read_side(const JsonValue *description, const char *side, const char *const *names, size_t names_count,
                        Tensor *tensors, size_t *positions) {
  const char *known[MAX_TENSORS];
  const JsonValue *members[MAX_TENSORS], *list = json_member(description, side);
  size_t count = 0;
  if (list == NULL || list->kind != JSON_ARRAY || list->count > MAX_TENSORS)
    fail("failed", "the library does not describe its %s", side);
  for (const JsonValue *member = list->first; member != NULL; member = member->next, count++) {
    const JsonValue *name = json_member(member, "name");
    if (name == NULL || name->kind != JSON_STRING) fail("failed", "the library does not name its %s", side);
    members[count] = member;
    known[count] = name->string;
  }
  if (names_count != 0 && names_count != count)
    fail("failed", "the library has %zu %s where its manifest has %zu", count, side, names_count);
  for (size_t i = 0; i < count; i++) {
    int position = names_count != 0 ? name_position(known, count, names[i]) : (int)i;
    if (position < 0) fail("failed", "the library has no tensor %s among its %s", names[i], side);
    const JsonValue *shape = json_member(members[position], "shape"), *dtype = json_member(members[position], "dtype");
    if (shape == NULL || shape->kind != JSON_ARRAY || shape->count > MAX_RANK || dtype == NULL ||
        dtype->kind != JSON_STRING)
      fail("failed", "the library does not describe the tensor %s", known[position]);
    Tensor *tensor = &tensors[i];
    tensor->name = known[position];
    tensor->dtype = dtype_named(dtype->string);
    if (tensor->dtype == DTYPE_NONE) fail("failed", "the tensor %s has the type %s", tensor->name, dtype->string);
    for (const JsonValue *size = shape->first; size != NULL; size = size->next)
      tensor->shape[tensor->rank++] = need_size(size);
    tensor_finish(tensor);
    positions[i] = (size_t)position;
  }
  return count;
}

static uint8_t type_code(DType dtype) {
  if (dtype_is_float(dtype)) return 2;
  if (dtype == DTYPE_BOOL) return 6;
  return dtype == DTYPE_UINT8 || dtype == DTYPE_UINT16 || dtype == DTYPE_UINT32 || dtype == DTYPE_UINT64;
}

/* An input's memory, aligned as the kernels expect it, as an argument. */
static Value make_input(DLManagedTensor *managed, Tensor *tensor) {
  Object object = NULL;
  void *memory = NULL;
  size_t bytes = (tensor->bytes / ALIGNMENT + 1) * ALIGNMENT;
  if (posix_memalign(&memory, ALIGNMENT, bytes) != 0) fail("failed", "there is no memory for %zu bytes", bytes);
  memset(memory, 0, bytes);
  managed->tensor = (DLTensor){.data = memory, .device_type = CPU, .rank = tensor->rank,
                               .type_code = type_code(tensor->dtype), .type_lanes = 1,
                               .type_bits = (uint8_t)(8 * dtype_bytes(tensor->dtype)), .shape = tensor->shape};
  if (api.tensor_from_dlpack(managed, ALIGNMENT, 1, &object) != 0) fail_with_error("make a tensor");
  return (Value){.kind = KIND_TENSOR, .object = object};
}

static void tvm_load(Session *session, const char *path, int threads, const Bindings *bindings) {
  static State state;
  static JsonDocument description; /* its strings are the tensors' names */
  char number[16];
  snprintf(number, sizeof number, "%d", threads);
  setenv("TVM_BIND_THREADS", "0", 0); /* pinned threads would share cores with whatever else is pinned there */
  setenv("TVM_NUM_THREADS", number, 1);
  call_global("runtime.config_threadpool", (Value[]){integer(ALL_CORES), integer(threads)}, 2, "set its threads");
  Value module = call_global("ffi.ModuleLoadFromFile", (Value[]){string(path)}, 1, "load the library");
  Value machine = call(module_function(module, "vm_load_executable"), NULL, 0, "make a virtual machine");
  call(module_function(machine, "vm_initialization"), (Value[]){integer(CPU), integer(0), integer(POOLED)}, 3,
       "start the virtual machine");
  Value said = call(module_function(machine, "describe"), NULL, 0, "describe the library");
  const DLTensor *text = tensor_of(said, "what `describe` returns");
  if (text->rank != 1 || text->shape[0] < 0) fail("failed", "what `describe` returns is no text");
  const char *problem = json_parse((const char *)text->data + text->byte_offset, (size_t)text->shape[0], &description);
  if (problem != NULL) fail("failed", "the library describes itself wrongly: %s", problem);
  session->inputs_count = read_side(description.root, "inputs", bindings->inputs, bindings->inputs_count,
                                    session->inputs, state.input_position);
  session->outputs_count = read_side(description.root, "outputs", bindings->outputs, bindings->outputs_count,
                                     session->outputs, state.output_position);
  state.inputs_count = session->inputs_count;
  for (size_t i = 0; i < session->inputs_count; i++) {
    size_t position = state.input_position[i];
    state.arguments[position] = make_input(&state.inputs[position], &session->inputs[i]);
  }
  state.main = module_function(machine, "main");
  session->state = &state;
}

static void tvm_set_input(Session *session, size_t i, const void *data) {
  State *state = session->state;
  memcpy(state->inputs[state->input_position[i]].tensor.data, data, session->inputs[i].bytes);
}

static void tvm_invoke(void *session) {
  State *state = ((Session *)session)->state;
  if (state->result.kind >= KIND_OBJECTS) api.release(state->result.object);
  state->result = call(state->main, state->arguments, (int32_t)state->inputs_count, "run the model");
}

static void tvm_get_output(Session *session, size_t i, void *data) {
  State *state = session->state;
  const Tensor *tensor = &session->outputs[i];
  Value value = state->result;
  if (value.kind != KIND_TENSOR) { /* an array of them */
    Value arguments[] = {value, integer((int64_t)state->output_position[i])};
    value = call_global("ffi.ArrayGetItem", arguments, 2, "take an output");
  }
  const DLTensor *found = tensor_of(value, "an output");
  size_t bytes = (size_t)found->type_bits / 8;
  for (int32_t k = 0; k < found->rank; k++) bytes *= (size_t)found->shape[k];
  if (bytes != tensor->bytes) fail("failed", "the output %s has %zu bytes, not %zu", tensor->name, bytes, tensor->bytes);
  memcpy(data, (const char *)found->data + found->byte_offset, bytes);
  if (value.object != state->result.object) api.release(value.object);
}

const Runtime tvm_runtime = {"tvm", "tvm_ffi", tvm_open, tvm_load,
                             tvm_set_input, tvm_invoke, tvm_get_output,
                             .no_profile = "TVM's profiler is a virtual machine of its own, which the Python runner takes: "
                                           "--runner python"};
