/* SPDX-License-Identifier: MIT */
/*
 * guest.c - see guest.h.
 *
 * The first byte: bits 0 to 3 choose ring features, bits 4 to 6 the size of
 * the rings. Then moves, each a byte (modulo the number of moves) and its
 * arguments: see moves[]. Legal moves are among them, since random bytes alone
 * seldom make a ring that is right enough to get anywhere.
 */
#include "fuzz/guest.h"

#include <stdio.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#define SEG_MAX		16
#define BUDGET		16
#define MOVES_MOST	2000

#define DESC_AT(q)	((q) * 0x1000u)
#define DRIVER_AT(q)	((q) * 0x1000u + 0x400)
#define DEVICE_AT(q)	((q) * 0x1000u + 0x800)

/* The driver knows all features; what it does not want it leaves out. */
static const unsigned choices[] = {
	VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_IN_ORDER,
	VIRTIO_F_RING_PACKED,
};

void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "must hold: %s\n", what);
	abort();
}

/* -- the fuzzer's bytes -------------------------------------------------- */

size_t bytes_take(struct bytes *b, size_t len, const uint8_t **at)
{
	if (len > b->left)
		len = b->left;
	*at = b->at;
	b->at += len;
	b->left -= len;
	return len;
}

static uint32_t number(struct bytes *b, size_t len)
{
	const uint8_t *at;
	uint32_t v = 0;

	len = bytes_take(b, len, &at);
	for (size_t i = 0; i < len; i++)
		v |= (uint32_t)at[i] << (8 * i);
	return v;
}

uint8_t bytes_u8(struct bytes *b)
{
	return (uint8_t)number(b, 1);
}

uint16_t bytes_u16(struct bytes *b)
{
	return (uint16_t)number(b, 2);
}

uint32_t bytes_u32(struct bytes *b)
{
	return number(b, 4);
}

/* -- the transport: a driver that hears nothing -------------------------- */

static void on_queue(void *ctx, struct vio_queue *q)
{
	struct guest *g = ctx;

	must(q >= g->queue && q < g->queue + g->nr_queues,
	     "upcalls name a queue of the device");
}

static void on_config(void *ctx)
{
	(void)ctx;
}

static void on_log(void *ctx, enum vio_log_level level, const char *text,
		   const struct vio_named *v, unsigned nr)
{
	(void)ctx;
	(void)level;
	must(text[0] != '\0', "a log line says something");
	for (unsigned i = 0; i < nr; i++)
		must(v[i].name != NULL, "each number has a name");
}

static const struct vio_transport_ops transport = {
	.queue_notify = on_queue,
	.queue_ready = on_queue,
	.config_changed = on_config,
};

/* -- moves --------------------------------------------------------------- */

static void start_queues(struct guest *g)
{
	uint16_t base = g->packed ? VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;

	for (unsigned i = 0; i < g->nr_queues; i++) {
		struct vio_queue_layout at = {
			g->size, { DESC_AT(i) }, { DRIVER_AT(i) },
			{ DEVICE_AT(i) }
		};

		if (g->queue[i].state == VIO_QUEUE_STOPPED)
			vio_queue_start(&g->queue[i], &g->mem, &at, base,
					base);
		g->next[i] = 0;
	}
}

static void bring_up(struct guest *g, uint8_t choice)
{
	struct vio_features f = *vio_dev_offered(g->dev);

	for (unsigned i = 0; i < VIO_ARRAY_LEN(choices); i++)
		if (!(choice >> i & 1))
			vio_feature_clear(&f, choices[i]);
	g->packed = vio_has(&f, VIRTIO_F_RING_PACKED);
	vio_dev_set_status(g->dev, VIRTIO_STATUS_ACKNOWLEDGE);
	vio_dev_set_status(g->dev, VIRTIO_STATUS_ACKNOWLEDGE |
			   VIRTIO_STATUS_DRIVER);
	vio_dev_set_features(g->dev, &f);
	vio_dev_set_status(g->dev, 11);
	start_queues(g);
	vio_dev_set_status(g->dev, 15);
}

static void move_write(struct guest *g)
{
	uint16_t at = bytes_u16(&g->in);
	size_t len = bytes_u8(&g->in);
	const uint8_t *from;

	len = bytes_take(&g->in, len, &from);
	if (len > GUEST_RAM - at)
		len = GUEST_RAM - at;
	if (len)
		memcpy(g->ram + at, from, len);
}

static void move_service(struct guest *g)
{
	unsigned q = bytes_u8(&g->in) % g->nr_queues;

	vio_queue_service(&g->queue[q], BUDGET);
	must(g->queue[q].inflight <= g->queue[q].limits.size_max,
	     "no more in flight than the ring has entries");
}

static void move_poll(struct guest *g)
{
	vio_queue_poll(&g->queue[bytes_u8(&g->in) % g->nr_queues], BUDGET);
}

static void move_host(struct guest *g)
{
	uint8_t how = bytes_u8(&g->in);

	if (g->host_step)
		g->host_step(g->host_ctx, how);
}

static void move_config_write(struct guest *g)
{
	uint8_t off = bytes_u8(&g->in);
	const uint8_t *from;
	size_t len = bytes_u8(&g->in) % 16;

	len = bytes_take(&g->in, len, &from);
	vio_dev_config_write(g->dev, off, from, (uint32_t)len);
}

