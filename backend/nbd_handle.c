/* SPDX-License-Identifier: MIT */
/* See nbd_handle.h. It knows no request. */
#include "backend/nbd_handle.h"

#include <errno.h>
#include <poll.h>

#include "host/clock.h"

/* A server that is there answers sooner, even from far away. */
#define ANSWER_MAX_S	10u

struct nbd_handle *nbd_handle_make(const struct blkdev_nbd_conf *c)
{
	struct nbd_handle *h = nbd_create();

	if (!h)
		return NULL;
	if (nbd_set_uri_allow_local_file(h, true) ||
	    (c->tls_certificates &&
	     nbd_set_tls_certificates(h, c->tls_certificates)) ||
	    (c->tls_psk && nbd_set_tls_psk_file(h, c->tls_psk)) ||
	    ((c->tls_certificates || c->tls_psk) &&
	     nbd_set_tls(h, LIBNBD_TLS_REQUIRE))) {
		nbd_close(h);
		return NULL;
	}
	/* Ranges are checked here, and a flush is refused by the server if
	 * it must be. */
	nbd_set_strict_mode(h, 0);
	return h;
}

uint64_t nbd_handle_patience_ns(const struct blkdev_nbd_conf *c)
{
	unsigned s = c->reconnect_s ? c->reconnect_s : 1;

	return (s < ANSWER_MAX_S ? s : ANSWER_MAX_S) * NS_PER_S;
}

void nbd_handle_notify(struct nbd_handle *h, unsigned events)
{
	unsigned dir = nbd_aio_get_direction(h);

	/* An end is found out by reading. */
	if (events & (POLLIN | POLLHUP | POLLERR) &&
	    dir & LIBNBD_AIO_DIRECTION_READ)
		nbd_aio_notify_read(h);
	else if (events & (POLLOUT | POLLHUP | POLLERR) &&
		 dir & LIBNBD_AIO_DIRECTION_WRITE)
		nbd_aio_notify_write(h);
}

void nbd_handle_poll(struct nbd_handle *h, int ms)
{
	unsigned dir = nbd_aio_get_direction(h);
	struct pollfd p = { .fd = nbd_aio_get_fd(h) };

	if (dir & LIBNBD_AIO_DIRECTION_READ)
		p.events |= POLLIN;
	if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		p.events |= POLLOUT;
	if (poll(&p, 1, ms) > 0)
		nbd_handle_notify(h, (unsigned)p.revents);
}

int nbd_handle_connect(struct nbd_handle *h, const struct blkdev_nbd_conf *c)
{
	uint64_t end = clock_ns() + nbd_handle_patience_ns(c), now;

	if (nbd_aio_connect_uri(h, c->uri))
		return -EIO;
	while (nbd_aio_is_connecting(h) == 1) {
		now = clock_ns();
		if (now >= end)
			return -ETIMEDOUT;
		nbd_handle_poll(h, (int)((end - now) / NS_PER_MS + 1));
	}
	return nbd_aio_is_ready(h) == 1 ? 0 : -EIO;
}
