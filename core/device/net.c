/* SPDX-License-Identifier: MIT */
/*
 * net.c - the network device (standard: 5.1): packets from the driver are
 * checked and handed on where they lie; net_rx.c has the other direction,
 * net_ctrl.c the driver's commands. It knows no ring, no address, no
 * transport, and not what the wire is.
 */
#include "core/device/net_gso.h"
#include "core/device/net_hash.h"
#include "core/device/net_hdr.h"
#include "core/device/net_int.h"
#include "core/device/net_steer.h"
#include <vireo/spec/virtio.h>
#include "core/base/shared64.h"
#include "core/mem/access.h"

/* Flags that ask for something. */
#define ASKS		(VIRTIO_NET_HDR_F_NEEDS_CSUM |	\
			 VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM)
#define TUNNEL_LEN	(VIRTIO_NET_HDR_LEN_TUNNEL - VIRTIO_NET_HDR_LEN_HASH)
#define BATCH		32	/* packets handed on at a time */

const uint16_t vio_net_ctx_size = 0;

static struct vio_net *net_of(struct vio_dev *dev)
{
	return vio_container_of(dev, struct vio_net, dev);
}

/* -- from the driver ----------------------------------------------------- */

/*
 * The header comes off, the packet is what is left. False if it breaks a
 * rule. By byte count: how the driver cut its descriptors plays no part.
 */
static bool parse(const struct vio_net *net, struct vio_req *req,
		  struct vio_net_packet *pkt)
{
	uint32_t hdr_len = net->hdr_len, len = req->read_len - hdr_len;
	struct vio_cursor c = vio_req_reader(req);
	struct virtio_net_hdr hdr = { .flags = 0 };
	unsigned nr;

	if (vio_unlikely(req->read_len < hdr_len + VIO_NET_PACKET_MIN ||
			 len > VIO_NET_PACKET_MAX))
		return false;
	vio_cursor_read(&c, &hdr, hdr_len);
	pkt->seg = vio_req_payload(req, false, hdr_len, len, &nr);
	if (vio_unlikely(vio_dev_big_endian(&net->dev)))
		vio_net_hdr_mirror(&hdr);
	pkt->nr_seg = (uint16_t)nr;
	pkt->len = len;
	return vio_net_hdr_check(&hdr, len, &net->dev.driver, &pkt->meta);
}

/* A short packet and its header lie on two lines, seldom on one. */
static void prefetch_read(const struct vio_req *req)
{
	const unsigned char *p;

	if (!req->nr_read)
		return;
	p = req->seg[0].base;
	vio_prefetch(p);
	if (req->seg[0].len > VIO_NET_LINE)
		vio_prefetch(p + VIO_NET_LINE);
}

/* Pop requests and let their headers come, before the first is looked at. */
static unsigned pop_tx(struct vio_queue *q, struct vio_req **req, unsigned max)
{
	unsigned n = vio_queue_pop_many(q, req, max);

	for (unsigned i = 0; i < n; i++)
		prefetch_read(req[i]);
	return n;
}

/* Does the back end take the packet as it is? */
static bool takes(const struct vio_net *net, const struct vio_net_meta *m)
{
	uint64_t f = net->conf.offloads, need;

	if (vio_likely(!m->flags))
		return true;
	if (vio_unlikely(m->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL) &&
	    (!(f & VIO_NET_OFFLOAD_TUNNEL) ||
	     (m->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM &&
	      !(f & VIO_NET_OFFLOAD_TUNNEL_CSUM))))
		return false;
	switch (m->gso_type & ~(VIRTIO_NET_HDR_GSO_ECN |
				VIRTIO_NET_HDR_GSO_UDP_TUNNEL)) {
	case VIRTIO_NET_HDR_GSO_NONE:
		need = VIRTIO_NET_F_CSUM;
		break;
	case VIRTIO_NET_HDR_GSO_UDP:
		need = VIRTIO_NET_F_HOST_UFO;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		need = VIRTIO_NET_F_HOST_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		need = VIRTIO_NET_F_HOST_TSO6;
		break;
	default:
		need = VIRTIO_NET_F_HOST_USO;
	}
	return f >> need & 1 && (!(m->gso_type & VIRTIO_NET_HDR_GSO_ECN) ||
				 f >> VIRTIO_NET_F_HOST_ECN & 1);
}

