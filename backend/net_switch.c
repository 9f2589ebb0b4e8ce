/* SPDX-License-Identifier: MIT */
/*
 * A switch without a switch: each process is one port, connected to every
 * other of the same name, and sends a packet to the port that it has learned
 * its address from, or to all. So no process's end ends the network.
 *
 * Ports meet in a folder of the user's: each listens at a socket there. A new
 * one connects to those it finds, under a lock, so that two have one
 * connection. Peers are other processes of this user; what they send is
 * checked, and cannot hold this one up.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/net_wire.h"
#include "backend/netdev_kinds.h"
#include "core/base/shared64.h"
#include "host/log.h"
#include "host/sock.h"

#define PORTS 64u		/* others */
#define LEARNED 1024u		/* addresses; a power of two */
#define BURST 32u
#define ROOM (4 << 20)		/* bytes on their way to one port */

struct switch_;

struct port {
	struct loop_fd watch;
	struct switch_ *sw;
	bool used, watching;
};

struct learned {
	uint8_t mac[VIRTIO_NET_MAC_LEN];
	uint8_t port;		/* index plus one; 0: free */
};

struct switch_ {
	struct netdev dev;
	struct loop *loop;
	int dir_fd, spare_fd;
	char name[32];		/* of our socket in the folder */
	char dir[88];		/* and a name fit into a socket's address */
	struct loop_fd listen;
	struct port port[PORTS];
	struct learned learned[LEARNED];
	size_t pending;		/* bytes of a packet that found no room */
	unsigned char buf[WIRE_HDR + VIO_NET_PACKET_MAX];
};

/* -- addresses ----------------------------------------------------------- */

static struct learned *slot(struct switch_ *s, const uint8_t *mac)
{
	unsigned h = mac[5] * 31u + mac[4] * 7u + mac[3] + mac[2] * 13u;

	return &s->learned[h % LEARNED];
}

/* The one learned last wins; one that is pushed out is flooded again. */
static void learn(struct switch_ *s, const uint8_t *mac, unsigned port)
{
	struct learned *l = slot(s, mac);

	if (mac[0] & 1)
		return;
	memcpy(l->mac, mac, sizeof(l->mac));
	l->port = (uint8_t)(port + 1);
}

/* The port of an address, or PORTS. */
static unsigned find(struct switch_ *s, const uint8_t *mac)
{
	const struct learned *l = slot(s, mac);

	return l->port && !memcmp(l->mac, mac, sizeof(l->mac)) ?
		l->port - 1u : PORTS;
}

/* -- packets ------------------------------------------------------------- */

