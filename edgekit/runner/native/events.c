#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "supervise.h"

static int output = 1;
static struct {
  char *text;
  size_t used, room;
  bool first; /* no comma before the next member */
} line;
static int64_t last_ns;

int events_take_stdout(void) {
  int moved = fcntl(1, F_DUPFD_CLOEXEC, 0); /* of this process alone: a host waits until it is closed */
  if (moved < 0 || dup2(2, 1) < 0) _exit(1); /* there is no way left to say so */
  return output = moved;
}

static void append(const char *text, size_t length) {
  if (line.room - line.used < length) {
    size_t room = (line.room + length) * 2;
    char *grown = realloc(line.text, room);
    if (grown == NULL) _exit(1);
    line.text = grown;
    line.room = room;
  }
  memcpy(line.text + line.used, text, length);
  line.used += length;
}

static void append_text(const char *text) { append(text, strlen(text)); }

static void append_quoted(const char *text) {
  const char *end = text + strlen(text);
  append("\"", 1);
  while (text < end) {
    unsigned char c = (unsigned char)*text;
    size_t length = utf8_length(text, end);
    char escaped[8];
    if (c == '"' || c == '\\' || c < 0x20 || c == 0x7F) {
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      append_text(escaped);
    } else {
      append(length == 0 ? "?" : text, length == 0 ? 1 : length);
    }
    text += length == 0 ? 1 : length;
  }
  append("\"", 1);
}

static void name_it(const char *name) {
  if (!line.first) append(",", 1);
  line.first = false;
  if (name == NULL) return;
  append_quoted(name);
  append(":", 1);
}

void event_begin(const char *event) {
  line.used = 0;
  append("{", 1);
  line.first = true;
  event_string("event", event);
}

void event_null(const char *name) {
  name_it(name);
  append_text("null");
}

void event_bool(const char *name, bool value) {
  name_it(name);
  append_text(value ? "true" : "false");
}

void event_integer(const char *name, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%" PRId64, value);
  name_it(name);
  append_text(text);
}

void event_real(const char *name, double value) {
  char text[40];
  if (!isfinite(value)) {
    event_null(name);
    return;
  }
  snprintf(text, sizeof text, "%.15g", value); /* shorter where that is the same number */
  if (strtod(text, NULL) != value) snprintf(text, sizeof text, "%.17g", value);
  if (strpbrk(text, ".e") == NULL) strcat(text, ".0"); /* it stays a real number for whoever reads it */
  name_it(name);
  append_text(text);
}

void event_string(const char *name, const char *text) {
  if (text == NULL) {
    event_null(name);
    return;
  }
  name_it(name);
  append_quoted(text);
}

void event_bytes(const char *name, const void *bytes, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *from = bytes;
  name_it(name);
  append("\"", 1);
  for (size_t i = 0; i < size; i += 3) {
    size_t left = size - i < 3 ? size - i : 3;
    unsigned group = (unsigned)from[i] << 16;
    if (left > 1) group |= (unsigned)from[i + 1] << 8;
    if (left > 2) group |= from[i + 2];
    char text[4] = {digits[group >> 18], digits[group >> 12 & 63], digits[group >> 6 & 63], digits[group & 63]};
    if (left < 3) text[3] = '=';
    if (left < 2) text[2] = '=';
    append(text, 4);
  }
  append("\"", 1);
}

void event_open(const char *name, char bracket) {
  name_it(name);
  append(&bracket, 1);
  line.first = true;
}

void event_close(char bracket) {
  append(&bracket, 1);
  line.first = false;
}

void event_integers(const char *name, const int64_t *values, size_t count) {
  event_open(name, '[');
  for (size_t i = 0; i < count; i++) event_integer(NULL, values[i]);
  event_close(']');
}

void event_end(void) {
  append("}\n", 2);
  size_t written = 0;
  supervisor_line_begins();
  while (written < line.used) {
    ssize_t some = write(output, line.text + written, line.used - written);
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) {
      supervisor_host_gone();
      _exit(1);
    }
    written += (size_t)some;
  }
  supervisor_line_ends();
  last_ns = clock_ns();
}

bool event_pass(const char *name, int64_t value, const char *event, size_t length) {
  if (length < 3 || event[0] != '{' || event[length - 1] != '}') return false;
  line.used = 0;
  append("{", 1);
  line.first = true;
  event_integer(name, value);
  append(",", 1);
  append(event + 1, length - 2);
  event_end();
  return true;
}

void heartbeat(void) {
  if (clock_ns() - last_ns < HEARTBEAT_MS * INT64_C(1000000)) return;
  event_begin("progress");
  event_end();
}