static void count_sent(struct vio_net_stats *st,
		       const struct vio_net_packet *pkt, unsigned nr,
		       unsigned sent)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < sent; i++)
		bytes += pkt[i].len;
	vio_shared64_add(&st->tx_packets, sent);
	vio_shared64_add(&st->tx_bytes, bytes);
	if (vio_unlikely(sent != nr))
		vio_shared64_add(&st->tx_dropped, nr - sent);
}

static void count_segment(struct vio_net_stats *st,
			  const struct vio_net_packet *pkt)
{
	vio_shared64_add(&st->tx_segments, 1);
	vio_shared64_add(&st->tx_segment_bytes, pkt->len);
}

/* The back end cannot: do here what is asked for. Returns the pieces. */
static unsigned send_cut(struct vio_net *net, unsigned pair,
		     const struct vio_net_packet *pkt)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	unsigned char *scratch = vio_net_scratch(net, pair);
	struct vio_net_packet p;
	struct vio_net_cut cut;

	if (vio_unlikely(vio_net_learns(net)))
		vio_net_learn(net, pair, pkt, 1);
	/* ECN can be asked for where nobody does it: gso_negotiated(). */
	if (!net->conf.scratch) {
		vio_shared64_add(&st->tx_dropped, 1);
		return 0;
	}
	vio_net_peek(pkt, scratch, pkt->len);
	if (!vio_net_cut_begin(&cut, scratch, pkt->len, &pkt->meta)) {
		vio_shared64_add(&st->tx_malformed, 1);
		return 0;
	}
	while (vio_net_cut_next(&cut, &p)) {
		if (pkt->meta.gso_type)
			count_segment(st, &p);
		count_sent(st, &p, 1, net->backend->send(net->backend_ctx,
							 pair, &p, 1));
	}
	return cut.nr;
}

static void count_offload(struct vio_net_stats *st,
			  const struct vio_net_packet *pkt, bool whole)
{
	if (!pkt->meta.gso_type) {
		vio_shared64_add(&st->tx_csum, 1);
		return;
	}
	vio_shared64_add(&st->tx_gso, 1);
	vio_shared64_add(&st->tx_gso_bytes, pkt->len);
	if (whole) {
		vio_shared64_add(&st->tx_whole, 1);
		vio_shared64_add(&st->tx_whole_bytes, pkt->len);
	}
}

static void flush(struct vio_net *net, unsigned pair,
		  const struct vio_net_packet *pkt, unsigned nr)
{
	if (!nr)
		return;
	if (vio_unlikely(vio_net_learns(net)))
		vio_net_learn(net, pair, pkt, nr);
	count_sent(&net->pair[pair].stats, pkt, nr,
		   net->backend->send(net->backend_ctx, pair, pkt, nr));
}

/* Returns into how many pieces packets were cut. */
static unsigned send(struct vio_net *net, unsigned pair,
		     struct vio_req **req, unsigned nr)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	struct vio_net_packet pkt[BATCH];
	unsigned good = 0, pieces = 0, i;

	for (i = 0; i < nr; i++) {
		struct vio_net_packet *p = &pkt[good];

		if (vio_unlikely(!parse(net, req[i], p))) {
			vio_shared64_add(&st->tx_malformed, 1);
			continue;
		}
		if (vio_unlikely(p->meta.flags))
			count_offload(st, p, takes(net, &p->meta));
		if (vio_likely(takes(net, &p->meta))) {
			good++;
			continue;
		}
		/* In the order in which they came. */
		flush(net, pair, pkt, good);
		pieces += send_cut(net, pair, p);
		good = 0;
	}
	if (vio_likely(good))
		flush(net, pair, pkt, good);
	for (i = 0; i < nr; i++)
		vio_req_done(req[i]);
	return pieces;
}

