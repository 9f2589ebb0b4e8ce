/* SPDX-License-Identifier: MIT */
/*
 * vireo-net: a network device behind a vhost-user socket. Here lies only the
 * wiring: options, what the wire is, device.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <vireo/net.h>

#include "cmd/net/options.h"
#include "cmd/net/rarp.h"
#include "cmd/net/tell.h"
#include "host/clock.h"
#include "host/daemon.h"
#include "host/log.h"

/* Packets taken at a time: as many as drivers hand over at once. */
#define BUDGET 64u
/* Segments of one packet: 64 KiB in pages, cut at regions, and some more. */
#define SEG_MAX 64u
/* Bytes of packets that wait for another pair's thread. */
#define MAIL_LEN (1u << 20)

struct net {
	struct vio_net dev;
	struct net_opt opt;
	struct daemon *daemon;
	struct netdev *wire;
	struct vio_queue *queues;
	struct net_timer *timers;	/* one for each queue */
	unsigned char *scratch;	/* for packets that are cut here, by pair */
	unsigned char *mail;	/* from pair to pair */
	unsigned attached;	/* pairs */
	struct loop *attach_loop;	/* arguments of attach() */
	unsigned attach_pair;
	int attach_rc;
	uint8_t rarp[RARP_LEN];	/* argument of send_rarp() */
	unsigned rarp_sent;
};

/* For notifications that a device puts off. */
struct net_timer {
	struct loop_timer timer;
	struct net *net;
	unsigned queue;
};

static const char *const capabilities[] = { NULL };

#define FEATURE(name) { VIRTIO_NET_F_ ## name, "VIRTIO_NET_F_" #name }

static const struct daemon_feature features[] = {
	FEATURE(CSUM), FEATURE(GUEST_CSUM), FEATURE(CTRL_GUEST_OFFLOADS),
	FEATURE(MTU), FEATURE(MAC), FEATURE(GUEST_TSO4), FEATURE(GUEST_TSO6),
	FEATURE(GUEST_ECN), FEATURE(HOST_TSO4), FEATURE(HOST_TSO6),
	FEATURE(HOST_ECN), FEATURE(MRG_RXBUF), FEATURE(STATUS),
	FEATURE(CTRL_VQ), FEATURE(CTRL_RX), FEATURE(CTRL_VLAN),
	FEATURE(CTRL_RX_EXTRA), FEATURE(GUEST_ANNOUNCE),
	FEATURE(CTRL_MAC_ADDR), FEATURE(GUEST_USO4), FEATURE(GUEST_USO6),
	FEATURE(HOST_USO), FEATURE(STANDBY), FEATURE(SPEED_DUPLEX),
	FEATURE(MQ), FEATURE(RSS), FEATURE(HASH_REPORT), FEATURE(NOTF_COAL),
	FEATURE(VQ_NOTF_COAL), FEATURE(DEVICE_STATS), FEATURE(GUEST_UFO),
	FEATURE(HOST_UFO), FEATURE(GUEST_HDRLEN), FEATURE(RSC_EXT),
	{ 0, NULL }
};

static const char *const syscalls[] = { NULL };

/* To open any wire that needs no privilege. */
static const char *const live_syscalls[] = {
	"socket", "connect", "bind", "listen", "accept", "setsockopt",
	"getsockname", "getpeername", "clock_gettime", "getppid", "mkdir",
	"flock", "getuid", "newfstatat", "lstat", "getdents64", "accept4",
	"writev", NULL
};
/* A tap interface comes open (live_files), and says what it can. */
static const unsigned long live_ioctls[] = {
	FIONREAD, FIONBIO, TUNGETIFF, TUNSETVNETHDRSZ, TUNSETVNETLE,
	TUNSETOFFLOAD, SIOCGIFMTU, 0
};
/* By which a successor asks for the wire of a pair. */
static const char *const files[] = {
	"wire0", "wire1", "wire2", "wire3", NULL
};

static bool has_threads(const struct net *n)
{
	return n->opt.pairs > 1 && n->wire->threads;
}

static void timer_fired(void *ctx)
{
	struct net_timer *t = ctx;

	vio_net_time(&t->net->dev, t->queue);
}

/* From then on the device may ask; only queues that run do. */
static void timer_arm(void *ctx, unsigned queue, uint32_t usecs)
{
	struct net *n = ctx;

	loop_timer_set(daemon_queue_loop(n->daemon, queue),
		       &n->timers[queue].timer, usecs * NS_PER_US);
}

static const struct vio_net_timer_ops timer_ops = { .arm = timer_arm };

