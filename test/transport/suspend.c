/* SPDX-License-Identifier: MIT */
/*
 * suspend.c - a device is suspended and goes on, its driver waits for both:
 * over the registers of the PCI transport, with a disk that is late.
 */
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>

#include "test/transport/pci_machine.h"

#define RUNNING		(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | \
			 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)
#define ASLEEP		((RUNNING & ~VIRTIO_STATUS_DRIVER_OK) | \
			 VIRTIO_STATUS_SUSPEND)

static struct vio_bus_pci bus;
static struct vio_blkdrv bd;	/* large */
static struct vio_seg data;

static void start(unsigned set)
{
	const struct vio_vq_limits limits = { RIG_SIZE, 4 };
	struct vio_features f = machine_features(set);
	struct vio_drv_mem dm;

	rig_blk(&rig_conf);
	machine_reset(VIO_PCI_BY_HOOK);
	rig_place();
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, MACHINE_AT), VIO_OK);
	dm = machine_mem();
	vio_feature_set(&f, VIRTIO_BLK_F_FLUSH);
	vio_feature_set(&f, VIRTIO_BLK_F_CONFIG_WCE);
	CHECK_EQ(vio_blkdrv_init(&bd, bus.ops, &bus, &f, &limits, 1, &dm),
		 VIO_OK);
	CHECK(vio_drv_has(&bd.drv, VIRTIO_F_SUSPEND));
	data = (struct vio_seg){ rig.ram + RIG_MEM / 2, 512 };
}

static struct vio_blkdrv_req request(uint64_t sector)
{
	return (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_IN,
		.sector = sector, .seg = &data, .nr_seg = 1 };
}

static void read_one(uint64_t sector)
{
	struct vio_blkdrv_req r = request(sector);

	memset(rig.disk + sector * 512, (int)sector + 1, 512);
	CHECK_EQ(vio_blkdrv_sync(&bd, 0, &r), VIO_OK);
	CHECK_EQ(((unsigned char *)data.base)[511], sector + 1);
}

TEST("it sleeps and goes on where it was, on every ring",
     "core.device.device-suspend.3 core.device.device-suspend.6 "
     "core.device.device-suspend.7 core.driver.device-suspend.2 "
     "core.driver.device-suspend.6")
{
	static unsigned char before[RIG_MEM];

	for (unsigned set = 0; set < 16; set++) {
		start(set);
		for (unsigned i = 0; i < 40; i++) {
			read_one(i);
			CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
			CHECK_EQ(vio_dev_status(rig.dev), ASLEEP);
			memcpy(before, rig.ram, RIG_MEM);
			rig.dev->transport->queue_ready(&rig.p, rig.queue);
			CHECK_EQ(vio_queue_service(rig.queue, 8),
				 VIO_SERVICE_IDLE);
			CHECK_MEMEQ(rig.ram, before, RIG_MEM);
			CHECK_EQ(vio_drv_resume(&bd.drv), VIO_OK);
			CHECK_EQ(vio_dev_status(rig.dev), RUNNING);
			read_one(i + 1);
		}
		CHECK_EQ(vio_blkdrv_reset(&bd, NULL, NULL), VIO_OK);
		CHECK_EQ(rig.mem.pins, 0);
	}
}

TEST("what is in flight is done and told of before",
     "core.device.device-suspend.8")
{
	struct vio_blkdrv_req r[2] = { request(1), request(2) };
	struct vio_blkdrv_req *got;
	unsigned edges;

	start(1);
	vio_bus_pci_intx(&bus);
	rig.hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r[0]), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(rig.held != NULL);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, RUNNING |
		       VIRTIO_STATUS_SUSPEND, 1);
	CHECK_EQ(vio_dev_status(rig.dev), RUNNING);	/* not yet */
	/* It stops taking buffers meanwhile, and cannot be talked out. */
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r[1]), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, RUNNING, 1);
	CHECK_EQ(vio_dev_status(rig.dev), RUNNING);
	edges = rig.edges;
	rig_finish();
	CHECK(rig.edges > edges && rig.line);
	CHECK_EQ(vio_dev_status(rig.dev), ASLEEP);
	CHECK_EQ(rig.queue[0].inflight, 0);
	got = vio_blkdrv_poll(&bd, 0);
	CHECK(got == &r[0]);
	CHECK(!vio_blkdrv_poll(&bd, 0));
	/* The other one comes when it goes on. */
	rig.hold_back = false;
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, RUNNING, 1);
	CHECK_EQ(vio_dev_status(rig.dev), RUNNING);
	CHECK(rig.asked[0]);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(vio_blkdrv_poll(&bd, 0) == &r[1]);
}

TEST("the driver waits for what is in flight, and adds nothing",
     "core.driver.device-suspend.1 core.driver.device-suspend.2 "
     "core.driver.device-suspend.3 core.driver.device-suspend.4 "
     "core.driver.device-suspend.5")
{
	struct vio_blkdrv_req r[2] = { request(1), request(2) };
	unsigned notifies;

	start(4);
	CHECK_EQ(vio_drv_resume(&bd.drv), VIO_E_STATE);
	rig.hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r[0]), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	CHECK(!rig.held);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_E_STATE);
	CHECK(vio_blkdrv_poll(&bd, 0) == &r[0]);
	notifies = watch.notifies[0];
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r[1]), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(watch.notifies[0], notifies);
	CHECK_EQ(vio_drv_config_write(&bd.drv, 32, "", 1), VIO_E_STATE);
	rig.hold_back = false;
	CHECK_EQ(vio_drv_resume(&bd.drv), VIO_OK);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(!vio_blkdrv_poll(&bd, 0));		/* was not published */
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(watch.notifies[0], notifies + 1);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	CHECK(vio_blkdrv_poll(&bd, 0) == &r[1]);
}

