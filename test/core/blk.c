/* SPDX-License-Identifier: MIT */
/*
 * blk.c - the block device against rings written by hand: every request type,
 * every malformed request, features and configuration, cache modes.
 */
#include <vireo/blk.h>
#include "test/core/rig.h"
#include "vtest.h"

#define SECTORS	64u
#define HDR	RIG_DATA		/* request header */
#define PAY	(RIG_DATA + 0x400)	/* payload */
#define STATUS	(RIG_DATA + 0x3ff)	/* status byte */

static struct rig r;
static struct vio_blk blk;
static struct vio_queue queue[1];
static struct vio_blk_stats stats;
static unsigned char disk[SECTORS * 512];
static struct vio_blk_io seen[64];	/* what the back end was asked */
static unsigned nr_seen, commits;
static int answer;			/* what it answers */
static struct vio_blk_conf conf;

static void copy(const struct vio_blk_io *io, bool to_disk)
{
	uint64_t at = io->offset, sum = 0;

	for (unsigned i = 0; i < io->nr_seg; i++) {
		const struct vio_seg *s = &io->seg[i];

		if (to_disk)
			memcpy(disk + at, s->base, s->len);
		else
			memcpy(s->base, disk + at, s->len);
		at += s->len;
		sum += s->len;
	}
	CHECK_EQ(sum, io->len);
}

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	CHECK(ctx == disk);
	seen[nr_seen++ % 64] = *io;
	CHECK_LE(io->offset, sizeof(disk));
	CHECK_LE(io->len, sizeof(disk) - io->offset);
	if (answer == VIO_OK && io->op <= VIO_BLK_WRITE)
		copy(io, io->op == VIO_BLK_WRITE);
	if (answer == VIO_OK && io->op == VIO_BLK_WRITE_ZEROES)
		memset(disk + io->offset, 0, io->len);
	io->done(io, answer);
}

static void be_commit(void *ctx, unsigned q)
{
	CHECK(ctx == disk);
	CHECK_EQ(q, 0);
	commits++;
}

static const struct vio_blk_backend_ops ops = { .submit = be_submit,
						.commit = be_commit };

static void prepare(void)
{
	conf = (struct vio_blk_conf){
		.capacity_sectors = SECTORS, .seg_max = 30,
		.max_discard_sectors = 32, .max_discard_seg = 4,
		.max_write_zeroes_sectors = 32, .max_write_zeroes_seg = 4,
		.write_zeroes_may_unmap = true,
	};
	memcpy(conf.serial, "0123456789abcdefghij", 20);
	memset(&stats, 0, sizeof(stats));
	nr_seen = commits = 0;
	answer = VIO_OK;
	for (unsigned i = 0; i < sizeof(disk); i++)
		disk[i] = i / 512;
}

static void make(void)
{
	rig_init(&r, queue, 1, vio_blk_ctx_size);
	CHECK_EQ(vio_blk_init(&blk, &conf, queue, &ops, disk, &stats), VIO_OK);
}

static void start(void)
{
	prepare();
	make();
	rig_start_plain(&r, &blk.dev);
}

static void start_without(unsigned bit)
{
	struct vio_features f;

	make();
	f = *vio_dev_offered(&blk.dev);
	vio_feature_clear(&f, bit);
	rig_start(&r, &blk.dev, &f);
}

static void header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_req_hdr h = { vio_to_le32(type), vio_to_le32(0),
					vio_to_le64(sector) };

	memcpy(rig_at(&r, HDR), &h, sizeof(h));
	*(unsigned char *)rig_at(&r, STATUS) = 0xee;
}

