/* An artifact's payload in a runtime, quantized where the payload is: the rules of edgekit/runner/session.py. */
#ifndef EDGEKIT_SESSION_H
#define EDGEKIT_SESSION_H

#include "npy.h"
#include "runtime.h"

/* Sets all inputs to sample `k` of the golden inputs, one array `(n, *shape)` per input. */
void set_sample(const Runtime *runtime, Session *session, const Npy *inputs, size_t k);

/* Reads all outputs of the last invoke, dequantized, into one array of `count` doubles per output. */
void get_sample(const Runtime *runtime, Session *session, double *const *outputs);

/* Fails unless the golden arrays fit the model: as many, with as many samples, each of the tensor's shape. */
void check_arrays(const Tensor *tensors, size_t count, const Npy *arrays, size_t arrays_count, const char *what);

#endif
