/* SPDX-License-Identifier: MIT */
/*
 * Hostile devices: the driver's half of the split ring, and the block driver,
 * against used rings that lie. The test writes the ring by hand; the driver
 * may lose the queue, never its mind.
 */
#include <vireo/driver_blk.h>

#include "vtest.h"


#define SIZE	16u

struct rig {
	struct vio_vq vq;
	unsigned char shared[16384] __attribute__((aligned(4096)));
	unsigned char priv[4096];
	unsigned tokens[SIZE];
};

static void rig_init(struct rig *r, bool in_order)
{
	struct vio_vq_limits limits = { .size = SIZE, .indirect_max = 4 };
	struct vio_features f = { { 0, 0 } };
	struct vio_drv_mem mem = { 0 };

	memset(r, 0, sizeof(*r));
	mem.window.host = r->shared;
	mem.window.addr = vio_addr_of(0x1000);
	mem.window.size = sizeof(r->shared);
	mem.shared.at = r->shared;
	mem.shared.left = 8192;
	mem.priv.at = r->priv;
	mem.priv.left = sizeof(r->priv);
	vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	if (in_order)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	CHECK_EQ(vio_vq_init(&r->vq, &limits, &f, &mem), VIO_OK);
}

/* Offer a buffer of @nr writable segments of 100 bytes. */
static void offer(struct rig *r, unsigned token, unsigned nr)
{
	struct vio_seg seg[8];
	unsigned i;

	for (i = 0; i < nr; i++) {
		seg[i].base = r->shared + 8192 + 100 * i;
		seg[i].len = 100;
	}
	CHECK_EQ(vio_vq_add(&r->vq, seg, 0, nr, &r->tokens[token]), VIO_OK);
}

static void used(struct rig *r, uint16_t slot, uint32_t id, uint32_t len)
{
	struct virtq_used_elem *ring = (void *)(r->vq.used + 1);

	ring[slot % SIZE].id = vio_to_le32(id);
	ring[slot % SIZE].len = vio_to_le32(len);
}

static void used_idx(struct rig *r, uint16_t idx)
{
	r->vq.used->idx = vio_to_le16(idx);
}

/* One buffer was offered as head 0; this is what the device says. */
static bool believed(uint32_t id, uint16_t idx, bool in_order)
{
	struct rig r;
	uint32_t len;
	void *token;

	rig_init(&r, in_order);
	offer(&r, 3, 1);
	vio_vq_publish(&r.vq);
	used(&r, 0, id, 100);
	used_idx(&r, idx);
	token = vio_vq_get(&r.vq, &len);
	CHECK_NE(token != NULL, r.vq.broken);
	if (!token) {
		CHECK(!vio_vq_pending(&r.vq));
		CHECK(!vio_vq_listen(&r.vq));
		CHECK(vio_vq_get(&r.vq, &len) == NULL);
		CHECK_EQ(vio_vq_add(&r.vq, &(struct vio_seg){ r.shared, 1 },
				    0, 1, &r), VIO_E_PEER);
	}
	return token == &r.tokens[3];
}

TEST("device: an id that is no buffer of ours breaks the queue", "")
{
	unsigned order;

	for (order = 0; order < 2; order++) {
		CHECK(believed(0, 1, order));
		CHECK(!believed(1, 1, order));
		CHECK(!believed(SIZE, 1, order));
		CHECK(!believed(0x10000, 1, order));
		CHECK(!believed(UINT32_MAX, 1, order));
	}
}

TEST("device: an id made of what is kept of a chain is no id", "")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, false);
	offer(&r, 0, 5);
	vio_vq_publish(&r.vq);
	used(&r, 0, (uint32_t)(r.vq.slot[0].word >> 32), 1);
	used_idx(&r, 1);
	CHECK(vio_vq_get(&r.vq, &len) == NULL);
	CHECK(r.vq.broken);
}

TEST("device: an index beyond what was offered breaks the queue", "")
{
	unsigned order;

	for (order = 0; order < 2; order++) {
		CHECK(!believed(0, 2, order));
		CHECK(!believed(0, SIZE, order));
		CHECK(!believed(0, 0xffff, order));
	}
}

