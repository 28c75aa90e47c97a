/* Inside: what the loader asks of a runtime, and the tables that are generated for a model. */
#ifndef EDGEKIT_RUNTIME_H
#define EDGEKIT_RUNTIME_H

#include "edgekit.h"

#if defined(__GNUC__)
#define EDGEKIT_PRINTF(text, values) __attribute__((format(printf, text, values)))
#else
#define EDGEKIT_PRINTF(text, values)
#endif

typedef struct edgekit_variant edgekit_variant;

/* A runtime: a C library that is opened when the first model needs it. What fails tells why in `error`. */
typedef struct {
  const char *name;
  /* Opens the library at `path` (NULL: where the system finds it), and refuses one that this code cannot drive or that is
   * older than `proven`. */
  bool (*open)(const char *path, const char *proven, bool any_version, edgekit_error *error);
  /* A session of the model in memory, which must stay there until `close`; NULL if it is none, or another one. */
  void *(*load)(const edgekit_variant *variant, const void *model, size_t bytes, int threads, edgekit_error *error);
  bool (*set_input)(void *session, size_t i, const void *stored, edgekit_error *error);
  bool (*invoke)(void *session, edgekit_error *error);
  bool (*get_output)(void *session, size_t i, void *stored, edgekit_error *error);
  void (*close)(void *session); /* of NULL, or of what `load` gave */
} edgekit_runtime;

extern const edgekit_runtime edgekit_litert, edgekit_onnxruntime;

/* One artifact, in the order in which they are tried. */
struct edgekit_variant {
  const char *name, *artifact;
  const edgekit_runtime *runtime;
  const char *proven;        /* the runtime's version with which it was proven */
  const char *file;          /* below the folder of models */
  const char *sha256;        /* of that file */
  const unsigned char *data; /* the model, where it was compiled in; else NULL */
  size_t bytes;
  size_t inputs_count, outputs_count;
  const edgekit_tensor *inputs, *outputs;
};

/* All variants of a model, which have the same inputs and outputs but for how they are stored. */
typedef struct {
  const char *name;
  size_t count;
  const edgekit_variant *variants;
} edgekit_description;

/* Opens the first variant that loads, or the one of `options` (NULL: none). `folder` holds the models' files; NULL takes
 * what was compiled in. Returns NULL, and says why not even the last one loads. */
edgekit_loaded *edgekit_load(const edgekit_description *description, const char *folder, const edgekit_options *options,
                             edgekit_error *error);

/* Runs once. Values are real: float for what is quantized, else in the stored type; row-major. */
bool edgekit_run_real(edgekit_loaded *loaded, const void *const *inputs, void *const *outputs, edgekit_error *error);

/* The same with values as the variant stores them, which costs no conversion. */
bool edgekit_run_stored(edgekit_loaded *loaded, const void *const *inputs, void *const *outputs, edgekit_error *error);

const edgekit_variant *edgekit_variant_of(const edgekit_loaded *loaded);

void edgekit_unload(edgekit_loaded *loaded);

/* Writes the one line of an error; returns false. */
bool edgekit_fail(edgekit_error *error, const char *format, ...) EDGEKIT_PRINTF(2, 3);

#endif
