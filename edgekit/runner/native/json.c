#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *at, *end;
  JsonValue *values;
  size_t used;
  char *strings; /* where the next string goes; all of them together are shorter than the text */
  const char *problem;
} Reader;

static JsonValue *wrong(Reader *reader, const char *problem) {
  if (reader->problem == NULL) reader->problem = problem;
  return NULL;
}

static void skip_space(Reader *reader) {
  while (reader->at < reader->end && strchr(" \t\n\r", *reader->at) != NULL && *reader->at != '\0') reader->at++;
}

static bool take(Reader *reader, char expected) {
  if (reader->at >= reader->end || *reader->at != expected) return false;
  reader->at++;
  return true;
}

static bool take_word(Reader *reader, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) return false;
  reader->at += length;
  return true;
}

/* By table 3-7 of Unicode 15. */
size_t utf8_length(const char *at, const char *end) {
  const unsigned char *s = (const unsigned char *)at;
  size_t left = (size_t)(end - at);
  unsigned char low = 0x80, high = 0xBF;
  size_t length;
  if (s[0] < 0x80) return 1;
  if (s[0] >= 0xC2 && s[0] <= 0xDF) length = 2;
  else if (s[0] >= 0xE0 && s[0] <= 0xEF) length = 3;
  else if (s[0] >= 0xF0 && s[0] <= 0xF4) length = 4;
  else return 0;
  if (s[0] == 0xE0) low = 0xA0;
  if (s[0] == 0xED) high = 0x9F;
  if (s[0] == 0xF0) low = 0x90;
  if (s[0] == 0xF4) high = 0x8F;
  if (left < length || s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if (s[i] < 0x80 || s[i] > 0xBF) return 0;
  return length;
}

static bool read_hex(Reader *reader, uint32_t *code) {
  *code = 0;
  for (int i = 0; i < 4; i++) {
    if (reader->at >= reader->end) return false;
    char c = *reader->at++;
    uint32_t digit;
    if (c >= '0' && c <= '9') digit = (uint32_t)(c - '0');
    else if (c >= 'a' && c <= 'f') digit = (uint32_t)(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F') digit = (uint32_t)(c - 'A') + 10;
    else return false;
    *code = *code * 16 + digit;
  }
  return true;
}

static void put_utf8(Reader *reader, uint32_t code) {
  if (code < 0x80) {
    *reader->strings++ = (char)code;
    return;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
  *reader->strings++ = (char)(lead[more] | (code >> (6 * more)));
  while (more-- > 0) *reader->strings++ = (char)(0x80 | ((code >> (6 * more)) & 0x3F));
}

/* The code point of \uXXXX, the second half of a surrogate pair included. */
static bool read_escaped_code(Reader *reader, uint32_t *code) {
  uint32_t low;
  if (!read_hex(reader, code)) return false;
  if (*code >= 0xD800 && *code <= 0xDBFF) {
    if (!take(reader, '\\') || !take(reader, 'u') || !read_hex(reader, &low) || low < 0xDC00 || low > 0xDFFF)
      return false;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
  } else if (*code >= 0xDC00 && *code <= 0xDFFF) {
    return false;
  }
  return *code != 0;
}

static const char *read_string(Reader *reader) {
  static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  const char *start = reader->strings;
  if (!take(reader, '"')) return wrong(reader, "a string was expected"), NULL;
  while (reader->at < reader->end) {
    unsigned char c = (unsigned char)*reader->at;
    if (c == '"') {
      reader->at++;
      *reader->strings++ = '\0';
      return start;
    }
    if (c < 0x20) return wrong(reader, "a string has a control character"), NULL;
    if (c != '\\') {
      size_t length = utf8_length(reader->at, reader->end);
      if (length == 0) return wrong(reader, "a string is not UTF-8"), NULL;
      memcpy(reader->strings, reader->at, length);
      reader->strings += length;
      reader->at += length;
      continue;
    }
    reader->at++;
    if (take(reader, 'u')) {
      uint32_t code;
      if (!read_escaped_code(reader, &code)) return wrong(reader, "a string has a wrong \\u escape"), NULL;
      put_utf8(reader, code);
      continue;
    }
    const char *name = reader->at < reader->end && *reader->at != '\0' ? strchr(names, *reader->at) : NULL;
    if (name == NULL) return wrong(reader, "a string has an unknown escape"), NULL;
    *reader->strings++ = meanings[name - names];
    reader->at++;
  }
  return wrong(reader, "a string has no end"), NULL;
}

static size_t skip_digits(Reader *reader) {
  const char *start = reader->at;
  while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') reader->at++;
  return (size_t)(reader->at - start);
}

static bool read_number(Reader *reader, JsonValue *value) {
  char copy[64];
  const char *start = reader->at;
  bool real = false;
  take(reader, '-');
  if (!take(reader, '0') && skip_digits(reader) == 0) return false;
  if (take(reader, '.')) {
    real = true;
    if (skip_digits(reader) == 0) return false;
  }
  if (take(reader, 'e') || take(reader, 'E')) {
    real = true;
    if (!take(reader, '+')) take(reader, '-');
    if (skip_digits(reader) == 0) return false;
  }
  size_t length = (size_t)(reader->at - start);
  if (length >= sizeof copy) return false;
  memcpy(copy, start, length);
  copy[length] = '\0';
  errno = 0;
  value->kind = real ? JSON_REAL : JSON_INTEGER;
  value->real = strtod(copy, NULL);
  if (!isfinite(value->real)) return false;
  errno = 0;
  if (!real) value->integer = strtoll(copy, NULL, 10);
  return errno == 0;
}

static JsonValue *read_value(Reader *reader, int depth);

static JsonValue *read_members(Reader *reader, JsonValue *parent, int depth) {
  bool named = parent->kind == JSON_OBJECT;
  char closing = named ? '}' : ']';
  JsonValue **link = &parent->first;
  skip_space(reader);
  if (take(reader, closing)) return parent;
  for (;;) {
    const char *key = NULL;
    skip_space(reader);
    if (named) {
      if ((key = read_string(reader)) == NULL) return NULL;
      if (json_member(parent, key) != NULL) return wrong(reader, "a key stands twice in one object");
      skip_space(reader);
      if (!take(reader, ':')) return wrong(reader, "a colon was expected");
    }
    JsonValue *value = read_value(reader, depth);
    if (value == NULL) return NULL;
    value->key = key;
    *link = value;
    link = &value->next;
    parent->count++;
    skip_space(reader);
    if (take(reader, closing)) return parent;
    if (!take(reader, ',')) return wrong(reader, "a comma or the end of a list was expected");
  }
}

static JsonValue *read_value(Reader *reader, int depth) {
  if (depth > JSON_MAX_DEPTH) return wrong(reader, "it is nested too deeply");
  if (reader->used == JSON_MAX_VALUES) return wrong(reader, "it has too many values");
  JsonValue *value = &reader->values[reader->used++];
  *value = (JsonValue){.kind = JSON_NULL};
  skip_space(reader);
  if (reader->at >= reader->end) return wrong(reader, "it ends early");
  switch (*reader->at) {
    case '{':
    case '[':
      value->kind = *reader->at++ == '{' ? JSON_OBJECT : JSON_ARRAY;
      return read_members(reader, value, depth + 1);
    case '"':
      value->kind = JSON_STRING;
      value->string = read_string(reader);
      return value->string != NULL ? value : NULL;
    case 't':
    case 'f':
      value->kind = JSON_BOOL;
      value->integer = *reader->at == 't';
      return take_word(reader, value->integer ? "true" : "false") ? value : wrong(reader, "an unknown word");
    case 'n':
      return take_word(reader, "null") ? value : wrong(reader, "an unknown word");
    default:
      return read_number(reader, value) ? value : wrong(reader, "no value, or a number out of range");
  }
}

const char *json_parse(const char *text, size_t size, JsonDocument *document) {
  *document = (JsonDocument){0};
  if (size > JSON_MAX_BYTES) return "it is too long";
  document->values = malloc(JSON_MAX_VALUES * sizeof(JsonValue));
  document->strings = malloc(size + 1);
  if (document->values == NULL || document->strings == NULL) {
    json_free(document);
    return "there is no memory for it";
  }
  Reader reader = {.at = text, .end = text + size, .values = document->values, .strings = document->strings};
  document->root = read_value(&reader, 0);
  skip_space(&reader);
  if (document->root != NULL && reader.at != reader.end) wrong(&reader, "something follows the value");
  if (reader.problem != NULL) json_free(document);
  return reader.problem;
}

void json_free(JsonDocument *document) {
  free(document->values);
  free(document->strings);
  *document = (JsonDocument){0};
}

const JsonValue *json_member(const JsonValue *object, const char *key) {
  for (const JsonValue *member = object->first; member != NULL; member = member->next)
    if (member->key != NULL && strcmp(member->key, key) == 0) return member;
  return NULL;
}
