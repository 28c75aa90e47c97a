/* Warm-up to a steady state, and samples until the median is known well enough: the rules of edgekit/runner/measure.py.
 *
 * Times are integers in ns from the monotonic clock, taken around the runtime's invoke alone. */
#ifndef EDGEKIT_MEASURE_H
#define EDGEKIT_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int64_t *ns;
  size_t count, room;
} Samples;

typedef struct {
  void (*invoke)(void *argument);
  void *argument;
  void (*between)(void); /* called between two invocations, outside the timing */
} Measured;

/* One invoke, in ns. */
int64_t timed(const Measured *measured);

void samples_add(Samples *samples, int64_t ns);
void samples_free(Samples *samples);

/* The median of sorted values. */
double median_of_sorted(const int64_t *ordered, size_t count);

/* Half-width of the median's 95 % confidence interval as a share of the median; infinite below 6 samples. */
double median_half_width(const int64_t *samples, size_t count);

/* Whether two windows of equal size agree in median within 2 %, and the later one's halves do. */
bool is_steady(const int64_t *before, const int64_t *window, size_t count);

/* Invokes until steady or until `max_ns` have passed. Returns whether a steady state was reached. */
bool warm_up(const Measured *measured, int64_t max_ns, Samples *samples);

/* Samples until the half-width is within 2 %, but at least `min_samples` and `min_ns`, at most `max_ns`.
 * Returns the stop rule that fired, "precise" or "time-limit", and the half-width reached (infinite if there is none). */
const char *take_samples(const Measured *measured, size_t min_samples, int64_t min_ns, int64_t max_ns, Samples *samples,
                         double *half_width);

#endif
