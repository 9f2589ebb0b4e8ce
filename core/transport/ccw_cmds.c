/* SPDX-License-Identifier: MIT */
/*
 * ccw_cmds.c - what each channel command of the channel I/O transport does
 * (standard: 4.3.2, 4.3.3). Data was copied before it is looked at. It knows
 * no device type and no ring layout.
 */
#include "core/transport/ccw.h"
#include <vireo/spec/virtio.h>
#include "core/base/string.h"

#define CONFIG_MAX	1024u	/* bytes of configuration that are carried */
#define SENSE_BYTES	32u

static bool is_legacy(const struct vio_ccw *c)
{
	return c->revision == 0;
}

/* -- basic commands ------------------------------------------------------ */

static int sense(struct vio_ccw_job *j)
{
	uint8_t b[SENSE_BYTES] = { j->c->sense };

	vio_ccw_put(j, b, vio_ccw_length_upto(j, sizeof(b)));
	return VIO_OK;
}

static int sense_id(struct vio_ccw_job *j)
{
	uint8_t id[256] = { 0xff };

	vio_be_put(id + 1, 2, VIO_CCW_CU_TYPE);
	id[3] = (uint8_t)j->c->dev->ops->id;
	vio_ccw_put(j, id, vio_ccw_length_upto(j, sizeof(id)));
	return VIO_OK;
}

/* -- revision ------------------------------------------------------------ */

static int set_revision(struct vio_ccw_job *j)
{
	struct vio_ccw *c = j->c;
	struct vio_ccw_rev_info info;
	uint64_t revision;

	/* ccw.device.setting-virtio-revision.5 */
	if (c->revision >= 0)
		return vio_ccw_reject(j);
	if (!vio_ccw_length(j, sizeof(info)) ||
	    !vio_ccw_get(j, &info, sizeof(info)))
		return VIO_OK;
	/* ccw.device.setting-virtio-revision.1 to .3 */
	revision = vio_be_get(info.revision, 2);
	if (revision > c->max_revision || vio_be_get(info.length, 2) ||
	    (!revision && !c->transitional))
		return vio_ccw_reject(j);
	c->revision = (int)revision;
	return VIO_OK;
}

/* -- features and status -------------------------------------------------- */

/* A driver that cannot read the status cannot see that it sleeps. */
static bool no_suspend(const struct vio_ccw *c)
{
	return c->revision < 2;
}

static int read_features(struct vio_ccw_job *j)
{
	struct vio_features f = j->c->dev->offered;
	struct vio_ccw_feature_desc d;
	uint32_t word = 0;

	if (!vio_ccw_length(j, sizeof(d)) || !vio_ccw_get(j, &d, sizeof(d)))
		return VIO_OK;
	if (no_suspend(j->c))
		vio_feature_clear(&f, VIRTIO_F_SUSPEND);
	if (d.index < (is_legacy(j->c) ? 1 : 4))
		word = (uint32_t)(f.w[d.index / 2] >> 32 * (d.index % 2));
	d.features = vio_to_le32(word);
	vio_ccw_put(j, &d, sizeof(d.features));
	return VIO_OK;
}

static int write_features(struct vio_ccw_job *j)
{
	struct vio_ccw *c = j->c;
	struct vio_ccw_feature_desc d;
	struct vio_features f;
	unsigned shift;

	if (!vio_ccw_length(j, sizeof(d)) || !vio_ccw_get(j, &d, sizeof(d)))
		return VIO_OK;
	if (is_legacy(c)) {
		/* They count at once, and cannot be refused. */
		f = (struct vio_features){ { vio_from_le32(d.features) &
					     c->dev->offered.w[0], 0 } };
		if (!d.index && !(vio_dev_status(c->dev) &
				  VIRTIO_STATUS_DRIVER_OK))
			vio_dev_set_features(c->dev, &f);
		return VIO_OK;
	}
	if (d.index >= 4)
		return VIO_OK;
	shift = 32 * (d.index % 2);
	c->driver.w[d.index / 2] &= ~((uint64_t)UINT32_MAX << shift);
	c->driver.w[d.index / 2] |= (uint64_t)vio_from_le32(d.features) <<
				    shift;
	return VIO_OK;
}