static void move_config_read(struct guest *g)
{
	uint32_t off = bytes_u32(&g->in);
	unsigned char buf[32];

	vio_dev_config_read(g->dev, off, buf, sizeof(buf));
}

static void move_status(struct guest *g)
{
	vio_dev_set_status(g->dev, bytes_u8(&g->in));
}

static void move_reset(struct guest *g)
{
	uint8_t choice = bytes_u8(&g->in);

	vio_dev_set_status(g->dev, 0);
	if (vio_dev_status(g->dev) == 0)
		bring_up(g, choice);
}

static void move_queue_stop(struct guest *g)
{
	vio_queue_stop(&g->queue[bytes_u8(&g->in) % g->nr_queues]);
	start_queues(g);
}

/* A descriptor where the driver would write the next one. */
static void move_desc(struct guest *g)
{
	unsigned q = bytes_u8(&g->in) % g->nr_queues;
	uint8_t flags = bytes_u8(&g->in);
	uint64_t addr = bytes_u16(&g->in);
	uint32_t len = bytes_u16(&g->in);
	unsigned slot = g->next[q] % g->size;
	bool wrap = !(g->next[q] / g->size & 1);
	unsigned char *at = g->ram + DESC_AT(q) + slot * 16;

	if (g->packed) {
		uint16_t f = (flags & 7) | (wrap ? PVIRTQ_DESC_F_AVAIL :
					    PVIRTQ_DESC_F_USED);
		struct pvirtq_desc d = { vio_to_le64(addr), vio_to_le32(len),
			vio_to_le16((uint16_t)slot), vio_to_le16(f) };

		memcpy(at, &d, sizeof(d));
	} else {
		struct virtq_desc d = { vio_to_le64(addr), vio_to_le32(len),
			vio_to_le16(flags & 7),
			vio_to_le16((uint16_t)((slot + 1) % g->size)) };

		memcpy(at, &d, sizeof(d));
	}
	g->next[q]++;
}

/* Split: show the chain that ends before the next descriptor. */
static void move_avail(struct guest *g)
{
	unsigned q = bytes_u8(&g->in) % g->nr_queues;
	uint16_t back = bytes_u8(&g->in);
	unsigned char *ring = g->ram + DRIVER_AT(q);
	uint16_t head = (uint16_t)(g->next[q] - 1 - back) % g->size;
	uint16_t idx = (uint16_t)(ring[2] | ring[3] << 8);

	if (g->packed)
		return;
	ring[4 + idx % g->size * 2] = (unsigned char)head;
	ring[5 + idx % g->size * 2] = 0;
	idx++;
	ring[2] = (unsigned char)idx;
	ring[3] = (unsigned char)(idx >> 8);
}

static void (*const moves[])(struct guest *g) = {
	move_write, move_service, move_host, move_desc, move_avail,
	move_config_write, move_config_read, move_status, move_reset,
	move_queue_stop, move_poll,
};

/* -- life ---------------------------------------------------------------- */

void guest_init(struct guest *g, const uint8_t *data, size_t size,
		unsigned nr_queues, uint16_t ctx_size)
{
	const struct vio_queue_limits limits = { 16, SEG_MAX, ctx_size };
	size_t need = vio_queue_storage_size(&limits);

	memset(g, 0, sizeof(*g));
	g->in = (struct bytes){ data, size };
	g->nr_queues = nr_queues;
	g->ram = calloc(1, GUEST_RAM);
	g->rom = calloc(1, GUEST_ROM);
	must(g->ram && g->rom, "there is memory");
	g->region[0] = (struct vio_region){ .addr = { 0 }, .size = GUEST_RAM,
		.host = g->ram, .perm = VIO_PERM_RW };
	g->region[1] = (struct vio_region){ .addr = { GUEST_ROM_ADDR },
		.size = GUEST_ROM, .host = g->rom, .perm = VIO_PERM_READ };
	must(vio_mem_init(&g->mem, g->region, 2) == VIO_OK, "memory is right");
	for (unsigned i = 0; i < nr_queues; i++) {
		g->storage[i] = aligned_alloc(64, (need + 63) / 64 * 64);
		must(g->storage[i] && vio_queue_init(&g->queue[i], NULL,
				(uint16_t)i, &limits, g->storage[i], need) ==
		     VIO_OK, "a queue can be made");
	}
}

void guest_run(struct guest *g, struct vio_dev *dev)
{
	const struct vio_log log = { on_log, g };
	uint8_t choice = bytes_u8(&g->in);

	g->dev = dev;
	g->size = (uint16_t)(1u << (choice >> 4 & 7) % 5);
	vio_dev_attach(dev, &transport, g, &log);
	bring_up(g, choice);
	for (unsigned i = 0; g->in.left && i < MOVES_MOST; i++)
		moves[bytes_u8(&g->in) % VIO_ARRAY_LEN(moves)](g);

	vio_dev_set_status(dev, 0);
	for (unsigned i = 0; g->host_step && i < 1000 &&
	     vio_dev_status(dev); i++)
		g->host_step(g->host_ctx, 0);
	must(vio_dev_status(dev) == 0, "a reset comes to its end");
	for (unsigned i = 0; i < g->nr_queues; i++) {
		must(g->queue[i].inflight == 0, "nothing is left in flight");
		free(g->storage[i]);
	}
	must(g->mem.pins == 0, "no one holds on to memory");
	free(g->ram);
	free(g->rom);
}
