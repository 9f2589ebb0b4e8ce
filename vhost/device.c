/* SPDX-License-Identifier: MIT */
/*
 * vhost/device.c - features, status, configuration: the messages that become
 * verbs of the device core. It knows nothing of rings but that they stop.
 *
 * A front end without the STATUS protocol feature never writes a status, and
 * one with it writes FEATURES_OK before or after the other bits. So the
 * device's own status is driven from here, in the standard's order, and the
 * front end's writes are kept apart for it to read back.
 */
#include "server.h"

#include <errno.h>
#include <string.h>
#include <vireo/spec/virtio.h>

int vhu_on_nothing(struct vhu_server *s, struct vhu_msg *msg)
{
	(void)s;
	(void)msg;
	return 0;
}

uint64_t vhu_offered_features(const struct vhu_server *s)
{
	uint64_t log = vhu_offered_protocol(s) & VHU_PF(LOG_SHMFD) ?
		VHU_F_LOG : 0;

	return (vio_dev_offered(s->dev)->w[0] & ~s->conf.features_off) | log |
		VHU_F_PROTOCOL;
}

int vhu_on_get_features(struct vhu_server *s, struct vhu_msg *msg)
{
	return vhu_reply_u64(s, msg, vhu_offered_features(s));
}

/* A legacy driver has no FEATURES_OK; being there is enough. */
static uint32_t settled_bit(uint64_t features)
{
	return features >> VIRTIO_F_VERSION_1 & 1 ? VIRTIO_STATUS_FEATURES_OK :
						    VIRTIO_STATUS_DRIVER;
}

bool vhu_device_settled(const struct vhu_server *s)
{
	return vio_dev_status(s->dev) & settled_bit(s->features);
}

static bool any_started(const struct vhu_server *s)
{
	for (unsigned i = 0; i < s->nr_rings; i++) {
		if (vhu_ring_started(&s->ring[i]))
			return true;
	}
	return false;
}

/* Features cannot change under a started ring, nor need they. */
int vhu_device_negotiate(struct vhu_server *s)
{
	const uint32_t before = VIRTIO_STATUS_ACKNOWLEDGE |
				VIRTIO_STATUS_DRIVER;
	struct vio_features f = {
		{ s->features & ~(VHU_F_PROTOCOL | VHU_F_LOG), 0 },
	};
	uint32_t status = vio_dev_status(s->dev);
	uint32_t settled = settled_bit(f.w[0]);

	if (any_started(s))
		return 0;
	if (status & settled && !(status & VIRTIO_STATUS_NEEDS_RESET) &&
	    f.w[0] == s->dev->driver.w[0] && !s->dev->driver.w[1])
		return 0;
	if (status)
		vio_dev_set_status(s->dev, 0);
	vio_dev_set_status(s->dev, before);
	if (vio_dev_set_features(s->dev, &f) == VIO_OK)
		vio_dev_set_status(s->dev, before | settled);
	if (vio_dev_status(s->dev) & settled)
		return 0;
	vhu_say(s, VIO_LOG_ERROR, "the device refuses this set of features",
		{ "features", s->features },
		{ "offered", vhu_offered_features(s) });
	return -EINVAL;
}

int vhu_on_set_features(struct vhu_server *s, struct vhu_msg *msg)
{
	uint64_t offered = vhu_offered_features(s);
	uint64_t f = msg->p.u64;
	bool started = any_started(s);

	if (f & ~offered) {
		vhu_say(s, VIO_LOG_ERROR,
			"front end set features that were not offered",
			{ "features", f },
			{ "offered", offered }, { "extra", f & ~offered });
		return -EINVAL;
	}
	if (started && (f ^ s->features) & ~(VHU_F_PROTOCOL | VHU_F_LOG)) {
		vhu_say(s, VIO_LOG_ERROR,
			"front end changes features while rings are started",
			{ "features", f },
			{ "before", s->features });
		return -EBUSY;
	}
	s->features = f;
	vhu_iotlb_flush(s);
	vhu_log_update(s);
	/*
	 * Without protocol features there is no SET_VRING_ENABLE: rings are
	 * enabled. With them nothing is disabled here, as front ends repeat
	 * SET_FEATURES while rings run.
	 */
	for (unsigned i = 0; i < s->nr_rings && !(f & VHU_F_PROTOCOL); i++)
		vhu_ring_event(&s->ring[i], VHU_EV_ENABLE);
	return vhu_device_negotiate(s);
}