/* Offer header, @out readable and @in writable bytes at PAY, status byte. */
static int request(uint32_t type, uint64_t sector, uint32_t out, uint32_t in)
{
	uint32_t id, len;

	header(type, sector);
	rig_desc(&r, 0, HDR, 16, VIRTQ_DESC_F_NEXT, out ? 1 : in ? 2 : 3);
	rig_desc(&r, 1, PAY, out, VIRTQ_DESC_F_NEXT, in ? 2 : 3);
	rig_desc(&r, 2, PAY, in, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 3);
	rig_desc(&r, 3, STATUS, 1, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(id, 0);
	return *(unsigned char *)rig_at(&r, STATUS);
}

static void range(unsigned i, uint64_t sector, uint32_t num, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes w = { vio_to_le64(sector),
		vio_to_le32(num), vio_to_le32(flags) };

	memcpy((char *)rig_at(&r, PAY) + i * 16, &w, 16);
}

TEST("read and write", "")
{
	start();
	CHECK_EQ(request(VIRTIO_BLK_T_IN, 3, 0, 1024), VIRTIO_BLK_S_OK);
	CHECK_MEMEQ(rig_at(&r, PAY), disk + 3 * 512, 1024);
	memset(rig_at(&r, PAY), 0xab, 512);
	CHECK_EQ(request(VIRTIO_BLK_T_OUT, 63, 512, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(disk[63 * 512], 0xab);
	CHECK_EQ(disk[63 * 512 - 1], 62);
	CHECK_EQ(stats.bytes_read, 1024);
	CHECK_EQ(stats.bytes_written, 512);
	CHECK_GE(commits, 2);
}

TEST("any framing: header, data and status cut anywhere",
     "split.device.message-framing.1")
{
	const uint64_t t = RIG_DATA + 0x4000;
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	start();
	for (unsigned round = 0; round < 300; round++) {
		bool in = round & 1;
		unsigned rd = in ? 16 : 16 + 512, wr = in ? 513 : 1;
		unsigned sector = vtest_below(&rnd, SECTORS), n = 0, done = 0;
		unsigned char *flat = rig_at(&r, RIG_HIGH);
		uint32_t id, len;

		header(in ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, sector);
		memcpy(flat, rig_at(&r, HDR), 16);
		vtest_fill(&rnd, flat + 16, 513);
		while (done < rd + wr) {
			unsigned room = (done < rd ? rd : rd + wr) - done;
			unsigned cut = n > 50 ? room :
					1 + vtest_below(&rnd, room);

			rig_indirect(&r, t, n, RIG_HIGH + done, cut,
				     (done < rd ? 0 : VIRTQ_DESC_F_WRITE) |
				     (done + cut < rd + wr ?
				      VIRTQ_DESC_F_NEXT : 0), n + 1);
			n++;
			done += cut;
		}
		rig_desc(&r, 5, t, n * 16, VIRTQ_DESC_F_INDIRECT, 0);
		rig_avail(&r, 5);
		CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
		CHECK(rig_used(&r, &id, &len));
		CHECK_EQ(len, wr);
		CHECK_EQ(flat[rd + wr - 1], VIRTIO_BLK_S_OK);
		CHECK_MEMEQ(flat + 16, disk + sector * 512, 512);
	}
}

TEST("nothing outside the disk is asked of the back end", "")
{
	const struct { uint64_t sector; uint32_t len; } bad[] = {
		{ SECTORS, 512 }, { SECTORS - 1, 1024 }, { 0, 511 },
		{ 0, 513 }, { 0, 1 }, { UINT64_MAX, 512 },
		{ UINT64_MAX / 512, 512 }, { UINT64_MAX - 1, 1024 },
		{ 1ull << 55, 512 }, { SECTORS + 1, 512 },
	};

	start();
	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		CHECK_EQ(request(VIRTIO_BLK_T_IN, bad[i].sector, 0,
				 bad[i].len), VIRTIO_BLK_S_IOERR);
		CHECK_EQ(request(VIRTIO_BLK_T_OUT, bad[i].sector, bad[i].len,
				 0), VIRTIO_BLK_S_IOERR);
	}
	CHECK_EQ(nr_seen, 0);
	CHECK_EQ(stats.errors, 2 * VIO_ARRAY_LEN(bad));
	CHECK_EQ(request(VIRTIO_BLK_T_IN, SECTORS, 0, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(request(VIRTIO_BLK_T_IN, SECTORS - 1, 0, 512),
		 VIRTIO_BLK_S_OK);
}

TEST("a read-only disk is not written, whatever the driver accepted",
     "blk.device.device-operation.3")
{
	prepare();
	conf.read_only = true;
	for (unsigned accept = 0; accept < 2; accept++) {
		if (accept) {
			make();
			rig_start_plain(&r, &blk.dev);
		} else {
			start_without(VIRTIO_BLK_F_RO);
		}
		CHECK(vio_has(vio_dev_offered(&blk.dev), VIRTIO_BLK_F_RO));
		CHECK_EQ(request(VIRTIO_BLK_T_OUT, 0, 512, 0),
			 VIRTIO_BLK_S_IOERR);
		range(0, 0, 8, 0);
		CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 16, 0),
			 VIRTIO_BLK_S_IOERR);
		CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0),
			 VIRTIO_BLK_S_IOERR);
		CHECK_EQ(nr_seen, 0);
		CHECK_EQ(request(VIRTIO_BLK_T_IN, 0, 0, 512),
			 VIRTIO_BLK_S_OK);
		nr_seen = 0;
	}
}

