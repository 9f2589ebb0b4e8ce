/* SPDX-License-Identifier: MIT */
/* The kernel gives each packet to the queue that the device would choose. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/tap_steer.h"
#include "core/device/net_hash.h"
#include "vtest.h"

enum { QUEUES = 4, LEN = 120 };

static int queue[QUEUES], wire;
static struct vtest_rand r;

/* An interface with four queues in a network of our own. */
static bool make_tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI |
					IFF_MULTI_QUEUE };
	struct sockaddr_ll at = { .sll_family = AF_PACKET };

	if (unshare(CLONE_NEWNET))
		return false;
	strcpy(ifr.ifr_name, "vt0");
	for (unsigned i = 0; i < QUEUES; i++) {
		queue[i] = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
		if (queue[i] < 0 || ioctl(queue[i], TUNSETIFF, &ifr))
			return false;
	}
	wire = socket(AF_PACKET, SOCK_RAW, 0);
	ifr.ifr_flags = IFF_UP;
	CHECK_EQ(ioctl(wire, SIOCSIFFLAGS, &ifr), 0);
	at.sll_ifindex = (int)if_nametoindex("vt0");
	CHECK_EQ(bind(wire, (struct sockaddr *)&at, sizeof(at)), 0);
	return true;
}

/* IPv4, IPv6, a fragment, or something else. */
static void make_packet(unsigned char *p, unsigned kind)
{
	static const unsigned char protos[] = { 6, 17, 1, 132 };

	vtest_fill(&r, p, LEN);
	p[0] = 2;
	p[12] = kind < 2 ? 0x08 : kind == 2 ? 0x86 : 0x88;
	p[13] = kind < 2 ? 0x00 : kind == 2 ? 0xdd : 0xb5;
	if (kind < 2) {
		p[14] = 0x45;
		p[16] = 0;
		p[17] = LEN - 14;
		p[20] = 0x40;
		p[21] = 0;
		if (kind == 1)
			p[20] = 0x20;
		p[23] = protos[vtest_below(&r, 4)];
	} else if (kind == 2) {
		p[14] = 0x60;
		p[18] = 0;
		p[19] = LEN - 54;
		p[20] = protos[vtest_below(&r, 4)];
	}
	/* Where TCP's header says that it ends. */
	p[kind == 2 ? 66 : 46] = 0x50;
}

static unsigned expected(const struct vio_net_steering *s,
			 const unsigned char *p)
{
	const struct vio_seg seg = { (void *)(uintptr_t)p, LEN };
	const struct vio_net_packet pkt = { .seg = &seg, .nr_seg = 1,
					    .len = LEN };
	struct vio_net_flow flow;
	uint32_t hash;

	vio_net_flow_read(&pkt, &flow);
	if (vio_net_flow_hash(&flow, s->hash_types, &s->key, &hash) ==
	    VIRTIO_NET_HASH_REPORT_NONE)
		return s->table.unclassified;
	return s->table.pair[hash & s->table.mask];
}

/* On which queue it comes out; others, of the host's own, may come too. */
static unsigned came_out(const unsigned char *p)
{
	unsigned char got[2048];

	CHECK_EQ(send(wire, p, LEN, 0), LEN);
	for (unsigned tries = 0; tries < 1000000; tries++)
		for (unsigned i = 0; i < QUEUES; i++)
			if (read(queue[i], got, sizeof(got)) == LEN &&
			    !memcmp(got, p, LEN))
				return i;
	FAIL("a packet is lost");
	return QUEUES;
}

TEST("eBPF gives packets of a tap interface to the queues that the table says",
     "")
{
	static const uint32_t types[] = {
		VIO_NET_HASH_TYPES, VIRTIO_NET_HASH_TYPE_IPv4 |
		VIRTIO_NET_HASH_TYPE_TCPv6, VIRTIO_NET_HASH_TYPE_UDPv4 |
		VIRTIO_NET_HASH_TYPE_IPv6, 0,
	};
	struct vio_net_steering s = { .rss = true };
	unsigned char key[40], packet[LEN];
	unsigned seen[QUEUES] = { 0 };
	struct tap_steer *t;

	r = vtest_rand_init(vtest_seed());
	if (!make_tap())
		SKIP("needs root, a network namespace and a tap interface");
	t = tap_steer_open();
	if (!t)
		SKIP("this kernel has no eBPF for us");
	for (unsigned round = 0; round < 8; round++) {
		vtest_fill(&r, key, sizeof(key));
		vio_net_toeplitz_set(&s.key, key, sizeof(key));
		s.hash_types = types[round % 4];
		s.table.mask = round < 4 ? 127 : 3;
		s.table.unclassified = (uint16_t)(round % QUEUES);
		for (unsigned i = 0; i < VIO_NET_RSS_TABLE; i++)
			s.table.pair[i] =
				(uint8_t)vtest_below(&r, QUEUES);
		CHECK_EQ(tap_steer_set(t, queue[0], &s), 0);
		for (unsigned i = 0; i < 64; i++) {
			unsigned to;

			make_packet(packet, i % 4);
			to = came_out(packet);
			CHECK_EQ(to, expected(&s, packet));
			seen[to]++;
		}
	}
	for (unsigned i = 0; i < QUEUES; i++)
		CHECK(seen[i]);
	s.rss = false;
	CHECK_EQ(tap_steer_set(t, queue[0], &s), 0);
	CHECK_LT(came_out(packet), QUEUES);
	tap_steer_close(t);
}
