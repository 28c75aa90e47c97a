#include "memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "facts.h"

bool memory_reset_peak(void) {
  int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  bool written = write(file, "5", 1) == 1;
  close(file);
  return written;
}

int64_t memory_peak_rss_bytes(void) {
  char text[FACT_MAX_BYTES];
  struct rusage usage;
  if (read_text("/proc/self/status", text, sizeof text) == NULL) {
    const char *found = strstr(text, "\nVmHWM:");
    if (found != NULL) return strtoll(found + strlen("\nVmHWM:"), NULL, 10) * 1024;
  }
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : -1;
}
