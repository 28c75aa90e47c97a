#include "runtime.h"

#include <string.h>

#include "failure.h"

static const Runtime *const runtimes[] = {&litert_runtime, &onnx_runtime, &tvm_runtime};

const Runtime *runtime_named(const char *name) {
  for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0]; i++)
    if (strcmp(runtimes[i]->name, name) == 0) return runtimes[i];
  return NULL;
}

void tensor_finish(Tensor *tensor) {
  tensor->count = 1;
  tensor->bytes = dtype_bytes(tensor->dtype);
  for (int i = 0; i < tensor->rank; i++) {
    if (tensor->shape[i] < 0) fail("failed", "the tensor %s has a shape that varies", tensor->name);
    if (tensor->shape[i] > 0 && tensor->bytes > (size_t)(MAX_TENSOR_BYTES / tensor->shape[i]))
      fail("failed", "the tensor %s is larger than 1 GiB", tensor->name);
    tensor->count *= (size_t)tensor->shape[i];
    tensor->bytes *= (size_t)tensor->shape[i];
  }
}

int name_position(const char *const *names, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0) return (int)i;
  return -1;
}
