/* SPDX-License-Identifier: MIT */
/*
 * The network driver against the network device, in memory: random packets
 * in every set of ring features through a wire that sends them back, now and
 * then late, checked byte by byte and in order.
 */
#include "loop.h"

#include <vireo/driver_net.h>
#include <vireo/net.h>

#include <stdlib.h>

#define SLOTS		32u	/* packets of ours in flight */
#define ROOM		4096u	/* bytes of each, headroom included */
#define WIRE		64u	/* packets on the way back */
#define LONGEST		3000u

struct fixture {
	struct loop loop;
	struct vio_net dev;
	struct vio_netdrv drv;
	struct vtest_rand rand;
	bool late;		/* the wire keeps packets for a while */
	bool framed;		/* a legacy device without ANY_LAYOUT */

	/* What is on the wire, in order. */
	struct { unsigned char byte[LONGEST]; uint32_t len; } wire[WIRE];
	unsigned wire_first, wire_nr;
	unsigned lost;		/* the wire was full */

	unsigned char *slot[SLOTS];
	bool busy[SLOTS];
	uint32_t next_out, next_in;	/* numbers within packets */
	unsigned got;
};

static void deliver(struct fixture *f)
{
	while (f->wire_nr) {
		unsigned at = f->wire_first % WIRE;
		struct vio_seg seg = { f->wire[at].byte, f->wire[at].len };
		const struct vio_net_packet p = { .seg = &seg, .nr_seg = 1,
						  .len = f->wire[at].len };

		if (!vio_net_receive(&f->dev, 0, &p, 1)) {
			vio_net_want_room(&f->dev, 0);
			return;
		}
		f->wire_first++;
		f->wire_nr--;
	}
}

static unsigned wire_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	struct fixture *f = backend;

	CHECK_EQ(pair, 0);
	for (unsigned i = 0; i < nr; i++) {
		unsigned at = (f->wire_first + f->wire_nr) % WIRE;
		uint32_t len = 0;

		if (f->wire_nr == WIRE)
			return i;
		CHECK_LE(pkt[i].len, LONGEST);
		for (unsigned k = 0; k < pkt[i].nr_seg; k++) {
			memcpy(f->wire[at].byte + len, pkt[i].seg[k].base,
			       pkt[i].seg[k].len);
			len += (uint32_t)pkt[i].seg[k].len;
		}
		f->wire[at].len = len;
		f->wire_nr++;
	}
	if (!f->late)
		deliver(f);
	return nr;
}

static void wire_room(void *backend, unsigned pair)
{
	(void)pair;
	deliver(backend);
}

static bool wire_step(void *ctx)
{
	struct fixture *f = ctx;
	unsigned before = f->wire_nr;

	deliver(f);
	return f->wire_nr != before;
}

static const struct vio_net_backend_ops wire_ops = {
	.send = wire_send, .room = wire_room,
};

static struct vio_netdrv_conf drv_conf(unsigned set, bool merge)
{
	static const uint8_t bits[] = {
		VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC,
		VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED,
	};
	struct vio_features ring = loop_features(set);
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { .size = 64, .indirect_max = 8 },
		.rx_buffers = merge ? 40 : 12,
		.rx_len = merge ? 500 : 4096,
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bits); i++)
		if (!vio_has(&ring, bits[i]))
			vio_feature_clear(&c.wanted, bits[i]);
	if (!merge)
		vio_feature_clear(&c.wanted, VIRTIO_NET_F_MRG_RXBUF);
	return c;
}

static bool no_layout;	/* legacy: without ANY_LAYOUT */

