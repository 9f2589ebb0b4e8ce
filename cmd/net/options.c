/* SPDX-License-Identifier: MIT */
/* Which card and which wire: the options that say it. */
#include "cmd/net/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"

/* Longer bursts would be no limits any more. */
#define BURST_MAX_MS	10000u

struct net_opt net_opt = {
	.queue_size = 1024, .pairs = 1,
	.limits = { .way = { { .burst_ms = NET_LIMIT_BURST_MS },
			     { .burst_ms = NET_LIMIT_BURST_MS } } },
};

const struct opt net_options[] = {
	{ .name = "backend", .type = OPT_STRING, .to = &net_opt.backend,
	  .arg = "user|tap=NAME|switch=NAME|stream=SOCKET|pcap=FILE|null|echo",
	  .help = "What the wire is: a network of the user's own, which needs no privilege; a tap interface; all guests of this user on the switch of that name; the socket of passt; packets from a file; nothing, or a mirror, both for measurements.",
	},
	{ .name = "record", .type = OPT_STRING, .to = &net_opt.record, .arg = "FILE",
	  .help = "Write all packets, both ways, to this file, for Wireshark or tcpdump.",
	},
	{ .name = "filter", .type = OPT_STRING, .to = &net_opt.filter,
	  .arg = "EXPRESSION",
	  .help = "With --record or pcap: only packets that match, such as 'tcp port 80'.",
	},
	{ .name = "replay-fast", .type = OPT_FLAG, .to = &net_opt.fast,
	  .help = "With pcap: as fast as the guest takes them, not as far apart as they were.",
	},
	{ .name = "hostfwd", .type = OPT_STRING, .to = &net_opt.hostfwd,
	  .arg = "tcp:[ADDRESS]:PORT-[ADDRESS]:PORT,...",
	  .help = "With user: what connects to the first address and port, on this host, reaches the second, in the guest. Also udp.",
	},
	{ .name = "host-loopback", .type = OPT_FLAG,
	  .to = &net_opt.host_loopback,
	  .help = "With user: let the guest reach services on this host's 127.0.0.1, at 10.0.2.2.",
	},
	{ .name = "restrict", .type = OPT_FLAG, .to = &net_opt.restricted,
	  .help = "With user: the guest reaches nothing; only forwarded ports reach it.",
	},
	{ .name = "mac", .type = OPT_STRING, .to = &net_opt.mac,
	  .arg = "xx:xx:xx:xx:xx:xx",
	  .help = "The guest's Ethernet address. By default one is made from the process number.",
	},
	{ .name = "mtu", .type = OPT_UINT, .to = &net_opt.mtu, .arg = "BYTES",
	  .min = VIRTIO_NET_MTU_MIN, .max = 65535,
	  .help = "Largest packet without its Ethernet header; the guest is told. By default what the back end says.",
	},
	{ .name = "speed", .type = OPT_UINT, .to = &net_opt.speed,
	  .arg = "MBIT", .max = INT32_MAX,
	  .help = "Speed that the guest is told, full duplex; by default none.",
	},
	{ .name = "standby", .type = OPT_FLAG, .to = &net_opt.standby,
	  .help = "Tell the guest to use another card with the same address first.",
	},
	{ .name = "queue-pairs", .type = OPT_UINT, .to = &net_opt.pairs,
	  .arg = "NUMBER", .min = 1, .max = VIO_NET_PAIRS,
	  .help = "Pairs of queues, so that as many processors of the guest can work at a time; 1 by default. QEMU asks for as many as its queues=.",
	},
	{ .name = "queue-size", .type = OPT_UINT, .to = &net_opt.queue_size,
	  .arg = "NUMBER", .min = 2, .max = 32768,
	  .help = "Largest ring that a front end may choose. Default 1024." },
	{ .name = "tx-packets", .type = OPT_SIZE,
	  .to = &net_opt.limits.way[NET_TX].packets, .arg = "NUMBER",
	  .help = "At most so many packets a second that the guest sends; those beyond wait in its ring.",
	},
	{ .name = "tx-bytes", .type = OPT_SIZE,
	  .to = &net_opt.limits.way[NET_TX].bytes, .arg = "BYTES",
	  .help = "At most so many bytes of them a second." },
	{ .name = "tx-burst-ms", .type = OPT_UINT,
	  .to = &net_opt.limits.way[NET_TX].burst_ms, .arg = "TIME",
	  .min = 1, .max = BURST_MAX_MS,
	  .help = "After a pause, what so many milliseconds would have given may pass at once. Default 50.",
	},
	{ .name = "rx-packets", .type = OPT_SIZE,
	  .to = &net_opt.limits.way[NET_RX].packets, .arg = "NUMBER",
	  .help = "The same of packets that the guest receives; those beyond wait where the wire keeps them, or are lost there.",
	},
	{ .name = "rx-bytes", .type = OPT_SIZE,
	  .to = &net_opt.limits.way[NET_RX].bytes, .arg = "BYTES",
	  .help = "The same of bytes that the guest receives." },
	{ .name = "rx-burst-ms", .type = OPT_UINT,
	  .to = &net_opt.limits.way[NET_RX].burst_ms, .arg = "TIME",
	  .min = 1, .max = BURST_MAX_MS,
	  .help = "The same of what the guest receives." },
	{ 0 }
};

