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
#define VIRTIO_BLK_T_FLUSH		4
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

#define VIRTIO_BLK_S_OK			0
#define VIRTIO_BLK_S_IOERR		1
#define VIRTIO_BLK_S_UNSUPP		2

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

#endif
