/* SPDX-License-Identifier: MIT */
/*
 * vublk - loads a vhost-user block back end, anyone's, with random reads from
 * one busy-polling thread, or with writes that it reads back, and says what
 * came of it as one line of JSON. It knows nothing of who runs it and compares
 * nothing.
 */
#define _GNU_SOURCE
#include <vireo/driver_blk.h>
#include <vireo/vhu_client.h>

#include <dirent.h>
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

#define DEPTH_MAX	1024
#define ENTRIES		3	/* of the ring: header, data, status */
#define LOOK		64	/* rounds without a look at the clock */
#define LATENCIES	(1u << 21)	/* kept, at most */

struct options {
	const char *socket;
	unsigned depth;
	unsigned size;		/* bytes a read */
	unsigned ring;		/* entries */
	double warmup;		/* seconds */
	double seconds;
	int core;		/* to run on, -1: any */
	int pid;		/* the back end's, 0: unknown */
	bool check;		/* each block begins with its own offset */
	bool in_order;
	bool no_record;		/* of requests in flight */
	bool indirect;
	bool packed;
	bool verify;		/* write, read back, read again later */
	bool latency;		/* of each read, at depth 1 */
	bool fill;		/* write all blocks before */
	unsigned queues;
	unsigned batch;		/* reads shown to the device at a time */
	unsigned rate;		/* reads a second; 0: as many as it goes */
};

struct load {
	const struct options *opt;
	struct vhu_client *client;
	unsigned batch;
	struct vio_blkdrv blk;
	unsigned char *data;
	struct vio_blkdrv_req req[DEPTH_MAX];
	struct vio_seg seg[DEPTH_MAX];
	uint64_t blocks;
	uint64_t rand;
	uint64_t done;
	uint64_t errors;
	/* Of depth 1: when it went, and how long each took. */
	uint64_t sent_ns;
	uint32_t *latency;	/* ns */
	unsigned nr_latency;
	/* To verify: what each block was written with last, 0 for never. Each
	 * request has blocks of its own. */
	uint32_t *version;
	uint8_t phase[DEPTH_MAX];
};

