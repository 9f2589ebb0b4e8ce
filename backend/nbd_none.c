/* SPDX-License-Identifier: MIT */
/* What stands for the NBD client in a build without libnbd. */
#include <errno.h>
#include <stddef.h>

#include "backend/blkdev.h"
#include "host/log.h"

int blkdev_nbd_open(struct blkdev **d, const struct blkdev_nbd_conf *conf)
{
	(void)d;
	(void)conf;
	log_err("--backend=nbd: this program was built without libnbd; install libnbd-dev and build again");
	return -EOPNOTSUPP;
}

const char *const *blkdev_nbd_syscalls(void)
{
	static const char *const none[] = { NULL };

	return none;
}
