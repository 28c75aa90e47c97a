/* Event lines: one JSON object a line, each in one write to a descriptor that nothing else can write to.
 *
 * Runtimes print to standard output whenever they like. So the real one is moved away before anything is loaded, and
 * descriptor 1 becomes a copy of standard error. A host that is gone (EPIPE) ends the process with status 1.
 *
 *     event_begin("warmup"); event_bool("steady", true); event_end();
 *
 * Inside an array names are NULL. Numbers that are not finite become null: JSON has none of them. */
#ifndef EDGEKIT_EVENTS_H
#define EDGEKIT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEARTBEAT_MS = 500 };

/* Takes standard output for the events alone. Returns the descriptor that they go to. */
int events_take_stdout(void);

void event_begin(const char *event);
void event_end(void);

void event_null(const char *name);
void event_bool(const char *name, bool value);
void event_integer(const char *name, int64_t value);
void event_real(const char *name, double value);
void event_string(const char *name, const char *text); /* NULL becomes null; what is not UTF-8 becomes '?' */
void event_bytes(const char *name, const void *bytes, size_t size); /* as base64 */
void event_integers(const char *name, const int64_t *values, size_t count);
void event_open(const char *name, char bracket); /* '{' or '[' */
void event_close(char bracket);                  /* '}' or ']' */

/* Passes on an event of another process, a line without its end, with one member more. Returns whether it is one. */
bool event_pass(const char *name, int64_t value, const char *event, size_t length);

/* A `progress` line if none of any kind went out for half a second: silence means a hang. */
void heartbeat(void);

#endif