TEST("every other type is answered UNSUPP, the zoned ones among them",
     "blk.device.device-operation.16")
{
	start();
	for (uint32_t t = 0; t < 40; t++) {
		if (t == VIRTIO_BLK_T_IN || t == VIRTIO_BLK_T_OUT ||
		    t == VIRTIO_BLK_T_FLUSH || t == VIRTIO_BLK_T_GET_ID ||
		    t == VIRTIO_BLK_T_DISCARD || t == VIRTIO_BLK_T_WRITE_ZEROES)
			continue;
		CHECK_EQ(request(t, 0, 0, 512), VIRTIO_BLK_S_UNSUPP);
		CHECK_EQ(request(t, 0, 512, 0), VIRTIO_BLK_S_UNSUPP);
	}
	CHECK_EQ(request(UINT32_MAX, 0, 0, 512), VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(request(0x80000000, 0, 0, 512), VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(nr_seen, 0);
}

TEST("flush", "blk.device.device-operation.11")
{
	start();
	CHECK_EQ(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 1);
	CHECK_EQ(seen[0].op, VIO_BLK_FLUSH);
	answer = VIO_E_IO;
	CHECK_EQ(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
}

TEST("the id is 20 bytes, or as many as fit", "")
{
	start();
	memset(rig_at(&r, PAY), 0, 32);
	CHECK_EQ(request(VIRTIO_BLK_T_GET_ID, 0, 0, 20), VIRTIO_BLK_S_OK);
	CHECK_MEMEQ(rig_at(&r, PAY), "0123456789abcdefghij\0\0", 22);
	memset(rig_at(&r, PAY), 0, 32);
	CHECK_EQ(request(VIRTIO_BLK_T_GET_ID, 0, 0, 5), VIRTIO_BLK_S_OK);
	CHECK_MEMEQ(rig_at(&r, PAY), "01234\0", 6);
	CHECK_EQ(request(VIRTIO_BLK_T_GET_ID, 0, 0, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(request(VIRTIO_BLK_T_GET_ID, 0, 0, 30), VIRTIO_BLK_S_OK);
}

TEST("discard and write zeroes reach the back end range by range",
     "blk.device.device-operation.6 blk.device.device-operation.7 "
     "blk.device.device-operation.8")
{
	start();
	range(0, 2, 4, 0);
	range(1, 60, 4, 0);
	range(2, 0, 0, 0);	/* empty: nothing to do */
	CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 48, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 2);
	CHECK_EQ(seen[0].op, VIO_BLK_DISCARD);
	CHECK_EQ(seen[0].offset, 1024);
	CHECK_EQ(seen[1].len, 2048);
	range(0, 5, 1, 0);
	range(1, 7, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 4);
	CHECK_EQ(seen[2].op, VIO_BLK_WRITE_ZEROES);
	CHECK_EQ(request(VIRTIO_BLK_T_IN, 5, 0, 1536), VIRTIO_BLK_S_OK);
	CHECK_EQ(*(unsigned char *)rig_at(&r, PAY), 0);
	CHECK_EQ(*(unsigned char *)rig_at(&r, PAY + 512), 6);
	CHECK_EQ(*(unsigned char *)rig_at(&r, PAY + 1024), 0);
}

TEST("UNMAP goes with the ranges that ask for it, and no others",
     "blk.device.device-operation.7 blk.device.device-operation.9")
{
	start();
	range(0, 5, 1, 0);
	range(1, 7, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 2);
	CHECK(!(seen[0].flags & VIO_BLK_UNMAP));
	CHECK(seen[1].flags & VIO_BLK_UNMAP);
	/* A disk that cannot says so, and is not asked to. */
	CHECK_EQ(blk.config.write_zeroes_may_unmap, 1);
	conf.write_zeroes_may_unmap = false;
	make();
	rig_start_plain(&r, &blk.dev);
	CHECK_EQ(blk.config.write_zeroes_may_unmap, 0);
	range(0, 5, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	nr_seen = 0;
	CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 1);
	CHECK(!(seen[0].flags & VIO_BLK_UNMAP));
}

TEST("unknown flags are UNSUPP, and nothing is done",
     "blk.device.device-operation.4 blk.device.device-operation.5")
{
	start();
	for (unsigned bit = 0; bit < 32; bit++) {
		range(0, 0, 1, 0);
		range(1, 8, 1, 1u << bit);
		CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 32, 0),
			 VIRTIO_BLK_S_UNSUPP);
		if (bit)
			CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0),
				 VIRTIO_BLK_S_UNSUPP);
		CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 32, 0),
			 VIRTIO_BLK_S_UNSUPP);
	}
	CHECK_EQ(nr_seen, 0);
}

