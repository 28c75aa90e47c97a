/* An artifact's payload in a runtime, quantized where the payload is: the rules of edgekit/runner/session.py. */
#ifndef EDGEKIT_SESSION_H
#define EDGEKIT_SESSION_H

#include "npy.h"
#include "runtime.h"

enum { PATH_BYTES = 8192 };

/* The path of a file in a folder, written to `path`. Fails the run for one that is too long. */
const char *path_in(const char *folder, const char *name, char path[PATH_BYTES]);

/* Sets all inputs to sample `k` of the inputs, one array `(n, *shape)` per input. */
void set_sample(const Runtime *runtime, Session *session, const Npy *inputs, size_t k);

/* Reads all outputs of the last invoke, dequantized, into one array of `count` doubles per output. */
void get_sample(const Runtime *runtime, Session *session, double *const *outputs);

/* Reads all outputs of the last invoke as the payload stores them: output i to `outputs[i]`, which has room for it. */
void get_stored(const Runtime *runtime, Session *session, unsigned char *const *outputs);

/* Reads .npy files of a folder. Fails the run for one that cannot be read. */
void load_arrays(const char *folder, const char *const *names, size_t count, Npy *arrays);

/* Fails unless the arrays fit the model: as many, with as many samples, each of the tensor's shape. `what` names one, such
 * as "golden input". */
void check_arrays(const Tensor *tensors, size_t count, const Npy *arrays, size_t arrays_count, const char *what);

#endif
