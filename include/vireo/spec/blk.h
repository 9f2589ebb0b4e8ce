/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/blk.h - constants and wire structs of the block device
 * (standard: 5.2), in its spelling.
 */
#ifndef VIREO_SPEC_BLK_H
#define VIREO_SPEC_BLK_H

#include <vireo/base.h>

#define VIRTIO_BLK_F_BARRIER		0	/* legacy */
#define VIRTIO_BLK_F_SIZE_MAX		1
#define VIRTIO_BLK_F_SEG_MAX		2
#define VIRTIO_BLK_F_GEOMETRY		4
#define VIRTIO_BLK_F_RO			5
#define VIRTIO_BLK_F_BLK_SIZE		6
#define VIRTIO_BLK_F_SCSI		7	/* legacy */
#define VIRTIO_BLK_F_FLUSH		9
#define VIRTIO_BLK_F_TOPOLOGY		10
#define VIRTIO_BLK_F_CONFIG_WCE		11
#define VIRTIO_BLK_F_MQ			12
#define VIRTIO_BLK_F_DISCARD		13
#define VIRTIO_BLK_F_WRITE_ZEROES	14
#define VIRTIO_BLK_F_LIFETIME		15
#define VIRTIO_BLK_F_SECURE_ERASE	16
#define VIRTIO_BLK_F_ZONED		17

#define VIRTIO_BLK_T_IN			0
#define VIRTIO_BLK_T_OUT		1
#define VIRTIO_BLK_T_SCSI_CMD		2	/* legacy */
#define VIRTIO_BLK_T_SCSI_CMD_OUT	3	/* legacy */
#define VIRTIO_BLK_T_FLUSH		4
#define VIRTIO_BLK_T_FLUSH_OUT		5	/* legacy */
#define VIRTIO_BLK_T_GET_ID		8
#define VIRTIO_BLK_T_GET_LIFETIME	10
#define VIRTIO_BLK_T_DISCARD		11
#define VIRTIO_BLK_T_WRITE_ZEROES	13
#define VIRTIO_BLK_T_SECURE_ERASE	14
#define VIRTIO_BLK_T_ZONE_APPEND	15
#define VIRTIO_BLK_T_ZONE_REPORT	16
#define VIRTIO_BLK_T_ZONE_OPEN		18
#define VIRTIO_BLK_T_ZONE_CLOSE		20
#define VIRTIO_BLK_T_ZONE_FINISH	22
#define VIRTIO_BLK_T_ZONE_RESET		24
#define VIRTIO_BLK_T_ZONE_RESET_ALL	26
#define VIRTIO_BLK_T_BARRIER		0x80000000u	/* legacy */

#define VIRTIO_BLK_S_OK			0
#define VIRTIO_BLK_S_IOERR		1
#define VIRTIO_BLK_S_UNSUPP		2
/* only where VIRTIO_BLK_F_ZONED was negotiated */
#define VIRTIO_BLK_S_ZONE_INVALID_CMD		3
#define VIRTIO_BLK_S_ZONE_UNALIGNED_WP		4
#define VIRTIO_BLK_S_ZONE_OPEN_RESOURCE		5
#define VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE	6

/* struct virtio_blk_zoned_characteristics, model */
#define VIRTIO_BLK_Z_NONE		0
#define VIRTIO_BLK_Z_HM			1
#define VIRTIO_BLK_Z_HA			2

/* struct virtio_blk_zone_descriptor, z_type and z_state */
#define VIRTIO_BLK_ZT_CONV		1
#define VIRTIO_BLK_ZT_SWR		2
#define VIRTIO_BLK_ZT_SWP		3
#define VIRTIO_BLK_ZS_NOT_WP		0
#define VIRTIO_BLK_ZS_EMPTY		1
#define VIRTIO_BLK_ZS_IOPEN		2
#define VIRTIO_BLK_ZS_EOPEN		3
#define VIRTIO_BLK_ZS_CLOSED		4
#define VIRTIO_BLK_ZS_RDONLY		13
#define VIRTIO_BLK_ZS_FULL		14
#define VIRTIO_BLK_ZS_OFFLINE		15

