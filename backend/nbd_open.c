/* SPDX-License-Identifier: MIT */
/*
 * Opening a disk that an NBD server has: what the server says of it, and what
 * to tell somebody whose server says nothing. It knows no requests.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/nbd.h"

static void fill_conf(struct nbd *b, struct nbd_handle *h)
{
	struct vio_blk_conf *c = &b->dev.conf;
	int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t pref = nbd_get_block_size(h, LIBNBD_SIZE_PREFERRED);

	b->size = (uint64_t)nbd_get_size(h) / 512 * 512;
	/* More than the protocol allows is refused request by request. */
	b->align = min > 1 && min <= NBD_BOUNCE_BYTES ? (uint32_t)min : 1;
	b->can_fua = nbd_can_fua(h) == 1;
	b->read_only = b->conf.read_only || nbd_is_read_only(h) == 1;
	c->capacity_sectors = b->size / 512;
	c->read_only = b->read_only;
	c->no_flush = nbd_can_flush(h) != 1;
	c->blk_size = b->align > 512 ? b->align : 512;
	if (pref > (int64_t)c->blk_size && pref <= 65536 &&
	    !(pref & (pref - 1))) {
		c->topology = true;
		while ((int64_t)c->blk_size << c->physical_block_exp < pref)
			c->physical_block_exp++;
		c->min_io_blocks = (uint16_t)(1u << c->physical_block_exp);
	}
	if (!b->read_only && nbd_can_trim(h) == 1) {
		c->max_discard_sectors = 1u << 22;
		c->max_discard_seg = VIO_BLK_RANGES_MAX;
		c->discard_sector_alignment = c->blk_size / 512;
	}
	if (!b->read_only && nbd_can_zero(h) == 1) {
		c->max_write_zeroes_sectors = 1u << 22;
		c->max_write_zeroes_seg = VIO_BLK_RANGES_MAX;
		c->write_zeroes_may_unmap = true;
	}
}

static int refuse(const struct nbd *b, int rc)
{
	if (rc == -ETIMEDOUT) {
		log_err("--nbd=%s: the server does not answer; is it an NBD server, and not stopped?",
			b->conf.uri);
		return rc;
	}
	log_err("--nbd=%s: %s; is the server running, and the address as nbdinfo takes it?",
		b->conf.uri, nbd_get_error());
	return nbd_get_errno() ? -nbd_get_errno() : -EIO;
}

static int open_queue(struct nbd *b, unsigned i)
{
	struct nbd_queue *q = &b->queue[i];
	int rc = -EIO;

	q->nbd = b;
	q->index = i;
	q->fd.fd = -1;
	list_init(&q->waiting);
	list_init(&q->finished);
	list_init(&q->for_bounce);
	q->h = nbd_handle_make(&b->conf);
	if (q->h)
		rc = nbd_handle_connect(q->h, &b->conf);
	if (rc)
		return refuse(b, rc);
	b->nr_queues = i + 1;
	if (!i)
		fill_conf(b, q->h);
	if (b->align > 1) {
		q->bounce = malloc(NBD_BOUNCE_BYTES);
		if (!q->bounce)
			return -ENOMEM;
	}
	if (i)
		return 0;
	if (b->conf.num_queues > 1 && nbd_can_multi_conn(q->h) != 1 &&
	    !b->read_only) {
		log_err("--nbd=%s: this server does not keep several connections consistent; add --num-queues=1",
			b->conf.uri);
		return -EINVAL;
	}
	return 0;
}

int blkdev_nbd_open(struct blkdev **d, const struct blkdev_nbd_conf *conf)
{
	struct nbd *b = calloc(1, sizeof(*b) + conf->num_queues *
			       sizeof(b->queue[0]));
	int rc = 0;

	if (!b)
		return -ENOMEM;
	b->conf = *conf;
	b->dev.ops = &nbd_ops;
	b->dev.engine = "libnbd";
	for (unsigned i = 0; i < conf->num_queues && !rc; i++)
		rc = open_queue(b, i);
	if (!rc && b->size < 512) {
		log_err("--nbd=%s: this disk is empty", conf->uri);
		rc = -EINVAL;
	}
	if (rc) {
		if (b->nr_queues < conf->num_queues &&
		    b->queue[b->nr_queues].h)
			b->nr_queues++;
		nbd_close_all(&b->dev);
		return rc;
	}
	*d = &b->dev;
	return 0;
}

const char *const *blkdev_nbd_syscalls(void)
{
	/* To connect again. */
	static const char *const calls[] = {
		"socket", "connect", "getpeername", "getsockname",
		"setsockopt", "sendmmsg", "uname", "getrusage", "bind",
		"fchmod", NULL
	};

	return calls;
}
