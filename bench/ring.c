/* SPDX-License-Identifier: MIT */
/*
 * ring.c - what a buffer costs in the ring alone: our driver half against our
 * device half, in one thread (batches) or in two that poll. One line of JSON.
 *
 * Payload is not touched; what remains is the price of the interface.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vireo/dev.h>
#include <vireo/track.h>
#include <vireo/vq.h>

#include "bench/counters.h"

#define DATA		4096u
#define SLICE		16384u	/* buffers, or copies, of one measurement */
#define COPIED		(128u * 1024)	/* bytes copied from, and to */
#define BATCH_MAX	256u	/* buffers a call of either half takes */

static struct {
	unsigned size, batch, threads, segs, writable;
	uint64_t outstanding, buffers;
	bool packed, event_idx, in_order, indirect, record, compare, peek;
} opt = { .size = 256, .batch = 32, .threads = 1, .segs = 1, .writable = 1,
	  .outstanding = 128, .buffers = 20000000 };

static struct {
	struct vio_vq vq;
	struct vio_dev dev;
	struct vio_queue queue;
	struct vio_mem mem;
	struct vio_region region;
	struct vio_track track;
	unsigned char *shared;
	size_t shared_len;
	bool end;
} s;

static enum vio_service serve(struct vio_dev *dev, struct vio_queue *q,
			      unsigned budget)
{
	struct vio_req *req[BATCH_MAX];
	unsigned n;

	(void)dev;
	if (budget > BATCH_MAX)
		budget = BATCH_MAX;
	n = vio_queue_pop_many(q, req, budget);
	if (n)
		vio_queue_done(q, req, n);
	return n == budget ? VIO_SERVICE_MORE : VIO_SERVICE_IDLE;
}

/* The same without requests: seen where they lie, and used. */
static enum vio_service serve_in_place(struct vio_dev *dev,
				       struct vio_queue *q, unsigned budget)
{
	unsigned max = budget < VIO_PEEK_MAX ? budget : VIO_PEEK_MAX, n;
	struct vio_piece piece[VIO_PEEK_MAX];

	n = vio_queue_peek(q, opt.writable, piece, max);
	if (!n)
		return serve(dev, q, budget);
	vio_queue_use(q, piece, n, opt.writable);
	return n == budget ? VIO_SERVICE_MORE : VIO_SERVICE_IDLE;
}

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
	.config_changed = ignore };
static const struct vio_dev_ops ops = { .name = "bench", .id = 4,
					.service = serve };
static const struct vio_dev_ops ops_in_place = { .name = "bench", .id = 4,
	.service = serve_in_place };

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("sched_setaffinity");
}

static void *device(void *arg)
{
	pin(0);
	while (!__atomic_load_n(&s.end, __ATOMIC_RELAXED))
		vio_queue_poll(&s.queue, opt.batch);
	return arg;
}

/* A record of the requests in flight. */
static bool record(void)
{
	uint16_t nr = (uint16_t)opt.size;
	size_t len = vio_track_size(opt.packed, nr);
	void *at = aligned_alloc(64, len), *priv;

	priv = malloc(vio_track_private_size(nr));
	if (!at || !priv)
		return false;
	memset(at, 0, len);
	vio_track_init(&s.track, at, nr, priv, NULL);
	return vio_queue_track(&s.queue, &s.track) == VIO_OK;
}

