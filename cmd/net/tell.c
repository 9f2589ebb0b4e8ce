/* SPDX-License-Identifier: MIT */
/* What a card says of itself: see tell.h. Changes nothing. */
#include "cmd/net/tell.h"

#include <stddef.h>

#include "host/clock.h"

static const char *const way_name[NET_WAYS] = {
	[NET_TX] = "tx", [NET_RX] = "rx",
};

void net_tell_limits(struct text *out, const struct net_limit_conf *l)
{
	static const char *const name[NET_WAYS][3] = {
		[NET_TX] = { "tx_packets", "tx_bytes", "tx_burst_ms" },
		[NET_RX] = { "rx_packets", "rx_bytes", "rx_burst_ms" },
	};

	text_fmt(out, "{");
	for (unsigned i = 0; i < NET_WAYS; i++) {
		text_member_u64(out, name[i][0], l->way[i].packets);
		text_member_u64(out, name[i][1], l->way[i].bytes);
		text_member_u64(out, name[i][2], l->way[i].burst_ms);
	}
	text_fmt(out, "}");
}

static uint16_t link_of(const struct vio_net *net)
{
	vio_le16 s = { __atomic_load_n(&net->config.status.raw,
				       __ATOMIC_RELAXED) };

	return vio_from_le16(s);
}

void net_tell_status(struct text *out, const struct vio_net *net,
		     const struct netdev *wire,
		     const struct net_limit_conf *l)
{
	text_member_str(out, "wire", wire->engine);
	text_member_bool(out, "link_up", link_of(net) & VIRTIO_NET_S_LINK_UP);
	text_member_u64(out, "queue_pairs", net->conf.pairs);
	text_key(out, "limits");
	net_tell_limits(out, l);
}

/* -- metrics ------------------------------------------------------------- */

static void family(struct text *out, const char *name, const char *type,
		   const char *help)
{
	text_fmt(out, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

/* A number of a pair's, and of which of its queues. */
struct of_pair {
	const char *reason;
	size_t at;
	unsigned tx;
};

#define STAT(tx, member, reason)					\
	{ reason, offsetof(struct vio_net_stats, member), tx }

static const struct of_pair packets[] = {
	STAT(0, rx_packets, NULL), STAT(1, tx_packets, NULL),
};

static const struct of_pair bytes[] = {
	STAT(0, rx_bytes, NULL), STAT(1, tx_bytes, NULL),
};

static const struct of_pair dropped[] = {
	STAT(0, rx_no_room, "no_room"), STAT(0, rx_too_long, "too_long"),
	STAT(0, rx_malformed, "malformed"), STAT(0, rx_unwanted, "unwanted"),
	STAT(0, rx_astray, "astray"), STAT(1, tx_malformed, "malformed"),
	STAT(1, tx_dropped, "wire"),
};

static void of_pairs(struct text *out, const struct vio_net *net,
		     const char *name, const struct of_pair *m, unsigned nr)
{
	for (unsigned i = 0; i < net->conf.pairs * nr; i++) {
		const struct of_pair *k = &m[i % nr];
		unsigned pair = i / nr;
		const void *at = (const char *)&net->pair[pair].stats + k->at;

		text_fmt(out, "%s_total{queue=\"%u\"", name, 2 * pair + k->tx);
		if (k->reason)
			text_fmt(out, ",reason=\"%s\"", k->reason);
		text_fmt(out, "} %llu\n", (unsigned long long)
			 __atomic_load_n((const uint64_t *)at,
					 __ATOMIC_RELAXED));
	}
}

static void of_limits(struct text *out, const struct netdev *wire,
		      const struct net_limit_conf *l)
{
	struct net_limit_stats s[NET_WAYS] = { { .holds = 0 } };
	unsigned i;

	family(out, "vireo_network_limit_packets", "gauge",
	       "Packets a second that may pass; 0: any number.");
	for (i = 0; i < NET_WAYS; i++)
		text_fmt(out, "vireo_network_limit_packets{direction=\"%s\"} %llu\n",
			 way_name[i], (unsigned long long)l->way[i].packets);
	family(out, "vireo_network_limit_bytes", "gauge",
	       "Bytes a second that may pass; 0: any number.");
	for (i = 0; i < NET_WAYS; i++)
		text_fmt(out, "vireo_network_limit_bytes{direction=\"%s\"} %llu\n",
			 way_name[i], (unsigned long long)l->way[i].bytes);
	for (i = 0; i < NET_WAYS && wire->limit; i++)
		net_limit_look(wire->limit, i, &s[i]);
	family(out, "vireo_network_holds", "counter",
	       "Times that a pair of queues waited because of a limit.");
	for (i = 0; i < NET_WAYS; i++)
		text_fmt(out, "vireo_network_holds_total{direction=\"%s\"} %llu\n",
			 way_name[i], (unsigned long long)s[i].holds);
	family(out, "vireo_network_held_seconds", "counter",
	       "How long pairs of queues waited, all together.");
	text_fmt(out, "# UNIT vireo_network_held_seconds seconds\n");
	for (i = 0; i < NET_WAYS; i++)
		text_fmt(out, "vireo_network_held_seconds_total{direction=\"%s\"} %llu.%06llu\n",
			 way_name[i],
			 (unsigned long long)(s[i].held_ns / NS_PER_S),
			 (unsigned long long)(s[i].held_ns % NS_PER_S /
					      NS_PER_US));
}

void net_tell_metrics(struct text *out, const struct vio_net *net,
		      const struct netdev *wire,
		      const struct net_limit_conf *l)
{
	family(out, "vireo_network_packets", "counter",
	       "Packets that the guest received (even queues) or sent.");
	of_pairs(out, net, "vireo_network_packets", packets,
		 VIO_ARRAY_LEN(packets));
	family(out, "vireo_network_bytes", "counter", "Bytes of them.");
	text_fmt(out, "# UNIT vireo_network_bytes bytes\n");
	of_pairs(out, net, "vireo_network_bytes", bytes,
		 VIO_ARRAY_LEN(bytes));
	family(out, "vireo_network_dropped_packets", "counter",
	       "Packets that were dropped, and why.");
	of_pairs(out, net, "vireo_network_dropped_packets", dropped,
		 VIO_ARRAY_LEN(dropped));
	family(out, "vireo_network_lost_packets", "counter",
	       "Copies of packets to all that found no room at one of several ends.");
	text_fmt(out, "vireo_network_lost_packets_total %llu\n",
		 (unsigned long long)__atomic_load_n(&wire->lost,
						     __ATOMIC_RELAXED));
	family(out, "vireo_network_link_up", "gauge",
	       "Whether the guest is told that its link is up.");
	text_fmt(out, "vireo_network_link_up %d\n",
		 link_of(net) & VIRTIO_NET_S_LINK_UP);
	of_limits(out, wire, l);
}
