/* SPDX-License-Identifier: MIT */
/*
 * net.c - the network device (standard: 5.1): packets from the driver are
 * checked and handed on where they lie, packets for it are copied into its
 * buffers. It knows no ring, no address, no transport, and not what the wire
 * is.
 */
#include "core/device/net_hdr.h"
#include <vireo/spec/virtio.h>
#include "core/base/shared64.h"
#include "core/mem/access.h"

#define BATCH		32	/* packets handed on at a time */
#define ETH_HDR		14u
#define VLAN_TAG	4u
#define ETH_TYPE_AT	12u

const uint16_t vio_net_ctx_size = 0;

static struct vio_net *net_of(struct vio_dev *dev)
{
	return vio_container_of(dev, struct vio_net, dev);
}

static struct vio_queue *rxq_of(const struct vio_net *net, unsigned pair)
{
	return &net->dev.queue[2 * pair];
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
	struct vio_seg *seg = req->seg;
	struct virtio_net_hdr hdr;
	unsigned nr;

	if (vio_unlikely(req->read_len < hdr_len + VIO_NET_PACKET_MIN ||
			 len > VIO_NET_PACKET_MAX))
		return false;
	if (vio_likely(seg->len > hdr_len)) {
		vio_copy_in(&hdr, seg->base, VIRTIO_NET_HDR_LEN_LEGACY);
		seg->base = (unsigned char *)seg->base + hdr_len;
		seg->len -= hdr_len;
		pkt->seg = seg;
		nr = req->nr_read;
	} else {
		struct vio_cursor c = vio_req_reader(req);

		vio_cursor_read(&c, &hdr, VIRTIO_NET_HDR_LEN_LEGACY);
		pkt->seg = vio_req_payload(req, false, hdr_len, len, &nr);
	}
	pkt->nr_seg = (uint16_t)nr;
	pkt->len = len;
	return vio_net_hdr_check(&hdr, len, &net->dev.driver, &pkt->meta);
}

static void prefetch_read(const struct vio_req *req)
{
	if (req->nr_read)
		vio_prefetch(req->seg[0].base);
}

/* Pop requests and let their headers come, before the first is looked at. */
static unsigned pop_tx(struct vio_queue *q, struct vio_req **req, unsigned max)
{
	unsigned n;

	for (n = 0; n < max; n++) {
		req[n] = vio_queue_pop(q);
		if (!req[n])
			break;
		prefetch_read(req[n]);
	}
	return n;
}

static void send(struct vio_net *net, unsigned pair, struct vio_req **req,
		 unsigned nr)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	struct vio_net_packet pkt[BATCH];
	unsigned good = 0, sent, i;
	uint64_t bytes = 0;

	for (i = 0; i < nr; i++)
		if (vio_likely(parse(net, req[i], &pkt[good])))
			good++;
	sent = good ? net->backend->send(net->backend_ctx, pair, pkt, good) :
		      0;
	for (i = 0; i < sent; i++)
		bytes += pkt[i].len;
	for (i = 0; i < nr; i++)
		vio_req_done(req[i]);
	vio_shared64_add(&st->tx_packets, sent);
	vio_shared64_add(&st->tx_bytes, bytes);
	if (vio_unlikely(good != nr))
		vio_shared64_add(&st->tx_malformed, nr - good);
	if (vio_unlikely(sent != good))
		vio_shared64_add(&st->tx_dropped, good - sent);
}

static enum vio_service service_tx(struct vio_net *net, struct vio_queue *q,
				   unsigned budget)
{
	struct vio_req *req[BATCH];
	unsigned pair = q->index / 2, max, n;
	bool more = true;

	while (budget && more) {
		max = budget < BATCH ? budget : BATCH;
		n = pop_tx(q, req, max);
		if (n)
			send(net, pair, req, n);
		more = n == max;
		budget -= n;
	}
	return more ? VIO_SERVICE_MORE : VIO_SERVICE_IDLE;
}

/* -- to the driver ------------------------------------------------------- */

