/* SHA-256 (FIPS 180-4): what a model's file is believed by. */
#ifndef EDGEKIT_SHA256_H
#define EDGEKIT_SHA256_H

#include <stddef.h>

enum { SHA256_HEX_BYTES = 65 };

/* The sum of `bytes` bytes, as 64 hex digits. */
void edgekit_sha256_hex(const unsigned char *data, size_t bytes, char hex[SHA256_HEX_BYTES]);

#endif
