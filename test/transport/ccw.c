/* SPDX-License-Identifier: MIT */
/*
 * ccw.c - the channel I/O transport, command by command: what a device answers
 * and what it refuses, how lengths are checked, what indicators say.
 */
#include "test/transport/ccw_rig.h"

TEST("ccw: sense id says what it is, and all else needs a revision",
     "ccw.device.setting-virtio-revision.6 "
     "ccw.other.legacy-interfaces-setting-virtio-revision.3")
{
	static const unsigned char want[] = { 0xff, 0x38, 0x32, 2, 0, 0, 0 };
	static const uint8_t cmds[] = { 0x13, 0x33, 0x43, 0x53, 0x73, 0x12,
		0x11, 0x22, 0x21, 0x31, 0x32, 0x72 };

	make(false);
	memset(at(DATA), 0x77, 256);
	CHECK(run(CCW_CMD_SENSE_ID, CCW_FLAG_SLI, 7));
	CHECK_MEMEQ(at(DATA), want, 7);
	CHECK_EQ(at(DATA)[7], 0x77);
	CHECK(run(CCW_CMD_SENSE_ID, 0, 256));
	CHECK_EQ(at(DATA)[255], 0);
	CHECK(run(CCW_CMD_NOOP, CCW_FLAG_SLI, 0));
	for (unsigned i = 0; i < sizeof(cmds); i++)
		CHECK(rejected(cmds[i], CCW_FLAG_SLI, 64));
	CHECK(set_rev(1, 0));
	CHECK(run(CCW_CMD_WRITE_STATUS, CCW_FLAG_SLI, 64));
	vio_ccw_enabled(&c);
	CHECK(rejected(CCW_CMD_WRITE_STATUS, CCW_FLAG_SLI, 64));
}

TEST("ccw: revisions that cannot be, and only one",
     "ccw.device.setting-virtio-revision.1 "
     "ccw.device.setting-virtio-revision.2 "
     "ccw.device.setting-virtio-revision.3 "
     "ccw.device.setting-virtio-revision.4 "
     "ccw.device.setting-virtio-revision.5")
{
	make(false);
	CHECK(!set_rev(0, 0));
	CHECK_EQ(c.sense, CCW_SENSE_REJECT);
	CHECK(!set_rev(3, 0));
	CHECK(!set_rev(0xffff, 0));
	CHECK(!set_rev(1, 1));
	CHECK(!set_rev(2, 0x100));
	CHECK(set_rev(1, 0));
	CHECK(rejected(CCW_CMD_READ_STATUS, 0, 1));
	/* Nor is there what needs it. */
	at(DATA)[4] = 1;
	CHECK(run(CCW_CMD_READ_FEAT, 0, 5));
	CHECK_EQ(at(DATA)[1] >> (VIRTIO_F_SUSPEND - 40) & 1, 0);
	CHECK(!set_rev(1, 0));
	CHECK(!set_rev(2, 0));
	CHECK_EQ(c.revision, 1);
	CHECK(rejected(0x99, 0, 0));
}

TEST("ccw: a legacy driver sets no revision, and gets the legacy interface",
     "ccw.other.legacy-interfaces-setting-virtio-revision.4 "
     "ccw.other.legacy-interfaces-setting-virtio-revision.5")
{
	const uint8_t width[] = { 8, 4, 2, 2 };

	make(true);
	CHECK(rejected(0x99, 0, 0));		/* no command of virtio */
	CHECK_LT(c.revision, 0);
	CHECK(status(1));
	CHECK_EQ(c.revision, 0);
	CHECK(!set_rev(1, 0));
	CHECK(!set_rev(0, 0));
	CHECK(rejected(CCW_CMD_READ_STATUS, 0, 1));
	at(DATA)[4] = 1;			/* words beyond the first */
	CHECK(run(CCW_CMD_READ_FEAT, 0, 5));
	CHECK_EQ(vio_be_get(at(DATA), 4), 0);
	CHECK(write_feat(0, 1u << VIRTIO_F_EVENT_IDX | 1u << 23));
	CHECK(vio_dev_has(&blk.dev, VIRTIO_F_EVENT_IDX));
	CHECK(!vio_dev_has(&blk.dev, 23));
	CHECK(!status(11));			/* no FEATURES_OK */
	put(4, (const uint64_t[]){ RING, 4096, 0, 8 }, width);
	CHECK(run(CCW_CMD_SET_VQ, 0, 16));
	CHECK_EQ(queue[0].layout.device.v, RING + 4096);
	put(4, (const uint64_t[]){ 0, 0, 0, 0 }, width);
	CHECK(run(CCW_CMD_SET_VQ, 0, 16));
	CHECK_EQ(queue[0].state, VIO_QUEUE_STOPPED);
	put(4, (const uint64_t[]){ RING, 24, 0, 8 }, width);
	CHECK(rejected(CCW_CMD_SET_VQ, 0, 16));
}