static int reset(struct vio_ccw_job *j)
{
	struct vio_ccw *c = j->c;

	c->driver = (struct vio_features){ { 0, 0 } };
	/* ccw.device.resetting-devices.1: not before it is done */
	if (vio_dev_reset(c->dev) != VIO_OK)
		return VIO_E_AGAIN;
	/* ccw.device.resetting-devices.2 */
	vio_ccw_no_indicators(c);
	return VIO_OK;
}

/* The bits that a write would set, now: no others may be among it. */
static uint32_t settable(const struct vio_dev *dev, uint32_t now)
{
	if (dev->suspending)
		return VIRTIO_STATUS_SUSPEND;
	if (now & VIRTIO_STATUS_SUSPEND)
		return VIRTIO_STATUS_DRIVER_OK;
	return VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
	       VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK |
	       VIRTIO_STATUS_FAILED |
	       (now & VIRTIO_STATUS_DRIVER_OK &&
		!(now & VIRTIO_STATUS_NEEDS_RESET) &&
		vio_dev_has(dev, VIRTIO_F_SUSPEND) ?
		VIRTIO_STATUS_SUSPEND : 0);
}

/*
 * ccw.device.communicating-status-information.1: what cannot be set is not
 * set in part.
 */
static int write_status(struct vio_ccw_job *j)
{
	const uint32_t ours = VIRTIO_STATUS_NEEDS_RESET |
			      VIRTIO_STATUS_SUSPEND;
	struct vio_ccw *c = j->c;
	uint32_t old = vio_dev_status(c->dev), fresh;
	uint8_t status;

	if (!vio_ccw_length(j, 1) || !vio_ccw_get(j, &status, 1))
		return VIO_OK;
	if (!status)
		return reset(j);
	fresh = status & ~old;
	if (old & ~(uint32_t)status & ~ours ||
	    fresh & ~settable(c->dev, old))
		return vio_ccw_reject(j);
	if (fresh & VIRTIO_STATUS_FEATURES_OK) {
		if (is_legacy(c) ||
		    (no_suspend(c) && vio_has(&c->driver, VIRTIO_F_SUSPEND)) ||
		    vio_dev_set_features(c->dev, &c->driver) != VIO_OK)
			return vio_ccw_reject(j);
		/* By itself: what else was written waits for the answer. */
		vio_dev_set_status(c->dev, old | VIRTIO_STATUS_FEATURES_OK);
		if (!(vio_dev_status(c->dev) & VIRTIO_STATUS_FEATURES_OK))
			return vio_ccw_reject(j);
	}
	vio_dev_set_status(c->dev, status);
	return VIO_OK;
}

static int read_status(struct vio_ccw_job *j)
{
	uint8_t status = (uint8_t)vio_dev_status(j->c->dev);

	if (vio_ccw_length(j, 1))
		vio_ccw_put(j, &status, 1);
	return VIO_OK;
}

/* -- queues -------------------------------------------------------------- */

static int read_vq_conf(struct vio_ccw_job *j)
{
	struct vio_dev *dev = j->c->dev;
	struct vio_ccw_vq_config conf;
	uint64_t index;

	if (!vio_ccw_length(j, sizeof(conf)) ||
	    !vio_ccw_get(j, &conf, sizeof(conf)))
		return VIO_OK;
	index = vio_be_get(conf.index, 2);
	vio_be_put(conf.max_queue_size, 2, index < dev->nr_queues ?
		   dev->queue[index].limits.size_max : 0);
	vio_ccw_put(j, &conf, sizeof(conf));
	return VIO_OK;
}

