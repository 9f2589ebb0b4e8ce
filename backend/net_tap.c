/* SPDX-License-Identifier: MIT */
/*
 * A tap interface of the host: packets go to its kernel and come from there,
 * each behind a virtio header, so that checksums and segmentation are left to
 * whoever can do them. Making it, its addresses and bridges are the
 * administrator's. Knows no protocol.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/net_wire.h"
#include "backend/netdev_kinds.h"
#include "host/log.h"

#define BURST 64u		/* packets read at a time */

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct tap {
	struct netdev dev;
	int fd;
	struct loop *loop;
	struct loop_fd watch;
	bool watching;
	size_t pending;		/* bytes of a packet that found no room */
	unsigned char buf[WIRE_HDR + VIO_NET_PACKET_MAX];
};

static unsigned tap_send(void *backend, unsigned pair,
			 const struct vio_net_packet *pkt, unsigned nr)
{
	struct tap *t = backend;
	struct virtio_net_hdr hdr;
	struct iovec iov[WIRE_IOVS];
	unsigned i, n, sent = 0;

	(void)pair;
	for (i = 0; i < nr; i++) {
		n = wire_iov(&pkt[i], &hdr, iov);
		/* What the kernel does not take now is lost, as on a wire. */
		if (n && writev(t->fd, iov, (int)n) >= 0)
			sent++;
	}
	return sent;
}

static void watch(struct tap *t, bool on)
{
	if (on == t->watching)
		return;
	t->watching = on;
	if (!on)
		loop_fd_del(t->loop, &t->watch);
	else if (loop_fd_add(t->loop, &t->watch, EPOLLIN))
		log_err("cannot watch the tap interface any more");
}

/* Hand on what is in the buffer. False: there is no room for it. */
static bool deliver(struct tap *t)
{
	struct vio_net_packet p;
	struct vio_seg seg;

	if (wire_packet(t->buf, t->pending, &seg, &p) &&
	    !netdev_receive(&t->dev, 0, &p, 1)) {
		watch(t, false);
		vio_net_want_room(t->dev.net, 0);
		return false;
	}
	t->pending = 0;
	return true;
}

static void on_readable(void *ctx, uint32_t events)
{
	struct tap *t = ctx;
	unsigned i;
	ssize_t n;

	(void)events;
	for (i = 0; i < BURST; i++) {
		n = read(t->fd, t->buf, sizeof(t->buf));
		if (n <= 0) {
			/* Down, or gone: nothing can come any more. */
			if (n == 0 || (errno != EAGAIN && errno != EINTR))
				watch(t, false);
			return;
		}
		t->pending = (size_t)n;
		if (!deliver(t))
			return;
	}
}

static void tap_room(void *backend, unsigned pair)
{
	struct tap *t = backend;

	(void)pair;
	if (!t->pending || deliver(t))
		watch(t, true);
}

static int tap_attach(struct netdev *d, unsigned pair, struct loop *loop)
{
	struct tap *t = (struct tap *)d;

	(void)pair;
	t->loop = loop;
	t->watch = (struct loop_fd){ t->fd, on_readable, t };
	watch(t, true);
	return t->watching ? 0 : -EIO;
}

static void tap_detach(struct netdev *d, unsigned pair)
{
	(void)pair;
	watch((struct tap *)d, false);
}

static void tap_close(struct netdev *d)
{
	struct tap *t = (struct tap *)d;

	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

static const struct netdev_ops tap_ops = {
	.io = { .send = tap_send, .room = tap_room },
	.attach = tap_attach,
	.detach = tap_detach,
	.close = tap_close,
};

static const char *cure(int err)
{
	switch (err) {
	case EPERM:
	case EACCES:
		return "; make it for this user: ip tuntap add NAME mode tap "
		       "user USER vnet_hdr";
	case EBUSY:
		return "; another program uses it";
	case EINVAL:
		return "; it is no tap interface, or has several queues";
	default:
		return "";
	}
}

/* What it carries: offloads, as many as this kernel knows, and the MTU. */
static void ask(struct tap *t, struct ifreq *ifr)
{
	const unsigned plain = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 |
			       TUN_F_TSO_ECN;
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	t->dev.offloads = NETDEV_OFFLOADS;
	if (ioctl(t->fd, TUNSETOFFLOAD, plain | TUN_F_USO4 | TUN_F_USO6)) {
		t->dev.offloads &= ~(1ull << VIRTIO_NET_F_HOST_USO);
		if (ioctl(t->fd, TUNSETOFFLOAD, plain))
			t->dev.offloads = 0;
	}
	if (s >= 0 && !ioctl(s, SIOCGIFMTU, ifr) &&
	    ifr->ifr_mtu >= VIRTIO_NET_MTU_MIN && ifr->ifr_mtu <= UINT16_MAX)
		t->dev.mtu = (uint16_t)ifr->ifr_mtu;
	if (s >= 0)
		close(s);
}

static int set_up(struct tap *t, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI |
					  IFF_VNET_HDR };
	int len = WIRE_HDR, on = 1;

	if (strlen(name) >= IFNAMSIZ) {
		log_err("--backend=tap=%s: a name has at most %d letters",
			name, IFNAMSIZ - 1);
		return -EINVAL;
	}
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0 || ioctl(t->fd, TUNSETIFF, &ifr) ||
	    ioctl(t->fd, TUNSETVNETHDRSZ, &len) ||
	    ioctl(t->fd, TUNSETVNETLE, &on)) {
		int err = errno;

		log_err("--backend=tap=%s: %s%s", name, strerror(err),
			cure(err));
		return -err;
	}
	ask(t, &ifr);
	return 0;
}

int netdev_tap_open(struct netdev **d, const struct netdev_conf *conf)
{
	struct tap *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->dev.ops = &tap_ops;
	t->dev.engine = "tap";
	t->fd = -1;
	rc = set_up(t, conf->argument);
	if (rc) {
		tap_close(&t->dev);
		return rc;
	}
	*d = &t->dev;
	return 0;
}
