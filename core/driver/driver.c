/* SPDX-License-Identifier: MIT */
/*
 * What every driver does with its device, whatever its type: initialisation
 * (standard: 3.1), features, configuration, queues, waiting. Knows no bus but
 * by its methods, and no ring layout.
 */
#include <vireo/driver.h>
#include <vireo/dma.h>

#include "core/base/string.h"

/* Polls of a status or a generation before the device counts as stuck. */
#define PATIENCE	100000

/* No device type's driver can accept these by itself. */
#define BUS_FEATURES	(1ull << VIRTIO_F_NOTIFICATION_DATA |	\
			 1ull << VIRTIO_F_NOTIF_CONFIG_DATA |	\
			 1ull << VIRTIO_F_SR_IOV |		\
			 1ull << VIRTIO_F_RING_RESET)

static int add_status(struct vio_drv *drv, uint32_t bits)
{
	/* core.driver.device-status-field.2: bits are never cleared; one that
	 * the bus says was refused is not set again with the next. */
	int err = drv->bus->set_status(drv->bus_ctx, drv->status | bits);

	if (!err)
		drv->status |= bits;
	return err;
}

int vio_drv_reset(struct vio_drv *drv)
{
	uint32_t status = 1;
	unsigned i;
	int err;

	drv->status = 0;
	drv->suspended = false;
	err = drv->bus->set_status(drv->bus_ctx, 0);
	if (err)
		return err;
	/* core.driver.device-reset.1: wait for 0 before going on */
	for (i = 0; i < PATIENCE; i++) {
		err = drv->bus->get_status(drv->bus_ctx, &status);
		if (err || !status)
			return err;
		err = drv->bus->wait(drv->bus_ctx, 0);
		if (err)
			return err;
	}
	return VIO_E_IO;
}

/*
 * core.other.legacy-interface-device-initialization.1: the same without
 * FEATURES_OK. ANY_LAYOUT must be accepted
 * (core.other.legacy-interface-reserved-feature-bits.3).
 */
static int negotiate_legacy(struct vio_drv *drv,
			    const struct vio_features *wanted)
{
	const uint64_t low = UINT32_MAX;

	drv->features.w[0] &= low &
			      (wanted->w[0] | 1ull << VIRTIO_F_ANY_LAYOUT);
	drv->features.w[1] = 0;
	return drv->bus->set_features(drv->bus_ctx, &drv->features);
}

static int negotiate(struct vio_drv *drv, const struct vio_features *wanted)
{
	const struct vio_features offered = drv->features;
	uint32_t status;
	int err;

	drv->features.w[0] = offered.w[0] & wanted->w[0];
	drv->features.w[1] = offered.w[1] & wanted->w[1];
	/* What the bus must do something for, it says itself. */
	drv->features.w[0] &= ~BUS_FEATURES;
	drv->features.w[0] |= offered.w[0] & drv->bus->carries.w[0];
	drv->features.w[1] |= offered.w[1] & drv->bus->carries.w[1];
#ifdef VIO_NO_PACKED
	vio_feature_clear(&drv->features, VIRTIO_F_RING_PACKED);
#endif
	/* core.driver.reserved-feature-bits.1 */
	if (!vio_has(&offered, VIRTIO_F_VERSION_1))
		return VIO_E_UNSUPP;
	vio_feature_set(&drv->features, VIRTIO_F_VERSION_1);
	/* core.driver.reserved-feature-bits.6: whatever the type's driver */
	if (vio_has(&offered, VIRTIO_F_ORDER_PLATFORM))
		vio_feature_set(&drv->features, VIRTIO_F_ORDER_PLATFORM);
	if (vio_has(&offered, VIRTIO_F_SUSPEND))
		vio_feature_set(&drv->features, VIRTIO_F_SUSPEND);
	err = drv->bus->set_features(drv->bus_ctx, &drv->features);
	if (!err)
		err = add_status(drv, VIRTIO_STATUS_FEATURES_OK);
	if (!err)
		err = drv->bus->get_status(drv->bus_ctx, &status);
	if (err)
		return err;
	return status & VIRTIO_STATUS_FEATURES_OK ? VIO_OK : VIO_E_UNSUPP;
}

