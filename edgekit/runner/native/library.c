#define _GNU_SOURCE
#include "library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char problem[2 * LIBRARY_PATH_BYTES];

const char *library_open(Library *library, const JsonValue *candidates, const char *name, bool global) {
  int mode = RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL);
  const JsonValue *candidate = candidates != NULL ? candidates->first : NULL;
  for (; candidate != NULL; candidate = candidate->next) {
    const char *slash = strrchr(candidate->string, '/');
    const char *file = slash != NULL ? slash + 1 : candidate->string;
    if (strncmp(file, name, strlen(name)) != 0 || access(candidate->string, F_OK) != 0) continue;
    library->handle = dlopen(candidate->string, mode);
    if (library->handle == NULL) {
      snprintf(problem, sizeof problem, "%s cannot be loaded: %s", candidate->string, dlerror());
      return problem;
    }
    snprintf(library->path, sizeof library->path, "%s", candidate->string);
    return NULL;
  }
  library->handle = dlopen(name, mode);
  if (library->handle != NULL) {
    snprintf(library->path, sizeof library->path, "%s", name);
    return NULL;
  }
  snprintf(problem, sizeof problem, "%s was found neither in %zu given places nor by the loader: %s", name,
           candidates != NULL ? candidates->count : 0, dlerror());
  return problem;
}

bool library_symbol(const Library *library, const char *name, void *slot) {
  void *address = dlsym(library->handle, name);
  memcpy(slot, &address, sizeof address); /* ISO C has no cast from an object's address to a function's */
  return address != NULL;
}

/* The version in the name of a folder's member `PACKAGE-VERSION.dist-info`. */
static bool version_in(const char *folder, const char *package, char *version, size_t size) {
  static const char suffix[] = ".dist-info";
  DIR *open_folder = opendir(folder);
  if (open_folder == NULL) return false;
  bool found = false;
  size_t start = strlen(package) + 1;
  for (struct dirent *entry; !found && (entry = readdir(open_folder)) != NULL;) {
    size_t length = strlen(entry->d_name);
    if (length <= start + strlen(suffix) || strncmp(entry->d_name, package, start - 1) != 0) continue;
    if (entry->d_name[start - 1] != '-' || strcmp(entry->d_name + length - strlen(suffix), suffix) != 0) continue;
    found = length - start - strlen(suffix) < size;
    if (found) snprintf(version, size, "%.*s", (int)(length - start - strlen(suffix)), entry->d_name + start);
  }
  closedir(open_folder);
  return found;
}

bool library_package_version(const Library *library, int up, const char *package, char *version, size_t size) {
  char folder[LIBRARY_PATH_BYTES];
  snprintf(folder, sizeof folder, "%s", library->path);
  for (int i = 0; i <= up; i++) {
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder) return false;
    *slash = '\0';
    if (version_in(folder, package, version, size)) return true;
  }
  return false;
}
