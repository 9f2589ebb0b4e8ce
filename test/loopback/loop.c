/* SPDX-License-Identifier: MIT */
/* Memory, and who moves next; see loop.h. */
#define _GNU_SOURCE	/* memfd_create */
#include "loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE		4096u
#define REGION		(256u * PAGE)
#define PRIV		(1u << 20)
#define OWN		(4u << 20)
#define RINGS		REGION		/* rings lie in the first region */

static unsigned char *map_file(int fd, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/*
 * The device sees the file in three regions with a page of nothing between
 * them, while their guest addresses follow each other: a buffer may cross
 * from one to the next.
 */
static void map_device(struct loop *l, int fd)
{
	size_t room = LOOP_REGIONS * (REGION + PAGE);
	unsigned i;

	l->device_map = mmap(NULL, room, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(l->device_map != MAP_FAILED);
	for (i = 0; i < LOOP_REGIONS; i++) {
		unsigned char *at = l->device_map + i * (REGION + PAGE);

		CHECK(mmap(at, REGION, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, fd,
			   (off_t)i * REGION) == at);
		l->region[i].addr = vio_addr_of(LOOP_GUEST_BASE + i * REGION);
		l->region[i].size = REGION;
		l->region[i].host = at;
		l->region[i].perm = VIO_PERM_RW;
	}
	CHECK_EQ(vio_mem_init(&l->mem, l->region, LOOP_REGIONS), VIO_OK);
}

void loop_init(struct loop *l, unsigned nr, uint16_t ctx_size, uint64_t seed)
{
	unsigned i;
	int fd;

	memset(l, 0, sizeof(*l));
	l->rand = vtest_rand_init(seed);
	l->steps_left = 10000000;
	l->file_size = LOOP_REGIONS * REGION;
	fd = memfd_create("loop", MFD_CLOEXEC);
	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, (off_t)l->file_size), 0);
	l->window.host = map_file(fd, l->file_size);
	l->window.addr = vio_addr_of(LOOP_GUEST_BASE);
	l->window.size = l->file_size;
	map_device(l, fd);
	l->mem_fd = fd;
	l->priv = malloc(PRIV);
	CHECK(l->priv);
	l->drv_mem.window = l->window;
	l->drv_mem.shared.at = l->window.host;
	l->drv_mem.shared.left = RINGS;
	l->drv_mem.priv.at = l->priv;
	l->drv_mem.priv.left = PRIV;
	l->data.at = l->window.host + RINGS;
	/* The last page is for what a bus may need. */
	l->data.left = l->file_size - RINGS - PAGE;
	l->limits.size_max = 256;
	l->limits.seg_max = 64;
	l->limits.ctx_size = ctx_size;
	for (i = 0; i < nr; i++) {
		size_t len = vio_queue_storage_size(&l->limits);

		l->storage[i] = aligned_alloc(64, (len + 63) / 64 * 64);
		CHECK(l->storage[i]);
		CHECK_EQ(vio_queue_init(&l->queue[i], NULL, (uint16_t)i,
					&l->limits, l->storage[i], len),
			 VIO_OK);
	}
}

void loop_bounce(struct loop *l)
{
	size_t half = l->data.left / 2 / PAGE * PAGE;
	struct vio_window pool = { l->data.at, vio_addr_of(l->window.addr.v +
		(uint64_t)(l->data.at - l->window.host)), half };

	struct vio_arena busy;

	/* Legacy devices know physical addresses alone. */
	if (loop_legacy)
		return;
	l->own = malloc(OWN + half);
	CHECK(l->own);
	busy = (struct vio_arena){ l->own + OWN, half };
	CHECK_EQ(vio_bounce_init(&l->bounce, &pool, 256, &busy), VIO_OK);
	l->data.at = l->own;
	l->data.left = OWN;
	l->dma = (struct vio_dma){ .ops = &vio_bounce_ops, .ctx = &l->bounce,
				   .translated = true };
	l->drv_mem.dma = &l->dma;
	/* What the driver may reach stays; buffers do not lie in it. */
	l->drv_mem.window.size -= half;
}

static void log_line(void *ctx, enum vio_log_level level, const char *text,
		     const struct vio_named *v, unsigned nr)
{
	struct loop *l = ctx;

	(void)level;
	(void)v;
	(void)nr;
	l->last_log = text;
}

void loop_adopt(struct loop *l, struct vio_dev *dev)
{
	l->dev = dev;
	l->log = (struct vio_log){ log_line, l };
	/* So that every test runs on both layouts. */
	vio_feature_set(&dev->offered, VIRTIO_F_RING_PACKED);
	if (!loop_legacy)
		vio_dev_suspendable(dev);
	if (l->own)
		vio_dev_behind_iommu(dev);
}

void loop_fini(struct loop *l)
{
	unsigned i;

	if (l->detach)
		l->detach(l);
	vio_dev_reset(l->dev);
	for (i = 0; i < LOOP_QUEUES; i++)
		free(l->storage[i]);
	free(l->own);
	free(l->priv);
	munmap(l->window.host, l->file_size);
	munmap(l->device_map, LOOP_REGIONS * (REGION + PAGE));
	close(l->mem_fd);
}

void *loop_buffer(struct loop *l, size_t len)
{
	void *p = vio_arena_take(&l->data, len, 1);

	CHECK(p);
	return p;
}

struct vio_features loop_features(unsigned set)
{
	struct vio_features f = { { 0, 0 } };

	vio_feature_set(&f, VIRTIO_F_VERSION_1);
	if (set & LOOP_EVENT_IDX)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	if (set & LOOP_INDIRECT)
		vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	if (set & LOOP_IN_ORDER)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	if (set & LOOP_PACKED)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (set & LOOP_BOUNCE)
		vio_feature_set(&f, VIRTIO_F_ACCESS_PLATFORM);
	return f;
}

static bool service_one(struct loop *l, unsigned i)
{
	unsigned max = l->budget_max ? l->budget_max
				     : 1 + (unsigned)vtest_below(&l->rand, 8);
	enum vio_service done;

	if (!l->kicked[i] || !l->started[i])
		return false;
	l->kicked[i] = false;
	done = l->service ? l->service(l, i, max) :
			    vio_queue_service(&l->queue[i], max);
	if (done == VIO_SERVICE_MORE)
		l->kicked[i] = true;
	return true;
}

bool loop_step(struct loop *l)
{
	unsigned first = (unsigned)vtest_below(&l->rand, LOOP_QUEUES + 1), n;

	CHECK(l->steps_left-- > 0);
	for (n = 0; n <= LOOP_QUEUES; n++) {
		unsigned who = (first + n) % (LOOP_QUEUES + 1);

		if (who < LOOP_QUEUES) {
			if (service_one(l, who))
				return true;
		} else if (l->backend_step && l->backend_step(l->backend_ctx)) {
			return true;
		}
	}
	return l->bus_step && l->bus_step(l);
}