int vhu_on_get_protocol(struct vhu_server *s, struct vhu_msg *msg)
{
	return vhu_reply_u64(s, msg, vhu_offered_protocol(s));
}

/* Regions that Xen maps are told otherwise, and no file is behind them. */
static const char *not_offered(uint64_t pf)
{
	if (pf & VHU_PF(XEN_MMAP))
		return "front end has memory that Xen maps; here it must be shared as files";
	return "front end set protocol features that were not offered";
}

int vhu_on_set_protocol(struct vhu_server *s, struct vhu_msg *msg)
{
	const uint64_t inband_needs = VHU_PF(BACKEND_REQ) | VHU_PF(REPLY_ACK);
	uint64_t offered = vhu_offered_protocol(s);
	uint64_t pf = msg->p.u64;

	if (pf & ~offered) {
		vhu_say(s, VIO_LOG_ERROR, not_offered(pf),
			{ "protocol", pf },
			{ "offered", offered }, { "extra", pf & ~offered });
		return -EINVAL;
	}
	if (pf & VHU_PF(INBAND_NOTIFICATIONS) &&
	    (pf & inband_needs) != inband_needs) {
		vhu_say(s, VIO_LOG_ERROR,
			"in-band notifications need BACKEND_REQ and REPLY_ACK too",
			{ "protocol", pf });
		return -EINVAL;
	}
	s->protocol = pf;
	s->protocol_set = true;
	pthread_mutex_lock(&s->back_lock);
	s->back_protocol = pf;
	s->back_config = pf & VHU_PF(CONFIG);
	s->back_call = pf & VHU_PF(INBAND_NOTIFICATIONS);
	pthread_mutex_unlock(&s->back_lock);
	return 0;
}

int vhu_on_get_queue_num(struct vhu_server *s, struct vhu_msg *msg)
{
	unsigned n = s->conf.queue_num;

	return vhu_reply_u64(s, msg, n ? n : s->nr_rings);
}

/*
 * The answer is as long as the question, with zeroes past the end of the
 * device's configuration: front ends ask for what the newest device has.
 */
int vhu_on_get_config(struct vhu_server *s, struct vhu_msg *msg)
{
	struct vhu_config *out = &s->out.p.config;
	uint32_t offset = msg->p.config.offset;
	uint32_t size = msg->p.config.size;
	uint32_t len = msg->hdr.size;

	if (size > VHU_CONFIG_MAX || offset > UINT32_MAX - size) {
		vhu_say(s, VIO_LOG_ERROR, "GET_CONFIG asks for too much",
			{ "offset", offset }, { "size", size },
			{ "size_max", VHU_CONFIG_MAX });
		return vhu_reply(s, msg, 0);
	}
	if (len < VHU_CONFIG_HDR + size)
		len = (uint32_t)VHU_CONFIG_HDR + size;
	memset(&s->out.p, 0, len);
	out->offset = offset;
	out->size = size;
	out->flags = msg->p.config.flags;
	vio_dev_config_read(s->dev, offset, out->data, size);
	return vhu_reply(s, msg, len);
}

/*
 * After a migration the whole space comes back; most of it is read-only and
 * equal. What differs is what the driver wrote.
 */
static int write_changes(struct vhu_server *s, uint32_t offset,
			 const unsigned char *data, uint32_t size)
{
	unsigned char *now = s->out.p.config.data;
	uint32_t i, end;
	int err = VIO_OK;

	vio_dev_config_read(s->dev, offset, now, size);
	for (i = 0; i < size && err == VIO_OK; i = end) {
		for (end = i; end < size && now[end] != data[end]; end++)
			;
		if (end > i)
			err = vio_dev_config_write(s->dev, offset + i,
						   data + i, end - i);
		else
			end++;
	}
	return err;
}

int vhu_on_set_config(struct vhu_server *s, struct vhu_msg *msg)
{
	const struct vhu_config *in = &msg->p.config;
	uint32_t offset = in->offset;
	uint32_t size = in->size;
	int err;

	if (size > msg->hdr.size - VHU_CONFIG_HDR ||
	    offset > UINT32_MAX - size) {
		vhu_say(s, VIO_LOG_ERROR,
			"SET_CONFIG is shorter than it says, or runs past the end of all offsets",
			{ "offset", offset }, { "size", size },
			{ "bytes", msg->hdr.size });
		return -EPROTO;
	}
	if (in->flags == VHU_CONFIG_MIGRATION)
		err = write_changes(s, offset, in->data, size);
	else
		err = vio_dev_config_write(s->dev, offset, in->data, size);
	if (err == VIO_OK)
		return 0;
	vhu_say(s, VIO_LOG_ERROR,
		"the device refuses this write to its configuration",
		{ "offset", offset }, { "size", size },
		{ "flags", in->flags });
	return -EINVAL;
}

