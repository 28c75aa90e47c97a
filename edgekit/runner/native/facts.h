/* What a device says of itself, by the names of docs/formats/run.md: each fact has a value, or a reason for having none. */
#ifndef EDGEKIT_FACTS_H
#define EDGEKIT_FACTS_H

#include <stddef.h>

enum { FACT_MAX_BYTES = 8192 };

/* The `facts` event; `when` is "before", "after" or "now". */
void emit_facts(const char *when);

/* The beginning of a small file as text. Returns NULL, or why it cannot be read. */
const char *read_text(const char *path, char *text, size_t size);

#endif
