#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failure.h"

#define Z_95 1.959963984540054
#define AGREE 0.02
enum { FIRST_SAMPLES = 3, MIN_WINDOW = 10, MAX_WINDOW = 200 };
#define WINDOW_NS 1e8

void samples_add(Samples *samples, int64_t ns) {
  if (samples->count == samples->room) {
    size_t room = samples->room ? samples->room * 2 : 1024;
    int64_t *grown = realloc(samples->ns, room * sizeof *grown);
    if (grown == NULL) fail("failed", "no memory for %zu samples", room);
    samples->ns = grown;
    samples->room = room;
  }
  samples->ns[samples->count++] = ns;
}

void samples_free(Samples *samples) {
  free(samples->ns);
  *samples = (Samples){0};
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int64_t *sorted(const int64_t *samples, size_t count) {
  int64_t *ordered = allocate(count, sizeof *ordered);
  memcpy(ordered, samples, count * sizeof *ordered);
  qsort(ordered, count, sizeof *ordered, by_value);
  return ordered;
}

double median_of_sorted(const int64_t *ordered, size_t count) {
  size_t middle = count / 2;
  if (count % 2) return (double)ordered[middle];
  return ((double)ordered[middle - 1] + (double)ordered[middle]) / 2;
}

static double median(const int64_t *samples, size_t count) {
  int64_t *ordered = sorted(samples, count);
  double found = median_of_sorted(ordered, count);
  free(ordered);
  return found;
}

double median_half_width(const int64_t *samples, size_t count) {
  if (count < 6) return INFINITY;
  int64_t *ordered = sorted(samples, count);
  double reach = Z_95 * sqrt((double)count) / 2, half = (double)count / 2;
  double low_rank = fmax(0, floor(half - reach)), high_rank = fmin((double)count - 1, ceil(half + reach));
  double low = (double)ordered[(size_t)low_rank], high = (double)ordered[(size_t)high_rank];
  double middle = median_of_sorted(ordered, count);
  free(ordered);
  return middle != 0 ? fmax(high - middle, middle - low) / middle : INFINITY;
}

bool is_steady(const int64_t *before, const int64_t *window, size_t count) {
  size_t half = count / 2;
  double a = median(before, count), b = median(window, count);
  double c = median(window, half), d = median(window + half, count - half);
  return fabs(b - a) <= AGREE * a && fabs(d - c) <= AGREE * c;
}

int64_t timed(const Measured *measured) {
  int64_t start = clock_ns();
  measured->invoke(measured->argument);
  return clock_ns() - start;
}

bool warm_up(const Measured *measured, int64_t max_ns, Samples *samples) {
  int64_t began = clock_ns(), least = INT64_MAX;
  for (int i = 0; i < FIRST_SAMPLES; i++) {
    samples_add(samples, timed(measured));
    if (samples->ns[i] < least) least = samples->ns[i];
  }
  double wanted = ceil(WINDOW_NS / (double)(least > 1 ? least : 1)); /* about a tenth of a second */
  size_t window = (size_t)fmin(MAX_WINDOW, fmax(MIN_WINDOW, wanted));
  bool has_before = false;
  while (clock_ns() - began < max_ns) {
    size_t start = samples->count;
    while (samples->count - start < window && clock_ns() - began < max_ns) {
      samples_add(samples, timed(measured));
      measured->between();
    }
    if (samples->count - start < window) return false;
    if (has_before && is_steady(samples->ns + start - window, samples->ns + start, window)) return true;
    has_before = true;
  }
  return false;
}

const char *take_samples(const Measured *measured, size_t min_samples, int64_t min_ns, int64_t max_ns, Samples *samples,
                         double *half_width) {
  int64_t began = clock_ns();
  size_t check_at = min_samples;
  for (;;) {
    samples_add(samples, timed(measured));
    int64_t elapsed = clock_ns() - began;
    if (samples->count >= check_at && elapsed >= min_ns) {
      *half_width = median_half_width(samples->ns, samples->count);
      if (*half_width <= AGREE) return "precise";
      check_at = samples->count + (samples->count >= 100 ? samples->count / 10 : 10);
    }
    if (elapsed >= max_ns && samples->count >= 2) {
      *half_width = median_half_width(samples->ns, samples->count);
      return "time-limit";
    }
    measured->between();
  }
}
