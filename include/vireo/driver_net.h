/* SPDX-License-Identifier: MIT */
/*
 * vireo/driver_net.h - the network device's driver (standard: 5.1).
 *
 * Packets are sent from where they lie in shared memory, and received into
 * buffers that the driver keeps there. Nothing is copied and nothing is
 * waited for; each pair of queues belongs to one thread at a time.
 */
#ifndef VIREO_DRIVER_NET_H
#define VIREO_DRIVER_NET_H

#include <vireo/driver.h>
#include <vireo/spec/net.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIO_NETDRV_PAIRS	16
/* Segments of a packet to be sent, buffers that a received one fills. */
#define VIO_NETDRV_SEGS		20

/*
 * What must lie free before the first byte of a packet that is sent, in
 * shared memory: its header goes there.
 */
#define VIO_NETDRV_HEADROOM	VIRTIO_NET_HDR_LEN_TUNNEL

struct vio_netdrv_conf {
	struct vio_features wanted;	/* at most vio_netdrv_features() */
	struct vio_vq_limits limits;
	unsigned pairs;			/* wanted; 1 if 0 */
	unsigned rx_buffers;		/* a pair; at most limits.size */
	uint32_t rx_len;		/* bytes each, header included */
};

/* A packet that came: nr pieces of len bytes in all. */
struct vio_netdrv_packet {
	uint8_t flags;			/* VIRTIO_NET_HDR_F_* */
	uint8_t gso_type;
	uint16_t gso_size, csum_start, csum_offset;
	uint16_t outer_th, inner_nh;	/* valid if gso_type says a tunnel */
	uint16_t merged, dup_acks;	/* with RSC_EXT, of large packets */
	uint16_t hash_report;		/* 0: no hash */
	uint32_t hash;
	uint32_t len;
	unsigned nr;
	struct vio_seg seg[VIO_NETDRV_SEGS];
	void *buffer[VIO_NETDRV_SEGS];	/* for vio_netdrv_recycle() */
};

/* What the device is asked to do with a packet; all 0: nothing. */
struct vio_netdrv_offload {
	uint8_t flags;			/* VIRTIO_NET_HDR_F_NEEDS_CSUM, and
					 * UDP_TUNNEL_CSUM */
	uint8_t gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	uint16_t outer_th, inner_nh;	/* of a tunnel */
};

struct vio_netdrv_pair {
	struct vio_vq rx, tx;
	uint64_t bad;			/* packets whose header lied */
};

/* Bytes of a command's data, at most. */
#define VIO_NETDRV_COMMAND	1024u

struct vio_netdrv {
	struct vio_drv drv;
	struct vio_vq ctrl;		/* if CTRL_VQ was agreed on */
	unsigned char *command;		/* shared: header, data, answer */
	uint16_t hdr_len;		/* bytes before each packet */
	bool mergeable;
	bool framed;		/* legacy: headers have their own descriptor */
	uint8_t mac[VIRTIO_NET_MAC_LEN];	/* valid if has_mac */
	bool has_mac;
	bool link_up;
	bool announce;			/* the device asks for it */
	uint16_t mtu;			/* 0: the device does not say */
	uint32_t speed;			/* Mbit/s; UINT32_MAX: not known */
	uint8_t duplex;			/* 1: full; 0xff: not known */
	uint32_t hash_types;		/* that the device can calculate */
	uint16_t table_max;		/* entries of its table, */
	uint8_t key_max;		/* bytes of its key */
	uint16_t max_pairs;		/* that it has; with MQ or RSS */
	uint16_t ctrlq;			/* index of the control queue */
	uint32_t rx_len;
	unsigned nr_pairs;		/* set up */
	unsigned active;		/* of these, to be sent on */
	struct vio_netdrv_pair pair[VIO_NETDRV_PAIRS];
};

/* The features this driver can use, ring features included. */
struct vio_features vio_netdrv_features(void);

/*
 * And those that cost something with every packet, or ask something of the
 * caller: HASH_REPORT and UDP_TUNNEL_GSO (longer headers), RSS, RSC_EXT (no
 * csum_start in large packets), GUEST_UFO, GUEST_HDRLEN (the exact hdr_len).
 */
struct vio_features vio_netdrv_more_features(void);

/* Bytes that a driver takes from either arena, buffers included. */
size_t vio_netdrv_shared_size(const struct vio_netdrv_conf *conf);
size_t vio_netdrv_private_size(const struct vio_netdrv_conf *conf);

/* Bring a device up; its receive queues are filled. VIO_OK or VIO_E_*. */
int vio_netdrv_init(struct vio_netdrv *net, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_netdrv_conf *conf,
		    struct vio_drv_mem *mem);

/* Read what the configuration says, after it changed. */
int vio_netdrv_refresh(struct vio_netdrv *net);

/*
 * vio_netdrv_send() - add a packet; the device sees it after
 * vio_netdrv_commit(). Before seg[0] lie VIO_NETDRV_HEADROOM bytes that the
 * header may take. @token, not NULL, comes back from vio_netdrv_sent().
 * @off: NULL for a packet that is complete.
 *
 * Returns VIO_OK; VIO_E_NOSPC when the queue is full; VIO_E_UNSUPP for an
 * offload that was not agreed on; VIO_E_RANGE for memory out of the window or
 * a packet beyond the MTU; VIO_E_INVAL.
 */
