#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "\x93NUMPY"

/* The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (4, 1, 3), } */
typedef struct {
  const char *at, *end;
} Text;

static void skip_space(Text *text) {
  while (text->at < text->end && (*text->at == ' ' || *text->at == '\n')) text->at++;
}

static bool take(Text *text, char expected) {
  skip_space(text);
  if (text->at >= text->end || *text->at != expected) return false;
  text->at++;
  return true;
}

static bool take_word(Text *text, const char *word) {
  size_t length = strlen(word);
  skip_space(text);
  if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) return false;
  text->at += length;
  return true;
}

/* A quoted text without escapes, shorter than `size`. */
static bool read_quoted(Text *text, char *out, size_t size) {
  skip_space(text);
  if (text->at >= text->end || (*text->at != '\'' && *text->at != '"')) return false;
  char quote = *text->at++;
  const char *start = text->at;
  while (text->at < text->end && *text->at != quote && *text->at != '\\') text->at++;
  size_t length = (size_t)(text->at - start);
  if (length >= size || !take(text, quote)) return false;
  memcpy(out, start, length);
  out[length] = '\0';
  return true;
}

static bool read_size(Text *text, size_t *size) {
  skip_space(text);
  const char *start = text->at;
  *size = 0;
  while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
    if (*size > NPY_MAX_BYTES) return false;
    *size = *size * 10 + (size_t)(*text->at++ - '0');
  }
  return text->at > start;
}

static const char *read_shape(Text *text, Npy *array) {
  if (!take(text, '(')) return "its header's shape is no tuple";
  array->rank = 0;
  while (!take(text, ')')) {
    if (array->rank == NPY_MAX_RANK) return "it has too many dimensions";
    if (!read_size(text, &array->shape[array->rank++])) return "its header's shape is wrong";
    if (take(text, ')')) return array->rank > 1 ? NULL : "its header's shape is no tuple";
    if (!take(text, ',')) return "its header's shape is wrong";
  }
  return NULL;
}

static const char *read_header(Text *text, Npy *array) {
  bool descr = false, order = false, shape = false;
  char key[16], code[16];
  if (!take(text, '{')) return "its header is no dict";
  while (!take(text, '}')) {
    if (!read_quoted(text, key, sizeof key) || !take(text, ':')) return "its header is no dict of names";
    if (strcmp(key, "descr") == 0 && !descr) {
      descr = true;
      if (!read_quoted(text, code, sizeof code)) return "its elements are records, or their type is wrong";
      array->dtype = dtype_coded(code);
      if (array->dtype == DTYPE_NONE) return "its element type is none of bool, int, uint and float, little-endian";
    } else if (strcmp(key, "fortran_order") == 0 && !order) {
      order = true;
      if (take_word(text, "True")) return "it is in Fortran order";
      if (!take_word(text, "False")) return "its header's fortran_order is wrong";
    } else if (strcmp(key, "shape") == 0 && !shape) {
      shape = true;
      const char *problem = read_shape(text, array);
      if (problem != NULL) return problem;
    } else {
      return "its header has an unknown or repeated key";
    }
    if (take(text, ',')) continue;
    if (take(text, '}')) break;
    return "its header is no dict";
  }
  skip_space(text);
  if (text->at != text->end) return "something follows its header's dict";
  return descr && order && shape ? NULL : "its header lacks one of descr, fortran_order and shape";
}

const char *npy_parse(const unsigned char *bytes, size_t size, Npy *array) {
  *array = (Npy){0};
  if (size < 10 || memcmp(bytes, MAGIC, 6) != 0) return "it is no .npy file";
  if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0) return "its .npy version is unknown";
  size_t start = bytes[6] == 1 ? 10 : 12;
  if (size < start) return "it ends in its header";
  size_t length = bytes[8] | (size_t)bytes[9] << 8;
  if (bytes[6] > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
  if (length > NPY_MAX_HEADER) return "its header is too long";
  if (size - start < length) return "it ends in its header";
  Text text = {(const char *)bytes + start, (const char *)bytes + start + length};
  const char *problem = read_header(&text, array);
  if (problem != NULL) return problem;
  size_t total = dtype_bytes(array->dtype);
  array->count = 1;
  for (int i = 0; i < array->rank; i++) {
    if (array->shape[i] != 0 && total > NPY_MAX_BYTES / array->shape[i]) return "it is larger than 1 GiB";
    array->count *= array->shape[i];
    total *= array->shape[i];
  }
  if (size - start - length != total) return "its length is not what its header says";
  array->data = bytes + start + length;
  return NULL;
}

static const char *read_all(int file, unsigned char *bytes, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t got = read(file, bytes + have, size - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return strerror(errno);
    if (got == 0) return "it became shorter while it was read";
    have += (size_t)got;
  }
  return NULL;
}

const char *npy_load(const char *path, Npy *array) {
  struct stat status;
  const char *problem = NULL;
  unsigned char *bytes = NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the writer of a pipe */
  if (file < 0) return strerror(errno);
  if (fstat(file, &status) != 0) problem = strerror(errno);
  else if (!S_ISREG(status.st_mode)) problem = "it is no file";
  else if (status.st_size > NPY_MAX_BYTES) problem = "it is larger than 1 GiB";
  else if ((bytes = malloc((size_t)status.st_size + 1)) == NULL) problem = "there is no memory for it";
  if (problem == NULL) problem = read_all(file, bytes, (size_t)status.st_size);
  if (problem == NULL) problem = npy_parse(bytes, (size_t)status.st_size, array);
  close(file);
  if (problem != NULL) free(bytes);
  else array->memory = bytes;
  return problem;
}

void npy_free(Npy *array) {
  free(array->memory);
  *array = (Npy){0};
}
