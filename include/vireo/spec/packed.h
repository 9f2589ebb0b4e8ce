/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/packed.h - the packed virtqueue's layout (standard: 2.8).
 */
#ifndef VIREO_SPEC_PACKED_H
#define VIREO_SPEC_PACKED_H

#include <vireo/base.h>

#define PVIRTQ_DESC_F_NEXT		1
#define PVIRTQ_DESC_F_WRITE		2
#define PVIRTQ_DESC_F_INDIRECT		4
#define PVIRTQ_DESC_F_AVAIL		(1 << 7)
#define PVIRTQ_DESC_F_USED		(1 << 15)

#define RING_EVENT_FLAGS_ENABLE		0
#define RING_EVENT_FLAGS_DISABLE	1
#define RING_EVENT_FLAGS_DESC		2

#define PVIRTQ_DESC_ALIGN		16
#define PVIRTQ_EVENT_ALIGN		4

/* Any size from 1 on; it need not be a power of 2. */
#define PVIRTQ_SIZE_MAX			32768

struct pvirtq_desc {
	vio_le64 addr;
	vio_le32 len;
	vio_le16 id;
	vio_le16 flags;
};

struct pvirtq_event_suppress {
	vio_le16 desc;	/* offset in the ring: 15 bits, wrap counter: 1 bit */
	vio_le16 flags;	/* RING_EVENT_FLAGS_*: 2 bits */
};

VIO_STATIC_ASSERT(sizeof(struct pvirtq_desc) == 16, "2.8.13");
VIO_STATIC_ASSERT(offsetof(struct pvirtq_desc, len) == 8, "2.8.13");
VIO_STATIC_ASSERT(offsetof(struct pvirtq_desc, id) == 12, "2.8.13");
VIO_STATIC_ASSERT(offsetof(struct pvirtq_desc, flags) == 14, "2.8.13");
VIO_STATIC_ASSERT(sizeof(struct pvirtq_event_suppress) == 4, "2.8.14");

/*
 * Both sides walk the ring with an offset and a wrap counter that starts at 1
 * and flips at the end. One number holds the two: a position from 0 to
 * 2 * size - 1, in the lower half of which the wrap counter is 1. Distances
 * between positions are then plain subtraction, modulo 2 * size.
 */
static inline uint16_t pvirtq_off(uint16_t pos, uint16_t size)
{
	return pos < size ? pos : (uint16_t)(pos - size);
}

static inline bool pvirtq_wrap(uint16_t pos, uint16_t size)
{
	return pos < size;
}

/* Move on by @n, at most @size. */
static inline uint16_t pvirtq_add(uint16_t pos, uint16_t n, uint16_t size)
{
	uint32_t to = (uint32_t)pos + n;

	return (uint16_t)(to < 2u * size ? to : to - 2u * size);
}

/* From @from on to @to. */
static inline uint32_t pvirtq_distance(uint16_t from, uint16_t to,
				       uint16_t size)
{
	return to >= from ? (uint32_t)(to - from) :
			    (uint32_t)(to + 2u * size - from);
}

/* A position as event words and saved state have it, and back. */
static inline uint16_t pvirtq_pack(uint16_t pos, uint16_t size)
{
	return (uint16_t)(pvirtq_off(pos, size) |
			  (pvirtq_wrap(pos, size) ? 0x8000u : 0));
}

/* False where the offset is outside the ring. */
static inline bool pvirtq_unpack(uint16_t word, uint16_t size, uint16_t *pos)
{
	uint16_t off = word & 0x7fff;

	*pos = (uint16_t)(word & 0x8000 ? off : off + size);
	return off < size;
}

/* Does moving from @old to @now step over the event at @event? */
static inline bool pvirtq_need_event(uint16_t event, uint16_t now,
				     uint16_t old, uint16_t size)
{
	return pvirtq_distance(old, event, size) <
	       pvirtq_distance(old, now, size);
}

#endif
