/* SPDX-License-Identifier: MIT */
/*
 * net_more.c - the network driver's commands with a meaning: pairs, hashes,
 * notifications, statistics, offloads, addresses (standard: 5.1.6.5). What no
 * driver may ask is not asked; what the device answers is checked.
 */
#include <vireo/driver_net.h>

#include "core/base/string.h"
#include "core/driver/net.h"

#define MAC_LEN		VIRTIO_NET_MAC_LEN
#define STATS_NR	6u	/* numbers of the largest reply */

static unsigned char *put16(const struct vio_netdrv *net, unsigned char *p,
			    uint16_t v)
{
	const vio_le16 wire = vio_drv_to16(&net->drv, v);

	memcpy(p, &wire, sizeof(wire));
	return p + sizeof(wire);
}

static unsigned char *put32(const struct vio_netdrv *net, unsigned char *p,
			    uint32_t v)
{
	const vio_le32 wire = vio_drv_to32(&net->drv, v);

	memcpy(p, &wire, sizeof(wire));
	return p + sizeof(wire);
}

/* -- pairs and hashes ---------------------------------------------------- */

int vio_netdrv_set_pairs(struct vio_netdrv *net, unsigned pairs)
{
	unsigned was = net->active;
	vio_le16 wire;
	int err;

	/* net.driver.automatic-receive-steering-multiqueue-mode.1 and .2 */
	if (!pairs || pairs > net->nr_pairs)
		return VIO_E_INVAL;
	wire = vio_drv_to16(&net->drv, (uint16_t)pairs);
	/* .4: from the moment on when it is asked for */
	if (pairs < was)
		net->active = pairs;
	err = vio_netdrv_command(net, VIRTIO_NET_CTRL_MQ,
				 VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &wire,
				 sizeof(wire));
	net->active = err ? was : pairs;
	return err;
}

/* net.driver.receive-side-scaling-rss.2 to .5 */
static bool rss_ok(const struct vio_netdrv *net,
		   const struct vio_netdrv_rss *rss)
{
	if (!rss->nr || rss->nr & (rss->nr - 1) || rss->nr > net->table_max ||
	    rss->nr > VIO_NETDRV_COMMAND / 4 ||
	    rss->hash_types & ~net->hash_types ||
	    rss->key_len > net->key_max ||
	    rss->unclassified >= net->nr_pairs || !rss->tx_pairs ||
	    rss->tx_pairs > net->nr_pairs)
		return false;
	for (unsigned i = 0; i < rss->nr; i++)
		if (rss->table[i] >= net->nr_pairs)
			return false;
	return true;
}

int vio_netdrv_set_rss(struct vio_netdrv *net,
		       const struct vio_netdrv_rss *rss)
{
	unsigned char data[VIO_NETDRV_COMMAND], *p = data;
	int err;

	if (!vio_drv_has(&net->drv, VIRTIO_NET_F_RSS))
		return VIO_E_UNSUPP;
	if (!rss_ok(net, rss))
		return VIO_E_INVAL;
	p = put32(net, p, rss->hash_types);
	p = put16(net, p, (uint16_t)(rss->nr - 1));
	p = put16(net, p, rss->unclassified);
	for (unsigned i = 0; i < rss->nr; i++)
		p = put16(net, p, rss->table[i]);
	p = put16(net, p, rss->tx_pairs);
	*p++ = rss->key_len;
	memcpy(p, rss->key, rss->key_len);
	err = vio_netdrv_command(net, VIRTIO_NET_CTRL_MQ,
				 VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data,
				 (uint32_t)(p - data) + rss->key_len);
	if (!err)
		net->active = rss->tx_pairs;
	return err;
}

