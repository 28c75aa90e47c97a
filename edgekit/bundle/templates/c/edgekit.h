/* What is the same for every model: options, errors, tensors. One thread at a time may use a model; models share nothing
 * but the runtime's library, so load one model after another, and run as many at once as you like. */
#ifndef EDGEKIT_LOADER_H
#define EDGEKIT_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EDGEKIT_MAX_RANK = 8, EDGEKIT_MAX_TENSORS = 64, EDGEKIT_ERROR_BYTES = 4096 };

/* One line that says what is wrong, and with which file or library. */
typedef struct {
  char text[EDGEKIT_ERROR_BYTES];
} edgekit_error;

/* How a model is opened. All zeros is a good choice. */
typedef struct {
  const char *variant;     /* the one to take; NULL: the first that loads */
  const char *litert;      /* path of libLiteRt.so; NULL: where the system's loader finds it */
  const char *onnxruntime; /* path of libonnxruntime.so, likewise */
  int threads;             /* of the runtime; 0 is 1 */
  bool any_version;        /* take a runtime older than the one that the model was proven with */
} edgekit_options;

typedef enum {
  EDGEKIT_FLOAT32,
  EDGEKIT_FLOAT64,
  EDGEKIT_INT8,
  EDGEKIT_UINT8,
  EDGEKIT_INT16,
  EDGEKIT_INT32,
  EDGEKIT_INT64,
  EDGEKIT_BOOL
} edgekit_dtype;

/* An input or output as a variant stores it: real = scale * (stored - zero_point), one pair a tensor, or one a channel of
 * `axis`; `channels` is 0 where values are stored as they are. */
typedef struct {
  const char *name;    /* the model's */
  const char *binding; /* the payload's */
  edgekit_dtype dtype; /* as it is stored */
  int rank;
  int32_t shape[EDGEKIT_MAX_RANK];
  size_t count; /* of elements */
  size_t channels;
  const float *scale;
  const int32_t *zero_point;
  int axis;
} edgekit_tensor;

/* A model that was opened. */
typedef struct edgekit_loaded edgekit_loaded;

/* Why the variants before the one that was taken were not, in one line; "" if there are none. */
const char *edgekit_passed_over(const edgekit_loaded *model);

/* The bytes of one element, as it is stored. */
size_t edgekit_element_bytes(edgekit_dtype dtype);

/* Stores `tensor->count` real values: rounds half to even as NumPy does where the model was proven, and saturates. */
void edgekit_quantize(const edgekit_tensor *tensor, const float *real, void *stored);

/* The real values of what is stored. */
void edgekit_dequantize(const edgekit_tensor *tensor, const void *stored, float *real);

#ifdef __cplusplus
}
#endif

#endif
