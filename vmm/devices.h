/* SPDX-License-Identifier: MIT */
/*
 * The devices that the machine can have. Each open gives a device for
 * dev_start(), to be given back by dev_close(); 0, or -errno after an error
 * line. @stats: file for its numbers, or NULL.
 */
#ifndef VMM_DEVICES_H
#define VMM_DEVICES_H

#include "backend/chardev.h"
#include "vmm/dev.h"
#include "vmm/ram.h"

struct dev_blk_conf {
	const char *path;
	bool read_only;
	bool direct;		/* bypass the host's page cache */
	unsigned num_queues;
	const char *stats;
};

/* A disk in a raw file or block device. */
int dev_blk_open(struct dev **d, const struct dev_blk_conf *conf);

struct dev_console_conf {
	struct chardev_conf chr;
	void (*escaped)(void *ctx);	/* stdio: Ctrl-]; device's thread */
	void *ctx;
	const char *stats;
};

int dev_console_open(struct dev **d, const struct dev_console_conf *conf);
/* The terminal may have another size. Any thread. */
void dev_console_resized(struct dev *d);

/* Entropy from the host's kernel. */
int dev_rng_open(struct dev **d, const char *stats);

#endif
