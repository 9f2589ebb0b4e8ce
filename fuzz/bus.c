/* SPDX-License-Identifier: MIT */
/*
 * The driver sides of MMIO, of both versions, and of channel I/O against a
 * device that answers anything. Whatever it answers, the driver touches only
 * its registers, and names only its own memory in channel programs.
 *
 * The input: a byte that chooses bus and driver, then what registers read, or
 * how each channel command ends and what it leaves.
 */
#include <string.h>
#include <vireo/bus_ccw.h>
#include <vireo/bus_mmio.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_net.h>
#include <vireo/spec/mmio.h>

#include "fuzz/guest.h"

#define PATIENCE	200u
#define WINDOW_ADDR	0x100000u
#define WINDOW		0x80000u
#define AREA_AT		(WINDOW - 0x1000u)	/* of channel I/O */

struct device {
	struct bytes in;
	unsigned patience;
	bool honest;		/* says what it is, at least */
	bool legacy;
};

static unsigned char window[WINDOW] __attribute__((aligned(4096)));

static int wait(void *ctx)
{
	struct device *d = ctx;

	return d->patience-- ? VIO_OK : VIO_E_IO;
}

/* -- MMIO ----------------------------------------------------------------- */

static uint32_t reg_read(void *ctx, uint32_t off, unsigned len)
{
	struct device *d = ctx;

	must((len == 1 || len == 2 || len == 4) && off % len == 0,
	     "a register or a field, as a whole");
	must(off >= VIRTIO_MMIO_CONFIG || len == 4, "registers have 32 bits");
	must(off < 0x10000, "within the device's memory");
	if (d->honest && off == VIRTIO_MMIO_MAGIC_VALUE)
		return 0x74726976;
	if (d->honest && off == VIRTIO_MMIO_VERSION)
		return d->legacy ? 1 : 2;
	return bytes_u32(&d->in) & (UINT32_MAX >> (32 - 8 * len));
}

static void reg_write(void *ctx, uint32_t off, uint32_t v, unsigned len)
{
	(void)ctx;
	(void)v;
	must(off % len == 0 && off < 0x10000, "within the device's memory");
	must(off >= VIRTIO_MMIO_CONFIG || len == 4, "registers have 32 bits");
}

static const struct vio_mmio_access mmio = { reg_read, reg_write, wait };

/* -- channel I/O ---------------------------------------------------------- */

static unsigned char *in_window(uint32_t addr, uint32_t len)
{
	must(addr >= WINDOW_ADDR && addr - WINDOW_ADDR <= WINDOW &&
	     len <= WINDOW - (addr - WINDOW_ADDR),
	     "channel programs name the driver's memory only");
	return window + (addr - WINDOW_ADDR);
}

static int start(void *ctx, uint32_t program, struct vio_ccw_end *end)
{
	struct device *d = ctx;
	struct vio_ccw1 ccw;
	uint8_t how = bytes_u8(&d->in);
	unsigned char *data;
	const uint8_t *from;
	uint32_t len;
	size_t n;

	memcpy(&ccw, in_window(program, sizeof(ccw)), sizeof(ccw));
	len = (uint32_t)vio_be_get(ccw.count, 2);
	data = in_window((uint32_t)vio_be_get(ccw.addr, 4), len);
	n = bytes_take(&d->in, len, &from);
	/* Any command may leave anything: the memory is shared. */
	memcpy(data, from, n);
	if (d->honest && ccw.code == CCW_CMD_SENSE_ID) {
		data[0] = 0xff;
		vio_be_put(data + 1, 2, VIO_CCW_CU_TYPE);
		data[3] = 2;
	}
	*end = (struct vio_ccw_end){ .device = CCW_DSTAT_GOOD };
	if (how > 0xf0)
		end->device |= CCW_DSTAT_UNIT_CHECK;
	if (how > 0xf8)
		end->sense = CCW_SENSE_REJECT;
	if (how == 0xf0)
		end->subchannel = CCW_CSTAT_PROGRAM;
	if (how & 1)
		window[AREA_AT + how] = how;
	return d->in.left ? VIO_OK : VIO_E_IO;
}

static uint64_t notify(void *ctx, uint64_t data, uint64_t cookie)
{
	struct device *d = ctx;

	(void)data;
	return cookie + bytes_u8(&d->in);
}

static const struct vio_ccw_access ccw_access = { start, notify, wait };

/* -- the drivers ---------------------------------------------------------- */

static void drive_disk(const struct vio_bus_ops *ops, void *bus,
		       struct vio_drv_mem *mem)
{
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_features f = vio_blkdrv_features();
	static struct vio_blkdrv blk;
	struct vio_seg seg = { window + WINDOW / 2, 512 };
	struct vio_blkdrv_req r = { .type = VIRTIO_BLK_T_IN, .seg = &seg,
				    .nr_seg = 1 };

	if (vio_blkdrv_init(&blk, ops, bus, &f, &limits, 4, mem) != VIO_OK)
		return;
	vio_blkdrv_sync(&blk, 0, &r);
	vio_blkdrv_refresh(&blk);
	vio_drv_suspend(&blk.drv);
	vio_drv_resume(&blk.drv);
}

static void drive_net(const struct vio_bus_ops *ops, void *bus,
		      struct vio_drv_mem *mem)
{
	const struct vio_netdrv_conf conf = {
		.wanted = vio_netdrv_features(), .limits = { 64, 4 },
		.rx_buffers = 8, .rx_len = 2048,
	};
	static struct vio_netdrv net;

	if (vio_netdrv_init(&net, ops, bus, &conf, mem) != VIO_OK)
		return;
	vio_netdrv_refresh(&net);
	vio_netdrv_command(&net, VIRTIO_NET_CTRL_RX,
			   VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1);
}

static void drive(const struct vio_bus_ops *ops, void *bus, bool net)
{
	static unsigned char priv[1 << 17] __attribute__((aligned(64)));
	struct vio_drv_mem mem = {
		.window = { window, { WINDOW_ADDR }, WINDOW },
		.shared = { window, AREA_AT / 2 },
		.priv = { priv, sizeof(priv) },
	};

	if (net)
		drive_net(ops, bus, &mem);
	else
		drive_disk(ops, bus, &mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct device d = { .in = { data, size }, .patience = PATIENCE };
	uint8_t how = bytes_u8(&d.in);
	struct vio_bus_mmio m;
	struct vio_bus_ccw c;
	int err;

	memset(window, 0, sizeof(window));
	d.honest = !(how & 0x80);
	d.legacy = how & 2;
	if (how & 1) {
		err = vio_bus_ccw_probe(&c, &ccw_access, &d,
					(void *)(window + AREA_AT),
					vio_addr_of(WINDOW_ADDR + AREA_AT),
					how >> 4 & 3, how & 8 ? 3 : -1);
		if (!err)
			drive(c.ops, &c, how & 4);
		return 0;
	}
	err = d.legacy ? vio_bus_mmio_legacy_probe(&m, &mmio, &d) :
			 vio_bus_mmio_probe(&m, &mmio, &d);
	if (!err)
		drive(d.legacy ? &vio_bus_mmio_legacy_ops : &vio_bus_mmio_ops,
		      &m, how & 4);
	return 0;
}
