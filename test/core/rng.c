/* SPDX-License-Identifier: MIT */
/* rng.c - the entropy device against rings written by hand. */
#include <vireo/rng.h>
#include "test/core/rig.h"
#include "vtest.h"

static struct rig r;
static struct vio_rng rng;
static struct vio_queue queue[1];
static size_t supply;		/* bytes the source still has */
static unsigned char next;

static size_t fill(void *source, void *dst, size_t len)
{
	unsigned char *to = dst;

	CHECK(source == &supply);
	if (len > supply)
		len = supply;
	supply -= len;
	for (size_t i = 0; i < len; i++)
		to[i] = ++next;
	return len;
}

static void start(size_t have)
{
	static const struct vio_rng_source_ops ops = { fill };

	supply = have;
	next = 0;
	rig_init(&r, queue, 1, vio_rng_ctx_size);
	CHECK_EQ(vio_rng_init(&rng, queue, &ops, &supply), VIO_OK);
	rig_start_plain(&r, &rng.dev);
}

static void expect_used(uint32_t want)
{
	uint32_t id, len = ~0u;

	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, want);
}

TEST("a buffer is filled, and the length says so",
     "entropy.device.device-operation.1")
{
	start(1000);
	rig_desc(&r, 0, RIG_DATA, 5, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT,
		 1);
	rig_desc(&r, 1, RIG_HIGH, 3, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	expect_used(8);
	CHECK_MEMEQ(rig_at(&r, RIG_DATA), "\1\2\3\4\5\0", 6);
	CHECK_MEMEQ(rig_at(&r, RIG_HIGH), "\6\7\10\0", 4);
	CHECK_EQ(rng.bytes, 8);
}

TEST("a dry source gives what it has, then waits; never an empty answer",
     "entropy.device.device-operation.1")
{
	uint32_t id, len;

	start(3);
	rig_desc(&r, 0, RIG_DATA, 8, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_avail(&r, 0);
	CHECK_EQ(vio_queue_service(&queue[0], 1), VIO_SERVICE_MORE);
	expect_used(3);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_WAIT);
	CHECK(!rig_used(&r, &id, &len));
	CHECK_EQ(queue[0].inflight, 0);
	supply = 100;
	vio_rng_ready(&rng);
	CHECK_EQ(r.ready, 1);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	expect_used(8);
}

TEST("a huge request is not answered whole, but answered",
     "entropy.device.device-operation.1")
{
	const uint64_t table = RIG_DATA;

	start(SIZE_MAX);
	for (unsigned i = 0; i < 40; i++)
		rig_indirect(&r, table, i, RIG_HIGH, RIG_LEN,
			     VIRTQ_DESC_F_WRITE |
			     (i < 39 ? VIRTQ_DESC_F_NEXT : 0), i + 1);
	rig_desc(&r, 0, table, 40 * 16, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	expect_used(65536);
}

TEST("readable bytes are not touched, an empty buffer comes back empty",
     "split.device.virtqueue-descriptor-table.1")
{
	start(1000);
	memset(rig_at(&r, RIG_DATA), 0x55, 16);
	rig_desc(&r, 0, RIG_DATA, 16, 0, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	expect_used(0);
	CHECK_EQ(*(unsigned char *)rig_at(&r, RIG_DATA), 0x55);
	CHECK_EQ(supply, 1000);
}

TEST("a source is required", "")
{
	CHECK_EQ(vio_rng_init(&rng, queue, NULL, NULL), VIO_E_INVAL);
}
