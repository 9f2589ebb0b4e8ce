/* SPDX-License-Identifier: MIT */
/*
 * The network driver: packets are buffers of virtqueues, a header before
 * each. Knows no bus and no ring layout. What the device says of a packet is
 * read once and believed only as far as it fits what the driver offered.
 */
#include <vireo/driver_net.h>

#include "core/driver/net.h"
#include "core/mem/access.h"

#define LINE		64	/* bytes */
#define ETH_HDR		14u
#define VLAN_TAG	4u
#define LARGEST		65609u	/* of a packet to be cut, and header */
#define CONFIG_LEN	offsetof(struct virtio_net_config, speed)

struct vio_features vio_netdrv_features(void)
{
	static const uint8_t bits[] = {
		VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
		VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM,
		VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
		VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
		VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6,
		VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_RX,
		VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VLAN,
		VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_GUEST_ANNOUNCE,
		VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
		VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
		VIRTIO_F_VERSION_1, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED,
	};
	struct vio_features f = { { 0, 0 } };
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(bits); i++)
		vio_feature_set(&f, bits[i]);
	return f;
}

static unsigned pairs_of(const struct vio_netdrv_conf *conf)
{
	return conf->pairs ? conf->pairs : 1;
}

/* Buffers begin on a line of their own. */
static size_t rx_stride(uint32_t len)
{
	return (len + LINE - 1) / LINE * (size_t)LINE;
}

size_t vio_netdrv_shared_size(const struct vio_netdrv_conf *conf)
{
	return pairs_of(conf) * (2 * vio_vq_shared_size(&conf->limits) + LINE +
				 conf->rx_buffers * rx_stride(conf->rx_len)) +
	       vio_vq_shared_size(&conf->limits) + VIO_NETDRV_COMMAND +
	       2 * LINE;
}

size_t vio_netdrv_private_size(const struct vio_netdrv_conf *conf)
{
	return (pairs_of(conf) * 2 + 1) * vio_vq_private_size(&conf->limits);
}

/* Was a feature agreed on that stands for a field? */
static bool has_config(const struct vio_drv *drv)
{
	return vio_drv_has(drv, VIRTIO_NET_F_MAC) ||
	       vio_drv_has(drv, VIRTIO_NET_F_STATUS) ||
	       vio_drv_has(drv, VIRTIO_NET_F_MTU);
}