int vio_netdrv_set_hash(struct vio_netdrv *net, uint32_t types,
			const uint8_t *key, uint8_t key_len)
{
	unsigned char data[4 + 8 + 1 + 255], *p = data;

	if (!vio_drv_has(&net->drv, VIRTIO_NET_F_HASH_REPORT))
		return VIO_E_UNSUPP;
	if (types & ~net->hash_types || key_len > net->key_max)
		return VIO_E_INVAL;
	p = put32(net, p, types);
	memset(p, 0, 8);
	p[8] = key_len;
	memcpy(p + 9, key, key_len);
	return vio_netdrv_command(net, VIRTIO_NET_CTRL_MQ,
				  VIRTIO_NET_CTRL_MQ_HASH_CONFIG, data,
				  13u + key_len);
}

/* -- notifications ------------------------------------------------------- */

int vio_netdrv_coalesce(struct vio_netdrv *net, bool tx, uint32_t packets,
			uint32_t usecs)
{
	unsigned char data[8];

	put32(net, put32(net, data, packets), usecs);
	return vio_netdrv_command(net, VIRTIO_NET_CTRL_NOTF_COAL,
				  tx ? VIRTIO_NET_CTRL_NOTF_COAL_TX_SET :
				       VIRTIO_NET_CTRL_NOTF_COAL_RX_SET,
				  data, sizeof(data));
}

int vio_netdrv_coalesce_queue(struct vio_netdrv *net, uint16_t queue,
			      uint32_t packets, uint32_t usecs)
{
	unsigned char data[12], *p = data;

	/* net.driver.notifications-coalescing.1 */
	if (queue >= 2 * net->nr_pairs)
		return VIO_E_INVAL;
	p = put16(net, put16(net, p, queue), 0);
	put32(net, put32(net, p, packets), usecs);
	return vio_netdrv_command(net, VIRTIO_NET_CTRL_NOTF_COAL,
				  VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, data,
				  sizeof(data));
}

int vio_netdrv_coalesced(struct vio_netdrv *net, uint16_t queue,
			 uint32_t *packets, uint32_t *usecs)
{
	struct virtio_net_ctrl_coal c;
	unsigned char data[4];
	int err;

	if (queue >= 2 * net->nr_pairs)
		return VIO_E_INVAL;
	put16(net, put16(net, data, queue), 0);
	err = vio_netdrv_ask(net, VIRTIO_NET_CTRL_NOTF_COAL,
			     VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, data,
			     sizeof(data), &c, sizeof(c));
	/* net.driver.notifications-coalescing.4 */
	if (err)
		return err;
	*packets = vio_drv_from32(&net->drv, c.max_packets);
	*usecs = vio_drv_from32(&net->drv, c.max_usecs);
	return VIO_OK;
}

/* -- statistics ---------------------------------------------------------- */

int vio_netdrv_stats_types(struct vio_netdrv *net, uint64_t *types)
{
	vio_le64 wire;
	int err;

	err = vio_netdrv_ask(net, VIRTIO_NET_CTRL_STATS,
			     VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0, &wire,
			     sizeof(wire));
	if (!err)
		*types = vio_drv_from64(&net->drv, wire);
	return err;
}

/* net.driver.device-statistics.2: does the queue have this type at all? */
static bool type_fits(const struct vio_netdrv *net, uint16_t queue,
		      unsigned type)
{
	if (type == VIRTIO_NET_STATS_TYPE_REPLY_CVQ)
		return queue == net->ctrlq;
	if (queue >= 2 * net->nr_pairs)
		return false;
	return queue % 2 ? type >= VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC &&
			   type <= VIRTIO_NET_STATS_TYPE_REPLY_TX_SPEED :
			   type <= VIRTIO_NET_STATS_TYPE_REPLY_RX_SPEED;
}