int vio_drv_meet(struct vio_drv *drv, const struct vio_bus_ops *bus,
		 void *bus_ctx)
{
	int err;

	memset(drv, 0, sizeof(*drv));
	drv->bus = bus;
	drv->bus_ctx = bus_ctx;
	drv->legacy = bus->legacy_align != 0;
	err = vio_drv_reset(drv);
	if (!err)
		err = add_status(drv, VIRTIO_STATUS_ACKNOWLEDGE);
	if (!err)
		err = add_status(drv, VIRTIO_STATUS_DRIVER);
	if (!err)
		err = bus->get_features(bus_ctx, &drv->features);
	return err;
}

void vio_drv_give_up(struct vio_drv *drv)
{
	add_status(drv, VIRTIO_STATUS_FAILED);
}

int vio_drv_agree(struct vio_drv *drv, const struct vio_features *wanted)
{
	int err = drv->legacy ? negotiate_legacy(drv, wanted) :
				negotiate(drv, wanted);

	if (err == VIO_E_UNSUPP)
		vio_drv_give_up(drv);
	return err;
}

int vio_drv_begin(struct vio_drv *drv, const struct vio_bus_ops *bus,
		  void *bus_ctx, const struct vio_features *wanted)
{
	int err = vio_drv_meet(drv, bus, bus_ctx);

	return err ? err : vio_drv_agree(drv, wanted);
}

int vio_drv_queue(struct vio_drv *drv, uint16_t index, struct vio_vq *vq,
		  const struct vio_vq_limits *limits, struct vio_drv_mem *mem)
{
	struct vio_vq_limits l = *limits;
	uint16_t max;
	int err;

	/*
	 * core.driver.reserved-feature-bits.4: without ACCESS_PLATFORM, only
	 * physical addresses.
	 */
	if (mem->dma && mem->dma->translated &&
	    !vio_drv_has(drv, VIRTIO_F_ACCESS_PLATFORM))
		return VIO_E_UNSUPP;
	err = drv->bus->queue_max(drv->bus_ctx, index, &max);
	if (err)
		return err;
	if (!max)
		return VIO_E_UNSUPP;
	if (drv->bus->size_fixed && l.size < max)
		return VIO_E_NOSPC;
	while (l.size > max)
		l.size /= 2;
	if (l.indirect_max > l.size)
		l.indirect_max = l.size;
	err = vio_vq_init_legacy(vq, &l, &drv->features, mem,
				 drv->bus->legacy_align);
	if (err)
		return err;
	return drv->bus->queue_start(drv->bus_ctx, index, &vq->layout);
}

int vio_drv_queue_reset(struct vio_drv *drv, uint16_t index)
{
	if (!vio_drv_has(drv, VIRTIO_F_RING_RESET) || !drv->bus->queue_reset)
		return VIO_E_UNSUPP;
	return drv->bus->queue_reset(drv->bus_ctx, index);
}

int vio_drv_queue_again(struct vio_drv *drv, uint16_t index,
			const struct vio_vq *vq)
{
	return drv->bus->queue_start(drv->bus_ctx, index, &vq->layout);
}

int vio_drv_ready(struct vio_drv *drv)
{
	return add_status(drv, VIRTIO_STATUS_DRIVER_OK);
}

/* Fields of the configuration, and where a copy of it goes. */
struct wish {
	const struct vio_drv_field *field;
	unsigned nr;
	unsigned char *to;
	uint32_t from;		/* of the configuration, at @to */
};

static bool is_there(const struct vio_drv *drv, const struct vio_drv_field *f)
{
	return f->bit == VIO_DRV_ALWAYS || vio_drv_has(drv, f->bit) ||
	       (f->or_bit && vio_drv_has(drv, f->or_bit));
}

