/* SPDX-License-Identifier: MIT */
/*
 * The network driver: it comes to terms with the device, and offers buffers.
 * net_packets.c moves packets, net_ctrl.c has the commands. Knows no bus and
 * no ring layout.
 */
#include <vireo/driver_net.h>

#include "core/driver/net.h"
#include "core/mem/access.h"

#define LINE		64	/* bytes */
#define LARGEST		65609u	/* of a packet to be cut, and header */

static struct vio_features set_of(const uint8_t *bits, unsigned nr)
{
	struct vio_features f = { { 0, 0 } };
	unsigned i;

	for (i = 0; i < nr; i++)
		vio_feature_set(&f, bits[i]);
	return f;
}

struct vio_features vio_netdrv_more_features(void)
{
	static const uint8_t bits[] = {
		VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_RSS,
		VIRTIO_NET_F_RSC_EXT, VIRTIO_NET_F_GUEST_HDRLEN,
		VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
	};

	return set_of(bits, VIO_ARRAY_LEN(bits));
}

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
		VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_HOST_UFO,
		VIRTIO_NET_F_MQ, VIRTIO_NET_F_NOTF_COAL,
		VIRTIO_NET_F_VQ_NOTF_COAL, VIRTIO_NET_F_DEVICE_STATS,
		VIRTIO_NET_F_SPEED_DUPLEX,
		VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
		VIRTIO_F_VERSION_1, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED,
	};

	return set_of(bits, VIO_ARRAY_LEN(bits));
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
	       RESULT_MAX + 2 * LINE;
}

size_t vio_netdrv_private_size(const struct vio_netdrv_conf *conf)
{
	return (pairs_of(conf) * 2 + 1) * vio_vq_private_size(&conf->limits);
}

static bool has_pairs(const struct vio_drv *drv)
{
	return vio_drv_has(drv, VIRTIO_NET_F_MQ) ||
	       vio_drv_has(drv, VIRTIO_NET_F_RSS);
}

static bool has_hash(const struct vio_drv *drv)
{
	return vio_drv_has(drv, VIRTIO_NET_F_RSS) ||
	       vio_drv_has(drv, VIRTIO_NET_F_HASH_REPORT);
}

#define C(field)	offsetof(struct virtio_net_config, field)

static const struct vio_drv_field fields[] = {
	/* six fields of a byte */
	{ C(mac[0]), 1, VIRTIO_NET_F_MAC, 0 },
	{ C(mac[1]), 1, VIRTIO_NET_F_MAC, 0 },
	{ C(mac[2]), 1, VIRTIO_NET_F_MAC, 0 },
	{ C(mac[3]), 1, VIRTIO_NET_F_MAC, 0 },
	{ C(mac[4]), 1, VIRTIO_NET_F_MAC, 0 },
	{ C(mac[5]), 1, VIRTIO_NET_F_MAC, 0 },
	{ C(status), 2, VIRTIO_NET_F_STATUS, 0 },
	{ C(max_virtqueue_pairs), 2, VIRTIO_NET_F_MQ, VIRTIO_NET_F_RSS },
	{ C(mtu), 2, VIRTIO_NET_F_MTU, 0 },
	{ C(speed), 4, VIRTIO_NET_F_SPEED_DUPLEX, 0 },
	{ C(duplex), 1, VIRTIO_NET_F_SPEED_DUPLEX, 0 },
	{ C(rss_max_key_size), 1, VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT },
	{ C(rss_max_indirection_table_length), 2, VIRTIO_NET_F_RSS, 0 },
	{ C(supported_hash_types), 4,
	  VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT },
};

/* What only newer devices have. VIO_E_PEER if it cannot be. */
static int read_more(struct vio_netdrv *net,
		     const struct virtio_net_config *c)
{
	struct vio_drv *drv = &net->drv;
	bool speed = vio_drv_has(drv, VIRTIO_NET_F_SPEED_DUPLEX);

	/* net.driver.device-configuration-layout.10 */
	net->speed = speed ? vio_drv_from32(drv, c->speed) : UINT32_MAX;
	if (net->speed > INT32_MAX)
		net->speed = UINT32_MAX;
	net->duplex = speed && c->duplex <= 1 ? c->duplex : 0xff;
	net->max_pairs = has_pairs(drv) ?
		vio_drv_from16(drv, c->max_virtqueue_pairs) : 1;
	if (has_hash(drv)) {
		net->key_max = c->rss_max_key_size;
		net->hash_types = vio_drv_from32(drv,
						 c->supported_hash_types);
	}
	if (vio_drv_has(drv, VIRTIO_NET_F_RSS))
		net->table_max = vio_drv_from16(drv,
				c->rss_max_indirection_table_length);
	return net->max_pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN ||
	       net->max_pairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX ?
	       VIO_E_PEER : VIO_OK;
}

int vio_netdrv_refresh(struct vio_netdrv *net)
{
	struct vio_drv *drv = &net->drv;
	struct virtio_net_config c;
	int err;

	memset(&c, 0, sizeof(c));
	err = vio_drv_config_fields(drv, fields, VIO_ARRAY_LEN(fields), &c);
	if (err)
		return err;
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
	return read_more(net, &c);
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
		err = vio_netdrv_offer(net, pair, at + i * stride);
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
		VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_UFO,
		VIRTIO_NET_F_RSC_EXT, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
	};
	struct vio_features f = conf->wanted;
	uint64_t room = conf->rx_len;
	unsigned i;

	if (vio_has(&f, VIRTIO_NET_F_MRG_RXBUF))
		room *= VIO_NETDRV_SEGS;
	for (i = 0; i < VIO_ARRAY_LEN(large) && room < LARGEST; i++)
		vio_feature_clear(&f, large[i]);
	/* net.driver.device-configuration-layout.12 and .13 */
	if (!vio_has(&f, VIRTIO_NET_F_CTRL_VQ)) {
		vio_feature_clear(&f, VIRTIO_NET_F_HASH_REPORT);
		vio_feature_clear(&f, VIRTIO_NET_F_CTRL_RX_EXTRA);
	}
	return f;
}

static int init_ctrl(struct vio_netdrv *net,
		     const struct vio_netdrv_conf *conf,
		     struct vio_drv_mem *mem)
{
	int err;

	if (!vio_drv_has(&net->drv, VIRTIO_NET_F_CTRL_VQ))
		return VIO_OK;
	err = vio_drv_queue(&net->drv, net->ctrlq, &net->ctrl, &conf->limits,
			    mem);
	if (err)
		return err;
	net->command = vio_arena_take(&mem->shared,
				      CMD_HDR + VIO_NETDRV_COMMAND + 1 +
				      RESULT_MAX, LINE);
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
	net->nr_pairs = net->active = pairs_of(conf);
	/* Behind all pairs that the device has; it counts one without MQ. */
	net->ctrlq = (uint16_t)(2 * net->max_pairs);
	if (has_pairs(&net->drv)) {
		/* net.driver.automatic-receive-steering-multiqueue-mode.3 */
		net->active = 1;
		if (net->nr_pairs > net->max_pairs)
			net->nr_pairs = net->max_pairs;
	}
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
