/* SPDX-License-Identifier: MIT */
/*
 * vireo/net.h - the network device (standard: 5.1) and the door to the wire
 * behind it.
 *
 * The device checks what the driver sends and hands packets on, in place; it
 * copies what the wire delivers into the driver's buffers. A back end never
 * sees a ring, a guest address or a header's wire format.
 *
 * Thread: a pair's two queues run on one thread, "the pair's thread"; the
 * back end calls in for a pair from that thread, and its methods come on it.
 * All pairs may have the same one. Where they have not, conf.threads says so,
 * and the control queue may be on any.
 */
#ifndef VIREO_NET_H
#define VIREO_NET_H

#include <vireo/dev.h>
#include <vireo/spec/net.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIO_NET_PAIRS	16

/* Ethernet header with a VLAN tag, and the largest IP packet. */
#define VIO_NET_PACKET_MAX	(18u + 65535u)
/* The shortest that is passed on: an Ethernet header. */
#define VIO_NET_PACKET_MIN	14u

/* What a packet's header says, in this machine's byte order. */
struct vio_net_meta {
	uint8_t flags;		/* VIRTIO_NET_HDR_F_NEEDS_CSUM, DATA_VALID */
	uint8_t gso_type;	/* VIRTIO_NET_HDR_GSO_* */
	uint16_t hdr_len;	/* a hint, never to be relied upon */
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	/* Of a packet in a UDP tunnel (VIRTIO_NET_HDR_GSO_UDP_TUNNEL_*). */
	uint16_t outer_th;	/* offset of the outer UDP header */
	uint16_t inner_nh;	/* offset of the inner IP header */
	/* Set by the device itself, on the way to the driver. */
	uint16_t merged, dup_acks;	/* TCP segments in one; RSC_EXT */
	uint16_t hash_report;	/* VIRTIO_NET_HASH_REPORT_* */
	bool hashed;		/* the two around are valid */
	uint32_t hash;
};

/* A packet from its Ethernet header on; the bytes may lie in guest memory. */
struct vio_net_packet {
	struct vio_net_meta meta;
	const struct vio_seg *seg;
	uint32_t len;		/* the sum of the segments */
	uint16_t nr_seg;
};

struct vio_net_steering;

/* The wire. Methods must not block. */
struct vio_net_backend_ops {
	/*
	 * The driver sent these. The back end is through with them when it
	 * returns; it may call vio_net_receive() from within. Returns how
	 * many it sent; the rest counts as dropped.
	 */
	unsigned (*send)(void *backend, unsigned pair,
			 const struct vio_net_packet *pkt, unsigned nr);
	/*
	 * The driver gave buffers, after vio_net_want_room(). NULL: the back
	 * end never waits for room.
	 */
	void (*room)(void *backend, unsigned pair);
	/*
	 * How many packets of the driver the wire would take now, at most
	 * @max; what they are cut into may be more. 0: none, until the back
	 * end calls vio_net_go_on(); they wait in the driver's ring. NULL:
	 * any number, at any time.
	 */
	unsigned (*admit)(void *backend, unsigned pair, unsigned max);
	/*
	 * The driver says to which pair it wants which packets; the device
	 * sees to that, but has less work with those that come on the right
	 * one. Control queue's thread, or while no queue runs. NULL: no matter.
	 */
	void (*steering)(void *backend, const struct vio_net_steering *s);
};

struct vio_net_conf {
	uint8_t mac[VIRTIO_NET_MAC_LEN];	/* all 0: none is given */
	uint16_t mtu;		/* MTU is offered if not 0; at least 68 */
	uint16_t pairs;		/* of queues; 1 if 0 */
	bool link_down;		/* at first */
	uint32_t speed;		/* Mbit/s; SPEED_DUPLEX is offered if not 0 */
	bool half_duplex;
	bool standby;		/* offer STANDBY: another device with the same
				 * address comes first */
	/*
	 * Offloads that the back end carries out on packets it is sent, as
	 * feature bits: VIRTIO_NET_F_CSUM, HOST_TSO4 ... All others are done
	 * here, on the way, in @scratch. Without that only those are offered,
	 * and none for packets to the driver.
	 */
	uint64_t offloads;	/* and VIO_NET_OFFLOAD_* */
	unsigned char *scratch;	/* VIO_NET_PACKET_MAX bytes, or NULL; with
				 * threads as many for each pair */
	/*
	 * Pairs have threads of their own. A packet that came in on one and
	 * belongs to another waits there in memory of the caller's: for each
	 * pair mail_len bytes, a multiple of 8 and at least
	 * VIO_NET_MAIL_MIN, aligned to 8.
	 */
	bool threads;
	unsigned char *mail;
	uint32_t mail_len;
	/* NULL: no notification is ever put off (NOTF_COAL, VQ_NOTF_COAL). */
	const struct vio_net_timer_ops *timer;
	void *timer_ctx;
};

