/* SPDX-License-Identifier: MIT */
/*
 * A device in the machine: a virtio device, the thread that serves its
 * queues, and an eventfd for each queue that a kick arrives by. Knows neither
 * the transport in front of it nor what a type of device does.
 *
 * Each device has one thread. Everything that changes its state happens
 * there: a transport hands over accesses by dev_run().
 */
#ifndef VMM_DEV_H
#define VMM_DEV_H

#include <vireo/dev.h>

#include "host/daemon.h"
#include "host/stats.h"
#include "host/worker.h"

struct dev;

/* What a type adds; absent methods do nothing. The device's thread. */
struct dev_type {
	const char *name;		/* "block" */
	const struct daemon_feature *features;	/* ends with a NULL name */
	int (*start)(struct dev *d);	/* 0, or -errno, said already */
	void (*stop)(struct dev *d);
	/*
	 * The rings are worked at elsewhere, and nobody here reads the queues'
	 * eventfds: this comes instead of dev_kick()'s write to them.
	 */
	void (*kicked)(struct dev *d, unsigned queue);
	/* How a queue's interrupt gets to the guest changed: see direct. */
	void (*rerouted)(struct dev *d);
	bool modern_only;		/* cannot serve legacy drivers */
	void (*stats)(const struct dev *d, struct stats_values *v);
	/* After all has stopped; any thread. Frees the device. */
	void (*close)(struct dev *d);
};

struct dev_queue {
	struct dev *dev;
	unsigned index;
	int kick;		/* eventfd */
	struct loop_fd watch;
	struct loop_call again;
	struct loop_poller poller;
	bool kicks_off;		/* by us, while polling */
	bool waiting;		/* the device waits for its back end */
};

struct dev {
	const struct dev_type *type;
	struct vio_dev *vio;
	struct worker worker;
	struct dev_queue *queue;	/* vio->nr_queues of them */
	struct stats stats;
	bool running;
	uint64_t agreed;	/* features of the last driver */
	/* What a transport may add, but this type cannot pass on. */
	struct vio_features withheld;
	/*
	 * Set by a transport whose interrupts need nobody here: have events
	 * of @fd be those of the queue, or no longer (-1). False while that
	 * cannot be: then events have to be read, and told. Device's thread.
	 */
	bool (*direct)(void *ctx, unsigned queue, int fd);
	void *direct_ctx;
};

/* A transport calls this when it has added its features. */
static inline void dev_withhold(struct dev *d)
{
	d->vio->offered.w[0] &= ~d->withheld.w[0];
	d->vio->offered.w[1] &= ~d->withheld.w[1];
}

/*
 * Called by a type's open once d->vio is there: eventfds for its queues, and
 * the file for its numbers (NULL: none). 0, or -errno after an error line.
 */
int dev_open(struct dev *d, const struct dev_type *type, struct vio_dev *vio,
	     const char *stats_path);

/* Give the device its thread, start the type on it. 0 or -errno, said. */
int dev_start(struct dev *d);
/* No processor runs any more. Writes the numbers. */
void dev_stop(struct dev *d);
/* Undoes dev_open(), and frees the device by type->close. */
void dev_close(struct dev *d);

/* The queue has work, or may have. Any thread; with type->kicked, its own. */
void dev_kick(struct dev *d, unsigned queue);

/* Run on the device's thread, and wait for it. Any thread. */
void dev_run(struct dev *d, void (*fn)(void *arg), void *arg);

#endif