static void setup(struct fixture *f, unsigned set, bool merge, bool late)
{
	const struct vio_net_conf conf = {
		.mac = { 2, 0, 0, 0, 0, 9 }, .mtu = LONGEST,
	};
	struct vio_netdrv_conf c = drv_conf(set, merge);

	memset(f, 0, sizeof(*f));
	f->late = late;
	f->framed = no_layout && loop_legacy;
	f->rand = vtest_rand_init(vtest_seed() + set);
	loop_init(&f->loop, 3, vio_net_ctx_size, vtest_seed() + set);
	CHECK_EQ(vio_net_init(&f->dev, &conf, f->loop.queue, &wire_ops, f),
		 VIO_OK);
	loop_attach(&f->loop, &f->dev.dev);
	if (f->framed)
		vio_feature_clear(&f->dev.dev.offered, VIRTIO_F_ANY_LAYOUT);
	f->loop.backend_step = wire_step;
	f->loop.backend_ctx = f;
	CHECK_EQ(vio_netdrv_init(&f->drv, &loop_bus, &f->loop, &c,
				 &f->loop.drv_mem), VIO_OK);
	CHECK_EQ(f->drv.mergeable, merge);
	CHECK_EQ(f->drv.framed, f->framed);
	CHECK_EQ(f->drv.hdr_len, f->dev.hdr_len);
	CHECK_EQ(f->drv.hdr_len, loop_legacy && !merge ? 10 : 12);
	/* Packets here have no addresses worth a filter. */
	CHECK_EQ(vio_netdrv_command(&f->drv, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		 VIO_OK);
	for (unsigned i = 0; i < SLOTS; i++)
		f->slot[i] = loop_buffer(&f->loop, ROOM);
}

/* Byte @i of packet number @n, behind the number itself. */
static unsigned char pattern(uint32_t n, uint32_t i)
{
	return (unsigned char)(n * 31 + i * 7 + i / 256);
}

/* By itself, or as if it were one of many. */
static int give(struct fixture *f, const struct vio_netdrv_out *o)
{
	int err;

	if (vtest_below(&f->rand, 2))
		return vio_netdrv_send(&f->drv, 0, o->seg, o->nr, o->off,
				       o->token);
	CHECK_EQ(vio_netdrv_send_many(&f->drv, 0, o, 1, &err), !err);
	return err;
}

static bool send_one(struct fixture *f)
{
	unsigned s = (unsigned)vtest_below(&f->rand, SLOTS), nr = 0;
	uint32_t len = 14 + (uint32_t)vtest_below(&f->rand, 200), at = 0;
	unsigned char *p = f->slot[s] + VIO_NETDRV_HEADROOM;
	struct vio_seg seg[3];
	int err;

	if (f->busy[s])
		return false;
	if (vtest_below(&f->rand, 4) == 0)
		len = 14 + (uint32_t)vtest_below(&f->rand, LONGEST - 13);
	for (uint32_t i = 4; i < len; i++)
		p[i] = pattern(f->next_out, i);
	memcpy(p, &f->next_out, 4);
	while (at < len) {
		uint32_t n = 1 + (uint32_t)vtest_below(&f->rand, len - at);

		n = nr == 2 ? len - at : n;
		seg[nr++] = (struct vio_seg){ p + at, n };
		at += n;
	}
	err = give(f, &(struct vio_netdrv_out){ seg, nr, NULL, &f->slot[s] });
	if (err == VIO_E_NOSPC)
		return false;
	CHECK_EQ(err, VIO_OK);
	f->busy[s] = true;
	f->next_out++;
	return true;
}

static void reclaim(struct fixture *f)
{
	unsigned char **slot;
	void *token[4];
	unsigned n = 0;

	if (vtest_below(&f->rand, 2))
		n = vio_netdrv_sent_many(&f->drv, 0, token, 4);
	for (;;) {
		slot = n ? token[--n] : vio_netdrv_sent(&f->drv, 0);
		if (!slot)
			return;
		CHECK(f->busy[slot - f->slot]);
		f->busy[slot - f->slot] = false;
	}
}

static void check_packet(struct fixture *f,
			 const struct vio_netdrv_packet *pkt)
{
	static unsigned char all[LONGEST];
	uint32_t n, at = 0;

	CHECK_LE(pkt->len, LONGEST);
	for (unsigned i = 0; i < pkt->nr; i++) {
		memcpy(all + at, pkt->seg[i].base, pkt->seg[i].len);
		at += (uint32_t)pkt->seg[i].len;
	}
	CHECK_EQ(at, pkt->len);
	memcpy(&n, all, 4);
	/* In order; gaps only where the wire was full. */
	CHECK_GE(n, f->next_in);
	f->next_in = n + 1;
	for (uint32_t i = 4; i < at; i++)
		if (all[i] != pattern(n, i))
			FAIL("packet %u differs at byte %u of %u", n, i, at);
	f->got++;
}

static void receive(struct fixture *f)
{
	struct vio_netdrv_packet pkt[5], *p[5];
	unsigned n, i;

	for (i = 0; i < 5; i++)
		p[i] = &pkt[i];
	do {
		n = vio_netdrv_receive_many(&f->drv, 0, p, 5);
		for (i = 0; i < n; i++)
			check_packet(f, &pkt[i]);
		vio_netdrv_recycle_many(&f->drv, 0, p, n);
	} while (n && vtest_below(&f->rand, 2));
	while (vio_netdrv_receive(&f->drv, 0, &pkt[0])) {
		check_packet(f, &pkt[0]);
		vio_netdrv_recycle(&f->drv, 0, &pkt[0]);
	}
	CHECK(!f->drv.pair[0].rx.broken);
	CHECK(!f->drv.pair[0].tx.broken);
}

static void run(unsigned set, bool merge, bool late)
{
	struct fixture *f = malloc(sizeof(*f));
	const struct vio_net_stats *st;
	unsigned i;

	CHECK(f);
	setup(f, set, merge, late);
	for (i = 0; i < 4000; i++) {
		switch (vtest_below(&f->rand, 6)) {
		case 0: case 1: case 2:
			send_one(f);
			break;
		case 3:
			vio_netdrv_commit(&f->drv, 0);
			break;
		case 4:
			loop_step(&f->loop);
			break;
		default:
			reclaim(f);
			receive(f);
		}
	}
	/* All that is still under way comes in, by kicks alone. */
	for (i = 0; i < 200; i++) {
		vio_netdrv_commit(&f->drv, 0);
		while (loop_step(&f->loop))
			;
		reclaim(f);
		receive(f);
	}
	st = &f->dev.pair[0].stats;
	CHECK_EQ(f->wire_nr, 0);
	CHECK_GT(f->got, 500);
	CHECK_EQ(f->drv.pair[0].bad, 0);
	CHECK_EQ(f->got + st->tx_dropped, f->next_out);
	CHECK_EQ(st->rx_packets, f->got);
	CHECK_EQ(st->tx_malformed + st->rx_too_long + st->rx_no_room, 0);
	for (i = 0; i < SLOTS; i++)
		CHECK(!f->busy[i]);
	loop_fini(&f->loop);
	free(f);
}

TEST("net: packets come back whole and in order, every feature set",
     "net.driver.packet-transmission.1 "
     "net.driver.packet-transmission.2 "
     "net.driver.setting-up-receive-buffers.2")
{
	for (unsigned set = 0; set < LOOP_SETS; set++)
		run(set, false, false);
}

TEST("net: the same in buffers that are too short for most of them",
     "net.driver.setting-up-receive-buffers.3 "
     "net.device.processing-incoming-packets.4")
{
	for (unsigned set = 0; set < LOOP_SETS; set++)
		run(set, true, false);
}

TEST("net: the same with a wire that keeps packets until there is room", "")
{
	for (unsigned set = 0; set < LOOP_SETS; set++)
		run(set, set & 1, true);
}

TEST("net: of many packets to be sent, those before a wrong one are", "")
{
	static struct fixture f;
	struct vio_netdrv_out out[4];
	struct vio_seg seg[4];
	int err;

	setup(&f, 0, false, false);
	for (unsigned i = 0; i < 4; i++) {
		memset(f.slot[i], 1, ROOM);
		seg[i] = (struct vio_seg){ f.slot[i] + VIO_NETDRV_HEADROOM,
					   100 };
		out[i] = (struct vio_netdrv_out){ &seg[i], 1, NULL,
						  &f.slot[i] };
	}
	seg[2].len = LONGEST + 14 + 4 + 1;
	CHECK_EQ(vio_netdrv_send_many(&f.drv, 0, out, 4, &err), 2);
	CHECK_EQ(err, VIO_E_RANGE);
	CHECK_EQ(vio_vq_inflight(&f.drv.pair[0].tx), 2);
	/* Its header asks for nothing, whatever was there. */
	for (unsigned i = 1; i <= f.drv.hdr_len; i++)
		CHECK_EQ(f.slot[1][VIO_NETDRV_HEADROOM - i], 0);
	loop_fini(&f.loop);
}

TEST("net: the driver reads address, MTU and link, and hears of a change",
     "net.driver.device-configuration-layout.2 "
     "net.driver.device-configuration-layout.5 "
     "net.driver.device-configuration-layout.6 "
     "net.driver.device-configuration-layout.7")
{
	static struct fixture f;
	struct vio_netdrv_conf c;
	struct vio_netdrv small;

	setup(&f, 0, false, false);
	CHECK(f.drv.has_mac);
	CHECK_EQ(f.drv.mac[5], 9);
	CHECK_EQ(f.drv.mtu, LONGEST);
	CHECK(f.drv.link_up);
	vio_net_link(&f.dev, false);
	CHECK_EQ(loop_config_changes(&f.loop), 1);
	CHECK_EQ(vio_netdrv_refresh(&f.drv), VIO_OK);
	CHECK(!f.drv.link_up);
	/* Buffers that could not hold a packet of the MTU are refused. */
	c = drv_conf(0, false);
	c.rx_len = LONGEST + 14 + f.drv.hdr_len - 1;
	CHECK_EQ(vio_netdrv_init(&small, &loop_bus, &f.loop, &c,
				 &f.loop.drv_mem), VIO_E_INVAL);
	c.rx_len++;
	CHECK_EQ(vio_netdrv_init(&small, &loop_bus, &f.loop, &c,
				 &f.loop.drv_mem), VIO_OK);
	loop_fini(&f.loop);
}

TEST("net: commands go by the features agreed on, and an announcement is acknowledged",
     "net.driver.packet-receive-filtering.1 "
     "net.driver.packet-receive-filtering.2 "
     "net.driver.setting-mac-address-filtering.1 "
     "net.driver.gratuitous-packet-sending.2")
{
	static struct fixture f;

	setup(&f, LOOP_PACKED | LOOP_EVENT_IDX, false, false);
	vio_net_announce(&f.dev);
	CHECK_EQ(vio_netdrv_refresh(&f.drv), VIO_OK);
	CHECK(f.drv.announce);
	CHECK_EQ(vio_netdrv_announced(&f.drv), VIO_OK);
	CHECK_EQ(vio_netdrv_refresh(&f.drv), VIO_OK);
	CHECK(!f.drv.announce);
	/* The device's refusal is told. */
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_NOUNI, "\3", 1),
		 VIO_E_INVAL);
	vio_feature_clear(&f.drv.drv.features, VIRTIO_NET_F_CTRL_RX_EXTRA);
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_NOUNI, "\1", 1),
		 VIO_E_UNSUPP);
	vio_feature_clear(&f.drv.drv.features, VIRTIO_NET_F_CTRL_RX);
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		 VIO_E_UNSUPP);
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_MAC,
				    VIRTIO_NET_CTRL_MAC_ADDR_SET, f.drv.mac,
				    6), VIO_E_UNSUPP);
	CHECK_EQ(f.dev.ctrl_refused, 1);
	loop_fini(&f.loop);
}

