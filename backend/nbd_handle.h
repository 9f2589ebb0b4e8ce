/* SPDX-License-Identifier: MIT */
/* libnbd's handles: made as the configuration says, and connected in time. */
#ifndef BACKEND_NBD_HANDLE_H
#define BACKEND_NBD_HANDLE_H

#include <libnbd.h>

#include "backend/blkdev.h"

/* Not connected. NULL: see nbd_get_error(). */
struct nbd_handle *nbd_handle_make(const struct blkdev_nbd_conf *c);

/*
 * Connect and wait for it, as long as a server may take. 0, -ETIMEDOUT, or
 * -EIO, of which nbd_get_error() knows more.
 */
int nbd_handle_connect(struct nbd_handle *h, const struct blkdev_nbd_conf *c);

/*
 * Its descriptor is as @events of poll(2) say: go on. nbd_poll() takes the end
 * of a connection under way for something to read, and would do so for ever.
 */
void nbd_handle_notify(struct nbd_handle *h, unsigned events);
/* Wait so long for what it waits for, and go on. */
void nbd_handle_poll(struct nbd_handle *h, int ms);

/* How long a server may take. */
uint64_t nbd_handle_patience_ns(const struct blkdev_nbd_conf *c);

#endif
