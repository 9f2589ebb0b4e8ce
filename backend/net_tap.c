/* SPDX-License-Identifier: MIT */
/*
 * A tap interface of the host: packets go to its kernel and come from there,
 * each behind a virtio header, so that checksums and segmentation are left to
 * whoever can do them. Making it, its addresses and bridges are the
 * administrator's. Knows no protocol.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/net_wire.h"
#include "backend/netdev_kinds.h"
#include "backend/tap_steer.h"
#include "host/log.h"

#define BURST 64u		/* packets read at a time */

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static const unsigned long ioctls[] = { TUNSETSTEERINGEBPF, 0 };

/* A queue of the interface: for a pair, on its thread. */
struct tap_queue {
	struct tap *tap;
	unsigned pair;
	struct loop *loop;
	struct loop_fd watch;	/* fd -1: not open */
	bool watching, ended;
	size_t pending;		/* bytes of a packet that found no room */
	unsigned char buf[WIRE_HDR + VIO_NET_PACKET_MAX];
};

struct tap {
	struct netdev dev;
	char name[IFNAMSIZ];
	atomic_bool gone;		/* and that was said */
	struct tap_steer *steer;	/* NULL: the device does it alone */
	unsigned nr;
	struct tap_queue queue[];
};

static unsigned tap_send(void *backend, unsigned pair,
			 const struct vio_net_packet *pkt, unsigned nr)
{
	struct tap *t = backend;
	int fd = t->queue[pair].watch.fd;
	struct virtio_net_hdr hdr;
	struct iovec iov[WIRE_IOVS];
	unsigned i, n, sent = 0;

	for (i = 0; i < nr; i++) {
		n = wire_iov(&pkt[i], &hdr, iov);
		/* What the kernel does not take now is lost, as on a wire. */
		if (n && writev(fd, iov, (int)n) >= 0)
			sent++;
	}
	return sent;
}

static void watch(struct tap_queue *t, bool on)
{
	if (on == t->watching || (on && t->ended))
		return;
	t->watching = on;
	if (!on)
		loop_fd_del(t->loop, &t->watch);
	else if (loop_fd_add(t->loop, &t->watch, EPOLLIN))
		log_err("cannot watch the tap interface any more");
}

/* Hand on what is in the buffer. False: there is no room for it. */
static bool deliver(struct tap_queue *t)
{
	struct vio_net_packet p;
	struct vio_seg seg;

	if (wire_packet(t->buf, t->pending, &seg, &p) &&
	    !netdev_receive(&t->tap->dev, t->pair, &p, 1)) {
		watch(t, false);
		netdev_want_room(&t->tap->dev, t->pair);
		return false;
	}
	t->pending = 0;
	return true;
}

/* Nothing can come any more, and to be told of that would never end. */
static void end(struct tap_queue *t, const char *why)
{
	watch(t, false);
	t->ended = true;
	if (!atomic_exchange(&t->tap->gone, true))
		log_err("the tap interface %s is gone (%s): no packet passes from here on; make it again, and start again",
			t->tap->name, why);
}

static void on_readable(void *ctx, uint32_t events)
{
	struct tap_queue *t = ctx;
	unsigned i;
	ssize_t n;

	(void)events;
	for (i = 0; i < BURST; i++) {
		n = read(t->watch.fd, t->buf, sizeof(t->buf));
		if (n <= 0) {
			if (n == 0 || (errno != EAGAIN && errno != EINTR))
				end(t, n ? strerror(errno) : "its end");
			return;
		}
		t->pending = (size_t)n;
		if (!deliver(t))
			return;
	}
}

static void tap_room(void *backend, unsigned pair)
{
	struct tap *tap = backend;
	struct tap_queue *t = &tap->queue[pair];

	if (!t->pending || deliver(t))
		watch(t, true);
}

/* Only ever saves work: a queue that is wrong is put right later. */
static void tap_steering(void *backend, const struct vio_net_steering *s)
{
	struct tap *t = backend;
	int rc = 0;

	if (t->steer)
		rc = tap_steer_set(t->steer, t->queue[0].watch.fd, s);
	if (rc)
		log_debug("the kernel does not take the driver's table: %s",
			  strerror(-rc));
}

static int tap_attach(struct netdev *d, unsigned pair, struct loop *loop)
{
	struct tap_queue *t = &((struct tap *)d)->queue[pair];

	t->loop = loop;
	watch(t, true);
	return t->watching ? 0 : -EIO;
}

static void tap_detach(struct netdev *d, unsigned pair)
{
	watch(&((struct tap *)d)->queue[pair], false);
}

static int tap_file(const struct netdev *d, unsigned pair)
{
	return ((const struct tap *)d)->queue[pair].watch.fd;
}

static void tap_close(struct netdev *d)
{
	struct tap *t = (struct tap *)d;

	for (unsigned i = 0; i < t->nr; i++)
		if (t->queue[i].watch.fd >= 0)
			close(t->queue[i].watch.fd);
	tap_steer_close(t->steer);
	free(t);
}

static const struct netdev_ops tap_ops = {
	.io = { .send = tap_send, .room = tap_room,
		.steering = tap_steering },
	.attach = tap_attach,
	.detach = tap_detach,
	.file = tap_file,
	.close = tap_close,
};

static const char *cure(int err)
{
	switch (err) {
	case EPERM:
	case EACCES:
		return "; make it for this user: ip tuntap add NAME mode tap "
		       "user USER vnet_hdr";
	case ENOTTY:
	case EBADFD:
	case EBADF:
		return "; that descriptor is no tap interface";
	case EBUSY:
		return "; another program uses it";
	case EINVAL:
		return "; it is no tap interface, or was made for one queue "
		       "and shall have several (--queue-pairs; ip tuntap add "
		       "... multi_queue), or the opposite";
	default:
		return "";
	}
}

