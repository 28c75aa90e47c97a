/* Tries the variants in order: the model's file by its sha256, the runtime by its version, the tensors by the manifest. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime.h"
#include "sha256.h"

enum { PATH_BYTES = 4096, PASSED_OVER_BYTES = 4096 };

struct edgekit_loaded {
  const edgekit_variant *variant;
  void *session;
  void *mapped; /* the model's file; NULL where it was compiled in */
  size_t mapped_bytes;
  void *inputs[EDGEKIT_MAX_TENSORS], *outputs[EDGEKIT_MAX_TENSORS]; /* stored values of what is quantized */
  char passed_over[PASSED_OVER_BYTES];
};

bool edgekit_fail(edgekit_error *error, const char *format, ...) {
  if (error != NULL) {
    va_list values;
    va_start(values, format);
    vsnprintf(error->text, sizeof error->text, format, values);
    va_end(values);
    for (char *at = error->text; *at != '\0'; at++)
      if (*at == '\n' || *at == '\r') *at = ' ';
  }
  return false;
}

static bool map_file(edgekit_loaded *loaded, const char *folder, edgekit_error *error) {
  const edgekit_variant *variant = loaded->variant;
  char path[PATH_BYTES], sha256[SHA256_HEX_BYTES];
  struct stat status;
  int length = snprintf(path, sizeof path, "%s/%s", folder, variant->file);
  if (length < 0 || length >= PATH_BYTES) return edgekit_fail(error, "the path of the models is too long");
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the writer of a pipe */
  if (file < 0) return edgekit_fail(error, "%s cannot be opened: %s", path, strerror(errno));
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || (uint64_t)status.st_size != variant->bytes) {
    close(file);
    return edgekit_fail(error, "%s is damaged: it is no file of %zu bytes; copy it again", path, variant->bytes);
  }
  void *mapped = mmap(NULL, variant->bytes, PROT_READ, MAP_PRIVATE, file, 0);
  int reason = errno;
  close(file);
  if (mapped == MAP_FAILED) return edgekit_fail(error, "%s cannot be mapped: %s", path, strerror(reason));
  loaded->mapped = mapped;
  loaded->mapped_bytes = variant->bytes;
  edgekit_sha256_hex(mapped, variant->bytes, sha256);
  if (strcmp(sha256, variant->sha256) != 0)
    return edgekit_fail(error, "%s is damaged: its sha256 is %s and not %s; copy it again", path, sha256, variant->sha256);
  return true;
}

static bool allocate(edgekit_loaded *loaded, edgekit_error *error) {
  const edgekit_variant *variant = loaded->variant;
  for (size_t i = 0; i < variant->inputs_count + variant->outputs_count; i++) {
    bool input = i < variant->inputs_count;
    size_t j = input ? i : i - variant->inputs_count;
    const edgekit_tensor *tensor = input ? &variant->inputs[j] : &variant->outputs[j];
    if (tensor->channels == 0) continue;
    void *memory = calloc(tensor->count, edgekit_element_bytes(tensor->dtype));
    if (memory == NULL) return edgekit_fail(error, "there is no memory for %s", tensor->name);
    *(input ? &loaded->inputs[j] : &loaded->outputs[j]) = memory;
  }
  return true;
}

static void release(edgekit_loaded *loaded) {
  if (loaded->session != NULL) loaded->variant->runtime->close(loaded->session);
  if (loaded->mapped != NULL) munmap(loaded->mapped, loaded->mapped_bytes);
  for (size_t i = 0; i < EDGEKIT_MAX_TENSORS; i++) {
    free(loaded->inputs[i]);
    free(loaded->outputs[i]);
    loaded->inputs[i] = loaded->outputs[i] = NULL;
  }
  loaded->session = loaded->mapped = NULL;
}