/*
 * A clock for notifications that are put off. arm() is called on the queue's
 * thread: after @usecs microseconds, vio_net_time() is to be called there.
 * One time is under way for each queue; a new one replaces it.
 */
struct vio_net_timer_ops {
	void (*arm)(void *timer, unsigned queue, uint32_t usecs);
};

/* Offloads whose feature bits lie beyond 63; as in the driver's command. */
#define VIO_NET_OFFLOAD_TUNNEL						\
	(1ull << VIRTIO_NET_OFFLOAD_GUEST_UDP_TUNNEL_GSO)
#define VIO_NET_OFFLOAD_TUNNEL_CSUM					\
	(1ull << VIRTIO_NET_OFFLOAD_GUEST_UDP_TUNNEL_GSO_CSUM)

#define VIO_NET_MAIL_MIN	((2 * (VIO_NET_PACKET_MAX + 64u)) & ~7u)

/* Each has one writer, the pair's thread, and readers in any. */
struct vio_net_stats {
	uint64_t tx_packets, tx_bytes;	/* sent by the driver, passed on */
	uint64_t tx_malformed;		/* header or length broke a rule */
	uint64_t tx_dropped;		/* the back end did not take it */
	uint64_t rx_packets, rx_bytes;	/* put into the driver's buffers */
	uint64_t rx_no_room;		/* no buffers, given up */
	uint64_t rx_too_long;		/* for the buffers, or the MTU */
	uint64_t rx_malformed;		/* could not be cut as it said */
	uint64_t rx_unwanted;		/* by the driver's own filters */
	uint64_t rx_astray;		/* their queue is stopped, or its
					 * thread does not keep up */
	uint64_t tx_gso, rx_gso;	/* packets to be cut, either way */
	uint64_t tx_csum, rx_csum;	/* packets to be checksummed */
	/* Large packets of the driver: what became of them. */
	uint64_t tx_gso_bytes;
	uint64_t tx_segments, tx_segment_bytes;	/* cut here */
	uint64_t tx_whole, tx_whole_bytes;	/* by the back end, if at all */
	/* Packets put into buffers, by what their header says. */
	uint64_t rx_needs_csum, rx_csum_valid;
	uint64_t rx_large, rx_large_bytes;
	uint64_t rx_merged, rx_merged_bytes;	/* those that were merged */
	uint64_t rx_csum_bad;		/* seen when merging */
};

/* Buffers that one packet may fill. */
#define VIO_NET_MERGE_MAX	64

/* Packets for a pair from other pairs' threads. */
struct vio_net_mail {
	uint32_t lock;
	uint32_t head, tail;	/* offsets: the oldest, the next free one */
	bool full;		/* they are the same, and it is not empty */
	unsigned char *at;
};

struct vio_net_pair {
	struct vio_net_stats stats;
	bool wants_room;
	bool open;		/* packets can be put there; atomic */
	uint8_t depth;		/* of vio_net_enter() */
	uint32_t lock;		/* held while packets are being put there */
	struct vio_net_mail mail;
	/* Buffers popped and not filled yet, in the ring's order: too few for
	 * the packet that waits. */
	uint16_t nr_held;
	struct vio_req *held[VIO_NET_MERGE_MAX];
};

/* Addresses of either kind that are filtered one by one. */
#define VIO_NET_MACS	64

/* What the driver wants to receive. */
struct vio_net_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_all, multi_all;	/* the table was too long */
	uint8_t mac[VIRTIO_NET_MAC_LEN];
	uint16_t nr_uni, nr_multi;
	uint8_t uni[VIO_NET_MACS][VIRTIO_NET_MAC_LEN];
	uint8_t multi[VIO_NET_MACS][VIRTIO_NET_MAC_LEN];
	uint32_t vlan[4096 / 32];
};

