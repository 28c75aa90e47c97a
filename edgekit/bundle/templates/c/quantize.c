/* Real values and stored ones: the arithmetic of NumPy in float32, with which the model was proven. */
#include <math.h>

#include "edgekit.h"

size_t edgekit_element_bytes(edgekit_dtype dtype) {
  switch (dtype) {
    case EDGEKIT_FLOAT64:
    case EDGEKIT_INT64: return 8;
    case EDGEKIT_FLOAT32:
    case EDGEKIT_INT32: return 4;
    case EDGEKIT_INT16: return 2;
    case EDGEKIT_INT8:
    case EDGEKIT_UINT8:
    case EDGEKIT_BOOL: return 1;
  }
  return 0;
}

/* How many elements in a row have the same channel. */
static size_t run_length(const edgekit_tensor *tensor) {
  size_t run = 1;
  for (int i = tensor->axis + 1; tensor->channels > 1 && i < tensor->rank; i++) run *= (size_t)tensor->shape[i];
  return run;
}

static double clamp(double value, double low, double high) {
  if (isnan(value)) return 0;
  return value < low ? low : value > high ? high : value;
}

void edgekit_quantize(const edgekit_tensor *tensor, const float *real, void *stored) {
  size_t run = run_length(tensor);
  for (size_t i = 0; i < tensor->count; i++) {
    size_t channel = tensor->channels > 1 ? i / run % tensor->channels : 0;
    double value = (double)(rintf(real[i] / tensor->scale[channel]) + (float)tensor->zero_point[channel]);
    switch (tensor->dtype) {
      case EDGEKIT_INT8: ((int8_t *)stored)[i] = (int8_t)clamp(value, -128, 127); break;
      case EDGEKIT_UINT8: ((uint8_t *)stored)[i] = (uint8_t)clamp(value, 0, 255); break;
      case EDGEKIT_INT16: ((int16_t *)stored)[i] = (int16_t)clamp(value, -32768, 32767); break;
      case EDGEKIT_INT32: ((int32_t *)stored)[i] = (int32_t)clamp(value, -2147483648.0, 2147483647.0); break;
      case EDGEKIT_FLOAT32:
      case EDGEKIT_FLOAT64:
      case EDGEKIT_INT64:
      case EDGEKIT_BOOL: break; /* no bundle is made with these as quantized */
    }
  }
}

void edgekit_dequantize(const edgekit_tensor *tensor, const void *stored, float *real) {
  size_t run = run_length(tensor);
  for (size_t i = 0; i < tensor->count; i++) {
    size_t channel = tensor->channels > 1 ? i / run % tensor->channels : 0;
    float value = 0;
    switch (tensor->dtype) {
      case EDGEKIT_INT8: value = (float)((const int8_t *)stored)[i]; break;
      case EDGEKIT_UINT8: value = (float)((const uint8_t *)stored)[i]; break;
      case EDGEKIT_INT16: value = (float)((const int16_t *)stored)[i]; break;
      case EDGEKIT_INT32: value = (float)((const int32_t *)stored)[i]; break;
      case EDGEKIT_FLOAT32:
      case EDGEKIT_FLOAT64:
      case EDGEKIT_INT64:
      case EDGEKIT_BOOL: break;
    }
    real[i] = (value - (float)tensor->zero_point[channel]) * tensor->scale[channel];
  }
}
