/* SPDX-License-Identifier: MIT */
/*
 * A wire that is a connected Unix stream socket, as passt and QEMU's
 * "-netdev stream" speak it. Knows no protocol. One pair.
 *
 * A packet is sent whole or not at all: of one that the socket took in part
 * the rest is kept and goes first; those that come meanwhile are lost, as on
 * any wire.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/net_frames.h"
#include "backend/net_wire.h"
#include "backend/netdev_kinds.h"
#include "host/log.h"
#include "vhost/sock.h"

#define IN_MAX (4u * (FRAME_HDR + VIO_NET_PACKET_MAX))

struct stream {
	struct netdev dev;
	struct loop *loop;
	struct loop_fd watch;
	uint32_t events;	/* watched for; 0: not watched */
	bool full;		/* the guest has no room */
	bool ended;		/* the connection */
	size_t in_first, in_end;
	size_t out_first, out_end;
	unsigned char out[FRAME_HDR + VIO_NET_PACKET_MAX];
	unsigned char in[IN_MAX];
};

static void watch(struct stream *s)
{
	uint32_t want = (s->full ? 0 : EPOLLIN) |
			(s->out_end > s->out_first ? EPOLLOUT : 0);
	int rc = 0;

	if (!s->loop || s->ended)
		want = 0;
	if (want == s->events)
		return;
	if (!want)
		loop_fd_del(s->loop, &s->watch);
	else if (s->events)
		rc = loop_fd_mod(s->loop, &s->watch, want);
	else
		rc = loop_fd_add(s->loop, &s->watch, want);
	s->events = rc ? 0 : want;
	if (rc)
		log_err("cannot watch the stream any more");
}

static void end(struct stream *s, const char *why)
{
	if (s->ended)
		return;
	log_err("--backend=stream: %s; packets are dropped from here on, start both again",
		why);
	s->ended = true;
	watch(s);
}

/* -- to the wire --------------------------------------------------------- */

static void keep_rest(struct stream *s, const struct iovec *iov, unsigned n,
		      size_t done)
{
	s->out_first = s->out_end = 0;
	for (unsigned i = 0; i < n; i++) {
		size_t skip = done < iov[i].iov_len ? done : iov[i].iov_len;

		done -= skip;
		memcpy(s->out + s->out_end,
		       (const char *)iov[i].iov_base + skip,
		       iov[i].iov_len - skip);
		s->out_end += iov[i].iov_len - skip;
	}
	watch(s);
}

static bool send_one(struct stream *s, const struct vio_net_packet *pkt)
{
	unsigned char hdr[FRAME_HDR];
	struct iovec iov[WIRE_IOVS];
	struct msghdr m = { .msg_iov = iov };
	ssize_t n;

	if (s->ended || s->out_end > s->out_first ||
	    pkt->nr_seg >= WIRE_IOVS || pkt->len > VIO_NET_PACKET_MAX)
		return false;
	frame_put(hdr, pkt->len);
	iov[0] = (struct iovec){ hdr, FRAME_HDR };
	for (unsigned i = 0; i < pkt->nr_seg; i++)
		iov[i + 1] = (struct iovec){ pkt->seg[i].base,
					     pkt->seg[i].len };
	m.msg_iovlen = pkt->nr_seg + 1u;
	n = sendmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
			end(s, strerror(errno));
		return false;
	}
	if ((size_t)n < FRAME_HDR + pkt->len)
		keep_rest(s, iov, pkt->nr_seg + 1u, (size_t)n);
	return true;
}

static unsigned stream_send(void *backend, unsigned pair,
			    const struct vio_net_packet *pkt, unsigned nr)
{
	unsigned sent = 0;

	(void)pair;
	for (unsigned i = 0; i < nr; i++)
		sent += send_one(backend, &pkt[i]);
	return sent;
}

