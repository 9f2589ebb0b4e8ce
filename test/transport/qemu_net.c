/* SPDX-License-Identifier: MIT */
/* Our network driver against QEMU's network device: see qemu_net.h. */
#include "test/transport/qemu_net.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vtest.h"

enum { PACKETS = 40, LONGEST = 1514, BUFFERS = 32 };

static struct vio_netdrv drv;

/* -- the wire: a datagram is a packet ------------------------------------- */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

void qemu_wire_open(struct qemu_wire *w)
{
	struct sockaddr_un a;

	strcpy(w->dir, "/tmp/vireo-wire-XXXXXX");
	CHECK(mkdtemp(w->dir));
	snprintf(w->ours, sizeof(w->ours), "%s/ours", w->dir);
	snprintf(w->theirs, sizeof(w->theirs), "%s/qemu", w->dir);
	w->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	a = address(w->ours);
	CHECK_EQ(bind(w->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	snprintf(w->netdev, sizeof(w->netdev), "dgram,id=n,local.type=unix,"
		 "local.path=%s,remote.type=unix,remote.path=%s", w->theirs,
		 w->ours);
}

void qemu_wire_close(struct qemu_wire *w)
{
	close(w->fd);
	unlink(w->ours);
	unlink(w->theirs);
	rmdir(w->dir);
}

/* -- packets -------------------------------------------------------------- */

static struct vio_netdrv_conf conf_of(const struct qemu_net *n)
{
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { n->size, 4 }, .rx_buffers = BUFFERS,
		.rx_len = n->merge ? 256 : 2048,
	};

	if (!n->packed)
		vio_feature_clear(&c.wanted, VIRTIO_F_RING_PACKED);
	if (!n->merge)
		vio_feature_clear(&c.wanted, VIRTIO_NET_F_MRG_RXBUF);
	return c;
}

/* Pieces of one packet: as many as three. */
static unsigned cut(struct vtest_rand *rnd, unsigned char *p, uint32_t len,
		    struct vio_seg *seg)
{
	uint32_t a = 1 + (uint32_t)vtest_below(rnd, len - 2);
	uint32_t b = a + 1 + (uint32_t)vtest_below(rnd, len - a - 1);

	seg[0] = (struct vio_seg){ p, a };
	seg[1] = (struct vio_seg){ p + a, b - a };
	seg[2] = (struct vio_seg){ p + b, len - b };
	return b == len ? 2 : 3;
}

static void wait_for(const struct qemu_net *n, struct vio_vq *vq)
{
	if (!vio_vq_listen(vq))
		CHECK_EQ(n->wait(NULL), VIO_OK);
}

static void send_packets(const struct qemu_net *n, struct qemu_wire *w,
			 struct vtest_rand *rnd)
{
	unsigned char *p = n->data + VIO_NETDRV_HEADROOM;
	static unsigned char got[LONGEST + 1];

	for (unsigned i = 0; i < PACKETS; i++) {
		uint32_t len = 60 + (uint32_t)vtest_below(rnd, LONGEST - 59);
		struct pollfd fd = { w->fd, POLLIN, 0 };
		struct vio_seg seg[3];
		unsigned nr;

		vtest_fill(rnd, p, len);
		nr = cut(rnd, p, len, seg);
		CHECK_EQ(vio_netdrv_send(&drv, 0, seg, nr, NULL, p), VIO_OK);
		vio_netdrv_commit(&drv, 0);
		CHECK_EQ(poll(&fd, 1, 60000), 1);
		CHECK_EQ(recv(w->fd, got, sizeof(got), 0), len);
		CHECK_MEMEQ(got, p, len);
		while (vio_netdrv_sent(&drv, 0) != p)
			wait_for(n, &drv.pair[0].tx);
	}
}

static void check_packet(const struct vio_netdrv_packet *pkt,
			 const unsigned char *sent, uint32_t len)
{
	uint32_t at = 0;

	CHECK_EQ(pkt->len, len);
	for (unsigned i = 0; i < pkt->nr; i++) {
		CHECK_MEMEQ(pkt->seg[i].base, sent + at, pkt->seg[i].len);
		at += (uint32_t)pkt->seg[i].len;
	}
	CHECK_EQ(at, len);
}

static void receive_packets(const struct qemu_net *n, struct qemu_wire *w,
			    struct vtest_rand *rnd)
{
	static unsigned char sent[LONGEST];
	struct sockaddr_un to = address(w->theirs);
	struct vio_netdrv_packet pkt;
	unsigned most = 0;

	for (unsigned i = 0; i < PACKETS; i++) {
		uint32_t len = 60 + (uint32_t)vtest_below(rnd, LONGEST - 59);

		vtest_fill(rnd, sent, len);
		/* For this card, which is not promiscuous. */
		memcpy(sent, drv.mac, sizeof(drv.mac));
		CHECK_EQ(sendto(w->fd, sent, len, 0, (struct sockaddr *)&to,
				sizeof(to)), len);
		while (!vio_netdrv_receive(&drv, 0, &pkt))
			wait_for(n, &drv.pair[0].rx);
		check_packet(&pkt, sent, len);
		most = pkt.nr > most ? pkt.nr : most;
		vio_netdrv_recycle(&drv, 0, &pkt);
		vio_netdrv_commit(&drv, 0);
	}
	CHECK_EQ(drv.pair[0].bad, 0);
	if (n->merge)
		CHECK_GT(most, 3);
}

/* What it no longer wants does not arrive. */
static void filter_packets(const struct qemu_net *n, struct qemu_wire *w)
{
	unsigned char mac[6] = { 2, 9, 9, 9, 9, 9 }, p[64] = { 0 };
	struct sockaddr_un to = address(w->theirs);
	struct vio_netdrv_packet pkt;
	unsigned char table[14] = { 0 };
	vio_le32 one = vio_drv_to32(&drv.drv, 1);

	CHECK_EQ(vio_netdrv_command(&drv, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
		 VIO_OK);
	memcpy(table, &one, 4);
	memcpy(table + 4, mac, 6);
	CHECK_EQ(vio_netdrv_command(&drv, VIRTIO_NET_CTRL_MAC,
				    VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
				    sizeof(table)), VIO_OK);
	for (unsigned i = 0; i < 2; i++) {
		memcpy(p, mac, 6);
		p[5] = (unsigned char)(p[5] - 1 + i);	/* not in it; in it */
		CHECK_EQ(sendto(w->fd, p, sizeof(p), 0, (struct sockaddr *)
				&to, sizeof(to)), sizeof(p));
	}
	while (!vio_netdrv_receive(&drv, 0, &pkt))
		wait_for(n, &drv.pair[0].rx);
	check_packet(&pkt, p, sizeof(p));
	vio_netdrv_recycle(&drv, 0, &pkt);
	CHECK(!vio_netdrv_receive(&drv, 0, &pkt));
}

void qemu_net_use(const struct qemu_net *n, struct qemu_wire *w)
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	struct vio_netdrv_conf conf = conf_of(n);

	CHECK_EQ(vio_netdrv_init(&drv, n->ops, n->bus, &conf, n->mem),
		 VIO_OK);
	CHECK_EQ(vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED), n->packed);
	CHECK_EQ(drv.mergeable, n->merge);
	CHECK_EQ(drv.framed, n->framed);
	CHECK(drv.has_mac);
	CHECK_EQ(drv.mac[0], 0x52);
	CHECK(drv.link_up);
	send_packets(n, w, &rnd);
	receive_packets(n, w, &rnd);
	filter_packets(n, w);
	CHECK_EQ(vio_netdrv_reset(&drv), VIO_OK);
}
