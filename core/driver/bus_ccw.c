/* SPDX-License-Identifier: MIT */
/*
 * bus_ccw.c - the driver side of the channel I/O transport: what drivers ask
 * of a bus, as channel commands of one CCW each. It knows no device type and
 * no ring.
 */
#include <vireo/bus_ccw.h>
#include <vireo/spec/virtio.h>
#include "core/mem/access.h"

#define ADDR_MAX	0x7fffffffu
#define PAGE		4096u

/* -- commands ------------------------------------------------------------ */

static uint32_t addr_of(const struct vio_bus_ccw *b, const void *p)
{
	return b->area_addr + (uint32_t)((const unsigned char *)p -
					 (const unsigned char *)b->area);
}

/*
 * Carry out a command on @len bytes of the area's data. The length is the
 * right one (ccw.driver.basic-concepts.2), so length checks stay on; but some
 * devices take @flags for ones that they answer shorter.
 */
static int command(struct vio_bus_ccw *b, uint8_t code, uint32_t len,
		   uint8_t flags)
{
	struct vio_ccw1 ccw = { .code = code, .flags = flags };
	struct vio_ccw_end end = { 0 };
	int err;

	vio_be_put(ccw.count, 2, len);
	vio_be_put(ccw.addr, 4, addr_of(b, b->area->data));
	b->area->ccw = ccw;
	vio_compiler_barrier();
	err = b->access->start(b->ctx, addr_of(b, &b->area->ccw), &end);
	vio_compiler_barrier();
	if (err)
		return err;
	if (end.device & CCW_DSTAT_UNIT_CHECK)
		return end.sense & CCW_SENSE_REJECT ? VIO_E_UNSUPP : VIO_E_IO;
	if (end.device != CCW_DSTAT_GOOD || end.subchannel)
		return VIO_E_IO;
	return VIO_OK;
}

static int send(struct vio_bus_ccw *b, uint8_t code, const void *data,
		uint32_t len)
{
	vio_copy_out(b->area->data, data, len);
	return command(b, code, len, 0);
}

/* -- discovery ----------------------------------------------------------- */

static int sense_id(struct vio_bus_ccw *b)
{
	uint8_t id[7] = { 0 };
	int err;

	memset(b->area->data, 0, sizeof(id));
	err = command(b, CCW_CMD_SENSE_ID, sizeof(id), CCW_FLAG_SLI);
	if (err)
		return err;
	vio_copy_in(id, b->area->data, sizeof(id));
	/* ccw.driver.basic-concepts.1: device type and model are ignored */
	if (id[0] != 0xff || vio_be_get(id + 1, 2) != VIO_CCW_CU_TYPE)
		return VIO_E_UNSUPP;
	b->device_id = id[3];
	return b->device_id ? VIO_OK : VIO_E_UNSUPP;
}

/*
 * ccw.driver.setting-virtio-revision.1: from the highest on. A device that
 * knows no such command is a legacy one, of revision 0.
 */
static int agree_revision(struct vio_bus_ccw *b, unsigned lowest)
{
	struct vio_ccw_rev_info info = { { 0, 0 }, { 0, 0 } };
	int err = VIO_E_UNSUPP;

	for (unsigned r = 2; r + 1 > lowest && err == VIO_E_UNSUPP; r--) {
		b->revision = (uint8_t)r;
		vio_be_put(info.revision, 2, r);
		err = send(b, CCW_CMD_SET_VIRTIO_REV, &info, sizeof(info));
		if (!r)
			break;
	}
	if (err == VIO_E_UNSUPP && !lowest) {
		b->revision = 0;
		return VIO_OK;
	}
	return err;
}

/* -- status and features -------------------------------------------------- */

static int get_status(void *bus, uint32_t *status)
{
	struct vio_bus_ccw *b = bus;
	uint8_t now;
	int err;

	*status = b->status;
	/* ccw.driver.communicating-status-information.3 */
	if (b->revision < 2)
		return VIO_OK;
	err = command(b, CCW_CMD_READ_STATUS, 1, 0);
	if (err)
		return err;
	vio_copy_in(&now, b->area->data, 1);
	b->status = now;
	*status = now;
	return VIO_OK;
}

