/* SPDX-License-Identifier: MIT */
/* A device on a ring that the input wrote; see ring.h. */
#include "ring.h"

#include <vireo/spec/virtio.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STORAGE	65536u
#define ROUNDS	64u	/* services of one input, at most */

/* The page ends where the next one faults. */
static unsigned char *page(void)
{
	static unsigned char *p;

	if (p)
		return p;
	p = mmap(NULL, 3 * FUZZ_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0);
	if (p == MAP_FAILED ||
	    mprotect(p + FUZZ_PAGE, FUZZ_PAGE, PROT_READ | PROT_WRITE) < 0)
		abort();
	p += FUZZ_PAGE;
	return p;
}

static void notify(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static void config_changed(void *ctx)
{
	struct fuzz_ring *f = ctx;

	f->config_changes++;
}

static const struct vio_transport_ops transport = {
	.queue_notify = notify,
	.queue_ready = notify,
	.config_changed = config_changed,
};

void fuzz_ring_init(struct fuzz_ring *f, unsigned nr_queues,
		    uint16_t ctx_size)
{
	static unsigned char storage[FUZZ_QUEUES][STORAGE]
		__attribute__((aligned(64)));
	const struct vio_queue_limits limits = {
		.size_max = 16, .seg_max = 8, .ctx_size = ctx_size,
	};
	unsigned i;

	memset(f, 0, sizeof(*f));
	for (i = 0; i < nr_queues; i++)
		if (vio_queue_init(&f->queue[i], NULL, (uint16_t)i, &limits,
				   storage[i], STORAGE) != VIO_OK)
			abort();
	f->region.size = FUZZ_PAGE;
	f->region.host = page();
	f->region.perm = VIO_PERM_RW;
	if (vio_mem_init(&f->mem, &f->region, 1) != VIO_OK)
		abort();
}

static void negotiate(struct fuzz_ring *f, uint8_t set)
{
	static const unsigned bits[] = {
		VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_IN_ORDER,
		VIRTIO_F_RING_PACKED,
	};
	struct vio_features want = *vio_dev_offered(f->dev);
	uint32_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(bits); i++)
		if (!(set >> i & 1))
			vio_feature_clear(&want, bits[i]);
	vio_dev_set_status(f->dev, status);
	if (vio_dev_set_features(f->dev, &want) != VIO_OK)
		abort();
	status |= VIRTIO_STATUS_FEATURES_OK;
	vio_dev_set_status(f->dev, status);
	vio_dev_set_status(f->dev, status | VIRTIO_STATUS_DRIVER_OK);
}

static void serve(struct vio_queue *q, bool (*step)(void *ctx), void *ctx)
{
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		enum vio_service r = vio_queue_service(q, 8);

		if (!(step && step(ctx)) && r != VIO_SERVICE_MORE)
			return;
	}
}

void fuzz_ring_run(struct fuzz_ring *f, struct vio_dev *dev, unsigned index,
		   const uint8_t *data, size_t size,
		   bool (*step)(void *ctx), void *ctx)
{
	struct vio_queue_layout layout = {
		.driver = { 0x100 }, .device = { 0x140 },
	};
	const uint16_t base = data[0] >> 3 & 1 ? 0x8000 : 0;
	size_t len = size - 2 < FUZZ_PAGE ? size - 2 : FUZZ_PAGE;

	f->dev = dev;
	vio_dev_attach(dev, &transport, f, NULL);
	memset(f->region.host, 0, FUZZ_PAGE);
	memcpy(f->region.host, data + 2, len);
	negotiate(f, data[0]);
	layout.size = (uint16_t)(1u << data[1] % 5);
	if (vio_queue_start(&f->queue[index], &f->mem, &layout, base, base) ==
	    VIO_OK)
		serve(&f->queue[index], step, ctx);
	vio_dev_reset(dev);
	while (step && step(ctx))
		;
	/* Nothing may keep memory or requests after a reset. */
	if (vio_dev_status(dev) || f->mem.pins || f->queue[index].inflight)
		abort();
}
