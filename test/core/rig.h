/* SPDX-License-Identifier: MIT */
/*
 * rig.h - a device under test with its driver's pencil: guest memory in two
 * regions with a hole between, one ring that a test writes by hand, word by
 * word, legal or not. For what a real driver does, see test/loopback.
 */
#ifndef TEST_CORE_RIG_H
#define TEST_CORE_RIG_H

#include <vireo/dev.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#define RIG_SIZE	16u		/* ring entries */
#define RIG_SEG_MAX	64u
#define RIG_LOW		0x10000ull	/* guest address of region 0 */
#define RIG_LEN		0x10000ull	/* of each region */
#define RIG_HIGH	0x40000ull	/* guest address of region 1 */
#define RIG_DATA	(RIG_LOW + 0x1000)
#define RIG_STORAGE	65536u

struct rig {
	/* what the test wants to know afterwards */
	unsigned notifies, config_changes, ready;
	unsigned logs;
	const char *log_text;

	struct vio_region region[2];
	struct vio_mem mem;
	struct vio_dev *dev;
	struct vio_queue *queue;	/* the device's queues */
	struct vio_queue_layout layout;	/* of queue 0 */
	uint16_t avail_idx;
	uint16_t used_seen;
	unsigned char low[RIG_LEN] __attribute__((aligned(4096)));
	unsigned char high[RIG_LEN] __attribute__((aligned(4096)));
	unsigned char storage[8][RIG_STORAGE] __attribute__((aligned(64)));
};

/* Memory and queues; then the test initialises its device on rig->queue. */
void rig_init(struct rig *r, struct vio_queue *queue, unsigned nr_queues,
	      uint16_t ctx_size);

/* Negotiate @features (each must be offered), DRIVER_OK, start queue 0. */
void rig_start(struct rig *r, struct vio_dev *dev,
	       const struct vio_features *features);

/*
 * As rig_start(), on a ring that begins at @base: VIO_QUEUE_NEW_PACKED, or
 * VIO_QUEUE_NEW_SPLIT, and then without RING_PACKED.
 */
void rig_start_at(struct rig *r, struct vio_dev *dev,
		  const struct vio_features *features, uint16_t base);

/* As rig_start() with all that is offered, less the event index. */
void rig_start_plain(struct rig *r, struct vio_dev *dev);

/* As a driver from before VERSION_1: the device's own features, no
 * FEATURES_OK. */
void rig_start_legacy(struct rig *r, struct vio_dev *dev);

/* Host pointer of a guest address in either region. */
void *rig_at(struct rig *r, uint64_t addr);

/* Write descriptor @i of the table. */
void rig_desc(struct rig *r, unsigned i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next);

/* Write entry @i of an indirect table at @table. */
void rig_indirect(struct rig *r, uint64_t table, unsigned i, uint64_t addr,
		  uint32_t len, uint16_t flags, uint16_t next);

/* Make the chain at @head available; the device is not kicked. */
void rig_avail(struct rig *r, uint16_t head);

/* Let the device serve queue 0, as after a kick. */
enum vio_service rig_kick(struct rig *r);

/* The next used element; false if there is none. */
bool rig_used(struct rig *r, uint32_t *id, uint32_t *len);

/* Words of the ring that belong to the driver and to the device. */
vio_le16 *rig_avail_flags(struct rig *r);
vio_le16 *rig_used_event(struct rig *r);
vio_le16 *rig_avail_event(struct rig *r);
vio_le16 *rig_used_flags(struct rig *r);

/* The queue broke: NEEDS_RESET is set, the driver was told, one line said. */
bool rig_broken(const struct rig *r);

#endif
