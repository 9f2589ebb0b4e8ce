/* SPDX-License-Identifier: MIT */
/*
 * The record's file: pcapng with one interface of link type USER0 and
 * nanoseconds. Written in little-endian; only such files are read.
 */
#include "host/tapfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SECTION	0x0a0d0d0au
#define BLOCK_INTERFACE	1u
#define BLOCK_PACKET	6u
#define MAGIC		0x1a2b3c4du
#define LINK_USER0	147u
#define BLOCK_MAX	(1u << 20)	/* of blocks that others added */

static void put32(unsigned char *at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t get32(const unsigned char *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
		(uint32_t)at[3] << 24;
}

bool tap_file_begin(FILE *f)
{
	unsigned char b[28 + 32] = { 0 };

	put32(b, BLOCK_SECTION);
	put32(b + 4, 28);
	put32(b + 8, MAGIC);
	b[12] = 1;			/* version 1.0 */
	memset(b + 16, 0xff, 8);	/* of unknown length */
	put32(b + 24, 28);
	put32(b + 28, BLOCK_INTERFACE);
	put32(b + 32, 32);
	b[36] = LINK_USER0;
	b[44] = 9;			/* option if_tsresol ... */
	b[46] = 1;
	b[48] = 9;			/* ... 10^-9 s; then the end option */
	put32(b + 56, 32);
	return fwrite(b, sizeof(b), 1, f) == 1;
}

bool tap_file_put(FILE *f, const struct tap_event *e)
{
	unsigned char b[28 + TAP_BYTES_MAX + 3 + 4];
	size_t len = tap_encode(e, b + 28), padded = (len + 3) / 4 * 4;
	uint32_t total = (uint32_t)(28 + padded + 4);

	memset(b + 28 + len, 0, padded - len);
	put32(b, BLOCK_PACKET);
	put32(b + 4, total);
	put32(b + 8, 0);
	put32(b + 12, (uint32_t)(e->ns >> 32));
	put32(b + 16, (uint32_t)e->ns);
	put32(b + 20, (uint32_t)len);
	put32(b + 24, (uint32_t)len);
	put32(b + total - 4, total);
	return fwrite(b, total, 1, f) == 1;
}

/* A whole block in r->block: its length, 0 at the end, or -errno. */
static long next_block(struct tap_reader *r)
{
	unsigned char head[8];
	size_t n = fread(head, 1, sizeof(head), r->f);
	uint32_t len;

	if (n == 0 && feof(r->f))
		return 0;
	if (n < sizeof(head))
		return -EILSEQ;
	len = get32(head + 4);
	if (len < 12 || len % 4 || len > BLOCK_MAX)
		return -EILSEQ;
	memcpy(r->block, head, sizeof(head));
	n = fread(r->block + 8, 1, len - 8, r->f);
	return n == len - 8 && get32(r->block + len - 4) == len ? (long)len :
								 -EILSEQ;
}

int tap_reader_open(struct tap_reader *r, const char *path)
{
	long len;

	memset(r, 0, sizeof(*r));
	r->f = fopen(path, "rbe");
	if (!r->f)
		return -errno;
	r->block = malloc(BLOCK_MAX);
	len = r->block ? next_block(r) : -ENOMEM;
	if (len >= 28 && get32(r->block) == BLOCK_SECTION &&
	    get32(r->block + 8) == MAGIC)
		return 0;
	tap_reader_close(r);
	return len == -ENOMEM ? -ENOMEM : -EILSEQ;
}

void tap_reader_close(struct tap_reader *r)
{
	if (r->f)
		fclose(r->f);
	free(r->block);
	r->f = NULL;
	r->block = NULL;
}

int tap_reader_next(struct tap_reader *r, struct tap_event *e)
{
	for (;;) {
		long len = next_block(r);
		const unsigned char *b = r->block;
		uint32_t have;

		if (len <= 0)
			return (int)len;
		if (get32(b) != BLOCK_PACKET)
			continue;
		have = len >= 32 ? get32(b + 20) : UINT32_MAX;
		if (have > (uint32_t)len - 32)
			return -EILSEQ;
		e->ns = (uint64_t)get32(b + 12) << 32 | get32(b + 16);
		if (tap_decode(e, b + 28, have))
			return 1;
		r->skipped++;
	}
}
