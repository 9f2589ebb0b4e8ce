/* SPDX-License-Identifier: MIT */
/* The rig of the MMIO tests; see mmio_rig.h. */
#include "test/transport/mmio_rig.h"
#include "test/transport/whole_field.h"

unsigned char ram[MEM] __attribute__((aligned(4096)));
static unsigned char priv[65536] __attribute__((aligned(64)));
static unsigned char storage[65536] __attribute__((aligned(64)));
unsigned char disk[64 * 512];
static struct vio_region region;
struct vio_mem mem;
struct vio_queue queue[1];
struct vio_mmio m;
static struct vio_mmio_queue regs[1];
struct vio_rng rng;
struct vio_blk blk;
bool line, asked;	/* interrupt line; service was asked for */
bool hold_back;		/* the back end keeps requests */
struct vio_blk_io *held;

static size_t fill(void *ctx, void *dst, size_t len)
{
	(void)ctx;
	memset(dst, 0x5a, len);
	return len;
}

void finish(struct vio_blk_io *io)
{
	uint64_t at = io->offset;

	for (unsigned i = 0; i < io->nr_seg; i++) {
		const struct vio_seg *s = &io->seg[i];

		if (io->op == VIO_BLK_READ)
			memcpy(s->base, disk + at, s->len);
		else
			memcpy(disk + at, s->base, s->len);
		at += s->len;
	}
	io->done(io, VIO_OK);
}

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	(void)ctx;
	if (hold_back)
		held = io;
	else
		finish(io);
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

static void on_interrupt(void *ctx, bool level)
{
	(void)ctx;
	CHECK_NE(level, line);
	line = level;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
	asked = true;
}

static const struct vio_mmio_ops ops = { on_interrupt, on_serve };

static void prepare(uint16_t ctx_size)
{
	const struct vio_queue_limits limits = { SIZE, 16, ctx_size };

	memset(ram, 0, sizeof(ram));
	line = asked = hold_back = false;
	held = NULL;
	region = (struct vio_region){ { GUEST }, MEM, ram, 0, VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&mem, &region, 1), VIO_OK);
	CHECK_EQ(vio_queue_init(queue, NULL, 0, &limits, storage,
				sizeof(storage)), VIO_OK);
}

void make_rng(void)
{
	static const struct vio_rng_source_ops source = { fill };

	prepare(vio_rng_ctx_size);
	CHECK_EQ(vio_rng_init(&rng, queue, &source, NULL), VIO_OK);
	vio_mmio_init(&m, &rng.dev, &mem, regs, &ops, NULL, NULL);
}

void make_blk(void)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_blk_conf conf = { .capacity_sectors = 64,
		.seg_max = 8, .serial = "mmio" };

	prepare(vio_blk_ctx_size);
	CHECK_EQ(vio_blk_init(&blk, &conf, queue, &be, NULL, NULL), VIO_OK);
	vio_mmio_init(&m, &blk.dev, &mem, regs, &ops, NULL, NULL);
}

uint32_t rd(unsigned off)
{
	return (uint32_t)vio_mmio_read(&m, off, 4);
}

void wr(unsigned off, uint32_t v)
{
	vio_mmio_write(&m, off, v, 4);
}

void negotiate(uint32_t low, uint32_t high)
{
	wr(VIRTIO_MMIO_STATUS, 0);
	wr(VIRTIO_MMIO_STATUS, 1);
	wr(VIRTIO_MMIO_STATUS, 3);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, low);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, high);
	wr(VIRTIO_MMIO_STATUS, 11);
}

void enable(uint32_t size, uint64_t at)
{
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(VIRTIO_MMIO_QUEUE_SIZE, size);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)at);
	wr(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(at >> 32));
	wr(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)at + 0x400);
	wr(VIRTIO_MMIO_QUEUE_DRIVER_HIGH, (uint32_t)(at >> 32));
	wr(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)at + 0x800);
	wr(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, (uint32_t)(at >> 32));
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
}

/* -- the machine of our own drivers --------------------------------------- */

bool ready;	/* as the driver knows it */
bool aliased;	/* selects above 0 are taken for 1, as QEMU does */
unsigned notifies;
static unsigned sel_writes;
const struct vio_vq *told;	/* whose notifications are checked */

/*
 * What a notification says is what the ring says: the available index, or the
 * first entry that is not the device's.
 */