/* A header that asks for something, of which two bytes were read. */
VIO_APART bool parse_asking(const struct vio_net *net,
			    const struct vio_piece *b,
			    struct virtio_net_hdr hdr,
			    struct vio_net_packet *pkt)
{
	vio_copy_in(&hdr.hdr_len, b->base + 2, VIRTIO_NET_HDR_LEN_LEGACY - 2);
	if (vio_unlikely(net->hdr_len == VIRTIO_NET_HDR_LEN_TUNNEL))
		vio_copy_in(&hdr.outer_th_offset,
			    b->base + VIRTIO_NET_HDR_LEN_HASH, TUNNEL_LEN);
	if (vio_unlikely(vio_dev_big_endian(&net->dev)))
		vio_net_hdr_mirror(&hdr);
	return vio_net_hdr_check(&hdr, pkt->len, &net->dev.driver, &pkt->meta);
}

/* As parse(), where the packet lies in one piece with its header. */
static inline bool parse_piece(const struct vio_net *net,
			       const struct vio_piece *b, struct vio_seg *seg,
			       struct vio_net_packet *pkt)
{
	uint32_t hdr_len = net->hdr_len, len = b->len - hdr_len;
	struct { uint8_t flags, gso_type; } two;

	if (vio_unlikely(b->len < hdr_len + VIO_NET_PACKET_MIN ||
			 len > VIO_NET_PACKET_MAX))
		return false;
	seg->base = b->base + hdr_len;
	seg->len = len;
	pkt->seg = seg;
	pkt->nr_seg = 1;
	pkt->len = len;
	/* Where these two ask for nothing, what follows says nothing. */
	vio_copy_in(&two, b->base, sizeof(two));
	if (vio_unlikely((two.flags & ASKS) ||
			 two.gso_type != VIRTIO_NET_HDR_GSO_NONE))
		return parse_asking(net, b, (struct virtio_net_hdr){
			.flags = two.flags, .gso_type = two.gso_type }, pkt);
	pkt->meta = (struct vio_net_meta){ .flags = 0 };
	return true;
}

/*
 * Packets in one piece each, which the back end takes as they are. Returns
 * how many there were, up to @max; the next may be of another kind.
 */
static unsigned send_pieces(struct vio_net *net, unsigned pair,
			    struct vio_queue *q, unsigned max)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	struct vio_net_packet pkt[VIO_PEEK_MAX];
	struct vio_seg seg[VIO_PEEK_MAX];
	struct vio_piece b[VIO_PEEK_MAX];
	unsigned n = vio_queue_peek(q, false, b, max), good = 0, i;

	for (i = 0; i < n; i++) {
		vio_prefetch(b[i].base);
		if (b[i].len > VIO_NET_LINE)
			vio_prefetch(b[i].base + VIO_NET_LINE);
	}
	for (i = 0; i < n; i++) {
		struct vio_net_packet *p = &pkt[good];

		if (vio_unlikely(!parse_piece(net, &b[i], &seg[good], p))) {
			vio_shared64_add(&st->tx_malformed, 1);
			continue;
		}
		if (vio_unlikely(!takes(net, &p->meta)))
			break;
		if (vio_unlikely(p->meta.flags))
			count_offload(st, p, true);
		good++;
	}
	flush(net, pair, pkt, good);
	vio_queue_use(q, b, i, false);
	return i;
}

static enum vio_service service_tx(struct vio_net *net, struct vio_queue *q,
				   unsigned budget)
{
	struct vio_req *req[BATCH];
	unsigned pair = q->index / 2, max, n;
	bool more = true;

	/* Nobody waits for the buffers of packets that are on their way. */
	q->lazy = true;
	while (budget && more) {
		max = budget < BATCH ? budget : BATCH;
		if (net->backend->admit)
			max = net->backend->admit(net->backend_ctx, pair, max);
		if (vio_unlikely(!max))
			return VIO_SERVICE_WAIT;
		n = send_pieces(net, pair, q, max);
		budget -= n;
		/* Of fewer, too, others may follow. */
		if (n)
			continue;
		n = pop_tx(q, req, max);
		more = n == max;
		/* Each piece is as much work as a packet. */
		if (n)
			n += send(net, pair, req, n);
		budget -= n < budget ? n : budget;
	}
	return more ? VIO_SERVICE_MORE : VIO_SERVICE_IDLE;
}

