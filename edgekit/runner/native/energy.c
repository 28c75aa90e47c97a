#include "energy.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "clock.h"
#include "events.h"
#include "sysfs.h"

#define SYSFS "/sys/class/"
enum { MAX_PATHS = 16, LEAST_READINGS = 4, SOURCE_BYTES = 2 * NAME_BYTES, REASON_BYTES = 1024 };
static const int64_t second = 1000000000, idle_tick = 100000000, tick = 500000000;

/* Either counters of µJ that may wrap at `ranges`, whose growth is added up; or files whose numbers' product by `unit`
 * is a power in W. */
static struct {
  bool found, counts;
  char source[SOURCE_BYTES], because[REASON_BYTES];
  char paths[MAX_PATHS][SYSFS_BYTES];
  size_t paths_count;
  int64_t last[MAX_PATHS], ranges[MAX_PATHS];
  double unit;
} meter;

static struct {
  int64_t began, next, ended;
  double idle_w, joules, sum_w;
  size_t readings, invokes;
} measured;

static void give_up(const char *path, const char *why) {
  size_t used = strlen(meter.because);
  snprintf(meter.because + used, sizeof meter.because - used, "%s%s: %s", used ? "; " : "", path, why);
  meter.found = false;
}

/* Joules since the last call, of counters. */
static double grown(void) {
  double sum = 0;
  for (size_t i = 0; i < meter.paths_count && meter.found; i++) {
    int64_t now;
    const char *problem = read_number(meter.paths[i], &now);
    if (problem != NULL) {
      give_up(meter.paths[i], problem);
      return NAN;
    }
    int64_t growth = now - meter.last[i];
    sum += (double)(growth >= 0 ? growth : growth + meter.ranges[i]) / 1e6;
    meter.last[i] = now;
  }
  return sum;
}

static double watts(void) {
  double product = 1;
  for (size_t i = 0; i < meter.paths_count; i++) {
    int64_t now;
    const char *problem = read_number(meter.paths[i], &now);
    if (problem != NULL) {
      give_up(meter.paths[i], problem);
      return NAN;
    }
    product *= fabs((double)now);
  }
  return product / meter.unit;
}

/* Takes a source whose paths are set; not if it cannot be read. */
static void take(bool counts, double unit, const char *kind, const char *label) {
  meter.found = meter.paths_count > 0;
  meter.counts = counts;
  meter.unit = unit;
  snprintf(meter.source, sizeof meter.source, "%s%s%.63s", kind, *label ? " " : "", label);
  if (meter.found) counts ? grown() : watts();
}

static void find_powercap(void) {
  static char names[MAX_ENTRIES][NAME_BYTES];
  size_t count = list_entries(SYSFS "powercap", "", false, names);
  meter.paths_count = 0;
  for (size_t i = 0; i < count && meter.paths_count < MAX_PATHS; i++) {
    const char *colon = strchr(names[i], ':');
    char path[SYSFS_BYTES], name[NAME_BYTES];
    if (colon == NULL || strchr(colon + 1, ':') != NULL) continue;
    snprintf(path, sizeof path, SYSFS "powercap/%.63s/name", names[i]);
    if (read_text(path, name, sizeof name) != NULL || strncmp(name, "package", 7) != 0) continue;
    snprintf(path, sizeof path, SYSFS "powercap/%.63s/max_energy_range_uj", names[i]);
    if (read_number(path, &meter.ranges[meter.paths_count]) != NULL) continue;
    snprintf(meter.paths[meter.paths_count++], SYSFS_BYTES, SYSFS "powercap/%.63s/energy_uj", names[i]);
  }
  take(true, 1, "powercap", "");
}

/* How much of a board a sensor of that label sees: the lower the more. */
static int rank(const char *label) {
  static const char *const totals[] = {"vdd_in", "pom_5v_in", "vin_sys", "ppt", "total", "psys", NULL};
  int i = 0;
  while (totals[i] != NULL && strcasecmp(totals[i], label) != 0) i++;
  return i;
}

/* The input of hwmon of a kind (`power`, `energy`, `in`) that sees most; with `current`, one that has a current beside. */
static bool find_hwmon(const char *kind, bool current, char label[NAME_BYTES]) {
  static char chips[MAX_ENTRIES][NAME_BYTES], inputs[MAX_ENTRIES][NAME_BYTES];
  size_t count = list_entries(SYSFS "hwmon", "hwmon", true, chips);
  int best = -1;
  meter.paths_count = 0;
  for (size_t i = 0; i < count; i++) {
    char folder[SYSFS_BYTES / 2], path[SYSFS_BYTES], told[NAME_BYTES], beside[SYSFS_BYTES];
    snprintf(folder, sizeof folder, SYSFS "hwmon/%.63s", chips[i]);
    size_t files = list_entries(folder, kind, false, inputs);
    for (size_t k = 0; k < files; k++) {
      int number, end = 0;
      int64_t value;
      if (sscanf(inputs[k] + strlen(kind), "%d_input%n", &number, &end) != 1 || end == 0) continue;
      snprintf(path, sizeof path, "%s/%s%d_label", folder, kind, number);
      snprintf(beside, sizeof beside, "%s/name", folder);
      if (read_text(path, told, sizeof told) != NULL && read_text(beside, told, sizeof told) != NULL)
        snprintf(told, sizeof told, "%.63s", chips[i]);
      snprintf(beside, sizeof beside, "%s/curr%d_input", folder, number);
      if ((current && read_number(beside, &value) != NULL) || (best >= 0 && rank(told) >= best)) continue;
      best = rank(told);
      snprintf(label, NAME_BYTES, "%s", told);
      snprintf(meter.paths[0], SYSFS_BYTES, "%s/%.63s", folder, inputs[k]);
      snprintf(meter.paths[1], SYSFS_BYTES, "%s", beside);
      meter.paths_count = current ? 2 : 1;
    }
  }
  return best >= 0;
}

