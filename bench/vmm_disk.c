/* SPDX-License-Identifier: MIT */
/*
 * How often a request for a disk makes a guest leave its processor for the
 * kernel: each kick does, by its ioeventfd, and none goes on to our program.
 * A driver of ours stands where the guest would be, on a thread of its own,
 * and its kicks are counted; the device works on its thread as ever.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vireo/bus_mmio.h>
#include <vireo/driver_blk.h>
#include <vireo/spec/mmio.h>

#include "bench/vmm_disk.h"
#include "host/clock.h"
#include "vmm/devices.h"
#include "vmm/machine.h"

enum {
	WINDOW = 1 << 20, AREA = 8 << 20, DATA = WINDOW + AREA / 2,
	DEPTH_MAX = 64, BLOCK = 4096, DISK = 64 << 20,
};

#define RUN_NS	500000000ull

static struct machine m;
static struct dev *dev;
static uint64_t kicks;

static uint32_t get(void *ctx, uint32_t off, unsigned len)
{
	(void)ctx;
	return (uint32_t)bus_read(&m.mmio, VMM_MMIO_BASE + off, len);
}

/* A kick goes where KVM would have it go. */
static void put(void *ctx, uint32_t off, uint32_t value, unsigned len)
{
	(void)ctx;
	if (off != VIRTIO_MMIO_QUEUE_NOTIFY) {
		bus_write(&m.mmio, VMM_MMIO_BASE + off, value, len);
		return;
	}
	kicks++;
	dev_kick(dev, value);
}

static int look_again(void *ctx)
{
	(void)ctx;
	return VIO_OK;
}

static const struct vio_mmio_access access_vmm = { get, put, look_again };

static void submit(struct vio_blkdrv *blk, struct vio_blkdrv_req *r,
		   uint64_t n)
{
	r->sector = n * 40503 % (DISK / BLOCK) * (BLOCK / 512);
	vio_blkdrv_submit(blk, 0, r);
}

/* All that is through goes out again; kicks by request, and the rate. */
static void load(struct vio_blkdrv *blk, unsigned depth)
{
	static struct vio_blkdrv_req req[DEPTH_MAX];
	static struct vio_seg seg[DEPTH_MAX];
	uint64_t start = clock_ns(), done = 0, next = 0;
	struct vio_blkdrv_req *r;

	kicks = 0;
	for (unsigned i = 0; i < depth; i++) {
		seg[i] = (struct vio_seg){ m.ram.host + DATA + i * BLOCK,
					   BLOCK };
		req[i] = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_IN,
						  .seg = &seg[i],
						  .nr_seg = 1 };
		submit(blk, &req[i], next++);
	}
	while (next) {
		vio_blkdrv_commit(blk, 0);
		while ((r = vio_blkdrv_poll(blk, 0))) {
			done++;
			submit(blk, r, next++);
		}
		if (clock_ns() - start >= RUN_NS)
			break;
	}
	printf("%8.3f     kicks a request, %u at a time; %.0f thousand a second\n",
	       (double)kicks / (double)done, depth,
	       (double)done * 1e6 / RUN_NS);
	/* Come to rest. */
	vio_blkdrv_commit(blk, 0);
	for (unsigned i = 0; i < depth;)
		i += vio_blkdrv_poll(blk, 0) != NULL;
}

static int start(struct vio_blkdrv *blk, struct vio_bus_mmio *bus)
{
	static unsigned char priv[1 << 20] __attribute__((aligned(64)));
	const struct vio_vq_limits limits = { 256, 4 };
	struct vio_features f = vio_blkdrv_features();
	struct vio_drv_mem mem = {
		.window = { m.ram.host + WINDOW, { WINDOW }, AREA },
		.shared = { m.ram.host + WINDOW, AREA / 2 },
		.priv = { priv, sizeof(priv) },
	};

	if (dev_start(dev) ||
	    vio_bus_mmio_probe(bus, &access_vmm, NULL) != VIO_OK)
		return -1;
	return vio_blkdrv_init(blk, &vio_bus_mmio_ops, bus, &f, &limits, 1,
			       &mem);
}

int bench_disk(void)
{
	const struct machine_conf conf = {
		.mem = RAM_MIN, .cpus = 1, .transport = MACHINE_MMIO,
	};
	char path[32];
	const struct dev_blk_conf disk = { .path = path, .num_queues = 1 };
	static struct vio_blkdrv blk;
	static struct loop loop;
	struct vio_bus_mmio bus;
	int fd = memfd_create("disk", MFD_CLOEXEC), err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, DISK) || loop_init(&loop) ||
	    machine_open(&m, &conf, &loop))
		return 1;
	err = dev_blk_open(&dev, &disk);
	if (!err)
		err = machine_add(&m, dev);
	if (!err)
		err = start(&blk, &bus);
	if (!err) {
		load(&blk, 1);
		load(&blk, 8);
		load(&blk, 64);
		err = vio_blkdrv_reset(&blk, NULL, NULL);
	}
	if (dev)
		dev_stop(dev);
	machine_close(&m);
	loop_fini(&loop);
	close(fd);
	return err ? 1 : 0;
}
