/* SPDX-License-Identifier: MIT */
/*
 * Recording memory: the core is built so that each control read in shared
 * memory passes through here. A byte that is read twice for one request fails
 * the test; and each byte changes as soon as it was read, so that whoever
 * goes back to it does something wrong that the block model sees.
 */
#include "test/loopback/disk.h"
#include "test/loopback/loop.h"

#include <vireo/driver_blk.h>

#include <stdlib.h>

#define SECTORS	128u
#define SECTOR	512u
#define REQS	8u

void vio_mem_record(const volatile void *p, size_t len);

static struct {
	const struct loop *loop;
	uint8_t *reads;		/* of each byte of the window, this round */
	bool scramble;
	size_t last_off, last_len;	/* read, and not yet changed */
	unsigned total;
} rec;

/* Where in the window the device's pointer points; false: not its map. */
static bool offset_of(const volatile void *p, size_t *off)
{
	unsigned i;

	for (i = 0; rec.loop && i < LOOP_REGIONS; i++) {
		const struct vio_region *r = &rec.loop->region[i];
		uintptr_t rel = (uintptr_t)p - (uintptr_t)r->host;

		if ((uintptr_t)p < (uintptr_t)r->host || rel >= r->size)
			continue;
		*off = (size_t)(r->addr.v - rec.loop->region[0].addr.v + rel);
		return true;
	}
	return false;
}

/*
 * Words that either side looks at again and again, by their nature: indices,
 * flags, events; in a packed ring also the flags of each descriptor.
 */
static bool is_polled(size_t off)
{
	const struct vio_queue_layout *l = &rec.loop->layout[0];
	uint64_t addr = LOOP_GUEST_BASE + off;
	uint64_t desc = addr - l->desc.v, drv = addr - l->driver.v;

	if (vio_dev_has(rec.loop->dev, VIRTIO_F_RING_PACKED))
		return drv < 4 || (desc < 16u * l->size && desc % 16 >= 14);
	return drv < 4 || (drv >= 4u + 2u * l->size && drv < 6u + 2u * l->size);
}

static void scramble_last(void)
{
	size_t i;

	for (i = 0; rec.scramble && i < rec.last_len; i++)
		if (!is_polled(rec.last_off + i))
			rec.loop->window.host[rec.last_off + i] ^= 0x5a;
	rec.last_len = 0;
}

void vio_mem_record(const volatile void *p, size_t len)
{
	size_t off, i;

	if (!offset_of(p, &off))
		return;
	scramble_last();
	for (i = 0; i < len; i++) {
		if (is_polled(off + i))
			continue;
		rec.total++;
		if (rec.reads[off + i]++)
			FAIL("byte %zu of the window is read again", off + i);
	}
	rec.last_off = off;
	rec.last_len = len;
}

static void new_round(void)
{
	scramble_last();
	memset(rec.reads, 0, rec.loop->file_size);
}

struct fixture {
	struct loop loop;
	struct disk disk;
	struct vio_blk dev;
	struct vio_blkdrv drv;
};

static void setup(struct fixture *f, unsigned set, bool scramble)
{
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 8 };
	struct vio_features wanted = vio_blkdrv_features();
	struct vio_features ring = loop_features(set);
	struct vio_blk_conf conf = {
		.capacity_sectors = SECTORS, .seg_max = 8, .in_order = true,
		.max_write_zeroes_sectors = 64, .max_write_zeroes_seg = 4,
	};

	memset(f, 0, sizeof(*f));
	loop_init(&f->loop, 1, vio_blk_ctx_size, vtest_seed() + set);
	disk_init(&f->disk, SECTORS * SECTOR, vtest_seed() + set);
	CHECK_EQ(vio_blk_init(&f->dev, &conf, f->loop.queue, &disk_ops,
			      &f->disk, NULL), VIO_OK);
	loop_attach(&f->loop, &f->dev.dev);
	vio_feature_set(&wanted, VIRTIO_F_RING_PACKED);
	wanted.w[0] &= ~(0xfull << 28) & ~(0xfull << 32);
	wanted.w[0] |= ring.w[0];
	memset(&rec, 0, sizeof(rec));
	rec.reads = calloc(1, f->loop.file_size);
	CHECK(rec.reads);
	rec.scramble = scramble;
	CHECK_EQ(vio_blkdrv_init(&f->drv, &loop_bus, &f->loop, &wanted,
				 &limits, 1, &f->loop.drv_mem), VIO_OK);
	rec.loop = &f->loop;
}