/* What each command expects; READ_CONF and the like take any. */
static const struct { uint8_t code; uint16_t len; } lengths[] = {
	{ CCW_CMD_SET_VQ, 32 }, { CCW_CMD_SET_IND, 8 },
	{ CCW_CMD_SET_CONF_IND, 8 }, { CCW_CMD_READ_FEAT, 5 },
	{ CCW_CMD_WRITE_FEAT, 5 }, { CCW_CMD_WRITE_STATUS, 1 },
	{ CCW_CMD_READ_VQ_CONF, 4 }, { CCW_CMD_READ_STATUS, 1 },
};

TEST("ccw: lengths are checked, unless that is suppressed",
     "ccw.device.basic-concepts.1 ccw.device.basic-concepts.2 "
     "ccw.device.basic-concepts.3 ccw.device.basic-concepts.4")
{
	for (unsigned i = 0; i < VIO_ARRAY_LEN(lengths); i++) {
		uint16_t n = lengths[i].len;

		bring_up();
		memset(at(DATA), 0, 64);
		at(DATA)[0] = lengths[i].code == CCW_CMD_WRITE_STATUS ? 15 : 0;
		/* One too few, with and without. */
		CHECK(!run(lengths[i].code, 0, (uint16_t)(n - 1)));
		CHECK_EQ(st.subchannel, CCW_CSTAT_LENGTH);
		CHECK_EQ(st.device, CCW_DSTAT_GOOD);
		CHECK(rejected(lengths[i].code, CCW_FLAG_SLI,
			       (uint16_t)(n - 1)));
		CHECK_EQ(st.subchannel, 0);
		/* Too many: done, and said unless suppressed. */
		CHECK(!run(lengths[i].code, 0, (uint16_t)(n + 3)));
		CHECK_EQ(st.subchannel, CCW_CSTAT_LENGTH);
		CHECK_EQ(st.residual, 3);
		CHECK(run(lengths[i].code, CCW_FLAG_SLI, (uint16_t)(n + 3)));
		CHECK_EQ(st.residual, 3);
		CHECK(run(lengths[i].code, 0, n));
		CHECK_EQ(st.residual, 0);
	}
	CHECK(rejected(0x55, 0, 0));
	CHECK(run(CCW_CMD_BASIC_SENSE, CCW_FLAG_SLI, 1));
	CHECK_EQ(*at(DATA), CCW_SENSE_REJECT);
	CHECK(run(CCW_CMD_NOOP, CCW_FLAG_SLI, 0));
	CHECK(run(CCW_CMD_BASIC_SENSE, 0, 32));
	CHECK_EQ(*at(DATA), 0);
}

TEST("ccw: data that is nowhere is a program check", "")
{
	struct vio_ccw_command cmd = { CCW_CMD_SET_VQ, CCW_FLAG_SLI, 32,
				       GUEST + MEM - 31 };

	bring_up();
	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_OK);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	cmd.code = CCW_CMD_READ_CONF;
	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_OK);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	/* Ways to say where that are not offered. */
	cmd.addr = DATA;
	cmd.flags = CCW_FLAG_IDA;
	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_OK);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
}

TEST("ccw: a status that cannot be set is not, and features by words",
     "ccw.device.communicating-status-information.1 "
     "ccw.device.communicating-status-information.2")
{
	uint64_t got = 0;

	make(false);
	CHECK(set_rev(2, 0));
	for (unsigned i = 0; i < 5; i++) {
		at(DATA)[4] = (unsigned char)i;
		CHECK(run(CCW_CMD_READ_FEAT, 0, 5));
		if (i < 2)
			got |= (at(DATA)[0] | at(DATA)[1] << 8 |
				at(DATA)[2] << 16 |
				(uint64_t)at(DATA)[3] << 24) << 32 * i;
		else
			CHECK_EQ(vio_be_get(at(DATA), 4), 0);
	}
	CHECK_EQ(got, blk.dev.offered.w[0]);
	CHECK(got >> VIRTIO_F_SUSPEND & 1);
	CHECK(status(1));
	CHECK(status(3));
	CHECK_EQ(get_status(), 3);
	CHECK(!status(11));			/* no VERSION_1 */
	CHECK_EQ(st.device, REJECTED);
	CHECK_EQ(get_status(), 3);
	CHECK(!status(15));
	CHECK_EQ(get_status(), 3);
	CHECK(write_feat(1, 1));
	CHECK(write_feat(0, 1u << 23));		/* not offered */
	CHECK(!status(11));
	CHECK_EQ(get_status(), 3);
	CHECK(write_feat(0, 0));
	CHECK(write_feat(200, 1));		/* a word beyond all */
	CHECK(status(11));
	CHECK(!status(3));			/* bits stay */
	CHECK_EQ(get_status(), 11);
	/* Bits that are no driver's to set, with and without one that is. */
	CHECK(!status(15 | 32));
	CHECK_EQ(st.device, REJECTED);
	CHECK(!status(15 | VIRTIO_STATUS_NEEDS_RESET));
	CHECK(!status(15 | VIRTIO_STATUS_SUSPEND));	/* no such feature */
	CHECK_EQ(get_status(), 11);
}