static void find_battery(void) {
  static char names[MAX_ENTRIES][NAME_BYTES];
  size_t count = list_entries(SYSFS "power_supply", "", false, names);
  for (size_t i = 0; i < count; i++) {
    char folder[SYSFS_BYTES / 2], path[SYSFS_BYTES], text[NAME_BYTES], reason[SYSFS_BYTES];
    int64_t value;
    snprintf(folder, sizeof folder, SYSFS "power_supply/%.63s", names[i]);
    snprintf(path, sizeof path, "%s/type", folder);
    if (read_text(path, text, sizeof text) != NULL || strcmp(text, "Battery") != 0) continue;
    snprintf(path, sizeof path, "%s/status", folder);
    if (read_text(path, text, sizeof text) != NULL) continue;
    if (strcmp(text, "Discharging") != 0) {
      snprintf(reason, sizeof reason, "it tells what a device takes only while it discharges; it is: %s", text);
      give_up("the battery's gauge", reason);
      return;
    }
    snprintf(meter.paths[0], SYSFS_BYTES, "%s/power_now", folder);
    meter.paths_count = 1;
    if (read_number(meter.paths[0], &value) == NULL) {
      take(false, 1e6, "battery", "");
      return;
    }
    snprintf(meter.paths[0], SYSFS_BYTES, "%s/current_now", folder);
    snprintf(meter.paths[1], SYSFS_BYTES, "%s/voltage_now", folder);
    meter.paths_count = 2;
    take(false, 1e12, "battery", ""); /* µA and µV */
    return;
  }
}

void energy_refuse(const char *because) {
  measured.idle_w = measured.joules = NAN;
  snprintf(meter.because, sizeof meter.because, "%s", because);
}

void energy_open(void) {
  char label[NAME_BYTES] = "";
  measured.idle_w = measured.joules = NAN;
  find_powercap();
  if (!meter.found && find_hwmon("energy", false, label)) {
    meter.ranges[0] = 0;
    take(true, 1, "hwmon", label);
  }
  if (!meter.found && find_hwmon("power", false, label)) take(false, 1e6, "hwmon", label);
  if (!meter.found && find_hwmon("in", true, label)) take(false, 1e6, "hwmon", label); /* mV and mA */
  if (!meter.found) find_battery();
  if (!meter.found && meter.because[0] == '\0')
    snprintf(meter.because, sizeof meter.because, "no powercap, no energy or power in hwmon, no battery in sysfs");
}

static void sleep_ns(int64_t ns) {
  struct timespec time = {(time_t)(ns / second), (long)(ns % second)}; /* both have 32 bits on armv7 */
  nanosleep(&time, NULL);
}

void energy_idle(void) {
  if (!meter.found) return;
  int64_t began = clock_ns();
  if (meter.counts) {
    grown();
    sleep_ns(second);
    measured.idle_w = grown() / ((double)(clock_ns() - began) / 1e9);
    return;
  }
  double sum = 0;
  int readings = 0;
  for (; clock_ns() - began < second; readings++) {
    sum += watts();
    sleep_ns(idle_tick);
  }
  measured.idle_w = sum / readings;
}

static void read_sensor(void) {
  measured.sum_w += watts();
  measured.readings++;
}

void energy_start(void) {
  measured.began = clock_ns();
  measured.next = INT64_MAX;
  if (!meter.found) return;
  if (meter.counts) {
    grown();
    return;
  }
  read_sensor();
  measured.next = measured.began + tick;
}

void energy_tick(void) {
  if (clock_ns() < measured.next) return;
  read_sensor();
  measured.next = clock_ns() + tick;
}

void energy_stop(size_t invokes) {
  measured.ended = clock_ns();
  measured.invokes = invokes;
  if (!meter.found) return;
  if (meter.counts) {
    measured.joules = grown();
    return;
  }
  read_sensor();
  double seconds = (double)(measured.ended - measured.began) / 1e9;
  if (measured.readings >= LEAST_READINGS) measured.joules = seconds * measured.sum_w / (double)measured.readings;
  else
    snprintf(meter.because, sizeof meter.because,
             "%zu readings of %s are too few for a mean: raise min_s in the target", measured.readings, meter.source);
}

void emit_energy(void) {
  event_begin("energy");
  event_string("source", meter.found ? meter.source : NULL);
  event_real("joules", meter.found ? measured.joules : NAN);
  event_real("idle_w", meter.found ? measured.idle_w : NAN);
  event_real("seconds", (double)(measured.ended - measured.began) / 1e9);
  event_integer("invokes", (int64_t)measured.invokes);
  event_string("because", meter.found && isfinite(measured.joules) ? NULL : meter.because);
  event_end();
}