static void die(const char *what, int err)
{
	fprintf(stderr, "vublk: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nanoseconds on a processor of all threads of a process; 0: unknown. */
static uint64_t cpu_ns(int pid)
{
	char path[300];
	uint64_t sum = 0, ns;
	struct dirent *e;
	FILE *f;
	DIR *d;

	if (!pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat",
			 pid, e->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%" SCNu64, &ns) == 1)
			sum += ns;
		fclose(f);
	}
	if (d)
		closedir(d);
	return sum;
}

static uint64_t next_random(struct load *l)
{
	l->rand ^= l->rand << 13;
	l->rand ^= l->rand >> 7;
	l->rand ^= l->rand << 17;
	return l->rand;
}

static unsigned queue_of(const struct load *l, const struct vio_blkdrv_req *req)
{
	return (unsigned)(req - l->req) % l->opt->queues;
}

/* A block among @blocks; the high half of a product, not a division. */
static uint64_t any_block(struct load *l, uint64_t blocks)
{
	return (uint64_t)((unsigned __int128)next_random(l) * blocks >> 64);
}

static void pattern(uint64_t *words, size_t n, uint64_t block, uint32_t version)
{
	uint64_t x = (block + 1) * 0x9e3779b97f4a7c15u ^ version;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		words[i] = x;
	}
}

enum { WRITING, READING_BACK, READING_AGAIN };

/* The next step of a request that verifies; gives its block. */
static uint64_t next_step(struct load *l, struct vio_blkdrv_req *req)
{
	unsigned i = (unsigned)(req - l->req), sectors = l->opt->size / 512;
	uint64_t mine = l->blocks / l->opt->depth;
	uint64_t block = any_block(l, mine) * l->opt->depth + i;
	size_t words = l->opt->size / sizeof(uint64_t);
	void *data = req->seg->base;

	req->type = VIRTIO_BLK_T_IN;
	if (l->phase[i] == READING_BACK)
		return req->sector / sectors;
	if (l->phase[i] == READING_AGAIN)
		return block;
	req->type = VIRTIO_BLK_T_OUT;
	l->version[block]++;
	pattern(data, words, block, l->version[block]);
	return block;
}

static void verify(struct load *l, struct vio_blkdrv_req *req)
{
	static uint64_t want[(1u << 24) / sizeof(uint64_t)];
	unsigned i = (unsigned)(req - l->req);
	uint64_t block = req->sector / (l->opt->size / 512);

	if (req->type == VIRTIO_BLK_T_IN && l->version[block]) {
		pattern(want, l->opt->size / sizeof(uint64_t), block,
			l->version[block]);
		if (memcmp(req->seg->base, want, l->opt->size))
			l->errors++;
	}
	if (req->type == VIRTIO_BLK_T_IN)
		memset(req->seg->base, 0, l->opt->size);
	l->phase[i] = (uint8_t)((l->phase[i] + 1) % 3);
}

static void submit(struct load *l, struct vio_blkdrv_req *req)
{
	uint64_t block;
	int err;

	block = l->opt->verify ? next_step(l, req) : any_block(l, l->blocks);
	req->sector = block * (l->opt->size / VIRTIO_BLK_SECTOR_SIZE);
	if (l->opt->latency)
		l->sent_ns = now_ns();
	err = vio_blkdrv_submit(&l->blk, queue_of(l, req), req);
	if (err) {
		fprintf(stderr, "vublk: submit: error %d of the driver\n",
			err);
		exit(1);
	}
}

static void check(struct load *l, const struct vio_blkdrv_req *req)
{
	uint64_t first;

	memcpy(&first, req->seg->base, sizeof(first));
	if (first != req->sector * VIRTIO_BLK_SECTOR_SIZE ||
	    req->used_len != l->opt->size + 1)
		l->errors++;
}

/* At a rate, the next one goes when it is time. */
static void wait_for_turn(const struct load *l)
{
	uint64_t at = l->sent_ns + 1000000000u / l->opt->rate;

	while (now_ns() < at)
		;
}

static void finished(struct load *l, struct vio_blkdrv_req *req)
{
	l->done++;
	if (req->status)
		l->errors++;
	if (l->opt->latency && l->nr_latency < LATENCIES)
		l->latency[l->nr_latency++] =
			(uint32_t)(now_ns() - l->sent_ns);
	if (l->opt->check)
		check(l, req);
	if (l->opt->verify)
		verify(l, req);
	if (l->opt->rate)
		wait_for_turn(l);
}

/* What one queue has; true if there was anything. */
static bool serve(struct load *l, unsigned queue)
{
	struct vio_blkdrv_req *req;
	unsigned batch = 0;

	while ((req = vio_blkdrv_poll(&l->blk, queue))) {
		finished(l, req);
		submit(l, req);
		if (++batch % l->batch == 0)
			vio_blkdrv_commit(&l->blk, queue);
	}
	if (batch)
		vio_blkdrv_commit(&l->blk, queue);
	return batch > 0;
}

static bool broken(const struct load *l)
{
	for (unsigned i = 0; i < l->opt->queues; i++)
		if (l->blk.queue[i].vq.broken)
			return true;
	return false;
}

/* Reads go round until @deadline; those still in flight stay there. */
static void run(struct load *l, uint64_t deadline)
{
	unsigned spin = 0;

	for (;;) {
		bool any = false;

		for (unsigned i = 0; i < l->opt->queues; i++)
			any |= serve(l, i);
		if (++spin % LOOK == 0 && now_ns() >= deadline)
			return;
		if (!any && broken(l)) {
			fprintf(stderr, "vublk: the device broke the ring\n");
			exit(1);
		}
	}
}

static void *share(int *fd, size_t len)
{
	void *p;

	*fd = memfd_create("vublk", MFD_CLOEXEC);
	if (*fd < 0 || ftruncate(*fd, (off_t)len) < 0)
		die("shared memory", -errno);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		 *fd, 0);
	if (p == MAP_FAILED)
		die("shared memory", -errno);
	return p;
}

static void start(struct load *l)
{
	const struct options *o = l->opt;
	struct vio_vq_limits limits = { .size = (uint16_t)o->ring,
					.indirect_max = 4 };
	struct vio_features wanted = vio_blkdrv_features();
	size_t rings = vio_blkdrv_shared_size(&limits, o->queues);
	size_t priv = vio_blkdrv_private_size(&limits, o->queues);
	struct vhu_client_conf conf = { .socket_path = o->socket };
	struct vio_drv_mem mem;
	size_t len;
	int err;

	rings = (rings + 4095) & ~(size_t)4095;
	len = rings + (size_t)o->depth * o->size;
	memset(&mem, 0, sizeof(mem));
	mem.window.host = share(&conf.mem_fd, len);
	mem.window.addr = vio_addr_of(1u << 30);
	mem.window.size = len;
	mem.shared.at = mem.window.host;
	mem.shared.left = rings;
	mem.priv.at = malloc(priv);
	mem.priv.left = mem.priv.at ? priv : 0;
	l->data = mem.window.host + rings;
	conf.window = mem.window;
	if (o->no_record)	/* INFLIGHT_SHMFD */
		conf.protocol_off = 1u << 12;
	err = vhu_client_open(&l->client, &conf);
	if (err)
		die(o->socket, err);
	if (!o->in_order)
		vio_feature_clear(&wanted, VIRTIO_F_IN_ORDER);
	if (!o->indirect)
		vio_feature_clear(&wanted, VIRTIO_F_INDIRECT_DESC);
	if (o->packed)
		vio_feature_set(&wanted, VIRTIO_F_RING_PACKED);
	err = vio_blkdrv_init(&l->blk, &vhu_client_bus, l->client, &wanted,
			      &limits, o->queues, &mem);
	if (err) {
		fprintf(stderr, "vublk: %s: the device does not start "
			"(error %d)\n", o->socket, err);
		exit(1);
	}
	l->blocks = l->blk.capacity_sectors /
		    (o->size / VIRTIO_BLK_SECTOR_SIZE);
	if (l->blocks < o->depth || l->blk.nr_queues < o->queues) {
		fprintf(stderr, "vublk: the disk has fewer blocks, or queues, than are asked for\n");
		exit(1);
	}
	l->latency = malloc(LATENCIES * sizeof(*l->latency));
	l->version = calloc(l->blocks, sizeof(*l->version));
	if (!l->latency || !l->version)
		die("memory", -ENOMEM);
	for (unsigned i = 0; i < o->queues; i++)
		vio_vq_quiet(&l->blk.queue[i].vq);
}