static void check_notification(uint32_t v)
{
	uint16_t next = (uint16_t)(v >> 16);
	vio_le16 idx;
	uint16_t pos;

	CHECK_EQ(v & 0xffff, 0);
	CHECK_EQ(m.queue[0].next, next);
	if (!vio_dev_has(m.dev, VIRTIO_F_RING_PACKED)) {
		memcpy(&idx, ram + (told->layout.driver.v - GUEST) + 2, 2);
		CHECK_EQ(next, vio_from_le16(idx));
		return;
	}
	CHECK(pvirtq_unpack(next, told->size, &pos));
	for (int back = 0; back < 2; back++) {
		uint16_t at = pvirtq_add(pos, back ? 2 * told->size - 1 : 0,
					 told->size);
		bool wrap = pvirtq_wrap(at, told->size);
		struct pvirtq_desc d;
		uint16_t f;

		memcpy(&d, ram + (told->layout.desc.v - GUEST) +
		       sizeof(d) * pvirtq_off(at, told->size), sizeof(d));
		f = vio_from_le16(d.flags);
		CHECK_EQ(!!(f & PVIRTQ_DESC_F_AVAIL) == wrap &&
			 !!(f & PVIRTQ_DESC_F_USED) != wrap, back);
	}
}

/* The machine, with a watchman over what a driver may do. */
static uint32_t machine_read(void *ctx, uint32_t off, unsigned len)
{
	(void)ctx;
	if (off < VIRTIO_MMIO_CONFIG) {
		CHECK_EQ(len, 4);
		CHECK_EQ(off % 4, 0);
		/* Write-only ones. */
		CHECK_NE(off, VIRTIO_MMIO_DEVICE_FEATURES_SEL);
		CHECK_NE(off, VIRTIO_MMIO_DRIVER_FEATURES);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_SEL);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_SIZE);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_NOTIFY);
		CHECK_NE(off, VIRTIO_MMIO_INTERRUPT_ACK);
		CHECK_NE(off, VIRTIO_MMIO_SHM_SEL);
	} else {
		CHECK(whole_field(m.dev, off - VIRTIO_MMIO_CONFIG, len));
	}
	if (off == VIRTIO_MMIO_DEVICE_FEATURES)
		CHECK_GT(sel_writes, 0);
	return (uint32_t)vio_mmio_read(&m, off, len);
}

static void machine_write(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	(void)ctx;
	if (off < VIRTIO_MMIO_CONFIG) {
		CHECK_EQ(len, 4);
		CHECK_EQ(off % 4, 0);
		CHECK(off >= VIRTIO_MMIO_DEVICE_FEATURES_SEL);
		CHECK_NE(off, VIRTIO_MMIO_QUEUE_SIZE_MAX);
		CHECK_NE(off, VIRTIO_MMIO_INTERRUPT_STATUS);
		CHECK_NE(off, VIRTIO_MMIO_CONFIG_GENERATION);
	} else {
		CHECK(whole_field(m.dev, off - VIRTIO_MMIO_CONFIG, len));
	}
	switch (off) {
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		v = aliased && v ? 1 : v;
		break;
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		v = aliased && v ? 1 : v;
		sel_writes++;
		break;
	case VIRTIO_MMIO_QUEUE_SIZE:
		CHECK_LE(v, SIZE);
		CHECK(!ready);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		ready = v;
		break;
	case VIRTIO_MMIO_STATUS:
		ready &= v != 0;
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		CHECK_EQ(v & ~3u, 0);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notifies++;
		break;
	default:
		if (off >= VIRTIO_MMIO_QUEUE_DESC_LOW &&
		    off <= VIRTIO_MMIO_QUEUE_DEVICE_HIGH)
			CHECK(!ready);
	}
	vio_mmio_write(&m, off, v, len);
	if (told && off == VIRTIO_MMIO_QUEUE_NOTIFY)
		check_notification(v);
}

/* Let the device work; nothing to do and no interrupt is a lost wake-up. */
static int machine_wait(void *ctx)
{
	struct vio_blk_io *late = held;

	(void)ctx;
	if (!asked && late) {
		held = NULL;
		finish(late);
		return VIO_OK;
	}
	if (!asked)
		return line ? VIO_OK : VIO_E_IO;
	asked = vio_queue_service(queue, 4) == VIO_SERVICE_MORE;
	return VIO_OK;
}

const struct vio_mmio_access machine = { machine_read, machine_write,
						machine_wait };

struct vio_drv_mem drv_mem(void)
{
	ready = false;
	sel_writes = notifies = 0;
	told = NULL;
	return (struct vio_drv_mem){
		.window = { ram, { GUEST }, MEM },
		.shared = { ram, MEM / 2 },
		.priv = { priv, sizeof(priv) },
	};
}

struct vio_features variant(unsigned set)
{
	struct vio_features f = { { 0, 0 } };

	if (set & 1)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	if (set & 2)
		vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	if (set & 4)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (set & 8)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	return f;
}
