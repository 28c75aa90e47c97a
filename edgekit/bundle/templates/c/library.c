#define _POSIX_C_SOURCE 200809L
#include "library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { FOLDER_BYTES = 4096 };

void *edgekit_library_open(const char *path, const char *name, edgekit_error *error) {
  void *library = dlopen(path != NULL ? path : name, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL)
    edgekit_fail(error, "%s cannot be loaded: %s", path != NULL ? path : name, dlerror());
  return library;
}

bool edgekit_library_symbol(void *library, const char *name, void *slot) {
  void *address = dlsym(library, name);
  memcpy(slot, &address, sizeof address); /* ISO C has no cast from an object's address to a function's */
  return address != NULL;
}

bool edgekit_wheel_version(const char *path, const char *package, char *version, size_t bytes) {
  static const char suffix[] = ".dist-info";
  char folder[FOLDER_BYTES];
  if (path == NULL || strlen(path) >= sizeof folder) return false;
  memcpy(folder, path, strlen(path) + 1);
  for (int up = 0; up < 2; up++) { /* site-packages/PACKAGE/library */
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder) return false;
    *slash = '\0';
  }
  DIR *entries = opendir(folder);
  if (entries == NULL) return false;
  bool found = false;
  size_t begins = strlen(package) + 1, ends = strlen(suffix);
  for (struct dirent *entry; !found && (entry = readdir(entries)) != NULL;) {
    size_t length = strlen(entry->d_name);
    if (length <= begins + ends || strncmp(entry->d_name, package, begins - 1) != 0) continue;
    if (entry->d_name[begins - 1] != '-' || strcmp(entry->d_name + length - ends, suffix) != 0) continue;
    found = length - begins - ends < bytes;
    if (found) snprintf(version, bytes, "%.*s", (int)(length - begins - ends), entry->d_name + begins);
  }
  closedir(entries);
  return found;
}

bool edgekit_older(const char *a, const char *b) {
  int x[3] = {0}, y[3] = {0};
  sscanf(a, "%9d.%9d.%9d", &x[0], &x[1], &x[2]);
  sscanf(b, "%9d.%9d.%9d", &y[0], &y[1], &y[2]);
  for (int i = 0; i < 3; i++)
    if (x[i] != y[i]) return x[i] < y[i];
  return false;
}