/*
 * The pair's buffers during a batch: those from first on are not filled yet.
 * What is left at its end stays with the pair: a ring that looks empty is one
 * whose next buffer is worth a kick.
 */
struct buffers {
	struct vio_queue *q;
	struct vio_net_pair *p;
	unsigned first;
};

static unsigned at_hand(const struct buffers *b)
{
	return b->p->nr_held - b->first;
}

static struct vio_req *buffer(const struct buffers *b, unsigned i)
{
	return b->p->held[b->first + i];
}

/* The filled ones are gone: the others move to the front. */
static void close_up(struct buffers *b)
{
	struct vio_net_pair *p = b->p;

	if (!b->first)
		return;
	for (unsigned i = b->first; i < p->nr_held; i++)
		p->held[i - b->first] = p->held[i];
	p->nr_held = (uint16_t)(p->nr_held - b->first);
	b->first = 0;
}

/* Have @want buffers at hand, if the ring has them. */
static bool stock(struct buffers *b, unsigned want)
{
	struct vio_net_pair *p = b->p;

	if (at_hand(b) >= want)
		return true;
	close_up(b);
	while (p->nr_held < want) {
		struct vio_req *req = vio_queue_pop(b->q);

		if (!req)
			return false;
		if (req->nr_write)
			vio_prefetch_write(req->seg[req->nr_read].base);
		p->held[p->nr_held++] = req;
	}
	return true;
}

void vio_net_drain(struct vio_net *net, unsigned pair)
{
	struct vio_net_pair *p = &net->pair[pair];

	while (p->nr_held)
		vio_queue_unpop(rxq_of(net, pair), p->held[--p->nr_held]);
}

/* A place in a packet; it goes on from buffer to buffer. */
struct source {
	const struct vio_seg *seg;
	size_t off;
};

static void copy_some(struct source *s, unsigned char *to, size_t len)
{
	while (len) {
		size_t n = s->seg->len - s->off;

		if (n > len)
			n = len;
		memcpy(to, (const unsigned char *)s->seg->base + s->off, n);
		to += n;
		len -= n;
		s->off += n;
		if (s->off == s->seg->len) {
			s->seg++;
			s->off = 0;
		}
	}
}

/* @len bytes of the packet at @off of the buffer, which has room for them. */
static void fill(struct vio_req *req, uint32_t off, struct source *s,
		 uint32_t len)
{
	struct vio_seg *seg = req->seg + req->nr_read;
	size_t skip = off, left = len;

	for (; left; seg++) {
		size_t n = seg->len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = n - skip < left ? n - skip : left;
		copy_some(s, (unsigned char *)seg->base + skip, n);
		left -= n;
		skip = 0;
	}
	vio_req_wrote(req, 0, off + len);
}

static void put_header(const struct vio_net *net, struct vio_req *req,
		       const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_seg *seg = req->seg + req->nr_read;
	struct virtio_net_hdr hdr = { .flags = 0 };
	struct vio_cursor c;

	hdr.flags = pkt->meta.flags;
	hdr.num_buffers = vio_to_le16((uint16_t)nr);
	if (vio_likely(seg->len >= sizeof(hdr))) {
		memcpy(seg->base, &hdr, net->hdr_len);
		return;
	}
	c = vio_req_writer(req);
	vio_cursor_write(&c, &hdr, net->hdr_len);
}

/* How many of the buffers at hand @len bytes take; 0: more than there are. */
static unsigned buffers_for(const struct buffers *b, uint32_t len)
{
	unsigned i, n = at_hand(b);

	for (i = 0; i < n; i++) {
		uint32_t room = buffer(b, i)->write_len;

		if (room >= len)
			return i + 1;
		len -= room;
	}
	return 0;
}

enum fits { FITS, NO_ROOM, TOO_LONG };