static bool set_up(void)
{
	const struct vio_vq_limits limits = { (uint16_t)opt.size,
		opt.indirect ? (uint16_t)opt.segs : 0 };
	const struct vio_queue_limits room = { (uint16_t)opt.size, 16, 0 };
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };
	size_t ring = vio_vq_shared_size(&limits) + 4096, priv, store;
	uint16_t base = opt.packed ? VIO_QUEUE_NEW_PACKED :
				     VIO_QUEUE_NEW_SPLIT;
	struct vio_drv_mem mem;

	if (opt.packed)
		vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (opt.event_idx)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	if (opt.in_order)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	if (opt.indirect)
		vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	priv = vio_vq_private_size(&limits);
	store = vio_queue_storage_size(&room);
	s.shared_len = (ring + DATA + 4095) & ~(size_t)4095;
	s.shared = aligned_alloc(4096, s.shared_len);
	mem = (struct vio_drv_mem){
		.window = { s.shared, { 0x100000 }, s.shared_len },
		.shared = { s.shared + DATA, ring },
		.priv = { aligned_alloc(64, (priv + 63) & ~(size_t)63), priv },
	};
	s.region = (struct vio_region){ .addr = { 0x100000 },
		.size = s.shared_len, .host = s.shared, .perm = VIO_PERM_RW };
	if (vio_vq_init(&s.vq, &limits, &f, &mem) ||
	    vio_queue_init(&s.queue, NULL, 0, &room,
			   aligned_alloc(64, (store + 63) & ~(size_t)63),
			   store) || vio_mem_init(&s.mem, &s.region, 1))
		return false;
	vio_dev_init(&s.dev, opt.peek ? &ops_in_place : &ops, &f, &s.queue, 1,
		     NULL, 0);
	vio_feature_set(&s.dev.offered, VIRTIO_F_IN_ORDER);
	vio_dev_attach(&s.dev, &transport, NULL, NULL);
	if (vio_dev_set_features(&s.dev, &f))
		return false;
	vio_dev_set_status(&s.dev, 15);
	if (opt.record && !record())
		return false;
	return !vio_queue_start(&s.queue, &s.mem, &s.vq.layout, base, base);
}

/* Up to @max buffers on their way; all the same, as nobody looks inside. */
static unsigned offer(const struct vio_buf *buf,
		      const struct vio_single *one, uint64_t max)
{
	unsigned n = max < opt.batch ? (unsigned)max : opt.batch;
	int err;

	if (opt.segs == 1)
		n = vio_vq_add_singles(&s.vq, one, n, opt.writable, &err);
	else
		n = vio_vq_add_many(&s.vq, buf, n, &err);
	if (n)
		vio_vq_publish(&s.vq);
	return n;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/*
 * In one thread: the best slice of buffers and the best of copies of 64 bytes,
 * alternating, in nanoseconds each. What disturbs a run disturbs some slices.
 */
static struct {
	double buffer, copy;
	double since;		/* this slice's begin */
	uint64_t from;		/* buffers before it */
} best = { 1e9, 1e9, 0, 0 };

static double copies(void)
{
	static unsigned char from[COPIED], to[COPIED];
	double since = now();
	size_t len = 64;

	/* A call of the library's: the compiler does not know how many. */
	__asm__ volatile("" : "+r"(len));
	for (unsigned i = 0; i < SLICE; i++) {
		size_t at = (size_t)i * 64 % COPIED;

		memcpy(to + at, from + at, len);
		/* Or the compiler sees that nobody reads them. */
		__asm__ volatile("" : : "r"(to + at) : "memory");
	}
	return (now() - since) * 1e9 / SLICE;
}

static void slice(uint64_t got)
{
	double each;

	if (!opt.compare || got - best.from < SLICE)
		return;
	each = (now() - best.since) * 1e9 / (double)(got - best.from);
	if (best.since > 0 && each < best.buffer)
		best.buffer = each;
	each = copies();
	if (each < best.copy)
		best.copy = each;
	best.from = got;
	best.since = now();
}

static void run(void)
{
	uint64_t added = 0, got = 0;
	struct vio_used used[BATCH_MAX];
	struct vio_single one[BATCH_MAX];
	struct vio_buf buf[BATCH_MAX];
	struct vio_seg seg[8];

	for (unsigned i = 0; i < opt.segs; i++)
		seg[i] = (struct vio_seg){ s.shared + i * 64, 64 };
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		one[i] = (struct vio_single){ s.shared, s.shared, 64 };
		buf[i] = (struct vio_buf){ seg, s.shared,
			(uint16_t)(opt.segs - opt.writable),
			(uint16_t)opt.writable };
	}
	vio_vq_quiet(&s.vq);
	while (got < opt.buffers) {
		uint64_t room = opt.outstanding - (added - got);

		if (opt.buffers - added < room)
			room = opt.buffers - added;
		added += offer(buf, one, room);
		if (opt.threads == 1)
			vio_queue_poll(&s.queue, opt.batch);
		got += vio_vq_get_many(&s.vq, used, opt.batch);
		slice(got);
	}
}