static int start_queue(struct vio_ccw_job *j, struct vio_queue *q,
		       const struct vio_queue_layout *l)
{
	struct vio_ccw *c = j->c;
	uint16_t base = vio_dev_has(c->dev, VIRTIO_F_RING_PACKED) ?
			VIO_QUEUE_NEW_PACKED : VIO_QUEUE_NEW_SPLIT;

	if (q->state == VIO_QUEUE_RUNNING ||
	    vio_queue_start(q, c->mem, l, base, base) != VIO_OK)
		return vio_ccw_reject(j);
	/* Buffers may be there already, and the kick have come too early. */
	c->ops->serve(c->ctx, q);
	return VIO_OK;
}

/* The driver gives a queue up by a size of 0. */
static int set_queue(struct vio_ccw_job *j, uint64_t index, bool good,
		     const struct vio_queue_layout *l)
{
	struct vio_dev *dev = j->c->dev;

	if (index >= dev->nr_queues)
		return vio_ccw_reject(j);
	if (!l->size) {
		/* Also where it sleeps. */
		vio_queue_stop(&dev->queue[index]);
		return VIO_OK;
	}
	if (!good)
		return vio_ccw_reject(j);
	return start_queue(j, &dev->queue[index], l);
}

static int set_vq_legacy(struct vio_ccw_job *j)
{
	struct vio_ccw_vq_info_legacy i;
	struct vio_queue_layout l = { 0 };
	bool good;

	if (!vio_ccw_length(j, sizeof(i)) || !vio_ccw_get(j, &i, sizeof(i)))
		return VIO_OK;
	good = vio_legacy_layout(&l, (uint16_t)vio_be_get(i.size, 2),
				 vio_addr_of(vio_be_get(i.queue, 8)),
				 (uint32_t)vio_be_get(i.align, 4));
	l.size = (uint16_t)vio_be_get(i.size, 2);
	return set_queue(j, vio_be_get(i.index, 2), good, &l);
}

static int set_vq(struct vio_ccw_job *j)
{
	struct vio_ccw_vq_info i;
	struct vio_queue_layout l;

	if (is_legacy(j->c))
		return set_vq_legacy(j);
	if (!vio_ccw_length(j, sizeof(i)) || !vio_ccw_get(j, &i, sizeof(i)))
		return VIO_OK;
	l.size = (uint16_t)vio_be_get(i.size, 2);
	l.desc = vio_addr_of(vio_be_get(i.desc, 8));
	l.driver = vio_addr_of(vio_be_get(i.driver, 8));
	l.device = vio_addr_of(vio_be_get(i.device, 8));
	return set_queue(j, vio_be_get(i.index, 2), true, &l);
}

/* -- configuration ------------------------------------------------------- */

static size_t config_len(const struct vio_ccw *c)
{
	return c->dev->config_len < CONFIG_MAX ? c->dev->config_len :
						 CONFIG_MAX;
}

static int read_conf(struct vio_ccw_job *j)
{
	size_t len = vio_ccw_length_upto(j, config_len(j->c));
	uint8_t b[CONFIG_MAX];

	vio_dev_config_read(j->c->dev, 0, b, (uint32_t)len);
	vio_ccw_put(j, b, len);
	return VIO_OK;
}

/*
 * All of it comes, and what differs is what the driver writes: run by run, as
 * it would with registers.
 */
static int write_conf(struct vio_ccw_job *j)
{
	size_t len = vio_ccw_length_upto(j, config_len(j->c)), at, n;
	uint8_t b[CONFIG_MAX], old[CONFIG_MAX];
	/* Fields have to be whole where they are turned around. */
	size_t grain = vio_dev_big_endian(j->c->dev) ? 4 : 1;

	if (!vio_ccw_get(j, b, len))
		return VIO_OK;
	vio_dev_config_read(j->c->dev, 0, old, (uint32_t)len);
	for (at = 0; at < len; at += n) {
		n = grain < len - at ? grain : len - at;
		if (!memcmp(b + at, old + at, n))
			continue;
		while (grain == 1 && at + n < len && b[at + n] != old[at + n])
			n++;
		vio_dev_config_write(j->c->dev, (uint32_t)at, b + at,
				     (uint32_t)n);
	}
	return VIO_OK;
}