/* What it carries: offloads, as many as this kernel knows. */
static uint64_t ask_offloads(int fd)
{
	const unsigned plain = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 |
			       TUN_F_TSO_ECN;

	if (!ioctl(fd, TUNSETOFFLOAD, plain | TUN_F_USO4 | TUN_F_USO6))
		return NETDEV_OFFLOADS;
	return ioctl(fd, TUNSETOFFLOAD, plain) ? 0 :
	       NETDEV_OFFLOADS & ~(1ull << VIRTIO_NET_F_HOST_USO);
}

/* The MTU that its administrator gave it. */
static uint16_t ask_mtu(struct ifreq *ifr)
{
	/* Any socket will do; in a sandbox there may be this kind alone. */
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint16_t mtu = 0;

	if (s >= 0 && !ioctl(s, SIOCGIFMTU, ifr) &&
	    ifr->ifr_mtu >= VIRTIO_NET_MTU_MIN && ifr->ifr_mtu <= UINT16_MAX)
		mtu = (uint16_t)ifr->ifr_mtu;
	if (s >= 0)
		close(s);
	return mtu;
}

/* Somebody else opened it: is it what we need? */
static int check_queue(int fd, struct ifreq *ifr)
{
	const short need = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
	    ioctl(fd, TUNGETIFF, ifr))
		return -errno;
	if ((ifr->ifr_flags & need) == need)
		return 0;
	log_err("descriptor %d: an interface is needed that was opened as a tap, with a virtio header and without packet information",
		fd);
	return -EINVAL;
}

/* @fd: a queue that is open already, or -1. */
static int open_queue(struct tap_queue *t, struct ifreq *ifr, int fd)
{
	int len = WIRE_HDR, on = 1, rc = 0;

	if (fd < 0) {
		fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, TUNSETIFF, ifr))
			rc = -errno;
	} else {
		rc = check_queue(fd, ifr);
	}
	t->watch = (struct loop_fd){ fd, on_readable, t };
	if (rc)
		return rc;
	return ioctl(fd, TUNSETVNETHDRSZ, &len) ||
	       ioctl(fd, TUNSETVNETLE, &on) ? -errno : 0;
}

static bool is_among(const int *fd, unsigned nr, unsigned long v)
{
	for (unsigned i = 0; i < nr; i++)
		if ((unsigned long)fd[i] == v)
			return true;
	return false;
}

/* "fd:3:4": inherited descriptors, one for each pair. No interface's name
 * has a colon. */
static bool parse_fds(const char *text, int *fd, unsigned nr)
{
	unsigned i = 0;
	char *end;

	for (; *text == ':' && i < nr; text = end, i++) {
		unsigned long v = strtoul(text + 1, &end, 10);

		if (end == text + 1 || v <= STDERR_FILENO || v > INT_MAX ||
		    is_among(fd, i, v))
			return false;
		fd[i] = (int)v;
	}
	return !*text && i == nr;
}

static int take_fds(const struct tap *t, const char *name, int *fd)
{
	if (strncmp(name, "fd:", 3))
		return 0;
	if (t->nr <= NETDEV_FILES && parse_fds(name + 2, fd, t->nr))
		return 0;
	log_err("--backend=tap=%s: give one descriptor for each pair of queues, a descriptor of its own, such as fd:3 or fd:3:4, %u at most",
		name, NETDEV_FILES);
	return -EINVAL;
}

static int set_up(struct tap *t, const struct netdev_conf *conf)
{
	const char *name = conf->argument;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI |
					  IFF_VNET_HDR };
	int fd[NETDEV_FILES], rc;

	for (unsigned i = 0; i < NETDEV_FILES; i++)
		fd[i] = conf->fd ? conf->fd[i] : -1;
	rc = take_fds(t, name, fd);
	if (rc)
		return rc;
	if (strlen(name) >= IFNAMSIZ && strncmp(name, "fd:", 3)) {
		log_err("--backend=tap=%s: a name has at most %d letters",
			name, IFNAMSIZ - 1);
		return -EINVAL;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (t->nr > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	for (unsigned i = 0; i < t->nr && !rc; i++) {
		if (i < NETDEV_FILES && conf->fd && fd[i] == conf->fd[i])
			conf->fd[i] = -1;
		rc = open_queue(&t->queue[i], &ifr,
				i < NETDEV_FILES ? fd[i] : -1);
	}
	if (rc) {
		log_err("--backend=tap=%s: %s%s", name, strerror(-rc),
			cure(-rc));
		return rc;
	}
	memcpy(t->name, ifr.ifr_name, sizeof(t->name));
	t->name[IFNAMSIZ - 1] = 0;
	t->dev.offloads = ask_offloads(t->queue[0].watch.fd);
	t->dev.mtu = ask_mtu(&ifr);
	if (t->nr > 1 && !conf->closed)
		t->steer = tap_steer_open();
	if (t->steer)
		t->dev.ioctls = ioctls;
	return 0;
}

int netdev_tap_open(struct netdev **d, const struct netdev_conf *conf)
{
	unsigned nr = conf->pairs ? conf->pairs : 1;
	struct tap *t = calloc(1, sizeof(*t) + nr * sizeof(t->queue[0]));
	int rc;

	if (!t)
		return -ENOMEM;
	t->dev.ops = &tap_ops;
	t->dev.engine = "tap";
	t->dev.threads = true;
	t->nr = nr;
	for (unsigned i = 0; i < nr; i++)
		t->queue[i] = (struct tap_queue){ .tap = t, .pair = i,
						  .watch = { .fd = -1 } };
	rc = set_up(t, conf);
	if (rc) {
		tap_close(&t->dev);
		return rc;
	}
	*d = &t->dev;
	return 0;
}