int vio_netdrv_stats(struct vio_netdrv *net, uint16_t queue, unsigned type,
		     uint64_t *number, unsigned max, unsigned *nr)
{
	struct {
		struct virtio_net_stats_reply_hdr hdr;
		vio_le64 number[STATS_NR];
	} r;
	struct virtio_net_ctrl_queue_stats s = { .vq_index = { 0 } };
	unsigned size;
	int err;

	if (!type_fits(net, queue, type))
		return VIO_E_INVAL;
	s.vq_index = vio_drv_to16(&net->drv, queue);
	s.types_bitmap[0] = vio_drv_to64(&net->drv, (uint64_t)1 << type);
	err = vio_netdrv_ask(net, VIRTIO_NET_CTRL_STATS,
			     VIRTIO_NET_CTRL_STATS_GET, &s, sizeof(s), &r,
			     sizeof(r));
	if (err)
		return err;
	size = vio_drv_from16(&net->drv, r.hdr.size);
	if (r.hdr.type != type || size < sizeof(r.hdr) || size > sizeof(r) ||
	    vio_drv_from16(&net->drv, r.hdr.vq_index) != queue)
		return VIO_E_PEER;
	*nr = (size - (unsigned)sizeof(r.hdr)) / 8;
	for (unsigned i = 0; i < *nr && i < max; i++)
		number[i] = vio_drv_from64(&net->drv, r.number[i]);
	return VIO_OK;
}

/* -- offloads and addresses ---------------------------------------------- */

/* All that there are: other numbers are features, but no offloads. */
#define TUNNEL		VIRTIO_NET_OFFLOAD_GUEST_UDP_TUNNEL_GSO
#define TUNNEL_CSUM	VIRTIO_NET_OFFLOAD_GUEST_UDP_TUNNEL_GSO_CSUM
#define OFFLOADS	(1ull << VIRTIO_NET_F_GUEST_CSUM |		\
			 1ull << VIRTIO_NET_F_GUEST_TSO4 |		\
			 1ull << VIRTIO_NET_F_GUEST_TSO6 |		\
			 1ull << VIRTIO_NET_F_GUEST_ECN |		\
			 1ull << VIRTIO_NET_F_GUEST_UFO |		\
			 1ull << TUNNEL | 1ull << TUNNEL_CSUM |		\
			 1ull << VIRTIO_NET_F_GUEST_USO4 |		\
			 1ull << VIRTIO_NET_F_GUEST_USO6)

int vio_netdrv_set_offloads(struct vio_netdrv *net, uint64_t offloads)
{
	const struct vio_drv *drv = &net->drv;
	vio_le64 wire;

	if (offloads & ~OFFLOADS)
		return VIO_E_INVAL;
	/* net.driver.setting-offloads-state.1 */
	for (unsigned i = 0; i < 64; i++) {
		unsigned bit = i;

		if (i == TUNNEL)
			bit = VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO;
		if (i == TUNNEL_CSUM)
			bit = VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM;
		if (offloads >> i & 1 && !vio_drv_has(drv, bit))
			return VIO_E_INVAL;
	}
	wire = vio_drv_to64(drv, offloads);
	return vio_netdrv_command(net, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
				  VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wire,
				  sizeof(wire));
}

int vio_netdrv_set_macs(struct vio_netdrv *net,
			const uint8_t (*uni)[MAC_LEN], unsigned nr_uni,
			const uint8_t (*multi)[MAC_LEN], unsigned nr_multi)
{
	unsigned char data[VIO_NETDRV_COMMAND], *p = data;
	unsigned most = (VIO_NETDRV_COMMAND - 8) / MAC_LEN;

	if (nr_uni > most || nr_multi > most - nr_uni)
		return VIO_E_INVAL;
	p = put32(net, p, nr_uni);
	if (nr_uni)
		memcpy(p, uni, nr_uni * (size_t)MAC_LEN);
	p = put32(net, p + nr_uni * (size_t)MAC_LEN, nr_multi);
	if (nr_multi)
		memcpy(p, multi, nr_multi * (size_t)MAC_LEN);
	p += nr_multi * (size_t)MAC_LEN;
	return vio_netdrv_command(net, VIRTIO_NET_CTRL_MAC,
				  VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
				  (uint32_t)(p - data));
}
