/* SPDX-License-Identifier: MIT */
/*
 * net_rx.c - packets from the wire for the driver: into as many of its
 * buffers as they take, behind a header. Knows no ring and no wire.
 */
#include "core/device/net_gso.h"
#include "core/device/net_hdr.h"
#include "core/device/net_int.h"
#include "core/device/net_rsc.h"
#include "core/device/net_steer.h"
#include "core/base/shared64.h"
#include "core/mem/access.h"

#define SHORT	128u	/* bytes that are copied in line */
#define AHEAD_MAX	2048u	/* bytes of the next packet asked for */

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

static void prefetch_write(const struct vio_req *req)
{
	const struct vio_seg *seg = req->seg + req->nr_read;

	if (!req->nr_write)
		return;
	vio_prefetch_write(seg->base);
	if (seg->len > VIO_NET_LINE)
		vio_prefetch_write((unsigned char *)seg->base + VIO_NET_LINE);
}

/* Have @want buffers at hand, if the ring has them. */
static bool stock(struct buffers *b, unsigned want)
{
	struct vio_net_pair *p = b->p;
	unsigned n;

	if (at_hand(b) >= want)
		return true;
	close_up(b);
	n = vio_queue_pop_many(b->q, p->held + p->nr_held,
			       want - p->nr_held);
	for (unsigned i = 0; i < n; i++)
		prefetch_write(p->held[p->nr_held + i]);
	p->nr_held = (uint16_t)(p->nr_held + n);
	return p->nr_held >= want;
}

void vio_net_drain(struct vio_net *net, unsigned pair)
{
	struct vio_net_pair *p = &net->pair[pair];

	while (p->nr_held)
		vio_queue_unpop(vio_net_rxq(net, pair), p->held[--p->nr_held]);
}

/* A place in a packet; it goes on from buffer to buffer. */
struct source {
	const struct vio_seg *seg;
	size_t off;
};

/*
 * Short packets are most of them: in line, by 64 or 16 bytes, the last of
 * which may overlap those before.
 */
static inline void copy_bytes(unsigned char *to, const unsigned char *from,
			      size_t n)
{
	size_t i;

	if (n < 16 || n > SHORT) {
		memcpy(to, from, n);
		return;
	}
	if (n >= SHORT / 2) {
		memcpy(to, from, SHORT / 2);
		if (n > SHORT / 2)
			memcpy(to + n - SHORT / 2, from + n - SHORT / 2,
			       SHORT / 2);
		return;
	}
	for (i = 0; i + 16 < n; i += 16)
		memcpy(to + i, from + i, 16);
	memcpy(to + n - 16, from + n - 16, 16);
}

