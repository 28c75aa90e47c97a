/* The ways in which a request ends early. Both write the one `error` line and end the process with status 1. */
#ifndef EDGEKIT_FAILURE_H
#define EDGEKIT_FAILURE_H

#include <stddef.h>

#if defined(__GNUC__)
#define PRINTF_LIKE(text, values) __attribute__((format(printf, text, values)))
#else
#define PRINTF_LIKE(text, values)
#endif

/* Ends the run with an `error` event: a kind of docs/formats/runner-protocol.md, and a message. */
_Noreturn void fail(const char *kind, const char *format, ...) PRINTF_LIKE(2, 3);

/* malloc of `count` × `size` zeroed bytes; fails the run where there are none. */
void *allocate(size_t count, size_t size);

#endif
