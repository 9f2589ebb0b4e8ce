/* SPDX-License-Identifier: MIT */
/*
 * vunet - sends packets round and round through a vhost-user network back
 * end, anyone's that sends back what it gets, from one busy-polling thread;
 * says what came of it as one line of JSON. Or one packet at a time, at a
 * rate, and how long each took; or none. A packet that came is sent again
 * from where it lies. Knows nothing of who runs it and compares nothing.
 */
#define _GNU_SOURCE
#include <vireo/driver_net.h>
#include <vireo/vhu_client.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOOK	64	/* rounds without a look at the clock */
#define BURST	32u

struct options {
	const char *socket;
	unsigned len;		/* bytes a packet */
	unsigned window;	/* packets under way */
	unsigned ring;
	double warmup, seconds;
	int core;
	int rate;		/* packets a second, one at a time; -1: all */
	bool packed, in_order, merge;
};

struct load {
	const struct options *opt;
	struct vhu_client *client;
	struct vio_netdrv net;
	unsigned char *data;	/* the packets that begin the round */
	struct vio_netdrv_packet *way;	/* one for each buffer under way */
	unsigned *spare, nr_spare;
	uint64_t received, lost, bytes;
};

static void die(const char *what, int err)
{
	fprintf(stderr, "vunet: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What was sent is through: its buffer can receive again. */
static void reclaim(struct load *l)
{
	struct vio_netdrv_packet *back[BURST];
	void *token[BURST];
	unsigned n, nr, i;

	do {
		n = vio_netdrv_sent_many(&l->net, 0, token, BURST);
		for (nr = i = 0; i < n; i++) {
			struct vio_netdrv_packet *p = token[i];

			if (p->nr)
				back[nr++] = p;
			l->spare[l->nr_spare++] = (unsigned)(p - l->way);
		}
		vio_netdrv_recycle_many(&l->net, 0, back, nr);
	} while (n == BURST);
}

static void forward(struct load *l, struct vio_netdrv_packet *const *p,
		    unsigned nr)
{
	struct vio_netdrv_out out[BURST];
	unsigned i;
	int err;

	for (i = 0; i < nr; i++)
		out[i] = (struct vio_netdrv_out){ p[i]->seg, p[i]->nr, NULL,
						  p[i] };
	for (i = vio_netdrv_send_many(&l->net, 0, out, nr, &err); i < nr;
	     i++) {
		l->lost++;
		vio_netdrv_recycle(&l->net, 0, p[i]);
		l->spare[l->nr_spare++] = (unsigned)(p[i] - l->way);
	}
}

static void turn(struct load *l)
{
	struct vio_netdrv_packet *p[BURST];
	unsigned n, i;

	reclaim(l);
	for (n = 0; n < BURST && n < l->nr_spare; n++)
		p[n] = &l->way[l->spare[l->nr_spare - 1 - n]];
	n = vio_netdrv_receive_many(&l->net, 0, p, n);
	l->nr_spare -= n;
	l->received += n;
	for (i = 0; i < n; i++)
		l->bytes += p[i]->len;
	forward(l, p, n);
	vio_netdrv_commit(&l->net, 0);
}

static void run(struct load *l, uint64_t deadline)
{
	unsigned spin = 0;

	for (;;) {
		turn(l);
		if (++spin % LOOK == 0 && now_ns() >= deadline)
			return;
		if (l->net.pair[0].rx.broken || l->net.pair[0].tx.broken) {
			fprintf(stderr, "vunet: the device broke the ring\n");
			exit(1);
		}
	}
}

static void *share(int *fd, size_t len)
{
	void *p;

	*fd = memfd_create("vunet", MFD_CLOEXEC);
	if (*fd < 0 || ftruncate(*fd, (off_t)len) < 0)
		die("shared memory", -errno);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		 *fd, 0);
	if (p == MAP_FAILED)
		die("shared memory", -errno);
	return p;
}

static struct vio_netdrv_conf conf_of(const struct options *o)
{
	struct vio_netdrv_conf c = {
		.limits = { .size = (uint16_t)o->ring },
		.rx_buffers = o->ring, .rx_len = 2176,
	};

	vio_feature_set(&c.wanted, VIRTIO_F_VERSION_1);
	vio_feature_set(&c.wanted, VIRTIO_NET_F_MAC);
	if (o->packed)
		vio_feature_set(&c.wanted, VIRTIO_F_RING_PACKED);
	if (o->in_order)
		vio_feature_set(&c.wanted, VIRTIO_F_IN_ORDER);
	if (o->merge)
		vio_feature_set(&c.wanted, VIRTIO_NET_F_MRG_RXBUF);
	return c;
}

static void start(struct load *l)
{
	const struct options *o = l->opt;
	struct vio_netdrv_conf c = conf_of(o);
	size_t shared = (vio_netdrv_shared_size(&c) + 4095) & ~(size_t)4095;
	size_t priv = vio_netdrv_private_size(&c);
	size_t len = shared + (size_t)o->window * 2048;
	struct vhu_client_conf conf = { .socket_path = o->socket,
					.queue_pairs = true };
	struct vio_drv_mem mem;
	int err;

	memset(&mem, 0, sizeof(mem));
	mem.window.host = share(&conf.mem_fd, len);
	mem.window.addr = vio_addr_of(1u << 30);
	mem.window.size = len;
	mem.shared.at = mem.window.host;
	mem.shared.left = shared;
	mem.priv.at = malloc(priv);
	mem.priv.left = mem.priv.at ? priv : 0;
	l->data = mem.window.host + shared;
	conf.window = mem.window;
	conf.protocol_off = 1u << 12;	/* no record of what is in flight */
	err = vhu_client_open(&l->client, &conf);
	if (err)
		die(o->socket, err);
	err = vio_netdrv_init(&l->net, &vhu_client_bus, l->client, &c, &mem);
	if (err) {
		fprintf(stderr, "vunet: %s: the device does not start "
			"(error %d)\n", o->socket, err);
		exit(1);
	}
	vio_vq_quiet(&l->net.pair[0].rx);
	vio_vq_quiet(&l->net.pair[0].tx);
}

/* As many packets as there may be under way begin to go round. */
static void fill(struct load *l)
{
	unsigned nr = 2 * l->opt->ring, i;

	l->way = calloc(nr, sizeof(*l->way));
	l->spare = calloc(nr, sizeof(*l->spare));
	if (!l->way || !l->spare)
		die("memory", -ENOMEM);
	for (i = l->opt->window; i < nr; i++)
		l->spare[l->nr_spare++] = i;
	for (i = 0; i < l->opt->window; i++) {
		struct vio_seg seg = {
			l->data + (size_t)i * 2048 + VIO_NETDRV_HEADROOM,
			l->opt->len,
		};

		memset(seg.base, 0x11, seg.len);
		memset(seg.base, 2, 12);
		if (vio_netdrv_send(&l->net, 0, &seg, 1, NULL, &l->way[i]))
			die("the window is larger than the ring", -EINVAL);
		if (i % BURST == BURST - 1)
			vio_netdrv_commit(&l->net, 0);
	}
	vio_netdrv_commit(&l->net, 0);
}

/* -- one at a time -------------------------------------------------------- */

#define LOST_NS	1000000000u	/* what did not come back by then will not */

/* There and back, nanoseconds; 0: it was lost. */
static uint64_t round_trip(struct load *l, const struct vio_seg *seg)
{
	uint64_t from = now_ns(), took;

	l->way[0].nr = 0;
	if (vio_netdrv_send(&l->net, 0, seg, 1, NULL, &l->way[0]))
		return 0;
	vio_netdrv_commit(&l->net, 0);
	while (!vio_netdrv_receive(&l->net, 0, &l->way[1]))
		if (now_ns() - from > LOST_NS)
			return 0;
	took = now_ns() - from;
	vio_netdrv_recycle(&l->net, 0, &l->way[1]);
	while (!vio_netdrv_sent(&l->net, 0))
		if (now_ns() - from > LOST_NS)
			return 0;
	vio_netdrv_commit(&l->net, 0);
	return took;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Round trips at the rate that was asked for, sorted; lost ones left out. */
static unsigned measure_trips(struct load *l, uint64_t *ns, unsigned nr)
{
	struct vio_seg seg = { l->data + VIO_NETDRV_HEADROOM, l->opt->len };
	uint64_t gap = 1000000000u / (unsigned)l->opt->rate, next = now_ns();
	unsigned n = 0, i;

	memset(seg.base, 2, seg.len);
	for (i = 0; i < nr; i++) {
		while (now_ns() < next)
			;
		ns[n] = round_trip(l, &seg);
		if (ns[n])
			n++;
		else
			l->lost++;
		next += gap;
	}
	qsort(ns, n, sizeof(*ns), by_size);
	return n;
}

static void latency(struct load *l)
{
	unsigned nr = (unsigned)(l->opt->rate * l->opt->seconds), n = 0;
	static const struct { const char *name; double at; } points[] = {
		{ "p50", .5 }, { "p90", .9 }, { "p99", .99 },
		{ "p999", .999 },
	};
	uint64_t *ns = calloc(nr + 1, sizeof(*ns));

	l->way = calloc(2, sizeof(*l->way));
	if (!ns || !l->way)
		die("memory", -ENOMEM);
	if (nr)
		n = measure_trips(l, ns, nr);
	else
		usleep((useconds_t)(l->opt->seconds * 1e6));
	printf("{\"rate\": %d, \"packets\": %u, \"lost\": %" PRIu64,
	       l->opt->rate, n, l->lost);
	for (unsigned i = 0; n && i < sizeof(points) / sizeof(*points); i++)
		printf(", \"%s\": %" PRIu64, points[i].name,
		       ns[(unsigned)(points[i].at * (n - 1))]);
	printf("}\n");
	free(ns);
}

static void report(const struct load *l, uint64_t ns)
{
	printf("{\"len\": %u, \"window\": %u, \"packets\": %" PRIu64
	       ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, "
	       "\"pps\": %.1f, \"features\": \"0x%" PRIx64 "\"}\n",
	       l->opt->len, l->opt->window, l->received,
	       l->net.pair[0].bad + l->lost +
	       (l->bytes != l->received * l->opt->len),
	       (double)ns / 1e9, (double)l->received * 1e9 / (double)ns,
	       l->net.drv.features.w[0]);
}

static void throughput(struct load *l)
{
	uint64_t from;

	fill(l);
	run(l, now_ns() + (uint64_t)(l->opt->warmup * 1e9));
	l->received = l->bytes = 0;
	from = now_ns();
	run(l, from + (uint64_t)(l->opt->seconds * 1e9));
	report(l, now_ns() - from);
}

static int usage(void)
{
	printf("usage: vunet --socket PATH [options]\n"
	       "Packets round and round through a vhost-user network back end "
	       "that sends\nthem back; one line of JSON.\n"
	       "  --len BYTES   of each packet (64; 60 to 1514)\n"
	       "  --window N    packets under way (256)\n"
	       "  --ring N      entries of each ring (1024)\n"
	       "  --seconds S   how long to measure (1)\n"
	       "  --warmup S    and how long not to, before (0.2)\n"
	       "  --core N      run on this processor\n"
	       "  --rate N      one packet at a time, N a second: how long "
	       "each took; 0: none\n"
	       "  --packed, --in-order, --merge   use these where offered\n");
	return 0;
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "len", required_argument, NULL, 'l' },
		{ "window", required_argument, NULL, 'n' },
		{ "ring", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 't' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "core", required_argument, NULL, 'c' },
		{ "rate", required_argument, NULL, 'a' },
		{ "packed", no_argument, NULL, 'p' },
		{ "in-order", no_argument, NULL, 'o' },
		{ "merge", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's': o->socket = optarg; break;
		case 'l': o->len = (unsigned)atoi(optarg); break;
		case 'n': o->window = (unsigned)atoi(optarg); break;
		case 'r': o->ring = (unsigned)atoi(optarg); break;
		case 't': o->seconds = atof(optarg); break;
		case 'w': o->warmup = atof(optarg); break;
		case 'c': o->core = atoi(optarg); break;
		case 'a': o->rate = atoi(optarg); break;
		case 'p': o->packed = true; break;
		case 'o': o->in_order = true; break;
		case 'm': o->merge = true; break;
		case 'h': exit(usage());
		default: return false;
		}
	}
	return optind == argc && o->socket && o->len >= 60 &&
	       o->len <= 1514 && o->window && o->window <= o->ring / 2 &&
	       o->ring <= 1024 && !(o->ring & (o->ring - 1)) &&
	       o->seconds > 0 && o->warmup >= 0 && o->rate <= 1000000;
}

int main(int argc, char **argv)
{
	struct options o = {
		.len = 64, .window = 256, .ring = 1024, .warmup = 0.2,
		.seconds = 1, .core = -1, .rate = -1,
	};
	static struct load l;
	cpu_set_t set;

	if (!parse(&o, argc, argv)) {
		fprintf(stderr, "vunet: bad arguments; see vunet --help\n");
		return 2;
	}
	CPU_ZERO(&set);
	if (o.core >= 0)
		CPU_SET(o.core, &set);
	if (o.core >= 0 && sched_setaffinity(0, sizeof(set), &set) < 0)
		die("cannot run on that core", -errno);
	l.opt = &o;
	start(&l);
	if (o.rate >= 0)
		latency(&l);
	else
		throughput(&l);
	vio_netdrv_reset(&l.net);
	vhu_client_close(l.client);
	return l.net.pair[0].bad || l.lost ? 1 : 0;
}
