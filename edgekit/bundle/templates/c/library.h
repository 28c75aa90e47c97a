/* Shared libraries: which file is opened, what is in it, and which version it is. */
#ifndef EDGEKIT_LIBRARY_H
#define EDGEKIT_LIBRARY_H

#include "runtime.h"

/* Opens the library at `path`, or `name` where the system's loader finds it. NULL, and why. */
void *edgekit_library_open(const char *path, const char *name, edgekit_error *error);

/* Stores the address of a function in `*slot`, a function pointer of any type. Whether it is there. */
bool edgekit_library_symbol(void *library, const char *name, void *slot);

/* The version that pip wrote beside the package that a library lies in. Whether there is one. */
bool edgekit_wheel_version(const char *path, const char *package, char *version, size_t bytes);

/* Whether version `a` is older than `b`: numbers and dots, up to three. */
bool edgekit_older(const char *a, const char *b);

#endif
