#include "sustain.h"

#include "clock.h"
#include "events.h"
#include "sysfs.h"

void thinned_start(Thinned *thinned) {
  thinned->n = thinned->largest = thinned->total = 0;
  thinned->every = 1;
  thinned->kept_count = 0;
}

void thinned_add(Thinned *thinned, int64_t value) {
  if (thinned->n % thinned->every == 0 && thinned->kept_count == KEPT) {
    for (size_t i = 0; i < KEPT / 2; i++) thinned->kept[i] = thinned->kept[2 * i];
    thinned->kept_count = KEPT / 2;
    thinned->every *= 2;
  }
  if (thinned->n % thinned->every == 0) thinned->kept[thinned->kept_count++] = value;
  thinned->n++;
  thinned->total += value;
  if (value > thinned->largest) thinned->largest = value;
}

/* Temperature and frequency are read here, when nothing is timed. */
static void emit_chunk(const Thinned *chunk, int64_t at_ns) {
  double degrees = 0;
  int64_t hz = 0;
  const char *no_temperature = hottest_c(&degrees), *no_frequency = fastest_hz(&hz);
  event_begin("chunk");
  event_integer("at_ns", at_ns);
  event_integer("n", chunk->n);
  event_integer("max_ns", chunk->largest);
  event_integer("total_ns", chunk->total);
  event_integers("kept_ns", chunk->kept, chunk->kept_count);
  no_temperature == NULL ? event_real("temperature_c", degrees) : event_null("temperature_c");
  no_frequency == NULL ? event_integer("frequency_hz", hz) : event_null("frequency_hz");
  event_open("missing", '{');
  if (no_temperature != NULL) event_string("temperature_c", no_temperature);
  if (no_frequency != NULL) event_string("frequency_hz", no_frequency);
  event_close('}');
  event_end();
}

void sustain(const Measured *measured, int64_t duration_ns, int64_t chunk_ns) {
  static Thinned chunk;
  int64_t began = clock_ns(), after = began;
  while (after - began < duration_ns) {
    int64_t start = clock_ns();
    thinned_start(&chunk);
    do {
      int64_t before = clock_ns();
      measured->invoke(measured->argument);
      after = clock_ns();
      thinned_add(&chunk, after - before);
      measured->between();
    } while (after - start < chunk_ns && after - began < duration_ns);
    emit_chunk(&chunk, after - began);
  }
}