int vio_netdrv_refresh(struct vio_netdrv *net)
{
	struct vio_drv *drv = &net->drv;
	struct virtio_net_config c;
	int err;

	memset(&c, 0, sizeof(c));
	/* There are buses without a configuration, when none is needed. */
	if (has_config(drv)) {
		err = vio_drv_config_read(drv, 0, &c, CONFIG_LEN);
		if (err)
			return err;
	}
	net->has_mac = vio_drv_has(drv, VIRTIO_NET_F_MAC);
	memcpy(net->mac, c.mac, sizeof(net->mac));
	/* net.driver.device-configuration-layout.5 */
	net->link_up = !vio_drv_has(drv, VIRTIO_NET_F_STATUS) ||
		       (vio_drv_from16(drv, c.status) &
			VIRTIO_NET_S_LINK_UP);
	net->announce = vio_drv_has(drv, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
			(vio_drv_from16(drv, c.status) &
			 VIRTIO_NET_S_ANNOUNCE);
	net->mtu = vio_drv_has(drv, VIRTIO_NET_F_MTU) ?
		vio_drv_from16(drv, c.mtu) : 0;
	return VIO_OK;
}

/* Give a buffer (back) to the device. */
static int offer(struct vio_netdrv *net, unsigned pair, void *buffer)
{
	struct vio_seg seg[2] = { { buffer, net->rx_len } };

	if (vio_likely(!net->framed))
		return vio_vq_add(&net->pair[pair].rx, seg, 0, 1, buffer);
	seg[0].len = net->hdr_len;
	seg[1].base = (unsigned char *)buffer + net->hdr_len;
	seg[1].len = net->rx_len - net->hdr_len;
	return vio_vq_add(&net->pair[pair].rx, seg, 0, 2, buffer);
}

/* As many as the ring has room for, if a header takes a place of its own. */
static unsigned buffers_of(const struct vio_netdrv *net,
			   const struct vio_netdrv_conf *conf,
			   const struct vio_vq *rx)
{
	unsigned most = net->framed ? rx->size / 2u : rx->size;

	return conf->rx_buffers < most ? conf->rx_buffers : most;
}

static int init_pair(struct vio_netdrv *net, unsigned pair,
		     const struct vio_netdrv_conf *conf,
		     struct vio_drv_mem *mem)
{
	struct vio_netdrv_pair *p = &net->pair[pair];
	size_t stride = rx_stride(conf->rx_len);
	unsigned char *at;
	unsigned i, n;
	int err;

	err = vio_drv_queue(&net->drv, (uint16_t)(2 * pair), &p->rx,
			    &conf->limits, mem);
	if (!err)
		err = vio_drv_queue(&net->drv, (uint16_t)(2 * pair + 1),
				    &p->tx, &conf->limits, mem);
	if (err)
		return err;
	at = vio_arena_take(&mem->shared, conf->rx_buffers * stride, LINE);
	if (!at)
		return VIO_E_NOSPC;
	n = buffers_of(net, conf, &p->rx);
	for (i = 0; i < n && !err; i++)
		err = offer(net, pair, at + i * stride);
	return err;
}

/* net.driver.device-configuration-layout.7: room for a whole packet. */
static bool buffers_ok(const struct vio_netdrv *net)
{
	uint32_t most = (net->mtu ? net->mtu : 1500u) + ETH_HDR;

	if (net->mergeable)
		return net->rx_len > net->hdr_len &&
		       net->rx_len * (uint64_t)VIO_NETDRV_SEGS >=
			       net->hdr_len + most;
	return net->rx_len >= net->hdr_len + most;
}

/*
 * Large packets are wanted only where the buffers could hold one
 * (net.driver.setting-up-receive-buffers.1).
 */
static struct vio_features wanted_of(const struct vio_netdrv_conf *conf)
{
	static const uint8_t large[] = {
		VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_USO4,
		VIRTIO_NET_F_GUEST_USO6,
	};
	struct vio_features f = conf->wanted;
	uint64_t room = conf->rx_len;
	unsigned i;

	if (vio_has(&f, VIRTIO_NET_F_MRG_RXBUF))
		room *= VIO_NETDRV_SEGS;
	for (i = 0; i < VIO_ARRAY_LEN(large) && room < LARGEST; i++)
		vio_feature_clear(&f, large[i]);
	return f;
}

static int init_ctrl(struct vio_netdrv *net,
		     const struct vio_netdrv_conf *conf,
		     struct vio_drv_mem *mem)
{
	int err;

	if (!vio_drv_has(&net->drv, VIRTIO_NET_F_CTRL_VQ))
		return VIO_OK;
	err = vio_drv_queue(&net->drv, CTRLQ, &net->ctrl, &conf->limits, mem);
	if (err)
		return err;
	net->command = vio_arena_take(&mem->shared,
				      CMD_HDR + VIO_NETDRV_COMMAND + 1, LINE);
	return net->command ? VIO_OK : VIO_E_NOSPC;
}

/*
 * A legacy device has no num_buffers but where it merges
 * (net.other.legacy-interface-device-operation.1 and what precedes it).
 */
static uint16_t header_len(const struct vio_drv *drv)
{
	if (drv->legacy && !vio_drv_has(drv, VIRTIO_NET_F_MRG_RXBUF))
		return VIRTIO_NET_HDR_LEN_LEGACY;
	if (vio_drv_has(drv, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO) ||
	    vio_drv_has(drv, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO))
		return VIRTIO_NET_HDR_LEN_TUNNEL;
	return vio_drv_has(drv, VIRTIO_NET_F_HASH_REPORT) ?
		VIRTIO_NET_HDR_LEN_HASH : VIRTIO_NET_HDR_LEN;
}

int vio_netdrv_init(struct vio_netdrv *net, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_netdrv_conf *conf,
		    struct vio_drv_mem *mem)
{
	struct vio_features wanted = wanted_of(conf);
	unsigned i;
	int err;

	memset(net, 0, sizeof(*net));
	if (pairs_of(conf) > VIO_NETDRV_PAIRS)
		return VIO_E_INVAL;
	err = vio_drv_begin(&net->drv, bus, bus_ctx, &wanted);
	if (!err)
		err = vio_netdrv_refresh(net);
	if (err)
		return err;
	net->hdr_len = header_len(&net->drv);
	net->mergeable = vio_drv_has(&net->drv, VIRTIO_NET_F_MRG_RXBUF);
	/* net.other.legacy-interface-framing-requirements.1 */
	net->framed = net->drv.legacy &&
		      !vio_drv_has(&net->drv, VIRTIO_F_ANY_LAYOUT);
	net->rx_len = conf->rx_len;
	net->nr_pairs = pairs_of(conf);
	if (!buffers_ok(net))
		return VIO_E_INVAL;
	for (i = 0; i < net->nr_pairs && !err; i++)
		err = init_pair(net, i, conf, mem);
	if (!err)
		err = init_ctrl(net, conf, mem);
	if (!err)
		err = vio_drv_ready(&net->drv);
	for (i = 0; i < net->nr_pairs && !err; i++)
		vio_netdrv_commit(net, i);
	return err;
}

/* -- sending ------------------------------------------------------------- */

static bool gso_agreed(const struct vio_drv *drv, uint8_t type)
{
	bool ecn = type & VIRTIO_NET_HDR_GSO_ECN;

	if (ecn && !vio_drv_has(drv, VIRTIO_NET_F_HOST_ECN))
		return false;
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vio_drv_has(drv, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vio_drv_has(drv, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return !ecn && vio_drv_has(drv, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/* May the device be asked for this? */
static int check_offload(const struct vio_netdrv *net,
			 const struct vio_netdrv_offload *off, uint32_t len)
{
	/* net.driver.packet-transmission.33 and .3 */
	if (off->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return VIO_E_INVAL;
	if (off->flags && !vio_drv_has(&net->drv, VIRTIO_NET_F_CSUM))
		return VIO_E_UNSUPP;
	if (off->flags &&
	    (uint32_t)off->csum_start + off->csum_offset + 2 > len)
		return VIO_E_INVAL;
	if (!off->gso_type)
		return VIO_OK;
	if (!off->flags || !off->gso_size)
		return VIO_E_INVAL;
	return gso_agreed(&net->drv, off->gso_type) ? VIO_OK : VIO_E_UNSUPP;
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

	err = check_packet(net, seg, nr, off);
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

void *vio_netdrv_sent(struct vio_netdrv *net, unsigned pair)
{
	uint32_t len;

	return vio_vq_get(&net->pair[pair].tx, &len);
}

/* -- receiving ----------------------------------------------------------- */

/* The rest of a packet that lies in several buffers. False: a lie. */
static bool take_more(struct vio_netdrv *net, struct vio_vq *vq,
		      struct vio_netdrv_packet *pkt, unsigned nr)
{
	uint32_t len;
	void *b;

	while (pkt->nr < nr) {
		b = vio_vq_get(vq, &len);
		if (!b)
			return false;
		pkt->buffer[pkt->nr] = b;
		pkt->seg[pkt->nr].base = b;
		pkt->seg[pkt->nr++].len = len;
		pkt->len += len;
		/* net.device.processing-incoming-packets.3: only the last
		 * may have room left */
		if (!len || (pkt->nr < nr && len != net->rx_len))
			return false;
	}
	return true;
}

/* Read the first buffer's header. Returns how many buffers; 0: a lie. */
static unsigned read_header(const struct vio_netdrv *net,
			    const unsigned char *buffer, uint32_t len,
			    struct vio_netdrv_packet *pkt)
{
	const struct vio_drv *drv = &net->drv;
	struct virtio_net_hdr hdr;
	unsigned nr;

	if (len < net->hdr_len)
		return 0;
	vio_copy_in(&hdr, buffer, VIRTIO_NET_HDR_LEN);
	nr = vio_drv_from16(drv, hdr.num_buffers);
	/* net.driver.processing-incoming-packets.1: others are ignored */
	pkt->flags = hdr.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
				  VIRTIO_NET_HDR_F_DATA_VALID);
	pkt->gso_type = hdr.gso_type;
	pkt->gso_size = vio_drv_from16(drv, hdr.gso_size);
	pkt->csum_start = vio_drv_from16(drv, hdr.csum_start);
	pkt->csum_offset = vio_drv_from16(drv, hdr.csum_offset);
	if (!net->mergeable)
		return 1;
	if (!nr || nr > VIO_NETDRV_SEGS ||
	    (nr > 1 && len != net->rx_len))
		return 0;
	return nr;
}

static bool offsets_ok(const struct vio_netdrv_packet *pkt)
{
	return pkt->len >= ETH_HDR &&
	       (!(pkt->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
		(uint32_t)pkt->csum_start + pkt->csum_offset + 2 <= pkt->len);
}

bool vio_netdrv_receive(struct vio_netdrv *net, unsigned pair,
			struct vio_netdrv_packet *pkt)
{
	struct vio_netdrv_pair *p = &net->pair[pair];
	unsigned char *b;
	uint32_t len;
	unsigned nr;

	while ((b = vio_vq_get(&p->rx, &len))) {
		pkt->buffer[0] = b;
		pkt->nr = 1;
		nr = read_header(net, b, len, pkt);
		if (vio_likely(nr)) {
			pkt->seg[0].base = b + net->hdr_len;
			pkt->seg[0].len = len - net->hdr_len;
			pkt->len = len - net->hdr_len;
			if (vio_likely(take_more(net, &p->rx, pkt, nr) &&
				       offsets_ok(pkt)))
				return true;
		}
		p->bad++;
		vio_netdrv_recycle(net, pair, pkt);
	}
	return false;
}

void vio_netdrv_recycle(struct vio_netdrv *net, unsigned pair,
			const struct vio_netdrv_packet *pkt)
{
	unsigned i;

	/* They fit: each entry was free a moment ago. */
	for (i = 0; i < pkt->nr; i++)
		offer(net, pair, pkt->buffer[i]);
}

void vio_netdrv_commit(struct vio_netdrv *net, unsigned pair)
{
	struct vio_netdrv_pair *p = &net->pair[pair];

	vio_drv_kick(&net->drv, (uint16_t)(2 * pair), &p->rx);
	vio_drv_kick(&net->drv, (uint16_t)(2 * pair + 1), &p->tx);
}

/* -- the end ------------------------------------------------------------- */

int vio_netdrv_reset(struct vio_netdrv *net)
{
	unsigned i;
	int err;

	err = vio_drv_reset(&net->drv);
	for (i = 0; i < net->nr_pairs && !err; i++) {
		vio_vq_reset(&net->pair[i].rx);
		vio_vq_reset(&net->pair[i].tx);
	}
	if (!err && net->command)
		vio_vq_reset(&net->ctrl);
	return err;
}
