/* SPDX-License-Identifier: MIT */
/* vireo-net as a program. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vireo/driver_net.h>
#include <vireo/vhu_msg.h>

#include "test/host/peer.h"
#include "vtest.h"

#define PACKETS 32u

static struct peer p;
static struct front f;
static struct vio_netdrv net;

static struct vio_netdrv_conf conf_of(bool packed, bool in_order, bool merge)
{
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { .size = 128, .indirect_max = 4 },
		.rx_buffers = 64, .rx_len = merge ? 1024 : 2048,
	};

	if (!packed)
		vio_feature_clear(&c.wanted, VIRTIO_F_RING_PACKED);
	if (!in_order)
		vio_feature_clear(&c.wanted, VIRTIO_F_IN_ORDER);
	if (!merge)
		vio_feature_clear(&c.wanted, VIRTIO_NET_F_MRG_RXBUF);
	return c;
}

static void net_init(const struct vio_netdrv_conf *c)
{
	CHECK_EQ(vio_netdrv_init(&net, &vhu_client_bus, f.client, c,
				 &f.drv_mem), VIO_OK);
	CHECK_EQ(vio_netdrv_command(&net, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		 VIO_OK);
}

static void net_open(const struct vio_netdrv_conf *c)
{
	CHECK(front_open_as(&f, p.socket, -1, true));
	net_init(c);
}

/* Send @PACKETS that differ, of @len bytes each. */
static void send_all(unsigned char *data, uint32_t len)
{
	for (unsigned i = 0; i < PACKETS; i++) {
		unsigned char *at = data + i * 2048 + VIO_NETDRV_HEADROOM;
		struct vio_seg seg = { at, len };

		for (uint32_t k = 0; k < len; k++)
			at[k] = (unsigned char)(i + k);
		CHECK_EQ(vio_netdrv_send(&net, 0, &seg, 1, NULL, at), VIO_OK);
	}
	vio_netdrv_commit(&net, 0);
}

/* They come back as they went, within 30 seconds. */
static void expect_all(uint32_t len)
{
	struct vio_netdrv_packet pkt;
	unsigned n = 0, tries = 0;

	while (n < PACKETS && tries++ < 30000) {
		if (!vio_netdrv_receive(&net, 0, &pkt)) {
			usleep(1000);
			continue;
		}
		CHECK_EQ(pkt.len, len);
		for (unsigned s = 0, k = 0; s < pkt.nr; s++)
			for (unsigned j = 0; j < pkt.seg[s].len; j++, k++)
				CHECK_EQ(((unsigned char *)pkt.seg[s].base)[j],
					 (unsigned char)(n + k));
		vio_netdrv_recycle(&net, 0, &pkt);
		n++;
	}
	CHECK_EQ(n, PACKETS);
	for (n = 0; n < PACKETS && tries++ < 60000;)
		if (vio_netdrv_sent(&net, 0))
			n++;
		else
			usleep(1000);
	CHECK_EQ(n, PACKETS);
	vio_netdrv_commit(&net, 0);
}

