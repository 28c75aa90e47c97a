/* The golden inputs give the golden outputs here, as closely as each variant's manifest asks. Exit status 3: one does not.
 *
 *     golden_test MODELS GOLDEN      the folders of the bundle; LITERT_LIBRARY and ONNXRUNTIME_LIBRARY name the runtimes */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "npy.h"

enum { PATH_BYTES = 4096 };

static const char *dtype_of(const edgekit_tensor *tensor) {
  if (tensor->channels > 0) return "float32";
  switch (tensor->dtype) {
    case EDGEKIT_FLOAT32: return "float32";
    case EDGEKIT_FLOAT64: return "float64";
    case EDGEKIT_INT8: return "int8";
    case EDGEKIT_UINT8: return "uint8";
    case EDGEKIT_INT16: return "int16";
    case EDGEKIT_INT32: return "int32";
    case EDGEKIT_INT64: return "int64";
    case EDGEKIT_BOOL: return "bool";
  }
  return "none";
}

static bool read_array(const char *folder, const char *variant, const char *kind, size_t i, Npy *array) {
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "%s/%s/%s-%zu.npy", folder, variant, kind, i);
  const char *problem = npy_load(path, array);
  if (problem != NULL) printf("%s: %s\n", path, problem);
  return problem == NULL;
}

/* One sample as the wrapper takes it: in place where the types agree, else converted into `memory`. */
static const void *given(const edgekit_tensor *tensor, const Npy *array, size_t sample, void *memory) {
  const char *at = (const char *)array->data + sample * tensor->count * dtype_bytes(array->dtype);
  DType wanted = dtype_named(dtype_of(tensor));
  for (size_t i = 0; i < tensor->count; i++) dtype_put(wanted, memory, i, dtype_get(array->dtype, at, i));
  return memory;
}

typedef struct {
  double signal, noise;
  bool exact;
} Difference;

static void add(Difference *sum, const edgekit_tensor *tensor, const Npy *wanted, size_t sample, const void *answer) {
  DType dtype = dtype_named(dtype_of(tensor));
  for (size_t i = 0; i < tensor->count; i++) {
    double a = dtype_get(wanted->dtype, wanted->data, sample * tensor->count + i), b = dtype_get(dtype, answer, i);
    sum->signal += a * a;
    sum->noise += (a - b) * (a - b);
    if (!(a == b)) sum->exact = false;
  }
}

static bool judge(const edgekit_variant *variant, size_t i, const Difference *sum, size_t samples, double min_snr_db) {
  double snr_db = 10 * log10(sum->signal / sum->noise);
  bool passes = sum->exact || snr_db >= min_snr_db; /* false for NaN */
  printf("%s: %s: ", variant->name, variant->outputs[i].name);
  if (sum->exact) printf("equal to the bit over %zu golden samples\n", samples);
  else printf("%.1f dB over %zu golden samples%s\n", snr_db, samples, passes ? "" : ", and it needs more: WRONG");
  return passes;
}

static bool check(const edgekit_variant *variant, double min_snr_db, const char *models, const char *golden) {
  Npy inputs[EDGEKIT_MAX_TENSORS] = {{0}}, outputs[EDGEKIT_MAX_TENSORS] = {{0}};
  void *values[EDGEKIT_MAX_TENSORS] = {NULL}, *answers[EDGEKIT_MAX_TENSORS] = {NULL};
  const void *sample[EDGEKIT_MAX_TENSORS];
  Difference sums[EDGEKIT_MAX_TENSORS];
  edgekit_error error = {{0}};
  edgekit_options options = {0};
  options.variant = variant->name;
  options.litert = getenv("LITERT_LIBRARY");
  options.onnxruntime = getenv("ONNXRUNTIME_LIBRARY");
  edgekit_loaded *loaded = edgekit_load(&edgekit_model_description, models, &options, &error);
  bool passes = loaded != NULL;
  for (size_t i = 0; passes && i < variant->inputs_count; i++) {
    values[i] = calloc(variant->inputs[i].count, sizeof(double));
    passes = values[i] != NULL && read_array(golden, variant->name, "input", i, &inputs[i]);
  }
  for (size_t i = 0; passes && i < variant->outputs_count; i++) {
    sums[i] = (Difference){0, 0, true};
    answers[i] = calloc(variant->outputs[i].count, sizeof(double));
    passes = answers[i] != NULL && read_array(golden, variant->name, "output", i, &outputs[i]);
  }
  size_t samples = passes ? outputs[0].shape[0] : 0; /* of each: all are as long as the first */
  if (samples == 0) passes = false;
  for (size_t i = 0; passes && i < variant->outputs_count; i++) passes = outputs[i].count == samples * variant->outputs[i].count;
  for (size_t i = 0; passes && i < variant->inputs_count; i++) passes = inputs[i].count == samples * variant->inputs[i].count;
  for (size_t n = 0; passes && n < samples; n++) {
    for (size_t i = 0; i < variant->inputs_count; i++) sample[i] = given(&variant->inputs[i], &inputs[i], n, values[i]);
    passes = edgekit_run_real(loaded, sample, answers, &error);
    for (size_t i = 0; passes && i < variant->outputs_count; i++) add(&sums[i], &variant->outputs[i], &outputs[i], n, answers[i]);
  }
  if (!passes) printf("%s: %s\n", variant->name, error.text[0] != '\0' ? error.text : "its golden files cannot be used");
  bool all = passes;
  for (size_t i = 0; passes && i < variant->outputs_count; i++)
    if (!judge(variant, i, &sums[i], samples, min_snr_db)) all = false;
  for (size_t i = 0; i < EDGEKIT_MAX_TENSORS; i++) {
    npy_free(&inputs[i]);
    npy_free(&outputs[i]);
    free(values[i]);
    free(answers[i]);
  }
  edgekit_unload(loaded);
  return all;
}

int main(int count, char **arguments) {
  int status = 0;
  if (count != 3) {
    fprintf(stderr, "usage: golden_test MODELS GOLDEN; MODELS is - for what was compiled in\n");
    return 2;
  }
  const char *models = strcmp(arguments[1], "-") == 0 ? NULL : arguments[1];
  for (size_t i = 0; i < edgekit_model_description.count; i++)
    if (!check(&edgekit_model_description.variants[i], edgekit_golden_snr_db[i], models, arguments[2])) status = 3;
  return status;
}