static int make_timers(struct net *n, unsigned queues)
{
	n->timers = calloc(queues, sizeof(*n->timers));
	if (!n->timers)
		return -ENOMEM;
	for (unsigned i = 0; i < queues; i++) {
		struct net_timer *t = &n->timers[i];

		*t = (struct net_timer){ .net = n, .queue = i };
		t->timer.fn = timer_fired;
		t->timer.ctx = t;
	}
	return 0;
}

/* Memory for packets on their way. */
static int make_room(struct net *n, struct vio_net_conf *conf)
{
	conf->threads = has_threads(n);
	n->scratch = calloc(conf->threads ? conf->pairs : 1,
			    VIO_NET_PACKET_MAX);
	if (conf->threads)
		n->mail = calloc(conf->pairs, MAIL_LEN);
	conf->scratch = n->scratch;
	conf->mail = n->mail;
	conf->mail_len = MAIL_LEN;
	return n->scratch && (n->mail || !conf->threads) ? 0 : -ENOMEM;
}

static int make_device(struct net *n, struct vio_net_conf *conf)
{
	const struct vio_queue_limits limits = {
		.size_max = (uint16_t)n->opt.queue_size, .seg_max = SEG_MAX,
		.ctx_size = vio_net_ctx_size,
	};
	unsigned queues;
	int rc;

	rc = make_room(n, conf);
	if (rc)
		return rc;
	conf->offloads = n->wire->offloads;
	conf->speed = n->opt.speed;
	conf->standby = n->opt.standby;
	if (!conf->mtu)
		conf->mtu = n->wire->mtu;
	conf->timer = &timer_ops;
	conf->timer_ctx = n;
	queues = vio_net_queues(conf->pairs);
	rc = make_timers(n, queues);
	if (rc)
		return rc;
	n->queues = daemon_queues_make(&n->dev.dev, queues, &limits);
	if (!n->queues)
		return -ENOMEM;
	rc = vio_net_init(&n->dev, conf, n->queues, &n->wire->io,
			  n->wire);
	if (rc)
		log_err("the network device refuses its configuration (%d)",
			rc);
	n->wire->net = &n->dev;
	return rc ? -EINVAL : 0;
}

static void net_close(struct daemon *d)
{
	struct net *n = d->ctx;

	if (n->wire)
		netdev_close(n->wire);
	daemon_queues_free(n->queues);
	free(n->timers);
	free(n->scratch);
	free(n->mail);
}

/*
 * One pair needs no thread beside the main one, where other devices do not
 * need that. A wire that belongs to one thread has all pairs there.
 */
static void place_queues(struct daemon *d)
{
	struct net *n = d->ctx;

	d->queue_num = n->opt.pairs;
	d->queues_together = vio_net_queues((uint16_t)n->opt.pairs);
	d->num_workers = d->name ? 1 : 0;
	if (has_threads(n)) {
		d->queues_together = 2;
		d->num_workers = n->opt.pairs;
	}
}

static unsigned net_files(struct daemon *d,
			  struct daemon_file file[DAEMON_FILES_MAX])
{
	struct net *n = d->ctx;
	unsigned nr = 0;

	/* More queues than can be named are opened anew, beside these. */
	for (unsigned i = 0; n->wire->ops->file && i < n->opt.pairs &&
	     n->opt.pairs <= NETDEV_FILES && nr < DAEMON_FILES_MAX; i++) {
		file[nr].fd = n->wire->ops->file(n->wire, i);
		strcpy(file[nr].name, files[i]);
		nr += file[nr].fd >= 0;
	}
	return nr;
}

/* A number that comes with a command is that of a descriptor of ours. */
static int check_live(const struct daemon *d, const struct net_opt *o)
{
	if (!d->live || strncmp(o->backend, "tap=fd:", 7))
		return 0;
	log_err("--backend=%s: that is for descriptors that a program is started with; name the interface, and 'vireo ctl add' opens it",
		o->backend);
	return -EINVAL;
}