TEST("vireo-net echo: packets come back, every kind of ring, front end after front end",
     "")
{
	char stats[128];

	peer_init(&p);
	snprintf(stats, sizeof(stats), "--stats-file=%s", p.stats);
	PEER_START(&p, "vireo-net", "--backend=echo",
		   "--mac=52:56:00:00:00:07", "--mtu=1400", stats);
	for (unsigned i = 0; i < 8; i++) {
		struct vio_netdrv_conf c = conf_of(i & 1, i & 2, i & 4);
		unsigned char *data;

		net_open(&c);
		CHECK_EQ(net.mac[5], 7);
		CHECK_EQ(net.mtu, 1400);
		CHECK(net.link_up);
		data = front_data(&f, PACKETS * 2048);
		send_all(data, 60);
		expect_all(60);
		send_all(data, 1414);
		expect_all(1414);
		front_close(&f);
	}
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("vireo-net: a driver that polls gets back what it sent, though nothing follows",
     "")
{
	static const char *const how[] = { "--poll-always", "--poll-us=50" };
	/* No record of what is in flight. */
	const struct vhu_client_conf plain = {
		.socket_fd = -1, .queue_pairs = true,
		.protocol_off = VHU_PF(INFLIGHT_SHMFD),
	};

	peer_init(&p);
	for (unsigned i = 0; i < 2; i++) {
		PEER_START(&p, "vireo-net", "--backend=echo", how[i]);
		for (unsigned in_order = 0; in_order < 2; in_order++) {
			struct vio_netdrv_conf c =
				conf_of(false, in_order, true);

			vio_feature_clear(&c.wanted, VIRTIO_F_EVENT_IDX);
			CHECK(front_open_with(&f, p.socket, &plain));
			net_init(&c);
			vio_vq_quiet(&net.pair[0].tx);
			send_all(front_data(&f, PACKETS * 2048), 60);
			expect_all(60);
			front_close(&f);
		}
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
	}
	peer_fini(&p);
}

TEST("vireo-net null: packets vanish and are counted", "")
{
	struct vio_netdrv_conf c = conf_of(true, true, true);
	struct vio_netdrv_packet pkt;
	unsigned n = 0, tries = 0;

	peer_init(&p);
	PEER_START(&p, "vireo-net", "--backend=null", "--poll-us=0");
	net_open(&c);
	send_all(front_data(&f, PACKETS * 2048), 100);
	while (n < PACKETS && tries++ < 30000)
		if (vio_netdrv_sent(&net, 0))
			n++;
		else
			usleep(1000);
	CHECK_EQ(n, PACKETS);
	CHECK(!vio_netdrv_receive(&net, 0, &pkt));
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("vireo-net: mistakes on the command line are named with their cure", "")
{
	static const char *const wrong[][2] = {
		{ "--queue-size=100", "is no power of two" },
		{ "--mac=01:00:00:00:00:00", "no address of one host" },
		{ "--mac=02:00:00:00:00", "no address of one host" },
		{ "--backend=carrier-pigeon", "there is no 'carrier-pigeon'" },
	};

	peer_init(&p);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		PEER_START(&p, "vireo-net", "--backend=null", wrong[i][0]);
		CHECK_EQ(peer_wait(&p), 1);
		CHECK(peer_said(&p, wrong[i][1]));
	}
	peer_fini(&p);
}

/* Nothing but what the program made of it is on this wire. */
static void expect_rarp(const uint8_t mac[6])
{
	static const uint8_t arp[10] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };
	struct vio_netdrv_packet pkt;
	const uint8_t *at;
	unsigned tries = 0;

	while (!vio_netdrv_receive(&net, 0, &pkt)) {
		CHECK_LT(tries++, 30000);
		usleep(1000);
	}
	CHECK_EQ(pkt.len, 60);
	at = pkt.seg[0].base;
	CHECK_MEMEQ(at, "\xff\xff\xff\xff\xff\xff", 6);
	CHECK_MEMEQ(at + 6, mac, 6);
	CHECK_MEMEQ(at + 12, arp, sizeof(arp));
	CHECK_MEMEQ(at + 22, mac, 6);
	CHECK_MEMEQ(at + 32, mac, 6);
	vio_netdrv_recycle(&net, 0, &pkt);
	CHECK(!vio_netdrv_receive(&net, 0, &pkt));
}

TEST("vireo-net: the MTU that it is told, the packet that shows where the guest is",
     "")
{
	static const uint8_t mac[6] = { 0x52, 0x56, 0, 0, 0, 7 };
	struct vio_netdrv_conf c = conf_of(false, false, true);

	peer_init(&p);
	PEER_START(&p, "vireo-net", "--backend=echo", "--mtu=1400");
	net_open(&c);
	CHECK_EQ(vhu_client_set_mtu(f.client, 1280), 0);
	CHECK_EQ(vhu_client_set_mtu(f.client, 60), -EIO);
	CHECK_EQ(vhu_client_send_rarp(f.client, mac), 0);
	expect_rarp(mac);
	CHECK_EQ(vio_netdrv_reset(&net), VIO_OK);
	front_close(&f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}