static void teardown(struct fixture *f)
{
	rec.loop = NULL;
	free(rec.reads);
	loop_fini(&f->loop);
	disk_fini(&f->disk);
}

struct batch {
	struct vio_blkdrv_req req[REQS];
	struct vio_seg seg[REQS][4];
	unsigned char *buf[REQS];
};

/* Eight requests, each on sectors of its own: read, write, zeroes, flush. */
static void submit_all(struct fixture *f, struct batch *b,
		       struct vtest_rand *rand, unsigned round)
{
	unsigned i, k;

	for (i = 0; i < REQS; i++) {
		struct vio_blkdrv_req *r = &b->req[i];

		memset(r, 0, sizeof(*r));
		r->sector = i * 4;
		for (k = 0; k < 4; k++) {
			b->seg[i][k].base = b->buf[i] + k * SECTOR;
			b->seg[i][k].len = SECTOR;
		}
		r->seg = b->seg[i];
		r->nr_seg = 4;
		switch ((i + round) % 4) {
		case 0:
			r->type = VIRTIO_BLK_T_FLUSH;
			r->sector = 0;
			r->nr_seg = 0;
			break;
		case 1:
			r->type = VIRTIO_BLK_T_WRITE_ZEROES;
			r->num_sectors = 4;
			r->nr_seg = 0;
			break;
		case 2:
			r->type = VIRTIO_BLK_T_OUT;
			vtest_fill(rand, b->buf[i], 4 * SECTOR);
			break;
		default:
			r->type = VIRTIO_BLK_T_IN;
			memset(b->buf[i], 0, 4 * SECTOR);
		}
		CHECK_EQ(vio_blkdrv_submit(&f->drv, 0, r), VIO_OK);
	}
	vio_blkdrv_commit(&f->drv, 0);
}

static void check_all(struct fixture *f, struct batch *b,
		      const unsigned char *before)
{
	static const unsigned char zero[4 * SECTOR];
	struct vio_blkdrv_req *r;
	unsigned done = 0;

	while ((r = vio_blkdrv_poll(&f->drv, 0))) {
		unsigned i = (unsigned)(r - b->req);
		const unsigned char *now = f->disk.data + i * 4 * SECTOR;

		done++;
		CHECK_EQ(r->status, VIRTIO_BLK_S_OK);
		if (r->type == VIRTIO_BLK_T_WRITE_ZEROES)
			CHECK_MEMEQ(now, zero, sizeof(zero));
		else if (r->type == VIRTIO_BLK_T_OUT)
			CHECK_MEMEQ(now, b->buf[i], sizeof(zero));
		else if (r->type == VIRTIO_BLK_T_IN)
			CHECK_MEMEQ(before + i * 4 * SECTOR, b->buf[i],
				    sizeof(zero));
	}
	CHECK_EQ(done, REQS);
}

static void run(bool scramble)
{
	static unsigned char before[SECTORS * SECTOR];
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	unsigned set, round, i;
	struct fixture f;
	struct batch b;

	for (set = 0; set < LOOP_SETS; set++) {
		setup(&f, set, scramble);
		for (i = 0; i < REQS; i++)
			b.buf[i] = loop_buffer(&f.loop, 4 * SECTOR);
		for (round = 0; round < 40; round++) {
			new_round();
			memcpy(before, f.disk.data, sizeof(before));
			submit_all(&f, &b, &rand, round);
			while (loop_step(&f.loop))
				;
			check_all(&f, &b, before);
		}
		/* Headers and descriptors at the least: or nothing is seen. */
		CHECK_GT(rec.total, round * REQS * (16 + 2 * 16));
		teardown(&f);
	}
}

TEST("record: no control byte is read twice for one request", "")
{
	run(false);
}

TEST("record: what changes after it was read changes nothing", "")
{
	run(true);
}
