/* SPDX-License-Identifier: MIT */
/*
 * Our front end and network driver on the vhost port of dpdk-testpmd, which
 * sends back whatever comes: split and packed rings, with and without an IOMMU
 * whose misses our front end answers.
 */
#define _GNU_SOURCE
#include <vireo/driver_net.h>

#include "program.h"
#include "vtest.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TESTPMD		"/usr/bin/dpdk-testpmd"
#define PACKETS		400u
#define BATCH		16u
#define SLOT		4096u	/* of a packet that is sent */
#define BIT(n)		(1ull << (n))

static char sock[64], port[128];
static unsigned translated;

/* Pages of 64 KiB, so that there is something to miss. */
static int translate(void *ctx, uint64_t iova, unsigned perm,
		     struct vhu_client_map *map)
{
	const struct program *p = ctx;
	uint64_t at = iova - p->mem.window.addr.v;

	(void)perm;
	if (at >= PROGRAM_WINDOW)
		return -1;
	at &= ~(uint64_t)0xffff;
	map->iova = p->mem.window.addr.v + at;
	map->host = p->mem.window.host + at;
	map->size = 0x10000;
	map->perm = VIO_PERM_RW;
	translated++;
	return 0;
}

static const struct vhu_client_ops ops = { .translate = translate };

static void start(struct program *p)
{
	static const char *args[] = {
		TESTPMD, "-l", "0,1", "--main-lcore", "0", "--no-huge",
		"-m", "256", "--no-pci", "--no-shconf", "--vdev", port, "--",
		"--total-num-mbufs=8192", "--nb-cores=1",
		"--disable-link-check", NULL,
	};
	int in[2];

	snprintf(sock, sizeof(sock), "/tmp/vireo-testpmd-%d", getpid());
	snprintf(port, sizeof(port),
		 "net_vhost0,iface=%s,queues=1,iommu-support=1", sock);
	/* It ends when its input does. */
	CHECK_EQ(pipe2(in, O_CLOEXEC), 0);
	CHECK_EQ(dup2(in[0], STDIN_FILENO), STDIN_FILENO);
	close(in[0]);
	program_spawn_peer(p, args, sock);
	p->conf.queue_pairs = true;
	p->conf.ops = &ops;
	p->conf.ops_ctx = p;
	p->conf.iommu = true;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct traffic {
	struct program *p;
	struct vio_netdrv net;
	struct vtest_rand rand;
	unsigned round, sent, done, back, came;
	bool lossy;		/* it drops what it has no address for */
	unsigned len[PACKETS];
	unsigned char tag[PACKETS];
};

static void send_some(struct traffic *t)
{
	while (t->sent < PACKETS && t->sent - t->done < BATCH) {
		unsigned char *at = t->p->data + t->sent % BATCH * SLOT +
				    VIO_NETDRV_HEADROOM;
		struct vio_seg seg = { .base = at };
		unsigned len = 64 + (unsigned)vtest_below(&t->rand, 1400);

		t->len[t->sent] = len;
		t->tag[t->sent] = (unsigned char)vtest_below(&t->rand, 256);
		memset(at, t->tag[t->sent], len);
		memcpy(at, "\x02\0\0\0\0\1\x02\0\0\0\0\2\x88\xb5", 14);
		memcpy(at + 14, &t->sent, sizeof(t->sent));
		memcpy(at + 18, &t->round, sizeof(t->round));
		seg.len = len;
		CHECK_EQ(vio_netdrv_send(&t->net, 0, &seg, 1, NULL, at),
			 VIO_OK);
		t->sent++;
	}
}

/* They come back as they went, in their order. */
static void check_packet(struct traffic *t, const struct vio_netdrv_packet *k)
{
	const unsigned char *at = k->seg[0].base;
	unsigned nr, round;

	CHECK_EQ(k->nr, 1);
	memcpy(&nr, at + 14, sizeof(nr));
	memcpy(&round, at + 18, sizeof(round));
	/* Given up already, and late. */
	if (round != t->round)
		return;
	if (t->lossy)
		CHECK_GE(nr, t->back);
	else
		CHECK_EQ(nr, t->back);
	CHECK_LT(nr, t->sent);
	CHECK_EQ(k->len, t->len[nr]);
	for (unsigned i = 22; i < k->len; i++)
		CHECK_EQ(at[i], t->tag[nr]);
	t->back = nr + 1;
	t->came++;
}

/* All went, and came back or the last were lost. */
static bool over(const struct traffic *t, int64_t last)
{
	return t->done == PACKETS &&
		(t->back == PACKETS || (t->lossy && now_ms() - last > 100));
}

static void exchange(struct traffic *t)
{
	int64_t last = now_ms(), end = last + 60000;
	struct vio_netdrv_packet k;

	t->round++;
	t->sent = t->done = t->back = t->came = 0;
	while (!over(t, last)) {
		send_some(t);
		vio_netdrv_commit(&t->net, 0);
		CHECK_GE(vhu_client_events(t->p->client), 0);
		while (vio_netdrv_sent(&t->net, 0))
			t->done++;
		while (vio_netdrv_receive(&t->net, 0, &k)) {
			check_packet(t, &k);
			vio_netdrv_recycle(&t->net, 0, &k);
			last = now_ms();
		}
		if (now_ms() > end)
			FAIL("%u sent, %u taken, %u came back", t->sent,
			     t->done, t->back);
		usleep(50);
	}
}

static void session(struct program *p, uint64_t features)
{
	struct vio_netdrv_conf conf = {
		.wanted = { { features | BIT(VIRTIO_F_VERSION_1) |
			      BIT(VIRTIO_NET_F_MRG_RXBUF), 0 } },
		.limits = { .size = 256, .indirect_max = 4 },
		.rx_buffers = 128, .rx_len = 2048,
	};
	static struct traffic t;

	t = (struct traffic){ .p = p, .rand = vtest_rand_init(vtest_seed()) };
	translated = 0;
	program_open(p);
	program_arenas(p);
	CHECK_EQ(vio_netdrv_init(&t.net, &vhu_client_bus, p->client, &conf,
				 &p->mem), VIO_OK);
	CHECK_EQ(t.net.drv.features.w[0] & features, features);
	t.lossy = features & BIT(VIRTIO_F_ACCESS_PLATFORM);
	/* In the end it knows all addresses, and loses nothing. */
	for (unsigned i = 0; i < 50 && t.came < PACKETS; i++)
		exchange(&t);
	CHECK_EQ(t.came, PACKETS);
	/* Six parts of rings are told; more are pages that it missed. */
	if (features & BIT(VIRTIO_F_ACCESS_PLATFORM))
		CHECK_GT(translated, 6 + 6);
	else
		CHECK_EQ(translated, 0);
	/* The last session had it all; a report is never seen half made. */
	if (features == (BIT(VIRTIO_F_ACCESS_PLATFORM) |
			 BIT(VIRTIO_F_RING_PACKED)))
		program_report(p, "dpdk-testpmd", t.net.drv.features.w[0]);
	vio_netdrv_reset(&t.net);
	vhu_client_close(p->client);
	p->client = NULL;
}

TEST("testpmd's vhost port: packets there and back, split, packed, IOMMU", "")
{
	struct program p;

	if (access(TESTPMD, X_OK) || geteuid())
		SKIP("needs dpdk-testpmd, and to be root for it");
	start(&p);
	session(&p, 0);
	session(&p, BIT(VIRTIO_F_RING_PACKED));
	session(&p, BIT(VIRTIO_F_ACCESS_PLATFORM));
	session(&p, BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED));
	program_stop_peer(&p);
	unlink(sock);
}
