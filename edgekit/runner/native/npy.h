/* A strict reader of .npy files (NumPy's format 1.0, 2.0 and 3.0): what golden inputs and outputs lie in.
 *
 * It takes C order, little-endian numbers and bools; pickled objects, text, dates, records and Fortran order are refused
 * by name. The file must be exactly as long as its header says. Bounded: NPY_MAX_BYTES, NPY_MAX_RANK. */
#ifndef EDGEKIT_NPY_H
#define EDGEKIT_NPY_H

#include "dtype.h"

enum { NPY_MAX_RANK = 9, NPY_MAX_HEADER = 4096, NPY_MAX_BYTES = 1 << 30 };

typedef struct {
  DType dtype;
  int rank;
  size_t shape[NPY_MAX_RANK];
  size_t count;              /* elements */
  const unsigned char *data; /* count × dtype_bytes, not necessarily aligned */
  void *memory;              /* of `npy_load`, else NULL */
} Npy;

/* Reads an array out of a file's bytes, which must outlive it. Returns NULL, or what is wrong. */
const char *npy_parse(const unsigned char *bytes, size_t size, Npy *array);

/* Reads a file. Returns NULL, or what is wrong; nothing is allocated then. */
const char *npy_load(const char *path, Npy *array);
void npy_free(Npy *array);

#endif