/* Before the device may use them: when it starts to work. */
static int set_indicators(struct vio_bus_ccw *b)
{
	struct vio_ccw_thinint t = { .isc = (uint8_t)b->isc };
	uint8_t at[8];
	int err;

	memset(b->area->indicators, 0, sizeof(b->area->indicators));
	memset(b->area->config_indicators, 0,
	       sizeof(b->area->config_indicators));
	b->area->summary = 0;
	vio_be_put(at, 8, addr_of(b, b->area->config_indicators));
	err = send(b, CCW_CMD_SET_CONF_IND, at, sizeof(at));
	if (err)
		return err;
	if (b->isc >= 0) {
		vio_be_put(t.summary_indicator, 8,
			   addr_of(b, &b->area->summary));
		vio_be_put(t.indicator, 8, addr_of(b, b->area->indicators));
		err = send(b, CCW_CMD_SET_IND_ADAPTER, &t, sizeof(t));
		if (err != VIO_E_UNSUPP)
			return err;
		/* Some legacy devices have classic ones alone. */
		b->isc = -1;
	}
	vio_be_put(at, 8, addr_of(b, b->area->indicators));
	return send(b, CCW_CMD_SET_IND, at, sizeof(at));
}

static int set_status(void *bus, uint32_t status)
{
	struct vio_bus_ccw *b = bus;
	uint8_t byte = (uint8_t)status;
	int err = VIO_OK;

	if (!status)
		err = command(b, CCW_CMD_VDEV_RESET, 0, 0);
	else if (status & VIRTIO_STATUS_DRIVER_OK && !b->listening)
		err = set_indicators(b);
	if (!err)
		b->listening = status & VIRTIO_STATUS_DRIVER_OK;
	if (!err && status)
		err = send(b, CCW_CMD_WRITE_STATUS, &byte, 1);
	/* ccw.driver.communicating-status-information.1: else it is as it
	 * was, which not every revision could be asked. */
	if (!err)
		b->status = byte;
	return err;
}

static int get_features(void *bus, struct vio_features *f)
{
	struct vio_bus_ccw *b = bus;
	unsigned words = b->revision ? 4 : 1;

	*f = (struct vio_features){ { 0, 0 } };
	for (unsigned i = 0; i < words; i++) {
		struct vio_ccw_feature_desc d = { { 0 }, (uint8_t)i };
		int err = send(b, CCW_CMD_READ_FEAT, &d, sizeof(d));

		if (err)
			return err;
		vio_copy_in(&d, b->area->data, sizeof(d));
		f->w[i / 2] |= (uint64_t)vio_from_le32(d.features) <<
			       32 * (i % 2);
	}
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	struct vio_bus_ccw *b = bus;
	unsigned words = b->revision ? 4 : 1;

	for (unsigned i = 0; i < words; i++) {
		uint32_t v = (uint32_t)(f->w[i / 2] >> 32 * (i % 2));
		struct vio_ccw_feature_desc d = { vio_to_le32(v), (uint8_t)i };
		int err = send(b, CCW_CMD_WRITE_FEAT, &d, sizeof(d));

		if (err)
			return err;
	}
	return VIO_OK;
}

/* -- configuration ------------------------------------------------------- */

/* The configuration from its start to @end: it comes as a whole. */
static int read_front(struct vio_bus_ccw *b, uint32_t end)
{
	if (end > VIO_BUS_CCW_DATA)
		return VIO_E_INVAL;
	memset(b->area->data, 0, end);
	/* A device may have less of it than we know. */
	return command(b, CCW_CMD_READ_CONF, end, CCW_FLAG_SLI);
}

static int config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	struct vio_bus_ccw *b = bus;
	int err;

	if (len > VIO_BUS_CCW_DATA || off > VIO_BUS_CCW_DATA - len)
		return VIO_E_INVAL;
	err = read_front(b, off + len);
	if (!err)
		vio_copy_in(dst, b->area->data + off, len);
	return err;
}

/* Read, change, write: the front of it goes as a whole. */
static int config_write(void *bus, uint32_t off, const void *src, uint32_t len)
{
	struct vio_bus_ccw *b = bus;
	int err;

	if (len > VIO_BUS_CCW_DATA || off > VIO_BUS_CCW_DATA - len)
		return VIO_E_INVAL;
	err = read_front(b, off + len);
	if (err)
		return err;
	vio_copy_out(b->area->data + off, src, len);
	return command(b, CCW_CMD_WRITE_CONF, off + len, CCW_FLAG_SLI);
}