/* -- operations ---------------------------------------------------------- */

static enum vio_service net_service(struct vio_dev *dev, struct vio_queue *q,
				    unsigned budget)
{
	struct vio_net *net = net_of(dev);

	if (vio_unlikely(q->withheld))
		vio_net_coal_check(net, q);
	if (q->index == vio_net_ctrlq(net))
		return vio_net_service_ctrl(net, q, budget);
	if (vio_unlikely(!vio_net_carries(net, q->index)))
		return VIO_SERVICE_WAIT;
	return q->index % 2 ? service_tx(net, q, budget) :
			      vio_net_service_rx(net, q);
}

static void net_queue_stop(struct vio_dev *dev, struct vio_queue *q)
{
	struct vio_net *net = net_of(dev);

	/* What came by the control queue stays: a successor may ask for it. */
	if (q->index == vio_net_ctrlq(net) ||
	    !vio_net_carries(net, q->index))
		return;
	vio_net_coal_stop(net, q);
	if (q->index % 2)
		return;
	__atomic_store_n(&net->pair[q->index / 2].open, false,
			 __ATOMIC_RELAXED);
	vio_net_mail_drop(net, q->index / 2);
	vio_net_drain(net, q->index / 2);
}

static void net_reset(struct vio_dev *dev)
{
	struct vio_net *net = net_of(dev);

	__atomic_store_n(&net->knows, false, __ATOMIC_RELAXED);
	vio_net_ctrl_reset(net);
}

/*
 * Standard: 5.1.3.1. An offload without what it needs is no legal set. What
 * needs the control queue is let pass: QEMU keeps that queue to itself, and
 * hands down features of it without its own.
 */
static int net_check_features(struct vio_dev *dev,
			      const struct vio_features *f)
{
	static const struct { uint8_t bit, a, b; } needs[] = {
		{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM, 0xff },
		{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM, 0xff },
		{ VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4,
		  VIRTIO_NET_F_GUEST_TSO6 },
		{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM, 0xff },
		{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM, 0xff },
		{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM, 0xff },
		{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM, 0xff },
		{ VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4,
		  VIRTIO_NET_F_HOST_TSO6 },
		{ VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM, 0xff },
		{ VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM, 0xff },
		{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM, 0xff },
		{ VIRTIO_NET_F_RSC_EXT, VIRTIO_NET_F_HOST_TSO4,
		  VIRTIO_NET_F_HOST_TSO6 },
		{ VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO, VIRTIO_NET_F_HOST_TSO4,
		  0xff },
		{ VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO, VIRTIO_NET_F_HOST_TSO6,
		  0xff },
		{ VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO, VIRTIO_NET_F_HOST_USO,
		  0xff },
		{ VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
		  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO, 0xff },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, VIRTIO_NET_F_GUEST_TSO4,
		  0xff },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, VIRTIO_NET_F_GUEST_TSO6,
		  0xff },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, VIRTIO_NET_F_GUEST_USO4,
		  0xff },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, VIRTIO_NET_F_GUEST_USO6,
		  0xff },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
		  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, 0xff },
	};

	(void)dev;
	for (unsigned i = 0; i < VIO_ARRAY_LEN(needs); i++)
		if (vio_has(f, needs[i].bit) && !vio_has(f, needs[i].a) &&
		    !vio_has(f, needs[i].b))
			return VIO_E_PEER;
	return VIO_OK;
}

static void net_features_ok(struct vio_dev *dev)
{
	struct vio_net *net = net_of(dev);

	net->hdr_len = vio_net_hdr_len(&dev->driver);
	net->mergeable = vio_dev_has(dev, VIRTIO_NET_F_MRG_RXBUF);
	net->reports = vio_dev_has(dev, VIRTIO_NET_F_HASH_REPORT);
	net->merges = vio_dev_has(dev, VIRTIO_NET_F_RSC_EXT);
	vio_net_ctrl_reset(net);
}

