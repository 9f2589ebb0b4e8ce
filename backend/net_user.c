/* SPDX-License-Identifier: MIT */
/*
 * A network of the user's own, without any privilege: libslirp answers the
 * guest's ARP, DHCP and DNS, and turns its connections into sockets of this
 * process. Here lies what binds it to a loop: which sockets it wants watched
 * changes with every packet, so after each batch it is asked again.
 *
 * Knows no protocol. One pair: all its state belongs to one thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <libslirp.h>
#include <sys/ioctl.h>

#include "backend/netdev_kinds.h"
#include "host/clock.h"
#include "host/log.h"

#define HELD 256u		/* packets kept while the guest has no room */
#define FDS_MAX 65536u

/* A socket of slirp's. */
struct watch {
	struct loop_fd w;
	struct user *u;
	uint32_t want, watched;	/* epoll events */
	uint32_t got;
	bool asked;		/* in this round */
};

struct user_timer {
	struct loop_timer t;
	struct user *u;
	SlirpTimerCb fn;
	void *ctx;
};

struct held {
	uint32_t len;
	unsigned char bytes[];
};

struct user {
	struct netdev dev;
	Slirp *slirp;
	struct loop *loop;
	struct watch **of_fd;	/* by descriptor, FDS_MAX */
	int *asked;		/* descriptors of this round, by index */
	unsigned nr_asked, max_fd;
	struct loop_timer timeout;
	struct loop_call work;
	bool events;		/* some were got */
	struct held *held[HELD];
	unsigned held_first, nr_held;
	unsigned char packet[VIO_NET_PACKET_MAX];
};

static void soon(struct user *u)
{
	if (u->loop)
		loop_defer(u->loop, &u->work);
}

/* -- packets ------------------------------------------------------------- */

static bool deliver(struct user *u, const void *bytes, size_t len)
{
	const struct vio_seg seg = { (void *)(uintptr_t)bytes, len };
	const struct vio_net_packet p = {
		.seg = &seg, .nr_seg = 1, .len = (uint32_t)len,
	};

	return netdev_receive(&u->dev, 0, &p, 1);
}

static void hold(struct user *u, const void *bytes, size_t len)
{
	struct held *h = u->nr_held < HELD ? malloc(sizeof(*h) + len) : NULL;

	if (!h) {
		vio_net_gave_up(u->dev.net, 0, 1);
		return;
	}
	h->len = (uint32_t)len;
	memcpy(h->bytes, bytes, len);
	u->held[(u->held_first + u->nr_held++) % HELD] = h;
	netdev_want_room(&u->dev, 0);
}

static ssize_t on_packet(const void *bytes, size_t len, void *ctx)
{
	struct user *u = ctx;

	if (u->nr_held || !deliver(u, bytes, len))
		hold(u, bytes, len);
	return (ssize_t)len;
}

static void user_room(void *backend, unsigned pair)
{
	struct user *u = backend;

	(void)pair;
	while (u->nr_held) {
		struct held *h = u->held[u->held_first % HELD];

		if (!deliver(u, h->bytes, h->len)) {
			netdev_want_room(&u->dev, 0);
			return;
		}
		free(h);
		u->held_first++;
		u->nr_held--;
	}
	/* There may be more where these came from. */
	soon(u);
}

/* A copy, for the guest may change it while it is being looked at. */
static unsigned user_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	struct user *u = backend;

	(void)pair;
	for (unsigned i = 0; i < nr; i++) {
		size_t len = 0;

		for (unsigned k = 0; k < pkt[i].nr_seg; k++) {
			memcpy(u->packet + len, pkt[i].seg[k].base,
			       pkt[i].seg[k].len);
			len += pkt[i].seg[k].len;
		}
		slirp_input(u->slirp, u->packet, (int)len);
	}
	soon(u);
	return nr;
}

/* -- what slirp asks for ------------------------------------------------- */

static void on_guest_error(const char *text, void *ctx)
{
	(void)ctx;
	log_debug("slirp: %s", text);
}

static int64_t on_clock(void *ctx)
{
	(void)ctx;
	return (int64_t)clock_ns();
}

static void timer_expired(void *ctx)
{
	struct user_timer *t = ctx;

	t->fn(t->ctx);
	soon(t->u);
}

static void *on_timer_new(SlirpTimerCb fn, void *fn_ctx, void *ctx)
{
	struct user_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->u = ctx;
	t->fn = fn;
	t->ctx = fn_ctx;
	t->t = (struct loop_timer){ .fn = timer_expired, .ctx = t };
	return t;
}

static void on_timer_free(void *timer, void *ctx)
{
	struct user_timer *t = timer;
	struct user *u = ctx;

	if (t && u->loop)
		loop_timer_cancel(u->loop, &t->t);
	free(t);
}