TEST("malformed ranges are an error, and nothing is done", "")
{
	const struct { uint64_t sector; uint32_t num; } bad[] = {
		{ SECTORS, 1 }, { SECTORS - 1, 2 }, { 0, 33 },
		{ UINT64_MAX, 1 }, { 0, UINT32_MAX }, { 1ull << 55, 1 },
	};

	start();
	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		range(0, 1, 1, 0);
		range(1, bad[i].sector, bad[i].num, 0);
		CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 32, 0),
			 VIRTIO_BLK_S_IOERR);
		CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0),
			 VIRTIO_BLK_S_IOERR);
	}
	for (uint32_t len = 0; len <= 96; len++) {
		range(0, 1, 1, 0);
		if (len && len % 16 == 0 && len <= 64)
			continue;
		CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, len, 0),
			 VIRTIO_BLK_S_IOERR);
	}
	CHECK_EQ(nr_seen, 0);
}

TEST("a failing back end is an error of that request, not of the queue", "")
{
	start();
	answer = VIO_E_IO;
	CHECK_EQ(request(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_IOERR);
	range(0, 0, 1, 0);
	range(1, 8, 1, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 32, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(nr_seen, 3);
	answer = VIO_E_UNSUPP;
	CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 32, 0),
		 VIRTIO_BLK_S_UNSUPP);
	answer = VIO_OK;
	CHECK_EQ(request(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
}

TEST("the used length is what was written",
     "split.device.virtqueue-used-ring.2")
{
	uint32_t id, len = ~0u;

	start();
	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(&r, 0, HDR, 16, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, PAY, 512, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 2);
	rig_desc(&r, 2, STATUS, 1, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 513);
	answer = VIO_E_IO;	/* no data, so nothing from the start on */
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 0);
	CHECK_EQ(*(unsigned char *)rig_at(&r, STATUS), VIRTIO_BLK_S_IOERR);
}

enum {
	OK = VIRTIO_BLK_S_OK, ERR = VIRTIO_BLK_S_IOERR,
	UNSUPP = VIRTIO_BLK_S_UNSUPP,
};

/* Used: what was written from the first byte on, without a gap. */
static const struct {
	uint32_t type;
	uint64_t sector;
	uint32_t out, in;
	int status;
	uint32_t used, asked;
} rows[] = {
	{ VIRTIO_BLK_T_IN, 0, 0, 512, OK, 513, 1 },
	{ VIRTIO_BLK_T_IN, 0, 0, 0, OK, 1, 0 },
	{ VIRTIO_BLK_T_IN, 0, 0, 1, ERR, 0, 0 },
	{ VIRTIO_BLK_T_IN, 0, 0, 511, ERR, 0, 0 },
	{ VIRTIO_BLK_T_IN, 0, 0, 513, ERR, 0, 0 },
	{ VIRTIO_BLK_T_IN, 0, 16, 512, OK, 513, 1 },
	{ VIRTIO_BLK_T_IN, SECTORS - 1, 0, 512, OK, 513, 1 },
	{ VIRTIO_BLK_T_IN, SECTORS - 1, 0, 1024, ERR, 0, 0 },
	{ VIRTIO_BLK_T_IN, SECTORS, 0, 512, ERR, 0, 0 },
	{ VIRTIO_BLK_T_IN, SECTORS, 0, 0, OK, 1, 0 },
	{ VIRTIO_BLK_T_IN, SECTORS + 1, 0, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_IN, 1ull << 55, 0, 512, ERR, 0, 0 },
	{ VIRTIO_BLK_T_IN, UINT64_MAX, 0, 512, ERR, 0, 0 },
	{ VIRTIO_BLK_T_OUT, 0, 512, 0, OK, 1, 1 },
	{ VIRTIO_BLK_T_OUT, 0, 0, 0, OK, 1, 0 },
	{ VIRTIO_BLK_T_OUT, 0, 1, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_OUT, 0, 511, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_OUT, 0, 513, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_OUT, 0, 512, 512, OK, 0, 1 },
	{ VIRTIO_BLK_T_OUT, SECTORS - 1, 512, 0, OK, 1, 1 },
	{ VIRTIO_BLK_T_OUT, SECTORS - 1, 1024, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_OUT, SECTORS, 512, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_OUT, 1ull << 55, 512, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_OUT, UINT64_MAX, 512, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_FLUSH, 0, 0, 0, OK, 1, 1 },
	{ VIRTIO_BLK_T_FLUSH, UINT64_MAX, 0, 0, OK, 1, 1 },
	{ VIRTIO_BLK_T_FLUSH, 0, 512, 512, OK, 0, 1 },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 20, OK, 21, 0 },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 19, OK, 20, 0 },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 0, OK, 1, 0 },
	{ VIRTIO_BLK_T_GET_ID, 0, 0, 512, OK, 20, 0 },
	{ VIRTIO_BLK_T_GET_ID, UINT64_MAX, 8, 20, OK, 21, 0 },
	{ VIRTIO_BLK_T_DISCARD, 0, 15, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_DISCARD, 0, 17, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_DISCARD, 0, 80, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 15, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 80, 0, ERR, 1, 0 },
	{ VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0, UNSUPP, 1, 0 },
	{ VIRTIO_BLK_T_GET_LIFETIME, 0, 0, 32, UNSUPP, 0, 0 },
	{ VIRTIO_BLK_T_ZONE_REPORT, 0, 0, 512, UNSUPP, 0, 0 },
	{ 2, 0, 0, 0, UNSUPP, 1, 0 },
	{ UINT32_MAX, 0, 512, 512, UNSUPP, 0, 0 },
};