/*
 * Drivers from before CTRL_MAC_ADDR write the address byte by byte, from the
 * first to the last: the last makes it valid
 * (net.other.legacy-interface-setting-mac-address-filtering.2).
 */
static int net_config_write(struct vio_dev *dev, uint32_t off,
			    const void *src, uint32_t len)
{
	struct vio_net *net = net_of(dev);

	if (!vio_dev_legacy(dev) ||
	    vio_dev_has(dev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    off > VIRTIO_NET_MAC_LEN || len > VIRTIO_NET_MAC_LEN - off)
		return VIO_E_PEER;
	vio_net_config_mac(net, off, src, len);
	if (off + len != VIRTIO_NET_MAC_LEN || (net->config.mac[0] & 1))
		return VIO_OK;
	vio_net_lock(net);
	memcpy(net->filter.mac, net->config.mac, VIRTIO_NET_MAC_LEN);
	vio_net_unlock(net);
	return VIO_OK;
}

static const struct vio_dev_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_fields = "1111112224",
	.config_write = net_config_write,
	.features_ok = net_features_ok,
	.check_features = net_check_features,
	.service = net_service,
	.moderate = vio_net_moderate,
	.queue_stop = net_queue_stop,
	.reset = net_reset,
	.save = vio_net_save,
	.load = vio_net_load,
};

static bool has_mac(const struct vio_net_conf *conf)
{
	unsigned char all = 0;

	for (unsigned i = 0; i < VIRTIO_NET_MAC_LEN; i++)
		all |= conf->mac[i];
	return all;
}

static struct vio_features features_of(const struct vio_net_conf *conf)
{
	const bool soft = conf->scratch;
	const uint64_t can = conf->offloads;
	const struct { unsigned bit; bool on; } table[] = {
		{ VIRTIO_NET_F_MAC, has_mac(conf) },
		{ VIRTIO_NET_F_MTU, conf->mtu },
		{ VIRTIO_NET_F_STATUS, true },
		{ VIRTIO_NET_F_MRG_RXBUF, true },
		{ VIRTIO_NET_F_CTRL_VQ, true },
		{ VIRTIO_NET_F_CTRL_RX, true },
		{ VIRTIO_NET_F_CTRL_RX_EXTRA, true },
		{ VIRTIO_NET_F_CTRL_VLAN, true },
		{ VIRTIO_NET_F_CTRL_MAC_ADDR, true },
		{ VIRTIO_NET_F_GUEST_ANNOUNCE, true },
		{ VIRTIO_NET_F_MQ, conf->pairs > 1 },
		{ VIRTIO_NET_F_RSS, conf->pairs > 1 },
		{ VIRTIO_NET_F_HASH_REPORT, true },
		{ VIRTIO_NET_F_NOTF_COAL, conf->timer },
		{ VIRTIO_NET_F_VQ_NOTF_COAL, conf->timer },
		{ VIRTIO_NET_F_DEVICE_STATS, true },
		{ VIRTIO_NET_F_SPEED_DUPLEX, conf->speed },
		{ VIRTIO_NET_F_STANDBY, conf->standby },
		{ VIRTIO_NET_F_CSUM, soft || can >> VIRTIO_NET_F_CSUM & 1 },
		{ VIRTIO_NET_F_HOST_TSO4,
		  soft || can >> VIRTIO_NET_F_HOST_TSO4 & 1 },
		{ VIRTIO_NET_F_HOST_TSO6,
		  soft || can >> VIRTIO_NET_F_HOST_TSO6 & 1 },
		{ VIRTIO_NET_F_HOST_ECN,
		  soft || can >> VIRTIO_NET_F_HOST_ECN & 1 },
		{ VIRTIO_NET_F_HOST_USO,
		  soft || can >> VIRTIO_NET_F_HOST_USO & 1 },
		{ VIRTIO_NET_F_HOST_UFO,
		  soft || can >> VIRTIO_NET_F_HOST_UFO & 1 },
		{ VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO, soft },
		{ VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM, soft },
		{ VIRTIO_NET_F_GUEST_HDRLEN, true },
		{ VIRTIO_NET_F_GUEST_UFO, soft },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, soft },
		{ VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM, soft },
		{ VIRTIO_NET_F_RSC_EXT, soft },
		{ VIRTIO_NET_F_GUEST_CSUM, soft },
		{ VIRTIO_NET_F_GUEST_TSO4, soft },
		{ VIRTIO_NET_F_GUEST_TSO6, soft },
		{ VIRTIO_NET_F_GUEST_ECN, soft },
		{ VIRTIO_NET_F_GUEST_USO4, soft },
		{ VIRTIO_NET_F_GUEST_USO6, soft },
		{ VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, soft },
		{ VIRTIO_F_IN_ORDER, true },
	};
	struct vio_features f = { { 0, 0 } };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(table); i++)
		if (table[i].on)
			vio_feature_set(&f, table[i].bit);
	return f;
}

