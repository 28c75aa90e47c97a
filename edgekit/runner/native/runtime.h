/* Runtimes: one module each, found by name; each drives a C library that is opened when the request names it.
 *
 * A module fails the run by itself (failure.h) for what it finds wrong with a model. `open` alone returns its reason:
 * `info` asks for every runtime, and one that is not there is no failure. */
#ifndef EDGEKIT_RUNTIME_H
#define EDGEKIT_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "json.h"

enum { MAX_RANK = 8, MAX_TENSORS = 64, MAX_TENSOR_BYTES = 1 << 30, VERSION_BYTES = 64 };

typedef struct {
  const char *name;
  DType dtype;
  int rank;
  int64_t shape[MAX_RANK];
  size_t count, bytes;
  bool quantized; /* real = (stored - zero_point) × scale */
  float scale;
  int64_t zero_point;
} Tensor;

/* A model in a runtime, its tensors in the model's order. */
typedef struct {
  size_t inputs_count, outputs_count;
  Tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  void *state; /* the module's own */
} Session;

/* The names that a payload has for the model's inputs and outputs, in the model's order. */
typedef struct {
  size_t inputs_count, outputs_count;
  const char *inputs[MAX_TENSORS], *outputs[MAX_TENSORS];
} Bindings;

/* One call of one operator. Calls of an equal `key` and `name` are of the same one. The name lives as long as the session. */
typedef struct {
  uint64_t key[3];
  const char *name;
  int64_t ns;
} OperatorCall;

typedef struct {
  const char *name;    /* what artifacts name */
  const char *package; /* what `runtime` events name */
  /* Opens the library, out of the candidate paths of `libraries` (a table of lists, or NULL). Returns NULL and a version
   * (empty if it tells none), or why there is none. */
  const char *(*open)(const JsonValue *libraries, char version[VERSION_BYTES]);
  void (*load)(Session *session, const char *path, int threads, const Bindings *bindings);
  void (*set_input)(Session *session, size_t i, const void *data);
  void (*invoke)(void *session);
  void (*get_output)(Session *session, size_t i, void *data);
  const char *no_profile; /* why its operators cannot be timed, or NULL, and then: */
  const char *profiler;
  void (*load_profiled)(Session *session, const char *path, int threads, const Bindings *bindings);
  void (*profile_begin)(Session *session);
  size_t (*profile_end)(Session *session, OperatorCall **calls); /* how many; the caller frees them */
} Runtime;

extern const Runtime litert_runtime, onnx_runtime, tvm_runtime;

/* The runtime of that name, or NULL. */
const Runtime *runtime_named(const char *name);

/* Fills in `count` and `bytes` from type and shape. Fails for shapes that vary, and for more than 1 GiB. */
void tensor_finish(Tensor *tensor);

/* The position of a name among others; -1 if it is not there. */
int name_position(const char *const *names, size_t count, const char *name);

#endif