TEST("ccw: what cannot be set of a device that sleeps is refused",
     "ccw.device.communicating-status-information.1")
{
	make(false);
	CHECK(set_rev(2, 0));
	CHECK(status(3));
	CHECK(write_feat(1, 1 | 1u << (VIRTIO_F_SUSPEND - 32)));
	CHECK(status(11));
	CHECK(!status(11 | VIRTIO_STATUS_SUSPEND));	/* it does not run */
	CHECK_EQ(get_status(), 11);
	CHECK(status(15));
	CHECK(status(15 | VIRTIO_STATUS_SUSPEND));
	CHECK_EQ(get_status(), 11 | VIRTIO_STATUS_SUSPEND);
	CHECK(!status(11 | VIRTIO_STATUS_SUSPEND | VIRTIO_STATUS_FAILED));
	CHECK_EQ(get_status(), 11 | VIRTIO_STATUS_SUSPEND);
	CHECK(status(15 | VIRTIO_STATUS_SUSPEND));
	CHECK_EQ(get_status(), 15);
}

TEST("ccw: queues: what is reserved is ignored, what cannot be is refused",
     "ccw.device.configuring-virtqueue.1")
{
	bring_up();
	CHECK_EQ(queue[0].state, VIO_QUEUE_RUNNING);
	CHECK_EQ(served, 2);			/* at its start, at DRIVER_OK */
	CHECK(!set_vq(RING, 0, SIZE));		/* it runs */
	CHECK(!set_vq(RING, 1, SIZE));		/* there is no other */
	CHECK(set_vq(0, 0, 0));
	CHECK_EQ(queue[0].state, VIO_QUEUE_STOPPED);
	CHECK_EQ(mem.pins, 0);
	CHECK(!set_vq(RING, 0, 3));
	CHECK(!set_vq(RING, 0, 2 * SIZE));
	CHECK(!set_vq(GUEST + MEM, 0, SIZE));
	CHECK(!set_vq(RING + 8, 0, SIZE));
	put(1, (const uint64_t[]){ 0 }, (const uint8_t[]){ 2 });
	CHECK(run(CCW_CMD_READ_VQ_CONF, 0, 4));
	CHECK_EQ(vio_be_get(at(DATA) + 2, 2), SIZE);
	put(1, (const uint64_t[]){ 1 }, (const uint8_t[]){ 2 });
	CHECK(run(CCW_CMD_READ_VQ_CONF, 0, 4));
	CHECK_EQ(vio_be_get(at(DATA) + 2, 2), 0);
}

TEST("ccw: a reset ends when it is done, and nothing is told after",
     "ccw.device.resetting-devices.1 ccw.device.resetting-devices.2")
{
	const struct vio_ccw_command cmd = { CCW_CMD_VDEV_RESET, 0, 0, 0 };
	/* A read of one sector: header, data, status. */
	const struct virtq_desc d[] = {
		{ vio_to_le64(DATA), vio_to_le32(16),
		  vio_to_le16(VIRTQ_DESC_F_NEXT), vio_to_le16(1) },
		{ vio_to_le64(DATA + 64), vio_to_le32(512), vio_to_le16(
		  VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE), vio_to_le16(2) },
		{ vio_to_le64(DATA + 32), vio_to_le32(1),
		  vio_to_le16(VIRTQ_DESC_F_WRITE), { 0 } },
	};
	vio_le16 idx = vio_to_le16(1);

	bring_up();
	put(1, (const uint64_t[]){ IND }, (const uint8_t[]){ 8 });
	CHECK(run(CCW_CMD_SET_IND, 0, 8));
	memset(at(DATA), 0, 64);
	memcpy(at(RING), d, sizeof(d));
	memcpy(at(RING + 0x402), &idx, 2);
	vio_queue_service(queue, 4);
	CHECK(held != NULL);
	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_E_AGAIN);
	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_E_AGAIN);
	CHECK_NE(vio_dev_status(&blk.dev), 0);
	held->done(held, VIO_OK);
	interrupts = 0;
	CHECK_EQ(vio_ccw_cmd(&c, &cmd, &st), VIO_OK);
	CHECK_EQ(st.device, CCW_DSTAT_GOOD);
	CHECK_EQ(get_status(), 0);
	CHECK_EQ(c.revision, 2);
	memset(at(IND), 0, 8);
	blk.dev.transport->queue_notify(&c, queue);
	vio_dev_config_changed(&blk.dev);
	CHECK_EQ(interrupts, 0);
	CHECK_EQ(vio_be_get(at(IND), 8), 0);
	CHECK_EQ(mem.pins, 0);
}