int vio_netdrv_send(struct vio_netdrv *net, unsigned pair,
		    const struct vio_seg *seg, unsigned nr,
		    const struct vio_netdrv_offload *off, void *token);

/* A packet to be sent; see vio_netdrv_send(). */
struct vio_netdrv_out {
	const struct vio_seg *seg;
	unsigned nr;
	const struct vio_netdrv_offload *off;	/* NULL: it is complete */
	void *token;
};

/*
 * vio_netdrv_send_many() - the same for many, which costs less. Returns how
 * many were added, from the front; *@err is why the next was not, or VIO_OK.
 */
unsigned vio_netdrv_send_many(struct vio_netdrv *net, unsigned pair,
			      const struct vio_netdrv_out *out, unsigned nr,
			      int *err);

/* A packet that the device is through with: its token, or NULL. */
void *vio_netdrv_sent(struct vio_netdrv *net, unsigned pair);

/* Up to @max of them, 32 at a time; fewer need not mean that none is left. */
unsigned vio_netdrv_sent_many(struct vio_netdrv *net, unsigned pair,
			      void **token, unsigned max);

/*
 * vio_netdrv_receive() - a packet that came. Its bytes stay where they are
 * until vio_netdrv_recycle(). False if there is none.
 */
bool vio_netdrv_receive(struct vio_netdrv *net, unsigned pair,
			struct vio_netdrv_packet *pkt);
void vio_netdrv_recycle(struct vio_netdrv *net, unsigned pair,
			const struct vio_netdrv_packet *pkt);

/*
 * The same for many: up to @max packets, 32 at a time, into *@pkt[0],
 * *@pkt[1], ... Fewer need not mean that none is left.
 */
unsigned vio_netdrv_receive_many(struct vio_netdrv *net, unsigned pair,
				 struct vio_netdrv_packet *const *pkt,
				 unsigned max);
void vio_netdrv_recycle_many(struct vio_netdrv *net, unsigned pair,
			     struct vio_netdrv_packet *const *pkt,
			     unsigned nr);

/* Show the device what was sent and recycled. */
void vio_netdrv_commit(struct vio_netdrv *net, unsigned pair);

/*
 * vio_netdrv_command() - have a command of the control queue carried out, and
 * wait. Returns VIO_OK; VIO_E_UNSUPP without CTRL_VQ or the feature that the
 * class needs; VIO_E_INVAL where the device refuses; VIO_E_IO. Numbers in
 * @data are in the device's order: vio_drv_to16() and the like.
 */
int vio_netdrv_command(struct vio_netdrv *net, uint8_t class_,
		       uint8_t command, const void *data, uint32_t len);

/*
 * Commands with a meaning. Each returns what vio_netdrv_command() does, and
 * VIO_E_INVAL without asking the device for what no driver may ask.
 */

/* Use the first @pairs pairs. Only those are sent on. With MQ. */
int vio_netdrv_set_pairs(struct vio_netdrv *net, unsigned pairs);

struct vio_netdrv_rss {
	uint32_t hash_types;		/* VIRTIO_NET_HASH_TYPE_* */
	const uint16_t *table;		/* pairs, a power of two of them */
	unsigned nr;
	uint16_t unclassified;		/* pair for what has no hash */
	uint16_t tx_pairs;		/* that will be sent on */
	const uint8_t *key;
	uint8_t key_len;
};

int vio_netdrv_set_rss(struct vio_netdrv *net,
		       const struct vio_netdrv_rss *rss);
/* What is reported where there is no RSS. With HASH_REPORT. */
int vio_netdrv_set_hash(struct vio_netdrv *net, uint32_t types,
			const uint8_t *key, uint8_t key_len);

/* Tell us of used buffers after so many packets or microseconds. */
int vio_netdrv_coalesce(struct vio_netdrv *net, bool tx, uint32_t packets,
			uint32_t usecs);
int vio_netdrv_coalesce_queue(struct vio_netdrv *net, uint16_t queue,
			      uint32_t packets, uint32_t usecs);
int vio_netdrv_coalesced(struct vio_netdrv *net, uint16_t queue,
			 uint32_t *packets, uint32_t *usecs);

/* VIRTIO_NET_STATS_TYPE_REPLY_* that the device knows, as bits. */
int vio_netdrv_stats_types(struct vio_netdrv *net, uint64_t *types);
/*
 * The numbers of one type for one queue, in the standard's order: at most
 * @max of them into @number, *@nr there were.
 */
int vio_netdrv_stats(struct vio_netdrv *net, uint16_t queue, unsigned type,
		     uint64_t *number, unsigned max, unsigned *nr);

/* The GUEST_* offloads to be on, as VIRTIO_NET_CTRL_GUEST_OFFLOADS has them. */
int vio_netdrv_set_offloads(struct vio_netdrv *net, uint64_t offloads);

/* The other addresses that are received: of one host each, and of groups. */
int vio_netdrv_set_macs(struct vio_netdrv *net,
			const uint8_t (*uni)[VIRTIO_NET_MAC_LEN],
			unsigned nr_uni,
			const uint8_t (*multi)[VIRTIO_NET_MAC_LEN],
			unsigned nr_multi);

/* The link's neighbours have been told: stop asking. */
int vio_netdrv_announced(struct vio_netdrv *net);

/* Reset the device; all buffers are forgotten. */
int vio_netdrv_reset(struct vio_netdrv *net);

#ifdef __cplusplus
}
#endif
#endif
