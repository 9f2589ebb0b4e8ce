/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/inflight.h - the record of requests in flight, as the vhost-user
 * protocol lays it out (version 1): one part per queue, each beginning with
 * one of these heads, which as many entries follow as desc_num says.
 *
 * All numbers are in the machine's own byte order.
 */
#ifndef VIREO_SPEC_INFLIGHT_H
#define VIREO_SPEC_INFLIGHT_H

#include <vireo/base.h>

#define INFLIGHT_VERSION	1	/* 0: nothing is recorded */
#define INFLIGHT_ALIGN		64	/* bytes; parts begin at multiples */

/* Both layouts begin with these. */
struct inflight_head {
	uint64_t features;	/* 0 */
	uint16_t version;
	uint16_t desc_num;
};

/* Split: one for each descriptor, in use where it is a chain's first. */
struct inflight_split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;		/* the head used before it, in a batch */
	uint64_t counter;	/* the order of fetching */
};

struct inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;	/* up to here the flags are right */
};

/* Packed: any entry can keep any descriptor; lists are linked. */
struct inflight_packed_desc {
	uint8_t inflight;	/* of a list's first entry, as last and num */
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;		/* the descriptor as it was fetched */
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[10];
};

VIO_STATIC_ASSERT(sizeof(struct inflight_split_desc) == 16, "as in the text");
VIO_STATIC_ASSERT(offsetof(struct inflight_split_desc, next) == 6,
		  "as in the text");
VIO_STATIC_ASSERT(sizeof(struct inflight_split) == 16, "as in the text");
VIO_STATIC_ASSERT(sizeof(struct inflight_packed_desc) == 32,
		  "as in the text");
VIO_STATIC_ASSERT(offsetof(struct inflight_packed_desc, addr) == 24,
		  "as in the text");
VIO_STATIC_ASSERT(sizeof(struct inflight_packed) == 32, "as in the text");
VIO_STATIC_ASSERT(offsetof(struct inflight_packed, used_idx) == 16,
		  "as in the text");

#endif
