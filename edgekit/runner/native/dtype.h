/* The element types of tensors, by NumPy's names, and their values as doubles. */
#ifndef EDGEKIT_DTYPE_H
#define EDGEKIT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  DTYPE_NONE, DTYPE_BOOL, DTYPE_INT8, DTYPE_UINT8, DTYPE_INT16, DTYPE_UINT16, DTYPE_INT32, DTYPE_UINT32, DTYPE_INT64,
  DTYPE_UINT64, DTYPE_FLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64, DTYPE_COUNT
} DType;

const char *dtype_name(DType dtype);
size_t dtype_bytes(DType dtype);
bool dtype_is_float(DType dtype);

/* The type of NumPy's name, such as "float32", or of its little-endian code, such as "<f4"; DTYPE_NONE for another. */
DType dtype_named(const char *name);
DType dtype_coded(const char *code);

/* The smallest and largest value of an integer type. */
void dtype_limits(DType dtype, double *low, double *high);

/* Element `i` as a double, and a double (rounded towards zero, which exact values do not notice) as element `i`. */
double dtype_get(DType dtype, const void *data, size_t i);
void dtype_put(DType dtype, void *data, size_t i, double value);

#endif
