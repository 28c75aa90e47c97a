/* Parts of the native runner for tests that compare them with Python's, and for fuzzing in one process.
 *
 *     harness measure            standard input: integers; prints the half-width, and whether its two halves are steady
 *     harness doubles            prints the value of every binary16, as doubles in memory's order
 *     harness halves             standard input: doubles; prints each as a binary16
 *     harness npy FILE           prints type, shape and elements, or what is wrong
 *     harness json               standard input: a text; prints "ok" or what is wrong
 *     harness fuzz SEED COUNT FILE...   reads COUNT mutations of files that lie in turn, as JSON and as .npy
 *
 * Compiled with -DLIBFUZZER -fsanitize=fuzzer it is a target of libFuzzer instead. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "json.h"
#include "measure.h"
#include "npy.h"

void fail(const char *kind, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: ", kind);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  exit(1);
}

void *allocate(size_t count, size_t size) {
  void *memory = calloc(count > 0 ? count : 1, size);
  if (memory == NULL) fail("failed", "no memory");
  return memory;
}

static size_t walk(const JsonValue *value) {
  size_t total = value->string != NULL ? strlen(value->string) : 0;
  if (value->key != NULL) total += strlen(value->key);
  for (const JsonValue *member = value->first; member != NULL; member = member->next) total += walk(member);
  return total;
}

/* Both readers over a copy that ends where the bytes end, so that the sanitizer sees the first byte beyond. */
static unsigned read_both(const unsigned char *bytes, size_t size) {
  JsonDocument document;
  Npy array;
  unsigned accepted = 0;
  unsigned char *copy = allocate(size, 1);
  if (size > 0) memcpy(copy, bytes, size);
  if (json_parse((const char *)copy, size, &document) == NULL) {
    accepted |= walk(document.root) <= size ? 1 : 4;
    json_free(&document);
  }
  if (npy_parse(copy, size, &array) == NULL) {
    double sum = 0;
    for (size_t i = 0; i < array.count; i++) sum += dtype_get(array.dtype, array.data, i);
    accepted |= sum == 0.5 ? 6 : 2;
  }
  free(copy);
  return accepted;
}

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
  read_both(bytes, size);
  return 0;
}
#else

static uint64_t state;

static uint64_t next(uint64_t below) { /* splitmix64 */
  uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (z ^ (z >> 31)) % below;
}

static size_t read_file(const char *path, unsigned char *bytes, size_t room) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail("failed", "cannot read %s", path);
  size_t size = fread(bytes, 1, room, file);
  fclose(file);
  return size;
}

/* Bytes replaced, inserted, removed or cut off: one to eight changes, near the beginning more often than not. */
static size_t mutate(unsigned char *bytes, size_t size, size_t room) {
  static const char telling[] = "{}[]\",:\\u0123456789.eE-+()'<>|fiub\x00\xff\x80\xc0 tnl";
  for (uint64_t changes = 1 + next(8); changes > 0 && size > 0; changes--) {
    size_t at = next(next(2) ? size : (size < 128 ? size : 128));
    unsigned char byte = next(3) ? (unsigned char)telling[next(sizeof telling)] : (unsigned char)next(256);
    switch (next(8)) {
      case 0: size = at; break;
      case 1:
        memmove(bytes + at, bytes + at + 1, size - at - 1);
        size--;
        break;
      case 2:
        if (size == room) break;
        memmove(bytes + at + 1, bytes + at, size - at);
        bytes[at] = byte;
        size++;
        break;
      default: bytes[at] = byte;
    }
  }
  return size;
}

static void fuzz(uint64_t seed, long count, char **files, int files_count) {
  enum { ROOM = 1 << 16 };
  static unsigned char originals[8][ROOM], bytes[ROOM];
  size_t sizes[8], accepted[2] = {0};
  if (files_count < 1 || files_count > 8) fail("usage", "one to eight files");
  for (int i = 0; i < files_count; i++) sizes[i] = read_file(files[i], originals[i], ROOM);
  state = seed;
  for (long n = 0; n < count; n++) {
    int i = (int)next((uint64_t)files_count);
    memcpy(bytes, originals[i], sizes[i]);
    unsigned found = read_both(bytes, mutate(bytes, sizes[i], ROOM));
    if (found & 4) fail("failed", "strings are longer than the text");
    accepted[0] += found & 1;
    accepted[1] += (found & 2) / 2;
  }
  printf("%ld %zu %zu\n", count, accepted[0], accepted[1]);
}

static void measure(void) {
  static int64_t samples[100000];
  size_t count = 0;
  while (count < 100000 && scanf("%" SCNd64, &samples[count]) == 1) count++;
  bool steady = count >= 4 && is_steady(samples, samples + count / 2, count / 2);
  printf("%.17g %d\n", median_half_width(samples, count), steady);
}

static void doubles(void) {
  for (unsigned i = 0; i < 65536; i++) {
    uint16_t half = (uint16_t)i;
    double value = dtype_get(DTYPE_FLOAT16, &half, 0);
    fwrite(&value, sizeof value, 1, stdout);
  }
}

static void halves(void) {
  double value;
  while (fread(&value, sizeof value, 1, stdin) == 1) {
    uint16_t half;
    dtype_put(DTYPE_FLOAT16, &half, 0, value);
    fwrite(&half, sizeof half, 1, stdout);
  }
}

static void npy(const char *path) {
  Npy array;
  const char *problem = npy_load(path, &array);
  if (problem != NULL) {
    printf("%s\n", problem);
    return;
  }
  printf("%s", dtype_name(array.dtype));
  for (int i = 0; i < array.rank; i++) printf(" %zu", array.shape[i]);
  printf(":");
  for (size_t i = 0; i < array.count; i++) printf(" %.17g", dtype_get(array.dtype, array.data, i));
  printf("\n");
  npy_free(&array);
}

static void json(void) {
  static char text[JSON_MAX_BYTES + 2];
  JsonDocument document;
  const char *problem = json_parse(text, fread(text, 1, sizeof text, stdin), &document);
  printf("%s\n", problem != NULL ? problem : "ok");
  if (problem == NULL) json_free(&document);
}

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "";
  if (strcmp(what, "measure") == 0) measure();
  else if (strcmp(what, "doubles") == 0) doubles();
  else if (strcmp(what, "halves") == 0) halves();
  else if (strcmp(what, "npy") == 0 && count == 3) npy(arguments[2]);
  else if (strcmp(what, "json") == 0) json();
  else if (strcmp(what, "fuzz") == 0 && count > 4)
    fuzz(strtoull(arguments[2], NULL, 10), strtol(arguments[3], NULL, 10), arguments + 4, count - 4);
  else return 2;
  return 0;
}
#endif