static void on_timer_mod(void *timer, int64_t at_ms, void *ctx)
{
	struct user_timer *t = timer;
	struct user *u = ctx;
	int64_t now_ms = (int64_t)(clock_ns() / NS_PER_MS);

	if (t && u->loop)
		loop_timer_set(u->loop, &t->t, at_ms > now_ms ?
			       (uint64_t)(at_ms - now_ms) * NS_PER_MS : 0);
}

static void on_event(void *ctx, uint32_t events)
{
	struct watch *w = ctx;

	w->got |= events;
	w->u->events = true;
	soon(w->u);
}

static struct watch *watch_of(struct user *u, int fd)
{
	struct watch *w;

	if (fd < 0 || (unsigned)fd >= FDS_MAX)
		return NULL;
	w = u->of_fd[fd];
	if (w)
		return w;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->u = u;
	w->w = (struct loop_fd){ fd, on_event, w };
	u->of_fd[fd] = w;
	if ((unsigned)fd >= u->max_fd)
		u->max_fd = (unsigned)fd + 1;
	return w;
}

static void forget(struct user *u, int fd)
{
	struct watch *w = u->of_fd[fd];

	if (!w)
		return;
	if (w->watched && u->loop)
		loop_fd_del(u->loop, &w->w);
	free(w);
	u->of_fd[fd] = NULL;
}

static void on_register(int fd, void *ctx)
{
	(void)fd;
	(void)ctx;
}

/* Before it is closed. */
static void on_unregister(int fd, void *ctx)
{
	if (fd >= 0 && (unsigned)fd < FDS_MAX)
		forget(ctx, fd);
}

static void on_notify(void *ctx)
{
	soon(ctx);
}

static const struct {
	uint32_t slirp, epoll;
} events[] = {
	{ SLIRP_POLL_IN, EPOLLIN }, { SLIRP_POLL_OUT, EPOLLOUT },
	{ SLIRP_POLL_PRI, EPOLLPRI }, { SLIRP_POLL_ERR, EPOLLERR },
	{ SLIRP_POLL_HUP, EPOLLHUP },
};

static int add_poll(int fd, int want, void *ctx)
{
	struct user *u = ctx;
	struct watch *w = watch_of(u, fd);

	if (!w || u->nr_asked == FDS_MAX)
		return -1;
	w->want = 0;
	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if ((uint32_t)want & events[i].slirp)
			w->want |= events[i].epoll;
	w->asked = true;
	u->asked[u->nr_asked] = fd;
	return (int)u->nr_asked++;
}

static int get_revents(int index, void *ctx)
{
	struct user *u = ctx;
	struct watch *w;
	int got = 0;

	if (index < 0 || (unsigned)index >= u->nr_asked)
		return 0;
	w = u->of_fd[u->asked[index]];
	for (unsigned i = 0; w && i < sizeof(events) / sizeof(events[0]); i++)
		if (w->got & events[i].epoll)
			got |= (int)events[i].slirp;
	return got;
}

/* Watch for what it wants now, and for nothing else. */
static void rewatch(struct user *u)
{
	for (unsigned fd = 0; fd < u->max_fd; fd++) {
		struct watch *w = u->of_fd[fd];
		uint32_t want;

		if (!w)
			continue;
		want = w->asked ? w->want : 0;
		w->asked = false;
		w->got = 0;
		if (want == w->watched)
			continue;
		/* Not watched at all: a hang-up would come again and again. */
		if (!want)
			loop_fd_del(u->loop, &w->w);
		else if (w->watched)
			loop_fd_mod(u->loop, &w->w, want);
		else if (loop_fd_add(u->loop, &w->w, want))
			want = 0;
		w->watched = want;
	}
}

/* Let it do what the events permit, and hear what it waits for next. */
static void work(void *ctx)
{
	struct user *u = ctx;
	uint32_t timeout_ms = UINT32_MAX;

	if (!u->loop)
		return;
	slirp_pollfds_poll(u->slirp, 0, get_revents, u);
	u->events = false;
	u->nr_asked = 0;
	slirp_pollfds_fill(u->slirp, &timeout_ms, add_poll, u);
	rewatch(u);
	if (timeout_ms == UINT32_MAX)
		loop_timer_cancel(u->loop, &u->timeout);
	else
		loop_timer_set(u->loop, &u->timeout, timeout_ms * NS_PER_MS);
}

/* -- life ---------------------------------------------------------------- */

static int user_attach(struct netdev *d, unsigned pair, struct loop *loop)
{
	struct user *u = (struct user *)d;

	(void)pair;
	u->loop = loop;
	work(u);
	return 0;
}

static void user_detach(struct netdev *d, unsigned pair)
{
	struct user *u = (struct user *)d;

	(void)pair;
	/* The loop may go on: nothing of ours stays on it. */
	slirp_cleanup(u->slirp);
	u->slirp = NULL;
	loop_timer_cancel(u->loop, &u->timeout);
	for (unsigned fd = 0; fd < u->max_fd; fd++)
		forget(u, (int)fd);
	u->loop = NULL;
}

