/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/split.h - the split virtqueue's layout (standard: 2.7).
 */
#ifndef VIREO_SPEC_SPLIT_H
#define VIREO_SPEC_SPLIT_H

#include <vireo/base.h>

#define VIRTQ_DESC_F_NEXT		1
#define VIRTQ_DESC_F_WRITE		2
#define VIRTQ_DESC_F_INDIRECT		4

#define VIRTQ_AVAIL_F_NO_INTERRUPT	1
#define VIRTQ_USED_F_NO_NOTIFY		1

#define VIRTQ_DESC_ALIGN		16
#define VIRTQ_AVAIL_ALIGN		2
#define VIRTQ_USED_ALIGN		4

#define VIRTQ_SIZE_MAX			32768

struct virtq_desc {
	vio_le64 addr;
	vio_le32 len;
	vio_le16 flags;
	vio_le16 next;
};

/* Followed by le16 ring[queue size], then le16 used_event. */
struct virtq_avail {
	vio_le16 flags;
	vio_le16 idx;
};

struct virtq_used_elem {
	vio_le32 id;
	vio_le32 len;
};

/* Followed by virtq_used_elem ring[queue size], then le16 avail_event. */
struct virtq_used {
	vio_le16 flags;
	vio_le16 idx;
};

VIO_STATIC_ASSERT(sizeof(struct virtq_desc) == 16, "2.7.5");
VIO_STATIC_ASSERT(offsetof(struct virtq_desc, len) == 8, "2.7.5");
VIO_STATIC_ASSERT(offsetof(struct virtq_desc, flags) == 12, "2.7.5");
VIO_STATIC_ASSERT(offsetof(struct virtq_desc, next) == 14, "2.7.5");
VIO_STATIC_ASSERT(sizeof(struct virtq_avail) == 4, "2.7.6");
VIO_STATIC_ASSERT(sizeof(struct virtq_used_elem) == 8, "2.7.8");
VIO_STATIC_ASSERT(sizeof(struct virtq_used) == 4, "2.7.8");

/* Bytes of the three areas of a ring of @size entries, event words included. */
static inline uint64_t virtq_desc_bytes(uint16_t size)
{
	return 16ull * size;
}

static inline uint64_t virtq_avail_bytes(uint16_t size)
{
	return 6ull + 2ull * size;
}

static inline uint64_t virtq_used_bytes(uint16_t size)
{
	return 6ull + 8ull * size;
}

/*
 * Does moving an index from @old to @new_idx step over @event? The rule of
 * 2.7.7.2 and 2.7.10: all three are free-running and may wrap.
 */
static inline bool virtq_need_event(uint16_t event, uint16_t new_idx,
				    uint16_t old)
{
	return (uint16_t)(new_idx - event - 1) < (uint16_t)(new_idx - old);
}

#endif