TEST("ccw: classic indicators, and those of the configuration", "")
{
	bring_up();
	blk.dev.transport->queue_notify(&c, queue);	/* none: nothing */
	CHECK_EQ(interrupts, 0);
	put(1, (const uint64_t[]){ IND }, (const uint8_t[]){ 8 });
	CHECK(run(CCW_CMD_SET_IND, 0, 8));
	put(1, (const uint64_t[]){ IND + 8 }, (const uint8_t[]){ 8 });
	CHECK(run(CCW_CMD_SET_CONF_IND, 0, 8));
	blk.dev.transport->queue_notify(&c, queue);
	CHECK_EQ(vio_be_get(at(IND), 8), 1);
	CHECK_EQ(interrupts, 1);
	vio_blk_resize(&blk, 99);
	CHECK_EQ(vio_be_get(at(IND + 8), 8), 1);
	CHECK_EQ(interrupts, 2);
	CHECK(run(CCW_CMD_READ_CONF, CCW_FLAG_SLI, 200));
	CHECK_EQ(*at(DATA), 99);
	CHECK_EQ(st.residual, 200 - blk.dev.config_len);
	/* The front of it alone, as Linux takes it. */
	CHECK(run(CCW_CMD_READ_CONF, 0, 8));
	/* Indicators that are nowhere: told to the log, and to nobody else. */
	put(1, (const uint64_t[]){ GUEST + MEM }, (const uint8_t[]){ 8 });
	CHECK(run(CCW_CMD_SET_IND, 0, 8));
	blk.dev.transport->queue_notify(&c, queue);
	CHECK_EQ(interrupts, 2);
}

static bool set_adapter(uint64_t bit_nr, uint64_t isc)
{
	const uint64_t v[] = { IND, IND + 64, bit_nr, isc };

	put(4, v, (const uint8_t[]){ 8, 8, 8, 1 });
	return run(CCW_CMD_SET_IND_ADAPTER, 0, 25);
}

TEST("ccw: two-stage indicators, one interrupt until the summary is cleared",
     "ccw.device.notification-via-adapter-i-o-interrupts.1 "
     "ccw.device.setting-up-two-stage-queue-indicators.1 "
     "ccw.other.setting-up-classic-queue-indicators.1 "
     "ccw.other.setting-up-two-stage-queue-indicators.1")
{
	bring_up();
	CHECK(!set_adapter(11, 8));		/* there are 8 subclasses */
	CHECK(set_adapter(11, 6));
	blk.dev.transport->queue_notify(&c, queue);
	CHECK_EQ(*at(IND), 1);
	CHECK_EQ(at(IND + 64)[1], 0x10);	/* bit 11 from the left */
	CHECK_EQ(adapter_interrupts, 1);
	blk.dev.transport->queue_notify(&c, queue);
	CHECK_EQ(adapter_interrupts, 1);
	*at(IND) = 0;
	blk.dev.transport->queue_notify(&c, queue);
	CHECK_EQ(adapter_interrupts, 2);
	CHECK_EQ(interrupts, 0);
	/* One or the other. */
	put(1, (const uint64_t[]){ IND }, (const uint8_t[]){ 8 });
	CHECK(rejected(CCW_CMD_SET_IND, 0, 8));
	CHECK(run(CCW_CMD_VDEV_RESET, 0, 0));
	put(1, (const uint64_t[]){ IND }, (const uint8_t[]){ 8 });
	CHECK(run(CCW_CMD_SET_IND, 0, 8));
	CHECK(!set_adapter(0, 6));
}