/* When the driver is told of used buffers, for one queue. */
struct vio_net_coal {
	uint32_t packets, usecs;	/* at most; 0: at once. Atomic */
	uint64_t told;			/* packets, when it was told last */
	uint32_t armed_usecs;		/* if armed: the time, as it was set */
	bool armed, due;
};

/* -- which pair a packet goes to ----------------------------------------- */

#define VIO_NET_HASH_KEY	40u	/* bytes */
#define VIO_NET_RSS_TABLE	128u	/* entries */
#define VIO_NET_FLOWS		1024u	/* that are remembered */

/* A key, made ready: what each half byte of the input adds to the hash. */
struct vio_net_toeplitz {
	uint32_t part[72][16];
};

struct vio_net_indirection {
	uint16_t mask;		/* entries less one */
	uint16_t unclassified;	/* pair */
	uint8_t pair[VIO_NET_RSS_TABLE];
};

struct vio_net_steering {
	bool rss;		/* by the table; else as the driver sends */
	bool untold;		/* nobody says pairs: those that are open */
	uint16_t pairs;		/* in use, if not rss */
	uint32_t hash_types;	/* enabled */
	struct vio_net_indirection table;
	struct vio_net_toeplitz key;
};

struct vio_net {
	struct vio_dev dev;
	struct vio_net_conf conf;
	struct virtio_net_config config;
	const struct vio_net_backend_ops *backend;
	void *backend_ctx;
	uint16_t hdr_len;	/* bytes before each packet, as negotiated */
	bool mergeable;
	uint64_t guest_offloads;	/* GUEST_* that the driver bears now */
	struct vio_net_filter filter;
	struct vio_net_steering steering;
	bool steers, reports;		/* there are pairs to choose from;
					 * HASH_REPORT */
	bool merges;			/* RSC_EXT */
	bool learns;			/* flows; atomic */
	bool knows;			/* what the driver wants; atomic */
	uint8_t flow[VIO_NET_FLOWS];	/* pair + 1; atomic */
	struct vio_net_coal coal[2 * VIO_NET_PAIRS];
	/* For queues that start: receive, transmit. Atomic */
	struct { uint32_t packets, usecs; } coal_all[2];
	uint64_t ctrl_commands, ctrl_refused;
	struct vio_net_pair pair[VIO_NET_PAIRS];
};

/* Context that each request needs, for vio_queue_limits. */
extern const uint16_t vio_net_ctx_size;

/* Queues that a device of @pairs pairs has. */
static inline uint16_t vio_net_queues(uint16_t pairs)
{
	return (uint16_t)(2 * pairs + 1);	/* the control queue */
}

/*
 * vio_net_init() - make a network device on vio_net_queues() queues that the
 * caller has initialised. Returns VIO_OK or VIO_E_INVAL.
 */
int vio_net_init(struct vio_net *net, const struct vio_net_conf *conf,
		 struct vio_queue *queue,
		 const struct vio_net_backend_ops *backend,
		 void *backend_ctx);

/*
 * vio_net_receive() - packets from the wire for the driver. Returns how many
 * were dealt with, in order: put into buffers, or dropped by the driver's own
 * wish or for good reason. Those left over found no room: give them up with
 * vio_net_gave_up(), or keep them and call vio_net_want_room().
 */
unsigned vio_net_receive(struct vio_net *net, unsigned pair,
			 const struct vio_net_packet *pkt, unsigned nr);

/* Can the driver receive on this pair at all, now? */
bool vio_net_can_receive(const struct vio_net *net, unsigned pair);

void vio_net_gave_up(struct vio_net *net, unsigned pair, unsigned nr);

/*
 * Put back the buffers that were taken in advance, so that nothing of the
 * pair's queues is in flight.
 */
void vio_net_drain(struct vio_net *net, unsigned pair);

/* The time that the timer was armed for is over. Queue's thread. */
void vio_net_time(struct vio_net *net, unsigned queue);

/* Call backend->room() when the driver has given buffers. */
void vio_net_want_room(struct vio_net *net, unsigned pair);

/* Packets of the driver are admitted again, after backend->admit() gave 0. */
void vio_net_go_on(struct vio_net *net, unsigned pair);

/*
 * Ask the driver to tell the network where it is, after a migration: it has
 * to be running. Nothing happens if it cannot. Control thread.
 */
void vio_net_announce(struct vio_net *net);

/* The link went up or down; the driver is told. Control thread. */
void vio_net_link(struct vio_net *net, bool up);

#ifdef __cplusplus
}
#endif
#endif