/* -- all of them --------------------------------------------------------- */

static bool is_known(uint8_t code)
{
	static const uint8_t known[] = {
		CCW_CMD_SET_VQ, CCW_CMD_VDEV_RESET, CCW_CMD_SET_IND,
		CCW_CMD_SET_CONF_IND, CCW_CMD_SET_IND_ADAPTER,
		CCW_CMD_READ_FEAT, CCW_CMD_WRITE_FEAT, CCW_CMD_READ_CONF,
		CCW_CMD_WRITE_CONF, CCW_CMD_WRITE_STATUS,
		CCW_CMD_READ_VQ_CONF, CCW_CMD_READ_STATUS,
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(known); i++)
		if (known[i] == code)
			return true;
	return false;
}

static int do_virtio(struct vio_ccw_job *j)
{
	switch (j->cmd->code) {
	case CCW_CMD_SET_VQ:
		return set_vq(j);
	case CCW_CMD_VDEV_RESET:
		vio_ccw_length_upto(j, 0);
		return reset(j);
	case CCW_CMD_SET_IND:
		return vio_ccw_set_ind(j, false);
	case CCW_CMD_SET_CONF_IND:
		return vio_ccw_set_ind(j, true);
	case CCW_CMD_SET_IND_ADAPTER:
		return vio_ccw_set_ind_adapter(j);
	case CCW_CMD_READ_FEAT:
		return read_features(j);
	case CCW_CMD_WRITE_FEAT:
		return write_features(j);
	case CCW_CMD_READ_CONF:
		return read_conf(j);
	case CCW_CMD_WRITE_CONF:
		return write_conf(j);
	case CCW_CMD_WRITE_STATUS:
		return write_status(j);
	case CCW_CMD_READ_VQ_CONF:
		return read_vq_conf(j);
	case CCW_CMD_READ_STATUS:
		/* ccw.device.setting-virtio-revision.4 */
		return j->c->revision < 2 ? vio_ccw_reject(j) :
					    read_status(j);
	default:
		return vio_ccw_reject(j);
	}
}

int vio_ccw_do(struct vio_ccw_job *j)
{
	struct vio_ccw *c = j->c;

	switch (j->cmd->code) {
	case CCW_CMD_NOOP:
		return VIO_OK;
	case CCW_CMD_BASIC_SENSE:
		return sense(j);
	case CCW_CMD_SENSE_ID:
		return sense_id(j);
	case CCW_CMD_SET_VIRTIO_REV:
		return set_revision(j);
	default:
		break;
	}
	if (!is_known(j->cmd->code))
		return vio_ccw_reject(j);
	/* ccw.other.legacy-interfaces-setting-virtio-revision.3 and .4 */
	if (c->revision < 0) {
		if (!c->transitional)
			return vio_ccw_reject(j);
		c->revision = 0;
	}
	return do_virtio(j);
}

void vio_ccw_enabled(struct vio_ccw *c)
{
	/* ccw.device.setting-virtio-revision.6 */
	c->revision = -1;
}

void vio_ccw_init(struct vio_ccw *c, struct vio_dev *dev, struct vio_mem *mem,
		  bool transitional, const struct vio_ccw_ops *ops, void *ctx,
		  const struct vio_log *log)
{
	*c = (struct vio_ccw){
		.dev = dev, .mem = mem, .ops = ops, .ctx = ctx,
		.transitional = transitional,
		.max_revision = VIO_CCW_REVISION, .revision = -1,
	};
	if (transitional)
		vio_dev_transitional(dev);
	vio_feature_set(&dev->offered, VIRTIO_F_NOTIFICATION_DATA);
	vio_dev_suspendable(dev);
	vio_dev_attach(dev, &vio_ccw_transport_ops, c, log);
}
