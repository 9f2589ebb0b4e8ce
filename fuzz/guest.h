/* SPDX-License-Identifier: MIT */
/*
 * guest.h - a hostile driver made of the fuzzer's bytes: guest memory, rings
 * that the bytes write, and the order in which things happen to a device.
 * Knows no device type. What the bytes mean: see guest.c.
 */
#ifndef FUZZ_GUEST_H
#define FUZZ_GUEST_H

#include <stdlib.h>
#include <string.h>
#include <vireo/dev.h>

#define GUEST_QUEUES	2
#define GUEST_RAM	0x10000u	/* bytes at address 0 */
#define GUEST_ROM	0x1000u		/* bytes that only the driver writes */
#define GUEST_ROM_ADDR	0x20000u

/* The fuzzer's bytes, taken from the front; zeroes when they are used up. */
struct bytes {
	const uint8_t *at;
	size_t left;
};

uint8_t bytes_u8(struct bytes *b);
uint16_t bytes_u16(struct bytes *b);
uint32_t bytes_u32(struct bytes *b);
/* Up to @len bytes in place; returns how many there are. */
size_t bytes_take(struct bytes *b, size_t len, const uint8_t **at);

struct guest {
	struct bytes in;
	struct vio_dev *dev;
	unsigned nr_queues;
	struct vio_queue queue[GUEST_QUEUES];
	void *storage[GUEST_QUEUES];
	unsigned char *ram;	/* allocated to the byte, so that a sanitizer */
	unsigned char *rom;	/* sees the first one past the end */
	struct vio_region region[2];
	struct vio_mem mem;
	bool packed;
	uint16_t size;			/* of each ring */
	uint16_t next[GUEST_QUEUES];	/* entry the legal moves write next */

	/* Something happens at the device's other end. May be NULL. */
	void (*host_step)(void *ctx, uint8_t how);
	void *host_ctx;
};

/* Memory and queues; then the target makes its device on g->queue. */
void guest_init(struct guest *g, const uint8_t *data, size_t size,
		unsigned nr_queues, uint16_t ctx_size);

/* Live the life that the bytes tell, and end it: everything is done then. */
void guest_run(struct guest *g, struct vio_dev *dev);

/* Says what went wrong and ends the program: an invariant does not hold. */
void must(bool holds, const char *what);

#endif