/* -- queues -------------------------------------------------------------- */

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	struct vio_bus_ccw *b = bus;
	struct vio_ccw_vq_config conf = { { 0, 0 }, { 0, 0 } };
	uint64_t max;
	int err;

	vio_be_put(conf.index, 2, index);
	err = send(b, CCW_CMD_READ_VQ_CONF, &conf, sizeof(conf));
	*size = 0;
	/* Some devices reject what is no queue of theirs. */
	if (err)
		return err == VIO_E_UNSUPP ? VIO_OK : err;
	vio_copy_in(&conf, b->area->data, sizeof(conf));
	max = vio_be_get(conf.max_queue_size, 2);
	*size = (uint16_t)(max < 32768 ? max : 32768);
	return VIO_OK;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *l)
{
	struct vio_bus_ccw *b = bus;
	struct vio_ccw_vq_info_legacy old;
	struct vio_ccw_vq_info i = { { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, { 0 } };
	int err;

	if (b->revision) {
		vio_be_put(i.desc, 8, l->desc.v);
		vio_be_put(i.index, 2, index);
		vio_be_put(i.size, 2, l->size);
		vio_be_put(i.driver, 8, l->driver.v);
		vio_be_put(i.device, 8, l->device.v);
		err = send(b, CCW_CMD_SET_VQ, &i, sizeof(i));
	} else {
		vio_be_put(old.queue, 8, l->desc.v);
		vio_be_put(old.align, 4, PAGE);
		vio_be_put(old.index, 2, index);
		vio_be_put(old.size, 2, l->size);
		err = send(b, CCW_CMD_SET_VQ, &old, sizeof(old));
	}
	return err == VIO_E_UNSUPP ? VIO_E_PEER : err;
}

static void notify(void *bus, uint16_t index, uint16_t next)
{
	struct vio_bus_ccw *b = bus;

	/* ccw.driver.guest-host-notification.1 */
	b->cookie = b->access->notify(b->ctx, index | (uint64_t)next << 16,
				      b->cookie);
}

/* -- interrupts ---------------------------------------------------------- */

static uint64_t take(uint8_t *p)
{
	uint8_t b[8];

	for (unsigned i = 0; i < 8; i++)
		b[i] = __atomic_exchange_n(&p[i], 0, __ATOMIC_SEQ_CST);
	return vio_be_get(b, 8);
}

struct vio_ccw_events vio_bus_ccw_interrupt(struct vio_bus_ccw *b)
{
	struct vio_ccw_events e = { 0, false };
	uint64_t bits;

	/* ccw.driver.notification-via-adapter-i-o-interrupts.1: first the
	 * summary, so that what comes after it interrupts anew. */
	if (b->isc >= 0)
		__atomic_exchange_n(&b->area->summary, 0, __ATOMIC_SEQ_CST);
	bits = take(b->area->indicators);
	/* Two-stage ones are numbered from the left. */
	for (unsigned i = 0; i < 64; i++)
		if (bits >> i & 1)
			e.queues |= 1ull << (b->isc >= 0 ? 63 - i : i);
	e.config = take(b->area->config_indicators) & 1;
	return e;
}

static int wait(void *bus, uint16_t index)
{
	struct vio_bus_ccw *b = bus;
	int err = b->access->wait(b->ctx);

	(void)index;
	if (!err)
		vio_bus_ccw_interrupt(b);
	return err;
}

#define METHODS								\
	.get_status = get_status, .set_status = set_status,		\
	.get_features = get_features, .set_features = set_features,	\
	.config_read = config_read, .config_write = config_write,	\
	.queue_max = queue_max, .queue_start = queue_start,		\
	.notify = notify, .wait = wait

const struct vio_bus_ops vio_bus_ccw_ops = {
	METHODS,
	.carries = { { 1ull << VIRTIO_F_NOTIFICATION_DATA, 0 } },
};

/*
 * Nothing in 4.3.2.2 lets a legacy driver choose a size, and QEMU refuses any
 * but the one it named.
 */
const struct vio_bus_ops vio_bus_ccw_legacy_ops = {
	METHODS, .legacy_align = PAGE, .size_fixed = true };

int vio_bus_ccw_probe(struct vio_bus_ccw *b,
		      const struct vio_ccw_access *access, void *ctx,
		      struct vio_ccw_area *area, vio_addr area_addr,
		      unsigned lowest, int isc)
{
	int err;

	if (area_addr.v % 8 || lowest > 2 || isc > 7 ||
	    area_addr.v > ADDR_MAX - sizeof(*area))
		return VIO_E_INVAL;
	*b = (struct vio_bus_ccw){
		.access = access, .ctx = ctx, .area = area,
		.area_addr = (uint32_t)area_addr.v, .isc = isc,
	};
	err = sense_id(b);
	if (!err)
		err = agree_revision(b, lowest);
	b->ops = b->revision ? &vio_bus_ccw_ops : &vio_bus_ccw_legacy_ops;
	return err;
}
