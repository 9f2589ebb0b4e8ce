/* SPDX-License-Identifier: MIT */
/*
 * The zones of a disk as states, write pointers and limits (standard: 5.2.6):
 * what a request may do, and what becomes of its zone. No I/O, no locks, no
 * files: who calls sees to that. Numbers are sectors of 512 bytes.
 */
#ifndef BACKEND_ZONES_H
#define BACKEND_ZONES_H

#include <stdbool.h>
#include <stdint.h>
#include <vireo/blk.h>

struct zone {
	uint64_t start, size;
	uint64_t capacity;	/* at most size */
	uint64_t wp;		/* all writes that were begun lie below */
	/*
	 * All writes below were answered before the youngest of those begun;
	 * what lies between low and wp may be sent again when the program
	 * died over it.
	 */
	uint64_t low;
	uint32_t inflight;	/* writes begun and not ended */
	uint32_t resets;	/* tells writes from before a reset */
	uint8_t type, state;	/* VIRTIO_BLK_ZT_*, VIRTIO_BLK_ZS_* */
	bool replay;		/* such writes may come */
	bool dirty;		/* on the list of what is to be stored */
};

struct zones_conf {
	uint8_t model;			/* VIRTIO_BLK_Z_HM or HA */
	uint64_t disk;			/* size of the disk */
	uint32_t zone_sectors;
	uint32_t zone_capacity;		/* 0: all of it */
	uint32_t conventional;		/* so many zones, the first ones */
	uint32_t max_open, max_active;	/* 0: no limit */
	uint32_t granularity;		/* bytes */
};

struct zones {
	struct zones_conf conf;
	struct zone *zone;
	uint32_t nr, nr_open, nr_active;
	uint32_t *dirty;		/* indices */
	uint32_t nr_dirty;
	/* A zone is no longer what it was. NULL: nobody asks. */
	void (*changed)(void *ctx, uint32_t index);
	void *changed_ctx;
};

/* A write under way. */
struct zone_write {
	uint32_t zone;
	uint32_t resets;
	uint64_t sector, nr;
};

/* All zones empty. -EINVAL, -ENOMEM. */
int zones_init(struct zones *z, const struct zones_conf *conf);
void zones_fini(struct zones *z);

/* The zone that holds @sector, which is on the disk. */
struct zone *zones_at(struct zones *z, uint64_t sector);

/*
 * What follows returns VIO_OK or a VIRTIO_BLK_S_ZONE_* and changes nothing
 * then. @op: VIO_BLK_ZONE_OPEN, CLOSE, FINISH or RESET.
 */
int zones_manage(struct zones *z, enum vio_blk_op op, uint64_t sector);
void zones_reset_all(struct zones *z);
int zones_check_read(struct zones *z, uint64_t sector, uint64_t nr);

/*
 * Begin a write of @nr sectors, not 0, at @sector; an append finds its place,
 * which w->sector says. End it once it is done, well or not.
 */
int zones_begin(struct zones *z, uint64_t sector, uint64_t nr, bool append,
		struct zone_write *w);
void zones_end(struct zones *z, const struct zone_write *w, bool good);

/* As a report tells it. */
unsigned zones_report(struct zones *z, uint64_t sector,
		      struct vio_blk_zone *out, unsigned max);

/* Put a zone into a state that was stored; false if it cannot be. */
bool zones_restore(struct zones *z, uint32_t index, uint8_t state,
		   uint64_t written, uint64_t low);
/* A device tells what has become of a zone; nothing is under way there. */
void zones_adopt(struct zones *z, uint32_t index,
		 const struct vio_blk_zone *told);
/*
 * Who had the disk may have died over writes of this zone, and all that lies
 * in it may be sent again, until something else is done to it.
 */
void zones_expect(struct zones *z, uint32_t index);
/*
 * How many sectors of a write, the first ones, may have been sent before. 0: it
 * is one like others, for zones_begin().
 */
uint64_t zones_replayed(struct zones *z, uint64_t sector, uint64_t nr);
/* The power was gone: nothing is open any more, nothing under way. */
void zones_power_on(struct zones *z);

#endif