static bool conf_ok(const struct vio_net_conf *conf)
{
	/* net.device.device-configuration-layout.2; a unicast address */
	if (conf->pairs > VIO_NET_PAIRS || conf->mac[0] & 1 ||
	    (conf->mtu && conf->mtu < VIRTIO_NET_MTU_MIN))
		return false;
	return !conf->threads || conf->pairs <= 1 ||
	       (conf->mail && (uintptr_t)conf->mail % 8 == 0 &&
		conf->mail_len % 8 == 0 &&
		conf->mail_len >= VIO_NET_MAIL_MIN);
}

static void fill_config(struct vio_net *net)
{
	const struct vio_net_conf *conf = &net->conf;
	struct virtio_net_config *c = &net->config;

	memcpy(c->mac, conf->mac, sizeof(c->mac));
	c->mtu = vio_to_le16(conf->mtu);
	c->status = vio_to_le16(conf->link_down ? 0 : VIRTIO_NET_S_LINK_UP);
	c->speed = vio_to_le32(conf->speed);
	c->duplex = conf->half_duplex ? 0 : 1;
	c->max_virtqueue_pairs = vio_to_le16(conf->pairs);
	c->rss_max_key_size = VIO_NET_HASH_KEY;
	c->rss_max_indirection_table_length = vio_to_le16(VIO_NET_RSS_TABLE);
	c->supported_hash_types = vio_to_le32(VIO_NET_HASH_TYPES);
}

int vio_net_init(struct vio_net *net, const struct vio_net_conf *conf,
		 struct vio_queue *queue,
		 const struct vio_net_backend_ops *backend, void *backend_ctx)
{
	struct vio_features offered;

	if (!backend || !backend->send || !conf_ok(conf))
		return VIO_E_INVAL;
	*net = (struct vio_net){
		.conf = *conf, .backend = backend, .backend_ctx = backend_ctx,
		.hdr_len = VIRTIO_NET_HDR_LEN,
	};
	if (!net->conf.pairs)
		net->conf.pairs = 1;
	net->steers = net->conf.pairs > 1;
	for (unsigned i = 0; net->conf.threads && i < net->conf.pairs; i++)
		net->pair[i].mail.at = net->conf.mail +
				       i * (size_t)net->conf.mail_len;
	fill_config(net);
	offered = features_of(&net->conf);
	vio_dev_init(&net->dev, &net_ops, &offered, queue,
		     vio_net_queues(net->conf.pairs), &net->config,
		     sizeof(net->config));
	vio_net_ctrl_reset(net);
	return VIO_OK;
}

void vio_net_go_on(struct vio_net *net, unsigned pair)
{
	vio_dev_queue_ready(&net->dev, vio_net_txq(net, pair));
}

void vio_net_announce(struct vio_net *net)
{
	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	vio_net_config_status(net, VIRTIO_NET_S_ANNOUNCE, true);
	vio_dev_config_changed(&net->dev);
}

void vio_net_link(struct vio_net *net, bool up)
{
	vio_net_config_status(net, VIRTIO_NET_S_LINK_UP, up);
	if (vio_dev_has(&net->dev, VIRTIO_NET_F_STATUS))
		vio_dev_config_changed(&net->dev);
}
