#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"

/* Quantizes in float32, as NumPy does with an array of float32 and a scale that is a number. */
static double quantized(double value, const Tensor *tensor, DType from) {
  double low, high, stored;
  if (from == DTYPE_FLOAT64) {
    stored = rint(value / (double)tensor->scale) + (double)tensor->zero_point;
  } else {
    float divided = (float)value / tensor->scale;
    stored = (double)(float)(rintf(divided) + (float)tensor->zero_point);
  }
  dtype_limits(tensor->dtype, &low, &high);
  return isnan(stored) ? 0 : fmin(fmax(stored, low), high);
}

void set_sample(const Runtime *runtime, Session *session, const Npy *inputs, size_t k) {
  for (size_t i = 0; i < session->inputs_count; i++) {
    const Tensor *tensor = &session->inputs[i];
    const Npy *array = &inputs[i];
    const unsigned char *from = array->data + k * tensor->count * dtype_bytes(array->dtype);
    unsigned char *stored = allocate(tensor->count, dtype_bytes(tensor->dtype));
    if (array->dtype == tensor->dtype) {
      memcpy(stored, from, tensor->bytes);
    } else {
      for (size_t e = 0; e < tensor->count; e++) {
        double value = dtype_get(array->dtype, from, e);
        if (tensor->quantized) value = quantized(value, tensor, array->dtype);
        dtype_put(tensor->dtype, stored, e, value);
      }
    }
    runtime->set_input(session, i, stored);
    free(stored);
  }
}

void get_sample(const Runtime *runtime, Session *session, double *const *outputs) {
  for (size_t i = 0; i < session->outputs_count; i++) {
    const Tensor *tensor = &session->outputs[i];
    void *stored = allocate(tensor->count, dtype_bytes(tensor->dtype));
    runtime->get_output(session, i, stored);
    for (size_t e = 0; e < tensor->count; e++) {
      double value = dtype_get(tensor->dtype, stored, e);
      if (tensor->quantized && !dtype_is_float(tensor->dtype))
        value = (double)(((float)value - (float)tensor->zero_point) * tensor->scale);
      outputs[i][e] = value;
    }
    free(stored);
  }
}

void get_stored(const Runtime *runtime, Session *session, unsigned char *const *outputs) {
  for (size_t i = 0; i < session->outputs_count; i++) runtime->get_output(session, i, outputs[i]);
}

void load_arrays(const char *folder, const char *const *names, size_t count, Npy *arrays) {
  char path[PATH_BYTES];
  for (size_t i = 0; i < count; i++) {
    const char *problem = npy_load(path_in(folder, names[i], path), &arrays[i]);
    if (problem != NULL) fail("failed", "%s cannot be read: %s", path, problem);
  }
}

const char *path_in(const char *folder, const char *name, char path[PATH_BYTES]) {
  int length = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
  if (length < 0 || length >= PATH_BYTES) fail("failed", "a path of the request is too long");
  return path;
}

static bool fits(const Tensor *tensor, const Npy *array) {
  if (array->rank != tensor->rank + 1) return false;
  for (int i = 0; i < tensor->rank; i++)
    if (array->shape[i + 1] != (size_t)tensor->shape[i]) return false;
  return true;
}

void check_arrays(const Tensor *tensors, size_t count, const Npy *arrays, size_t arrays_count, const char *what) {
  if (count != arrays_count) fail("failed", "for the model's %zu there are %zu %ss", count, arrays_count, what);
  for (size_t i = 0; i < count; i++) {
    if (!fits(&tensors[i], &arrays[i]))
      fail("failed", "%s %zu has another shape than the tensor %s", what, i, tensors[i].name);
    if (arrays[i].shape[0] == 0 || arrays[i].shape[0] != arrays[0].shape[0])
      fail("failed", "%s %zu has %zu samples", what, i, arrays[i].shape[0]);
  }
}