static bool send_to(struct port *p, struct iovec *iov, unsigned n)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };

	return sendmsg(p->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void first_bytes(const struct vio_net_packet *pkt, uint8_t *dst,
			size_t len)
{
	for (unsigned i = 0; i < pkt->nr_seg && len; i++) {
		size_t n = pkt->seg[i].len < len ? pkt->seg[i].len : len;

		memcpy(dst, pkt->seg[i].base, n);
		dst += n;
		len -= n;
	}
}

static bool send_one(struct switch_ *s, const struct vio_net_packet *pkt)
{
	uint8_t mac[VIRTIO_NET_MAC_LEN] = { 0 };
	struct iovec iov[WIRE_IOVS];
	struct virtio_net_hdr hdr;
	unsigned n = wire_iov(pkt, &hdr, iov), to;

	if (!n)
		return false;
	first_bytes(pkt, mac, sizeof(mac));
	to = find(s, mac);
	if (to < PORTS && s->port[to].used)
		return send_to(&s->port[to], iov, n);
	for (unsigned i = 0; i < PORTS; i++)
		if (s->port[i].used && !send_to(&s->port[i], iov, n))
			vio_shared64_add(&s->dev.lost, 1);
	return true;
}

static unsigned switch_send(void *backend, unsigned pair,
			    const struct vio_net_packet *pkt, unsigned nr)
{
	unsigned sent = 0;

	(void)pair;
	for (unsigned i = 0; i < nr; i++)
		sent += send_one(backend, &pkt[i]);
	return sent;
}

static void watch(struct port *p, bool on)
{
	struct loop *loop;

	if (!p->used || on == p->watching)
		return;
	loop = p->sw->loop;
	if (!loop)
		return;
	p->watching = on;
	if (!on)
		loop_fd_del(loop, &p->watch);
	else if (loop_fd_add(loop, &p->watch, EPOLLIN))
		log_err("cannot watch a port of the switch any more");
}

static void watch_all(struct switch_ *s, bool on)
{
	for (unsigned i = 0; i < PORTS; i++)
		watch(&s->port[i], on);
}

/* Hand on what is in the buffer. False: there is no room for it. */
static bool deliver(struct switch_ *s)
{
	struct vio_net_packet p;
	struct vio_seg seg;

	if (wire_packet(s->buf, s->pending, &seg, &p) &&
	    !netdev_receive(&s->dev, 0, &p, 1)) {
		watch_all(s, false);
		netdev_want_room(&s->dev, 0);
		return false;
	}
	s->pending = 0;
	return true;
}

static void drop_port(struct port *p)
{
	watch(p, false);
	close(p->watch.fd);
	p->used = false;
	/* The next one in this place is somebody else. */
	for (unsigned i = 0; i < LEARNED; i++)
		if (p->sw->learned[i].port == p - p->sw->port + 1)
			p->sw->learned[i].port = 0;
}

static void on_packet(void *ctx, uint32_t events)
{
	struct port *p = ctx;
	struct switch_ *s = p->sw;
	ssize_t n;

	(void)events;
	for (unsigned i = 0; i < BURST; i++) {
		n = recv(p->watch.fd, s->buf, sizeof(s->buf), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop_port(p);
			return;
		}
		s->pending = (size_t)n;
		if (n >= WIRE_HDR + (int)VIO_NET_PACKET_MIN)
			learn(s, s->buf + WIRE_HDR + VIRTIO_NET_MAC_LEN,
			      (unsigned)(p - s->port));
		if (!deliver(s))
			return;
	}
}

static void switch_room(void *backend, unsigned pair)
{
	struct switch_ *s = backend;

	(void)pair;
	if (!s->pending || deliver(s))
		watch_all(s, true);
}

/* -- ports --------------------------------------------------------------- */

static void add_port(struct switch_ *s, int fd)
{
	int room = ROOM;

	for (unsigned i = 0; i < PORTS; i++) {
		struct port *p = &s->port[i];

		if (p->used)
			continue;
		/* As much as the system permits. */
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		*p = (struct port){ .watch = { fd, on_packet, p }, .sw = s,
				    .used = true };
		watch(p, !s->pending);
		return;
	}
	log_warn("the switch has no port left for another process");
	close(fd);
}

static void on_connect(void *ctx, uint32_t events)
{
	struct switch_ *s = ctx;
	int fd = sock_accept_at(s->listen.fd, &s->spare_fd);

	(void)events;
	if (fd >= 0)
		add_port(s, fd);
}

static int address_of(const struct switch_ *s, const char *name,
		      struct sockaddr_un *a)
{
	int n;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(a->sun_path, sizeof(a->sun_path), "%s/%s", s->dir, name);
	return n < (int)sizeof(a->sun_path) ? 0 : -ENAMETOOLONG;
}

static void connect_one(struct switch_ *s, const char *name)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
			SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	if (fd < 0 || address_of(s, name, &a) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		/* What a dead process left. */
		if (errno == ECONNREFUSED)
			unlinkat(s->dir_fd, name, 0);
		if (fd >= 0)
			close(fd);
		return;
	}
	add_port(s, fd);
}

static int connect_all(struct switch_ *s)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && strcmp(e->d_name, s->name))
			connect_one(s, e->d_name);
	closedir(d);
	return 0;
}

static int join(struct switch_ *s)
{
	struct sockaddr_un a;
	int rc;

	s->listen.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
			      SOCK_NONBLOCK, 0);
	if (s->listen.fd < 0)
		return -errno;
	rc = address_of(s, s->name, &a);
	if (rc)
		return rc;
	unlinkat(s->dir_fd, s->name, 0);
	if (bind(s->listen.fd, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(s->listen.fd, (int)PORTS))
		return -errno;
	s->spare_fd = sock_spare();
	return connect_all(s);
}

