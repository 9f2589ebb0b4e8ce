/* SPDX-License-Identifier: MIT */
/*
 * blk_config.c - what a block device says of itself: features, configuration
 * space, cache mode. It serves no request.
 */
#include "core/device/blk.h"

static struct vio_blk *blk_of(struct vio_dev *dev)
{
	return vio_container_of(dev, struct vio_blk, dev);
}

static void set_writeback(struct vio_blk *blk, bool on)
{
	__atomic_store_n(&blk->config.writeback, on, __ATOMIC_RELAXED);
}

static void fill_zones(struct vio_blk *blk, bool known)
{
	const struct vio_blk_zones *z = &blk->conf.zones;

	/* blk.device.device-initialization.6: without the feature, zeroes */
	blk->config.zoned = (struct virtio_blk_zoned_characteristics){
		.model = 0
	};
	if (!known || !blk->conf.zoned || z->model == VIRTIO_BLK_Z_NONE)
		return;
	blk->config.zoned = (struct virtio_blk_zoned_characteristics){
		.zone_sectors = vio_to_le32(z->zone_sectors),
		.max_open_zones = vio_to_le32(z->max_open),
		.max_active_zones = vio_to_le32(z->max_active),
		.max_append_sectors = vio_to_le32(z->max_append_sectors),
		.write_granularity = vio_to_le32(z->write_granularity),
		.model = z->model,
	};
}

void blk_reset(struct vio_dev *dev)
{
	struct vio_blk *blk = blk_of(dev);

	set_writeback(blk, !blk->conf.writethrough && !blk->conf.no_flush);
	fill_zones(blk, true);
}

int blk_check_features(struct vio_dev *dev, const struct vio_features *f)
{
	const struct vio_blk_conf *conf = &blk_of(dev)->conf;

	/* blk.device.device-initialization.7 */
	if (conf->zoned && conf->zones.model == VIRTIO_BLK_Z_HM &&
	    !vio_has(f, VIRTIO_BLK_F_ZONED)) {
		vio_dev_log(dev, VIO_LOG_ERROR,
			    "the driver knows no zones, and this disk cannot be written without: it is refused",
			    NULL, 0);
		return VIO_E_PEER;
	}
	return VIO_OK;
}

/* The cache mode follows from what the driver accepted (5.2.5.2, 5.2.6.2). */
void blk_features_ok(struct vio_dev *dev)
{
	struct vio_blk *blk = blk_of(dev);

	/* Without FLUSH the driver could never make a write stable; a legacy
	 * driver that has CONFIG_WCE says itself which mode it wants
	 * (blk.other.legacy-interface-device-initialization.3). */
	if (!vio_dev_has(dev, VIRTIO_BLK_F_FLUSH) && !blk->conf.no_flush &&
	    !(vio_dev_legacy(dev) &&
	      vio_dev_has(dev, VIRTIO_BLK_F_CONFIG_WCE)))
		set_writeback(blk, false);
	fill_zones(blk, vio_dev_has(dev, VIRTIO_BLK_F_ZONED));
}

/*
 * blk.other.legacy-interface-device-initialization.2: a legacy driver may
 * switch before it says what it accepts.
 */