TEST("device: a buffer used twice breaks the queue", "")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, false);
	offer(&r, 0, 1);
	offer(&r, 1, 1);
	vio_vq_publish(&r.vq);
	used(&r, 0, 0, 1);
	used(&r, 1, 0, 1);
	used_idx(&r, 2);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[0]);
	CHECK(vio_vq_get(&r.vq, &len) == NULL);
	CHECK(r.vq.broken);
}

TEST("device: an index that goes back breaks the queue", "")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, false);
	offer(&r, 0, 1);
	offer(&r, 1, 1);
	vio_vq_publish(&r.vq);
	used(&r, 0, 0, 1);
	used_idx(&r, 1);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[0]);
	used_idx(&r, 0);
	CHECK(vio_vq_get(&r.vq, &len) == NULL);
	CHECK(r.vq.broken);
}

TEST("device: what was added but not published cannot be used", "")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, false);
	offer(&r, 0, 1);
	used(&r, 0, 0, 1);
	used_idx(&r, 1);
	CHECK(vio_vq_get(&r.vq, &len) == NULL);
	CHECK(r.vq.broken);
}

TEST("device: a length beyond the buffer is cut to what was offered",
     "split.driver.virtqueue-used-ring.1")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, false);
	offer(&r, 0, 3);
	vio_vq_publish(&r.vq);
	used(&r, 0, 0, UINT32_MAX);
	used_idx(&r, 1);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[0]);
	CHECK_EQ(len, 300);
	CHECK_EQ(r.vq.stats.clamped, 1);
}

TEST("device: in order, a batch may not reach beyond the index", "")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, true);
	offer(&r, 0, 1);
	offer(&r, 1, 1);
	offer(&r, 2, 1);
	vio_vq_publish(&r.vq);
	used(&r, 0, 2, 100);
	used_idx(&r, 2);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[0]);
	CHECK(vio_vq_get(&r.vq, &len) == NULL);
	CHECK(r.vq.broken);
}

TEST("device: in order, one entry may end a batch", "")
{
	struct rig r;
	uint32_t len;

	rig_init(&r, true);
	offer(&r, 0, 1);
	offer(&r, 1, 1);
	offer(&r, 2, 1);
	vio_vq_publish(&r.vq);
	used(&r, 0, 2, 7);
	used_idx(&r, 3);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[0]);
	CHECK_EQ(len, 100);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[1]);
	CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[2]);
	CHECK_EQ(len, 7);
	CHECK(vio_vq_get(&r.vq, &len) == NULL);
	CHECK(!r.vq.broken);
}

/*
 * The device writes where it may not: descriptors, tables, available ring.
 * The driver never reads these, so nothing happens to its own bookkeeping.
 */
TEST("device: scribbling over the driver's areas confuses nobody",
     "core.driver.device-cleanup.1")
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	struct rig r;
	unsigned i, k;
	uint32_t len;

	rig_init(&r, false);
	for (i = 0; i < 1000; i++) {
		unsigned nr = 1 + (unsigned)vtest_below(&rand, 4);
		uint16_t head = r.vq.next_id;

		offer(&r, i % SIZE, nr);
		vio_vq_publish(&r.vq);
		vtest_fill(&rand, r.vq.desc, virtq_desc_bytes(SIZE));
		vtest_fill(&rand, r.vq.avail, virtq_avail_bytes(SIZE));
		vtest_fill(&rand, r.vq.table, SIZE * 4 * 16);
		used(&r, (uint16_t)i, head, 50);
		used_idx(&r, (uint16_t)(i + 1));
		CHECK(vio_vq_get(&r.vq, &len) == &r.tokens[i % SIZE]);
		CHECK_EQ(len, 50);
		for (k = 0; k < SIZE; k++)
			CHECK_EQ(r.vq.slot[k].word, UINT64_MAX);
		CHECK_EQ(r.vq.nr_free, SIZE);
	}
}

