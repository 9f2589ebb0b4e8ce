/* SPDX-License-Identifier: MIT */
/*
 * The state of a device as bytes: what it has beside its rings, its features
 * and its configuration, on the way to another process or another machine.
 * Here is the form alone; what stands in it is the device types' (tags below
 * VIO_STATE_OUTER) and their back ends' (from there on).
 *
 * All numbers are little-endian. A header, records, an end:
 *
 *	u32 magic, "VioS"; u16 version, 1; u16 device type (VIRTIO_ID_*)
 *	u16 tag; u16 flags; u32 length; so many bytes		... records
 *	u16 tag 0; u16 0; u32 4; u32 bytes in all, these included
 *
 * Who does not know a tag goes on without the record, unless its flags have
 * VIO_STATE_MUST: so an older program refuses what it would lose, and a newer
 * one reads what an older one wrote, where what is missing is as after a
 * reset. A tag never changes its meaning.
 */
#ifndef VIREO_STATE_H
#define VIREO_STATE_H

#include <vireo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIO_STATE_MAGIC		0x536f6956u
#define VIO_STATE_VERSION	1u
#define VIO_STATE_MUST		1u	/* flags: not to be ignored */
#define VIO_STATE_OUTER		0x8000u	/* tags of back ends */
/* More is never read. */
#define VIO_STATE_MAX		(1u << 20)

/* Bytes are counted beyond the room, too, so that the need is known. */
struct vio_state_out {
	unsigned char *p;
	uint32_t room;
	uint32_t len;
};

/* @room may be 0: only count. */
void vio_state_begin(struct vio_state_out *out, void *p, uint32_t room,
		     uint32_t device_id);
void vio_state_put(struct vio_state_out *out, uint16_t tag, uint16_t flags,
		   const void *src, uint32_t len);
void vio_state_put32(struct vio_state_out *out, uint16_t tag, uint16_t flags,
		     uint32_t v);
/* Returns how many bytes there are; more than the room: they did not fit. */
uint32_t vio_state_end(struct vio_state_out *out);

struct vio_state_record {
	uint16_t tag;
	uint16_t flags;
	uint32_t len;
	const unsigned char *p;
};

/*
 * vio_state_next() - the record at *@pos, which is moved on; start from 0.
 * VIO_OK; VIO_E_AGAIN when all were seen and the end is as it should be;
 * VIO_E_PEER if this is not the state of such a device, or not whole.
 */
int vio_state_next(const void *p, uint32_t len, uint32_t device_id,
		   uint32_t *pos, struct vio_state_record *r);

/* A record of four bytes; VIO_E_PEER if it is none. */
int vio_state_get32(const struct vio_state_record *r, uint32_t *v);

#ifdef __cplusplus
}
#endif
#endif
