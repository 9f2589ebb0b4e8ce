/* SPDX-License-Identifier: MIT */
/*
 * cursor.c - the bytes of a request, cut in every way: a cursor must give the
 * same bytes however the driver arranged them (2.7.4).
 */
#include "test/core/rig.h"
#include <vireo/queue.h>
#include "vtest.h"

static struct rig r;
static struct vio_dev dev;
static struct vio_queue queue[1];

static enum vio_service nothing(struct vio_dev *d, struct vio_queue *q,
				unsigned budget)
{
	(void)d;
	(void)q;
	(void)budget;
	return VIO_SERVICE_WAIT;
}

static const struct vio_dev_ops ops = { .name = "none", .id = 4,
					.service = nothing };

/*
 * A request of @rd bytes to read, which count up from 0, and @wr to write,
 * each cut into random pieces through an indirect table.
 */
static struct vio_req *make(struct vtest_rand *rnd, unsigned rd, unsigned wr)
{
	const uint64_t table = RIG_DATA + 0x8000;
	const struct vio_features none = { { 0, 0 } };
	unsigned n = 0, done = 0, all = rd + wr;

	rig_init(&r, queue, 1, 0);
	vio_dev_init(&dev, &ops, &none, queue, 1, NULL, 0);
	rig_start_plain(&r, &dev);
	while (done < all) {
		unsigned room = (done < rd ? rd : all) - done;
		unsigned len = 1 + vtest_below(rnd, room);
		uint64_t at = (vtest_below(rnd, 2) ? RIG_DATA : RIG_HIGH) +
			      n * 256;

		if (n >= RIG_SEG_MAX - 8)
			len = room;
		for (unsigned i = 0; i < len && done < rd; i++)
			((unsigned char *)rig_at(&r, at))[i] = done + i;
		rig_indirect(&r, table, n, at, len,
			     (done < rd ? 0 : VIRTQ_DESC_F_WRITE) |
			     (done + len < all ? VIRTQ_DESC_F_NEXT : 0),
			     n + 1);
		done += len;
		n++;
	}
	rig_desc(&r, 0, table, n * 16, VIRTQ_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	return vio_queue_pop(&queue[0]);
}

TEST("any arrangement gives the same bytes", "split.device.message-framing.1")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned round = 0; round < 500; round++) {
		unsigned rd = 1 + vtest_below(&rnd, 120), pos = 0;
		struct vio_req *req = make(&rnd, rd, 1);
		struct vio_cursor c;
		unsigned char got[128];

		CHECK(req != NULL);
		c = vio_req_reader(req);
		while (pos < rd) {
			unsigned len = 1 + vtest_below(&rnd, rd - pos);

			if (vtest_below(&rnd, 4) == 0) {
				CHECK(vio_cursor_skip(&c, len));
			} else {
				CHECK(vio_cursor_read(&c, got, len));
				for (unsigned i = 0; i < len; i++)
					CHECK_EQ(got[i], pos + i);
			}
			pos += len;
		}
		CHECK_EQ(c.left, 0);
		CHECK(!vio_cursor_read(&c, got, 1));
		CHECK(!vio_cursor_skip(&c, 1));
	}
}

/* The bytes of a segment list, one after the other. */
static unsigned gather(const struct vio_seg *seg, unsigned nr,
		       unsigned char *to)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		CHECK_GT(seg[i].len, 0);
		memcpy(to + n, seg[i].base, seg[i].len);
		n += seg[i].len;
	}
	return n;
}

TEST("a payload is exactly its bytes, wherever the descriptors end",
     "split.device.message-framing.1")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned round = 0; round < 500; round++) {
		unsigned rd = 3 + vtest_below(&rnd, 100), nr = 0;
		unsigned off = vtest_below(&rnd, rd);
		unsigned len = 1 + vtest_below(&rnd, rd - off);
		struct vio_req *req = make(&rnd, rd, 1);
		unsigned char got[256];
		const struct vio_seg *seg;
		struct vio_cursor c;

		seg = vio_req_payload(req, false, off, len, &nr);
		CHECK(seg != NULL);
		CHECK_EQ(gather(seg, nr, got), len);
		for (unsigned i = 0; i < len; i++)
			CHECK_EQ(got[i], off + i);
		/* The request as a whole is unchanged. */
		c = vio_req_reader(req);
		CHECK(vio_cursor_read(&c, got, rd));
		for (unsigned i = 0; i < rd; i++)
			CHECK_EQ(got[i], i);
	}
}