TEST("each length and place, at the edge and beyond: status and used length",
     "split.device.virtqueue-used-ring.2")
{
	uint32_t id, len;

	start();
	for (unsigned i = 0; i < VIO_ARRAY_LEN(rows); i++) {
		uint32_t out = rows[i].out, in = rows[i].in;

		nr_seen = 0;
		memset(rig_at(&r, PAY), 0, 1024);
		header(rows[i].type, rows[i].sector);
		rig_desc(&r, 0, HDR, 16, VIRTQ_DESC_F_NEXT, out ? 1 : in ? 2 :
			 3);
		rig_desc(&r, 1, PAY, out, VIRTQ_DESC_F_NEXT, in ? 2 : 3);
		rig_desc(&r, 2, PAY, in, VIRTQ_DESC_F_NEXT |
			 VIRTQ_DESC_F_WRITE, 3);
		rig_desc(&r, 3, STATUS, 1, VIRTQ_DESC_F_WRITE, 0);
		rig_avail(&r, 0);
		CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
		CHECK(rig_used(&r, &id, &len));
		if (*(unsigned char *)rig_at(&r, STATUS) != rows[i].status ||
		    len != rows[i].used || nr_seen != rows[i].asked)
			FAIL("row %u: type %u, sector %llu, %u out, %u in: status %u, used %u, back end asked %u times",
			     i, rows[i].type,
			     (unsigned long long)rows[i].sector, out, in,
			     *(unsigned char *)rig_at(&r, STATUS), len,
			     nr_seen);
	}
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
}