/* Lengths of the descriptors from @i on, in a ring without indirect ones. */
static void check_chain(const struct vio_vq *vq, unsigned i,
			const uint32_t *len)
{
	for (;; len++) {
		const struct virtq_desc *d = &vq->desc[i];
		bool more = d->flags.raw & VIRTQ_DESC_F_NEXT;

		CHECK_EQ(d->len.raw, *len);
		CHECK_EQ(more, len[1] != 0);
		if (!more)
			return;
		i = d->next.raw;
	}
}

/* The head of the chain that was made available as number @i. */
static unsigned head_of(const struct vio_vq *vq, unsigned i)
{
	return ((const vio_le16 *)(vq->avail + 1))[i].raw;
}

TEST("net: before ANY_LAYOUT headers and commands lie in descriptors of their own",
     "net.other.legacy-interface-framing-requirements.1 "
     "net.other.legacy-interface-framing-requirements.2 "
     "net.other.legacy-interface-framing-requirements.3")
{
	static struct fixture f;
	struct { vio_le32 nr; unsigned char mac[2][6]; } uni = { { 2 },
		{ { 2, 1 }, { 2, 2 } } };
	struct { vio_le32 nr; unsigned char mac[1][6]; } multi = { { 1 },
		{ { 1, 1 } } };
	unsigned char table[26];
	struct vio_seg seg;

	if (!loop_legacy)
		SKIP("of the legacy interface");
	no_layout = true;
	for (unsigned set = 0; set < LOOP_SETS; set++)
		run(set, set & 1, set & 2);
	setup(&f, 0, false, false);
	check_chain(&f.drv.ctrl, head_of(&f.drv.ctrl, 0),
		    (uint32_t[]){ 2, 1, 1, 0 });
	check_chain(&f.drv.pair[0].rx, 0, (uint32_t[]){ 10, 4086, 0 });
	seg = (struct vio_seg){ f.slot[0] + VIO_NETDRV_HEADROOM, 100 };
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, NULL, &f), VIO_OK);
	check_chain(&f.drv.pair[0].tx, 0, (uint32_t[]){ 10, 100, 0 });
	memcpy(table, &uni, 16);
	memcpy(table + 16, &multi, 10);
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_MAC,
				    VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
				    sizeof(table)), VIO_OK);
	CHECK_EQ(f.dev.filter.nr_uni, 2);
	CHECK_EQ(f.dev.filter.nr_multi, 1);
	check_chain(&f.drv.ctrl, head_of(&f.drv.ctrl, 1),
		    (uint32_t[]){ 2, 16, 10, 1, 0 });
	/* A table that ends in its first half. */
	CHECK_EQ(vio_netdrv_command(&f.drv, VIRTIO_NET_CTRL_MAC,
				    VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
				    16), VIO_E_INVAL);
	no_layout = false;
	loop_fini(&f.loop);
}