TEST("a payload of the writable part leaves its tail for the status",
     "split.device.message-framing.1")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned round = 0; round < 500; round++) {
		unsigned wr = 2 + vtest_below(&rnd, 100), nr = 0;
		struct vio_req *req = make(&rnd, 16, wr);
		unsigned char got[256], status = 0xa5;
		const struct vio_seg *seg;

		seg = vio_req_payload(req, true, 0, wr - 1, &nr);
		CHECK(seg != NULL);
		for (unsigned i = 0; i < nr; i++)
			memset(seg[i].base, 0x11, seg[i].len);
		vio_req_wrote(req, 0, wr - 1);
		CHECK(vio_req_put(req, wr - 1, &status, 1));
		CHECK_EQ(req->written, wr);
		CHECK_EQ(gather(req->seg + req->nr_read, req->nr_write, got),
			 wr);
		for (unsigned i = 0; i < wr - 1; i++)
			CHECK_EQ(got[i], 0x11);
		CHECK_EQ(got[wr - 1], 0xa5);
	}
}

TEST("no byte is written past the writable part", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct vio_req *req = make(&rnd, 1, 5);
	struct vio_cursor c = vio_req_writer(req);
	unsigned nr;

	CHECK(!vio_cursor_write(&c, "123456", 6));
	CHECK_EQ(req->written, 0);
	CHECK(!vio_req_put(req, 5, "1", 1));
	CHECK(!vio_req_put(req, 0xffffffff, "12", 2));
	CHECK(!vio_req_payload(req, true, 5, 1, &nr));
	CHECK(!vio_req_payload(req, true, 1, 5, &nr));
	CHECK(!vio_req_payload(req, true, 2, 0xffffffff, &nr));
	CHECK(!vio_req_payload(req, true, 0, 0, &nr));
	CHECK(!vio_cursor_limit(&c, 6));
	CHECK(vio_cursor_limit(&c, 2));
	CHECK(!vio_cursor_zero(&c, 3));
	CHECK(vio_cursor_zero(&c, 2));
}

TEST("the used length counts what was written without a gap",
     "split.device.virtqueue-used-ring.2")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct vio_req *req = make(&rnd, 1, 10);

	CHECK(vio_req_put(req, 9, "s", 1));	/* a status, nothing else */
	CHECK_EQ(req->written, 0);
	vio_req_wrote(req, 0, 4);
	CHECK_EQ(req->written, 4);
	vio_req_wrote(req, 2, 1);
	CHECK_EQ(req->written, 4);
	vio_req_wrote(req, 4, 5);
	CHECK(vio_req_put(req, 9, "s", 1));
	CHECK_EQ(req->written, 10);
}

struct source {
	uint32_t left;
	unsigned calls;
	bool lies;
};

static size_t give(void *ctx, void *dst, size_t len)
{
	struct source *s = ctx;
	size_t n = len < s->left ? len : s->left;

	memset(dst, 0x5a, n);
	s->left -= (uint32_t)n;
	s->calls++;
	return s->lies ? SIZE_MAX : n;
}

TEST("a request is filled until its source, its room or the limit ends", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	const uint32_t left[] = { 0, 1, 57, 100, 1000 };
	const uint32_t most[] = { 0, 1, 64, 100, UINT32_MAX };

	for (unsigned i = 0; i < 25; i++) {
		struct vio_req *req = make(&rnd, 1, 100);
		struct source s = { .left = left[i % 5] };
		uint32_t want = 100;

		if (most[i / 5] < want)
			want = most[i / 5];
		if (s.left < want)
			want = s.left;
		CHECK_EQ(vio_req_fill(req, most[i / 5], give, &s), want);
		CHECK_EQ(req->written, want);
		CHECK_EQ(s.left, left[i % 5] - want);
		CHECK_LE(s.calls, 100);
	}
}

TEST("a source that claims more than it was asked for is not believed", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct vio_req *req = make(&rnd, 1, 100);
	struct source s = { .left = 1000, .lies = true };

	CHECK_EQ(vio_req_fill(req, UINT32_MAX, give, &s), 100);
	CHECK_EQ(req->written, 100);
}

TEST("spans cover the bytes in order, at most as many as asked", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct vio_req *req = make(&rnd, 100, 1);
	struct vio_cursor c = vio_req_reader(req);
	unsigned pos = 0;

	while (c.left) {
		unsigned char got[128];
		struct vio_seg seg[2];
		uint32_t taken;
		unsigned n = vio_cursor_spans(&c, 33, seg, 2, &taken);

		CHECK_GT(n, 0);
		CHECK_LE(n, 2);
		CHECK_LE(taken, 33);
		CHECK_EQ(gather(seg, n, got), taken);
		for (unsigned i = 0; i < taken; i++)
			CHECK_EQ(got[i], pos + i);
		pos += taken;
	}
	CHECK_EQ(pos, 100);
}
