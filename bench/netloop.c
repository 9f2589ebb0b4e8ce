/* SPDX-License-Identifier: MIT */
/*
 * netloop.c - what a packet costs in our network device and in our driver for
 * it: both in one thread, around the mirror that `vireo-net --backend=echo`
 * has, by turns of a batch. One line of JSON. Under callgrind it says how many
 * instructions each half takes (bench/instructions); the wire of memory between
 * two processors is not in it.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vireo/driver_net.h>
#include <vireo/net.h>

#include "backend/netdev.h"

#define GUEST_BASE	0x40000000u
#define RX_LEN		2176u
#define TX_ROOM		2048u
#define TURN		32u	/* packets a turn of the driver */
#define QUEUES		3u

static struct {
	unsigned len, window, ring;
	uint64_t packets;
	bool packed, in_order, merge;
} opt = { .len = 64, .window = 256, .ring = 1024, .packets = 5000000 };

static struct {
	struct vio_net dev;
	struct vio_queue queue[QUEUES];
	struct vio_queue_layout layout[QUEUES];
	struct netdev *wire;
	struct vio_mem mem;
	struct vio_region region;
	struct vio_netdrv drv;
	unsigned char *data;
	struct vio_netdrv_packet *way;
	unsigned *spare, nr_spare;
	uint64_t received, bad;
} s;

/* -- the bus: the device's verbs ----------------------------------------- */

static void ignore_queue(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	(void)q;
}

static void ignore(void *ctx)
{
	(void)ctx;
}

static const struct vio_transport_ops transport = {
	.queue_notify = ignore_queue, .queue_ready = ignore_queue,
	.config_changed = ignore,
};

static int bus_get_status(void *bus, uint32_t *status)
{
	(void)bus;
	*status = vio_dev_status(&s.dev.dev);
	return VIO_OK;
}

static int bus_set_status(void *bus, uint32_t status)
{
	uint16_t base = opt.packed ? VIO_QUEUE_NEW_PACKED :
				     VIO_QUEUE_NEW_SPLIT;

	(void)bus;
	vio_dev_set_status(&s.dev.dev, status);
	for (unsigned i = 0; status & VIRTIO_STATUS_DRIVER_OK && i < QUEUES;
	     i++)
		if (s.layout[i].size &&
		    vio_queue_start(&s.queue[i], &s.mem, &s.layout[i], base,
				    base))
			return VIO_E_INVAL;
	return VIO_OK;
}

static int bus_get_features(void *bus, struct vio_features *f)
{
	(void)bus;
	*f = *vio_dev_offered(&s.dev.dev);
	return VIO_OK;
}

static int bus_set_features(void *bus, const struct vio_features *f)
{
	(void)bus;
	return vio_dev_set_features(&s.dev.dev, f);
}

static int bus_generation(void *bus, uint32_t *generation)
{
	(void)bus;
	*generation = s.dev.dev.generation;
	return VIO_OK;
}

static int bus_config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	(void)bus;
	vio_dev_config_read(&s.dev.dev, off, dst, len);
	return VIO_OK;
}

static int bus_queue_max(void *bus, uint16_t index, uint16_t *size)
{
	(void)bus;
	*size = index < QUEUES ? (uint16_t)opt.ring : 0;
	return VIO_OK;
}

static int bus_queue_start(void *bus, uint16_t index,
			   const struct vio_queue_layout *layout)
{
	(void)bus;
	s.layout[index] = *layout;
	return VIO_OK;
}

static void bus_notify(void *bus, uint16_t index, uint16_t next)
{
	(void)bus;
	(void)index;
	(void)next;
}

static int bus_wait(void *bus, uint16_t index)
{
	(void)bus;
	(void)index;
	return VIO_E_IO;
}

static const struct vio_bus_ops bus = {
	.get_status = bus_get_status, .set_status = bus_set_status,
	.get_features = bus_get_features, .set_features = bus_set_features,
	.generation = bus_generation, .config_read = bus_config_read,
	.queue_max = bus_queue_max, .queue_start = bus_queue_start,
	.notify = bus_notify, .wait = bus_wait,
};