static void user_close(struct netdev *d)
{
	struct user *u = (struct user *)d;

	if (u->slirp)
		slirp_cleanup(u->slirp);
	for (unsigned fd = 0; u->of_fd && fd < u->max_fd; fd++)
		forget(u, (int)fd);
	for (; u->nr_held; u->nr_held--)
		free(u->held[u->held_first++ % HELD]);
	free(u->of_fd);
	free(u->asked);
	free(u);
}

static const struct netdev_ops user_ops = {
	.io = { .send = user_send, .room = user_room },
	.attach = user_attach,
	.detach = user_detach,
	.close = user_close,
};

static const SlirpCb callbacks = {
	.send_packet = on_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register,
	.unregister_poll_fd = on_unregister,
	.notify = on_notify,
};

/* "[ADDRESS]:PORT" at *@text, up to @end, which is skipped. */
static bool parse_end(const char **text, char end, struct in_addr *addr,
		      int *port)
{
	const char *colon = strchr(*text, ':');
	char copy[INET_ADDRSTRLEN], *rest;
	size_t len;
	long v;

	if (!colon || (len = (size_t)(colon - *text)) >= sizeof(copy))
		return false;
	memcpy(copy, *text, len);
	copy[len] = '\0';
	addr->s_addr = 0;
	if (len && inet_pton(AF_INET, copy, addr) != 1)
		return false;
	v = strtol(colon + 1, &rest, 10);
	if (rest == colon + 1 || v < 1 || v > 65535 ||
	    (*rest != end && !(end == ',' && !*rest)))
		return false;
	*port = (int)v;
	*text = *rest ? rest + 1 : rest;
	return true;
}

/* "tcp:[ADDRESS]:PORT-[ADDRESS]:PORT", several with commas between. */
static int forward(struct user *u, const char *rules)
{
	const char *at = rules;

	while (*at) {
		struct in_addr host, guest;
		int udp = !strncmp(at, "udp:", 4), host_port, guest_port;

		if (!udp && strncmp(at, "tcp:", 4))
			goto bad;
		at += 4;
		if (!parse_end(&at, '-', &host, &host_port) ||
		    !parse_end(&at, ',', &guest, &guest_port))
			goto bad;
		/* From this host alone, unless an address is given. */
		if (!host.s_addr)
			host.s_addr = htonl(INADDR_LOOPBACK);
		if (slirp_add_hostfwd(u->slirp, udp, host, host_port, guest,
				      guest_port)) {
			log_err("--hostfwd: cannot listen on port %d: %s",
				host_port, strerror(errno));
			return -EADDRINUSE;
		}
	}
	return 0;
bad:
	log_err("--hostfwd: '%s' is not like tcp:127.0.0.1:8080-:80", rules);
	return -EINVAL;
}

static int start(struct user *u, const struct netdev_conf *conf)
{
	const SlirpConfig c = {
		.version = 1,
		.restricted = conf->restricted,
		.in_enabled = true,
		.vnetwork = { htonl(0x0a000200) },	/* 10.0.2.0 */
		.vnetmask = { htonl(0xffffff00) },
		.vhost = { htonl(0x0a000202) },
		.vdhcp_start = { htonl(0x0a00020f) },
		.vnameserver = { htonl(0x0a000203) },
		.vhostname = "guest",
		.if_mtu = conf->mtu,
		.if_mru = conf->mtu,
		.disable_host_loopback = !conf->host_loopback,
	};

	u->slirp = slirp_new(&c, &callbacks, u);
	if (!u->slirp) {
		log_err("--backend=user: libslirp refuses to start");
		return -EINVAL;
	}
	return conf->hostfwd ? forward(u, conf->hostfwd) : 0;
}

static const char *const syscalls[] = {
	"socket", "connect", "bind", "listen", "accept", "setsockopt",
	"getsockname", "getpeername", "clock_gettime", NULL
};
static const unsigned long ioctls[] = { FIONREAD, FIONBIO, 0 };

int netdev_user_open(struct netdev **d, const struct netdev_conf *conf)
{
	struct user *u = calloc(1, sizeof(*u));
	int rc = -ENOMEM;

	if (!u)
		return -ENOMEM;
	u->dev.ops = &user_ops;
	u->dev.engine = "slirp";
	u->dev.syscalls = syscalls;
	u->dev.ioctls = ioctls;
	u->dev.network = true;
	u->dev.read_replaced = "/etc/resolv.conf";
	u->timeout = (struct loop_timer){ .fn = work, .ctx = u };
	u->work = (struct loop_call){ .fn = work, .ctx = u };
	u->of_fd = calloc(FDS_MAX, sizeof(struct watch *));
	u->asked = calloc(FDS_MAX, sizeof(*u->asked));
	if (u->of_fd && u->asked)
		rc = start(u, conf);
	if (rc) {
		user_close(&u->dev);
		return rc;
	}
	*d = &u->dev;
	return 0;
}
