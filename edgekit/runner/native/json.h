/* A strict reader of JSON (RFC 8259) with bounds: what a request is written in.
 *
 * Stricter than most: no duplicate keys, no invalid UTF-8, no control characters in strings, no NUL even when escaped,
 * no number beyond int64 or double, nothing after the value. Bounded: JSON_MAX_BYTES of text, JSON_MAX_DEPTH levels,
 * JSON_MAX_VALUES values. It allocates twice, and frees both in `json_free`. */
#ifndef EDGEKIT_JSON_H
#define EDGEKIT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_MAX_BYTES = 1 << 18, JSON_MAX_DEPTH = 16, JSON_MAX_VALUES = 4096 };

typedef enum { JSON_NULL, JSON_BOOL, JSON_INTEGER, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT } JsonKind;

typedef struct JsonValue {
  JsonKind kind;
  const char *key;         /* its name in an object, else NULL */
  const char *string;      /* of a string, NUL-terminated UTF-8 */
  int64_t integer;         /* of an integer; 0 or 1 of a bool */
  double real;             /* of an integer and of a real */
  size_t count;            /* members of an array or object */
  struct JsonValue *first; /* the first member */
  struct JsonValue *next;  /* the next member of the parent */
} JsonValue;

typedef struct {
  JsonValue *root;
  JsonValue *values; /* memory of all values */
  char *strings;     /* memory of all strings */
} JsonDocument;

/* Reads `size` bytes. Returns NULL, or what is wrong with them; then there is nothing to free. */
const char *json_parse(const char *text, size_t size, JsonDocument *document);
void json_free(JsonDocument *document);

/* The member of that name, or NULL. */
const JsonValue *json_member(const JsonValue *object, const char *key);

/* The length of the well-formed UTF-8 sequence that begins before `end`, or 0 if there is none. */
size_t utf8_length(const char *at, const char *end);

#endif