static bool parse_mac(const char *text, uint8_t *mac)
{
	unsigned v[VIRTIO_NET_MAC_LEN], i;
	char end;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &v[0], &v[1], &v[2],
		   &v[3], &v[4], &v[5], &end) != VIRTIO_NET_MAC_LEN)
		return false;
	for (i = 0; i < VIRTIO_NET_MAC_LEN; i++)
		mac[i] = (uint8_t)v[i];
	/* One host's address, and not nobody's. */
	return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] |
				 mac[5]);
}

int net_check_options(const struct net_opt *o, struct vio_net_conf *conf)
{
	static uint8_t made;
	uint32_t pid = (uint32_t)getpid();

	if (!o->backend) {
		log_err("what is the wire? Give --backend=user, for one");
		return -EINVAL;
	}
	if (o->queue_size & (o->queue_size - 1)) {
		log_err("--queue-size: %u is no power of two", o->queue_size);
		return -EINVAL;
	}
	if (o->mac && !parse_mac(o->mac, conf->mac)) {
		log_err("--mac: '%s' is no address of one host, such as 02:00:00:00:00:01",
			o->mac);
		return -EINVAL;
	}
	if (!o->mac) {
		/* Locally administered; the next one has another. */
		conf->mac[0] = 0x52;
		conf->mac[1] = (uint8_t)(0x56 + made++);
		for (unsigned i = 0; i < 4; i++)
			conf->mac[5 - i] = (uint8_t)(pid >> 8 * i);
	}
	conf->mtu = (uint16_t)o->mtu;
	conf->pairs = (uint16_t)o->pairs;
	return 0;
}

bool net_connects(const struct net_opt *o)
{
	return !strcmp(o->backend, "user") && !o->restricted;
}

static bool is_limited(const struct net_limit_conf *l)
{
	return l->way[NET_TX].packets || l->way[NET_TX].bytes ||
	       l->way[NET_RX].packets || l->way[NET_RX].bytes;
}

int net_limit_word(struct net_limit_conf *l, const char *word)
{
	struct net_limit_way *tx = &l->way[NET_TX], *rx = &l->way[NET_RX];
	const struct { const char *name; uint64_t *to; unsigned *ms; } t[] = {
		{ "tx-packets=", &tx->packets, NULL },
		{ "tx-bytes=", &tx->bytes, NULL },
		{ "tx-burst-ms=", NULL, &tx->burst_ms },
		{ "rx-packets=", &rx->packets, NULL },
		{ "rx-bytes=", &rx->bytes, NULL },
		{ "rx-burst-ms=", NULL, &rx->burst_ms },
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(t); i++) {
		size_t len = strlen(t[i].name);
		uint64_t v;

		if (strncmp(word, t[i].name, len))
			continue;
		if (opt_size(word + len, &v))
			return -EINVAL;
		if (t[i].ms && (!v || v > BURST_MAX_MS))
			return -ERANGE;
		if (t[i].ms)
			*t[i].ms = (unsigned)v;
		else
			*t[i].to = v;
		return 0;
	}
	return -EINVAL;
}

int net_open_wire(const struct net_opt *o, int fd[NETDEV_FILES],
		  struct netdev **wire)
{
	const struct netdev_conf conf = {
		.kind = o->backend, .pairs = o->pairs, .mtu = o->mtu,
		.fd = fd, .hostfwd = o->hostfwd,
		.host_loopback = o->host_loopback,
		.restricted = o->restricted, .record = o->record,
		.filter = o->filter, .fast = o->fast, .closed = o->closed,
		.limits = o->may_change || is_limited(&o->limits) ?
			&o->limits : NULL,
	};
	bool pcap = !strncmp(o->backend, "pcap", 4);

	if (strcmp(o->backend, "user") &&
	    (o->hostfwd || o->host_loopback || o->restricted)) {
		log_err("--hostfwd, --host-loopback and --restrict are for --backend=user");
		return -EINVAL;
	}
	if (o->fast && !pcap) {
		log_err("--replay-fast is for --backend=pcap=FILE");
		return -EINVAL;
	}
	if (o->filter && !o->record && !pcap) {
		log_err("--filter is for --record=FILE and --backend=pcap=FILE");
		return -EINVAL;
	}
	return netdev_open(wire, &conf);
}
