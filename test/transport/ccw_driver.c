/* SPDX-License-Identifier: MIT */
/*
 * ccw_driver.c - what our driver makes of devices of each revision over
 * channel I/O, and of such as refuse.
 */
#include <vireo/bus_ccw.h>
#include <vireo/driver_blk.h>
#include "test/transport/ccw_rig.h"

static uint8_t issued[256];
static unsigned nr_issued;
static unsigned length[256];	/* that each had */
static enum { NEITHER, CONTROL_UNIT, DEVICE } foreign;	/* of another type */

static int access_start(void *ctx, uint32_t program, struct vio_ccw_end *end)
{
	uint64_t from = program;

	(void)ctx;
	CHECK_LT(nr_issued, sizeof(issued));
	length[nr_issued] = (unsigned)vio_be_get(at(program) + 2, 2);
	issued[nr_issued++] = *at(program);
	CHECK_EQ(vio_ccw_start(&c, &from, &st), VIO_OK);
	if (foreign && *at(program) == CCW_CMD_SENSE_ID)
		for (unsigned i = 0; i < 3; i++)	/* type, then model */
			at(DATA)[offsetof(struct vio_ccw_area, data) +
				 (foreign == DEVICE ? 4 + i : 2)]++;
	*end = (struct vio_ccw_end){ st.device, st.subchannel, c.sense,
				     st.residual };
	return VIO_OK;
}

static uint64_t given;		/* the cookie that the driver had last */

static uint64_t access_notify(void *ctx, uint64_t data, uint64_t cookie)
{
	(void)ctx;
	CHECK_EQ(cookie, given);
	vio_ccw_notify(&c, data, cookie);
	given = cookie * 3 + 1;
	return given;
}

static int access_wait(void *ctx)
{
	(void)ctx;
	return VIO_OK;
}

static const struct vio_ccw_access access = { access_start, access_notify,
					      access_wait };

static int probe(struct vio_bus_ccw *bus, unsigned lowest)
{
	nr_issued = 0;
	return vio_bus_ccw_probe(bus, &access, NULL, (void *)at(DATA),
				 vio_addr_of(DATA), lowest, -1);
}

static unsigned count(uint8_t code)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_issued; i++)
		n += issued[i] == code;
	return n;
}

TEST("ccw: the driver starts with the highest revision and goes down",
     "ccw.driver.basic-concepts.1 ccw.driver.basic-concepts.2 "
     "ccw.driver.setting-virtio-revision.1 "
     "ccw.driver.setting-virtio-revision.2 "
     "ccw.driver.setting-virtio-revision.3 "
     "ccw.other.legacy-interfaces-setting-virtio-revision.1 "
     "ccw.other.legacy-interfaces-setting-virtio-revision.2")
{
	struct vio_bus_ccw bus;

	for (unsigned max = 1; max <= 2; max++) {
		make(false);
		c.max_revision = (uint8_t)max;
		CHECK_EQ(probe(&bus, 1), VIO_OK);
		CHECK_EQ(bus.revision, max);
		CHECK_EQ(bus.device_id, VIRTIO_ID_BLOCK);
		CHECK_EQ(issued[0], CCW_CMD_SENSE_ID);
		CHECK_EQ(issued[1], CCW_CMD_SET_VIRTIO_REV);
		CHECK_EQ(length[0], 7);
		CHECK_EQ(length[1], 4);
		CHECK_EQ(count(CCW_CMD_SET_VIRTIO_REV), 3 - max);
		CHECK_EQ(nr_issued, 4 - max);
	}
	/* A device of before, which knows no revisions at all. */
	make(true);
	CHECK(status(1));
	CHECK_EQ(probe(&bus, 1), VIO_E_UNSUPP);
	CHECK_EQ(probe(&bus, 0), VIO_OK);
	CHECK_EQ(bus.revision, 0);
	CHECK(bus.ops == &vio_bus_ccw_legacy_ops);
	CHECK(bus.ops->size_fixed);
	/* A transitional one whose highest is 0. */
	make(true);
	c.max_revision = 0;
	CHECK_EQ(probe(&bus, 0), VIO_OK);
	CHECK_EQ(c.revision, 0);
	/* Which a driver that needs revision 1 leaves alone. */
	make(true);
	c.max_revision = 0;
	CHECK_EQ(probe(&bus, 1), VIO_E_UNSUPP);
	CHECK_LT(c.revision, 0);
	CHECK_EQ(nr_issued, 3);
	make(false);
	foreign = CONTROL_UNIT;
	CHECK_EQ(probe(&bus, 1), VIO_E_UNSUPP);
	CHECK_EQ(nr_issued, 1);
	foreign = DEVICE;
	CHECK_EQ(probe(&bus, 1), VIO_OK);
	foreign = NEITHER;
}