static unsigned looks;

/* A device that takes its time to wake. */
static int late_status(void *b, uint32_t *status)
{
	int err = vio_bus_pci_ops.get_status(b, status);

	if (++looks < 4)
		*status = ASLEEP;
	return err;
}

static int just_wait(void *b, uint16_t index)
{
	(void)b;
	(void)index;
	return VIO_OK;
}

TEST("the driver waits until the device is awake",
     "core.driver.device-suspend.6")
{
	struct vio_bus_ops late = vio_bus_pci_ops;

	late.get_status = late_status;
	late.wait = just_wait;
	start(4);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	bd.drv.bus = &late;
	looks = 0;
	CHECK_EQ(vio_drv_resume(&bd.drv), VIO_OK);
	CHECK_EQ(looks, 4);
	CHECK_EQ(vio_dev_status(rig.dev), RUNNING);
}

TEST("the bit means nothing before DRIVER_OK, nor without the feature",
     "core.device.device-suspend.1 core.driver.device-suspend.1")
{
	struct vio_drv drv = { .bus = NULL };

	rig_blk(&rig_conf);
	rig_place();
	rig_negotiate(0, RIG_V1 | 1u << (VIRTIO_F_SUSPEND - 32));
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 11 |
		       VIRTIO_STATUS_SUSPEND, 1);
	CHECK_EQ(vio_dev_status(rig.dev), 11);
	rig_negotiate(0, RIG_V1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 15, 1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, RUNNING |
		       VIRTIO_STATUS_SUSPEND, 1);
	CHECK_EQ(vio_dev_status(rig.dev), RUNNING);
	CHECK_EQ(vio_drv_suspend(&drv), VIO_E_UNSUPP);
	vio_feature_set(&drv.features, VIRTIO_F_SUSPEND);
	CHECK_EQ(vio_drv_suspend(&drv), VIO_E_STATE);
}

TEST("configuration: writes are ignored, changes are told of afterwards",
     "core.device.device-suspend.2 core.device.device-suspend.4 "
     "core.device.device-suspend.5")
{
	start(0);
	vio_bus_pci_intx(&bus);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), 0);
	rig_mem_put(rig_at_device() + 32, 0, 1);	/* write cache */
	CHECK_EQ(rig_mem(rig_at_device() + 32, 1), 1);
	vio_blk_resize(&rig.blk, 99);
	CHECK(!rig.line);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), 0);
	CHECK_EQ(vio_drv_resume(&bd.drv), VIO_OK);
	CHECK(rig.line);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), VIRTIO_PCI_ISR_CONFIG);
	CHECK_EQ(rig_mem(rig_at_device(), 4), 99);
	rig_mem_put(rig_at_device() + 32, 0, 1);
	CHECK_EQ(rig_mem(rig_at_device() + 32, 1), 0);
	/* Once. */
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	CHECK_EQ(vio_drv_resume(&bd.drv), VIO_OK);
	CHECK_EQ(vio_bus_pci_interrupt(&bus), 0);
}

TEST("resets, of the device and of a queue, amid", "")
{
	struct vio_blkdrv_req r = request(1);

	start(0);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	CHECK_EQ(vio_blkdrv_reset(&bd, NULL, NULL), VIO_OK);
	CHECK_EQ(vio_dev_status(rig.dev), 0);
	/* while it waits for the last request */
	start(0);
	rig.hold_back = true;
	CHECK_EQ(vio_blkdrv_submit(&bd, 0, &r), VIO_OK);
	vio_blkdrv_commit(&bd, 0);
	CHECK_EQ(vio_queue_service(rig.queue, 8), VIO_SERVICE_IDLE);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, RUNNING |
		       VIRTIO_STATUS_SUSPEND, 1);
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, 0, 1);
	CHECK_EQ(vio_dev_status(rig.dev), RUNNING);
	rig_finish();
	CHECK_EQ(vio_dev_status(rig.dev), 0);
	CHECK_EQ(rig.mem.pins, 0);
	/* a queue, which then is not what it was */
	start(0);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	CHECK_EQ(vio_drv_queue_reset(&bd.drv, 0), VIO_OK);
	CHECK_EQ(vio_drv_resume(&bd.drv), VIO_OK);
	CHECK_EQ(rig.queue[0].state, VIO_QUEUE_STOPPED);
}

TEST("a device that needs a reset is not suspended, nor one that cannot go on",
     "core.device.device-suspend.6 core.device.device-suspend.7")
{
	start(0);
	vio_dev_needs_reset(rig.dev);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_E_PEER);
	start(0);
	CHECK_EQ(vio_drv_suspend(&bd.drv), VIO_OK);
	rig.queue[0].layout.desc.v = 0;		/* the ring is gone */
	rig_common_put(VIRTIO_PCI_COMMON_DEVICE_STATUS, RUNNING, 1);
	CHECK(vio_dev_status(rig.dev) & VIRTIO_STATUS_NEEDS_RESET);
}