static void usage(void)
{
	puts("usage: ring [options]\n"
	     "The cost of a buffer in the ring alone; one line of JSON.\n"
	     "  --packed --event-idx --in-order --indirect   features\n"
	     "  --record      keep a record of requests in flight\n"
	     "  --in-place    the device makes no requests of buffers\n"
	     "  --compare     with copies of 64 bytes, best slices of either\n"
	     "  --size N      entries of the ring (256)\n"
	     "  --batch N     buffers a publication (32)\n"
	     "  --segs N      segments of a buffer, 1 to 8 (1)\n"
	     "  --writable N  how many of them the device may write (1)\n"
	     "  --outstanding N  buffers on their way at most (128)\n"
	     "  --threads N   1, or 2 that poll, on processors 0 and 1\n"
	     "  --buffers N   how many (20000000)");
}

static bool options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "packed", 0, NULL, 'p' }, { "event-idx", 0, NULL, 'e' },
		{ "in-order", 0, NULL, 'i' }, { "indirect", 0, NULL, 'd' },
		{ "size", 1, NULL, 's' }, { "batch", 1, NULL, 'b' },
		{ "segs", 1, NULL, 'g' }, { "threads", 1, NULL, 't' },
		{ "buffers", 1, NULL, 'n' }, { "help", 0, NULL, 'h' },
		{ "record", 0, NULL, 'r' }, { "writable", 1, NULL, 'w' },
		{ "outstanding", 1, NULL, 'o' }, { "compare", 0, NULL, 'c' },
		{ "in-place", 0, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		unsigned long v = optarg ? strtoul(optarg, NULL, 0) : 0;

		switch (c) {
		case 'p': opt.packed = true; break;
		case 'e': opt.event_idx = true; break;
		case 'i': opt.in_order = true; break;
		case 'd': opt.indirect = true; break;
		case 'r': opt.record = true; break;
		case 'c': opt.compare = true; break;
		case 'k': opt.peek = true; break;
		case 's': opt.size = (unsigned)v; break;
		case 'b': opt.batch = (unsigned)v; break;
		case 'g': opt.segs = (unsigned)v; break;
		case 't': opt.threads = (unsigned)v; break;
		case 'n': opt.buffers = v; break;
		case 'w': opt.writable = (unsigned)v; break;
		case 'o': opt.outstanding = v; break;
		default: return false;
		}
	}
	return opt.size && opt.size <= 32768 && opt.batch && opt.segs &&
	       opt.batch <= BATCH_MAX && opt.segs <= 8 &&
	       opt.writable <= opt.segs && opt.outstanding && opt.threads &&
	       opt.threads <= 2 && !(opt.compare && opt.threads != 1);
}

int main(int argc, char **argv)
{
	struct counters counters;
	pthread_t thread;
	double from, took;

	if (!options(argc, argv)) {
		usage();
		return 2;
	}
	if (!set_up()) {
		fprintf(stderr, "ring: the ring cannot be made so\n");
		return 1;
	}
	pin(1);
	counters_open(&counters);
	if (opt.threads == 2 && pthread_create(&thread, NULL, device, NULL))
		return 1;
	from = now();
	run();
	took = now() - from;
	__atomic_store_n(&s.end, true, __ATOMIC_RELAXED);
	if (opt.threads == 2)
		pthread_join(thread, NULL);
	printf("{\"threads\": %u, \"packed\": %d, \"event_idx\": %d, "
	       "\"in_order\": %d, \"indirect\": %d, \"record\": %d, "
	       "\"segs\": %u, "
	       "\"batch\": %u, \"size\": %u, \"buffers\": %llu, "
	       "\"ns_per_buffer\": %.2f", opt.threads, opt.packed,
	       opt.event_idx, opt.in_order, opt.indirect, opt.record,
	       opt.segs, opt.batch, opt.size, (unsigned long long)opt.buffers,
	       took * 1e9 / (double)opt.buffers);
	if (opt.compare && best.buffer < 1e9)
		printf(", \"best_ns\": %.2f, \"copy_64_ns\": %.2f, "
		       "\"ratio\": %.2f", best.buffer, best.copy,
		       best.buffer / best.copy);
	counters_print(&counters, opt.buffers);
	puts("}");
	return 0;
}
