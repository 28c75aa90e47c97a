#include "compare.h"

#include <math.h>

#include "events.h"

Comparison comparison_new(size_t row) {
  return (Comparison){.row = row, .reference_finite = true, .finite = true, .exact = true};
}

/* The index of the largest; a NaN counts as larger than anything, as NumPy has it. */
static size_t largest(const double *values, size_t count) {
  size_t best = 0;
  for (size_t i = 0; i < count; i++) {
    if (isnan(values[i])) return i;
    if (values[i] > values[best]) best = i;
  }
  return best;
}

void comparison_add(Comparison *comparison, const double *reference, const double *candidate, size_t count) {
  for (size_t i = 0; i < count; i++) {
    double a = reference[i], b = candidate[i], error = a - b;
    if (!isfinite(a)) comparison->reference_finite = false;
    if (!isfinite(b)) comparison->finite = false;
    if (!(a == b)) comparison->exact = false;
    comparison->noise += error * error;
    comparison->signal += a * a;
    comparison->candidate += b * b;
    comparison->product += a * b;
    comparison->max_abs_error = fmax(comparison->max_abs_error, fabs(error));
  }
  for (size_t i = 0; comparison->row >= 2 && i + comparison->row <= count; i += comparison->row) {
    comparison->rows++;
    if (largest(reference + i, comparison->row) == largest(candidate + i, comparison->row)) comparison->rows_agreed++;
  }
  comparison->samples++;
  comparison->elements += count;
}

/* NaN where there is none: equal to the bit, no signal, or an element that is not finite. */
static double snr_db(const Comparison *comparison) {
  bool known = comparison->finite && comparison->reference_finite && comparison->noise > 0 && comparison->signal > 0;
  return known ? 10 * log10(comparison->signal / comparison->noise) : NAN;
}

bool comparison_passes(const Comparison *comparison, double min_snr_db) {
  if (!comparison->finite) return false;
  return comparison->exact || snr_db(comparison) >= min_snr_db; /* false for NaN */
}

void emit_comparison(const Comparison *comparison) {
  bool finite = comparison->finite && comparison->reference_finite;
  double norm = sqrt(comparison->signal) * sqrt(comparison->candidate);
  event_open(NULL, '{');
  event_integer("samples", (int64_t)comparison->samples);
  event_bool("finite", comparison->finite);
  event_bool("exact", comparison->exact);
  event_real("snr_db", snr_db(comparison));
  event_real("max_abs_error", finite ? comparison->max_abs_error : NAN);
  event_real("cosine", finite && norm > 0 ? comparison->product / norm : NAN);
  event_real("top1_agreement", comparison->rows ? (double)comparison->rows_agreed / (double)comparison->rows : NAN);
  event_close('}');
}