static int net_open(struct daemon *d)
{
	struct vio_net_conf conf = { .mtu = 0 };
	struct net *n = d->ctx;
	int fd[NETDEV_FILES], rc;

	n->daemon = d;
	n->opt = net_opt;
	n->opt.closed = d->process->sandboxed;
	n->opt.may_change = d->opt.control_path;
	for (unsigned i = 0; i < NETDEV_FILES; i++)
		fd[i] = daemon_file(d, files[i]);
	rc = net_check_options(&n->opt, &conf);
	if (!rc)
		rc = check_live(d, &n->opt);
	if (!rc && net_connects(&n->opt))
		rc = daemon_network(d, "--backend=user");
	if (!rc)
		rc = net_open_wire(&n->opt, fd, &n->wire);
	for (unsigned i = 0; i < NETDEV_FILES; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (!rc)
		rc = make_device(n, &conf);
	if (rc) {
		net_close(d);
		return rc;
	}
	d->dev = &n->dev.dev;
	place_queues(d);
	d->more_syscalls = n->wire->syscalls;
	d->more_ioctls = n->wire->ioctls;
	d->network = n->wire->network;
	if (n->wire->unlink_dir_fd > 0)
		d->unlink_dir_fd = n->wire->unlink_dir_fd;
	d->read_replaced = n->wire->read_replaced;
	log_debug("packets by %s", n->wire->engine);
	return 0;
}

static void attach(void *arg)
{
	struct net *n = arg;

	n->attach_rc = n->wire->ops->attach(n->wire, n->attach_pair,
					    n->attach_loop);
}

static void detach(void *arg)
{
	struct net *n = arg;

	n->wire->ops->detach(n->wire, n->attach_pair);
}

static void attach_limit(void *arg)
{
	struct net *n = arg;

	net_limit_attach(n->wire->limit, n->attach_pair, n->attach_loop);
}

static void detach_limit(void *arg)
{
	struct net *n = arg;

	net_limit_detach(n->wire->limit, n->attach_pair);
}

static void attach_limits(struct daemon *d)
{
	struct net *n = d->ctx;

	for (unsigned i = 0; n->wire->limit && i < n->opt.pairs; i++) {
		n->attach_pair = i;
		n->attach_loop = daemon_queue_loop(d, 2 * i);
		daemon_queue_run(d, 2 * i, attach_limit, n);
	}
}

/* By then, whatever the wire put off to later has been called, too. */
static void cancel_timer(void *arg)
{
	struct net_timer *t = arg;

	loop_timer_cancel(daemon_queue_loop(t->net->daemon, t->queue),
			  &t->timer);
}

static void net_stop(struct daemon *d)
{
	struct net *n = d->ctx;

	while (n->attached) {
		n->attach_pair = --n->attached;
		daemon_queue_run(d, 2 * n->attach_pair, detach, n);
	}
	for (unsigned i = 0; n->wire->limit && i < n->opt.pairs; i++) {
		n->attach_pair = i;
		daemon_queue_run(d, 2 * i, detach_limit, n);
	}
	for (unsigned i = 0; i < vio_net_queues(n->dev.conf.pairs); i++)
		daemon_queue_run(d, i, cancel_timer, &n->timers[i]);
}

static int attach_all(struct daemon *d)
{
	struct net *n = d->ctx;

	unsigned nr = has_threads(n) ? n->opt.pairs : 1;

	if (!n->wire->ops->attach)
		return 0;
	for (; n->attached < nr; n->attached++) {
		n->attach_pair = n->attached;
		n->attach_loop = daemon_queue_loop(d, 2 * n->attached);
		daemon_queue_run(d, 2 * n->attached, attach, n);
		if (n->attach_rc) {
			log_err("cannot start the back end: %s",
				strerror(-n->attach_rc));
			net_stop(d);
			return n->attach_rc;
		}
	}
	return 0;
}

/* A predecessor reads what comes by the wire until it hands over. */
static int net_start(struct daemon *d)
{
	struct net *n = d->ctx;

	attach_limits(d);
	return d->inherits && n->wire->ops->file ? 0 : attach_all(d);
}

static void net_alone(struct daemon *d)
{
	attach_all(d);
}

static void net_drain(struct daemon *d, unsigned queue)
{
	struct net *n = d->ctx;

	if (queue < 2u * n->dev.conf.pairs && !(queue % 2))
		vio_net_drain(&n->dev, queue / 2);
}

/*
 * The front end shows its guest this MTU. What the guest sends is as long as
 * that at most, and must pass the wire.
 */
static int net_set_mtu(struct daemon *d, uint16_t mtu)
{
	struct net *n = d->ctx;

	if (mtu < VIRTIO_NET_MTU_MIN)
		return -EINVAL;
	return n->wire->mtu && mtu > n->wire->mtu ? -ERANGE : 0;
}

static void send_rarp(void *arg)
{
	struct net *n = arg;
	struct vio_seg seg = { n->rarp, RARP_LEN };
	const struct vio_net_packet pkt = {
		.seg = &seg, .nr_seg = 1, .len = RARP_LEN,
	};

	n->rarp_sent = n->wire->io.send(n->wire, 0, &pkt, 1);
}

static int net_send_rarp(struct daemon *d, const uint8_t mac[6])
{
	struct net *n = d->ctx;

	rarp_make(n->rarp, mac);
	daemon_queue_run(d, 1, send_rarp, n);
	if (n->rarp_sent)
		return 0;
	log_warn("the network does not take the packet that shows where the guest is now");
	return -EIO;
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void net_stats(struct daemon *d, struct stats_values *v)
{
	struct net *n = d->ctx;
	unsigned i;

	v->errors += load(&n->wire->lost);
	for (i = 0; i < n->dev.conf.pairs; i++) {
		const struct vio_net_stats *s = &n->dev.pair[i].stats;

		v->requests += load(&s->tx_packets) + load(&s->rx_packets);
		v->bytes_read += load(&s->rx_bytes);
		v->bytes_written += load(&s->tx_bytes);
		v->errors += load(&s->tx_malformed) + load(&s->tx_dropped) +
			     load(&s->rx_no_room) + load(&s->rx_too_long) +
			     load(&s->rx_malformed);
	}
}

static void net_status(struct daemon *d, struct text *out)
{
	struct net *n = d->ctx;

	net_tell_status(out, &n->dev, n->wire, &n->opt.limits);
}

static void net_metrics(struct daemon *d, struct text *out)
{
	struct net *n = d->ctx;

	net_tell_metrics(out, &n->dev, n->wire, &n->opt.limits);
}

static int cmd_link(void *ctx, unsigned nr_args, char **args,
		    struct text *out)
{
	struct daemon *d = ctx;
	struct net *n = d->ctx;
	bool up = !strcmp(args[0], "up");

	(void)nr_args;
	if (!up && strcmp(args[0], "down")) {
		text_fmt(out, "the link goes 'up' or 'down', not '%s'",
			 args[0]);
		return -EINVAL;
	}
	vio_net_link(&n->dev, up);
	return 0;
}

static int cmd_announce(void *ctx, unsigned nr_args, char **args,
			struct text *out)
{
	struct daemon *d = ctx;
	struct net *n = d->ctx;

	(void)nr_args;
	(void)args;
	(void)out;
	vio_net_announce(&n->dev);
	return 0;
}

static int cmd_limits(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	struct daemon *d = ctx;
	struct net *n = d->ctx;
	struct net_limit_conf limits = n->opt.limits;

	/* All of them, or none. */
	for (unsigned i = 0; i < nr_args; i++)
		if (net_limit_word(&limits, args[i])) {
			text_fmt(out, "'%s' is no limit; they are tx-packets=, tx-bytes=, rx-packets= and rx-bytes= with a number such as 0 or 10M, tx-burst-ms= and rx-burst-ms= with 1 to 10000",
				 args[i]);
			return -EINVAL;
		}
	n->opt.limits = limits;
	if (nr_args)
		net_limit_set(n->wire->limit, &limits);
	net_tell_limits(out, &limits);
	return 0;
}

static const struct control_command commands[] = {
	{ .name = "link", .args = "up|down", .min_args = 1, .max_args = 1,
	  .help = "tell the guest that its link went up or down",
	  .run = cmd_link },
	{ .name = "limits",
	  .args = "[tx-packets=N] [tx-bytes=N] [tx-burst-ms=N] [rx-packets=N] [rx-bytes=N] [rx-burst-ms=N]",
	  .max_args = 6,
	  .help = "packets and bytes a second that the guest sends and receives; 0 takes a limit away; what is not named stays; without words, only tells",
	  .run = cmd_limits },
	{ .name = "announce", .args = "",
	  .help = "ask the guest to tell the network where it is",
	  .run = cmd_announce },
	{ 0 }
};

static const struct daemon_type net_type = {
	.program = "vireo-net",
	.summary = "Serve a virtio network device.",
	.device = "net",
	.capabilities = capabilities,
	.opts = net_options,
	.opt_data = &net_opt,
	.opt_size = sizeof(net_opt),
	.ctx_size = sizeof(struct net),
	.threaded = true,
	.features = features,
	.syscalls = syscalls,
	.live_syscalls = live_syscalls,
	.live_ioctls = live_ioctls,
	.budget = BUDGET,
	.open = net_open,
	.start = net_start,
	.stop = net_stop,
	.close = net_close,
	.heritable = true,
	.alone = net_alone,
	.files = net_files,
	.live_files = files,
	.drain = net_drain,
	.set_mtu = net_set_mtu,
	.send_rarp = net_send_rarp,
	.stats = net_stats,
	.status = net_status,
	.metrics = net_metrics,
	.commands = commands,
};

int main(int argc, char **argv)
{
	static struct net net;

	return daemon_main(&net_type, &net, argc, argv);
}