/* Have as many buffers at hand as the packet takes. */
static enum fits gather(const struct vio_net *net, struct buffers *b,
			uint32_t len, unsigned *nr)
{
	unsigned want = 1;

	for (;;) {
		if (!stock(b, want))
			return NO_ROOM;
		/* The first must have the whole header. */
		if (vio_unlikely(buffer(b, 0)->write_len < net->hdr_len))
			return TOO_LONG;
		*nr = buffers_for(b, len);
		if (vio_likely(*nr == 1 || (*nr && net->mergeable)))
			return FITS;
		if (!net->mergeable || at_hand(b) == VIO_NET_MERGE_MAX)
			return TOO_LONG;
		want = at_hand(b) + 1;
	}
}

static void deliver(const struct vio_net *net, struct buffers *b, unsigned nr,
		    const struct vio_net_packet *pkt)
{
	struct source s = { pkt->seg, 0 };
	uint32_t left = pkt->len, off = net->hdr_len;
	unsigned i;

	put_header(net, buffer(b, 0), pkt, nr);
	for (i = 0; i < nr; i++, off = 0) {
		uint32_t n = buffer(b, i)->write_len - off;

		n = n < left ? n : left;
		fill(buffer(b, i), off, &s, n);
		left -= n;
	}
	for (i = 0; i < nr; i++)
		vio_req_done(buffer(b, i));
	b->first += nr;
}

static bool tagged(const struct vio_net_packet *pkt)
{
	struct source s = { pkt->seg, 0 };
	unsigned char head[ETH_HDR];

	if (pkt->len < sizeof(head))
		return false;
	copy_some(&s, head, sizeof(head));
	return head[ETH_TYPE_AT] == 0x81 && !head[ETH_TYPE_AT + 1];
}

/* net.device.device-configuration-layout.5 */
static bool beyond_mtu(const struct vio_net *net,
		       const struct vio_net_packet *pkt)
{
	uint32_t most = net->conf.mtu + ETH_HDR;

	if (pkt->len <= most || !vio_dev_has(&net->dev, VIRTIO_NET_F_MTU) ||
	    (pkt->meta.gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
		return false;
	return pkt->len > most + VLAN_TAG || !tagged(pkt);
}

bool vio_net_can_receive(const struct vio_net *net, unsigned pair)
{
	const struct vio_queue *q = rxq_of(net, pair);

	return q->state == VIO_QUEUE_RUNNING && !q->paused &&
	       (vio_dev_status(&net->dev) & VIRTIO_STATUS_DRIVER_OK);
}

unsigned vio_net_receive(struct vio_net *net, unsigned pair,
			 const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	struct buffers b = { rxq_of(net, pair), &net->pair[pair], 0 };
	unsigned done, good = 0, n;
	enum fits fits = FITS;
	uint64_t bytes = 0;

	if (!vio_net_can_receive(net, pair))
		return 0;
	vio_queue_hold(b.q);
	stock(&b, nr < VIO_NET_MERGE_MAX ? nr : VIO_NET_MERGE_MAX);
	for (done = 0; done < nr; done++) {
		fits = beyond_mtu(net, &pkt[done]) ? TOO_LONG :
			gather(net, &b, pkt[done].len + net->hdr_len, &n);
		if (vio_unlikely(fits == NO_ROOM))
			break;
		if (vio_unlikely(fits == TOO_LONG)) {
			vio_shared64_add(&st->rx_too_long, 1);
			continue;
		}
		deliver(net, &b, n, &pkt[done]);
		bytes += pkt[done].len;
		good++;
	}
	close_up(&b);
	vio_queue_release(b.q);
	vio_shared64_add(&st->rx_packets, good);
	vio_shared64_add(&st->rx_bytes, bytes);
	return done;
}

void vio_net_gave_up(struct vio_net *net, unsigned pair, unsigned nr)
{
	vio_shared64_add(&net->pair[pair].stats.rx_no_room, nr);
}

/*
 * Kicks of a receive queue are off, but while the back end waits: so the
 * queue is served once more, which turns them on and looks again.
 */
void vio_net_want_room(struct vio_net *net, unsigned pair)
{
	if (net->pair[pair].wants_room)
		return;
	net->pair[pair].wants_room = true;
	vio_dev_queue_ready(&net->dev, rxq_of(net, pair));
}

static enum vio_service service_rx(struct vio_net *net, struct vio_queue *q)
{
	struct vio_net_pair *p = &net->pair[q->index / 2];

	if (!p->wants_room)
		return VIO_SERVICE_WAIT;
	if (!vio_queue_pending(q))
		return VIO_SERVICE_IDLE;
	p->wants_room = false;
	if (net->backend->room)
		net->backend->room(net->backend_ctx, q->index / 2);
	return p->wants_room ? VIO_SERVICE_IDLE : VIO_SERVICE_WAIT;
}

/* -- operations ---------------------------------------------------------- */

static enum vio_service net_service(struct vio_dev *dev, struct vio_queue *q,
				    unsigned budget)
{
	struct vio_net *net = net_of(dev);

	return q->index % 2 ? service_tx(net, q, budget) : service_rx(net, q);
}

static void net_queue_stop(struct vio_dev *dev, struct vio_queue *q)
{
	if (!(q->index % 2))
		vio_net_drain(net_of(dev), q->index / 2);
}

static void net_features_ok(struct vio_dev *dev)
{
	struct vio_net *net = net_of(dev);

	net->hdr_len = vio_net_hdr_len(&dev->driver);
	net->mergeable = vio_dev_has(dev, VIRTIO_NET_F_MRG_RXBUF);
}

static const struct vio_dev_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.features_ok = net_features_ok,
	.service = net_service,
	.queue_stop = net_queue_stop,
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
	const struct { unsigned bit; bool on; } table[] = {
		{ VIRTIO_NET_F_MAC, has_mac(conf) },
		{ VIRTIO_NET_F_MTU, conf->mtu },
		{ VIRTIO_NET_F_STATUS, true },
		{ VIRTIO_NET_F_MRG_RXBUF, true },
		{ VIRTIO_F_IN_ORDER, true },
	};
	struct vio_features f = { { 0, 0 } };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(table); i++)
		if (table[i].on)
			vio_feature_set(&f, table[i].bit);
	return f;
}