static bool may_switch(const struct vio_dev *dev)
{
	if (vio_dev_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return true;
	return dev->transitional && vio_dev_legacy(dev) &&
	       vio_has(&dev->offered, VIRTIO_BLK_F_CONFIG_WCE) &&
	       !(vio_dev_status(dev) & VIRTIO_STATUS_DRIVER_OK);
}

int blk_config_write(struct vio_dev *dev, uint32_t off,
		     const void *src, uint32_t len)
{
	struct vio_blk *blk = blk_of(dev);
	uint8_t mode;

	/* writeback is the one field that a driver may write. */
	if (off != offsetof(struct virtio_blk_config, writeback) || len != 1 ||
	    !may_switch(dev))
		return VIO_E_PEER;
	mode = *(const uint8_t *)src;
	if (mode > 1)
		return VIO_E_PEER;
	set_writeback(blk, mode);
	return VIO_OK;
}

void blk_fill_config(struct virtio_blk_config *c,
		     const struct vio_blk_conf *conf)
{
	*c = (struct virtio_blk_config){
		.capacity = vio_to_le64(conf->capacity_sectors),
		.size_max = vio_to_le32(conf->size_max),
		.seg_max = vio_to_le32(conf->seg_max),
		.geometry = conf->geometry,
		.blk_size = vio_to_le32(conf->blk_size),
		.topology = {
			.physical_block_exp = conf->physical_block_exp,
			.alignment_offset = conf->alignment_offset,
			.min_io_size = vio_to_le16(conf->min_io_blocks),
			.opt_io_size = vio_to_le32(conf->opt_io_blocks),
		},
		.num_queues = vio_to_le16(conf->num_queues),
		.max_discard_sectors = vio_to_le32(conf->max_discard_sectors),
		.max_discard_seg = vio_to_le32(conf->max_discard_seg),
		.discard_sector_alignment =
			vio_to_le32(conf->discard_sector_alignment),
		.max_write_zeroes_sectors =
			vio_to_le32(conf->max_write_zeroes_sectors),
		.max_write_zeroes_seg =
			vio_to_le32(conf->max_write_zeroes_seg),
		.write_zeroes_may_unmap = conf->write_zeroes_may_unmap,
		.max_secure_erase_sectors =
			vio_to_le32(conf->max_secure_erase_sectors),
		.max_secure_erase_seg =
			vio_to_le32(conf->max_secure_erase_seg),
		.secure_erase_sector_alignment =
			vio_to_le32(conf->secure_erase_sector_alignment),
	};
}

struct vio_features blk_features_of(const struct vio_blk_conf *conf)
{
	const struct { unsigned bit; bool on; } table[] = {
		{ VIRTIO_BLK_F_SIZE_MAX, conf->size_max },
		{ VIRTIO_BLK_F_SEG_MAX, conf->seg_max },
		{ VIRTIO_BLK_F_GEOMETRY, conf->geometry.cylinders.raw },
		{ VIRTIO_BLK_F_RO, conf->read_only },
		{ VIRTIO_BLK_F_BLK_SIZE, true },
		{ VIRTIO_BLK_F_FLUSH, !conf->no_flush },
		{ VIRTIO_BLK_F_TOPOLOGY, conf->topology },
		{ VIRTIO_BLK_F_CONFIG_WCE, !conf->no_flush },
		{ VIRTIO_BLK_F_MQ, conf->num_queues > 1 },
		{ VIRTIO_BLK_F_DISCARD, conf->max_discard_sectors },
		{ VIRTIO_BLK_F_WRITE_ZEROES, conf->max_write_zeroes_sectors },
		{ VIRTIO_BLK_F_LIFETIME, conf->lifetime },
		{ VIRTIO_BLK_F_SECURE_ERASE, conf->max_secure_erase_sectors },
		{ VIRTIO_BLK_F_ZONED, conf->zoned },
		{ VIRTIO_F_IN_ORDER, conf->in_order },
	};
	struct vio_features f = { { 0, 0 } };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(table); i++)
		if (table[i].on)
			vio_feature_set(&f, table[i].bit);
	return f;
}

/* A kind of request with ranges: both limits, or neither. */
static bool ranges_ok(uint32_t max_sectors, uint32_t max_seg)
{
	return max_seg <= VIO_BLK_RANGES_MAX && !max_sectors == !max_seg;
}

/* blk.device.device-initialization.9 to .16 */
static bool zones_ok(const struct vio_blk_conf *conf)
{
	const struct vio_blk_zones *z = &conf->zones;
	uint32_t step = z->write_granularity;

	if (!z->zone_sectors || z->model > VIRTIO_BLK_Z_HA ||
	    step < SECTOR || step & (step - 1) ||
	    vio_mod((uint64_t)z->zone_sectors * SECTOR, step))
		return false;
	/* A driver must not use them together (.6 of the driver's). */
	if (z->model == VIRTIO_BLK_Z_HM &&
	    (conf->max_discard_sectors || conf->max_write_zeroes_sectors))
		return false;
	if (z->max_active && z->max_open > z->max_active)
		return false;
	if (conf->max_secure_erase_sectors &&
	    (!conf->secure_erase_sector_alignment ||
	     vio_mod(conf->secure_erase_sector_alignment, z->zone_sectors)))
		return false;
	return !conf->seg_max || !conf->size_max ||
	       (uint64_t)z->max_append_sectors * SECTOR <=
		       (uint64_t)conf->seg_max * conf->size_max;
}

bool blk_conf_ok(const struct vio_blk_conf *conf,
		 const struct vio_blk_backend_ops *backend)
{
	if (conf->zoned && conf->zones.model != VIRTIO_BLK_Z_NONE &&
	    (!backend->zone_report || !zones_ok(conf)))
		return false;
	return conf->capacity_sectors <= UINT64_MAX / SECTOR &&
	       conf->blk_size >= SECTOR &&
	       !(conf->blk_size & (conf->blk_size - 1)) &&
	       ranges_ok(conf->max_discard_sectors, conf->max_discard_seg) &&
	       ranges_ok(conf->max_write_zeroes_sectors,
			 conf->max_write_zeroes_seg) &&
	       ranges_ok(conf->max_secure_erase_sectors,
			 conf->max_secure_erase_seg) &&
	       (!conf->lifetime || backend->wear);
}