static void copy_some(struct source *s, unsigned char *to, size_t len)
{
	while (len) {
		size_t n = s->seg->len - s->off;

		if (n > len)
			n = len;
		copy_bytes(to, (const unsigned char *)s->seg->base + s->off,
			   n);
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

static void describe(struct virtio_net_hdr *hdr,
		     const struct vio_net_meta *m)
{
	hdr->flags = m->flags;
	hdr->gso_type = m->gso_type;
	hdr->hdr_len = vio_to_le16(m->hdr_len);
	hdr->gso_size = vio_to_le16(m->gso_size);
	hdr->csum_start = vio_to_le16(m->csum_start);
	hdr->csum_offset = vio_to_le16(m->csum_offset);
	hdr->outer_th_offset = vio_to_le16(m->outer_th);
	hdr->inner_nh_offset = vio_to_le16(m->inner_nh);
}

/*
 * A large packet's headers, up to the payload, by what they say themselves:
 * net.device.processing-incoming-packets.25
 */
static uint16_t headers_of(const struct vio_net_packet *pkt)
{
	const struct vio_net_meta *m = &pkt->meta;
	unsigned char head[VIO_NET_GSO_HDR_MAX];
	uint32_t at = m->csum_start + 12u;
	unsigned l4 = 8;

	if ((m->gso_type & 7) != VIRTIO_NET_HDR_GSO_UDP_L4 &&
	    (m->gso_type & 7) != VIRTIO_NET_HDR_GSO_UDP) {
		if (at >= sizeof(head) || at >= pkt->len)
			return m->hdr_len;
		vio_net_peek(pkt, head, at + 1);
		l4 = (head[at] >> 4) * 4u;
	}
	return (uint16_t)(m->csum_start + l4);
}

/*
 * What is said of large packets. With RSC_EXT, of how many they were made,
 * in the place of the checksum: net.device.processing-incoming-packets.22
 */
static void describe_large(const struct vio_net *net,
			   struct virtio_net_hdr *hdr,
			   const struct vio_net_packet *pkt)
{
	const struct vio_net_meta *m = &pkt->meta;
	uint32_t merged = m->merged, len = headers_of(pkt), left, size;

	hdr->hdr_len = vio_to_le16((uint16_t)len);
	if (!net->merges)
		return;
	size = m->gso_size ? m->gso_size : 1;
	/* Counted, as the core does not divide. */
	for (left = pkt->len > len ? pkt->len - len : 0;
	     !m->merged && left && merged < UINT16_MAX;
	     left -= left < size ? left : size)
		merged++;
	hdr->flags |= VIRTIO_NET_HDR_F_RSC_INFO;
	hdr->csum_start = vio_to_le16((uint16_t)merged);
	hdr->csum_offset = vio_to_le16(m->dup_acks);
}

static void report_hash(const struct vio_net *net,
			const struct vio_net_packet *pkt,
			struct virtio_net_hdr *hdr)
{
	struct vio_net_meta m = pkt->meta;

	vio_net_hash(net, pkt, &m);
	hdr->hash_value = vio_to_le32(m.hash);
	hdr->hash_report = vio_to_le16(m.hash_report);
}

static void count_described(struct vio_net_stats *st,
			    const struct vio_net_packet *pkt)
{
	if (pkt->meta.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		vio_shared64_add(&st->rx_needs_csum, 1);
	else if (pkt->meta.flags & VIRTIO_NET_HDR_F_DATA_VALID)
		vio_shared64_add(&st->rx_csum_valid, 1);
	if (pkt->meta.gso_type) {
		vio_shared64_add(&st->rx_large, 1);
		vio_shared64_add(&st->rx_large_bytes, pkt->len);
	}
}

static void put_header(const struct vio_net *net, struct vio_net_stats *st,
		       struct vio_req *req, const struct vio_net_packet *pkt,
		       unsigned nr)
{
	struct vio_seg *seg = req->seg + req->nr_read;
	struct virtio_net_hdr hdr = { .flags = 0 };
	struct vio_cursor c;

	if (vio_unlikely(pkt->meta.flags)) {
		describe(&hdr, &pkt->meta);
		count_described(st, pkt);
	}
	if (vio_unlikely(pkt->meta.gso_type))
		describe_large(net, &hdr, pkt);
	if (vio_unlikely(net->reports))
		report_hash(net, pkt, &hdr);
	hdr.num_buffers = vio_to_le16((uint16_t)nr);
	if (vio_unlikely(vio_dev_big_endian(&net->dev)))
		vio_net_hdr_mirror(&hdr);
	if (vio_likely(seg->len >= sizeof(hdr) &&
		       net->hdr_len == VIRTIO_NET_HDR_LEN)) {
		memcpy(seg->base, &hdr, VIRTIO_NET_HDR_LEN);
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

	put_header(net, &b->p->stats, buffer(b, 0), pkt, nr);
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

void vio_net_peek(const struct vio_net_packet *pkt, void *dst, size_t len)
{
	struct source s = { pkt->seg, 0 };

	copy_some(&s, dst, len);
}

static bool tagged(const struct vio_net_packet *pkt)
{
	unsigned char head[VIO_NET_ETH_HDR];

	if (pkt->len < sizeof(head))
		return false;
	vio_net_peek(pkt, head, sizeof(head));
	return head[VIO_NET_ETH_TYPE_AT] == 0x81 &&
	       !head[VIO_NET_ETH_TYPE_AT + 1];
}

/* net.device.device-configuration-layout.5 */
static bool beyond_mtu(const struct vio_net *net,
		       const struct vio_net_packet *pkt)
{
	uint32_t most = net->conf.mtu + VIO_NET_ETH_HDR;

	if (pkt->len <= most || !vio_dev_has(&net->dev, VIRTIO_NET_F_MTU) ||
	    (pkt->meta.gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
		return false;
	return pkt->len > most + VIO_NET_VLAN_TAG || !tagged(pkt);
}

static bool here(const struct vio_net *net, unsigned pair)
{
	const struct vio_queue *q = vio_net_rxq(net, pair);

	return q->state == VIO_QUEUE_RUNNING && !q->paused;
}

bool vio_net_can_receive(const struct vio_net *net, unsigned pair)
{
	return (vio_dev_status(&net->dev) & VIRTIO_STATUS_DRIVER_OK) &&
	       (net->steers || here(net, pair));
}

/* One packet, as it is, into the driver's buffers. */
static enum fits put(struct vio_net *net, struct buffers *b,
		     const struct vio_net_packet *pkt)
{
	struct vio_net_stats *st = &b->p->stats;
	enum fits fits;
	unsigned n;

	fits = beyond_mtu(net, pkt) ? TOO_LONG :
		gather(net, b, pkt->len + net->hdr_len, &n);
	if (vio_unlikely(fits == TOO_LONG))
		vio_shared64_add(&st->rx_too_long, 1);
	if (vio_unlikely(fits != FITS))
		return fits;
	deliver(net, b, n, pkt);
	vio_shared64_add(&st->rx_packets, 1);
	vio_shared64_add(&st->rx_bytes, pkt->len);
	return FITS;
}

/* Can the driver do what is left to do to this packet? */
static bool bears(const struct vio_net *net, const struct vio_net_meta *m)
{
	uint64_t f = net->guest_offloads, gso;

	if (!(f >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return !m->flags && !m->gso_type;
	if (m->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL &&
	    (!(f & VIO_NET_OFFLOAD_TUNNEL) ||
	     (m->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM &&
	      !(f & VIO_NET_OFFLOAD_TUNNEL_CSUM))))
		return false;
	switch (m->gso_type & ~(VIRTIO_NET_HDR_GSO_ECN |
				VIRTIO_NET_HDR_GSO_UDP_TUNNEL)) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_UDP:
		return f >> VIRTIO_NET_F_GUEST_UFO & 1;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		gso = VIRTIO_NET_F_GUEST_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		gso = VIRTIO_NET_F_GUEST_TSO6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		/* Which of the two is not said; both come together. */
		return f >> VIRTIO_NET_F_GUEST_USO4 & 1 &&
		       f >> VIRTIO_NET_F_GUEST_USO6 & 1;
	default:
		return false;
	}
	return f >> gso & 1 && (!(m->gso_type & VIRTIO_NET_HDR_GSO_ECN) ||
				f >> VIRTIO_NET_F_GUEST_ECN & 1);
}

/*
 * The driver cannot: do it here. What does not fit into its buffers any more
 * is lost, as if the wire had lost it.
 */
static enum fits put_cut(struct vio_net *net, struct buffers *b,
			 const struct vio_net_packet *pkt)
{
	struct vio_net_packet p;
	struct vio_net_cut cut;
	enum fits fits = FITS;

	unsigned char *scratch;

	if (!net->conf.scratch || pkt->len > VIO_NET_PACKET_MAX)
		return TOO_LONG;
	scratch = vio_net_scratch(net, b->q->index / 2);
	vio_net_peek(pkt, scratch, pkt->len);
	if (!vio_net_cut_begin(&cut, scratch, pkt->len, &pkt->meta)) {
		vio_shared64_add(&b->p->stats.rx_malformed, 1);
		return TOO_LONG;
	}
	while (vio_net_cut_next(&cut, &p)) {
		fits = put(net, b, &p);
		if (fits == NO_ROOM && cut.nr <= 1)
			return NO_ROOM;
		if (fits == NO_ROOM)
			vio_shared64_add(&b->p->stats.rx_no_room, 1);
	}
	return fits == NO_ROOM ? TOO_LONG : fits;
}

static void count_received(struct vio_net_stats *st,
			   const struct vio_net_meta *m)
{
	if (m->gso_type)
		vio_shared64_add(&st->rx_gso, 1);
	else if (m->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		vio_shared64_add(&st->rx_csum, 1);
}

static enum fits put_one(struct vio_net *net, struct buffers *b,
			 const struct vio_net_packet *pkt)
{
	struct vio_net_stats *st = &b->p->stats;

	if (vio_unlikely(!vio_net_wanted(net, pkt))) {
		vio_shared64_add(&st->rx_unwanted, 1);
		return TOO_LONG;
	}
	if (vio_likely(!pkt->meta.flags && !pkt->meta.gso_type))
		return put(net, b, pkt);
	count_received(st, &pkt->meta);
	return bears(net, &pkt->meta) ? put(net, b, pkt) :
					put_cut(net, b, pkt);
}

/* -- packets that take one buffer each ----------------------------------- */

/*
 * The header of nearly all packets stands in a buffer already that went
 * round: left alone, its line need not come back from the driver's cache.
 */
static inline void put_header_in(const struct vio_net *net,
				 unsigned char *to,
				 const struct vio_net_packet *pkt)
{
	/* csum_offset and num_buffers of a packet that asks for nothing */
	const vio_le16 plain[2] = { vio_to_le16(0), vio_to_le16(1) };
	uint64_t a = 0, b;
	uint32_t c, d;

	memcpy(&c, plain, sizeof(c));
	if (vio_unlikely(pkt->meta.flags | pkt->meta.gso_type)) {
		struct virtio_net_hdr hdr = { .num_buffers = plain[1] };

		describe(&hdr, &pkt->meta);
		if (pkt->meta.gso_type)
			describe_large(net, &hdr, pkt);
		memcpy(&a, &hdr, sizeof(a));
		memcpy(&c, (unsigned char *)&hdr + sizeof(a), sizeof(c));
	}
	memcpy(&b, to, sizeof(b));
	memcpy(&d, to + sizeof(b), sizeof(d));
	if (vio_unlikely(a != b))
		memcpy(to, &a, sizeof(a));
	if (vio_unlikely(c != d))
		memcpy(to + sizeof(a), &c, sizeof(c));
}

static void prefetch_pieces(const struct vio_piece *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uintptr_t line = (uintptr_t)b[i].base / VIO_NET_LINE;
		uintptr_t data = ((uintptr_t)b[i].base + VIRTIO_NET_HDR_LEN) /
				 VIO_NET_LINE;

		/* A header on a line of its own is looked at first. */
		if (line != data)
			vio_prefetch(b[i].base);
		if (b[i].len > VIRTIO_NET_HDR_LEN)
			vio_prefetch_write(b[i].base + VIRTIO_NET_HDR_LEN);
	}
}

/*
 * What a long packet is copied from, and where to, beyond what is on its way
 * already: while the one before it is copied.
 */
static inline void prefetch_long(const struct vio_net_packet *pkt,
				 const struct vio_piece *b)
{
	uint32_t len = pkt->len < b->len ? pkt->len : b->len, at;
	const unsigned char *from;

	if (len <= SHORT || pkt->nr_seg != 1)
		return;
	from = pkt->seg->base;
	for (at = VIO_NET_LINE; at < len && at < AHEAD_MAX;
	     at += VIO_NET_LINE) {
		vio_prefetch(from + at);
		vio_prefetch_write(b->base + VIRTIO_NET_HDR_LEN + at);
	}
}

/* Can the packet go as it is into a buffer of its own? */
static inline bool is_plain(const struct vio_net *net,
			    const struct vio_net_packet *pkt, uint32_t most)
{
	return pkt->nr_seg == 1 &&
	       (vio_likely(pkt->len <= most) || !beyond_mtu(net, pkt)) &&
	       ((!pkt->meta.flags && !pkt->meta.gso_type) ||
		bears(net, &pkt->meta));
}

/*
 * As many as go into one buffer each without more ado. Returns how many; the
 * next needs more.
 */
static unsigned receive_pieces(struct vio_net *net, unsigned pair,
			       const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	struct vio_queue *q = vio_net_rxq(net, pair);
	const uint32_t most = vio_dev_has(&net->dev, VIRTIO_NET_F_MTU) ?
		net->conf.mtu + VIO_NET_ETH_HDR : UINT32_MAX;
	const bool picky = vio_net_is_picky(net);
	struct vio_piece b[VIO_PEEK_MAX];
	unsigned n = 0, done, used = 0;
	uint64_t bytes = 0;

	if (vio_likely(net->hdr_len == VIRTIO_NET_HDR_LEN &&
		       !vio_dev_big_endian(&net->dev)))
		n = vio_queue_peek(q, true, b, nr);
	prefetch_pieces(b, n);
	for (done = 0; done < nr && used < n; done++) {
		const struct vio_net_packet *p = &pkt[done];

		if (vio_unlikely(picky && !vio_net_wanted(net, p))) {
			vio_shared64_add(&st->rx_unwanted, 1);
			continue;
		}
		if (vio_unlikely(!is_plain(net, p, most) ||
				 b[used].len < VIRTIO_NET_HDR_LEN ||
				 b[used].len - VIRTIO_NET_HDR_LEN < p->len))
			break;
		if (vio_unlikely(p->meta.flags)) {
			count_received(st, &p->meta);
			count_described(st, p);
		}
		if (done + 1 < nr && used + 1 < n)
			prefetch_long(p + 1, &b[used + 1]);
		put_header_in(net, b[used].base, p);
		copy_bytes(b[used].base + VIRTIO_NET_HDR_LEN, p->seg->base,
			   p->len);
		b[used].len = VIRTIO_NET_HDR_LEN + p->len;
		bytes += p->len;
		used++;
	}
	vio_queue_use(q, b, used, true);
	vio_shared64_add(&st->rx_packets, used);
	vio_shared64_add(&st->rx_bytes, bytes);
	return done;
}

static unsigned receive_run(struct vio_net *net, unsigned pair,
			    const struct vio_net_packet *pkt, unsigned nr)
{
	struct buffers b = { vio_net_rxq(net, pair), &net->pair[pair], 0 };
	unsigned done = 0, got;

	vio_queue_hold(b.q);
	if (vio_unlikely(b.p->nr_held))
		vio_net_drain(net, pair);
	do {
		got = receive_pieces(net, pair, pkt + done, nr - done);
		done += got;
	} while (got && done < nr);
	if (vio_unlikely(done < nr)) {
		got = nr - done;
		stock(&b, got < VIO_NET_MERGE_MAX ? got : VIO_NET_MERGE_MAX);
		while (done < nr && put_one(net, &b, &pkt[done]) != NO_ROOM)
			done++;
		close_up(&b);
	}
	vio_queue_release(b.q);
	return done;
}

/* Those that can be made one are; a packet that finds no room stays. */
static unsigned receive_merged(struct vio_net *net, unsigned pair,
			       const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	struct vio_net_rsc rsc;
	unsigned done = 0, n;

	vio_queue_hold(vio_net_rxq(net, pair));
	while (done < nr) {
		n = vio_net_rsc(&rsc, pkt + done, nr - done,
				net->guest_offloads);
		vio_shared64_add(&st->rx_csum_bad, rsc.bad);
		if (!receive_run(net, pair, n ? &rsc.pkt : pkt + done, 1))
			break;
		if (n) {
			vio_shared64_add(&st->rx_merged, 1);
			vio_shared64_add(&st->rx_merged_bytes, rsc.pkt.len);
		}
		done += n ? n : 1;
	}
	vio_queue_release(vio_net_rxq(net, pair));
	return done;
}

unsigned vio_net_receive_here(struct vio_net *net, unsigned pair,
			      const struct vio_net_packet *pkt, unsigned nr)
{
	if (!vio_net_can_receive(net, pair) || !here(net, pair))
		return 0;
	return vio_unlikely(net->merges) ?
		receive_merged(net, pair, pkt, nr) :
		receive_run(net, pair, pkt, nr);
}

unsigned vio_net_receive(struct vio_net *net, unsigned pair,
			 const struct vio_net_packet *pkt, unsigned nr)
{
	return vio_unlikely(net->steers) ?
		vio_net_steer(net, pair, pkt, nr) :
		vio_net_receive_here(net, pair, pkt, nr);
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
	vio_dev_queue_ready(&net->dev, vio_net_rxq(net, pair));
}

enum vio_service vio_net_service_rx(struct vio_net *net, struct vio_queue *q)
{
	struct vio_net_pair *p = &net->pair[q->index / 2];

	__atomic_store_n(&p->open, true, __ATOMIC_RELAXED);
	if (vio_unlikely(net->steers))
		vio_net_mail_take(net, q->index / 2);
	if (!p->wants_room)
		return VIO_SERVICE_WAIT;
	if (!vio_queue_pending(q))
		return VIO_SERVICE_IDLE;
	p->wants_room = false;
	if (net->backend->room)
		net->backend->room(net->backend_ctx, q->index / 2);
	return p->wants_room ? VIO_SERVICE_IDLE : VIO_SERVICE_WAIT;
}

