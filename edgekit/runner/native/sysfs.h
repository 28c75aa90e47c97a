/* Small files of /proc and /sys, and folders of them. */
#ifndef EDGEKIT_SYSFS_H
#define EDGEKIT_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_FOLDER "/sys/devices/system/cpu"
#define THERMAL_FOLDER "/sys/class/thermal"
enum { MAX_ENTRIES = 1024, NAME_BYTES = 64, SYSFS_BYTES = 512, FACT_MAX_BYTES = 8192 };

/* The beginning of a small file as text. Returns NULL, or why it cannot be read. */
const char *read_text(const char *path, char *text, size_t size);

/* The whole number that a small file begins with. Returns NULL, or why there is none. */
const char *read_number(const char *path, int64_t *number);

/* The entries of a folder that are `prefix` and something (digits, if so wished), sorted; none of one that is not there. */
size_t list_entries(const char *folder, const char *prefix, bool digits, char (*names)[NAME_BYTES]);

/* For qsort over texts of NAME_BYTES. */
int by_text(const void *a, const void *b);

/* The hottest thermal zone in °C, and the fastest core's frequency in Hz now. Return NULL, or why it is not known. */
const char *hottest_c(double *degrees);
const char *fastest_hz(int64_t *hz);

#endif