static bool load_variant(edgekit_loaded *loaded, const char *folder, const edgekit_options *options, edgekit_error *error) {
  const edgekit_variant *variant = loaded->variant;
  const char *library = strcmp(variant->runtime->name, "litert") == 0 ? options->litert : options->onnxruntime;
  if (folder == NULL && variant->data == NULL)
    return edgekit_fail(error, "%s was not compiled in: name the folder of the models", variant->name);
  if (folder != NULL && !map_file(loaded, folder, error)) return false;
  if (!variant->runtime->open(library, variant->proven, options->any_version, error)) return false;
  const void *model = folder != NULL ? loaded->mapped : variant->data;
  int threads = options->threads > 0 ? options->threads : 1;
  loaded->session = variant->runtime->load(variant, model, variant->bytes, threads, error);
  return loaded->session != NULL && allocate(loaded, error);
}

static void note(edgekit_loaded *loaded, const edgekit_error *error) {
  size_t have = strlen(loaded->passed_over);
  snprintf(loaded->passed_over + have, PASSED_OVER_BYTES - have, "%s%s: %s", have > 0 ? "; " : "", loaded->variant->name,
           error->text);
}

edgekit_loaded *edgekit_load(const edgekit_description *description, const char *folder, const edgekit_options *options,
                             edgekit_error *error) {
  const edgekit_options usual = {0};
  edgekit_error reason = {{0}};
  if (options == NULL) options = &usual;
  edgekit_loaded *loaded = calloc(1, sizeof *loaded);
  if (loaded == NULL) {
    edgekit_fail(error, "there is no memory for the model");
    return NULL;
  }
  for (size_t i = 0; i < description->count; i++) {
    loaded->variant = &description->variants[i];
    if (options->variant != NULL && strcmp(options->variant, loaded->variant->name) != 0) continue;
    if (load_variant(loaded, folder, options, &reason)) return loaded;
    release(loaded);
    note(loaded, &reason);
  }
  if (reason.text[0] == '\0') edgekit_fail(error, "%s has no variant %s", description->name, options->variant);
  else edgekit_fail(error, "%s cannot be loaded: %s", description->name, loaded->passed_over);
  free(loaded);
  return NULL;
}

void edgekit_unload(edgekit_loaded *loaded) {
  if (loaded == NULL) return;
  release(loaded);
  free(loaded);
}

const edgekit_variant *edgekit_variant_of(const edgekit_loaded *loaded) { return loaded->variant; }

const char *edgekit_passed_over(const edgekit_loaded *loaded) { return loaded->passed_over; }

bool edgekit_run_stored(edgekit_loaded *loaded, const void *const *inputs, void *const *outputs, edgekit_error *error) {
  const edgekit_variant *variant = loaded->variant;
  const edgekit_runtime *runtime = variant->runtime;
  for (size_t i = 0; i < variant->inputs_count; i++)
    if (!runtime->set_input(loaded->session, i, inputs[i], error)) return false;
  if (!runtime->invoke(loaded->session, error)) return false;
  for (size_t i = 0; i < variant->outputs_count; i++)
    if (!runtime->get_output(loaded->session, i, outputs[i], error)) return false;
  return true;
}

bool edgekit_run_real(edgekit_loaded *loaded, const void *const *inputs, void *const *outputs, edgekit_error *error) {
  const edgekit_variant *variant = loaded->variant;
  const void *given[EDGEKIT_MAX_TENSORS];
  void *answered[EDGEKIT_MAX_TENSORS];
  for (size_t i = 0; i < variant->inputs_count; i++) {
    given[i] = inputs[i];
    if (loaded->inputs[i] == NULL) continue;
    edgekit_quantize(&variant->inputs[i], inputs[i], loaded->inputs[i]);
    given[i] = loaded->inputs[i];
  }
  for (size_t i = 0; i < variant->outputs_count; i++)
    answered[i] = loaded->outputs[i] != NULL ? loaded->outputs[i] : outputs[i];
  if (!edgekit_run_stored(loaded, given, answered, error)) return false;
  for (size_t i = 0; i < variant->outputs_count; i++)
    if (loaded->outputs[i] != NULL) edgekit_dequantize(&variant->outputs[i], loaded->outputs[i], outputs[i]);
  return true;
}
