/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/ccw.h - commands and structures of the channel I/O transport
 * (standard: 4.3), and as much of channel I/O as it rests on (z/Architecture
 * Principles of Operation; Common I/O-Device Commands).
 *
 * All numbers in the structures are big-endian; they are bytes here.
 */
#ifndef VIREO_SPEC_CCW_H
#define VIREO_SPEC_CCW_H

#include <vireo/base.h>

#define VIO_CCW_CU_TYPE		0x3832

/* Basic commands */
#define CCW_CMD_NOOP		0x03
#define CCW_CMD_BASIC_SENSE	0x04
#define CCW_CMD_TIC		0x08
#define CCW_CMD_SENSE_ID	0xe4
/* Those of virtio */
#define CCW_CMD_SET_VQ		0x13
#define CCW_CMD_VDEV_RESET	0x33
#define CCW_CMD_SET_IND		0x43
#define CCW_CMD_SET_CONF_IND	0x53
#define CCW_CMD_SET_IND_ADAPTER	0x73
#define CCW_CMD_READ_FEAT	0x12
#define CCW_CMD_WRITE_FEAT	0x11
#define CCW_CMD_READ_CONF	0x22
#define CCW_CMD_WRITE_CONF	0x21
#define CCW_CMD_WRITE_STATUS	0x31
#define CCW_CMD_READ_VQ_CONF	0x32
#define CCW_CMD_SET_VIRTIO_REV	0x83
#define CCW_CMD_READ_STATUS	0x72

/* Flags of a CCW */
#define CCW_FLAG_CD		0x80	/* data chaining */
#define CCW_FLAG_CC		0x40	/* command chaining */
#define CCW_FLAG_SLI		0x20	/* suppress length indication */
#define CCW_FLAG_SKIP		0x10
#define CCW_FLAG_IDA		0x04	/* indirect data addressing */

/* Device status, of which a good end has both */
#define CCW_DSTAT_CHN_END	0x08
#define CCW_DSTAT_DEV_END	0x04
#define CCW_DSTAT_UNIT_CHECK	0x02
#define CCW_DSTAT_GOOD		(CCW_DSTAT_CHN_END | CCW_DSTAT_DEV_END)
/* Subchannel status */
#define CCW_CSTAT_LENGTH	0x40	/* incorrect length */
#define CCW_CSTAT_PROGRAM	0x20	/* program check */
/* First byte of sense */
#define CCW_SENSE_REJECT	0x80	/* command reject */

/* A format-1 CCW, as it stands in memory */
struct vio_ccw1 {
	uint8_t code;
	uint8_t flags;
	uint8_t count[2];
	uint8_t addr[4];	/* 31 bits */
};

struct vio_ccw_rev_info {
	uint8_t revision[2];
	uint8_t length[2];
};

struct vio_ccw_vq_config {
	uint8_t index[2];
	uint8_t max_queue_size[2];
};

struct vio_ccw_vq_info {
	uint8_t desc[8];
	uint8_t res0[4];
	uint8_t index[2];
	uint8_t size[2];
	uint8_t driver[8];
	uint8_t device[8];
};

struct vio_ccw_vq_info_legacy {
	uint8_t queue[8];
	uint8_t align[4];
	uint8_t index[2];
	uint8_t size[2];
};

struct vio_ccw_feature_desc {
	vio_le32 features;	/* the one that is little-endian */
	uint8_t index;
} __attribute__((packed));

struct vio_ccw_thinint {
	uint8_t summary_indicator[8];
	uint8_t indicator[8];
	uint8_t bit_nr[8];
	uint8_t isc;
};

VIO_STATIC_ASSERT(sizeof(struct vio_ccw1) == 8, "format-1 CCW");
VIO_STATIC_ASSERT(sizeof(struct vio_ccw_vq_info) == 32, "4.3.2.2");
VIO_STATIC_ASSERT(sizeof(struct vio_ccw_vq_info_legacy) == 16, "4.3.2.2.2");
VIO_STATIC_ASSERT(sizeof(struct vio_ccw_feature_desc) == 5, "4.3.2.4");
VIO_STATIC_ASSERT(sizeof(struct vio_ccw_thinint) == 25, "4.3.2.6.3");

static inline uint64_t vio_be_get(const uint8_t *p, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v = v << 8 | p[i];
	return v;
}

static inline void vio_be_put(uint8_t *p, unsigned len, uint64_t v)
{
	for (unsigned i = len; i-- > 0; v >>= 8)
		p[i] = (uint8_t)v;
}

#endif