int vio_net_init(struct vio_net *net, const struct vio_net_conf *conf,
		 struct vio_queue *queue,
		 const struct vio_net_backend_ops *backend, void *backend_ctx)
{
	struct vio_features offered;

	/* net.device.device-configuration-layout.2; a unicast address */
	if (!backend || !backend->send || conf->pairs > VIO_NET_PAIRS ||
	    (conf->mtu && conf->mtu < VIRTIO_NET_MTU_MIN) || conf->mac[0] & 1)
		return VIO_E_INVAL;
	*net = (struct vio_net){
		.conf = *conf, .backend = backend, .backend_ctx = backend_ctx,
		.hdr_len = VIRTIO_NET_HDR_LEN,
	};
	if (!net->conf.pairs)
		net->conf.pairs = 1;
	memcpy(net->config.mac, conf->mac, sizeof(net->config.mac));
	net->config.mtu = vio_to_le16(conf->mtu);
	net->config.status = vio_to_le16(conf->link_down ? 0 :
					 VIRTIO_NET_S_LINK_UP);
	net->config.max_virtqueue_pairs = vio_to_le16(net->conf.pairs);
	offered = features_of(&net->conf);
	vio_dev_init(&net->dev, &net_ops, &offered, queue,
		     vio_net_queues(net->conf.pairs), &net->config,
		     sizeof(net->config));
	return VIO_OK;
}

void vio_net_link(struct vio_net *net, bool up)
{
	uint16_t status = vio_from_le16(net->config.status);

	status = up ? status | VIRTIO_NET_S_LINK_UP :
		      status & ~(unsigned)VIRTIO_NET_S_LINK_UP;
	net->config.status = vio_to_le16(status);
	if (vio_dev_has(&net->dev, VIRTIO_NET_F_STATUS))
		vio_dev_config_changed(&net->dev);
}