TEST("ccw: a status that is refused stays, and is read where it can be",
     "ccw.driver.communicating-status-information.1 "
     "ccw.driver.communicating-status-information.2 "
     "ccw.driver.communicating-status-information.3")
{
	for (unsigned rev = 1; rev <= 2; rev++) {
		struct vio_bus_ccw bus;
		uint32_t s;

		make(false);
		c.max_revision = (uint8_t)rev;
		CHECK_EQ(probe(&bus, 1), VIO_OK);
		CHECK_EQ(bus.ops->set_status(&bus, 3), VIO_OK);
		CHECK_EQ(bus.ops->set_status(&bus, 11), VIO_E_UNSUPP);
		CHECK_EQ(bus.ops->get_status(&bus, &s), VIO_OK);
		CHECK_EQ(s, 3);
		vio_dev_needs_reset(&blk.dev);
		CHECK_EQ(bus.ops->get_status(&bus, &s), VIO_OK);
		CHECK_EQ(s, rev < 2 ? 3 : 3 | VIRTIO_STATUS_NEEDS_RESET);
		CHECK_EQ(count(CCW_CMD_READ_STATUS), rev < 2 ? 0 : 2);
	}
}

TEST("ccw: the summary is cleared before the bits are taken",
     "ccw.driver.notification-via-adapter-i-o-interrupts.1")
{
	struct vio_ccw_area *area = (void *)at(DATA);
	struct vio_bus_ccw bus;
	struct vio_ccw_events e;

	make(false);
	CHECK_EQ(probe(&bus, 1), VIO_OK);
	bus.isc = 3;
	area->summary = 1;
	area->indicators[0] = 0xa0;
	area->config_indicators[7] = 1;
	e = vio_bus_ccw_interrupt(&bus);
	CHECK_EQ(area->summary, 0);
	CHECK_EQ(e.queues, 5);
	CHECK(e.config);
	e = vio_bus_ccw_interrupt(&bus);
	CHECK_EQ(e.queues, 0);
	CHECK(!e.config);
	bus.isc = -1;
	area->indicators[7] = 2;
	CHECK_EQ(vio_bus_ccw_interrupt(&bus).queues, 2);
}

TEST("ccw: the cookie comes back; a reset is over when its command is",
     "ccw.driver.guest-host-notification.1 ccw.driver.resetting-devices.1")
{
	struct vio_features none = { { 0, 0 } };
	struct vio_bus_ccw bus;
	struct vio_drv drv;

	make(false);
	given = 0;
	CHECK_EQ(probe(&bus, 1), VIO_OK);
	for (unsigned i = 0; i < 5; i++)
		bus.ops->notify(&bus, 0, 0);
	CHECK_GT(given, 0);
	CHECK_EQ(vio_drv_begin(&drv, bus.ops, &bus, &none), VIO_OK);
	CHECK_EQ(vio_dev_status(&blk.dev), 11);
	nr_issued = 0;
	CHECK_EQ(vio_drv_reset(&drv), VIO_OK);
	CHECK_EQ(vio_dev_status(&blk.dev), 0);
	/* Verified, as one may. */
	CHECK_EQ(nr_issued, 2);
	CHECK_EQ(issued[0], CCW_CMD_VDEV_RESET);
	CHECK_EQ(issued[1], CCW_CMD_READ_STATUS);
}

static unsigned unheard;	/* the command that the device rejects */

static int deaf_start(void *ctx, uint32_t program, struct vio_ccw_end *end)
{
	if (*at(program) != unheard)
		return access_start(ctx, program, end);
	*end = (struct vio_ccw_end){ REJECTED, 0, CCW_SENSE_REJECT, 0 };
	return VIO_OK;
}

static int never(struct vio_dev *dev, const struct vio_features *f)
{
	(void)dev;
	(void)f;
	return VIO_E_UNSUPP;
}

TEST("ccw: a driver is not ready whose DRIVER_OK or indicators were refused",
     "ccw.driver.communicating-status-information.1")
{
	static const unsigned refused[] = { CCW_CMD_WRITE_STATUS,
		CCW_CMD_SET_IND, CCW_CMD_SET_CONF_IND };
	const struct vio_ccw_access deaf = { deaf_start, access_notify,
					     access_wait };
	struct vio_features none = { { 0, 0 } };
	struct vio_bus_ccw bus;
	struct vio_drv drv;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(refused); i++) {
		make(false);
		unheard = 0;
		CHECK_EQ(probe(&bus, 1), VIO_OK);
		bus.access = &deaf;
		CHECK_EQ(vio_drv_begin(&drv, bus.ops, &bus, &none), VIO_OK);
		unheard = refused[i];
		CHECK_EQ(vio_drv_ready(&drv), VIO_E_UNSUPP);
		CHECK_EQ(drv.status, 11);
		CHECK_EQ(vio_dev_status(&blk.dev), 11);
	}
	/* Nor is FEATURES_OK, and FAILED can be said of that. */
	make(false);
	unheard = 0;
	CHECK_EQ(probe(&bus, 1), VIO_OK);
	blk.dev.ops = &(struct vio_dev_ops){ .id = VIRTIO_ID_BLOCK,
					     .check_features = never };
	CHECK_EQ(vio_drv_begin(&drv, bus.ops, &bus, &none), VIO_E_UNSUPP);
	CHECK_EQ(vio_dev_status(&blk.dev), 3 | VIRTIO_STATUS_FAILED);
}
