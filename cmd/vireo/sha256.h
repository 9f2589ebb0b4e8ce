/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4), to compare files with what a guest says of them. */
#ifndef VIREO_SHA256_H
#define VIREO_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_HEX = 64 };

struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);

/* @hex: room for SHA256_HEX + 1 characters. */
void sha256_end(struct sha256 *s, char *hex);

/* Of a file. Return 0 or a negative errno. */
int sha256_file(const char *path, char *hex);

#endif