/* A piece at a time. @same becomes false where it was otherwise before. */
static int read_bytes(struct vio_drv *drv, uint32_t off, unsigned char *to,
		      uint32_t len, bool *same)
{
	unsigned char now[32];

	while (len) {
		uint32_t n = len < sizeof(now) ? len : sizeof(now);
		int err = drv->bus->config_read(drv->bus_ctx, off, now, n);

		if (err)
			return err;
		*same &= !memcmp(to, now, n);
		memcpy(to, now, n);
		off += n;
		to += n;
		len -= n;
	}
	return VIO_OK;
}

static int read_fields(struct vio_drv *drv, const struct wish *w, bool *same)
{
	int err = VIO_OK;

	*same = true;
	for (unsigned i = 0; i < w->nr && !err; i++) {
		const struct vio_drv_field *f = &w->field[i];

		if (is_there(drv, f))
			err = read_bytes(drv, f->off,
					 w->to + (f->off - w->from), f->len,
					 same);
	}
	return err;
}

/* VIO_OK where there is none, which leaves 0. */
static int generation(struct vio_drv *drv, uint32_t *now)
{
	*now = 0;
	return drv->legacy || !drv->bus->generation ? VIO_OK :
		drv->bus->generation(drv->bus_ctx, now);
}

/*
 * core.driver.device-configuration-space.1: fields that belong together are
 * read within one generation. A legacy device has none: read until the same
 * comes twice (core.other.legacy-interface-device-configuration-space.1).
 */
static int read_whole(struct vio_drv *drv, const struct wish *w)
{
	uint32_t before, after;
	bool same;
	int err;

	for (unsigned i = 0; i < PATIENCE; i++) {
		err = generation(drv, &before);
		if (!err)
			err = read_fields(drv, w, &same);
		if (!err)
			err = generation(drv, &after);
		if (err)
			return err;
		if (drv->legacy ? i && same : before == after)
			return VIO_OK;
	}
	return VIO_E_IO;
}

int vio_drv_config_fields(struct vio_drv *drv,
			  const struct vio_drv_field *fields, unsigned nr,
			  void *config)
{
	const struct wish w = { .field = fields, .nr = nr, .to = config };

	return read_whole(drv, &w);
}

int vio_drv_config_read(struct vio_drv *drv, uint32_t off, void *dst,
			uint32_t len)
{
	const struct vio_drv_field f = {
		(uint16_t)off, (uint16_t)len, VIO_DRV_ALWAYS, 0,
	};
	const struct wish w = { &f, 1, dst, off };

	if (off > UINT16_MAX || len > UINT16_MAX)
		return VIO_E_RANGE;
	return read_whole(drv, &w);
}

int vio_drv_config_write(struct vio_drv *drv, uint32_t off, const void *src,
			 uint32_t len)
{
	/* core.driver.device-suspend.5 */
	if (drv->suspended)
		return VIO_E_STATE;
	return drv->bus->config_write(drv->bus_ctx, off, src, len);
}

void vio_drv_kick(struct vio_drv *drv, uint16_t index, struct vio_vq *vq)
{
	uint16_t next = 0;

	/* core.driver.device-suspend.3 and .4 */
	if (drv->suspended || !vio_vq_publish(vq))
		return;
	if (vio_drv_has(drv, VIRTIO_F_NOTIFICATION_DATA))
		next = vio_vq_next(vq);
	drv->bus->notify(drv->bus_ctx, index, next);
}

void *vio_drv_wait_used(struct vio_drv *drv, uint16_t index,
			struct vio_vq *vq, uint32_t *len)
{
	void *token;

	vio_drv_kick(drv, index, vq);
	for (;;) {
		token = vio_vq_get(vq, len);
		if (token || vq->broken)
			return token;
		if (vio_vq_listen(vq))
			continue;
		if (vq->broken || drv->bus->wait(drv->bus_ctx, index))
			return NULL;
	}
}
