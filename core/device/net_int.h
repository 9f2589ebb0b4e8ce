/* SPDX-License-Identifier: MIT */
/* net_int.h - what the files of the network device share. */
#ifndef CORE_DEVICE_NET_INT_H
#define CORE_DEVICE_NET_INT_H

#include <vireo/net.h>

#define VIO_NET_ETH_HDR		14u
#define VIO_NET_LINE		64u	/* of a cache, for prefetching */
#define VIO_NET_VLAN_TAG	4u
#define VIO_NET_ETH_TYPE_AT	12u

/*
 * The configuration is written by commands, on the control queue's thread, and
 * by the host; both change bits of one word, and others read meanwhile.
 */
static inline void vio_net_config_mac(struct vio_net *net, unsigned off,
				      const uint8_t *src, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		__atomic_store_n(&net->config.mac[off + i], src[i],
				 __ATOMIC_RELAXED);
}

static inline void vio_net_config_status(struct vio_net *net, uint16_t bit,
					 bool on)
{
	uint16_t raw = vio_to_le16(bit).raw;

	if (on)
		__atomic_fetch_or(&net->config.status.raw, raw,
				  __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&net->config.status.raw, (uint16_t)~raw,
				   __ATOMIC_RELAXED);
}

static inline struct vio_queue *vio_net_rxq(const struct vio_net *net,
					    unsigned pair)
{
	return &net->dev.queue[2 * pair];
}

static inline struct vio_queue *vio_net_txq(const struct vio_net *net,
					    unsigned pair)
{
	return &net->dev.queue[2 * pair + 1];
}

/* Which queue is the control queue: behind all pairs that can be used. */
static inline unsigned vio_net_ctrlq(const struct vio_net *net)
{
	return vio_dev_has(&net->dev, VIRTIO_NET_F_MQ) ||
	       vio_dev_has(&net->dev, VIRTIO_NET_F_RSS) ?
	       2u * net->conf.pairs : 2u;
}

/*
 * Is it one of a pair's? With fewer pairs than there could be, the last queue
 * is neither that nor the control queue, and a driver may start it all the
 * same.
 */
static inline bool vio_net_carries(const struct vio_net *net, unsigned queue)
{
	return queue < 2u * net->conf.pairs && queue != vio_net_ctrlq(net);
}

/*
 * Does the driver say how many pairs it uses? A front end may keep the control
 * queue to itself, as QEMU and DPDK do, and start the queues that are used.
 */
static inline bool vio_net_is_told_pairs(const struct vio_net *net)
{
	return vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_VQ) ||
	       !vio_dev_has(&net->dev, VIRTIO_NET_F_MQ);
}

/* Memory for one packet of the pair's. */
static inline unsigned char *vio_net_scratch(const struct vio_net *net,
					     unsigned pair)
{
	return net->conf.scratch +
	       (net->conf.threads ? pair * (size_t)VIO_NET_PACKET_MAX : 0);
}

/* Copy the first @len bytes of a packet that has as many. */
void vio_net_peek(const struct vio_net_packet *pkt, void *dst, size_t len);

/* net_rx.c: a receive queue was kicked. */
enum vio_service vio_net_service_rx(struct vio_net *net, struct vio_queue *q);

/* net_ctrl.c: commands of the driver. */
enum vio_service vio_net_service_ctrl(struct vio_net *net,
				      struct vio_queue *q, unsigned budget);
/* How many queues there are but the control queue. */
static inline unsigned vio_net_ioqs(const struct vio_net *net)
{
	return 2u * net->conf.pairs;
}

/*
 * A command's data to read, its answer to write. Results lie behind the
 * acknowledgement; what they have no room for is left out.
 */
bool vio_net_answer(struct vio_cursor *c, uint32_t *at, const void *src,
		    uint32_t len);

/* net_coal.c: when the driver is told of used buffers. */
bool vio_net_set_coal(struct vio_net *net, uint8_t command,
		      struct vio_cursor *c);
bool vio_net_moderate(struct vio_dev *dev, struct vio_queue *q);
void vio_net_coal_check(struct vio_net *net, struct vio_queue *q);
void vio_net_coal_stop(struct vio_net *net, struct vio_queue *q);
void vio_net_coal_reset(struct vio_net *net);
/* net_stats.c */
bool vio_net_get_stats(struct vio_net *net, uint8_t command,
		       struct vio_cursor *c);
/* net_rss.c: how many pairs are used, and which packet goes where. */
bool vio_net_set_mq(struct vio_net *net, uint8_t command,
		    struct vio_cursor *c);
void vio_net_steering_reset(struct vio_net *net);
/* The back end, of what is so now. */
void vio_net_steering_tell(const struct vio_net *net);
/* net_state.c: see struct vio_dev_ops. */
void vio_net_save(struct vio_dev *dev, struct vio_state_out *to);
int vio_net_load(struct vio_dev *dev, const struct vio_state_record *r);
/* The offloads that the driver may switch while it runs, as it names them. */
uint64_t vio_net_switchable(const struct vio_net *net);
/* As after a reset. */
void vio_net_ctrl_reset(struct vio_net *net);
/* Did the driver say which packets it wants? */
bool vio_net_is_picky(const struct vio_net *net);
/* Does the driver want this packet? */
bool vio_net_wanted(const struct vio_net *net,
		    const struct vio_net_packet *pkt);

#endif