/* -- set up -------------------------------------------------------------- */

static void *lines(size_t len)
{
	void *p = aligned_alloc(4096, (len + 4095) & ~(size_t)4095);

	if (!p)
		abort();
	memset(p, 0, len);
	return p;
}

static bool start_device(void)
{
	const struct vio_queue_limits room = { (uint16_t)opt.ring, 64,
					       vio_net_ctx_size };
	size_t store = vio_queue_storage_size(&room);
	const struct netdev_conf wire = { .kind = "echo" };
	struct vio_net_conf conf = { .mac = { 2, 0, 0, 0, 0, 1 } };

	if (netdev_open(&s.wire, &wire))
		return false;
	conf.offloads = s.wire->offloads;
	for (unsigned i = 0; i < QUEUES; i++)
		if (vio_queue_init(&s.queue[i], NULL, (uint16_t)i, &room,
				   lines(store), store))
			return false;
	if (vio_net_init(&s.dev, &conf, s.queue, &s.wire->ops->io, s.wire))
		return false;
	s.wire->net = &s.dev;
	vio_feature_set(&s.dev.dev.offered, VIRTIO_F_RING_PACKED);
	vio_dev_attach(&s.dev.dev, &transport, NULL, NULL);
	return true;
}

static bool start_driver(void)
{
	struct vio_netdrv_conf c = {
		.limits = { .size = (uint16_t)opt.ring },
		.rx_buffers = opt.ring, .rx_len = RX_LEN,
	};
	size_t shared, priv = vio_netdrv_private_size(&c), len;
	struct vio_drv_mem mem;

	shared = (vio_netdrv_shared_size(&c) + 4095) & ~(size_t)4095;
	len = shared + (size_t)opt.window * TX_ROOM;
	memset(&mem, 0, sizeof(mem));
	mem.window = (struct vio_window){ lines(len), { GUEST_BASE }, len };
	mem.shared = (struct vio_arena){ mem.window.host, shared };
	mem.priv = (struct vio_arena){ lines(priv), priv };
	s.data = mem.window.host + shared;
	s.region = (struct vio_region){ .addr = { GUEST_BASE }, .size = len,
		.host = mem.window.host, .perm = VIO_PERM_RW };
	if (vio_mem_init(&s.mem, &s.region, 1))
		return false;
	vio_feature_set(&c.wanted, VIRTIO_F_VERSION_1);
	vio_feature_set(&c.wanted, VIRTIO_NET_F_MAC);
	if (opt.packed)
		vio_feature_set(&c.wanted, VIRTIO_F_RING_PACKED);
	if (opt.in_order)
		vio_feature_set(&c.wanted, VIRTIO_F_IN_ORDER);
	if (opt.merge)
		vio_feature_set(&c.wanted, VIRTIO_NET_F_MRG_RXBUF);
	if (vio_netdrv_init(&s.drv, &bus, NULL, &c, &mem))
		return false;
	vio_vq_quiet(&s.drv.pair[0].rx);
	vio_vq_quiet(&s.drv.pair[0].tx);
	return true;
}

/* As many packets as there may be under way begin to go round. */
static bool fill(void)
{
	unsigned nr = 2 * opt.ring;

	s.way = calloc(nr, sizeof(*s.way));
	s.spare = calloc(nr, sizeof(*s.spare));
	if (!s.way || !s.spare)
		return false;
	for (unsigned i = opt.window; i < nr; i++)
		s.spare[s.nr_spare++] = i;
	for (unsigned i = 0; i < opt.window; i++) {
		struct vio_seg seg = {
			s.data + (size_t)i * TX_ROOM + VIO_NETDRV_HEADROOM,
			opt.len,
		};

		memset(seg.base, 0x11, seg.len);
		if (vio_netdrv_send(&s.drv, 0, &seg, 1, NULL, &s.way[i]))
			return false;
	}
	vio_netdrv_commit(&s.drv, 0);
	return true;
}

