/* SPDX-License-Identifier: MIT */
/*
 * The devices that the machine can have. Each open gives a device for
 * dev_start(), to be given back by dev_close(); 0, or -errno after an error
 * line. @stats: file for its numbers, or NULL.
 */
#ifndef VMM_DEVICES_H
#define VMM_DEVICES_H

#include "backend/chardev.h"
#include "backend/netdev.h"
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
/* The folder of the socket that it removes at its end, or -1: a sandbox has to
 * permit that. */
int dev_console_unlink_dir(const struct dev *d);
/* The terminal may have another size. Any thread. */
void dev_console_resized(struct dev *d);

struct dev_net_conf {
	const char *wire;	/* as of struct netdev_conf: "user", ... */
	const char *stats;
};

/* A network card of one pair of queues. */
int dev_net_open(struct dev **d, const struct dev_net_conf *conf);
/* What its wire needs of a sandbox stands there. */
const struct netdev *dev_net_wire(const struct dev *d);

/* A type of device that may be in another process. */
struct dev_vhost_type {
	const char *name;
	uint32_t id;
	unsigned queues;	/* at least */
	uint32_t config_len;	/* bytes, with what features add */
};

/* By a name of @len characters, such as "blk"; NULL: there is none. */
const struct dev_vhost_type *dev_vhost_type(const char *name, size_t len);

struct dev_vhost_conf {
	const struct dev_vhost_type *type;
	const char *path;	/* of the back end's socket */
	struct ram *ram;
};

/* A device in another process, over vhost-user. Modern transports only. */
int dev_vhost_open(struct dev **d, const struct dev_vhost_conf *conf);

/* Entropy from the host's kernel. */
int dev_rng_open(struct dev **d, const char *stats);

#endif