static unsigned char whole[20000];

/* A TCP packet of 20000 bytes to be cut at 1000, from the wire. */
static struct vio_net_packet large(struct vio_seg *seg)
{
	memset(whole, 0x5a, sizeof(whole));
	memcpy(whole + 12, "\x08\x00\x45\0\0\0\0\0\0\0\x40\x06", 12);
	whole[46] = 0x50;
	*seg = (struct vio_seg){ whole, sizeof(whole) };
	return (struct vio_net_packet){
		.seg = seg, .nr_seg = 1, .len = sizeof(whole),
		.meta = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			  .gso_size = 1000, .csum_start = 34,
			  .csum_offset = 16, .hdr_len = 54 },
	};
}

TEST("net: a large packet is cut for a driver that cannot do it itself",
     "net.device.processing-incoming-packets.5 "
     "net.device.processing-incoming-packets.6 "
     "net.device.processing-incoming-packets.21")
{
	static unsigned char scratch[VIO_NET_PACKET_MAX];
	static struct fixture f;
	struct vio_netdrv_packet got;
	struct vio_net_packet p;
	struct vio_seg seg;
	unsigned n = 0, bytes = 0;

	setup(&f, LOOP_PACKED, true, false);
	f.dev.conf.scratch = scratch;
	p = large(&seg);
	CHECK_EQ(vio_net_receive(&f.dev, 0, &p, 1), 1);
	while (vio_netdrv_receive(&f.drv, 0, &got)) {
		n++;
		bytes += got.len - 54;
		CHECK_EQ(got.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		CHECK_EQ(got.flags, 0);
		vio_netdrv_recycle(&f.drv, 0, &got);
	}
	/* Cut, it fills three buffers for each of its first pieces, until
	 * there are none: the rest is lost as on any wire. */
	CHECK_EQ(n, 40 / 3);
	CHECK_EQ(bytes, 40 / 3 * 1000);
	CHECK_EQ(f.dev.pair[0].stats.rx_gso, 1);
	loop_fini(&f.loop);
}

TEST("net: the driver refuses what it may not send",
     "net.driver.device-configuration-layout.8 "
     "net.driver.packet-transmission.3 net.driver.packet-transmission.5 "
     "net.driver.packet-transmission.6 net.driver.packet-transmission.7 "
     "net.driver.packet-transmission.8 net.driver.packet-transmission.21 "
     "net.driver.packet-transmission.22 net.driver.packet-transmission.30 "
     "net.driver.packet-transmission.33")
{
	static struct fixture f;
	struct vio_netdrv_offload off = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34,
		.csum_offset = 16,
	};
	static const uint8_t types[] = {
		VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
		VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4,
		VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
	};
	struct vio_seg seg;
	void *t = &f;

	setup(&f, 0, false, false);
	vio_feature_clear(&f.drv.drv.features, VIRTIO_NET_F_CSUM);
	seg = (struct vio_seg){ f.slot[0] + VIO_NETDRV_HEADROOM, 100 };
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, &off, t), VIO_E_UNSUPP);
	vio_feature_set(&f.drv.drv.features, VIRTIO_NET_F_CSUM);
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, &off, t), VIO_OK);
	off.gso_size = 50;
	for (unsigned i = 0; i < VIO_ARRAY_LEN(types); i++) {
		off.gso_type = types[i];
		for (unsigned b = 7; b < 15; b++)
			vio_feature_clear(&f.drv.drv.features, b);
		vio_feature_clear(&f.drv.drv.features, VIRTIO_NET_F_HOST_USO);
		CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, &off, t),
			 VIO_E_UNSUPP);
	}
	off.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	vio_feature_set(&f.drv.drv.features, VIRTIO_NET_F_HOST_TSO4);
	off.gso_size = 0;
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, &off, t), VIO_E_INVAL);
	off.gso_size = 50;
	off.flags = 0;
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, &off, t), VIO_E_INVAL);
	off = (struct vio_netdrv_offload){
		.flags = VIRTIO_NET_HDR_F_DATA_VALID };
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, &off, t), VIO_E_INVAL);
	seg.len = LONGEST + 19;
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, NULL, t), VIO_E_RANGE);
	seg.base = f.loop.window.host + 4;	/* no room for a header */
	seg.len = 100;
	CHECK_EQ(vio_netdrv_send(&f.drv, 0, &seg, 1, NULL, t), VIO_E_RANGE);
	loop_fini(&f.loop);
}