/* -- round and round ----------------------------------------------------- */

/* What was sent is through: its buffer can receive again. */
static void reclaim(void)
{
	struct vio_netdrv_packet *back[TURN];
	void *token[TURN];
	unsigned n, nr, i;

	do {
		n = vio_netdrv_sent_many(&s.drv, 0, token, TURN);
		for (nr = i = 0; i < n; i++) {
			struct vio_netdrv_packet *p = token[i];

			if (p->nr)
				back[nr++] = p;
			s.spare[s.nr_spare++] = (unsigned)(p - s.way);
		}
		vio_netdrv_recycle_many(&s.drv, 0, back, nr);
	} while (n == TURN);
}

static void drive(void)
{
	struct vio_netdrv_packet *p[TURN];
	struct vio_netdrv_out out[TURN];
	unsigned n, i;
	int err;

	reclaim();
	for (n = 0; n < TURN && n < s.nr_spare; n++)
		p[n] = &s.way[s.spare[s.nr_spare - 1 - n]];
	n = vio_netdrv_receive_many(&s.drv, 0, p, n);
	s.nr_spare -= n;
	s.received += n;
	for (i = 0; i < n; i++) {
		s.bad += p[i]->len != opt.len;
		out[i] = (struct vio_netdrv_out){ p[i]->seg, p[i]->nr, NULL,
						  p[i] };
	}
	s.bad += n - vio_netdrv_send_many(&s.drv, 0, out, n, &err);
	vio_netdrv_commit(&s.drv, 0);
}

static bool run(void)
{
	uint64_t before;

	while (s.received < opt.packets) {
		before = s.received;
		vio_queue_poll(&s.queue[1], 64);
		drive();
		/* Nothing comes and nothing is on its way: lost packets. */
		if (s.received == before)
			return false;
	}
	return true;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "packed", 0, NULL, 'p' }, { "in-order", 0, NULL, 'o' },
		{ "merge", 0, NULL, 'm' }, { "len", 1, NULL, 'l' },
		{ "window", 1, NULL, 'w' }, { "ring", 1, NULL, 'r' },
		{ "packets", 1, NULL, 'n' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		unsigned long v = optarg ? strtoul(optarg, NULL, 0) : 0;

		switch (c) {
		case 'p': opt.packed = true; break;
		case 'o': opt.in_order = true; break;
		case 'm': opt.merge = true; break;
		case 'l': opt.len = (unsigned)v; break;
		case 'w': opt.window = (unsigned)v; break;
		case 'r': opt.ring = (unsigned)v; break;
		case 'n': opt.packets = v; break;
		default: return false;
		}
	}
	return opt.len >= 60 && opt.len <= 1514 && opt.window &&
	       opt.window <= opt.ring / 2 && opt.ring <= 32768 &&
	       !(opt.ring & (opt.ring - 1)) && optind == argc;
}

int main(int argc, char **argv)
{
	double from;
	bool ok;

	if (!options(argc, argv)) {
		puts("usage: netloop [--packed] [--in-order] [--merge] "
		     "[--len BYTES] [--window N]\n"
		     "               [--ring N] [--packets N]\n"
		     "What a packet costs in device and driver, in one "
		     "thread; one line of JSON.");
		return 2;
	}
	if (!start_device() || !start_driver() || !fill()) {
		fprintf(stderr, "netloop: device and driver do not start\n");
		return 1;
	}
	from = now();
	ok = run();
	printf("{\"packets\": %llu, \"bad\": %llu, \"ns_per_packet\": %.2f}\n",
	       (unsigned long long)s.received, (unsigned long long)s.bad,
	       (now() - from) * 1e9 / (double)s.received);
	netdev_close(s.wire);
	return ok && !s.bad ? 0 : 1;
}
