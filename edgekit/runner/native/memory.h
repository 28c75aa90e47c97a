/* Peak resident memory of this process, from the kernel; never a polling thread. */
#ifndef EDGEKIT_MEMORY_H
#define EDGEKIT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Starts the peak anew (Linux 4.0+). Returns whether the kernel allowed it. */
bool memory_reset_peak(void);

/* The peak in bytes since the start or the last reset; -1 where the system does not tell. */
int64_t memory_peak_rss_bytes(void);

#endif
