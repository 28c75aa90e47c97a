/* Shared libraries: which file is opened, and what is in it. */
#ifndef EDGEKIT_LIBRARY_H
#define EDGEKIT_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#include "json.h"

enum { LIBRARY_PATH_BYTES = 4096 };

typedef struct {
  void *handle;
  char path[LIBRARY_PATH_BYTES]; /* as it was opened */
} Library;

/* Opens a library: the first path of `candidates` (a list of strings, or NULL) whose file name begins with `name` and
 * that is there, or else `name`, which the loader looks for as it always does. A path whose file is there and cannot be opened ends the search: a broken
 * installation is not silently replaced. Returns NULL, or why there is none. */
const char *library_open(Library *library, const JsonValue *candidates, const char *name, bool global);

/* Stores the address of a function in `*slot` (a function pointer of any type). Returns whether it is there. */
bool library_symbol(const Library *library, const char *name, void *slot);

/* The version that is written beside a library, or beside the package that it lies in: in its own folder (`edgekit
 * provision`, of a library alone), or up to `up` folders above (pip), there is a folder `NAME-VERSION.dist-info`. Returns
 * whether there is. */
bool library_package_version(const Library *library, int up, const char *package, char *version, size_t size);

#endif
