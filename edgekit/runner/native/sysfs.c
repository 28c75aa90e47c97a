#include "sysfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *read_text(const char *path, char *text, size_t size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return strerror(errno);
  size_t have = 0;
  ssize_t got = 0;
  while (have < size - 1 && (got = read(file, text + have, size - 1 - have)) > 0) have += (size_t)got;
  const char *problem = got < 0 ? strerror(errno) : NULL;
  close(file);
  while (have > 0 && isspace((unsigned char)text[have - 1])) have--;
  text[have] = '\0';
  return problem;
}

const char *read_number(const char *path, int64_t *number) {
  char text[NAME_BYTES], *end;
  const char *problem = read_text(path, text, sizeof text);
  if (problem != NULL) return problem;
  *number = strtoll(text, &end, 10);
  return end == text ? "it holds no number" : NULL;
}

int by_text(const void *a, const void *b) { return strcmp(a, b); }

size_t list_entries(const char *folder, const char *prefix, bool digits, char (*names)[NAME_BYTES]) {
  DIR *open_folder = opendir(folder);
  size_t count = 0;
  if (open_folder == NULL) return 0;
  for (struct dirent *entry; count < MAX_ENTRIES && (entry = readdir(open_folder)) != NULL;) {
    const char *rest = entry->d_name + strlen(prefix);
    if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || strlen(entry->d_name) >= NAME_BYTES) continue;
    if (digits && (*rest == '\0' || rest[strspn(rest, "0123456789")] != '\0')) continue;
    strcpy(names[count++], entry->d_name);
  }
  closedir(open_folder);
  qsort(names, count, NAME_BYTES, by_text);
  return count;
}

const char *hottest_c(double *degrees) {
  static char names[MAX_ENTRIES][NAME_BYTES];
  size_t count = list_entries(THERMAL_FOLDER, "thermal_zone", false, names);
  bool any = false;
  for (size_t i = 0; i < count; i++) {
    char path[SYSFS_BYTES];
    int64_t milli;
    snprintf(path, sizeof path, THERMAL_FOLDER "/%.63s/temp", names[i]);
    if (read_number(path, &milli) != NULL) continue;
    double found = (double)milli / 1000;
    if (!any || found > *degrees) *degrees = found;
    any = true;
  }
  return any ? NULL : "no thermal zone in sysfs";
}

const char *fastest_hz(int64_t *hz) {
  static char names[MAX_ENTRIES][NAME_BYTES];
  size_t count = list_entries(CPU_FOLDER, "cpu", true, names);
  *hz = 0;
  for (size_t i = 0; i < count; i++) {
    char path[SYSFS_BYTES];
    int64_t khz;
    snprintf(path, sizeof path, CPU_FOLDER "/%.63s/cpufreq/scaling_cur_freq", names[i]);
    if (read_number(path, &khz) == NULL && khz * 1000 > *hz) *hz = khz * 1000;
  }
  return *hz > 0 ? NULL : "no cpufreq in sysfs";
}
