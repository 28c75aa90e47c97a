#include "dtype.h"

#include <math.h>
#include <string.h>

static const struct {
  const char *name, *code;
  size_t bytes;
  double low, high;
} types[DTYPE_COUNT] = {
    [DTYPE_NONE] = {"none", "", 0, 0, 0},
    [DTYPE_BOOL] = {"bool", "|b1", 1, 0, 1},
    [DTYPE_INT8] = {"int8", "|i1", 1, -128, 127},
    [DTYPE_UINT8] = {"uint8", "|u1", 1, 0, 255},
    [DTYPE_INT16] = {"int16", "<i2", 2, -32768, 32767},
    [DTYPE_UINT16] = {"uint16", "<u2", 2, 0, 65535},
    [DTYPE_INT32] = {"int32", "<i4", 4, -2147483648.0, 2147483647.0},
    [DTYPE_UINT32] = {"uint32", "<u4", 4, 0, 4294967295.0},
    [DTYPE_INT64] = {"int64", "<i8", 8, -9223372036854775808.0, 9223372036854774784.0},
    [DTYPE_UINT64] = {"uint64", "<u8", 8, 0, 18446744073709549568.0},
    [DTYPE_FLOAT16] = {"float16", "<f2", 2, 0, 0},
    [DTYPE_FLOAT32] = {"float32", "<f4", 4, 0, 0},
    [DTYPE_FLOAT64] = {"float64", "<f8", 8, 0, 0},
};

const char *dtype_name(DType dtype) { return types[dtype].name; }
size_t dtype_bytes(DType dtype) { return types[dtype].bytes; }
bool dtype_is_float(DType dtype) { return dtype >= DTYPE_FLOAT16; }

DType dtype_named(const char *name) {
  for (int i = 1; i < DTYPE_COUNT; i++)
    if (strcmp(types[i].name, name) == 0) return (DType)i;
  return DTYPE_NONE;
}

DType dtype_coded(const char *code) {
  for (int i = 1; i < DTYPE_COUNT; i++)
    if (strcmp(types[i].code, code) == 0) return (DType)i;
  return DTYPE_NONE;
}

void dtype_limits(DType dtype, double *low, double *high) {
  *low = types[dtype].low;
  *high = types[dtype].high;
}

/* IEEE 754 binary16, by hand: not every compiler and processor has _Float16. */
static double half_to_double(uint16_t bits) {
  int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  double magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                     : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                    : ldexp(fraction, -24);
  return bits & 0x8000 ? -magnitude : magnitude;
}

static uint16_t double_to_half(double value) {
  uint16_t sign = signbit(value) ? 0x8000 : 0;
  double magnitude = fabs(value);
  int exponent;
  if (isnan(value)) return 0x7E00;
  if (magnitude < ldexp(1, -14)) return (uint16_t)(sign | (uint16_t)rint(ldexp(magnitude, 24)));
  if (isinf(value)) return (uint16_t)(sign | 0x7C00);
  frexp(magnitude, &exponent); /* magnitude = f · 2^exponent, 0.5 ≤ f < 1 */
  double mantissa = rint(ldexp(magnitude, 11 - exponent));
  if (mantissa == 2048) mantissa = 1024, exponent++;
  if (exponent > 16) return (uint16_t)(sign | 0x7C00);
  return (uint16_t)(sign | ((exponent + 14) << 10) | ((int)mantissa - 1024));
}

#define GET(type)                                              \
  do {                                                         \
    type value;                                                \
    memcpy(&value, (const char *)data + i * sizeof value, sizeof value); \
    return (double)value;                                      \
  } while (0)
#define PUT(type)                                              \
  do {                                                         \
    type stored = (type)value;                                 \
    memcpy((char *)data + i * sizeof stored, &stored, sizeof stored); \
    return;                                                    \
  } while (0)

double dtype_get(DType dtype, const void *data, size_t i) {
  uint16_t half;
  switch (dtype) {
    case DTYPE_BOOL: return ((const unsigned char *)data)[i] != 0;
    case DTYPE_INT8: GET(int8_t);
    case DTYPE_UINT8: GET(uint8_t);
    case DTYPE_INT16: GET(int16_t);
    case DTYPE_UINT16: GET(uint16_t);
    case DTYPE_INT32: GET(int32_t);
    case DTYPE_UINT32: GET(uint32_t);
    case DTYPE_INT64: GET(int64_t);
    case DTYPE_UINT64: GET(uint64_t);
    case DTYPE_FLOAT32: GET(float);
    case DTYPE_FLOAT64: GET(double);
    case DTYPE_FLOAT16:
      memcpy(&half, (const char *)data + i * sizeof half, sizeof half);
      return half_to_double(half);
    default: return 0;
  }
}

void dtype_put(DType dtype, void *data, size_t i, double value) {
  uint16_t half;
  if (!dtype_is_float(dtype) && dtype != DTYPE_BOOL) { /* out of range is undefined in C: saturate */
    double low, high;
    dtype_limits(dtype, &low, &high);
    value = isnan(value) ? 0 : fmin(fmax(value, low), high);
  }
  switch (dtype) {
    case DTYPE_BOOL: ((unsigned char *)data)[i] = value != 0; return;
    case DTYPE_INT8: PUT(int8_t);
    case DTYPE_UINT8: PUT(uint8_t);
    case DTYPE_INT16: PUT(int16_t);
    case DTYPE_UINT16: PUT(uint16_t);
    case DTYPE_INT32: PUT(int32_t);
    case DTYPE_UINT32: PUT(uint32_t);
    case DTYPE_INT64: PUT(int64_t);
    case DTYPE_UINT64: PUT(uint64_t);
    case DTYPE_FLOAT64: PUT(double);
    case DTYPE_FLOAT32: {
      float stored = fabs(value) > 3.4028235677973366e38 ? (value > 0 ? INFINITY : -INFINITY) : (float)value;
      memcpy((char *)data + i * sizeof stored, &stored, sizeof stored);
      return;
    }
    case DTYPE_FLOAT16:
      half = double_to_half(value);
      memcpy((char *)data + i * sizeof half, &half, sizeof half);
      return;
    default: return;
  }
}