/* struct virtio_blk_lifetime; larger values are reserved */
#define VIRTIO_BLK_PRE_EOL_INFO_UNDEFINED	0
#define VIRTIO_BLK_PRE_EOL_INFO_NORMAL		1
#define VIRTIO_BLK_PRE_EOL_INFO_WARNING		2
#define VIRTIO_BLK_PRE_EOL_INFO_URGENT		3
#define VIRTIO_BLK_LIFETIME_EST_MAX		11

#define VIRTIO_BLK_ID_BYTES		20
#define VIRTIO_BLK_SECTOR_SIZE		512

/* struct virtio_blk_discard_write_zeroes, flags */
#define VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP	1

struct virtio_blk_geometry {
	vio_le16 cylinders;
	uint8_t heads;
	uint8_t sectors;
};

struct virtio_blk_topology {
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	vio_le16 min_io_size;
	vio_le32 opt_io_size;
};

struct virtio_blk_zoned_characteristics {
	vio_le32 zone_sectors;
	vio_le32 max_open_zones;
	vio_le32 max_active_zones;
	vio_le32 max_append_sectors;
	vio_le32 write_granularity;
	uint8_t model;
	uint8_t unused2[3];
};

struct virtio_blk_config {
	vio_le64 capacity;
	vio_le32 size_max;
	vio_le32 seg_max;
	struct virtio_blk_geometry geometry;
	vio_le32 blk_size;
	struct virtio_blk_topology topology;
	uint8_t writeback;
	uint8_t unused0;
	vio_le16 num_queues;
	vio_le32 max_discard_sectors;
	vio_le32 max_discard_seg;
	vio_le32 discard_sector_alignment;
	vio_le32 max_write_zeroes_sectors;
	vio_le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
	vio_le32 max_secure_erase_sectors;
	vio_le32 max_secure_erase_seg;
	vio_le32 secure_erase_sector_alignment;
	struct virtio_blk_zoned_characteristics zoned;
};

VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, geometry) == 16, "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, blk_size) == 20, "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, topology) == 24, "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, writeback) == 32, "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, num_queues) == 34,
		  "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, max_discard_sectors) == 36,
		  "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config,
			   max_secure_erase_sectors) == 60, "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct virtio_blk_config, zoned) == 72, "5.2.4");
VIO_STATIC_ASSERT(sizeof(struct virtio_blk_config) == 96, "5.2.4");

/* The readable start of every request; the status byte ends it. */
struct virtio_blk_req_hdr {
	vio_le32 type;
	vio_le32 reserved;
	vio_le64 sector;
};

VIO_STATIC_ASSERT(sizeof(struct virtio_blk_req_hdr) == 16, "5.2.6");

struct virtio_blk_discard_write_zeroes {
	vio_le64 sector;
	vio_le32 num_sectors;
	vio_le32 flags;
};

VIO_STATIC_ASSERT(sizeof(struct virtio_blk_discard_write_zeroes) == 16,
		  "5.2.6");

struct virtio_blk_lifetime {
	vio_le16 pre_eol_info;
	vio_le16 device_lifetime_est_typ_a;
	vio_le16 device_lifetime_est_typ_b;
};

VIO_STATIC_ASSERT(sizeof(struct virtio_blk_lifetime) == 6, "5.2.6");

/* A zone report: this, then descriptors. */
struct virtio_blk_zone_report {
	vio_le64 nr_zones;
	uint8_t reserved[56];
};

struct virtio_blk_zone_descriptor {
	vio_le64 z_cap;
	vio_le64 z_start;
	vio_le64 z_wp;
	uint8_t z_type;
	uint8_t z_state;
	uint8_t reserved[38];
};

VIO_STATIC_ASSERT(sizeof(struct virtio_blk_zone_report) == 64, "5.2.6");
VIO_STATIC_ASSERT(sizeof(struct virtio_blk_zone_descriptor) == 64, "5.2.6");

/* The writable end of a zone append. */
struct virtio_blk_za_tail {
	vio_le64 append_sector;
	uint8_t status;
} __attribute__((packed));

VIO_STATIC_ASSERT(sizeof(struct virtio_blk_za_tail) == 9, "5.2.6");

#endif
