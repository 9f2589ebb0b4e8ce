/* SPDX-License-Identifier: MIT */
/* Device types as people and tables see them: names, features, fields. */
#ifndef PROBE_TYPES_H
#define PROBE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct type_feature {
	uint8_t bit;
	const char *name;
	/* Bits of which at least one has to be offered with it; -1: none. */
	int8_t needs[3];
};

enum field_kind { FIELD_LE, FIELD_BYTES, FIELD_TEXT };

struct type_field {
	const char *name;
	uint16_t offset;
	uint8_t len;
	uint8_t kind;
	int8_t feature;		/* exists with this feature; -1: always */
};

struct type {
	uint32_t id;
	const char *name;
	const struct type_feature *features;	/* ends with a NULL name */
	const struct type_field *fields;	/* likewise */
	uint16_t config_len;
	uint8_t queues;		/* the least that a driver sets up */
};

const struct type *type_by_name(const char *name);
/* The names that exist, each with a blank before it. */
void type_list(char *out, size_t len);

/*
 * What device it may be, from what it offers: vhost-user does not say. NULL:
 * nobody could tell. @config: @len bytes, 0 where there is no configuration.
 */
const struct type *type_guess(uint64_t features, const unsigned char *config,
			      size_t len, unsigned queues);

/* The name of a feature bit; NULL if nobody gave it one. */
const char *type_feature_name(const struct type *type, unsigned bit);

/* Of the configuration; numbers of up to 8 bytes, little-endian. */
uint64_t field_value(const struct type_field *f, const unsigned char *config);

#endif