/* -- of net devices ------------------------------------------------------- */

int vhu_on_mtu(struct vhu_server *s, struct vhu_msg *msg)
{
	uint64_t mtu = msg->p.u64;
	int err = mtu && mtu <= UINT16_MAX ? 0 : -EINVAL;

	if (!err)
		err = s->conf.env->set_mtu(s->conf.env_ctx, (uint16_t)mtu);
	if (err)
		vhu_say(s, VIO_LOG_ERROR, "the device refuses this MTU",
			{ "mtu", mtu }, { "errno", (uint64_t)-err });
	return err;
}

int vhu_on_rarp(struct vhu_server *s, struct vhu_msg *msg)
{
	return s->conf.env->send_rarp(s->conf.env_ctx, msg->p.bytes);
}

/* -- resets and the status ------------------------------------------------- */

/* All rings as at the beginning, but for their bases. */
static int stop_rings(struct vhu_server *s)
{
	int err = 0;

	for (unsigned i = 0; i < s->nr_rings; i++) {
		struct vhu_ring *r = &s->ring[i];
		int e = vhu_ring_stop(r);

		if (e && !err)
			err = e;
		vhu_ring_event(r, s->features & VHU_F_PROTOCOL ?
			       VHU_EV_DISABLE : VHU_EV_ENABLE);
	}
	return err;
}

int vhu_device_reset(struct vhu_server *s)
{
	int err = stop_rings(s);

	if (vio_dev_reset(s->dev) != VIO_OK && !err) {
		vhu_say(s, VIO_LOG_ERROR,
			"requests are still in flight; the device cannot be reset yet",
			{ "status", vio_dev_status(s->dev) });
		err = -EBUSY;
	}
	return err;
}

int vhu_on_reset_device(struct vhu_server *s, struct vhu_msg *msg)
{
	int err = vhu_device_reset(s);

	(void)msg;
	s->status = 0;
	vhu_inflight_clear(s);
	for (unsigned i = 0; i < s->nr_rings; i++)
		s->ring[i].base = 0;
	return err;
}

int vhu_on_get_status(struct vhu_server *s, struct vhu_msg *msg)
{
	uint32_t own = vio_dev_status(s->dev);
	uint32_t seen = s->status;

	if (!(own & settled_bit(s->features)))
		seen &= ~(uint32_t)VIRTIO_STATUS_FEATURES_OK;
	return vhu_reply_u64(s, msg, seen | (own & VIRTIO_STATUS_NEEDS_RESET));
}

/* QEMU sends no region at all that is not shared, and says nothing. */
static bool memory_missing(const struct vhu_server *s)
{
	for (unsigned i = 0; i < s->nr_rings; i++) {
		if (vhu_ring_waits_for_memory(&s->ring[i]))
			return true;
	}
	return false;
}

/*
 * The front end writes 0. QEMU does so when the guest resets the device, and
 * just as well when it only pauses the machine, and says GET_VRING_BASE after
 * it. So rings keep their bases, and the device what the driver wrote to its
 * configuration: a guest that asked for write-through must not get a
 * write-back cache by a pause. Other features, or RESET_DEVICE, reset it all.
 */
static int front_reset(struct vhu_server *s)
{
	if (vio_dev_status(s->dev) & VIRTIO_STATUS_NEEDS_RESET)
		return vhu_device_reset(s);
	return stop_rings(s);
}

int vhu_on_set_status(struct vhu_server *s, struct vhu_msg *msg)
{
	uint64_t status = msg->p.u64;

	if (status > UINT8_MAX) {
		vhu_say(s, VIO_LOG_ERROR, "front end wrote no device status",
			{ "status", status });
		return -EINVAL;
	}
	s->status = (uint8_t)status;
	if (status == 0)
		return front_reset(s);
	if (status & VIRTIO_STATUS_FAILED)
		vhu_say(s, VIO_LOG_WARN,
			"the guest's driver gave the device up",
			{ "status", status });
	if (status & VIRTIO_STATUS_DRIVER_OK && memory_missing(s)) {
		vhu_map_missing(s);
		return -ENXIO;
	}
	if (status & VIRTIO_STATUS_FEATURES_OK)
		return vhu_device_negotiate(s);
	return 0;
}