static void send_rest(struct stream *s)
{
	ssize_t n = send(s->watch.fd, s->out + s->out_first,
			 s->out_end - s->out_first,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		s->out_first += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		end(s, strerror(errno));
	watch(s);
}

/* -- from the wire ------------------------------------------------------- */

/* Hand on what is in the buffer. False: no room for it, or an end. */
static bool deliver(struct stream *s)
{
	for (unsigned i = 0; i < IN_MAX / FRAME_HDR; i++) {
		unsigned char *at = s->in + s->in_first;
		int len = frame_len(at, s->in_end - s->in_first);
		struct vio_seg seg = { at + FRAME_HDR, (size_t)len };
		const struct vio_net_packet p = {
			.seg = &seg, .nr_seg = 1, .len = (uint32_t)len,
		};

		if (len < 0) {
			end(s, "the other end speaks another language (a packet of no possible length)");
			return false;
		}
		if (!len)
			break;
		s->full = !netdev_receive(&s->dev, 0, &p, 1);
		if (s->full) {
			netdev_want_room(&s->dev, 0);
			watch(s);
			return false;
		}
		s->in_first += FRAME_HDR + (size_t)len;
	}
	/* The beginning of the next one. */
	memmove(s->in, s->in + s->in_first, s->in_end - s->in_first);
	s->in_end -= s->in_first;
	s->in_first = 0;
	return true;
}

static void receive(struct stream *s)
{
	ssize_t n = recv(s->watch.fd, s->in + s->in_end, IN_MAX - s->in_end,
			 MSG_DONTWAIT);

	if (n > 0) {
		s->in_end += (size_t)n;
		deliver(s);
	} else if (!n) {
		end(s, "the other end closed the connection");
	} else if (errno != EAGAIN && errno != EINTR) {
		end(s, strerror(errno));
	}
}

static void on_event(void *ctx, uint32_t events)
{
	struct stream *s = ctx;

	if (events & EPOLLOUT)
		send_rest(s);
	if (events & ~(uint32_t)EPOLLOUT && !s->full && !s->ended)
		receive(s);
}

static void stream_room(void *backend, unsigned pair)
{
	struct stream *s = backend;

	(void)pair;
	s->full = false;
	if (!s->ended && deliver(s))
		watch(s);
}

/* -- life ---------------------------------------------------------------- */

static int stream_attach(struct netdev *d, unsigned pair, struct loop *loop)
{
	struct stream *s = (struct stream *)d;

	if (pair)
		return 0;
	s->loop = loop;
	watch(s);
	return s->events ? 0 : -EIO;
}

static void stream_detach(struct netdev *d, unsigned pair)
{
	struct stream *s = (struct stream *)d;

	if (pair)
		return;
	if (s->events)
		loop_fd_del(s->loop, &s->watch);
	s->events = 0;
	s->loop = NULL;
}

static void stream_close(struct netdev *d)
{
	struct stream *s = (struct stream *)d;

	if (s->watch.fd >= 0)
		close(s->watch.fd);
	free(s);
}

static const struct netdev_ops stream_ops = {
	.io = { .send = stream_send, .room = stream_room },
	.attach = stream_attach,
	.detach = stream_detach,
	.close = stream_close,
};

static int dial(struct stream *s, const char *path)
{
	int fd = vhu_sock_connect(path, 0);

	if (fd >= 0) {
		s->watch.fd = fd;
		return 0;
	}
	log_err("--backend=stream=%s: %s%s", path, strerror(-fd),
		fd == -ENOENT || fd == -ECONNREFUSED ?
		"; start the other end first (for passt: passt --socket PATH)" :
		fd == -EAGAIN ?
		"; the other end does not take connections now" : "");
	return fd;
}

int netdev_stream_open(struct netdev **d, const struct netdev_conf *conf)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->dev.ops = &stream_ops;
	s->dev.engine = "stream";
	s->watch = (struct loop_fd){ -1, on_event, s };
	rc = dial(s, conf->argument);
	if (rc) {
		stream_close(&s->dev);
		return rc;
	}
	*d = &s->dev;
	return 0;
}
