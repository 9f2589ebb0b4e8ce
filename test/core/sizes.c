/* SPDX-License-Identifier: MIT */
/*
 * sizes.c - both halves of a ring at the ends of what sizes can be: filled to
 * the last entry, emptied, over the wraps of its indices.
 */
#include <stdlib.h>
#include <vireo/queue.h>
#include <vireo/spec/virtio.h>
#include <vireo/vq.h>
#include "vtest.h"

#define GUEST	0x100000u
#define MEM	(2u << 20)

static void on_queue(struct vio_queue *q)
{
	(void)q;
}

static void on_broken(struct vio_queue *q)
{
	FAIL("queue of %u broke", q->size);
}

static void on_log(struct vio_queue *q, enum vio_log_level level,
		   const char *text, const struct vio_named *v, unsigned nr)
{
	(void)q;
	(void)level;
	(void)v;
	(void)nr;
	vtest_note("%s", text);
}

static const struct vio_queue_owner owner = {
	.notify = on_queue, .broken = on_broken, .stopping = on_queue,
	.quiesced = on_queue, .log = on_log,
};

static void *zeroed(size_t len)
{
	void *p = aligned_alloc(4096, (len + 4095) / 4096 * 4096);

	CHECK(p != NULL);
	memset(p, 0, len);
	return p;
}

/* All of a ring there and back; the order is the same, as nothing waits. */
static void once_round(struct vio_vq *vq, struct vio_queue *q,
		       unsigned char *data, unsigned size)
{
	struct vio_seg seg = { data, 4 };
	struct vio_req *req;
	unsigned n;
	uint32_t len;

	for (n = 0; n < size; n++)
		CHECK_EQ(vio_vq_add(vq, &seg, 0, 1, vq), VIO_OK);
	CHECK_EQ(vio_vq_add(vq, &seg, 0, 1, vq), VIO_E_NOSPC);
	vio_vq_publish(vq);
	vio_queue_hold(q);
	for (n = 0; (req = vio_queue_pop(q)); n++) {
		vio_req_wrote(req, 0, 4);
		vio_req_done(req);
	}
	vio_queue_release(q);
	CHECK_EQ(n, size);
	for (n = 0; vio_vq_get(vq, &len); n++)
		CHECK_EQ(len, 4);
	CHECK_EQ(n, size);
	CHECK(!vq->broken);
}

static void ring(uint16_t size, bool packed, bool in_order)
{
	const struct vio_vq_limits vl = { .size = size };
	const struct vio_queue_limits ql = { size, 8, 0 };
	const uint16_t base = packed ? VIO_QUEUE_NEW_PACKED :
				       VIO_QUEUE_NEW_SPLIT;
	size_t room = vio_queue_storage_size(&ql);
	size_t priv_len = vio_vq_private_size(&vl);
	unsigned char *mem = zeroed(MEM), *priv = zeroed(priv_len);
	void *storage = zeroed(room);
	struct vio_region region = { .addr = { GUEST }, .size = MEM,
				     .host = mem, .perm = VIO_PERM_RW };
	struct vio_drv_mem m = {
		.window = { mem, vio_addr_of(GUEST), MEM },
		.shared = { mem, MEM - 4096 }, .priv = { priv, priv_len },
	};
	struct vio_features f = { { 0, 0 } };
	struct vio_mem map;
	struct vio_queue q;
	struct vio_vq vq;

	vio_feature_set(&f, VIRTIO_F_VERSION_1);
	if (packed)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (in_order)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	vtest_note("%u%s%s", size, packed ? ", packed" : "",
		   in_order ? ", in order" : "");
	CHECK_EQ(vio_vq_init(&vq, &vl, &f, &m), VIO_OK);
	CHECK_EQ(vio_mem_init(&map, &region, 1), VIO_OK);
	CHECK_EQ(vio_queue_init(&q, NULL, 0, &ql, storage, room), VIO_OK);
	q.owner = &owner;
	q.features = &f;
	CHECK_EQ(vio_queue_start(&q, &map, &vq.layout, base, base), VIO_OK);
	/* Indices of 16 bits come round with the third. */
	for (unsigned i = 0; i < 5; i++)
		once_round(&vq, &q, mem + MEM - 4096, size);
	CHECK_EQ(vio_queue_stop(&q), 0);
	free(storage);
	free(priv);
	free(mem);
}

TEST("rings of one entry and of 32768, both halves, filled to the last", "")
{
	static const struct { uint16_t size; bool packed; } of[] = {
		{ 1, false }, { 2, false }, { 16384, false },
		{ 32768, false }, { 1, true }, { 3, true }, { 32767, true },
		{ 32768, true },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(of); i++)
		for (unsigned in_order = 0; in_order < 2; in_order++)
			ring(of[i].size, of[i].packed, in_order);
}
