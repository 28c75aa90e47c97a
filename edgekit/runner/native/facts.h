/* What a device says of itself, by the names of docs/formats/run.md: each fact has a value, or a reason for having none. */
#ifndef EDGEKIT_FACTS_H
#define EDGEKIT_FACTS_H

#include "sysfs.h"

/* The `facts` event; `when` is "before", "after" or "now". */
void emit_facts(const char *when);

#endif