/* Offered tokens come back at most once each, whatever the ring says. */
static void random_ring(struct vtest_rand *rand, bool in_order)
{
	bool out[SIZE] = { false };
	unsigned i, steps;
	struct rig r;
	uint32_t len;

	rig_init(&r, in_order);
	for (steps = 0; steps < 200 && !r.vq.broken; steps++) {
		unsigned *token;

		i = (unsigned)vtest_below(rand, SIZE);
		if (!out[i] && r.vq.nr_free >= 4) {
			offer(&r, i, 1 + (unsigned)vtest_below(rand, 4));
			out[i] = true;
		}
		vio_vq_publish(&r.vq);
		used(&r, (uint16_t)vtest_below(rand, SIZE),
		     (uint32_t)vtest_below(rand, SIZE + 1),
		     (uint32_t)vtest_u64(rand));
		if (vtest_below(rand, 2))
			used_idx(&r, (uint16_t)(r.vq.used_next +
						vtest_below(rand, 3)));
		while ((token = vio_vq_get(&r.vq, &len))) {
			i = (unsigned)(token - r.tokens);
			CHECK_LT(i, SIZE);
			CHECK(out[i]);
			CHECK_LE(len, 400);
			out[i] = false;
		}
		CHECK_LE(r.vq.nr_free, SIZE);
	}
}

TEST("device: random used rings: each buffer comes back once at most", "")
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	unsigned i;

	for (i = 0; i < 5000; i++)
		random_ring(&rand, i & 1);
}

/* -- a device that changes its mind about how many queues it has --------- */

struct liar {
	uint32_t status;
	uint16_t queues;
};

static int liar_get_status(void *bus, uint32_t *status)
{
	*status = ((struct liar *)bus)->status;
	return VIO_OK;
}

static int liar_set_status(void *bus, uint32_t status)
{
	((struct liar *)bus)->status = status;
	return VIO_OK;
}

static int liar_get_features(void *bus, struct vio_features *f)
{
	(void)bus;
	*f = (struct vio_features){ { 0, 0 } };
	vio_feature_set(f, VIRTIO_F_VERSION_1);
	vio_feature_set(f, VIRTIO_BLK_F_MQ);
	return VIO_OK;
}

static int liar_set_features(void *bus, const struct vio_features *f)
{
	(void)bus;
	(void)f;
	return VIO_OK;
}

static int liar_config(void *bus, uint32_t off, void *dst, uint32_t len)
{
	struct virtio_blk_config c = { 0 };

	CHECK_LE(off + len, sizeof(c));
	c.num_queues = vio_to_le16(((struct liar *)bus)->queues);
	memcpy(dst, (char *)&c + off, len);
	return VIO_OK;
}

static int liar_queue_max(void *bus, uint16_t index, uint16_t *size)
{
	(void)bus;
	(void)index;
	*size = 4;
	return VIO_OK;
}

static int liar_queue_start(void *bus, uint16_t index,
			    const struct vio_queue_layout *layout)
{
	(void)bus;
	(void)layout;
	CHECK_LT(index, 2);
	return VIO_OK;
}

static const struct vio_bus_ops liar_bus = {
	.get_status = liar_get_status,
	.set_status = liar_set_status,
	.get_features = liar_get_features,
	.set_features = liar_set_features,
	.config_read = liar_config,
	.queue_max = liar_queue_max,
	.queue_start = liar_queue_start,
};

TEST("device: queues that appear later are not used", "")
{
	struct vio_vq_limits limits = { .size = 4, .indirect_max = 0 };
	struct vio_features wanted = vio_blkdrv_features();
	static unsigned char shared[16384] __attribute__((aligned(4096)));
	static unsigned char priv[4096];
	struct vio_drv_mem mem = {
		.window = { shared, { 0x1000 }, sizeof(shared) },
		.shared = { shared, sizeof(shared) },
		.priv = { priv, sizeof(priv) },
	};
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_FLUSH };
	struct liar liar = { .queues = 2 };
	struct vio_blkdrv blk;

	CHECK_EQ(vio_blkdrv_init(&blk, &liar_bus, &liar, &wanted, &limits, 2,
				 &mem), VIO_OK);
	CHECK_EQ(blk.nr_queues, 2);
	liar.queues = 0xffff;
	CHECK_EQ(vio_blkdrv_refresh(&blk), VIO_OK);
	CHECK_EQ(blk.nr_queues, 2);
	CHECK_LT(vio_blkdrv_submit(&blk, 2, &req), 0);
	liar.queues = 0;
	CHECK_EQ(vio_blkdrv_refresh(&blk), VIO_OK);
	CHECK_EQ(blk.nr_queues, 2);
}