TEST("ccw: notifications by hypercall",
     "ccw.device.guest-host-notification.1 "
     "ccw.device.guest-host-notification.2")
{
	bring_up();
	CHECK_EQ(vio_ccw_subchannel(0xffffffff00010042), 0x00010042);
	served = 0;
	CHECK_EQ(vio_ccw_notify(&c, 0, 77), 77);
	CHECK_EQ(served, 1);
	vio_ccw_notify(&c, 1, 0);
	vio_ccw_notify(&c, UINT64_MAX, 0);
	vio_ccw_notify(&c, 1ull << 16, 0);	/* no notification data */
	CHECK_EQ(served, 1);
}

/* -- programs ------------------------------------------------------------ */

static void ccw(unsigned i, uint8_t code, uint8_t flags, uint16_t count,
		uint64_t addr)
{
	unsigned char *p = at(PROGRAM) + 8 * i;

	p[0] = code;
	p[1] = flags;
	vio_be_put(p + 2, 2, count);
	vio_be_put(p + 4, 4, addr);
}

static uint64_t start(uint64_t from)
{
	CHECK_EQ(vio_ccw_start(&c, &from, &st), VIO_OK);
	return from;
}

TEST("ccw: programs: chained commands, transfers, and where they end", "")
{
	make(false);
	vio_be_put(at(DATA), 2, 2);
	vio_be_put(at(DATA + 2), 2, 0);
	*at(DATA + 8) = 1;
	ccw(0, CCW_CMD_SET_VIRTIO_REV, CCW_FLAG_CC, 4, DATA);
	ccw(1, CCW_CMD_TIC, 0, 0, PROGRAM + 24);
	ccw(3, CCW_CMD_WRITE_STATUS, CCW_FLAG_CC, 1, DATA + 8);
	ccw(4, CCW_CMD_READ_STATUS, 0, 1, DATA + 9);
	CHECK_EQ(start(PROGRAM), PROGRAM + 40);
	CHECK_EQ(st.device, CCW_DSTAT_GOOD);
	CHECK_EQ(*at(DATA + 9), 1);
	/* A refusal ends the chain. */
	ccw(0, 0x99, CCW_FLAG_CC, 0, DATA);
	CHECK_EQ(start(PROGRAM), PROGRAM + 8);
	CHECK_EQ(st.device, REJECTED);
	/* So does a length that is wrong. */
	ccw(0, CCW_CMD_READ_STATUS, CCW_FLAG_CC, 2, DATA);
	CHECK_EQ(start(PROGRAM), PROGRAM + 8);
	CHECK_EQ(st.subchannel, CCW_CSTAT_LENGTH);
	/* Loops, jumps to jumps, beginnings that are none. */
	ccw(0, CCW_CMD_NOOP, CCW_FLAG_CC | CCW_FLAG_SLI, 0, DATA);
	ccw(1, CCW_CMD_TIC, 0, 0, PROGRAM);
	start(PROGRAM);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	ccw(1, CCW_CMD_TIC, 0, 0, PROGRAM + 16);
	ccw(2, CCW_CMD_TIC, 0, 0, PROGRAM);
	start(PROGRAM);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	start(PROGRAM + 8);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	start(PROGRAM + 4);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	start(GUEST + MEM);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
	start(UINT64_MAX);
	CHECK_EQ(st.subchannel, CCW_CSTAT_PROGRAM);
}

TEST("ccw: any program, any data, any order: no harm", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static const uint8_t codes[] = { 0x13, 0x33, 0x43, 0x53, 0x73, 0x12,
		0x11, 0x22, 0x21, 0x31, 0x32, 0x83, 0x72, 3, 4, 8, 0xe4 };

	make(true);
	for (unsigned i = 0; i < 100000; i++) {
		struct vio_ccw_command cmd = {
			vtest_below(&rnd, 9) ? codes[vtest_below(&rnd,
				sizeof(codes))] : (uint8_t)vtest_u64(&rnd),
			vtest_below(&rnd, 9) ? CCW_FLAG_SLI :
				(uint8_t)vtest_u64(&rnd),
			(uint16_t)vtest_below(&rnd, 40), DATA };

		vtest_fill(&rnd, at(DATA), 40);
		if (vtest_below(&rnd, 4))
			memset(at(DATA), 0, vtest_below(&rnd, 40));
		vio_ccw_cmd(&c, &cmd, &st);
		if (held)
			held->done(held, VIO_OK);
		held = NULL;
		if (vtest_below(&rnd, 64) == 0)
			vio_ccw_enabled(&c);
		vio_ccw_notify(&c, vtest_below(&rnd, 3), 0);
		vio_queue_service(queue, 2);
	}
	vio_dev_reset(&blk.dev);
	CHECK_EQ(mem.pins, 0);
}
