/* SPDX-License-Identifier: MIT */
/* The rig of the tests of channel I/O; see ccw_rig.h. */
#include "test/transport/ccw_rig.h"

unsigned char ram[MEM] __attribute__((aligned(4096)));
static unsigned char storage[65536] __attribute__((aligned(64)));
static struct vio_region region;
struct vio_mem mem;
struct vio_queue queue[1];
struct vio_blk blk;
struct vio_ccw c;
struct vio_blk_io *held;
struct vio_ccw_status st;
unsigned interrupts, adapter_interrupts, served;

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	(void)ctx;
	held = io;
}

static void be_commit(void *ctx, unsigned q)
{
	(void)ctx;
	(void)q;
}

static void on_interrupt(void *ctx)
{
	(void)ctx;
	interrupts++;
}

static void on_adapter_interrupt(void *ctx, unsigned isc)
{
	(void)ctx;
	CHECK_EQ(isc, 6);
	adapter_interrupts++;
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	CHECK(q == queue);
	served++;
}

static const struct vio_ccw_ops ops = { on_interrupt, on_adapter_interrupt,
					on_serve };

unsigned char *at(uint64_t addr)
{
	return ram + (addr - GUEST);
}

void make(bool transitional)
{
	static const struct vio_blk_backend_ops be = { .submit = be_submit,
						       .commit = be_commit };
	const struct vio_queue_limits limits = { SIZE, 16, vio_blk_ctx_size };
	const struct vio_blk_conf conf = { .capacity_sectors = 64,
					   .seg_max = 8 };

	memset(ram, 0, sizeof(ram));
	held = NULL;
	interrupts = adapter_interrupts = served = 0;
	region = (struct vio_region){ { GUEST }, MEM, ram, 0, VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&mem, &region, 1), VIO_OK);
	CHECK_EQ(vio_queue_init(queue, NULL, 0, &limits, storage,
				sizeof(storage)), VIO_OK);
	CHECK_EQ(vio_blk_init(&blk, &conf, queue, &be, NULL, NULL), VIO_OK);
	vio_ccw_init(&c, &blk.dev, &mem, transitional, &ops, NULL, NULL);
}

bool run(uint8_t code, uint8_t flags, uint16_t count)
{
	const struct vio_ccw_command cmd = { code, flags, count, DATA };

	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_OK);
	return st.device == CCW_DSTAT_GOOD && !st.subchannel;
}

bool rejected(uint8_t code, uint8_t flags, uint16_t count)
{
	return !run(code, flags, count) && st.device == REJECTED &&
	       c.sense == CCW_SENSE_REJECT;
}

void put(unsigned nr, const uint64_t *v, const uint8_t *width)
{
	unsigned char *p = at(DATA);

	for (unsigned i = 0; i < nr; p += width[i++])
		vio_be_put(p, width[i], v[i]);
}

bool set_rev(uint64_t revision, uint64_t length)
{
	put(2, (const uint64_t[]){ revision, length },
	    (const uint8_t[]){ 2, 2 });
	return run(CCW_CMD_SET_VIRTIO_REV, 0, 4);
}

bool write_feat(unsigned index, uint32_t v)
{
	const vio_le32 f = vio_to_le32(v);

	memcpy(at(DATA), &f, 4);
	at(DATA)[4] = (unsigned char)index;
	return run(CCW_CMD_WRITE_FEAT, 0, 5);
}

bool status(uint8_t v)
{
	*at(DATA) = v;
	return run(CCW_CMD_WRITE_STATUS, 0, 1);
}

uint8_t get_status(void)
{
	CHECK(run(CCW_CMD_READ_STATUS, 0, 1));
	return *at(DATA);
}

bool set_vq(uint64_t desc, uint64_t index, uint64_t size)
{
	const uint64_t v[] = { desc, 0xdeadbeef, index, size, desc + 0x400,
			       desc + 0x800 };

	put(6, v, (const uint8_t[]){ 8, 4, 2, 2, 8, 8 });
	return run(CCW_CMD_SET_VQ, 0, 32);
}

void bring_up(void)
{
	make(false);
	CHECK(set_rev(2, 0));
	CHECK(status(1));
	CHECK(status(3));
	CHECK(write_feat(1, 1));
	CHECK(status(11));
	CHECK(set_vq(RING, 0, SIZE));
	CHECK(status(15));
}
