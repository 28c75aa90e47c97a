#define _GNU_SOURCE
#include "facts.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "events.h"

enum { CPUINFO_BYTES = 1 << 17 };

/* Emits one value under a name, or returns why there is none and emits nothing. */
typedef const char *(*Probe)(const char *name);

/* The value of the first line `KEY SEPARATOR VALUE`, or NULL; changes the text. */
static char *line_value(char *text, const char *const *keys, char separator) {
  char *saved;
  for (char *line = strtok_r(text, "\n", &saved); line != NULL; line = strtok_r(NULL, "\n", &saved)) {
    char *value = strchr(line, separator);
    if (value == NULL) continue;
    char *end = value;
    *value++ = '\0';
    while (end > line && isspace((unsigned char)end[-1])) *--end = '\0';
    while (isspace((unsigned char)*value)) value++;
    for (int i = 0; keys[i] != NULL; i++)
      if (strcmp(line, keys[i]) == 0 && *value != '\0') return value;
  }
  return NULL;
}

static const char *cpu_model(const char *name) {
  static const char *const keys[] = {"model name", "Model", "Hardware", NULL};
  static char text[CPUINFO_BYTES]; /* what names the model may stand after all of many cores */
  const char *problem = read_text("/proc/cpuinfo", text, sizeof text);
  if (problem != NULL) return problem;
  const char *value = line_value(text, keys, ':');
  if (value == NULL) return "/proc/cpuinfo names no model";
  event_string(name, value);
  return NULL;
}

static const char *cores(const char *name) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  if (count < 1) return "the system does not tell";
  event_integer(name, count);
  return NULL;
}

static const char *affinity(const char *name) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return strerror(errno);
  event_open(name, '[');
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET((size_t)i, &set)) event_integer(NULL, i);
  event_close(']');
  return NULL;
}

static const char *machine(const char *name) {
  struct utsname names;
  if (uname(&names) != 0) return strerror(errno);
  event_string(name, names.machine);
  return NULL;
}

static const char *kernel(const char *name) {
  struct utsname names;
  char text[sizeof names.sysname + sizeof names.release + 2];
  if (uname(&names) != 0) return strerror(errno);
  snprintf(text, sizeof text, "%s %s", names.sysname, names.release);
  event_string(name, text);
  return NULL;
}

static const char *os_name(const char *name) {
  static const char *const keys[] = {"PRETTY_NAME", NULL};
  char text[FACT_MAX_BYTES];
  const char *problem = read_text("/etc/os-release", text, sizeof text);
  if (problem != NULL) return problem;
  char *value = line_value(text, keys, '=');
  if (value == NULL) return "/etc/os-release has no PRETTY_NAME";
  size_t length = strlen(value);
  if (length >= 2 && value[0] == '"' && value[length - 1] == '"') value[length - 1] = '\0', value++;
  event_string(name, value);
  return NULL;
}

static const char *python(const char *name) {
  (void)name;
  return "the native runner uses none";
}

static const char *libc(const char *name) {
#if defined(__ANDROID__)
  event_string(name, "bionic");
  return NULL;
#else
  void *symbol = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
  const char *(*version)(void);
  char text[NAME_BYTES];
  if (symbol == NULL) return "the system does not tell";
  memcpy(&version, &symbol, sizeof version);
  snprintf(text, sizeof text, "glibc-%s", version());
  event_string(name, text);
  return NULL;
#endif
}

static const char *boot_id(const char *name) {
  char text[NAME_BYTES];
  const char *problem = read_text("/proc/sys/kernel/random/boot_id", text, sizeof text);
  if (problem == NULL) event_string(name, text);
  return problem;
}

static const char *meminfo(const char *name, const char *key) {
  const char *keys[] = {key, NULL};
  char text[FACT_MAX_BYTES];
  const char *problem = read_text("/proc/meminfo", text, sizeof text);
  if (problem != NULL) return problem;
  const char *value = line_value(text, keys, ':');
  if (value == NULL) return "/proc/meminfo does not tell it";
  event_integer(name, strtoll(value, NULL, 10) * 1024);
  return NULL;
}

static const char *memory_total(const char *name) { return meminfo(name, "MemTotal"); }
static const char *memory_available(const char *name) { return meminfo(name, "MemAvailable"); }

