/* What "the same answer" means: the measure of edgekit/runner/compare.py, taken sample by sample.
 *
 * Over all elements of all samples of one output: signal-to-noise ratio (signal: the reference; noise: the difference),
 * largest absolute error, cosine similarity; over the rows of the last axis: how often the largest element is the same. */
#ifndef EDGEKIT_COMPARE_H
#define EDGEKIT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  size_t row; /* length of the last axis; 0: no top-1 agreement is told */
  size_t samples, elements, rows, rows_agreed;
  double noise, signal, candidate, product, max_abs_error;
  bool reference_finite, finite, exact;
} Comparison;

Comparison comparison_new(size_t row);

/* Adds one sample: the reference's and the candidate's elements. */
void comparison_add(Comparison *comparison, const double *reference, const double *candidate, size_t count);

/* Finite, and equal or with an SNR of at least `min_snr_db`. */
bool comparison_passes(const Comparison *comparison, double min_snr_db);

/* The comparison as a member of an event's array. */
void emit_comparison(const Comparison *comparison);

#endif