TEST("short requests come back with what can be said", "")
{
	uint32_t id, len;

	start();
	header(VIRTIO_BLK_T_IN, 0);
	for (unsigned n = 0; n < 16; n++) {	/* header cut short */
		*(unsigned char *)rig_at(&r, STATUS) = 0xee;
		rig_desc(&r, 0, HDR, n, VIRTQ_DESC_F_NEXT, 1);
		rig_desc(&r, 1, STATUS, 1, VIRTQ_DESC_F_WRITE, 0);
		rig_avail(&r, 0);
		rig_kick(&r);
		CHECK(rig_used(&r, &id, &len));
		CHECK_EQ(*(unsigned char *)rig_at(&r, STATUS),
			 VIRTIO_BLK_S_IOERR);
	}
	CHECK_EQ(r.logs, 0);
	rig_desc(&r, 0, HDR, 16, 0, 0);		/* no status byte */
	rig_avail(&r, 0);
	rig_kick(&r);
	CHECK(rig_used(&r, &id, &len));
	CHECK_EQ(len, 0);
	CHECK_EQ(r.logs, 1);
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
	CHECK_EQ(nr_seen, 0);
}

TEST("features follow the configuration",
     "blk.device.device-initialization.1 blk.device.device-initialization.4 "
     "core.device.feature-bits.1 core.device.feature-bits.3")
{
	const struct vio_features *f;

	prepare();
	make();
	f = vio_dev_offered(&blk.dev);
	CHECK(vio_has(f, VIRTIO_BLK_F_FLUSH));
	CHECK(vio_has(f, VIRTIO_BLK_F_CONFIG_WCE));
	CHECK(vio_has(f, VIRTIO_BLK_F_DISCARD));
	CHECK(!vio_has(f, VIRTIO_BLK_F_RO));
	CHECK(!vio_has(f, VIRTIO_BLK_F_MQ));
	CHECK(!vio_has(f, VIRTIO_BLK_F_TOPOLOGY));
	CHECK(!vio_has(f, VIRTIO_BLK_F_GEOMETRY));
	CHECK(!vio_has(f, VIRTIO_BLK_F_SCSI));
	CHECK(!vio_has(f, VIRTIO_BLK_F_LIFETIME));
	CHECK(!vio_has(f, VIRTIO_BLK_F_SECURE_ERASE));
	CHECK(!vio_has(f, VIRTIO_BLK_F_ZONED));
	conf.no_flush = true;
	conf.max_discard_sectors = conf.max_discard_seg = 0;
	conf.geometry.cylinders = vio_to_le16(4);
	conf.topology = true;
	conf.size_max = 4096;
	make();
	CHECK(!vio_has(f, VIRTIO_BLK_F_FLUSH));
	CHECK(!vio_has(f, VIRTIO_BLK_F_CONFIG_WCE));
	CHECK(!vio_has(f, VIRTIO_BLK_F_DISCARD));
	CHECK(vio_has(f, VIRTIO_BLK_F_TOPOLOGY));
	CHECK(vio_has(f, VIRTIO_BLK_F_GEOMETRY));
	CHECK(vio_has(f, VIRTIO_BLK_F_SIZE_MAX));
}

TEST("without the feature, discard and write zeroes are UNSUPP", "")
{
	prepare();
	start_without(VIRTIO_BLK_F_DISCARD);
	range(0, 0, 1, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_DISCARD, 0, 16, 0),
		 VIRTIO_BLK_S_UNSUPP);
	start_without(VIRTIO_BLK_F_WRITE_ZEROES);
	range(0, 0, 1, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(nr_seen, 0);
}

TEST("numbers that do not go together are refused", "")
{
	prepare();
	rig_init(&r, queue, 1, vio_blk_ctx_size);
	for (unsigned i = 0; i < 7; i++) {
		struct vio_blk_conf c = conf;

		switch (i) {
		case 0: c.blk_size = 513; break;
		case 1: c.blk_size = 256; break;
		case 2: c.max_discard_seg = VIO_BLK_RANGES_MAX + 1; break;
		case 3: c.max_discard_seg = 0; break;
		case 4: c.max_write_zeroes_seg = 17; break;
		case 5: c.max_write_zeroes_sectors = 0; break;
		case 6: c.capacity_sectors = UINT64_MAX / 512 + 1; break;
		}
		CHECK_EQ(vio_blk_init(&blk, &c, queue, &ops, disk, NULL),
			 VIO_E_INVAL);
	}
}