/* In a sandbox, EACCES comes even for one that is there. */
static int make_folder(const char *path)
{
	struct stat st;
	int err;

	if (!mkdir(path, 0700) || errno == EEXIST)
		return 0;
	err = errno;
	return err == EACCES && !lstat(path, &st) ? 0 : -err;
}

/* A folder of this user's alone, for all switches of that name. */
static int open_folder(struct switch_ *s, const char *name)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	struct stat st;
	char base[72];
	int rc;

	if (strchr(name, '/') || name[0] == '.' || strlen(name) > 32) {
		log_err("--backend=switch=%s: no name; letters and digits, at most 32",
			name);
		return -EINVAL;
	}
	if (!run || strlen(run) > 40)
		run = "/tmp";
	snprintf(base, sizeof(base), "%s/vireo-switch-%u", run,
		 (unsigned)getuid());
	/* One that was cut would be another switch. */
	if (snprintf(s->dir, sizeof(s->dir), "%s/%s", base, name) >=
	    (int)sizeof(s->dir))
		return -ENAMETOOLONG;
	rc = make_folder(base);
	if (rc)
		return rc;
	if (lstat(base, &st))
		return -errno;
	/* In a folder that all may write to, somebody else may be first. */
	if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || st.st_mode & 077)
		return -EPERM;
	rc = make_folder(s->dir);
	if (rc)
		return rc;
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
			 O_CLOEXEC);
	return s->dir_fd < 0 ? -errno : 0;
}

static int set_up(struct switch_ *s, const char *name)
{
	static unsigned nr;
	int rc = open_folder(s, name);

	if (rc)
		return rc;
	/* Several ports of one process are ports like any other. */
	snprintf(s->name, sizeof(s->name), "%ld.%u", (long)getpid(), nr++);
	if (flock(s->dir_fd, LOCK_EX))
		return -errno;
	rc = join(s);
	flock(s->dir_fd, LOCK_UN);
	return rc;
}

/* -- life ---------------------------------------------------------------- */

static int switch_attach(struct netdev *d, unsigned pair, struct loop *loop)
{
	struct switch_ *s = (struct switch_ *)d;

	(void)pair;
	s->loop = loop;
	watch_all(s, true);
	return loop_fd_add(loop, &s->listen, EPOLLIN);
}

static void switch_detach(struct netdev *d, unsigned pair)
{
	struct switch_ *s = (struct switch_ *)d;

	(void)pair;
	watch_all(s, false);
	loop_fd_del(s->loop, &s->listen);
	s->loop = NULL;
}

static void switch_close(struct netdev *d)
{
	struct switch_ *s = (struct switch_ *)d;

	for (unsigned i = 0; i < PORTS; i++)
		if (s->port[i].used)
			close(s->port[i].watch.fd);
	if (s->listen.fd >= 0)
		close(s->listen.fd);
	if (s->spare_fd >= 0)
		close(s->spare_fd);
	if (s->dir_fd >= 0) {
		unlinkat(s->dir_fd, s->name, 0);
		close(s->dir_fd);
	}
	free(s);
}

static const struct netdev_ops switch_ops = {
	.io = { .send = switch_send, .room = switch_room },
	.attach = switch_attach,
	.detach = switch_detach,
	.close = switch_close,
};

static const char *const syscalls[] = { "setsockopt", NULL };

int netdev_switch_open(struct netdev **d, const struct netdev_conf *conf)
{
	struct switch_ *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->dev.ops = &switch_ops;
	s->dev.engine = "switch";
	s->dev.offloads = NETDEV_OFFLOADS;
	s->dev.syscalls = syscalls;
	s->dir_fd = s->spare_fd = -1;
	s->listen = (struct loop_fd){ -1, on_connect, s };
	rc = set_up(s, conf->argument);
	if (rc) {
		if (rc != -EINVAL)
			log_err("--backend=switch=%s: cannot meet others in %s: %s",
				conf->argument, s->dir, strerror(-rc));
		switch_close(&s->dev);
		return rc;
	}
	s->dev.unlink_dir_fd = s->dir_fd;
	*d = &s->dev;
	return 0;
}