/* One cpufreq file of every core, as texts. */
static const char *per_core(const char *file, char (*texts)[NAME_BYTES], size_t *count) {
  static char names[MAX_ENTRIES][NAME_BYTES];
  *count = list_entries(CPU_FOLDER, "cpu", true, names);
  bool any = false;
  const char *problem = NULL;
  for (size_t i = 0; i < *count; i++) {
    char path[SYSFS_BYTES];
    snprintf(path, sizeof path, CPU_FOLDER "/%.63s/cpufreq/%s", names[i], file);
    const char *why = read_text(path, texts[i], NAME_BYTES);
    if (why == NULL) any = true;
    else problem = why;
  }
  return any ? problem : "no cpufreq in sysfs";
}

static const char *governor(const char *name) {
  static char texts[MAX_ENTRIES][NAME_BYTES];
  size_t count;
  const char *problem = per_core("scaling_governor", texts, &count);
  if (problem != NULL) return problem;
  qsort(texts, count, NAME_BYTES, by_text);
  event_open(name, '[');
  for (size_t i = 0; i < count; i++)
    if (i == 0 || strcmp(texts[i], texts[i - 1]) != 0) event_string(NULL, texts[i]);
  event_close(']');
  return NULL;
}

static const char *frequencies(const char *name, const char *file) {
  static char texts[MAX_ENTRIES][NAME_BYTES];
  size_t count;
  const char *problem = per_core(file, texts, &count);
  if (problem != NULL) return problem;
  event_open(name, '[');
  for (size_t i = 0; i < count; i++) event_integer(NULL, strtoll(texts[i], NULL, 10) * 1000);
  event_close(']');
  return NULL;
}

static const char *frequency_max(const char *name) { return frequencies(name, "cpuinfo_max_freq"); }
static const char *frequency_now(const char *name) { return frequencies(name, "scaling_cur_freq"); }

static const char *time_unix(const char *name) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  event_real(name, (double)now.tv_sec + (double)(now.tv_nsec / 1000000) / 1000);
  return NULL;
}

/* The first number of a file in /proc. */
static const char *first_number(const char *name, const char *path) {
  char text[NAME_BYTES], *end;
  const char *problem = read_text(path, text, sizeof text);
  if (problem != NULL) return problem;
  double value = strtod(text, &end);
  if (end == text) return "it holds no number";
  event_real(name, value);
  return NULL;
}

static const char *uptime(const char *name) { return first_number(name, "/proc/uptime"); }
static const char *load(const char *name) { return first_number(name, "/proc/loadavg"); }

static const char *temperatures(const char *name) {
  static char names[MAX_ENTRIES][NAME_BYTES];
  size_t count = list_entries(THERMAL_FOLDER, "thermal_zone", false, names);
  bool any = false;
  for (size_t i = 0; i < count; i++) {
    char path[SYSFS_BYTES], kind[NAME_BYTES], value[NAME_BYTES], label[2 * NAME_BYTES], *end;
    snprintf(path, sizeof path, THERMAL_FOLDER "/%.63s/type", names[i]);
    if (read_text(path, kind, sizeof kind) != NULL) continue;
    snprintf(path, sizeof path, THERMAL_FOLDER "/%.63s/temp", names[i]);
    if (read_text(path, value, sizeof value) != NULL) continue;
    double milli = (double)strtol(value, &end, 10);
    if (end == value) continue;
    if (!any) event_open(name, '{');
    any = true;
    snprintf(label, sizeof label, "%s:%s", names[i] + strlen("thermal_zone"), kind);
    event_real(label, milli / 1000);
  }
  if (!any) return "no thermal zone in sysfs";
  event_close('}');
  return NULL;
}

static const struct {
  const char *name;
  Probe probe;
} facts[] = {
    {"cpu_model", cpu_model}, {"cores", cores}, {"affinity", affinity}, {"machine", machine}, {"kernel", kernel},
    {"os", os_name}, {"python", python}, {"libc", libc}, {"boot_id", boot_id}, {"memory_total_bytes", memory_total},
    {"governor", governor}, {"frequency_max_hz", frequency_max}, {"time_unix_s", time_unix}, {"uptime_s", uptime},
    {"load_1min", load}, {"memory_available_bytes", memory_available}, {"frequency_hz", frequency_now},
    {"temperature_c", temperatures},
};
enum { FACTS = sizeof facts / sizeof facts[0] };

void emit_facts(const char *when) {
  const char *missing[FACTS];
  event_begin("facts");
  event_string("when", when);
  event_open("values", '{');
  for (int i = 0; i < FACTS; i++)
    if ((missing[i] = facts[i].probe(facts[i].name)) != NULL) event_null(facts[i].name);
  event_close('}');
  event_open("missing", '{');
  for (int i = 0; i < FACTS; i++)
    if (missing[i] != NULL) event_string(facts[i].name, missing[i]);
  event_close('}');
  event_end();
}