TEST("configuration space", "blk.device.device-initialization.3 "
     "blk.device.device-initialization.6")
{
	struct virtio_blk_config c;

	prepare();
	conf.blk_size = 4096;
	conf.topology = true;
	conf.physical_block_exp = 3;
	make();
	vio_dev_config_read(&blk.dev, 0, &c, sizeof(c));
	CHECK_EQ(vio_from_le64(c.capacity), SECTORS);
	CHECK_EQ(vio_from_le32(c.blk_size), 4096);
	CHECK_EQ(vio_from_le32(c.seg_max), 30);
	CHECK_EQ(c.topology.physical_block_exp, 3);
	CHECK_EQ(vio_from_le16(c.num_queues), 1);
	CHECK_EQ(vio_from_le32(c.max_discard_seg), 4);
	CHECK_EQ(c.write_zeroes_may_unmap, 1);
	CHECK_EQ(c.unused0, 0);
	CHECK_EQ(c.unused1[0] | c.unused1[1] | c.unused1[2], 0);
	CHECK_EQ(vio_from_le32(c.zoned.zone_sectors), 0);
	CHECK_EQ(c.zoned.model, 0);
}

static unsigned fua_of_write(void)
{
	nr_seen = 0;
	CHECK_EQ(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 1);
	return seen[0].flags & VIO_BLK_FUA;
}

TEST("without FLUSH, every write is stable when it completes",
     "blk.device.device-operation.11 blk.device.device-initialization.2")
{
	struct vio_features f;

	prepare();
	make();
	f = *vio_dev_offered(&blk.dev);
	vio_feature_clear(&f, VIRTIO_BLK_F_FLUSH);
	rig_start(&r, &blk.dev, &f);		/* with CONFIG_WCE */
	CHECK_EQ(blk.config.writeback, 0);
	CHECK_EQ(fua_of_write(), VIO_BLK_FUA);
	make();
	vio_feature_clear(&f, VIRTIO_BLK_F_CONFIG_WCE);
	rig_start(&r, &blk.dev, &f);		/* with neither */
	CHECK_EQ(fua_of_write(), VIO_BLK_FUA);
}

TEST("the cache mode follows the writeback field",
     "blk.device.device-operation.11")
{
	start();
	CHECK_EQ(fua_of_write(), 0);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 32, "\0", 1), VIO_OK);
	CHECK_EQ(fua_of_write(), VIO_BLK_FUA);
	range(0, 0, 1, 0);
	nr_seen = 0;
	CHECK_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(seen[0].flags & VIO_BLK_FUA, VIO_BLK_FUA);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 32, "\1", 1), VIO_OK);
	CHECK_EQ(fua_of_write(), 0);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 32, "\2", 1), VIO_E_PEER);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 0, "\1", 1), VIO_E_PEER);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 32, "\1\1", 2), VIO_E_PEER);
	CHECK_EQ(blk.config.writeback, 1);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 32, "\0", 1), VIO_OK);
	vio_dev_set_status(&blk.dev, 0);
	CHECK_EQ(blk.config.writeback, 1);	/* as after every reset */
}

TEST("only with CONFIG_WCE may the driver write the mode", "")
{
	prepare();
	start_without(VIRTIO_BLK_F_CONFIG_WCE);
	CHECK_EQ(vio_dev_config_write(&blk.dev, 32, "\0", 1), VIO_E_PEER);
	CHECK_EQ(fua_of_write(), 0);
}

TEST("a disk may grow and shrink", "blk.device.device-operation.1 "
     "blk.device.device-operation.2")
{
	vio_le64 cap;

	start();
	vio_blk_resize(&blk, 8);
	CHECK_EQ(r.config_changes, 1);
	vio_dev_config_read(&blk.dev, 0, &cap, 8);
	CHECK_EQ(vio_from_le64(cap), 8);
	CHECK_EQ(request(VIRTIO_BLK_T_IN, 8, 0, 512), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(request(VIRTIO_BLK_T_IN, 7, 0, 512), VIRTIO_BLK_S_OK);
}
