/* SPDX-License-Identifier: MIT */
/*
 * net_packets.c - packets of the network driver, out and in (standard: 5.1.6),
 * one at a time or many. What the device says of a packet is read once and
 * believed only as far as it fits what the driver offered. How the two came
 * to terms is the business of net.c; it knows no bus and no ring.
 */
#include <vireo/driver_net.h>

#include "core/driver/net.h"
#include "core/mem/access.h"

#define BURST	32u	/* packets that are dealt with at a time */

/* -- sending ------------------------------------------------------------- */

static bool gso_agreed(const struct vio_drv *drv, uint8_t type)
{
	uint8_t base = type & (0xff ^ VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
	bool ecn = type & VIRTIO_NET_HDR_GSO_ECN;

	if (ecn && !vio_drv_has(drv, VIRTIO_NET_F_HOST_ECN))
		return false;
	if (base != type && !vio_drv_has(drv, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO))
		return false;
	switch (base & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vio_drv_has(drv, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vio_drv_has(drv, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP:
		return type == VIRTIO_NET_HDR_GSO_UDP &&
		       vio_drv_has(drv, VIRTIO_NET_F_HOST_UFO);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return !ecn && vio_drv_has(drv, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/* net.driver.packet-transmission.14 to .16, and headers in their order */
static int check_tunnel(const struct vio_netdrv *net,
			const struct vio_netdrv_offload *off)
{
	uint8_t tunnel = off->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL;
	bool csum = off->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;

	if (csum && !vio_drv_has(&net->drv,
				 VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM))
		return VIO_E_UNSUPP;
	if (!tunnel)
		return csum ? VIO_E_INVAL : VIO_OK;
	if (tunnel == VIRTIO_NET_HDR_GSO_UDP_TUNNEL ||
	    off->gso_type == tunnel || !off->outer_th ||
	    off->outer_th >= off->inner_nh ||
	    off->inner_nh >= off->csum_start)
		return VIO_E_INVAL;
	return VIO_OK;
}

/* May the device be asked for this? */
static int check_offload(const struct vio_netdrv *net,
			 const struct vio_netdrv_offload *off, uint32_t len)
{
	bool csum = off->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	int err;

	/* net.driver.packet-transmission.33 and .3 */
	if (off->flags & ~(VIRTIO_NET_HDR_F_NEEDS_CSUM |
			   VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM))
		return VIO_E_INVAL;
	if (csum && !vio_drv_has(&net->drv, VIRTIO_NET_F_CSUM))
		return VIO_E_UNSUPP;
	if (csum && (uint32_t)off->csum_start + off->csum_offset + 2 > len)
		return VIO_E_INVAL;
	if (off->gso_type && !gso_agreed(&net->drv, off->gso_type))
		return VIO_E_UNSUPP;
	err = check_tunnel(net, off);
	if (err || !off->gso_type)
		return err;
	/* net.driver.packet-transmission.23: at least not none */
	if (!csum || !off->gso_size ||
	    (!off->hdr_len &&
	     vio_drv_has(&net->drv, VIRTIO_NET_F_GUEST_HDRLEN)))
		return VIO_E_INVAL;
	return VIO_OK;
}

static int check_packet(const struct vio_netdrv *net,
			const struct vio_seg *seg, unsigned nr,
			const struct vio_netdrv_offload *off)
{
	uint64_t len = 0;
	unsigned i;

	if (!nr || nr > VIO_NETDRV_SEGS)
		return VIO_E_INVAL;
	for (i = 0; i < nr; i++)
		len += seg[i].len;
	/* net.driver.device-configuration-layout.8 */
	if (net->mtu && len > (uint64_t)net->mtu + ETH_HDR + VLAN_TAG &&
	    !(off && off->gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
		return VIO_E_RANGE;
	return off ? check_offload(net, off, (uint32_t)len) : VIO_OK;
}

static void fill_header(const struct vio_drv *drv, struct virtio_net_hdr *hdr,
			const struct vio_netdrv_offload *off)
{
	hdr->flags = off->flags;
	hdr->gso_type = off->gso_type;
	hdr->hdr_len = vio_drv_to16(drv, off->hdr_len);
	hdr->gso_size = vio_drv_to16(drv, off->gso_size);
	hdr->csum_start = vio_drv_to16(drv, off->csum_start);
	hdr->csum_offset = vio_drv_to16(drv, off->csum_offset);
	hdr->outer_th_offset = vio_drv_to16(drv, off->outer_th);
	hdr->inner_nh_offset = vio_drv_to16(drv, off->inner_nh);
}

/*
 * The header goes before the packet's first byte, and into one descriptor
 * with it: VERSION_1 or ANY_LAYOUT lets us. Returns how many segments.
 */
static unsigned lay_out(const struct vio_netdrv *net, struct vio_seg *out,
			const struct vio_seg *seg, unsigned nr)
{
	unsigned first = net->framed, i;

	for (i = 0; i < nr; i++)
		out[first + i] = seg[i];
	out[0].base = (unsigned char *)seg[0].base - net->hdr_len;
	out[0].len = first ? net->hdr_len : seg[0].len + net->hdr_len;
	return first + nr;
}

int vio_netdrv_send(struct vio_netdrv *net, unsigned pair,
		    const struct vio_seg *seg, unsigned nr,
		    const struct vio_netdrv_offload *off, void *token)
{
	struct vio_vq *vq = &net->pair[pair].tx;
	/* num_buffers is 0 when sent (net.driver.packet-transmission.2) */
	struct virtio_net_hdr hdr = { .flags = 0 };
	struct vio_seg out[VIO_NETDRV_SEGS + 1];
	uintptr_t room;
	int err;

	err = pair < net->active ? check_packet(net, seg, nr, off) :
				   VIO_E_STATE;
	if (err)
		return err;
	room = (uintptr_t)seg[0].base - (uintptr_t)vq->window.host;
	if (room < net->hdr_len || room > vq->window.size)
		return VIO_E_RANGE;
	if (vio_unlikely(off != NULL))
		fill_header(&net->drv, &hdr, off);
	nr = lay_out(net, out, seg, nr);
	memcpy(out[0].base, &hdr, net->hdr_len);
	return vio_vq_add(vq, out, nr, 0, token);
}

/*
 * A packet of one piece that asks for nothing, as most are: it is laid out as
 * @one, and its header written. False: it is not, or something is wrong.
 */
static inline bool lay_out_plain(const struct vio_netdrv *net,
				 const struct vio_vq *vq,
				 const struct vio_netdrv_out *o,
				 struct vio_single *one)
{
	static const unsigned char hdr[VIRTIO_NET_HDR_LEN];
	unsigned char *at;
	uintptr_t room;

	if (vio_unlikely(o->nr != 1 || o->off || net->framed ||
			 net->hdr_len != VIRTIO_NET_HDR_LEN))
		return false;
	at = o->seg->base;
	room = (uintptr_t)at - (uintptr_t)vq->window.host;
	if (vio_unlikely(room < VIRTIO_NET_HDR_LEN ||
			 room > vq->window.size ||
			 o->seg->len > UINT32_MAX - VIRTIO_NET_HDR_LEN ||
			 (net->mtu && o->seg->len > (size_t)net->mtu +
						    ETH_HDR + VLAN_TAG)))
		return false;
	at -= VIRTIO_NET_HDR_LEN;
	memcpy(at, hdr, VIRTIO_NET_HDR_LEN);
	one->base = at;
	one->token = o->token;
	one->len = (uint32_t)o->seg->len + VIRTIO_NET_HDR_LEN;
	return true;
}

unsigned vio_netdrv_send_many(struct vio_netdrv *net, unsigned pair,
			      const struct vio_netdrv_out *out, unsigned nr,
			      int *err)
{
	struct vio_vq *vq = &net->pair[pair].tx;
	struct vio_single one[BURST];
	unsigned done = 0, n;

	*err = pair < net->active ? VIO_OK : VIO_E_STATE;
	while (done < nr && *err == VIO_OK) {
		const struct vio_netdrv_out *o = out + done;

		for (n = 0; n < BURST && n < nr - done; n++)
			if (!lay_out_plain(net, vq, &o[n], &one[n]))
				break;
		if (n) {
			done += vio_vq_add_singles(vq, one, n, false, err);
			continue;
		}
		*err = vio_netdrv_send(net, pair, o->seg, o->nr, o->off,
				       o->token);
		done += *err == VIO_OK;
	}
	return done;
}

void *vio_netdrv_sent(struct vio_netdrv *net, unsigned pair)
{
	uint32_t len;

	return vio_vq_get(&net->pair[pair].tx, &len);
}

unsigned vio_netdrv_sent_many(struct vio_netdrv *net, unsigned pair,
			      void **token, unsigned max)
{
	struct vio_used u[BURST];
	unsigned n, i;

	n = vio_vq_get_many(&net->pair[pair].tx, u, max < BURST ? max : BURST);
	for (i = 0; i < n; i++)
		token[i] = u[i].token;
	return n;
}

/* -- receiving ----------------------------------------------------------- */

/* Used buffers in a row: those at hand, then what the ring has. */
struct run {
	struct vio_vq *vq;
	const struct vio_used *at;
	unsigned nr;
};

static bool next_used(struct run *r, struct vio_used *u)
{
	if (vio_unlikely(!r->nr))
		return vio_vq_get_many(r->vq, u, 1);
	*u = *r->at++;
	r->nr--;
	return true;
}

/* The rest of a packet that lies in several buffers. False: a lie. */
static bool take_more(struct vio_netdrv *net, struct run *r,
		      struct vio_netdrv_packet *pkt, unsigned nr)
{
	struct vio_used u;

	while (pkt->nr < nr) {
		if (!next_used(r, &u))
			return false;
		pkt->buffer[pkt->nr] = u.token;
		pkt->seg[pkt->nr].base = u.token;
		pkt->seg[pkt->nr++].len = u.len;
		pkt->len += u.len;
		/* net.device.processing-incoming-packets.3: only the last
		 * may have room left */
		if (!u.len || (pkt->nr < nr && u.len != net->rx_len))
			return false;
	}
	return true;
}

/*
 * net.driver.processing-incoming-packets.8 to .10: is what is said of a
 * tunnel one thing? Whether it lies in the packet is seen when that is whole.
 */
static bool read_tunnel(const struct vio_netdrv *net,
			const struct virtio_net_hdr *hdr,
			struct vio_netdrv_packet *pkt)
{
	uint8_t tunnel = hdr->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL;
	const struct vio_drv *drv = &net->drv;

	if (!tunnel)
		return !(hdr->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM &&
			 hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
			 vio_drv_has(drv,
				VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM));
	pkt->outer_th = vio_drv_from16(drv, hdr->outer_th_offset);
	pkt->inner_nh = vio_drv_from16(drv, hdr->inner_nh_offset);
	if (vio_drv_has(drv, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM))
		pkt->flags |= hdr->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;
	return vio_drv_has(drv, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO) &&
	       tunnel != VIRTIO_NET_HDR_GSO_UDP_TUNNEL &&
	       hdr->gso_type != tunnel &&
	       hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	       !(hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID) &&
	       pkt->outer_th < pkt->inner_nh;
}

/* What few packets say. False: it contradicts itself. */
static bool read_more(const struct vio_netdrv *net,
		      const struct virtio_net_hdr *hdr,
		      struct vio_netdrv_packet *pkt)
{
	const struct vio_drv *drv = &net->drv;

	if (vio_drv_has(drv, VIRTIO_NET_F_HASH_REPORT)) {
		pkt->hash = vio_drv_from32(drv, hdr->hash_value);
		pkt->hash_report = vio_drv_from16(drv, hdr->hash_report);
		if (pkt->hash_report > VIRTIO_NET_HASH_REPORT_UDPv6_EX)
			pkt->hash_report = VIRTIO_NET_HASH_REPORT_NONE;
	}
	/* net.driver.processing-incoming-packets.4: no offsets then */
	if (hdr->flags & VIRTIO_NET_HDR_F_RSC_INFO &&
	    vio_drv_has(drv, VIRTIO_NET_F_RSC_EXT)) {
		pkt->flags |= VIRTIO_NET_HDR_F_RSC_INFO;
		pkt->merged = pkt->csum_start;
		pkt->dup_acks = pkt->csum_offset;
		pkt->csum_start = pkt->csum_offset = 0;
	}
	return read_tunnel(net, hdr, pkt);
}

/* Read the first buffer's header. Returns how many buffers; 0: a lie. */
static unsigned read_header(const struct vio_netdrv *net,
			    const unsigned char *buffer, uint32_t len,
			    struct vio_netdrv_packet *pkt)
{
	const struct vio_drv *drv = &net->drv;
	struct virtio_net_hdr hdr = { .flags = 0 };
	unsigned nr;

	if (len < net->hdr_len)
		return 0;
	vio_copy_in(&hdr, buffer, VIRTIO_NET_HDR_LEN);
	if (vio_unlikely(net->hdr_len > VIRTIO_NET_HDR_LEN))
		vio_copy_in(&hdr.hash_value, buffer + VIRTIO_NET_HDR_LEN,
			    net->hdr_len - VIRTIO_NET_HDR_LEN);
	nr = vio_drv_from16(drv, hdr.num_buffers);
	/* net.driver.processing-incoming-packets.1: others are ignored */
	pkt->flags = hdr.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
				  VIRTIO_NET_HDR_F_DATA_VALID);
	pkt->gso_type = hdr.gso_type;
	pkt->gso_size = vio_drv_from16(drv, hdr.gso_size);
	pkt->csum_start = vio_drv_from16(drv, hdr.csum_start);
	pkt->csum_offset = vio_drv_from16(drv, hdr.csum_offset);
	pkt->merged = pkt->dup_acks = pkt->hash_report = 0;
	pkt->hash = 0;
	if (vio_unlikely(hdr.flags | hdr.gso_type ||
			 net->hdr_len > VIRTIO_NET_HDR_LEN) &&
	    !read_more(net, &hdr, pkt))
		return 0;
	if (!net->mergeable)
		return 1;
	if (!nr || nr > VIO_NETDRV_SEGS ||
	    (nr > 1 && len != net->rx_len))
		return 0;
	return nr;
}

static bool offsets_ok(const struct vio_netdrv_packet *pkt)
{
	if (vio_unlikely(pkt->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL &&
			 pkt->inner_nh >= pkt->len))
		return false;
	return pkt->len >= ETH_HDR &&
	       (!(pkt->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
		(uint32_t)pkt->csum_start + pkt->csum_offset + 2 <= pkt->len);
}

/* The next packet of a run that is not empty. False: what came is none. */
static bool take(struct vio_netdrv *net, struct run *r,
		 struct vio_netdrv_packet *pkt)
{
	struct vio_used u;
	unsigned char *b;
	unsigned nr;

	next_used(r, &u);
	b = u.token;
	pkt->buffer[0] = b;
	pkt->nr = 1;
	nr = read_header(net, b, u.len, pkt);
	if (vio_unlikely(!nr))
		return false;
	pkt->seg[0].base = b + net->hdr_len;
	pkt->seg[0].len = u.len - net->hdr_len;
	pkt->len = u.len - net->hdr_len;
	return (vio_likely(nr == 1) || take_more(net, r, pkt, nr)) &&
	       offsets_ok(pkt);
}

unsigned vio_netdrv_receive_many(struct vio_netdrv *net, unsigned pair,
				 struct vio_netdrv_packet *const *pkt,
				 unsigned max)
{
	struct vio_netdrv_pair *p = &net->pair[pair];
	struct vio_used u[BURST];
	unsigned n, got = 0;
	struct run r;

	n = vio_vq_get_many(&p->rx, u, max < BURST ? max : BURST);
	/* The device wrote them last: all headers come at a time. */
	for (unsigned i = 0; i < n; i++)
		vio_prefetch_write(u[i].token);
	for (r = (struct run){ &p->rx, u, n }; r.nr;) {
		if (vio_likely(take(net, &r, pkt[got]))) {
			got++;
			continue;
		}
		p->bad++;
		vio_netdrv_recycle(net, pair, pkt[got]);
	}
	return got;
}

bool vio_netdrv_receive(struct vio_netdrv *net, unsigned pair,
			struct vio_netdrv_packet *pkt)
{
	uint64_t bad;

	do {
		bad = net->pair[pair].bad;
		if (vio_netdrv_receive_many(net, pair, &pkt, 1))
			return true;
	} while (net->pair[pair].bad != bad);
	return false;
}

/* -- giving back --------------------------------------------------------- */

int vio_netdrv_offer(struct vio_netdrv *net, unsigned pair, void *buffer)
{
	struct vio_seg seg[2] = { { buffer, net->rx_len } };

	if (vio_likely(!net->framed))
		return vio_vq_add(&net->pair[pair].rx, seg, 0, 1, buffer);
	seg[0].len = net->hdr_len;
	seg[1].base = (unsigned char *)buffer + net->hdr_len;
	seg[1].len = net->rx_len - net->hdr_len;
	return vio_vq_add(&net->pair[pair].rx, seg, 0, 2, buffer);
}

void vio_netdrv_recycle(struct vio_netdrv *net, unsigned pair,
			const struct vio_netdrv_packet *pkt)
{
	unsigned i;

	/* They fit: each entry was free a moment ago. */
	for (i = 0; i < pkt->nr; i++)
		vio_netdrv_offer(net, pair, pkt->buffer[i]);
}

void vio_netdrv_recycle_many(struct vio_netdrv *net, unsigned pair,
			     struct vio_netdrv_packet *const *pkt, unsigned nr)
{
	struct vio_vq *rx = &net->pair[pair].rx;
	struct vio_single one[BURST];
	unsigned n = 0, i;
	int err;

	for (i = 0; i < nr; i++) {
		if (vio_unlikely(pkt[i]->nr != 1 || net->framed)) {
			vio_netdrv_recycle(net, pair, pkt[i]);
			continue;
		}
		one[n].base = one[n].token = pkt[i]->buffer[0];
		one[n].len = net->rx_len;
		if (++n < BURST)
			continue;
		vio_vq_add_singles(rx, one, n, true, &err);
		n = 0;
	}
	if (n)
		vio_vq_add_singles(rx, one, n, true, &err);
}

void vio_netdrv_commit(struct vio_netdrv *net, unsigned pair)
{
	struct vio_netdrv_pair *p = &net->pair[pair];

	vio_drv_kick(&net->drv, (uint16_t)(2 * pair), &p->rx);
	vio_drv_kick(&net->drv, (uint16_t)(2 * pair + 1), &p->tx);
}