/* Each block begins with its own offset. */
static void write_all(struct load *l)
{
	struct vio_seg seg = { l->data, l->opt->size };
	struct vio_blkdrv_req req = {
		.type = VIRTIO_BLK_T_OUT, .seg = &seg, .nr_seg = 1,
	};
	uint64_t at;

	memset(l->data, 0x5a, l->opt->size);
	for (uint64_t block = 0; block < l->blocks; block++) {
		at = block * l->opt->size;
		memcpy(l->data, &at, sizeof(at));
		req.sector = at / VIRTIO_BLK_SECTOR_SIZE;
		if (vio_blkdrv_sync(&l->blk, 0, &req)) {
			fprintf(stderr, "vublk: a write failed\n");
			exit(1);
		}
	}
}

static void fill(struct load *l)
{
	unsigned i;

	if (l->opt->fill)
		write_all(l);
	for (i = 0; i < l->opt->depth; i++) {
		l->seg[i].base = l->data + (size_t)i * l->opt->size;
		l->seg[i].len = l->opt->size;
		l->req[i].type = VIRTIO_BLK_T_IN;
		l->req[i].seg = &l->seg[i];
		l->req[i].nr_seg = 1;
		submit(l, &l->req[i]);
	}
	for (i = 0; i < l->opt->queues; i++)
		vio_blkdrv_commit(&l->blk, i);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report_latency(const struct load *l)
{
	static const double parts[] = { 0.5, 0.9, 0.99, 0.999 };
	static const char *const names[] = { "p50", "p90", "p99", "p999" };
	unsigned n = l->nr_latency;

	qsort(l->latency, n, sizeof(*l->latency), by_size);
	for (unsigned i = 0; n && i < 4; i++)
		printf(", \"%s_us\": %.3f", names[i],
		       (double)l->latency[(unsigned)(n * parts[i])] / 1e3);
}

static void report(const struct load *l, uint64_t ns, uint64_t cpu)
{
	const struct vio_vq_stats *s = &l->blk.queue[0].vq.stats;

	printf("{\"depth\": %u, \"size\": %u, \"ios\": %" PRIu64
	       ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, \"iops\": %.1f",
	       l->opt->depth, l->opt->size, l->done, l->errors,
	       (double)ns / 1e9, (double)l->done * 1e9 / (double)ns);
	printf(", \"features\": \"0x%" PRIx64 "\", \"kicks\": %" PRIu64
	       ", \"quiet\": %" PRIu64, l->blk.drv.features.w[0], s->kicks,
	       s->quiet);
	report_latency(l);
	if (l->opt->pid)
		printf(", \"backend_cpu_ns_per_io\": %.1f, "
		       "\"backend_cpu\": %.4f",
		       l->done ? (double)cpu / (double)l->done : 0.0,
		       (double)cpu / (double)ns);
	printf("}\n");
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("cannot run on that core", -errno);
}

static int usage(void)
{
	printf("usage: vublk --socket PATH [options]\n"
	       "Random reads from a vhost-user block back end; one line of "
	       "JSON.\n"
	       "  --depth N     reads in flight (1 to %u; 1)\n"
	       "  --size BYTES  of each read (4096)\n"
	       "  --ring N      entries of the ring (512; a power of two); a read\n"
	       "                takes three, with --indirect one\n"
	       "  --seconds S   how long to measure (1)\n"
	       "  --warmup S    and how long not to, before (0.2)\n"
	       "  --core N      run on this processor\n"
	       "  --pid N       the back end's, for its processor time\n"
	       "  --check       each block must begin with its offset\n"
	       "  --in-order    use IN_ORDER where it is offered\n"
	       "  --no-record   have no requests in flight recorded\n"
	       "  --indirect    use INDIRECT_DESC where it is offered\n"
	       "  --packed      use RING_PACKED where it is offered\n"
	       "  --queues N    share the reads out to so many queues (1)\n"
	       "  --batch N     reads that a queue is shown at a time (a quarter of\n"
	       "                what it has in flight)\n"
	       "  --latency     how long reads take, at depth 1\n"
	       "  --rate N      and so many a second\n"
	       "  --fill        write all blocks before, each with its offset\n"
	       "  --verify      write, read back, and read again later\n",
	       DEPTH_MAX);
	return 0;
}

static bool options_ok(const struct options *o)
{
	return o->socket && o->depth && o->depth <= DEPTH_MAX &&
	       o->size && o->size % VIRTIO_BLK_SECTOR_SIZE == 0 &&
	       o->size <= 1u << 24 && o->ring <= 1024 &&
	       o->ring >= o->depth * (o->indirect ? 1 : ENTRIES) &&
	       !(o->ring & (o->ring - 1)) &&
	       o->queues && o->queues <= VIO_BLKDRV_QUEUES &&
	       o->queues <= o->depth && !(o->latency && o->depth > 1) &&
	       !(o->rate && !o->latency) &&
	       !(o->check && o->verify) &&
	       o->seconds > 0 && o->warmup >= 0;
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "depth", required_argument, NULL, 'd' },
		{ "size", required_argument, NULL, 'b' },
		{ "ring", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 't' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "core", required_argument, NULL, 'c' },
		{ "pid", required_argument, NULL, 'p' },
		{ "check", no_argument, NULL, 'k' },
		{ "in-order", no_argument, NULL, 'o' },
		{ "no-record", no_argument, NULL, 'R' },
		{ "indirect", no_argument, NULL, 'i' },
		{ "packed", no_argument, NULL, 'q' },
		{ "queues", required_argument, NULL, 'Q' },
		{ "batch", required_argument, NULL, 'B' },
		{ "fill", no_argument, NULL, 'f' },
		{ "latency", no_argument, NULL, 'l' },
		{ "rate", required_argument, NULL, 'T' },
		{ "verify", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's': o->socket = optarg; break;
		case 'd': o->depth = (unsigned)atoi(optarg); break;
		case 'b': o->size = (unsigned)atoi(optarg); break;
		case 'r': o->ring = (unsigned)atoi(optarg); break;
		case 't': o->seconds = atof(optarg); break;
		case 'w': o->warmup = atof(optarg); break;
		case 'c': o->core = atoi(optarg); break;
		case 'p': o->pid = atoi(optarg); break;
		case 'k': o->check = true; break;
		case 'o': o->in_order = true; break;
		case 'R': o->no_record = true; break;
		case 'i': o->indirect = true; break;
		case 'q': o->packed = true; break;
		case 'Q': o->queues = (unsigned)atoi(optarg); break;
		case 'B': o->batch = (unsigned)atoi(optarg); break;
		case 'f': o->fill = true; break;
		case 'l': o->latency = true; break;
		case 'T': o->rate = (unsigned)atoi(optarg); break;
		case 'v': o->verify = true; break;
		case 'h': exit(usage());
		default: return false;
		}
	}
	return optind == argc && options_ok(o);
}

int main(int argc, char **argv)
{
	struct options o = {
		.depth = 1, .size = 4096, .ring = 512, .warmup = 0.2,
		.seconds = 1, .core = -1, .queues = 1,
	};
	static struct load l;
	uint64_t from, to, cpu;

	if (!parse(&o, argc, argv)) {
		fprintf(stderr, "vublk: bad arguments; see vublk --help\n");
		return 2;
	}
	if (o.core >= 0)
		pin(o.core);
	l.opt = &o;
	l.batch = o.batch ? o.batch : o.depth / o.queues / 4 + 1;
	l.rand = 88172645463325252u;
	start(&l);
	fill(&l);
	run(&l, now_ns() + (uint64_t)(o.warmup * 1e9));
	l.done = 0;
	l.nr_latency = 0;
	cpu = cpu_ns(o.pid);
	from = now_ns();
	run(&l, from + (uint64_t)(o.seconds * 1e9));
	to = now_ns();
	cpu = cpu_ns(o.pid) - cpu;
	report(&l, to - from, cpu);
	vio_blkdrv_reset(&l.blk, NULL, NULL);
	vhu_client_close(l.client);
	return l.errors ? 1 : 0;
}
